// Each frame of the protocol as it is on the wire, compared as text (the table of spec §1.3), the order in which a
// connection gets them, and each close code provoked.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { backEnd } from './clients.mjs';
import { channelToken, startServer, story, until } from './harness.mjs';
import { CLOSE, RawSocket, TEXT } from './rawsocket.mjs';
import { ownerOf, switchApp } from './visitor.mjs';

const SOCKET_ID = /^\d+\.\d+$/;
const ACTIVITY_TIMEOUT_SECONDS = 120;
const CLIENT_EVENTS_PER_SECOND_MAX = 10;

const server = await startServer({ env: { FANFARE_TRUST_PROXY: 'true' } });
after(() => server.stop());
const app = await server.app({ name: 'frames', clientEvents: true, switches: { subscriptionCounts: true, watchlist: true } });
const plain = await server.app({ name: 'frames without switches', clientEvents: true });

const connect = (t, of = app) => RawSocket.connect(t, server, of);
const texts = (raw) => raw.frames.filter((frame) => frame.opcode === TEXT).map((frame) => frame.text);

/** Waits for a text frame that is exactly `wanted`. */
const frame = (raw, wanted) => until(() => texts(raw).includes(wanted), () => `${wanted}\n got ${texts(raw).join('\n     ')}`);

/** The text of the first frame with this event. */
async function textOf(raw, event, nth = 1) {
  await raw.message(event, { nth });
  return texts(raw).filter((text) => JSON.parse(text).event === event)[nth - 1];
}

// ---- the table, row by row

story('connection_established: data is a string with socket_id and activity_timeout', async (t) => {
  const raw = await connect(t);
  assert.match(raw.socketId, SOCKET_ID);
  assert.equal(texts(raw)[0], `{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"${raw.socketId}\\",\\"activity_timeout\\":${ACTIVITY_TIMEOUT_SECONDS}}"}`);
});

story('pusher:error: data is an object with code and message, and there is no channel', async (t) => {
  const raw = await connect(t);
  raw.send({ event: 'pusher:dance', data: {} });
  const text = await textOf(raw, 'pusher:error');
  const { message } = JSON.parse(text).data;
  assert.ok(message.length > 10);
  assert.equal(text, `{"event":"pusher:error","data":{"code":null,"message":${JSON.stringify(message)}}}`);
});

story('pusher:pong: data is the string of an empty object', async (t) => {
  const raw = await connect(t);
  raw.send('{"event":"pusher:ping","data":{}}');
  await frame(raw, '{"event":"pusher:pong","data":"{}"}');
});

story('subscription_succeeded: data is the string of an empty object, on every channel that is no presence channel', async (t) => {
  const raw = await connect(t, plain);
  for (const channel of ['a', 'private-a', 'private-encrypted-a', 'cache-a', 'private-cache-a', 'private-encrypted-cache-a']) {
    await raw.join(plain, channel);
    await frame(raw, `{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"${channel}"}`);
  }
});

story('subscription_succeeded on a presence channel: data is a string with count, ids and hash', async (t) => {
  const [first, raw] = [await connect(t), await connect(t)];
  await first.join(app, 'presence-f', '{"user_id":7,"user_info":{"b":1, "a":2.0}}');
  await raw.join(app, 'presence-f', '{"user_id":"ana"}');
  await frame(first, '{"event":"pusher_internal:subscription_succeeded","data":"{\\"presence\\":{\\"count\\":1,\\"ids\\":[\\"7\\"],\\"hash\\":{\\"7\\":{\\"b\\":1, \\"a\\":2.0}}}}","channel":"presence-f"}');
  const seven = '\\"7\\":{\\"b\\":1, \\"a\\":2.0}';
  const both = (ids, hash) => `{"event":"pusher_internal:subscription_succeeded","data":"{\\"presence\\":{\\"count\\":2,\\"ids\\":[${ids}],\\"hash\\":{${hash}}}}","channel":"presence-f"}`;
  const wanted = [both('\\"7\\",\\"ana\\"', `${seven},\\"ana\\":null`), both('\\"ana\\",\\"7\\"', `\\"ana\\":null,${seven}`)];
  assert.ok(wanted.includes(texts(raw)[1]), texts(raw)[1]); // members are in no order
});

