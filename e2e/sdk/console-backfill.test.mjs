// The console's ring behind the pages: what was recorded while nobody looked, by the route that the page opens with.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { backEnd, client, subscribed } from './clients.mjs';
import { startServer, story, until } from './harness.mjs';
import { ownerOf } from './visitor.mjs';

const server = await startServer();
after(() => server.stop());
const owner = await ownerOf(server);

const of = (rows, kind) => rows.filter((row) => row.kind === kind);

story('rows carry the fields of the schema and no secret', async (t) => {
  const app = await server.app({ name: 'schema' });
  await subscribed(client(t, server, app), 'orders');
  await backEnd(server, app).trigger('orders', 'shipped', { id: 7 });
  const rows = await until(async () => {
    const all = await owner.rows(app);
    return of(all, 'api_message').length > 0 && all;
  }, 'the row of the message');
  const [message] = of(rows, 'api_message');
  assert.equal(message.group, 'msg');
  assert.equal(message.channel, 'orders');
  assert.equal(message.event, 'shipped');
  assert.equal(message.data, '{"id":7}');
  assert.equal(message.recipients, 1);
  assert.equal(message.source, 'api');
  assert.equal(message.key, app.key.slice(0, 8));
  assert.match(message.sdk, /^pusher-http-node 5/);
  const [connection] = of(rows, 'connection');
  assert.match(connection.sdk, /pusher-js 8\.6\.0|js 8\.6\.0/);
  assert.match(connection.socket_id, /^\d+\.\d+$/);
  for (const [n, row] of rows.entries()) {
    assert.ok(Number.isInteger(row.seq) && Math.abs(Date.now() - row.ts) < 60_000, JSON.stringify(row));
    if (n > 0) assert.ok(row.seq > rows[n - 1].seq, 'ascending');
    assert.equal(Object.values(row).includes(null), false, 'absent fields are left out');
  }
  assert.equal(JSON.stringify(rows).includes(app.secret), false);
});

story('a page that comes back asks from where it stopped, and is told what is lost', async () => {
  const app = await server.app({ name: 'cursor' });
  const sdk = backEnd(server, app);
  await sdk.trigger('orders', 'first', {});
  const first = await until(async () => {
    const page = await owner.json(`/v1/apps/${app.id}/events?limit=200`);
    return of(page.rows, 'api_message').length === 1 && page;
  }, 'the first row');
  await sdk.trigger('orders', 'second', {});
  const next = await until(async () => {
    const page = await owner.json(`/v1/apps/${app.id}/events?limit=200&after=${encodeURIComponent(first.cursor)}`);
    return page.rows.length > 0 && page;
  }, 'the second row');
  assert.deepEqual(next.rows.map(({ event }) => event), ['second']);
  assert.equal(next.lost, 0);
  const stranger = await owner.json(`/v1/apps/${app.id}/events?limit=200&after=${encodeURIComponent('another-node:5')}`);
  assert.ok(stranger.rows.length >= 2, 'a cursor of another node gives the last rows');
});

story('the stream sends rows as they happen, and a comment or a number while it is quiet', async () => {
  const app = await server.app({ name: 'stream' });
  const aborting = new AbortController();
  const cookie = [...owner.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const answer = await fetch(`${server.url}/v1/apps/${app.id}/events/stream`, { headers: { cookie, accept: 'text/event-stream' }, signal: aborting.signal });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /^text\/event-stream/);
  let text = '';
  const reading = (async () => {
    for await (const chunk of answer.body) text += Buffer.from(chunk).toString();
  })().catch(() => {});
  try {
    await until(() => /^event: stat$/m.test(text), () => `the numbers, seen ${text}`);
    await backEnd(server, app).trigger('orders', 'streamed', {});
    await until(() => /"event":"streamed"/.test(text), () => `the row, seen ${text}`);
    assert.match(text, /^event: batch$/m);
    assert.match(text, /^id: \S+:\d+$/m);
  } finally {
    aborting.abort();
    await reading;
  }
});
