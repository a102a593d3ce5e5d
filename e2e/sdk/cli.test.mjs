// The command line beside a server: each command of contract.md as an operator types it.
import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { backEnd, client, connected, named, subscribed } from './clients.mjs';
import { APP_SERVED_WITHIN_MS, OWNER, command, commandOk, freePort, sleep, startServer, story, temporaryDirectory, until } from './harness.mjs';
import { Visitor, goesTo } from './visitor.mjs';

/** Below the ten a second that a connection may send. */
const BETWEEN_CLIENT_EVENTS_MS = 120;

const server = await startServer();
after(() => server.stop());

story('a running server serves an app made by `fanfare apps create` within a second', async (t) => {
  const { stdout } = await commandOk(['apps', 'create', '--name', 'fresh', '--json'], { dataDir: server.dataDir });
  const app = JSON.parse(stdout);
  const tookMs = await server.serves(app, APP_SERVED_WITHIN_MS);
  t.diagnostic(`served after ${tookMs} ms`);
  await connected(client(t, server, app));
});

story('apps create prints one JSON object with decimal id, 20 hex letters of key and secret, and the cluster', async () => {
  const { stdout } = await commandOk(['apps', 'create', '--name', 'shape', '--cluster', 'eu', '--json'], { dataDir: server.dataDir });
  const app = JSON.parse(stdout);
  assert.match(app.id, /^\d{4,}$/);
  assert.ok(Number(app.id) >= 1001);
  assert.match(app.key, /^[0-9a-f]{20}$/);
  assert.match(app.secret, /^[0-9a-f]{20}$/);
  assert.notEqual(app.key, app.secret);
  assert.equal(app.cluster, 'eu');
});

story('apps create takes id, key and secret, for an app that moves in with its own', async () => {
  const own = { id: '424242', key: 'my-own-key-1', secret: 'my-own-secret-1' };
  const app = await server.app({ name: 'moved in', ...own });
  assert.deepEqual({ id: app.id, key: app.key, secret: app.secret }, own);
  assert.equal((await backEnd(server, app).trigger('x', 'y', {})).status, 200);
});

story('apps create refuses what cannot be, with a sentence on stderr and a code that is not 0', async () => {
  await server.app({ name: 'taken', id: '5150', key: 'taken-key' });
  for (const args of [
    ['--name', 'again', '--id', '5150'],
    ['--name', 'again', '--key', 'taken-key'],
    ['--name', ''],
    ['--name', 'x', '--plan', 'imaginary'],
    ['--name', 'x', '--id', 'abc'],
    ['--name', 'x', '--cluster', 'No Such Place!'],
    ['--name', 'x', '--owner', 'nobody@example.test'],
    [],
  ]) {
    const result = await command(['apps', 'create', ...args, '--json'], { dataDir: server.dataDir });
    assert.notEqual(result.code, 0, args.join(' '));
    assert.ok(result.stderr.trim().length > 10, args.join(' '));
    assert.doesNotMatch(result.stderr, /panicked/);
  }
});

story('apps create --owner gives the app to that account', async () => {
  const email = 'tenant@example.test';
  await commandOk(['admin', 'create', '--email', email, '--password', OWNER.password], { dataDir: server.dataDir });
  const app = await server.app({ name: 'theirs', owner: email });
  const tenant = await new Visitor(server.url).signIn({ email, password: OWNER.password });
  assert.equal((await tenant.page(`/dash/apps/${app.id}/keys`)).status, 200);
  const owner = await new Visitor(server.url).signIn(OWNER);
  assert.equal((await owner.page(`/dash/apps/${app.id}/keys`)).status, 404);
});

story('apps list --json lists what was made, without secrets', async () => {
  const app = await server.app({ name: 'listed' });
  const { stdout } = await commandOk(['apps', 'list', '--json'], { dataDir: server.dataDir });
  const listed = JSON.parse(stdout).find(({ id }) => String(id) === app.id);
  assert.equal(listed.name, 'listed');
  assert.equal(stdout.includes(app.secret), false);
});

story('apps set switches features of an app, says how all stand, and leaves the others as they are', async () => {
  const app = await server.app({ name: 'switched', clientEvents: true });
  const before = await server.set(app, {});
  assert.deepEqual(before, {
    id: app.id,
    client_events: true,
    subscription_counts: false,
    watchlist: false,
    authorized_connections: false,
    force_tls: false,
    webhook_batching: true,
    retry_over_limit: false,
  });
  const all = { clientEvents: false, subscriptionCounts: true, watchlist: true, authorizedConnections: true, forceTls: true, webhookBatching: false, retryOverLimit: true };
  const opposite = Object.fromEntries(Object.entries(before).map(([name, on]) => [name, typeof on === 'boolean' ? !on : on]));
  assert.deepEqual(await server.set(app, all), opposite);
  assert.deepEqual(await server.set(app, { forceTls: false }), { ...opposite, force_tls: false });
  const { stdout } = await commandOk(['apps', 'set', app.id], { dataDir: server.dataDir });
  assert.match(stdout, /^watchlist +on$/m);
  assert.match(stdout, /^force-tls +off$/m);
});