story('member_added and member_removed: data is a string, with the info byte for byte', async (t) => {
  const [watcher, raw] = [await connect(t), await connect(t)];
  await watcher.join(app, 'presence-m', '{"user_id":"w"}');
  await raw.join(app, 'presence-m', '{"user_id":10,"user_info":{"name":"Mr. Channels", "n":1.0}}');
  await frame(watcher, '{"event":"pusher_internal:member_added","data":"{\\"user_id\\":\\"10\\",\\"user_info\\":{\\"name\\":\\"Mr. Channels\\", \\"n\\":1.0}}","channel":"presence-m"}');
  raw.destroy();
  await frame(watcher, '{"event":"pusher_internal:member_removed","data":"{\\"user_id\\":\\"10\\"}","channel":"presence-m"}');
});

story('subscription_count: data is a string with an integer', async (t) => {
  const raw = await connect(t);
  await raw.subscribe('counted');
  await frame(raw, '{"event":"pusher_internal:subscription_count","data":"{\\"subscription_count\\":1}","channel":"counted"}');
});

story('cache_miss: data is the string of an empty object', async (t) => {
  const raw = await connect(t);
  await raw.subscribe('cache-nothing');
  await frame(raw, '{"event":"pusher:cache_miss","data":"{}","channel":"cache-nothing"}');
});

story('signin_success: data is a string with user_data as a string, and there is no channel', async (t) => {
  const raw = await connect(t);
  await raw.signedIn(app, '{"id":"f-ana"}');
  await frame(raw, '{"event":"pusher:signin_success","data":"{\\"user_data\\":\\"{\\\\\\"id\\\\\\":\\\\\\"f-ana\\\\\\"}\\"}"}');
});

story('watchlist_events: data is a string with events, and there is no channel', async (t) => {
  const raw = await connect(t);
  await raw.signedIn(app, '{"id":"f-ben","watchlist":["f-cleo"]}');
  await frame(raw, '{"event":"pusher_internal:watchlist_events","data":"{\\"events\\":[{\\"name\\":\\"offline\\",\\"user_ids\\":[\\"f-cleo\\"]}]}"}');
});

story('a published event: data is the string as it was published, byte for byte', async (t) => {
  const raw = await connect(t);
  await raw.subscribe('exact');
  for (const data of ['{"b": 1,  "a":2.0}', 'no JSON at all', '', '12', 'ünïcødé 🎺 \u2028', '"\\"']) {
    await server.publish(app, 'exact', 'App\\Events\\Said', data);
    await frame(raw, `{"event":"App\\\\Events\\\\Said","data":${JSON.stringify(data)},"channel":"exact"}`);
  }
});

story('a client event: data is the string that was sent, or the JSON text of what was sent; user_id on presence channels only', async (t) => {
  const [from, to] = [await connect(t), await connect(t)];
  for (const raw of [from, to]) {
    await raw.join(app, 'private-c');
    await raw.join(app, 'presence-c', JSON.stringify({ user_id: raw === from ? 'sender' : 'other' }));
  }
  from.send('{"event":"client-a","channel":"private-c","data":{"b": 1,  "a":2.0}}');
  from.send('{"event":"client-b","channel":"private-c","data":"plain"}');
  from.send('{"event":"client-c","channel":"presence-c","data":[1,null]}');
  await frame(to, '{"event":"client-a","data":"{\\"b\\": 1,  \\"a\\":2.0}","channel":"private-c"}');
  await frame(to, '{"event":"client-b","data":"plain","channel":"private-c"}');
  await frame(to, '{"event":"client-c","data":"[1,null]","channel":"presence-c","user_id":"sender"}');
});

story('subscription_error: data is an object with type, error and status, beside a pusher:error', async (t) => {
  const raw = await connect(t);
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-e', auth: `${app.key}:${'0'.repeat(64)}` } });
  const text = await textOf(raw, 'pusher:subscription_error');
  const { error } = JSON.parse(text).data;
  assert.equal(text, `{"event":"pusher:subscription_error","data":{"type":"AuthError","error":${JSON.stringify(error)},"status":401},"channel":"private-e"}`);
  assert.ok(error.includes(`${raw.socketId}:private-e`), 'it says what should have been signed');
  await frame(raw, `{"event":"pusher:error","data":{"code":null,"message":${JSON.stringify(error)}}}`);
});

story('4301: too many client events are refused in band, and the socket survives', async (t) => {
  const [raw, other] = [await connect(t), await connect(t)];
  for (const one of [raw, other]) await one.join(app, 'private-rate');
  for (let n = 0; n < 3 * CLIENT_EVENTS_PER_SECOND_MAX; n += 1) raw.send({ event: 'client-n', channel: 'private-rate', data: { n } });
  const error = JSON.parse(await textOf(raw, 'pusher:error'));
  assert.equal(error.data.code, 4301);
  await raw.alive();
  await server.publish(app, 'private-rate', 'after', {});
  await other.message('after');
  const passed = other.all('client-n').length;
  // The thirty may have fallen into two seconds.
  assert.ok(passed >= CLIENT_EVENTS_PER_SECOND_MAX && passed <= 2 * CLIENT_EVENTS_PER_SECOND_MAX, `${passed} passed`);
  assert.equal(other.all('pusher:error').length, 0);
});

