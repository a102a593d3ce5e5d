// Webhooks from the happening to the customer's server: real receivers on this machine, signatures checked by the official
// packages, endpoints made by `fanfare webhooks add`.
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { backEnd, client, collecting, connected, subscribed } from './clients.mjs';
import { OWNER, command, commandOk, freePort, sleep, startServer, story, temporaryDirectory, until, within } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { Visitor, ownerOf } from './visitor.mjs';

/** Ends wait this long; the service may be a little later, never earlier. */
const GRACE_MS = 3_000;
/** A killed node's claims run out after 12 s. */
const TAKEN_OVER_WITHIN_MS = 20_000;
const ALLOW = { FANFARE_WEBHOOK_ALLOW: '127.0.0.1' };

const server = await startServer({ env: ALLOW });
after(() => server.stop());
const owner = await ownerOf(server);

/**
 * A customer's server. `answer` gets each request and its number and writes the response; without one it is 200. What
 * came is in `posts`, oldest first.
 */
async function receiver(t, answer, port = 0, tls = undefined) {
  const posts = [];
  const open = new Set();
  const handle = (request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const rawBody = Buffer.concat(chunks).toString('utf8');
      posts.push({ method: request.method, url: request.url, headers: request.headers, rawHeaders: request.rawHeaders, rawBody, at: Date.now(), json: JSON.parse(rawBody) });
      if (answer) answer(response, posts.length, request);
      else response.writeHead(200).end('ok');
    });
  };
  const listening = tls ? https.createServer(tls, handle) : http.createServer(handle);
  listening.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {});
  });
  await new Promise((resolve) => listening.listen(port, '127.0.0.1', resolve));
  const close = () => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => (listening.listening ? listening.close(resolve) : resolve()));
  };
  t.after(close);
  return { posts, close, port: listening.address().port, url: `${tls ? 'https' : 'http'}://127.0.0.1:${listening.address().port}/hooks` };
}

const events = (to, name) => to.posts.flatMap(({ json }) => json.events).filter((event) => !isTest(event) && (name === undefined || event.name === name));
const isTest = (event) => (event.channel ?? '').endsWith('webhook-test');

const hooks = (args, options = {}) => commandOk(['webhooks', ...args, '--json'], { dataDir: server.dataDir, ...options, env: { ...ALLOW, ...options.env } }).then(({ stdout }) => JSON.parse(stdout));

const add = (app, url, { kinds, channels, headers = [], on = server } = {}) =>
  hooks(
    ['add', '--app', app.id, '--url', url, ...(kinds ? ['--kinds', kinds.join(',')] : []), ...(channels ? ['--channels', channels] : []), ...headers.flatMap((header) => ['--header', header])],
    { dataDir: on.dataDir },
  );

/** Makes an endpoint and waits until the server knows it: a test event of it has been tried. */
async function hook(app, to, options = {}) {
  const made = await add(app, to.url, options);
  await hooks(['test', '--app', app.id, made.id], { dataDir: (options.on ?? server).dataDir });
  await until(() => to.posts.some(({ json }) => json.events.some(isTest)), 'the test event', 10_000);
  to.posts.length = 0;
  return made;
}

const delivery = (app, id) => hooks(['deliveries', '--app', app.id, id]);
const deliveries = async (app, ...filter) => (await hooks(['deliveries', '--app', app.id, ...filter])).filter(({ test }) => !test);

const rowsOf = async (app, kind) => (await owner.rows(app)).filter((row) => row.kind === kind);

/** The official npm package's own check. */
function assertSigned(app, post) {
  const webhook = backEnd(server, app).webhook({ headers: post.headers, rawBody: post.rawBody });
  assert.equal(webhook.isValid(), true, JSON.stringify(post.headers));
  assert.deepEqual(webhook.getEvents(), post.json.events);
  assert.equal(webhook.getTime().getTime(), post.json.time_ms);
}

const PYTHON = process.env.FANFARE_E2E_PYTHON ?? fileURLToPath(new URL('.venv/bin/python', import.meta.url));
const BRIDGE = fileURLToPath(new URL('python/bridge.py', import.meta.url));

