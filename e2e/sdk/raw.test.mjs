// What no library sends: bad frames, bad handshakes, bad requests. Each gets the answer that a client expects, none
// takes the server down, and the connection of a bystander outlives them all.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { channelToken, sleep, startServer, story, until } from './harness.mjs';
import { BINARY, CLOSE, PING, PONG, RawSocket, TEXT, exchange, frameBytes } from './rawsocket.mjs';

const CLIENT_FRAME_BYTES_MAX = 32 * 1024;
/** The server's own time limit for a request head, with room for a busy machine. */
const HEAD_WITHIN_MS = 15_000;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'raw', clientEvents: true });
const pid = server.pid;

const bystander = await RawSocket.connect({ after }, server, app);
await bystander.subscribe('bystander');

const connect = (t, options) => RawSocket.connect(t, server, app, options);
const open = (t, target, options) => RawSocket.open(t, server, target, options);
const pusherErrors = (raw) => raw.messages.filter((message) => message.event === 'pusher:error');

/** An in-band error (code null, an object and not a string) on a connection that goes on. */
async function complains(raw, count = 1) {
  await until(() => pusherErrors(raw).length >= count, () => `${count} × pusher:error; got ${raw.describe()}`);
  const { data } = pusherErrors(raw)[count - 1];
  assert.equal(typeof data, 'object');
  assert.equal(typeof data.message, 'string');
  await raw.alive();
  return data;
}

// ---- the handshake

story('the first frame is connection_established with a socket id and an activity timeout', async (t) => {
  const raw = await open(t, `/app/${app.key}?protocol=7&client=js&version=8.6.0&flash=false`);
  assert.equal(raw.handshake.status, 101);
  assert.equal(raw.handshake.acceptable, true);
  await raw.frame(TEXT);
  const [first] = raw.messages;
  assert.equal(first.event, 'pusher:connection_established');
  assert.equal(typeof first.data, 'string');
  const data = JSON.parse(first.data);
  assert.match(data.socket_id, /^\d+\.\d+$/);
  assert.ok(Number.isInteger(data.activity_timeout) && data.activity_timeout > 0, first.data);
});

story('protocols 5, 6 and 7 are served, with what the native clients send', async (t) => {
  for (const query of ['client=java-client&protocol=5&version=0.0.0-dev', 'protocol=6&client=x&version=1.0', 'client=pusher-websocket-swift&version=10.1.10&protocol=7', 'protocol=7']) {
    const raw = await open(t, `/app/${app.key}?${query}`);
    await raw.message('pusher:connection_established');
  }
});

story('refusals upgrade first and then close with the code of the protocol', async (t) => {
  const cases = [
    [`/app/${app.key}`, 4008, 'no protocol'],
    [`/app/${app.key}?client=js&version=8.6.0`, 4008, 'no protocol among others'],
    [`/app/${app.key}?protocol=abc`, 4007, 'a protocol that is no number'],
    [`/app/${app.key}?protocol=3`, 4007, 'a dead protocol'],
    [`/app/${app.key}?protocol=99`, 4007, 'a protocol of the future'],
    [`/app/${app.key}?protocol=7&client=js&version=${'9'.repeat(200)}`, 4006, 'an absurd version'],
    ['/app/ffffffffffffffffffff?protocol=7', 4001, 'an unknown key'],
    ['/somewhere/else?protocol=7', 4005, 'another path'],
    ['/app?protocol=7', 4005, 'no key'],
  ];
  for (const [target, code, what] of cases) {
    const raw = await open(t, target);
    assert.equal(raw.handshake.status, 101, what);
    assert.equal(await raw.closeCode(), code, what);
    assert.ok(raw.frames.find((frame) => frame.opcode === CLOSE).reason.length > 5, `a reason for ${what}`);
    assert.equal(raw.messages.some((message) => message.event === 'pusher:connection_established'), false, what);
    // Before `established` a code below 4000 would crash pusher-js (spec §1.4).
    for (const { data } of pusherErrors(raw)) assert.equal(data.code, code, what);
  }
});

story('an old client gets the error as a message before the close', async (t) => {
  const raw = await open(t, '/app/ffffffffffffffffffff?protocol=5&client=java-client&version=2.4.4');
  const { data } = await raw.message('pusher:error');
  assert.equal(data.code, 4001);
  assert.equal(await raw.closeCode(), 4001);
});

