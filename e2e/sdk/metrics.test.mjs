// What Prometheus reads: the metrics are those of docs/METRICS.md, no more and no fewer, and they follow what happens.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { startServer, story, until } from './harness.mjs';
import { startRedis } from './redis.mjs';
import { client, subscribed } from './clients.mjs';

// A node of a cluster has all metrics but the one of nodes without a database, which are another story (roles).
const ends = [];
const redis = await startRedis({ after: (end) => ends.push(end) });
const server = await startServer({ env: { FANFARE_REDIS_URL: redis.url } });
after(async () => {
  await server.stop();
  await Promise.all(ends.map((end) => end()));
});
const url = await until(() => /metrics are at (http:\S+)/.exec(server.output)?.[1], 'the address of the metrics');

/** The value of a series, written as in the answer; 0 when it is not there. */
async function value(series) {
  const text = await (await fetch(url)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}

story('each metric is in the document with its kind, and each of the document is there', async () => {
  const answer = await fetch(url);
  assert.match(answer.headers.get('content-type'), /^application\/openmetrics-text; version=1\.0\.0/);
  const text = await answer.text();
  assert.ok(text.endsWith('# EOF\n'));
  const found = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => [kind === 'counter' ? `${name}_total` : name, kind]));
  const document = readFileSync(new URL('../../docs/METRICS.md', import.meta.url), 'utf8');
  const told = new Map([...document.matchAll(/^\| `((?:fanfare|process)_\w+)` \| (counter|gauge)/gm)].map(([, name, kind]) => [name, kind]));
  assert.ok(told.delete('fanfare_control_up'));
  assert.deepEqual([...found].sort(), [...told].sort());
  assert.equal((await fetch(new URL('/', url))).status, 404, 'nothing else is to be had there');
});

story('connections, channels, messages and refusals are counted', async (t) => {
  const app = await server.app({ name: 'measured' });
  const pusher = client(t, server, app);
  await subscribed(pusher, 'orders');
  await until(async () => (await value('fanfare_connections')) === 1, 'the connection');
  assert.equal(await value('fanfare_channels'), 1);
  assert.equal(await value(`fanfare_app_connections{app="${app.id}"}`), 1);
  const published = await value('fanfare_messages_total{class="publish"}');
  await server.publish(app, 'orders', 'shipped', {});
  await until(async () => (await value('fanfare_messages_total{class="publish"}')) === published + 1, 'the publish');
  assert.ok((await value('fanfare_messages_total{class="delivery"}')) >= 1);
  assert.ok((await value(`fanfare_app_messages_today{app="${app.id}"}`)) >= 2);

  const stranger = client(t, server, { ...app, key: '0123456789abcdef0123' });
  await until(async () => (await value('fanfare_connections_refused_total{code="4001"}')) >= 1, 'the refusal');
  stranger.disconnect();
  pusher.disconnect();
  await until(async () => (await value('fanfare_connections')) === 0, 'the end');
  assert.ok((await value('fanfare_connections_opened_total')) >= 1);
  const codes = ['1000', '1001', '1005', '1006'];
  const closed = await Promise.all(codes.map((code) => value(`fanfare_connections_closed_total{code="${code}"}`)));
  assert.ok(closed.some((n) => n > 0));
  assert.ok((await value('process_open_fds')) > 5 && (await value('process_max_fds')) >= 1024);
  assert.ok((await value('process_resident_memory_bytes')) > 1e6 && (await value('process_cpu_seconds_total')) > 0);
  assert.equal(await value('fanfare_database_up'), 1);
});
