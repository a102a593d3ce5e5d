// RFC 6455 at our own door, case by case where the conformance suite (../websocket) does not reach: handshakes (H1
// to H9), and frames that lie, flood or break off (F1 to F12). A few of these are told in raw.test.mjs as well.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { channelToken, sleep, startServer, story, until } from './harness.mjs';
import { BINARY, CLOSE, PING, PONG, RawSocket, TEXT, exchange, frameBytes } from './rawsocket.mjs';
import { allowOrigins, ownerOf } from './visitor.mjs';

const MESSAGE_BYTES_MAX = 32 * 1024;
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';
/** Our close frame may go unanswered this long (5 s), with room for a busy machine. */
const CLOSED_WITHIN_MS = 10_000;
const CONTINUATION = 0;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'websocket', clientEvents: true });
const pid = server.pid;
const connect = (t, options) => RawSocket.connect(t, server, app, options);

/** Resident memory of the server in MiB. */
const resident = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1]) / 1024;

// ---- handshakes

const target = `/app/${app.key}?protocol=7`;
const UPGRADE = { Host: 'x', Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': KEY };

/** An upgrade request of our own making; a header of `undefined` is left out. */
function request(headers = {}, { line = `GET ${target} HTTP/1.1`, body = '' } = {}) {
  const all = Object.entries({ ...UPGRADE, ...headers }).filter(([, value]) => value !== undefined);
  return `${line}\r\n${all.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}

async function handshake(headers, options) {
  const { text, closed } = await exchange(server.port, request(headers, options), { until: (got) => got.includes('\r\n\r\n') });
  return { status: Number(text.split(' ')[1]), text, closed };
}

story('H1: the tokens of an upgrade are a list and have no case; without them it is no WebSocket', async () => {
  for (const headers of [{}, { Connection: 'keep-alive, Upgrade' }, { Connection: 'UPGRADE', Upgrade: 'WebSocket' }, { Connection: 'x,upgrade , y' }, { Upgrade: undefined, upgrade: 'WEBSOCKET' }]) {
    assert.equal((await handshake(headers)).status, 101, JSON.stringify(headers));
  }
  for (const headers of [{ Upgrade: undefined }, { Connection: undefined }, { Connection: 'keep-alive' }, { Upgrade: 'h2c' }]) {
    const { status, text } = await handshake(headers);
    assert.ok([400, 426].includes(status), `${JSON.stringify(headers)}: ${text}`);
    assert.match(text, /WebSocket/);
  }
});

story('H2: a key that is missing, no base64 or not of 16 bytes is refused with 400', async () => {
  for (const key of [undefined, '', 'x', 'dGhlIHNhbXBsZSBub25jZQ', 'dGhlIHNhbXBsZSBub25jZQ=', 'dGhlIHNhbXBsZSBub25jZQ!!', '!GhlIHNhbXBsZSBub25jZQ==', 'c2hvcnQ=', 'dGhpcyBvbmUgaXMgbG9uZ2VyIHRoYW4gMTY=']) {
    const { status, text } = await handshake({ 'Sec-WebSocket-Key': key });
    assert.equal(status, 400, `${key}: ${text}`);
  }
});

story('H3: another version, or none, is answered 426 with the version that we speak', async () => {
  for (const version of ['8', '14', 'x', undefined]) {
    const { status, text } = await handshake({ 'Sec-WebSocket-Version': version });
    assert.equal(status, 426, `${version}: ${text}`);
    assert.match(text, /sec-websocket-version: 13\r\n/i);
  }
});

story('H4: the key of the RFC gets the accept value of the RFC', async () => {
  const { text } = await handshake();
  assert.match(text, /^HTTP\/1\.1 101 /);
  assert.match(text, new RegExp(`sec-websocket-accept: ${ACCEPT.replaceAll('+', '\\+')}\r\n`, 'i'));
});

story('H5: an upgrade by POST, by HTTP/1.0 or with a body is refused, and nothing is smuggled in behind it', async () => {
  assert.equal((await handshake({}, { line: `POST ${target} HTTP/1.1` })).status, 405);
  assert.ok([400, 426].includes((await handshake({}, { line: `GET ${target} HTTP/1.0` })).status));
  const smuggled = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';
  for (const [headers, body] of [
    [{ 'Content-Length': smuggled.length }, smuggled],
    [{ 'Transfer-Encoding': 'chunked' }, `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`],
  ]) {
    const { text } = await exchange(server.port, request(headers, { body }), { deadlineMs: 500 });
    assert.match(text, /^HTTP\/1\.1 400 /, text);
    assert.equal(text.match(/HTTP\/1\.1/g).length, 1, text);
  }
});

story('H6: a page whose origin is not on the list is closed with 4009 and was never connected', async (t) => {
  const own = await server.app({ name: 'guarded' });
  const owner = await ownerOf(server);
  await allowOrigins(owner, own, ['shop.test']);
  const from = (origin) => RawSocket.open(t, server, `/app/${own.key}?protocol=7`, { headers: { Origin: origin } });
  const connections = async () => (await owner.rows(own)).filter((row) => row.kind === 'connection').length;
  await until(async () => {
    const raw = await from('https://evil.test');
    await until(() => raw.frames.length > 0, 'a greeting or a close');
    return raw.frames[0].opcode === CLOSE || raw.messages[0].event === 'pusher:error';
  }, 'the list to be seen');
  const before = await connections();
  const raw = await from('https://evil.test');
  assert.equal(await raw.closeCode(), 4009);
  assert.equal(raw.messages.some((message) => message.event === 'pusher:connection_established'), false);
  await (await from('https://shop.test')).message('pusher:connection_established');
  await until(async () => (await connections()) > before, 'the row of the page that may');
  assert.equal((await connections()) - before, 1);
});

story('H7: extensions and sub-protocols that we do not know are not echoed', async (t) => {
  const raw = await RawSocket.open(t, server, target, { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits', 'Sec-WebSocket-Protocol': 'soap, wamp' } });
  assert.equal(raw.handshake.status, 101);
  assert.equal(raw.handshake.headers['sec-websocket-extensions'], undefined);
  assert.equal(raw.handshake.headers['sec-websocket-protocol'], undefined);
  await raw.message('pusher:connection_established');
});

story('H8: two hundred headers, or one of a mebibyte, are answered 431; a head byte by byte meets its deadline', async () => {
  const many = Object.fromEntries([...Array(200).keys()].map((n) => [`X-${n}`, 'y']));
  assert.equal((await handshake(many)).status, 431);
  assert.equal((await handshake({ 'X-Bomb': 'x'.repeat(1024 * 1024) })).status, 431);
  const started = Date.now();
  const ended = await new Promise((resolve) => {
    const bytes = request();
    const socket = net.connect(server.port, '127.0.0.1');
    let at = 0;
    const drip = setInterval(() => socket.write(bytes[at++ % 20]), 500);
    const end = (why) => {
      clearInterval(drip);
      socket.destroy();
      resolve(why);
    };
    socket.on('close', () => end('closed'));
    socket.on('error', () => end('closed'));
    setTimeout(() => end('still open'), 20_000);
  });
  assert.equal(ended, 'closed', `after ${Date.now() - started} ms`);
});

story('H9: frames in the packet of the upgrade are processed, in order', async () => {
  const say = (channel) => frameBytes(TEXT, Buffer.from(JSON.stringify({ event: 'pusher:subscribe', data: { channel } })));
  const bytes = Buffer.concat([Buffer.from(request()), say('h9-a'), frameBytes(PING, Buffer.from('now')), say('h9-b')]);
  const { text } = await exchange(server.port, bytes, { until: (got) => got.includes('h9-b') });
  const order = ['connection_established', 'h9-a', '\x8a\x03now', 'h9-b'].map((part) => text.indexOf(part));
  assert.ok(order.every((at, n) => at > 0 && (n === 0 || at > order[n - 1])), `${order}: ${text}`);
});

// ---- frames

story('F1: an unmasked frame, text, ping or close, closes with 1002', async (t) => {
  for (const opcode of [TEXT, BINARY, PING, CLOSE]) {
    const raw = await connect(t);
    raw.sendFrame(opcode, Buffer.from(opcode === CLOSE ? [0x03, 0xe8] : '{}'), { mask: false });
    assert.equal(await raw.closeCode(), 1002, `opcode ${opcode}`);
  }
});

/** A frame's head with a length that is written in eight bytes. */
function head64(length, first = 0x81) {
  const bytes = Buffer.alloc(14);
  bytes[0] = first;
  bytes[1] = 0xff;
  bytes.writeBigUInt64BE(BigInt(length), 2);
  return bytes;
}

story('F2: lengths that cannot be are refused before anything comes; one that is not minimal is read or refused', async (t) => {
  for (const length of [1n << 62n, 1n << 63n, (1n << 64n) - 1n]) {
    const raw = await connect(t);
    raw.raw(head64(length));
    assert.ok([1002, 1009].includes(await raw.closeCode()), String(length));
  }
  const raw = await connect(t);
  const ping = Buffer.from('{"event":"pusher:ping"}');
  raw.raw(Buffer.concat([head64(ping.length), ping])); // the mask is four zeros
  const told = await until(() => raw.messages.find(({ event }) => event === 'pusher:pong') ?? raw.frames.find(({ opcode }) => opcode === CLOSE), 'a pong or a close');
  assert.ok(told.event === 'pusher:pong' || told.code === 1002, JSON.stringify(told));
});

story('F3: a thousand frames that only claim their size take no memory', async (t) => {
  await connect(t);
  const before = resident();
  for (let rest = 1_000; rest > 0; rest -= 100) {
    const sockets = await Promise.all([...Array(100).keys()].map(() => connect(t)));
    // As large as may be, so that the server goes on waiting for them.
    for (const raw of sockets) raw.raw(head64(MESSAGE_BYTES_MAX));
  }
  const proof = await connect(t);
  await proof.alive();
  const grown = resident() - before;
  t.diagnostic(`1,000 sockets that wait for 32 KiB each: ${grown.toFixed(1)} MiB`);
  assert.ok(grown < 20, `${grown} MiB more`);
});

story('F4: a message in fragments is closed with 1009 as soon as it is over the limit', async (t) => {
  const raw = await connect(t);
  raw.sendFrame(TEXT, Buffer.alloc(MESSAGE_BYTES_MAX - 1, 'x'), { fin: false });
  raw.sendFrame(CONTINUATION, Buffer.alloc(1, 'x'), { fin: false });
  raw.sendFrame(PING, 'still here');
  await raw.frame(PONG);
  raw.sendFrame(CONTINUATION, Buffer.alloc(1, 'x'), { fin: false });
  assert.equal(await raw.closeCode(), 1009);
});

story('F5: a hundred thousand empty continuations cost no memory and do not hold others up', async (t) => {
  const [raw, other] = [await connect(t), await connect(t)];
  const before = resident();
  raw.sendFrame(TEXT, '', { fin: false });
  const empty = Buffer.concat([...Array(1_000).keys()].map(() => frameBytes(CONTINUATION, Buffer.alloc(0), { fin: false })));
  for (let n = 0; n < 100; n += 1) raw.raw(empty);
  await other.alive();
  raw.sendFrame(CONTINUATION, '{"event":"pusher:ping"}');
  await until(() => raw.messages.some(({ event }) => event === 'pusher:pong') || raw.frames.some(({ opcode }) => opcode === CLOSE), 'the end of the message, or of the connection');
  assert.ok(resident() - before < 20);
});

story('F6: control frames over 125 bytes or in fragments close with 1002; between fragments they are answered at once', async (t) => {
  const broken = [
    [PING, Buffer.alloc(126)],
    [PONG, Buffer.alloc(126)],
    [CLOSE, Buffer.alloc(126, 'x')],
    [PING, Buffer.alloc(3), { fin: false }],
    [CLOSE, Buffer.from([0x03, 0xe8]), { fin: false }],
  ];
  for (const [opcode, payload, options] of broken) {
    const raw = await connect(t);
    raw.sendFrame(opcode, payload, options);
    assert.equal(await raw.closeCode(), 1002, `opcode ${opcode}, ${payload.length} bytes`);
  }
  for (const opcode of [3, 7, 11, 15]) {
    const raw = await connect(t);
    raw.sendFrame(opcode, 'reserved');
    assert.equal(await raw.closeCode(), 1002, `opcode ${opcode}`);
  }
  const bits = await connect(t);
  bits.sendFrame(TEXT | 0x40, '{}');
  assert.equal(await bits.closeCode(), 1002, 'a reserved bit');
  const lost = await connect(t);
  lost.sendFrame(CONTINUATION, 'of nothing');
  assert.equal(await lost.closeCode(), 1002, 'a continuation of nothing');
  const raw = await connect(t);
  raw.sendFrame(TEXT, '{"event":', { fin: false });
  raw.sendFrame(PING, 'between');
  await raw.frame(PONG);
  assert.equal(raw.messages.length, 1);
  raw.sendFrame(CONTINUATION, '"pusher:ping"}');
  await raw.message('pusher:pong');
});

story('F7: a close frame with half a code, a code that nobody may send or a bad reason is an error', async (t) => {
  const closing = (code, reason = '') => Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);
  const answer = async (payload) => {
    const raw = await connect(t);
    raw.sendFrame(CLOSE, payload);
    return raw.closeCode();
  };
  assert.equal(await answer(Buffer.from([3])), 1002, 'half a code');
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535]) assert.equal(await answer(closing(code)), 1002, String(code));
  for (const code of [1000, 1001, 1003, 1011, 3000, 4000, 4999]) assert.equal(await answer(closing(code, 'ü')), code);
  assert.ok([1002, 1007].includes(await answer(Buffer.concat([closing(1000), Buffer.from([0xc3, 0x28])]))));
  const raw = await connect(t);
  raw.sendFrame(CLOSE);
  await raw.frame(CLOSE);
  await until(() => raw.ended, 'the end after a close without a code');
});

story('F8: a pong that nobody asked for is ignored; who floods with pings and never reads is closed', async (t) => {
  const calm = await connect(t);
  calm.sendFrame(PONG, 'unasked');
  await calm.alive();
  const before = resident();
  const flood = await connect(t);
  flood.socket.pause();
  const pings = Buffer.concat([...Array(1_000).keys()].map(() => frameBytes(PING, Buffer.alloc(125, 'p'))));
  let ended = false;
  flood.socket.on('close', () => (ended = true));
  flood.socket.on('error', () => (ended = true));
  // A paused socket does not tell that it was closed, but writing to it fails then.
  await until(async () => {
    if (!ended) await Promise.race([new Promise((resolve) => flood.socket.write(pings, () => resolve())), sleep(200)]);
    return ended;
  }, 'the server to end it', 20_000);
  const grown = resident() - before;
  t.diagnostic(`memory grew by ${grown.toFixed(1)} MiB`);
  assert.ok(grown < 20, `${grown} MiB more`);
  await calm.alive();
});

story('F9: text that is no UTF-8 closes with 1007, also split over fragments', async (t) => {
  const bad = {
    'a lone continuation byte': [0x80],
    'an overlong slash': [0xc0, 0xaf],
    'an overlong zero': [0xe0, 0x80, 0x80],
    'a surrogate': [0xed, 0xa0, 0x80],
    'above U+10FFFF': [0xf4, 0x90, 0x80, 0x80],
    'a byte that never occurs': [0xfe],
    'cut off': [0xe2, 0x82],
  };
  for (const [what, bytes] of Object.entries(bad)) {
    const raw = await connect(t);
    raw.sendFrame(TEXT, Buffer.from(bytes));
    assert.equal(await raw.closeCode(), 1007, what);
    const split = await connect(t);
    split.sendFrame(TEXT, Buffer.from(bytes.slice(0, 1)), { fin: false });
    split.sendFrame(CONTINUATION, Buffer.from(bytes.slice(1)));
    assert.equal(await split.closeCode(), 1007, `${what}, in fragments`);
  }
  const good = await connect(t);
  const text = Buffer.from('{"event":"pusher:ping","data":"😀"}');
  const cut = text.indexOf(0xf0) + 2;
  good.sendFrame(TEXT, text.subarray(0, cut), { fin: false });
  good.sendFrame(CONTINUATION, text.subarray(cut));
  await good.message('pusher:pong');
});

story('F10: nothing counts after a close; who does not answer ours is cut off', async (t) => {
  const [raw, other] = [await connect(t), await connect(t)];
  await other.subscribe('private-f10', { auth: channelToken(app, other.socketId, 'private-f10') });
  await raw.subscribe('private-f10', { auth: channelToken(app, raw.socketId, 'private-f10') });
  raw.raw(Buffer.concat([frameBytes(CLOSE, Buffer.from([0x03, 0xe8])), frameBytes(TEXT, Buffer.from(JSON.stringify({ event: 'client-late', channel: 'private-f10', data: {} })))]));
  await until(() => raw.ended, 'the end of the connection');
  await other.alive();
  assert.equal(other.messages.some(({ event }) => event === 'client-late'), false);

  const mute = await connect(t);
  mute.socket.allowHalfOpen = true; // it does not hang up when the server does
  mute.sendFrame(TEXT, Buffer.from([0xff]));
  await mute.frame(CLOSE);
  const started = Date.now();
  // What is written to a connection that is cut off comes back as an error.
  const drip = setInterval(() => mute.socket.write('x'), 100);
  t.after(() => clearInterval(drip));
  await until(() => mute.ended, 'the server to cut off who does not answer', CLOSED_WITHIN_MS);
  t.diagnostic(`cut off after ${Date.now() - started} ms`);
});

story('F11: a connection that breaks off within a frame leaves its channels, once', async (t) => {
  const own = await server.app({ name: 'broken off' });
  const owner = await ownerOf(server);
  const join = async (id) => {
    const raw = await RawSocket.connect(t, server, own);
    const member = JSON.stringify({ user_id: id });
    await raw.subscribe('presence-f11', { auth: channelToken(own, raw.socketId, 'presence-f11', member), channel_data: member });
    return raw;
  };
  const watcher = await join('watcher');
  for (const [nth, end] of [[1, (socket) => socket.end()], [2, (socket) => socket.resetAndDestroy()]]) {
    const raw = await join(`leaver-${nth}`);
    raw.raw(head64(1_000));
    raw.raw(Buffer.from('half of it'));
    await until(() => raw.socket.bytesWritten > 0 && raw.socket.writableLength === 0, 'the bytes to be on their way');
    end(raw.socket);
    const gone = await watcher.message('pusher_internal:member_removed', { nth, deadlineMs: 10_000 });
    assert.deepEqual(JSON.parse(gone.data), { user_id: `leaver-${nth}` });
    const rows = (await owner.rows(own)).filter((row) => row.kind === 'disconnection' && row.socket_id === raw.socketId);
    assert.equal(rows.length, 1);
  }
  const { json } = await server.rest(own, 'GET', `/apps/${own.id}/channels/presence-f11`, { params: { info: 'user_count,subscription_count' } });
  assert.deepEqual(json, { occupied: true, subscription_count: 1, user_count: 1 });
});

story('F12: a message of exactly 32 KiB is read, one byte more is closed with 1009', async (t) => {
  const ping = (bytes) => {
    const empty = '{"event":"pusher:ping","data":""}';
    return Buffer.from(empty.replace('""}', `"${'x'.repeat(bytes - empty.length)}"}`));
  };
  const raw = await connect(t);
  raw.sendFrame(TEXT, ping(MESSAGE_BYTES_MAX));
  await raw.message('pusher:pong');
  raw.sendFrame(TEXT, ping(MESSAGE_BYTES_MAX + 1));
  assert.equal(await raw.closeCode(), 1009);
});

story('after all of that the same process is there', async () => {
  assert.equal(server.pid, pid);
  assert.equal(server.running, true);
  assert.doesNotMatch(server.output, /panicked/);
});
