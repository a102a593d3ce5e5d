// The control plane in a process of its own, and nodes without a database: what they know, what they tell, and what goes on while
// the other side is away.
import http from 'node:http';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { arrives, backEnd, client, subscribed } from './clients.mjs';
import { OWNER, commandOk, freePort, sleep, startServer, story, until } from './harness.mjs';
import { CLOSE, RawSocket } from './rawsocket.mjs';
import { startRedis } from './redis.mjs';
import { Visitor, switchApp } from './visitor.mjs';

const ends = [];
const redis = await startRedis({ after: (end) => ends.push(end) });
const ports = { eu: await freePort(), us2: await freePort() };
const urls = { eu: `http://127.0.0.1:${ports.eu}`, us2: `http://127.0.0.1:${ports.us2}` };
const shared = { FANFARE_REDIS_URL: redis.url, FANFARE_WEBHOOK_ALLOW: '127.0.0.1' };
const control = await startServer({ env: { ...shared, FANFARE_ROLE: 'control', FANFARE_CLUSTER: 'eu', FANFARE_CLUSTER_URLS: `eu=${urls.eu},us2=${urls.us2}` } });
const nodeOf = (cluster, token, { port, env = {} } = {}) =>
  startServer({ owner: false, port, env: { ...shared, FANFARE_ROLE: 'realtime', FANFARE_CLUSTER: cluster, FANFARE_CONTROL_URL: control.url, FANFARE_NODE_TOKEN: token, ...env } });
const tokens = { eu: await nodeToken('eu'), us2: await nodeToken('us2') };
const one = await nodeOf('eu', tokens.eu, { port: ports.eu });
const two = await nodeOf('eu', tokens.eu);
const away = await nodeOf('us2', tokens.us2, { port: ports.us2 });
after(async () => {
  await Promise.all([one, two, away, control].map((server) => server.stop()));
  await Promise.all(ends.map((end) => end()));
});

async function nodeToken(cluster, ...more) {
  const { stdout } = await commandOk(['node', 'token', '--cluster', cluster, '--name', 'a node', ...more], { dataDir: control.dataDir });
  return stdout.trim();
}

/** An app with a plan of its own, so that nothing else is counted with it. */
async function made(name, cluster = 'eu') {
  const { stdout } = await commandOk(['apps', 'create', '--name', name, '--cluster', cluster, '--plan', 'pro', '--json'], { dataDir: control.dataDir });
  return JSON.parse(stdout);
}

async function app(name) {
  const created = await made(name);
  await Promise.all([one, two].map((node) => node.serves(created, 1_500)));
  return created;
}

const asNode = (token, call = '"Hello"') =>
  fetch(`${control.url}/internal/node/call`, { method: 'POST', headers: token === undefined ? {} : { authorization: `Bearer ${token}` }, body: call });

/** The close frame that a socket with this key gets. */
async function closed(t, server, key) {
  const raw = await RawSocket.open(t, server, `/app/${key}?protocol=7&client=js&version=8.6.0`);
  const code = await raw.closeCode();
  return { code, reason: raw.frames.find((frame) => frame.opcode === CLOSE).reason };
}

story('what one node takes arrives at the other, and neither has a database', async (t) => {
  const shop = await app('shop');
  const channel = await subscribed(client(t, two, shop), 'news');
  await backEnd(one, shop).trigger('news', 'hello', { n: 1 });
  await arrives(channel, 'hello');
  for (const node of [one, two]) {
    const { stdout } = await commandOk(['config', 'print'], { dataDir: node.dataDir });
    assert.ok(stdout.length > 0);
    assert.throws(() => readFileSync(`${node.dataDir}/fanfare.db`), /ENOENT/);
    assert.throws(() => readFileSync(`${node.dataDir}/secret-key`), /ENOENT/);
  }
});