story('apps create takes the switches too, and leaves the others at their defaults', async () => {
  const app = await server.app({ name: 'born with', switches: { watchlist: true, webhookBatching: false } });
  const { id, watchlist, webhook_batching, ...others } = await server.set(app, {});
  assert.deepEqual([id, watchlist, webhook_batching], [app.id, true, false]);
  assert.deepEqual(others, { client_events: false, subscription_counts: false, authorized_connections: false, force_tls: false, retry_over_limit: false });
});

story('a running server follows `apps set` within a second, on the connections that it has', async (t) => {
  const app = await server.app({ name: 'followed' });
  const [from, to] = [client(t, server, app), client(t, server, app)];
  const [sender, receiver] = [await subscribed(from, 'private-room'), await subscribed(to, 'private-room')];
  await server.set(app, { clientEvents: true });
  const switched = Date.now();
  await until(
    async () => {
      sender.trigger('client-knock', {});
      await sleep(BETWEEN_CLIENT_EVENTS_MS);
      return named(receiver, 'client-knock').length > 0;
    },
    'a client event to be delivered',
    APP_SERVED_WITHIN_MS,
  );
  t.diagnostic(`followed after ${Date.now() - switched} ms`);
});

story('apps set refuses an unknown app and a position that is neither on nor off', async () => {
  const app = await server.app({ name: 'refusing' });
  for (const args of [['999999', '--watchlist', 'on'], [app.id, '--watchlist', 'perhaps'], [app.id, '--teleport', 'on'], []]) {
    const result = await command(['apps', 'set', ...args], { dataDir: server.dataDir });
    assert.notEqual(result.code, 0, args.join(' '));
    assert.ok(result.stderr.trim().length > 10, args.join(' '));
    assert.doesNotMatch(result.stderr, /panicked/);
  }
});

story('apps env prints blocks that hold the values of the app', async () => {
  const app = await server.app({ name: 'env' });
  const laravel = (await commandOk(['apps', 'env', app.id, 'laravel'], { dataDir: server.dataDir, env: { FANFARE_URL: 'https://rt.example.test' } })).stdout;
  assert.match(laravel, /^BROADCAST_CONNECTION=reverb$/m);
  assert.match(laravel, new RegExp(`^REVERB_APP_ID="?${app.id}"?$`, 'm'));
  assert.match(laravel, new RegExp(`^REVERB_APP_KEY="?${app.key}"?$`, 'm'));
  assert.match(laravel, new RegExp(`^REVERB_APP_SECRET="?${app.secret}"?$`, 'm'));
  assert.match(laravel, /^REVERB_HOST="?rt\.example\.test"?$/m);
  assert.match(laravel, /^REVERB_PORT="?443"?$/m);
  assert.match(laravel, /^REVERB_SCHEME="?https"?$/m);
  assert.equal((await commandOk(['apps', 'env', app.id], { dataDir: server.dataDir })).stdout.includes(app.key), true, 'without a name, the Laravel block or all');
  assert.equal((await commandOk(['apps', 'env', app.id, 'node'], { dataDir: server.dataDir })).stdout.includes(app.key), true);
  assert.notEqual((await command(['apps', 'env', '999999'], { dataDir: server.dataDir })).code, 0);
  assert.notEqual((await command(['apps', 'env', app.id, 'cobol'], { dataDir: server.dataDir })).code, 0);
});

story('admin create makes an owner who can sign in, and refuses a weak password and a taken address', async () => {
  const email = 'made-by-hand@example.test';
  await commandOk(['admin', 'create', '--email', email, '--password', 'plum-teapot-83-gravel'], { dataDir: server.dataDir });
  await new Visitor(server.url).signIn({ email, password: 'plum-teapot-83-gravel' });
  for (const [address, password] of [[email, 'plum-teapot-83-gravel'], ['weak@example.test', 'short'], ['weak@example.test', 'password'], ['no address', 'plum-teapot-83-gravel']]) {
    const refused = await command(['admin', 'create', '--email', address, '--password', password], { dataDir: server.dataDir });
    assert.notEqual(refused.code, 0, `${address} ${password}`);
    assert.ok(refused.stderr.trim().length > 10);
  }
});