// ---- edges

story('a channel name may have 200 characters of its alphabet, and no other', async (t) => {
  const raw = await connect(t, plain);
  await raw.subscribe(`a-zA-Z0_=@,.;${'x'.repeat(200 - 13)}`);
  for (const [n, channel] of ['x'.repeat(201), 'a b', 'a/b', 'a:b', 'ünï', '#mine', ''].entries()) {
    raw.send({ event: 'pusher:subscribe', data: { channel } });
    await raw.message('pusher:error', { nth: n + 1 });
  }
  await raw.alive();
  assert.equal(raw.all('pusher_internal:subscription_succeeded').length, 1);
});

story('a client event may have 10,240 bytes of data, and one more is refused in band', async (t) => {
  const [from, to] = [await connect(t), await connect(t)];
  for (const raw of [from, to]) await raw.join(app, 'private-size');
  from.send({ event: 'client-fits', channel: 'private-size', data: 'x'.repeat(10_240) });
  assert.equal((await to.message('client-fits')).data.length, 10_240);
  // The limit is one of bytes; and what is no string counts as the text that it becomes.
  for (const [n, data] of ['x'.repeat(10_241), 'é'.repeat(5_121), ['x'.repeat(10_237)]].entries()) {
    from.send({ event: 'client-large', channel: 'private-size', data });
    const error = await from.message('pusher:error', { nth: n + 1 });
    assert.equal(error.data.code, null);
    assert.match(error.data.message, /10[,. ]?240/);
  }
  await from.alive();
  assert.deepEqual(to.all('client-large'), []);
});

story('a connection may have 4,096 subscriptions, and is told when it wants more', async (t) => {
  const raw = await connect(t, plain);
  for (let n = 0; n < 4_096; n += 1) raw.send({ event: 'pusher:subscribe', data: { channel: `c-${n}` } });
  raw.send({ event: 'pusher:subscribe', data: { channel: 'one-too-many' } });
  const refused = await raw.message('pusher:subscription_error', { deadlineMs: 20_000 });
  assert.equal(refused.channel, 'one-too-many');
  assert.match(refused.data.error, /4[,. ]?096/);
  raw.send({ event: 'pusher:unsubscribe', data: { channel: 'c-7' } });
  await raw.subscribe('one-too-many');
});

// ---- order

story('a newcomer gets the success, then the cached event or the miss, then the count, then what follows', async (t) => {
  await server.publish(app, 'cache-ordered', 'last', 'kept');
  const raw = await connect(t);
  for (const channel of ['cache-ordered', 'cache-unfilled']) {
    await raw.subscribe(channel);
    await raw.message('pusher_internal:subscription_count', { nth: channel === 'cache-ordered' ? 1 : 2 });
    await server.publish(app, channel, 'next', '{}');
  }
  await raw.message('next', { nth: 2 });
  const order = (channel) => raw.messages.filter((message) => message.channel === channel).map(({ event }) => event);
  assert.deepEqual(order('cache-ordered'), ['pusher_internal:subscription_succeeded', 'last', 'pusher_internal:subscription_count', 'next']);
  assert.deepEqual(order('cache-unfilled'), ['pusher_internal:subscription_succeeded', 'pusher:cache_miss', 'pusher_internal:subscription_count', 'next']);
});

story('established comes first, also when frames came before it, and nothing but a 4xxx error comes instead', async (t) => {
  for (let n = 0; n < 5; n += 1) {
    const raw = await RawSocket.open(t, server, `/app/${app.key}?protocol=7`);
    raw.send('garbage');
    raw.send({ event: 'pusher:subscribe', data: { channel: 'private-early' } });
    raw.send({ event: 'pusher:subscribe', data: { channel: 'early' } });
    await raw.message('pusher_internal:subscription_succeeded');
    assert.equal(raw.messages[0].event, 'pusher:connection_established');
  }
  for (const target of [`/app/${app.key}?protocol=5&version=${'x'.repeat(99)}`, '/app/none?protocol=5', '/app/none?protocol=7', '/elsewhere?protocol=5']) {
    const raw = await RawSocket.open(t, server, target);
    raw.send('garbage');
    await raw.closeCode();
    for (const message of raw.messages) {
      assert.equal(message.event, 'pusher:error', target);
      assert.ok(message.data.code >= 4000 && message.data.code < 5000, target);
    }
  }
});