/** The official PyPI package's own check, as it reads the headers of a post. */
async function validatedByPython(app, post) {
  const child = spawn(PYTHON, ['-W', 'ignore', BRIDGE], {
    env: { PATH: process.env.PATH, PUSHER_APP_ID: app.id, PUSHER_APP_KEY: app.key, PUSHER_APP_SECRET: app.secret, PUSHER_HOST: server.host, PUSHER_PORT: String(server.port) },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const line = new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
  child.stdin.end(`${JSON.stringify({ call: 'validate_webhook', args: [post.headers['x-pusher-key'], post.headers['x-pusher-signature'], post.rawBody] })}\n`);
  return JSON.parse(await within(line, 15_000, "Python's validate_webhook"));
}

story('all seven kinds arrive with the fields that the packages read, signed so that npm and PyPI accept them', async (t) => {
  const app = await server.app({ name: 'kinds', clientEvents: true, switches: { subscriptionCounts: true } });
  const to = await receiver(t);
  await hook(app, to);
  const pusher = client(t, server, app, { user: { id: 'ana', info: {} } });
  const room = await subscribed(pusher, 'presence-room');
  await subscribed(pusher, 'cache-news');
  await subscribed(pusher, 'plain');
  const socketId = await connected(pusher);
  room.trigger('client-typing', { at: 'ünïcødé' });
  await until(() => events(to, 'client_event').length === 1 && events(to, 'cache_miss').length === 1 && events(to, 'subscription_count').some(({ channel }) => channel === 'plain'), () => `the events, seen ${JSON.stringify(events(to))}`);
  const left = Date.now();
  pusher.disconnect();
  await until(() => events(to, 'channel_vacated').length === 3, () => `the ends, seen ${JSON.stringify(events(to))}`, GRACE_MS + 5_000);

  const of = (name) => events(to, name).sort((a, b) => a.channel.localeCompare(b.channel));
  assert.deepEqual(of('channel_occupied'), ['cache-news', 'plain', 'presence-room'].map((channel) => ({ name: 'channel_occupied', channel })));
  assert.deepEqual(of('channel_vacated'), ['cache-news', 'plain', 'presence-room'].map((channel) => ({ name: 'channel_vacated', channel })));
  assert.deepEqual(of('member_added'), [{ name: 'member_added', channel: 'presence-room', user_id: 'ana' }]);
  assert.deepEqual(of('member_removed'), [{ name: 'member_removed', channel: 'presence-room', user_id: 'ana' }]);
  assert.deepEqual(of('client_event'), [
    { name: 'client_event', channel: 'presence-room', event: 'client-typing', data: '{"at":"ünïcødé"}', socket_id: socketId, user_id: 'ana' },
  ]);
  assert.deepEqual(of('cache_miss'), [{ name: 'cache_miss', channel: 'cache-news' }]);
  assert.deepEqual(of('subscription_count').find(({ channel }) => channel === 'plain'), { name: 'subscription_count', channel: 'plain', subscription_count: 1 });
  assert.equal(of('subscription_count').some(({ channel }) => channel.startsWith('presence-')), false);
  for (const { at, json } of to.posts) {
    const ends = json.events.some(({ name }) => name === 'channel_vacated' || name === 'member_removed');
    if (ends) assert.ok(at - left >= GRACE_MS - 50, `an end came after ${at - left} ms`);
  }
  const order = events(to).filter(({ channel }) => channel === 'presence-room').map(({ name }) => name);
  assert.deepEqual(order, ['channel_occupied', 'member_added', 'client_event', 'member_removed', 'channel_vacated']);

  for (const post of to.posts) {
    assert.equal(post.method, 'POST');
    assert.equal(post.headers['content-type'], 'application/json');
    assert.ok(post.rawHeaders.includes('X-Pusher-Key') && post.rawHeaders.includes('X-Pusher-Signature'), post.rawHeaders.join(' '));
    assert.deepEqual(Object.keys(post.json), ['time_ms', 'events']);
    assert.ok(Math.abs(post.json.time_ms - post.at) < 5_000);
    assertSigned(app, post);
  }
  const read = await validatedByPython(app, to.posts[0]);
  assert.deepEqual(read.result, to.posts[0].json, JSON.stringify(read));
  const forged = await validatedByPython(app, { ...to.posts[0], rawBody: `${to.posts[0].rawBody} ` });
  assert.equal(forged.result ?? null, null);
});

story('with batching on a POST holds up to twenty events, with batching off exactly one', async (t) => {
  const names = Array.from({ length: 50 }, (_, n) => `batch-${n}`);
  for (const webhookBatching of [true, false]) {
    const app = await server.app({ name: 'batches', switches: { webhookBatching } });
    const to = await receiver(t);
    await hook(app, to, { kinds: ['channel_occupied'] });
    const pusher = client(t, server, app);
    await connected(pusher);
    for (const name of names) collecting(pusher, name);
    await until(() => events(to).length >= names.length, () => `${names.length} events, seen ${events(to).length}`, 10_000);
    assert.deepEqual(events(to).map(({ channel }) => channel).sort(), [...names].sort());
    const sizes = to.posts.map(({ json }) => json.events.length);
    if (webhookBatching) assert.ok(to.posts.length < 15 && Math.max(...sizes) <= 20, `${sizes}`);
    else assert.deepEqual(sizes, names.map(() => 1));
    for (const post of to.posts) assertSigned(app, post);
  }
});

story('whoever is back within three seconds makes no webhook at all', async (t) => {
  const app = await server.app({ name: 'grace' });
  const to = await receiver(t);
  await hook(app, to);
  const first = client(t, server, app, { user: { id: 'ana', info: {} } });
  await subscribed(first, 'presence-page');
  await until(() => events(to).length === 2, 'occupied and added');
  for (let n = 0; n < 3; n += 1) {
    const before = Date.now();
    first.disconnect();
    await sleep(300);
    first.connect();
    await until(() => first.connection.state === 'connected' && first.channel('presence-page').subscribed, 'the reload');
    assert.ok(Date.now() - before < GRACE_MS - 500);
  }
  await sleep(GRACE_MS + 500);
  assert.deepEqual(events(to).map(({ name }) => name).sort(), ['channel_occupied', 'member_added']);
  const left = Date.now();
  first.disconnect();
  await until(() => events(to).length === 4, 'a real end', GRACE_MS + 3_000);
  assert.ok(Date.now() - left >= GRACE_MS - 50);
});

story('an endpoint that answers 500 is tried again after 1 and 2 s with the same body, and rows and log tell of it', async (t) => {
  const app = await server.app({ name: 'retries' });
  let failing = false;
  let failures = 0;
  const to = await receiver(t, (response) => {
    if (failing && failures < 2) {
      failures += 1;
      response.writeHead(500, { 'x-why': 'tired' }).end('not now');
    } else response.writeHead(204).end();
  });
  const made = await hook(app, to, { kinds: ['channel_occupied'] });
  failing = true;
  await subscribed(client(t, server, app), 'orders');
  await until(() => to.posts.length === 3, () => `three attempts, seen ${to.posts.length}`, 10_000);
  const waits = [to.posts[1].at - to.posts[0].at, to.posts[2].at - to.posts[1].at];
  assert.ok(waits[0] >= 950 && waits[0] < 2_000 && waits[1] >= 1_950 && waits[1] < 3_500, `${waits}`);
  assert.equal(new Set(to.posts.map(({ rawBody }) => rawBody)).size, 1);
  for (const post of to.posts) assertSigned(app, post);

  const [listed] = await until(async () => {
    const all = await deliveries(app, '--state', 'delivered');
    return all.length === 1 && all;
  }, 'the delivery in the log');
  assert.equal(listed.endpoint, made.id);
  const one = await delivery(app, listed.id);
  assert.deepEqual(one.attempts.map(({ status }) => status), [500, 500, 204]);
  assert.equal(one.attempts[0].response_body, 'not now');
  assert.ok(one.attempts[0].response_headers.some(([name, value]) => name === 'x-why' && value === 'tired'));
  assert.ok(one.attempts[0].request_headers.some(([name]) => name === 'x-pusher-signature'));
  assert.equal(one.body, to.posts[0].rawBody);

  const failed = await rowsOf(app, 'webhook_failed');
  assert.deepEqual(failed.map(({ details }) => details), [`POST ${to.url} → 500 · attempt 1 · next in 1 s`, `POST ${to.url} → 500 · attempt 2 · next in 2 s`]);
  const sent = (await rowsOf(app, 'webhook_sent')).at(-1);
  assert.match(sent.details, /^POST http:\/\/127\.0\.0\.1:\d+\/hooks → 204 in \d+ ms · 1 event$/);
  assert.equal(JSON.stringify(await owner.rows(app)).includes(app.secret), false);
});

story('two apps of two accounts with batching never see each other’s events, and each POST counts as a message', async (t) => {
  const email = 'other-tenant@example.test';
  const stranger = await new Visitor(server.url).signUp({ email, password: OWNER.password });
  const apps = [await server.app({ name: 'ours' }), await server.app({ name: 'theirs', owner: email })];
  const receivers = [await receiver(t), await receiver(t)];
  for (const n of [0, 1]) await hook(apps[n], receivers[n], { kinds: ['channel_occupied'] });
  const before = (await stranger.stat(apps[1])).messages;
  const clients = apps.map((app) => client(t, server, app));
  await Promise.all(clients.map(connected));
  for (let n = 0; n < 30; n += 1) clients.forEach((pusher, which) => collecting(pusher, `app-${which}-${n}`));
  for (const which of [0, 1]) {
    await until(() => events(receivers[which]).length === 30, () => `30 events, seen ${events(receivers[which]).length}`);
    assert.ok(events(receivers[which]).every(({ channel }) => channel.startsWith(`app-${which}-`)));
    for (const post of receivers[which].posts) {
      assert.equal(post.headers['x-pusher-key'], apps[which].key);
      assertSigned(apps[which], post);
      assert.equal(backEnd(server, apps[1 - which]).webhook({ headers: post.headers, rawBody: post.rawBody }).isValid(), false);
    }
  }
  const used = (await stranger.stat(apps[1])).messages - before;
  assert.equal(used, receivers[1].posts.length);
});

story('endpoints that hang, drip or answer a gigabyte delay nobody else, not even another channel of their own app for long', async (t) => {
  const bad = await server.app({ name: 'bad' });
  const good = await server.app({ name: 'good' });
  let hanging = false;
  const hang = await receiver(t, (response) => (hanging ? undefined : response.end()));
  const drip = await receiver(t, (response) => {
    if (!hanging) return response.end();
    response.writeHead(200, { 'content-length': 1e9 });
    const timer = setInterval(() => response.write('.'), 1_000);
    response.on('close', () => clearInterval(timer));
  });
  const huge = await receiver(t, (response) => {
    if (!hanging) return response.end();
    response.writeHead(200, { 'content-length': 1e9 });
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536, 120)));
    };
    response.on('drain', more);
    more();
  });
  for (const to of [hang, drip, huge]) await hook(bad, to, { kinds: ['channel_occupied'] });
  const to = await receiver(t);
  await hook(good, to, { kinds: ['channel_occupied'] });
  hanging = true;
  const noisy = client(t, server, bad);
  const quiet = client(t, server, good);
  await Promise.all([connected(noisy), connected(quiet)]);
  for (let n = 0; n < 200; n += 1) collecting(noisy, `noise-${n}`);
  await until(() => hang.posts.length > 0 && drip.posts.length > 0 && huge.posts.length > 0, 'the bad ones to be called');
  for (let n = 0; n < 5; n += 1) {
    const began = Date.now();
    await subscribed(quiet, `calm-${n}`);
    await until(() => events(to).length === n + 1, 'the good one');
    const took = to.posts.at(-1).at - began;
    assert.ok(took < 1_000, `${took} ms`);
  }
  await until(() => events(huge).length === 200, () => `all to the one that answers too much, seen ${events(huge).length}`, 10_000);
  const log = await until(async () => {
    const all = await deliveries(bad, '--state', 'delivered');
    return all.length >= 10 && all;
  }, 'the log');
  const one = await delivery(bad, log[0].id);
  assert.ok(one.attempts[0].response_body.length <= 10_240);
});