story('migrate makes the schema and can be run again', async () => {
  const dataDir = temporaryDirectory('migrate');
  await commandOk(['migrate'], { dataDir });
  await commandOk(['migrate'], { dataDir });
  await commandOk(['admin', 'create', '--email', OWNER.email, '--password', OWNER.password], { dataDir });
  await commandOk(['apps', 'create', '--name', 'first', '--json'], { dataDir });
});

story('apps made before anybody has signed up are served, and belong to the first owner', async (t) => {
  const dataDir = temporaryDirectory('first');
  const app = JSON.parse((await commandOk(['apps', 'create', '--name', 'first', '--json'], { dataDir })).stdout);
  const later = await startServer({ dataDir, owner: false });
  t.after(() => later.stop());
  await later.serves(app);
  const setup = /\/setup\?token=[0-9a-f]+/.exec(later.log())?.[0];
  assert.ok(setup, 'the way to the first owner is still open');
  const first = new Visitor(later.url);
  const answer = await first.submit(await first.page(setup), goesTo(/\/setup/), OWNER);
  assert.equal(answer.status, 303, answer.text);
  assert.ok((await first.page(`/dash/apps/${app.id}/keys`)).text.includes(app.key));
  assert.equal((await first.page(setup)).status, 404);
});

story('config print shows each setting with its source and hides secrets', async () => {
  const dataDir = temporaryDirectory('config');
  const { stdout } = await commandOk(['config', 'print'], {
    dataDir,
    env: {
      FANFARE_LISTEN: '127.0.0.1:7777',
      FANFARE_ADMIN_EMAIL: 'ops@example.test',
      FANFARE_ADMIN_PASSWORD: 'do-not-print-me-77',
      FANFARE_APP_ID: '777',
      FANFARE_APP_KEY: 'static-key',
      FANFARE_APP_SECRET: 'do-not-print-me-78',
      FANFARE_DATABASE_URL: 'postgres://ops:do-not-print-me-79@127.0.0.1:1/none',
    },
  });
  assert.match(stdout, /127\.0\.0\.1:7777/);
  assert.match(stdout, /FANFARE_LISTEN|env/i);
  assert.match(stdout, /default/i);
  assert.doesNotMatch(stdout, /do-not-print-me/);
});

story('a setting value that cannot be ends `serve` with a sentence that names the setting', async () => {
  for (const [name, value] of [['listen', 'nowhere'], ['signup', 'perhaps'], ['workers', 'many']]) {
    const result = await command(['serve'], { dataDir: temporaryDirectory('bad'), env: { [`FANFARE_${name.toUpperCase()}`]: value } });
    assert.notEqual(result.code, 0, name);
    assert.match(result.stderr + result.stdout, new RegExp(name, 'i'));
  }
});

story('healthcheck ends with 0 when the server is ready and with another code when none is there', async () => {
  assert.equal((await server.command(['healthcheck'], { env: { FANFARE_LISTEN: `127.0.0.1:${server.port}` } })).code, 0);
  const nobody = await command(['healthcheck'], { dataDir: temporaryDirectory('health'), env: { FANFARE_LISTEN: `127.0.0.1:${await freePort()}` } });
  assert.notEqual(nobody.code, 0);
});

story('a second server on a taken port ends with a sentence and not with a panic', async () => {
  const result = await command(['serve'], { dataDir: temporaryDirectory('taken'), env: { FANFARE_LISTEN: `127.0.0.1:${server.port}` } });
  assert.notEqual(result.code, 0);
  assert.match(result.stderr + result.stdout, /in use/i);
  assert.doesNotMatch(result.stderr + result.stdout, /panicked/);
});

story('a static app from the environment is served beside those in the database', async (t) => {
  const app = { id: '777', key: 'static-key-from-env', secret: 'static-secret-from-env' };
  const other = await startServer({ env: { FANFARE_APP_ID: app.id, FANFARE_APP_KEY: app.key, FANFARE_APP_SECRET: app.secret } });
  t.after(() => other.stop());
  await other.serves(app);
  assert.equal((await backEnd(other, app).trigger('x', 'y', {})).status, 200);
  await connected(client(t, other, app));
});

story('the data directory and its files can be read by their owner alone', async () => {
  const files = (await readdir(server.dataDir)).map((name) => path.join(server.dataDir, name)).filter((file) => statSync(file).isFile());
  assert.ok(files.length > 0);
  for (const file of files) assert.equal(statSync(file).mode & 0o077, 0, file);
});
