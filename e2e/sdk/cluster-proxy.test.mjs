// The cluster of deploy/compose.cluster.yml, as far as it runs without containers: its settings, its HAProxy, a Redis, and two nodes
// (of the three that the proxy knows, one is never there). What is not its own: the nodes share SQLite, not PostgreSQL, and have all
// roles. A node is killed: whoever was on it comes back to the other, and nobody else notices.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { readFileSync } from 'node:fs';
import { arrives, client, named, subscribed } from './clients.mjs';
import { Server, startServer, story, until } from './harness.mjs';
import { startProxy } from './proxies.mjs';
import { startRedis } from './redis.mjs';

/** The settings that the nodes of compose have in common; what names a place or a secret is the story's, and it drains quickly. */
const compose = readFileSync(new URL('../../deploy/compose.cluster.yml', import.meta.url), 'utf8');
const [, block] = /^x-settings: &settings\n((?: .*\n)+)/m.exec(compose);
const shared = Object.fromEntries([...block.matchAll(/^ {2}(FANFARE_\w+): (.*)$/gm)].map(([, name, value]) => [name, value.replace(/^"(.*)"$/, '$1')]));
assert.ok(['FANFARE_DATABASE_URL', 'FANFARE_REDIS_URL', 'FANFARE_TRUST_PROXY'].every((name) => name in shared), block);

const ends = [];
const redis = await startRedis({ after: (end) => ends.push(end) });
const env = { ...shared, FANFARE_REDIS_URL: redis.url, FANFARE_CLUSTER: 'local', FANFARE_DRAIN_SECONDS: '1' };
for (const name of ['DATABASE_URL', 'SECRET_KEY', 'URL', 'METRICS_LISTEN']) delete env[`FANFARE_${name}`];
const one = await startServer({ env });
const two = await startServer({ env, dataDir: one.dataDir });
const nodes = [one, two];
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await Promise.all(ends.map((end) => end()));
});
const at = (server) => `127.0.0.1:${server.port}`;
const proxy = await startProxy('haproxy', { control: at(one), realtime: nodes.map(at) });
const made = await one.app({ name: 'clustered' });
await Promise.all(nodes.map((node) => node.serves(made)));

/** A signed call through the proxy. */
const rest = (...call) => Server.prototype.rest.call({ url: proxy.url }, made, ...call);
const publish = (name) => rest('POST', `/apps/${made.id}/events`, { body: { name, channels: ['presence-room'], data: '{}' } });
const PEOPLE = 6;

async function connections(node) {
  const text = await (await fetch(`http://${node.env.FANFARE_METRICS_LISTEN}/metrics`)).text();
  return Number(/^fanfare_connections (\S+)$/m.exec(text)[1]);
}

story('a killed node: its clients come back to the other, the rest stays, and events reach all', async (t) => {
  const clients = Array.from({ length: PEOPLE }, (_, n) => client(t, proxy, made, { user: { id: `user-${n}` } }));
  const channels = await Promise.all(clients.map((pusher) => subscribed(pusher, 'presence-room')));
  await until(() => channels.every(({ members }) => members.count === PEOPLE), 'one member list over both nodes');
  assert.equal((await publish('before')).status, 200);
  await Promise.all(channels.map((channel) => arrives(channel, 'before')));

  const before = clients.map(({ connection }) => connection.socket_id);
  const doomed = await connections(two);
  assert.ok(doomed > 0 && doomed < PEOPLE, `the proxy gave each node some of them, and one ${doomed}`);
  await two.stop('SIGKILL');
  const moved = () => clients.filter(({ connection }, n) => connection.socket_id !== before[n]);
  await until(
    () => moved().length === doomed && clients.every(({ connection }) => connection.state === 'connected') && channels.every(({ subscribed: back }) => back),
    () => `${doomed} to be back; ${JSON.stringify(clients.map(({ states }) => states))}`,
    20_000,
  );
  assert.equal(clients.filter(({ states }) => states.length > 2).length, doomed, 'the others noticed nothing');

  const answer = await publish('after');
  assert.equal(answer.status, 200, answer.text);
  await Promise.all(channels.map((channel) => arrives(channel, 'after')));
  for (const channel of channels) for (const event of ['before', 'after']) assert.equal(named(channel, event).length, 1, event);
  const facts = await rest('GET', `/apps/${made.id}/channels/presence-room`, { params: { info: 'user_count' } });
  assert.equal(facts.json.user_count, PEOPLE, facts.text);
  for (let n = 0; n < 10; n += 1) assert.equal((await publish('again')).status, 200, 'the proxy asks the node that is there');
});

story('the node comes back: the proxy gives it clients again, and what they are told comes from both', async (t) => {
  await two.start();
  const channels = [];
  await until(async () => {
    channels.push(await subscribed(client(t, proxy, made), 'news'));
    return (await connections(two)) > 1 && channels.length > 4;
  }, 'the proxy to give it clients', 20_000);
  for (const node of nodes) {
    await node.publish(made, 'news', `from-${node.port}`, {});
    await Promise.all(channels.map((channel) => arrives(channel, `from-${node.port}`)));
  }
});