story('each role serves its own, and says where the rest is', async (t) => {
  const shop = await app('roles');
  const rest = await control.rest(shop, 'GET', `/apps/${shop.id}/channels`);
  assert.equal(rest.status, 404);
  assert.match(rest.text, /no sockets/);
  assert.deepEqual(await closed(t, control, shop.key), { code: 4001, reason: `This node has no sockets: connect to ws://127.0.0.1:${ports.eu}` });
  for (const path of ['/login', '/dash', '/api/v1/apps', '/internal/node/changes']) {
    const answer = await fetch(`${one.url}${path}`, { redirect: 'manual' });
    assert.equal(answer.status, 404, path);
    assert.match(await answer.text(), /control plane/);
  }
  assert.equal((await fetch(`${control.url}/login`)).status, 200);
  const metrics = await until(() => /metrics are at (http:\S+)/.exec(one.output)?.[1], 'the address of the metrics');
  const text = await (await fetch(metrics)).text();
  const found = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => (kind === 'counter' ? `${name}_total` : name));
  const document = readFileSync(new URL('../../docs/METRICS.md', import.meta.url), 'utf8');
  const told = [...document.matchAll(/^\| `((?:fanfare|process)_\w+)` \| (counter|gauge)/gm)].map(([, name]) => name).filter((name) => name !== 'fanfare_database_up');
  assert.deepEqual(found.sort(), told.sort());
  assert.match(text, /^fanfare_control_up 1(\.0)?$/m);
});

story('an app that is made, changed or disabled is so on each node within a second', async (t) => {
  const shop = await made('changes');
  const ms = await Promise.all([one, two].map((node) => node.serves(shop)));
  assert.ok(ms.every((one) => one < 1_500), ms.join());
  const pusher = client(t, one, shop);
  await subscribed(pusher, 'news');
  const visitor = new Visitor(control.url);
  await visitor.signIn(OWNER);
  const started = Date.now();
  await switchApp(visitor, shop, 'disable');
  await until(async () => (await two.rest(shop, 'GET', `/apps/${shop.id}/channels`)).status === 403, 'the app to be off');
  await until(() => pusher.connection.state !== 'connected', 'the sockets to be closed');
  assert.ok(Date.now() - started < 2_000);
});

story('use is counted by nodes and shown by the control plane', async (t) => {
  const shop = await app('counted');
  const visitor = new Visitor(control.url);
  await visitor.signIn(OWNER);
  await subscribed(client(t, two, shop), 'news');
  for (let n = 0; n < 10; n += 1) await one.publish(shop, 'news', 'n', { n });
  // Ten publishes, ten deliveries, and the two requests of `app`.
  await until(async () => (await visitor.stat(shop)).messages === 22, async () => JSON.stringify(await visitor.stat(shop)), 10_000);
});

story('a token that is changed, revoked or of nobody opens nothing', async () => {
  assert.equal((await asNode(tokens.eu)).status, 200);
  const revoked = await nodeToken('eu');
  const { stdout } = await commandOk(['node', 'list'], { dataDir: control.dataDir });
  const id = stdout.trim().split('\n').map((line) => line.split(/\s+/)[0]).find((one) => Buffer.from(revoked.split('.')[1], 'base64url').toString().includes(one));
  assert.equal((await asNode(revoked)).status, 200);
  await commandOk(['node', 'revoke', id], { dataDir: control.dataDir });
  const [head, , signature] = tokens.eu.split('.');
  const forged = `${head}.${Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(tokens.eu.split('.')[1], 'base64url')), cluster: 'us2' })).toString('base64url')}.${signature}`;
  for (const token of [undefined, '', 'x', revoked, forged, tokens.eu.slice(0, -3)]) {
    const answer = await asNode(token);
    assert.equal(answer.status, 401, String(token));
    assert.equal((await fetch(`${control.url}/internal/node/changes?after=0`, { headers: token ? { authorization: `Bearer ${token}` } : {} })).status, 401);
  }
  for (const server of [control, one, two, away]) {
    for (const token of [tokens.eu, tokens.us2, revoked]) assert.ok(!server.output.includes(token.split('.')[2]), 'no log has a token');
  }
});

