// A server with thousands of connections that goes away: all are told to come back, not all at once, and all can.
import assert from 'node:assert/strict';
import net from 'node:net';
import { startServer, story, until } from './harness.mjs';

const SOCKETS = 3_000;
const DRAIN_SECONDS = 2;
/** Connections are opened in groups, so that the listener's queue is not what is tested. */
const AT_ONCE = 200;
const CLOSE_FRAME = 0x88;

/** A connection of as little as possible: when it was established, and the code and time of its close. */
function light(t, server, app) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(server.port, server.host);
    const one = { socket, code: undefined };
    let got = Buffer.alloc(0);
    socket.on('error', reject);
    socket.on('connect', () => socket.write(`GET /app/${app.key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`));
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
      if (!one.established && got.includes('connection_established')) {
        one.established = true;
        resolve(one);
      }
      const at = one.established ? got.indexOf(CLOSE_FRAME, got.indexOf('"}')) : -1;
      if (at >= 0 && got.length >= at + 4 && one.code === undefined) {
        one.code = got.readUInt16BE(at + 2);
        one.closedAt = Date.now();
        socket.end(Buffer.from([0x88, 0x80, 1, 2, 3, 4]));
      }
    });
    t.after(() => socket.destroy());
  });
}

async function open(t, server, app) {
  const all = [];
  while (all.length < SOCKETS) all.push(...(await Promise.all([...Array(AT_ONCE)].map(() => light(t, server, app)))));
  return all;
}

story('three thousand connections are closed with 4200, spread over the time of the drain, and all come back', async (t) => {
  const server = await startServer({ env: { FANFARE_DRAIN_SECONDS: String(DRAIN_SECONDS) } });
  t.after(() => server.stop());
  const app = await server.app({ name: 'many' });
  const all = await open(t, server, app);
  const began = Date.now();
  assert.deepEqual(await server.stop(), { code: 0, signal: null }, server.log());
  await until(() => all.every(({ code }) => code !== undefined), () => `all closes, ${all.filter(({ code }) => code === undefined).length} are missing`);
  assert.deepEqual(new Set(all.map(({ code }) => code)), new Set([4200]));
  // Spread: no quarter of the time has more than half of the closes.
  const quarters = [0, 0, 0, 0];
  for (const { closedAt } of all) quarters[Math.min(3, Math.floor((4 * (closedAt - began)) / (1_000 * DRAIN_SECONDS)))] += 1;
  t.diagnostic(`closes in each quarter of ${DRAIN_SECONDS} s: ${quarters.join(', ')}`);
  assert.ok(Math.max(...quarters) < SOCKETS / 2, quarters.join());
  await server.start();
  assert.equal((await open(t, server, app)).length, SOCKETS);
});
