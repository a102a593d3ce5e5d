// A socket that stops reading is closed when a mebibyte waits for it; the console says why, and its neighbour misses nothing.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { backEnd, client, named, subscribed } from './clients.mjs';
import { OWNER, startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { Visitor } from './visitor.mjs';

const EVENTS = 2_000;
const PAYLOAD = 'x'.repeat(9_000);

const server = await startServer();
after(() => server.stop());

story('a reader that stopped is closed with a reason in the console, and others get every event in order', async (t) => {
  const app = await server.app({ name: 'slow' });
  const owner = await new Visitor(server.url).signIn(OWNER);
  const slow = await RawSocket.connect(t, server, app);
  await slow.subscribe('flood');
  slow.socket.pause();
  const healthy = await subscribed(client(t, server, app), 'flood');

  const publisher = backEnd(server, app);
  for (let n = 0; n < EVENTS; n += 10) {
    const batch = Array.from({ length: 10 }, (_, i) => ({ channel: 'flood', name: 'said', data: { n: n + i, pad: PAYLOAD } }));
    await publisher.triggerBatch(batch);
  }
  await until(() => named(healthy, 'said').length === EVENTS, () => `all events, seen ${named(healthy, 'said').length}`, 30_000);
  assert.deepEqual(named(healthy, 'said').map((row) => row.data.n), Array.from({ length: EVENTS }, (_, n) => n));

  const gone = await until(async () => (await owner.rows(app)).find((row) => row.kind === 'disconnection' && row.code === 4100), 'the row about the slow reader', 15_000);
  assert.match(gone.details, /slow reader/);
});
