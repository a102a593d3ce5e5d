// A node is killed with all its clients connected and started again: they come back like pusher-js does, all of them, and the HTTP API
// answers meanwhile. FANFARE_E2E_HERD says how many; ten thousand need 20,000 descriptors for this process and the node each.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { sleep, startServer, story, until } from './harness.mjs';

const CLIENTS = Number(process.env.FANFARE_E2E_HERD ?? 2_000);
const ALL_BACK_WITHIN_MS = 30_000;

let server = await startServer();
after(() => server.stop());

/** As little of a client as there can be: connects, subscribes, and when it is gone comes back after a second or so, then two, four. */
class Client {
  constructor(app, codes) {
    Object.assign(this, { app, codes, tries: 0, subscribed: false, ended: false });
    this.connect();
  }

  connect() {
    this.text = '';
    this.socket = net.connect(server.port, server.host, () => this.socket.write(`GET /app/${this.app.key}?protocol=7&client=js&version=8.6.0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`));
    this.socket.on('error', () => {});
    this.socket.on('close', () => this.again());
    this.socket.on('data', (chunk) => {
      this.text += chunk.toString('latin1');
      if (this.text.includes('pusher:error')) this.codes.push(/"code":(\d+)/.exec(this.text)?.[1]);
      if (!this.asked && this.text.includes('connection_established')) {
        this.asked = true;
        const payload = Buffer.from('{"event":"pusher:subscribe","data":{"channel":"herd"}}');
        this.socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
      }
      if (this.asked && this.text.includes('subscription_succeeded')) {
        this.subscribed = true;
        this.tries = 0;
        this.text = '';
      }
    });
  }

  again() {
    Object.assign(this, { subscribed: false, asked: false });
    if (this.ended) return;
    this.tries += 1;
    setTimeout(() => this.connect(), Math.random() * 1_000 * Math.min(2 ** this.tries, 10));
  }

  end() {
    this.ended = true;
    this.socket.destroy();
  }
}

story(`${CLIENTS} clients come back to a node that was killed, all of them, and the HTTP API answers meanwhile`, async (t) => {
  const app = await server.app({ name: 'herd' });
  const codes = [];
  const clients = [];
  t.after(() => clients.forEach((one) => one.end()));
  for (let n = 0; n < CLIENTS; n += 1) {
    clients.push(new Client(app, codes));
    if (n % 200 === 199) await sleep(50);
  }
  const here = () => clients.filter(({ subscribed }) => subscribed).length;
  await until(() => here() === CLIENTS, () => `all to be there, ${here()} are; codes ${[...new Set(codes)]}`, 60_000);
  const { dataDir, port } = server;
  await server.stop('SIGKILL');
  await until(() => here() === 0, 'all to notice');
  server = await startServer({ dataDir, port });
  const started = Date.now();
  let slowest = 0;
  while (here() < CLIENTS) {
    assert.ok(Date.now() - started < ALL_BACK_WITHIN_MS, `${here()} of ${CLIENTS} are back; codes ${[...new Set(codes)]}`);
    const asked = Date.now();
    const { status } = await server.rest(app, 'GET', `/apps/${app.id}/channels`);
    assert.equal(status, 200);
    slowest = Math.max(slowest, Date.now() - asked);
    await sleep(100);
  }
  const { text } = await server.rest(app, 'GET', `/apps/${app.id}/channels/herd`, { params: { info: 'subscription_count' } });
  assert.equal(JSON.parse(text).subscription_count, CLIENTS);
  t.diagnostic(`all back after ${Date.now() - started} ms, slowest answer ${slowest} ms, ${text}`);
  assert.deepEqual(codes, [], 'nobody was refused');
}, { deadlineMs: 150_000 });
