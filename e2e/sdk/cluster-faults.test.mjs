// What breaks between nodes: Redis ends, stands still, is started empty, or is out of reach of one node. What is accepted arrives,
// what can't arrive is refused, nobody is told what did not happen, and all is well again within seconds.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { arrives, backEnd, client, named, subscribed } from './clients.mjs';
import { commandOk, sleep, startServer, story, temporaryDirectory, until } from './harness.mjs';
import { certificate } from './certificates.mjs';
import { Wire, startRedis } from './redis.mjs';

const ends = [];
const redis = await startRedis({ after: (end) => ends.push(end) });
const wire = await new Wire(redis.port).start();
const env = { FANFARE_REDIS_URL: redis.url, FANFARE_WEBHOOK_ALLOW: '127.0.0.1' };
const one = await startServer({ env });
// The second node reaches Redis through a wire that can be cut.
const two = await startServer({ env: { ...env, FANFARE_REDIS_URL: `redis://127.0.0.1:${wire.port}` }, dataDir: one.dataDir });
const nodes = [one, two];
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  wire.stop();
  await Promise.all(ends.map((end) => end()));
});

const isReady = async (node) => (await fetch(`${node.url}/readyz`)).status === 200;
const allReady = () => until(async () => (await Promise.all(nodes.map(isReady))).every(Boolean), 'all nodes to be ready', 10_000);
await allReady();

async function app(options) {
  const made = await one.app(options);
  await Promise.all(nodes.map((node) => node.serves(made)));
  return made;
}

const publish = (node, made, channel, name, data) => node.rest(made, 'POST', `/apps/${made.id}/events`, { body: { name, channel, data: JSON.stringify(data) } });

async function room(t, made, channel = 'presence-room') {
  const members = nodes.map((node, at) => client(t, node, made, { user: { id: `user-${at}` } }));
  const channels = await Promise.all(members.map((member) => subscribed(member, channel)));
  await until(() => channels.every(({ members: { count } }) => count === 2), 'both to be there');
  return { members, channels };
}

async function hooks(t, made) {
  const got = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      got.push(...JSON.parse(body).events);
      response.writeHead(200).end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  await commandOk(['webhooks', 'add', '--app', made.id, '--url', `http://127.0.0.1:${server.address().port}/`, '--kinds', 'channel_occupied,channel_vacated,member_added,member_removed'], { dataDir: one.dataDir, env });
  await sleep(1_500); // every node asks for changes twice a second
  return got;
}

story('Redis ends and is started empty: sockets stay, publishes are refused meanwhile, and nobody is told of a coming or going', async (t) => {
  const made = await app({ name: 'restart' });
  const got = await hooks(t, made);
  const { members, channels } = await room(t, made);
  await until(() => got.length === 3, () => JSON.stringify(got));
  const sockets = members.map((member) => member.connection.socket_id);
  const before = channels.map(({ events }) => events.length);
  await redis.stop();
  await until(async () => !(await isReady(one)) && !(await isReady(two)), 'both nodes to notice', 3_000);
  const started = Date.now();
  for (const node of nodes) {
    const refused = await publish(node, made, 'presence-room', 'lost', {});
    assert.equal(refused.status, 503, refused.text);
    assert.match(refused.text, /nothing was published/);
    assert.ok(Number(refused.headers.get('retry-after')) >= 1, 'it says when to come back');
  }
  assert.ok(Date.now() - started < 1_000, 'they were refused at once');
  await sleep(500);
  await redis.start();
  await allReady();
  for (const [at, node] of nodes.entries()) {
    assert.equal((await publish(node, made, 'presence-room', `after-${at}`, {})).status, 200);
    await Promise.all(channels.map((channel) => arrives(channel, `after-${at}`)));
    const { users } = await (await backEnd(node, made).get({ path: '/channels/presence-room/users' })).json();
    assert.deepEqual(users.map(({ id }) => id).sort(), ['user-0', 'user-1']);
  }
  await sleep(4_000); // longer than ends of webhooks wait
  assert.deepEqual(members.map((member) => member.connection.socket_id), sockets, 'nobody was disconnected');
  for (const [at, channel] of channels.entries()) assert.deepEqual(channel.events.slice(before[at]).map(({ event }) => event), ['after-0', 'after-1']);
  assert.equal(got.length, 3, JSON.stringify(got));
}, { deadlineMs: 60_000 });