story('filters, own headers, switching off, test events, sending again and recovering', async (t) => {
  const app = await server.app({ name: 'endpoints' });
  let status = 200;
  const to = await receiver(t, (response) => response.writeHead(status).end());
  const made = await hook(app, to, { kinds: ['channel_occupied'], channels: 'glob:private-*.done', headers: ['X-Token: my own', 'Authorization: Bearer abc'] });
  const pusher = client(t, server, app);
  for (const name of ['private-1.done', 'private-1.open', 'public.done', 'private-2.done']) await subscribed(pusher, name);
  await until(() => events(to).length === 2, 'the two that match');
  assert.deepEqual(events(to).map(({ channel }) => channel), ['private-1.done', 'private-2.done']);
  assert.equal(to.posts[0].headers['x-token'], 'my own');
  assert.equal(to.posts[0].headers.authorization, 'Bearer abc');
  const listed = await hooks(['list', '--app', app.id]);
  assert.deepEqual(listed.map(({ id, url, kinds, channels, state }) => ({ id, url, kinds, channels, state })), [
    { id: made.id, url: to.url, kinds: ['channel_occupied'], channels: { glob: 'private-*.done' }, state: 'healthy' },
  ]);
  assert.equal(JSON.stringify(listed).includes('Bearer'), false);

  for (const kind of ['channel_occupied', 'channel_vacated', 'member_added', 'member_removed', 'client_event', 'cache_miss', 'subscription_count', 'quota_threshold']) {
    to.posts.length = 0;
    const { delivery: id } = await hooks(['test', '--app', app.id, made.id, '--kind', kind]);
    await until(() => to.posts.length === 1, `the test of ${kind}`);
    assertSigned(app, to.posts[0]);
    assert.equal(to.posts[0].json.events[0].name, kind);
    await until(async () => (await delivery(app, id)).state === 'delivered', 'the log');
  }

  await hooks(['off', '--app', app.id, made.id]);
  to.posts.length = 0;
  await until(async () => (await rowsOf(app, 'config_changed')).at(-1)?.details.includes('0 webhooks'), 'the server to know');
  await subscribed(pusher, 'private-3.done');
  await sleep(600);
  assert.equal(to.posts.length, 0);
  await hooks(['on', '--app', app.id, made.id]);

  const [last] = await deliveries(app, '--state', 'delivered');
  await hooks(['resend', '--app', app.id, last.id]);
  await until(() => to.posts.length === 1, 'the delivery once more');
  const first = await delivery(app, last.id);
  assert.deepEqual(to.posts[0].json.events, JSON.parse(first.body).events);
  assert.ok(Date.now() - to.posts[0].json.time_ms < 5_000, 'its time is new, or receivers would refuse it');
  assertSigned(app, to.posts[0]);
  assert.notEqual((await command(['webhooks', 'resend', '--app', app.id, `whd_${'0'.repeat(32)}`], { dataDir: server.dataDir })).code, 0);

  await hooks(['delete', '--app', app.id, made.id]);
  assert.deepEqual(await hooks(['list', '--app', app.id]), []);
  assert.deepEqual(await hooks(['deliveries', '--app', app.id]), []);
});

