// Two nodes publish at once, and every subscriber of every node gets each event once, each publisher's in its order.
// FANFARE_E2E_CLUSTER_MESSAGES says how many in all; a million take some minutes.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { signedQuery, startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { startRedis } from './redis.mjs';

const MESSAGES = Number(process.env.FANFARE_E2E_CLUSTER_MESSAGES ?? 24_000);
const LANES = 4; // channels of each publisher, each with one request under way at a time
const BATCH = 10;

const ends = [];
const redis = await startRedis({ after: (end) => ends.push(end) });
const env = { FANFARE_REDIS_URL: redis.url };
const one = await startServer({ env });
const two = await startServer({ env, dataDir: one.dataDir });
const nodes = [one, two];
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await Promise.all(ends.map((end) => end()));
});

const agents = nodes.map(() => new http.Agent({ keepAlive: true, maxSockets: LANES }));
after(() => agents.forEach((agent) => agent.destroy()));

/** Publishes a batch; the status. */
function publish(at, app, batch) {
  const target = `/apps/${app.id}/batch_events`;
  const body = JSON.stringify({ batch });
  const query = signedQuery(app, 'POST', target, { body });
  return new Promise((resolve, reject) => {
    const request = http.request({ host: nodes[at].host, port: nodes[at].port, method: 'POST', path: `${target}?${query}`, agent: agents[at], headers: { 'content-type': 'application/json' } }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    });
    request.on('error', reject);
    request.end(body);
  });
}

story(`${MESSAGES} events of two publishing nodes arrive on both nodes: none lost, none twice, none out of order`, async (t) => {
  const app = await one.app({ name: 'order' });
  await two.serves(app);
  const each = Math.ceil(MESSAGES / nodes.length / LANES / BATCH) * BATCH;
  const names = nodes.flatMap((_, at) => Array.from({ length: LANES }, (__, lane) => `lane-${at}-${lane}`));
  // One channel that both publish to, beside the lanes of each.
  const shared = 'shared';
  const subscribers = await Promise.all(nodes.map(async (node) => {
    const raw = await RawSocket.connect(t, node, app);
    const next = new Map();
    const wrong = [];
    let got = 0;
    raw.take = (text) => {
      const message = JSON.parse(text);
      if (message.event !== 'n') return false;
      const { from, n } = JSON.parse(message.data);
      const key = `${message.channel} ${from}`;
      const expected = next.get(key) ?? 0;
      if (n !== expected) wrong.push(`${key}: ${n} for ${expected}`);
      next.set(key, n + 1);
      got += 1;
      return true;
    };
    for (const name of [...names, shared]) await raw.subscribe(name);
    return { raw, wrong, got: () => got };
  }));
  const lane = async (at, which) => {
    const shares = which === 0;
    for (let n = 0; n < each; n += BATCH) {
      const numbers = Array.from({ length: BATCH }, (_, i) => n + i);
      const event = (channel, number) => ({ channel, name: 'n', data: JSON.stringify({ from: at, n: number }) });
      const batch = numbers.map((number) => event(shares && number % 2 === 1 ? shared : `lane-${at}-${which}`, shares ? Math.floor(number / 2) : number));
      assert.equal(await publish(at, app, batch), 200);
    }
  };
  await Promise.all(nodes.flatMap((_, at) => Array.from({ length: LANES }, (__, which) => lane(at, which))));
  const all = each * LANES * nodes.length;
  for (const [at, { wrong, got }] of subscribers.entries()) {
    await until(() => got() >= all, () => `subscriber ${at} to have all ${all}, it has ${got()}`, 20_000);
    assert.deepEqual(wrong.slice(0, 5), [], `at subscriber ${at}`);
    assert.equal(got(), all);
  }
}, { deadlineMs: 30_000 + MESSAGES });
