// What one page load or one request of a busy back end does to the console: it is no flood, so no row may be missing.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { backEnd, client, connected, subscribed } from './clients.mjs';
import { startServer, story, until } from './harness.mjs';
import { ownerOf } from './visitor.mjs';

const server = await startServer();
after(() => server.stop());
const owner = await ownerOf(server);

const of = (rows, kind) => rows.filter((row) => row.kind === kind);

story('a page that joins fifteen channels at once leaves a row for each', async (t) => {
  const app = await server.app({ name: 'page load' });
  const names = [...Array(15).keys()].map((n) => `widget-${n}`);
  const pusher = client(t, server, app);
  await connected(pusher);
  await Promise.all(names.map((name) => subscribed(pusher, name)));
  await until(async () => of(await owner.rows(app), 'subscribed').length === names.length, async () => `15 rows of subscriptions, there are ${of(await owner.rows(app), 'subscribed').length}`);
  assert.equal(of(await owner.rows(app), 'occupied').length, names.length);
});

story('a back end that publishes twenty events at once leaves a row for each', async () => {
  const app = await server.app({ name: 'twenty' });
  const sdk = backEnd(server, app);
  await Promise.all([...Array(20).keys()].map((n) => sdk.trigger('orders', `event-${n}`, {})));
  await until(async () => of(await owner.rows(app), 'api_message').length === 20, async () => `20 rows of messages, there are ${of(await owner.rows(app), 'api_message').length}`);
});