story('a sub-protocol is selected when the Swift client offers it, and never invented', async (t) => {
  const offer = 'pusher-channels-protocol-7';
  const offered = await open(t, `/app/${app.key}?protocol=7`, { headers: { 'Sec-WebSocket-Protocol': offer } });
  assert.equal(offered.handshake.headers['sec-websocket-protocol'], offer);
  const plain = await open(t, `/app/${app.key}?protocol=7`);
  assert.equal(plain.handshake.headers['sec-websocket-protocol'], undefined);
  const unknown = await open(t, `/app/${app.key}?protocol=7`, { headers: { 'Sec-WebSocket-Protocol': 'soap' } });
  assert.equal(unknown.handshake.headers['sec-websocket-protocol'], undefined);
});

story('a frame sent together with the upgrade is answered', async (t) => {
  const raw = await open(t, `/app/${app.key}?protocol=7`);
  raw.send({ event: 'pusher:subscribe', data: { channel: 'early' } });
  await raw.message('pusher_internal:subscription_succeeded');
  assert.equal(raw.messages[0].event, 'pusher:connection_established');

  const head = `GET /app/${app.key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
  const early = frameBytes(TEXT, Buffer.from(JSON.stringify({ event: 'pusher:subscribe', data: { channel: 'very-early' } })));
  const { text } = await exchange(server.port, Buffer.concat([Buffer.from(head), early]), { until: (got) => got.includes('subscription_succeeded') });
  assert.match(text, /s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/);
  assert.match(text, /very-early/);
});

story('an upgrade without a proper key or version is refused with 400 or 426', async () => {
  const request = (headers) => `GET /app/${app.key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${headers}\r\n`;
  for (const [headers, statuses] of [
    ['Sec-WebSocket-Version: 13\r\n', ['400']],
    ['Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n', ['426', '400']],
  ]) {
    const { text } = await exchange(server.port, request(headers), { until: (got) => got.includes('\r\n\r\n') });
    assert.ok(statuses.includes(text.split(' ')[1]), `${headers}: ${text}`);
  }
});

// ---- frames

story('a binary frame is an error in band and the connection goes on', async (t) => {
  const raw = await connect(t);
  raw.sendFrame(BINARY, Buffer.from([0, 1, 2, 255]));
  assert.equal((await complains(raw)).code, null);
});

story('invalid UTF-8 closes with 1007', async (t) => {
  const raw = await connect(t);
  raw.sendFrame(TEXT, Buffer.from([0x7b, 0xc3, 0x28, 0xff, 0x7d]));
  assert.equal(await raw.closeCode(), 1007);
});

story('an unmasked frame closes with 1002', async (t) => {
  const raw = await connect(t);
  raw.sendFrame(TEXT, Buffer.from('{"event":"pusher:ping"}'), { mask: false });
  assert.equal(await raw.closeCode(), 1002);
});

story('a frame of 1 MiB closes with 1009', async (t) => {
  const raw = await connect(t);
  raw.sendFrame(TEXT, Buffer.alloc(1024 * 1024, 'x'));
  assert.equal(await raw.closeCode(), 1009);
});

story('a frame that only claims a gigabyte closes with 1009 before any of it came', async (t) => {
  const raw = await connect(t);
  raw.sendFrame(TEXT, Buffer.alloc(0), { length: 1024 * 1024 * 1024 });
  assert.equal(await raw.closeCode(), 1009);
});

story('a message in fragments is put together, and one that grows past the limit closes with 1009', async (t) => {
  const raw = await connect(t);
  const whole = Buffer.from(JSON.stringify({ event: 'pusher:subscribe', data: { channel: 'fragments' } }));
  raw.sendFrame(TEXT, whole.subarray(0, 10), { fin: false });
  raw.sendFrame(PING, 'between');
  raw.sendFrame(0, whole.subarray(10));
  await raw.message('pusher_internal:subscription_succeeded');
  assert.equal((await raw.frame(PONG)).payload.toString(), 'between');

  raw.sendFrame(TEXT, Buffer.alloc(20_000, 'x'), { fin: false });
  for (let n = 0; n < 4; n += 1) raw.sendFrame(0, Buffer.alloc(20_000, 'x'), { fin: false });
  assert.equal(await raw.closeCode(), 1009);
});

story('a frame just under the limit is read', async (t) => {
  const raw = await connect(t);
  const padding = 'p'.repeat(CLIENT_FRAME_BYTES_MAX - 200);
  raw.send({ event: 'pusher:ping', data: { padding } });
  await raw.message('pusher:pong');
});

story('a WebSocket ping is answered with a pong of the same payload', async (t) => {
  const raw = await connect(t);
  raw.sendFrame(PING, 'are you there');
  assert.equal((await raw.frame(PONG)).payload.toString(), 'are you there');
});

story('pusher:ping is answered with pusher:pong, with and without data', async (t) => {
  const raw = await connect(t);
  raw.send('{"event":"pusher:ping","data":{}}');
  raw.send('{"event":"pusher:ping"}');
  raw.send('{"event":"pusher:ping","data":"{}"}');
  const pong = await raw.message('pusher:pong', { nth: 3 });
  assert.ok('data' in pong, 'the Java client throws on a message without data');
});

story('a close frame is answered with the same code', async (t) => {
  const raw = await connect(t);
  raw.sendFrame(CLOSE, Buffer.concat([Buffer.from([0x03, 0xe8]), Buffer.from('bye')]));
  assert.equal((await raw.frame(CLOSE)).code, 1000);
  await until(() => raw.ended, 'the end of the connection');
});

story('what is no message of the protocol is an error in band and the connection goes on', async (t) => {
  const texts = {
    'broken JSON': '{"event":"pusher:subscribe",',
    'no JSON': 'hello',
    'an empty frame': '',
    'an array': '[1,2,3]',
    'a number': '17',
    null: 'null',
    'no event': '{"data":{}}',
    'an event that is no string': '{"event":17}',
    'an unknown event': '{"event":"pusher:dance","data":{}}',
    'an event without prefix': '{"event":"shout","data":{},"channel":"x"}',
    'subscribe without data': '{"event":"pusher:subscribe"}',
    'subscribe with null': '{"event":"pusher:subscribe","data":null}',
    'subscribe without channel': '{"event":"pusher:subscribe","data":{}}',
    'subscribe to a number': '{"event":"pusher:subscribe","data":{"channel":5}}',
    'subscribe to a bad name': '{"event":"pusher:subscribe","data":{"channel":"white space"}}',
    'subscribe to nothing': '{"event":"pusher:subscribe","data":{"channel":""}}',
    'subscribe to a system channel': '{"event":"pusher:subscribe","data":{"channel":"#server-to-user-1"}}',
    'unsubscribe from a stranger': '{"event":"pusher:unsubscribe","data":{"channel":"never-joined"}}',
    'a private channel without auth': '{"event":"pusher:subscribe","data":{"channel":"private-x"}}',
    'auth without a colon': '{"event":"pusher:subscribe","data":{"channel":"private-x","auth":"nonsense"}}',
    'a client event without channel': '{"event":"client-x","data":{}}',
    'a client event on a stranger': '{"event":"client-x","channel":"private-never","data":{}}',
  };
  for (const [what, text] of Object.entries(texts)) {
    const raw = await connect(t);
    raw.send(text);
    try {
      assert.equal((await complains(raw)).code, null);
    } catch (error) {
      throw new Error(`${what}: ${error.message}`);
    }
    raw.destroy();
  }
});

story('fifty thousand opening brackets do no harm', async (t) => {
  for (const text of ['['.repeat(30_000), `{"event":"client-x","channel":"private-a","data":${'['.repeat(30_000)}`, `{"event":${'{"a":'.repeat(5_000)}`]) {
    const raw = await connect(t);
    raw.send(text);
    await complains(raw);
  }
  const raw = await connect(t);
  raw.send('['.repeat(50_000));
  assert.equal(await raw.closeCode(), 1009);
  await bystander.alive();
});

story('a second subscription to a channel is answered again, with the members, and nothing is delivered twice', async (t) => {
  const raw = await connect(t);
  await raw.subscribe('twice');
  raw.send({ event: 'pusher:subscribe', data: { channel: 'twice' } });
  const successes = (channel) => raw.messages.filter((m) => m.event === 'pusher_internal:subscription_succeeded' && m.channel === channel);
  await raw.message('pusher_internal:subscription_succeeded', { nth: 2 });
  await server.publish(app, 'twice', 'said', { n: 1 });
  await raw.message('said');

  const member = JSON.stringify({ user_id: 'ana' });
  const auth = channelToken(app, raw.socketId, 'presence-twice', member);
  await raw.subscribe('presence-twice', { auth, channel_data: member });
  raw.send({ event: 'pusher:subscribe', data: { channel: 'presence-twice', auth, channel_data: member } });
  await raw.message('pusher_internal:subscription_succeeded', { nth: 4 });
  const [first, second] = successes('presence-twice');
  assert.deepEqual(second, first);
  await raw.alive();
  assert.equal(raw.messages.filter((message) => message.event === 'said').length, 1);
  assert.equal(raw.messages.filter((message) => message.event === 'pusher:error').length, 0);
});

story('data of a subscription may be a string that holds the JSON', async (t) => {
  const raw = await connect(t);
  raw.send({ event: 'pusher:subscribe', data: JSON.stringify({ channel: 'as-text' }) });
  await raw.message('pusher_internal:subscription_succeeded');
});

story('the frames of a channel have the types that the native clients need', async (t) => {
  const raw = await connect(t);
  const succeeded = await raw.subscribe('typed');
  assert.equal(succeeded.data, '{}');
  await server.publish(app, 'typed', 'said', '{"a":1}');
  const said = await raw.message('said');
  assert.deepEqual(said, { event: 'said', data: '{"a":1}', channel: 'typed' });

  const member = JSON.stringify({ user_id: 10, user_info: { name: 'Mr. Channels' } });
  const joined = await raw.subscribe('presence-typed', { auth: channelToken(app, raw.socketId, 'presence-typed', member), channel_data: member });
  assert.deepEqual(JSON.parse(joined.data), { presence: { count: 1, ids: ['10'], hash: { 10: { name: 'Mr. Channels' } } } });
});

story('a client event keeps its data: a string as it is, anything else as JSON text', async (t) => {
  const [from, to] = [await connect(t), await connect(t)];
  for (const raw of [from, to]) await raw.subscribe('private-typed', { auth: channelToken(app, raw.socketId, 'private-typed') });
  from.send({ event: 'client-object', channel: 'private-typed', data: { a: [1] } });
  from.send({ event: 'client-text', channel: 'private-typed', data: 'plain' });
  assert.equal((await to.message('client-object')).data, '{"a":[1]}');
  assert.equal((await to.message('client-text')).data, 'plain');
});

story('a token for another socket, another channel or with changed channel data is refused', async (t) => {
  const raw = await connect(t);
  const member = JSON.stringify({ user_id: '1' });
  const attempts = [
    { channel: 'private-a', auth: channelToken(app, '1.1', 'private-a') },
    { channel: 'private-a', auth: channelToken(app, raw.socketId, 'private-b') },
    { channel: 'private-a', auth: channelToken({ ...app, key: 'ffffffffffffffffffff' }, raw.socketId, 'private-a') },
    { channel: 'presence-a', auth: channelToken(app, raw.socketId, 'presence-a', member), channel_data: JSON.stringify({ user_id: '2' }) },
    { channel: 'presence-a', auth: channelToken(app, raw.socketId, 'presence-a') },
    { channel: 'presence-a', auth: channelToken(app, raw.socketId, 'presence-a', '{}'), channel_data: '{}' },
  ];
  for (const [n, data] of attempts.entries()) {
    raw.send({ event: 'pusher:subscribe', data });
    const refused = await raw.message('pusher:subscription_error', { nth: n + 1 });
    assert.equal(refused.channel, data.channel, JSON.stringify(data));
    assert.ok(refused.data.status >= 400 && refused.data.status < 500, JSON.stringify(refused));
  }
  assert.equal(raw.messages.some((message) => message.event === 'pusher_internal:subscription_succeeded'), false);
  await raw.alive();
});

story('repeated garbage closes with 1008', async (t) => {
  const raw = await connect(t);
  for (let n = 0; n < 20; n += 1) raw.send('garbage');
  assert.equal(await raw.closeCode(), 1008);
});

// ---- HTTP

const get = (target, headers = '') => exchange(server.port, `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}Connection: close\r\n\r\n`);
const status = ({ text }) => Number(text.split(' ')[1]);

story('unknown routes answer 404', async () => {
  for (const target of ['/no/such/page', '/apps', `/apps/${app.id}/nothing`, '/v1/nothing', '/dash/apps/../../etc/passwd', '/%00', `/apps/${'9'.repeat(60)}/channels`]) {
    const answer = await get(target);
    assert.ok([400, 401, 404].includes(status(answer)), `${target}: ${answer.text.slice(0, 200)}`);
    if (target === '/no/such/page') assert.equal(status(answer), 404);
  }
});

story('a plain GET of the WebSocket address is refused with a sentence', async () => {
  const answer = await get(`/app/${app.key}?protocol=7`);
  assert.ok([400, 404, 426].includes(status(answer)), answer.text);
  assert.match(answer.text, /websocket/i);
});

story('a request head of a mebibyte is refused with 431, and so are thousands of headers', async () => {
  const long = await get('/healthz', `X-Bomb: ${'x'.repeat(1024 * 1024)}\r\n`);
  assert.equal(status(long), 431, long.text.slice(0, 200));
  const many = await get('/healthz', [...Array(5_000).keys()].map((n) => `X-${n}: y\r\n`).join(''));
  assert.equal(status(many), 431, many.text.slice(0, 200));
  const target = await get(`/${'x'.repeat(200_000)}`);
  assert.ok([414, 431, 400].includes(status(target)), target.text.slice(0, 200));
});

story('a head that never ends is closed by the server, and so is a connection that says nothing', async () => {
  const beginnings = ['GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ', ''];
  const answers = await Promise.all(beginnings.map((bytes) => exchange(server.port, bytes, { deadlineMs: HEAD_WITHIN_MS })));
  for (const [n, { closed, tookMs }] of answers.entries()) assert.equal(closed, true, `${JSON.stringify(beginnings[n])}: still open after ${tookMs} ms`);
});

story('bytes that are no HTTP are refused and closed', async () => {
  for (const bytes of [Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'latin1'), Buffer.from('HELO mail\r\n\r\n'), Buffer.alloc(5_000, 0xff)]) {
    const answer = await exchange(server.port, bytes, { deadlineMs: HEAD_WITHIN_MS });
    assert.equal(answer.closed, true, bytes.subarray(0, 12).toString('latin1'));
  }
});

story('a body over the limit is refused with 413 and a wrong length does no harm', async () => {
  const big = await server.rest(app, 'POST', `/apps/${app.id}/events`, { body: `{"name":"x","channel":"y","data":"${'z'.repeat(2 * 1024 * 1024)}"}` }).catch((error) => ({ status: 413, text: String(error) }));
  assert.equal(big.status, 413, big.text);
  const lie = await exchange(server.port, `POST /apps/${app.id}/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}`, { deadlineMs: HEAD_WITHIN_MS });
  assert.equal(lie.closed, true);
});

story('a browser may ask with CORS, on REST and for errors too', async () => {
  const preflight = await fetch(`${server.url}/apps/${app.id}/events`, {
    method: 'OPTIONS',
    headers: { origin: 'https://shop.test', 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,x-pusher-library' },
  });
  assert.ok([200, 204].includes(preflight.status), String(preflight.status));
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
  assert.match(preflight.headers.get('access-control-allow-headers').toLowerCase(), /content-type|\*/);
  const refused = await fetch(`${server.url}/apps/${app.id}/channels`, { headers: { origin: 'https://shop.test' } });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get('access-control-allow-origin'), '*');
});

story('healthz and readyz answer 200', async () => {
  for (const target of ['/healthz', '/readyz']) assert.equal(status(await get(target)), 200, target);
});

story('after all of that the same process serves the bystander', async () => {
  await sleep(50);
  assert.equal(server.running, true);
  assert.equal(server.pid, pid);
  assert.doesNotMatch(server.output, /panicked/);
  await bystander.alive();
  await server.publish(app, 'bystander', 'still-here', {});
  await bystander.message('still-here');
});