story('a node gets the apps of its own cluster alone, and says where the others are', async (t) => {
  const foreign = await made('far', 'us2');
  await away.serves(foreign, 1_500);
  assert.deepEqual(await closed(t, one, foreign.key), { code: 4001, reason: `This app lives in cluster us2: connect to ws://127.0.0.1:${ports.us2}` });
  const rest = await one.rest(foreign, 'GET', `/apps/${foreign.id}/channels`);
  assert.equal(rest.status, 404);
  assert.match(rest.text, new RegExp(`lives in cluster us2: send this to ${urls.us2}`));
  for (const call of [{ App: { Key: foreign.key } }, { App: { Id: Number(foreign.id) } }]) {
    const answer = await asNode(tokens.eu, JSON.stringify(call));
    assert.equal(await answer.text(), 'null');
    const own = await asNode(tokens.us2, JSON.stringify(call));
    assert.ok((await own.text()).includes(foreign.secret));
  }
});

story('the dashboard shows each app with the address of its cluster, and its console connects there', async () => {
  const near = await app('near');
  const visitor = new Visitor(control.url);
  await visitor.signIn(OWNER);
  const answer = await visitor.page(`/dash/apps/${near.id}/console`);
  assert.match(answer.text, new RegExp(`data-sockets="${urls.eu}"`));
  const policy = answer.headers.get('content-security-policy');
  for (const part of [urls.eu, `ws://127.0.0.1:${ports.us2}`]) assert.ok(policy.includes(part), policy);
  const { stdout } = await commandOk(['apps', 'env', near.id], { dataDir: control.dataDir, env: control.env });
  assert.match(stdout, new RegExp(`PORT=${ports.eu}`));
});

async function hooks(t, shop, events) {
  const got = [];
  const server = http.createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => (text += chunk));
    request.on('end', () => {
      got.push(...JSON.parse(text).events);
      response.end('ok');
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  await commandOk(['webhooks', 'add', '--app', shop.id, '--url', `http://127.0.0.1:${server.address().port}/`, '--kinds', events], { dataDir: control.dataDir, env: control.env });
  return got;
}

story('a webhook of a node without a database is sent once, and is in the log of the control plane', async (t) => {
  const shop = await app('hooked');
  const got = await hooks(t, shop, 'channel_occupied');
  await sleep(1_000);
  await subscribed(client(t, one, shop), 'news');
  await until(() => got.length >= 1, 'the webhook', 10_000);
  await sleep(2_000);
  assert.deepEqual(got.map(({ name, channel }) => `${name} ${channel}`), ['channel_occupied news']);
});

story('without the control plane known apps go on, and what was counted and told meanwhile is there after its return', async (t) => {
  const shop = await app('goes on');
  const got = await hooks(t, shop, 'channel_occupied');
  await sleep(1_000);
  await control.stop('SIGKILL');
  await until(async () => /control plane can't be reached since \d{4}-/.test(await (await fetch(`${one.url}/readyz`)).text()), 'readyz to say so', 10_000);
  assert.equal((await fetch(`${one.url}/readyz`)).status, 200);
  const channel = await subscribed(client(t, two, shop), 'meanwhile');
  for (let n = 0; n < 5; n += 1) await one.publish(shop, 'meanwhile', 'n', { n });
  await arrives(channel, 'n', 5);
  const { code } = await closed(t, one, 'feedfeedfeedfeedfeed');
  assert.equal(code, 4100, 'whether there is such a key is not known now');
  assert.equal((await one.rest({ id: '999999', key: 'x', secret: 'x' }, 'GET', '/apps/999999/channels')).status, 503);
  await control.start();
  await until(async () => (await (await fetch(`${one.url}/readyz`)).text()) === 'ready\n', 'the node to be well', 10_000);
  await until(() => got.length >= 1, 'the webhook of meanwhile', 15_000);
  assert.equal(got.length, 1);
  const later = await made('later');
  await one.serves(later, 2_000);
  const visitor = new Visitor(control.url);
  await visitor.signIn(OWNER);
  // Five publishes and deliveries, the two requests of `app`, and the webhook.
  await until(async () => (await visitor.stat(shop)).messages === 13, async () => JSON.stringify(await visitor.stat(shop)), 10_000);
});

story('a node that starts before its control plane waits for it', async (t) => {
  const token = await nodeToken('eu');
  await control.stop();
  const starting = nodeOf('eu', token);
  await sleep(1_500);
  await control.start();
  const node = await starting;
  t.after(() => node.stop());
  const shop = await made('late');
  await node.serves(shop, 2_000);
});