story('Redis stands still: what was accepted arrives when it goes on, once and in order, and the rest was refused', async (t) => {
  const made = await app({ name: 'paused' });
  const { channels } = await room(t, made);
  redis.pause();
  const accepted = [];
  for (let n = 0; n < 60; n += 1) {
    if ((await publish(nodes[n % 2], made, 'presence-room', `n${n % 2}`, { n })).status === 200) accepted.push(n);
    await sleep(50);
  }
  assert.ok(accepted.length > 0 && accepted.length < 60, `${accepted.length} accepted`);
  assert.ok(accepted.at(-1) < 45, 'a second of silence is enough to notice');
  redis.goOn();
  await allReady();
  for (const [at, channel] of channels.entries()) {
    for (const from of [0, 1]) {
      const expected = accepted.filter((n) => n % 2 === from);
      await arrives(channel, `n${from}`, expected.length);
      assert.deepEqual(named(channel, `n${from}`).map(({ data }) => data.n), expected, `publisher ${from} at subscriber ${at}`);
    }
    assert.deepEqual(named(channel, 'pusher:member_removed'), []);
  }
}, { deadlineMs: 60_000 });

story('one node can’t reach Redis: it refuses, the others go on and miss it; back again it is whole, and its clients are told', async (t) => {
  const made = await app({ name: 'partition' });
  const { members, channels } = await room(t, made);
  const socket = members[1].connection.socket_id;
  wire.cut();
  await until(async () => !(await isReady(two)), 'the node to notice', 3_000);
  assert.equal((await publish(two, made, 'presence-room', 'x', {})).status, 503);
  assert.equal((await publish(one, made, 'presence-room', 'here', {})).status, 200);
  await arrives(channels[0], 'here');
  await until(() => named(channels[0], 'pusher:member_removed').length === 1, 'the missing node’s member to leave', 15_000);
  wire.mend();
  await allReady();
  await until(() => members[1].connection.state === 'connected' && members[1].connection.socket_id !== socket, 'its client to come anew', 15_000);
  await until(() => channels.every(({ members: { count } }) => count === 2), 'both to see both', 10_000);
  assert.equal((await publish(one, made, 'presence-room', 'again', {})).status, 200);
  await Promise.all(channels.map((channel) => arrives(channel, 'again')));
  const facts = await (await backEnd(one, made).get({ path: '/channels/presence-room', params: { info: 'user_count,subscription_count' } })).json();
  assert.deepEqual(facts, { occupied: true, user_count: 2, subscription_count: 2 });
}, { deadlineMs: 60_000 });

/** Two nodes on a Redis at this address, with a prefix. */
async function pair(t, url, extra = {}) {
  const first = await startServer({ env: { FANFARE_REDIS_URL: url, FANFARE_REDIS_PREFIX: 'elsewhere', ...extra } });
  t.after(() => first.stop());
  const second = await startServer({ env: { FANFARE_REDIS_URL: url, FANFARE_REDIS_PREFIX: 'elsewhere', ...extra }, dataDir: first.dataDir });
  t.after(() => second.stop());
  await until(async () => (await isReady(first)) && (await isReady(second)), 'both to be ready', 10_000);
  const made = await first.app({ name: 'pair' });
  await second.serves(made);
  return { first, second, made };
}

story('Redis may want a password and TLS, and what is in it stands behind the prefix', async (t) => {
  const { cert, key } = certificate(temporaryDirectory('certificates'), 'redis');
  const secured = await startRedis(t, { password: 'let-me-in', tls: { certificate: cert, key, authority: cert } });
  const { first, second, made } = await pair(t, secured.url, { SSL_CERT_FILE: cert });
  const channel = await subscribed(client(t, second, made), 'news');
  assert.equal((await publish(first, made, 'news', 'hello', {})).status, 200);
  await arrives(channel, 'hello');
  assert.doesNotMatch(first.output + second.output, /let-me-in/);
  const keys = (await secured.cli('--scan')).split('\n').filter(Boolean);
  assert.ok(keys.length > 0 && keys.every((name) => name.startsWith('elsewhere:local:')), keys.join());
});

story('sentinels name another master when the first one dies: the nodes follow within seconds', async (t) => {
  const master = await startRedis(t, { args: ['--repl-diskless-sync-delay', '0'] });
  const replica = await startRedis(t, { args: ['--replicaof', '127.0.0.1', String(master.port)] });
  const folder = temporaryDirectory('sentinel');
  const file = path.join(folder, 'sentinel.conf');
  writeFileSync(file, `sentinel monitor main 127.0.0.1 ${master.port} 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n`);
  await until(async () => /master_link_status:up/.test(await replica.cli('info', 'replication')), 'the replica to follow');
  const sentinel = await startRedis(t, { first: [file, '--sentinel'] });
  await until(async () => /slaves=1/.test(await sentinel.cli('info', 'sentinel')), 'the sentinel to know the replica', 15_000);
  const { first, second, made } = await pair(t, `redis+sentinel://127.0.0.1:${sentinel.port}/main`);
  const channel = await subscribed(client(t, second, made), 'news');
  await until(async () => (await replica.cli('zcard', 'elsewhere:local:nodes')) === '2', 'the replica to have the list of nodes');
  await master.stop();
  await until(async () => (await publish(first, made, 'news', 'after', {})).status === 200, 'publishes to be taken again', 20_000);
  await arrives(channel, 'after');
  assert.equal(named(channel, 'after').length, 1);
}, { deadlineMs: 60_000 });