story('more than fits in memory waits in storage, and all of it arrives once', async (t) => {
  const app = await server.app({ name: 'overflow', clientEvents: true, switches: { webhookBatching: false } });
  const to = await receiver(t, (response) => setTimeout(() => response.end(), 10));
  await hook(app, to, { kinds: ['channel_occupied'] });
  const pusher = client(t, server, app);
  await connected(pusher);
  const names = Array.from({ length: 400 }, (_, n) => `many-${n}`);
  for (const name of names) collecting(pusher, name);
  await until(() => events(to).length >= names.length, () => `${names.length} events, seen ${events(to).length}`, 25_000);
  await sleep(500);
  assert.deepEqual(events(to).map(({ channel }) => channel).sort(), [...names].sort());
});

story('https: a certificate of a known authority is accepted, any other refused', async (t) => {
  const directory = temporaryDirectory('tls');
  const [key, cert] = [path.join(directory, 'key.pem'), path.join(directory, 'cert.pem')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=hooks', '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const to = await receiver(t, undefined, 0, { key: readFileSync(key), cert: readFileSync(cert) });
  const trusting = await startServer({ env: { ...ALLOW, SSL_CERT_FILE: cert } });
  t.after(() => trusting.stop());
  const app = await trusting.app({ name: 'tls' });
  await hook(app, to, { on: trusting });
  await subscribed(client(t, trusting, app), 'over-tls');
  await until(() => events(to, 'channel_occupied').length === 1, 'the event over TLS');
  assertSigned(app, to.posts[0]);

  const strict = await server.app({ name: 'tls, unknown authority' });
  const made = await add(strict, to.url);
  to.posts.length = 0;
  const { delivery: id } = await hooks(['test', '--app', strict.id, made.id]);
  const tried = await until(async () => {
    const one = await delivery(strict, id);
    return one.attempts.length > 0 && one;
  }, 'the attempt');
  assert.match(tried.attempts[0].error, /^TLS: .*certificate/);
  assert.equal(to.posts.length, 0);
});

story('addresses that are not on the public internet are refused, when saved and when sent', async (t) => {
  const strict = await startServer();
  t.after(() => strict.stop());
  const app = await strict.app({ name: 'guarded' });
  const to = await receiver(t);
  for (const url of [to.url, 'http://localhost/x', 'http://127.1/', 'http://2130706433/', 'http://0x7f.1/', 'http://[::1]/', 'http://[::ffff:7f00:1]/', 'http://169.254.169.254/latest', 'http://10.0.0.1/', 'http://user@10.0.0.1/', 'ftp://example.com/', 'http://example.com:22/']) {
    const refused = await command(['webhooks', 'add', '--app', app.id, '--url', url], { dataDir: strict.dataDir });
    assert.notEqual(refused.code, 0, url);
    assert.ok(refused.stderr.trim().length > 10, url);
  }
  assert.deepEqual(await hooks(['list', '--app', app.id], { dataDir: strict.dataDir }), []);
  // As if the list had been longer when it was saved: the server asks again.
  const made = await add(app, to.url, { on: strict });
  const { delivery: id } = await hooks(['test', '--app', app.id, made.id], { dataDir: strict.dataDir });
  const tried = await until(async () => {
    const one = await hooks(['deliveries', '--app', app.id, id], { dataDir: strict.dataDir });
    return one.attempts.length > 0 && one;
  }, 'the attempt', 10_000);
  assert.match(tried.attempts[0].error, /not on the public internet/);
  assert.equal(to.posts.length, 0);
});

story('a delivery that is not through goes on after a stop and after a kill, once', async (t) => {
  const own = await startServer({ env: ALLOW });
  t.after(() => own.stop());
  const app = await own.app({ name: 'restarts' });
  const port = await freePort();
  const first = await receiver(t, undefined, port);
  await hook(app, first, { kinds: ['channel_occupied'], on: own });
  for (const [signal, deadlineMs] of [['SIGTERM', 12_000], ['SIGKILL', TAKEN_OVER_WITHIN_MS]]) {
    await first.close();
    const pusher = client(t, own, app);
    await subscribed(pusher, `before-${signal}`);
    // Stored and tried: it is safe from now on.
    await until(async () => {
      const [newest] = await hooks(['deliveries', '--app', app.id, '--state', 'pending'], { dataDir: own.dataDir });
      return newest?.attempts.length > 0;
    }, 'the first attempt', 8_000);
    pusher.disconnect();
    await own.stop(signal);
    const again = await receiver(t, undefined, port);
    await own.start();
    await until(() => events(again, 'channel_occupied').some(({ channel }) => channel === `before-${signal}`), () => `the event after ${signal}, seen ${JSON.stringify(events(again))}`, deadlineMs);
    for (const post of again.posts) assertSigned(app, post);
    await sleep(1_500);
    assert.equal(events(again).filter(({ channel }) => channel === `before-${signal}`).length, 1);
    await again.close();
  }
}, { deadlineMs: 90_000 });

story('a restart in between is no end: who is back makes no webhook, who stays away does', async (t) => {
  const own = await startServer({ env: { ...ALLOW, FANFARE_DRAIN_SECONDS: '0' } });
  t.after(() => own.stop());
  const app = await own.app({ name: 'held' });
  const to = await receiver(t);
  await hook(app, to, { kinds: ['channel_occupied', 'channel_vacated'], on: own });
  // pusher-js comes back by itself when a server tells it to, a socket of bytes does not.
  await (await RawSocket.connect(t, own, app)).subscribe('stays-away');
  const pusher = client(t, own, app);
  await subscribed(pusher, 'comes-back');
  await until(() => events(to).length === 2, 'both');
  to.posts.length = 0;
  await own.stop();
  await own.start();
  await until(() => pusher.connection.state === 'connected' && pusher.channel('comes-back').subscribed, 'the client to be back');
  await until(() => events(to).length > 0, 'the end of the other', GRACE_MS + 5_000);
  await sleep(1_500);
  assert.deepEqual(events(to), [{ name: 'channel_vacated', channel: 'stays-away' }]);
});

story('two nodes on one database send each delivery once, and one takes over what the other left', async (t) => {
  const one = await startServer({ env: ALLOW });
  t.after(() => one.stop());
  const two = await startServer({ env: ALLOW, dataDir: one.dataDir });
  t.after(() => two.stop());
  const app = await one.app({ name: 'two nodes' });
  await two.serves(app);
  let down = false;
  const to = await receiver(t, (response) => response.writeHead(down ? 503 : 200).end());
  await hook(app, to, { kinds: ['channel_occupied'], on: one });
  const clients = [client(t, one, app), client(t, two, app)];
  await Promise.all(clients.map(connected));
  let probes = 0;
  await until(async () => {
    probes += 1;
    await Promise.all(clients.map((pusher, which) => subscribed(pusher, `probe-${which}-${probes}`)));
    return [0, 1].every((which) => events(to).some(({ channel }) => channel.startsWith(`probe-${which}-`)));
  }, 'both nodes to know the endpoint');
  await sleep(500);
  to.posts.length = 0;
  for (let n = 0; n < 60; n += 1) collecting(clients[n % 2], `c-${n}`);
  await until(() => events(to).length >= 60, () => `60 events, seen ${events(to).length}`, 10_000);
  await sleep(1_500);
  const names = events(to).map(({ channel }) => channel);
  assert.equal(names.length, 60);
  assert.equal(new Set(names).size, 60);

  down = true;
  to.posts.length = 0;
  await subscribed(clients[0], 'left-behind');
  await until(() => to.posts.length > 0, 'the first attempt');
  await one.stop('SIGKILL');
  down = false;
  const before = to.posts.length;
  await until(() => to.posts.length > before, 'the other node to go on', TAKEN_OVER_WITHIN_MS + 10_000);
  await sleep(1_500);
  assert.equal(to.posts.length, before + 1);
  assert.deepEqual(to.posts.at(-1).json, to.posts[0].json);
}, { deadlineMs: 60_000 });

story('recovering sends again what was given up', async (t) => {
  const app = await server.app({ name: 'recovered' });
  const to = await receiver(t);
  const made = await hook(app, to, { kinds: ['channel_occupied'] });
  // Given up at once: what is on its way when its endpoint is switched off.
  let status = 500;
  const failing = await receiver(t, (response) => response.writeHead(status).end());
  const other = await add(app, failing.url, { kinds: ['channel_occupied'] });
  await until(async () => (await rowsOf(app, 'config_changed')).some(({ details }) => details.includes('2 webhooks')), 'the server to know');
  await subscribed(client(t, server, app), 'orders');
  await until(() => failing.posts.length > 0, 'the first attempt');
  await hooks(['off', '--app', app.id, other.id]);
  const [failed] = await until(async () => {
    const all = await deliveries(app, '--state', 'failed');
    return all.length === 1 && all;
  }, 'it to be given up', 15_000);
  assert.equal(failed.endpoint, other.id);
  status = 200;
  failing.posts.length = 0;
  assert.deepEqual(await hooks(['recover', '--app', app.id, made.id]), { count: 0 });
  assert.deepEqual(await hooks(['recover', '--app', app.id, other.id]), { count: 1 });
  await until(() => failing.posts.length === 1, 'the recovered one, though the endpoint is off');
  assertSigned(app, failing.posts[0]);
  assert.deepEqual(await until(async () => (await delivery(app, failed.id)).state === 'delivered' && 'ok', 'the log'), 'ok');
});