story('frames of one connection are answered strictly in their order', async (t) => {
  const raw = await connect(t, plain);
  const steps = [];
  for (let n = 0; n < 20; n += 1) {
    raw.send({ event: 'pusher:subscribe', data: { channel: `step-${n}` } });
    raw.send({ event: 'pusher:unsubscribe', data: { channel: `step-${n}` } });
    raw.send({ event: 'pusher:unsubscribe', data: { channel: `step-${n}` } });
    steps.push('pusher_internal:subscription_succeeded', 'pusher:error');
  }
  raw.send({ event: 'pusher:ping', data: {} });
  await raw.message('pusher:pong');
  assert.deepEqual(raw.messages.map(({ event }) => event), ['pusher:connection_established', ...steps, 'pusher:pong']);
});

// ---- close codes. 4201 and the 30 s of authorized connections need a moved clock: realtime's own tests have them.

/** Opens, and gives the code and the reason that the server closes with. */
async function closed(t, target, options) {
  const raw = await RawSocket.open(t, server, target, options);
  assert.equal(raw.handshake.status, 101, `${target} upgrades first`);
  const code = await raw.closeCode();
  const { reason } = raw.frames.find(({ opcode }) => opcode === CLOSE);
  assert.ok(reason.length > 5, `a reason for ${code}`);
  return code;
}

story('4000: an app that wants TLS refuses a plain connection, and takes one that came to the proxy over TLS', async (t) => {
  const strict = await server.app({ name: 'tls only', switches: { forceTls: true } });
  assert.equal(await closed(t, `/app/${strict.key}?protocol=7`), 4000);
  const secure = await RawSocket.open(t, server, `/app/${strict.key}?protocol=7`, { headers: { 'X-Forwarded-Proto': 'https' } });
  await secure.message('pusher:connection_established');
});

story('4001, 4005, 4006, 4007 and 4008: what is wrong with the address', async (t) => {
  assert.equal(await closed(t, '/app/ffffffffffffffffffff?protocol=7'), 4001);
  assert.equal(await closed(t, '/nowhere?protocol=7'), 4005);
  assert.equal(await closed(t, `/app/${app.key}?protocol=7&version=${'9'.repeat(65)}`), 4006);
  for (const protocol of ['4', '8', 'seven']) assert.equal(await closed(t, `/app/${app.key}?protocol=${protocol}`), 4007, `protocol ${protocol}`);
  assert.equal(await closed(t, `/app/${app.key}`), 4008);
});

story('4003: the connections of an app that is disabled, and whoever comes after', async (t) => {
  const off = await server.app({ name: 'off' });
  const raw = await connect(t, off);
  await switchApp(await ownerOf(server), off, 'disable');
  assert.equal(await raw.closeCode(), 4003);
  assert.equal(await closed(t, `/app/${off.key}?protocol=7`), 4003);
});

story('4004: the connection over the limit', async (t) => {
  const small = await server.app({ name: 'small', maxConnections: 1 });
  await connect(t, small);
  assert.equal(await closed(t, `/app/${small.key}?protocol=7`), 4004);
});

story('4100 and 4200: a server that goes away closes its connections, and turns newcomers to a later moment', async (t) => {
  const leaving = await startServer({ env: { FANFARE_DRAIN_SECONDS: '3' } });
  t.after(() => leaving.stop());
  const its = await leaving.app({ name: 'leaving' });
  const sockets = [];
  for (let n = 0; n < 20; n += 1) sockets.push(await RawSocket.connect(t, leaving, its));
  const ending = leaving.stop();
  await until(() => sockets.some((raw) => raw.frames.some(({ opcode }) => opcode === CLOSE)), 'the first to be closed');
  const late = await RawSocket.open(t, leaving, `/app/${its.key}?protocol=7`);
  assert.equal(await late.closeCode(), 4100);
  const codes = await Promise.all(sockets.map((raw) => raw.closeCode(10_000)));
  assert.deepEqual(new Set(codes), new Set([4200]));
  assert.deepEqual(await ending, { code: 0, signal: null });
});

story('a token signed with the key of another app opens nothing', async (t) => {
  const raw = await connect(t);
  const other = await server.app({ name: 'another app' });
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-k', auth: channelToken(other, raw.socketId, 'private-k') } });
  assert.match((await raw.message('pusher:subscription_error')).data.error, /key/i);
  await raw.join(app, 'private-k');
  await backEnd(server, app).trigger('private-k', 'said', {});
  await raw.message('said');
});
