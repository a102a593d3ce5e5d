// A rolling restart under load: each node of three is told to stop and started anew while two publishers go on. What is accepted
// arrives: while a client is connected it misses nothing and gets nothing twice. What can't be accepted is refused, and counted. (Order
// is a promise for what one node takes; a publisher here goes to another node when its own goes away.)
import { after } from 'node:test';
import assert from 'node:assert/strict';
import net from 'node:net';
import { client, collecting } from './clients.mjs';
import { sleep, startServer, story, until } from './harness.mjs';
import { startRedis } from './redis.mjs';

const CLIENTS = 24;
const PAUSE_MS = 10; // between two publishes of a publisher

const ends = [];
const redis = await startRedis({ after: (end) => ends.push(end) });
const env = { FANFARE_REDIS_URL: redis.url, FANFARE_DRAIN_SECONDS: '2' };
const nodes = [await startServer({ env })];
while (nodes.length < 3) nodes.push(await startServer({ env, dataDir: nodes[0].dataDir }));
const ready = async (node) => (await fetch(`${node.url}/readyz`).catch(() => ({ status: 0 }))).status === 200;
for (const node of nodes) await until(() => ready(node), 'the node to be ready', 10_000);

/** A balancer as operators have one: new connections go in turns to the nodes that are ready. */
let turn = 0;
const open = new Set(nodes);
const next = () => [...open][(turn += 1) % open.size];
const door = net.createServer((near) => {
  const far = net.connect(next().port, '127.0.0.1');
  for (const [from, to] of [[near, far], [far, near]]) {
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
    from.pipe(to);
  }
});
await new Promise((resolve) => door.listen(0, '127.0.0.1', resolve));
const front = { host: '127.0.0.1', port: door.address().port, url: `http://127.0.0.1:${door.address().port}` };
after(async () => {
  door.close();
  await Promise.all(nodes.map((node) => node.stop()));
  await Promise.all(ends.map((end) => end()));
});

story('all nodes are restarted one after the other, and no connected client misses an accepted event', async (t) => {
  const app = await nodes[0].app({ name: 'rolling' });
  await Promise.all(nodes.map((node) => node.serves(app)));
  const clients = Array.from({ length: CLIENTS }, () => {
    const pusher = client(t, front, app);
    const intervals = [];
    pusher.connection.bind('state_change', ({ previous }) => previous === 'connected' && intervals.push([]));
    intervals.push([]);
    const channel = collecting(pusher, 'news');
    channel.bind('n', ({ from, n }) => intervals.at(-1).push([from, n]));
    return { pusher, channel, intervals };
  });
  await until(() => clients.every(({ channel }) => channel.subscribed), 'all to be subscribed', 10_000);

  let going = true;
  const counts = { accepted: [0, 0], refused: 0 };
  const publisher = async (from) => {
    let node = next();
    while (going) {
      if (!open.has(node)) node = next();
      const body = { name: 'n', channel: 'news', data: JSON.stringify({ from, n: counts.accepted[from] }) };
      const answer = await node.rest(app, 'POST', `/apps/${app.id}/events`, { body }).catch((error) => ({ status: 0, text: String(error.cause?.code ?? error) }));
      if (answer.status === 200) counts.accepted[from] += 1;
      else {
        assert.ok(answer.status === 503 || answer.text === 'ECONNREFUSED', `${answer.status} ${answer.text}`);
        counts.refused += 1;
        node = next();
      }
      await sleep(PAUSE_MS);
    }
  };
  const publishers = [publisher(0), publisher(1)];
  for (const [at, node] of [...nodes].entries()) {
    await sleep(500);
    const stopped = node.stop('SIGTERM');
    await until(async () => !(await ready(node)), 'the node to say that it goes');
    open.delete(node);
    await stopped;
    const fresh = await startServer({ env, dataDir: node.dataDir, port: node.port });
    nodes[at] = fresh;
    await until(() => ready(fresh), 'the node to be back', 10_000);
    open.add(fresh);
  }
  await until(() => clients.every(({ pusher, channel }) => pusher.connection.state === 'connected' && channel.subscribed), 'all clients to be back', 20_000);
  going = false;
  await Promise.all(publishers);
  const last = counts.accepted.map((n) => n - 1);
  await until(() => clients.every(({ intervals }) => last.every((n, from) => intervals.at(-1).some(([who, number]) => who === from && number === n))), 'the last events to be everywhere', 10_000);

  let gone = 0;
  for (const [at, { intervals }] of clients.entries()) {
    gone += intervals.length - 1;
    for (const from of [0, 1]) {
      let before = -1;
      for (const interval of intervals) {
        const numbers = interval.filter(([who]) => who === from).map(([, n]) => n).sort((a, b) => a - b);
        assert.ok(numbers.length === 0 || numbers[0] > before, `client ${at} got ${numbers[0]} again`);
        numbers.forEach((n, i) => assert.equal(n, numbers[0] + i, `client ${at}, publisher ${from}: ${numbers.slice(Math.max(0, i - 2), i + 2)}`));
        before = numbers.at(-1) ?? before;
      }
    }
  }
  assert.ok(gone >= CLIENTS, `each client was moved at least once: ${gone} moves`);
  assert.ok(counts.accepted.every((n) => n > 100), `${JSON.stringify(counts)}`);
  t.diagnostic(`${counts.accepted.join(' + ')} accepted, ${counts.refused} refused, ${gone} moves`);
}, { deadlineMs: 90_000 });
