// A WebSocket client of bytes: it can send what no library would (unmasked frames, bad UTF-8, half a header) and shows
// each frame and close code that comes back. Not for stories that an official client can tell.
import { createHash, randomBytes } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { channelToken, until, userToken } from './harness.mjs';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** Sends bytes over TCP and gives everything that came back once the server closed, or what it has at the deadline. */
export function exchange(port, bytes, { deadlineMs = 5_000, until: enough } = {}) {
  return new Promise((resolve) => {
    const started = Date.now();
    const socket = net.connect(port, '127.0.0.1');
    let got = Buffer.alloc(0);
    let done = false;
    const finish = (closed) => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      socket.destroy();
      resolve({ bytes: got, text: got.toString('latin1'), closed, tookMs: Date.now() - started });
    };
    const timer = setTimeout(() => finish(false), deadlineMs);
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
      if (enough?.(got.toString('latin1'))) finish(false);
    });
    socket.on('error', () => finish(true));
    socket.on('close', () => finish(true));
  });
}

export class RawSocket {
  constructor(socket) {
    this.socket = socket;
    this.frames = [];
    this.pending = Buffer.alloc(0);
    this.ended = false;
  }

  /**
   * Upgrades on `target` (path and query); the answer's status line and headers are in `handshake`. `options` are those of
   * node's `tls.connect`, for a server that speaks it.
   */
  static open(t, server, target, { headers = {}, key = randomBytes(16).toString('base64'), options = {} } = {}) {
    const request = [
      `GET ${target} HTTP/1.1`,
      `Host: ${server.host}:${server.port}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${key}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      '',
      '',
    ].join('\r\n');
    return new Promise((resolve, reject) => {
      const socket = server.tls ? tls.connect({ port: server.port, host: server.host, servername: 'localhost', ...options }) : net.connect(server.port, server.host);
      const raw = new RawSocket(socket);
      t.after(() => socket.destroy());
      const timer = setTimeout(() => reject(new Error(`no answer to the upgrade of ${target}`)), 5_000);
      socket.on(server.tls ? 'secureConnect' : 'connect', () => socket.write(request));
      socket.on('error', (error) => {
        raw.error = error;
        raw.ended = true;
        clearTimeout(timer);
        reject(error);
      });
      socket.on('close', () => {
        raw.ended = true;
        clearTimeout(timer);
        reject(new Error(`closed during the upgrade of ${target}`));
      });
      socket.on('data', (chunk) => {
        raw.pending = Buffer.concat([raw.pending, chunk]);
        if (!raw.handshake) {
          const end = raw.pending.indexOf('\r\n\r\n');
          if (end < 0) return;
          raw.handshake = parseHead(raw.pending.subarray(0, end).toString('latin1'));
          raw.handshake.acceptable = raw.handshake.headers['sec-websocket-accept'] === createHash('sha1').update(key + GUID).digest('base64');
          raw.pending = raw.pending.subarray(end + 4);
          clearTimeout(timer);
          resolve(raw);
        }
        raw.parse();
      });
    });
  }

  /** Opens `/app/{key}` as pusher-js does and waits for `connection_established`; `socketId` is then known. */
  static async connect(t, server, app, { query = 'protocol=7&client=js&version=8.6.0&flash=false', headers, options } = {}) {
    const raw = await RawSocket.open(t, server, `/app/${app.key}?${query}`, { headers, options });
    const first = await raw.message('pusher:connection_established');
    raw.socketId = JSON.parse(first.data).socket_id;
    return raw;
  }

  parse() {
    for (;;) {
      const have = this.pending;
      if (have.length < 2) return;
      let length = have[1] & 0x7f;
      let offset = 2;
      if (length === 126) {
        if (have.length < 4) return;
        length = have.readUInt16BE(2);
        offset = 4;
      } else if (length === 127) {
        if (have.length < 10) return;
        length = Number(have.readBigUInt64BE(2));
        offset = 10;
      }
      if (have.length < offset + length) return;
      const payload = have.subarray(offset, offset + length);
      const frame = { opcode: have[0] & 0x0f, masked: (have[1] & 0x80) !== 0, payload };
      if (frame.opcode === TEXT) frame.text = payload.toString('utf8');
      if (frame.opcode === CLOSE && length >= 2) {
        frame.code = payload.readUInt16BE(0);
        frame.reason = payload.subarray(2).toString('utf8');
      }
      // Who expects very many takes them as they come.
      if (frame.opcode !== TEXT || !this.take?.(frame.text)) this.frames.push(frame);
      this.pending = have.subarray(offset + length);
    }
  }

  /** Every text frame so far, parsed. */
  get messages() {
    return this.frames.filter((frame) => frame.opcode === TEXT).map((frame) => JSON.parse(frame.text));
  }

  /** The `nth` message with this event name. */
  async message(event, { nth = 1, deadlineMs = 5_000 } = {}) {
    return until(
      () => this.messages.filter((message) => message.event === event)[nth - 1],
      () => `${event} number ${nth}; got ${this.describe()}`,
      deadlineMs,
    );
  }

  async frame(opcode, deadlineMs = 5_000) {
    return until(
      () => this.frames.find((frame) => frame.opcode === opcode),
      () => `a frame with opcode ${opcode}; got ${this.describe()}`,
      deadlineMs,
    );
  }

  /** The close code that the server gives; then insists that it ends the TCP connection too, after our answer. */
  async closeCode(deadlineMs = 5_000) {
    const { code } = await this.frame(CLOSE, deadlineMs);
    if (!this.socket.destroyed) this.socket.write(frameBytes(CLOSE, this.frames.find((frame) => frame.opcode === CLOSE).payload));
    await until(() => this.ended, 'the server to end the connection after its close frame', deadlineMs);
    return code;
  }

  describe() {
    const seen = this.frames.map((frame) => frame.text ?? `opcode ${frame.opcode}${frame.code ? ` code ${frame.code} ${frame.reason}` : ''}`);
    return `${JSON.stringify(seen).slice(0, 2_000)}${this.ended ? ' and the end' : ''}${this.error ? ` (${this.error.message})` : ''}`;
  }

  send(value) {
    this.raw(frameBytes(TEXT, Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))));
  }

  sendFrame(opcode, payload = Buffer.alloc(0), options = {}) {
    this.raw(frameBytes(opcode, Buffer.from(payload), options));
  }

  raw(bytes) {
    this.socket.write(bytes);
  }

  async subscribe(channel, extra = {}) {
    this.send({ event: 'pusher:subscribe', data: { channel, ...extra } });
    return until(
      () => this.messages.find((message) => message.event === 'pusher_internal:subscription_succeeded' && message.channel === channel),
      () => `the subscription to ${channel}; got ${this.describe()}`,
    );
  }

  /** Subscribes with a token made from `app`; `member` is the JSON text of a presence channel's `channel_data`. */
  async join(app, channel, member) {
    return this.subscribe(channel, { auth: channelToken(app, this.socketId, channel, member), ...(member === undefined ? {} : { channel_data: member }) });
  }

  /** Asks to be signed in as `user` (an object, or the JSON text itself). */
  signIn(app, user) {
    const userData = typeof user === 'string' ? user : JSON.stringify(user);
    this.send({ event: 'pusher:signin', data: { auth: userToken(app, this.socketId, userData), user_data: userData } });
    return userData;
  }

  /** Signs in, and insists. */
  async signedIn(app, user) {
    const before = this.messages.filter((message) => message.event === 'pusher:signin_success').length;
    this.signIn(app, user);
    return this.message('pusher:signin_success', { nth: before + 1 });
  }

  /** Every message with this event name so far, on one channel if that is named. */
  all(event, channel) {
    return this.messages.filter((message) => message.event === event && (channel === undefined || message.channel === channel));
  }

  /** Proves that the connection still works: a ping of the protocol is answered. */
  async alive() {
    const before = this.messages.filter((message) => message.event === 'pusher:pong').length;
    this.send({ event: 'pusher:ping', data: {} });
    await this.message('pusher:pong', { nth: before + 1 });
  }

  destroy() {
    this.socket.destroy();
  }
}

export function frameBytes(opcode, payload, { fin = true, mask = true, length = payload.length } = {}) {
  const head = [(fin ? 0x80 : 0) | opcode];
  const bit = mask ? 0x80 : 0;
  if (length < 126) head.push(bit | length);
  else if (length < 65_536) head.push(bit | 126, length >> 8, length & 0xff);
  else {
    const long = Buffer.alloc(8);
    long.writeBigUInt64BE(BigInt(length));
    head.push(bit | 127, ...long);
  }
  if (!mask) return Buffer.concat([Buffer.from(head), payload]);
  const key = randomBytes(4);
  const masked = Buffer.from(payload);
  for (let at = 0; at < masked.length; at += 1) masked[at] ^= key[at & 3];
  return Buffer.concat([Buffer.from(head), key, masked]);
}

function parseHead(text) {
  const [line, ...rest] = text.split('\r\n');
  const headers = {};
  for (const row of rest) {
    const colon = row.indexOf(':');
    headers[row.slice(0, colon).toLowerCase()] = row.slice(colon + 1).trim();
  }
  return { status: Number(line.split(' ')[1]), headers };
}
