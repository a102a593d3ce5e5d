// The npm package `pusher` as a customer's back end: publishing, batches, reading, and each refusal with its words.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { arrives, backEnd, client, connected, named, subscribed } from './clients.mjs';
import { MASTER_KEY } from './customer.mjs';
import { signedQuery, startServer, story, until } from './harness.mjs';
import { ownerOf } from './visitor.mjs';

const EVENT_DATA_BYTES_MAX = 10_240;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'server sdk', clientEvents: true });

const json = async (answer) => (await answer).json();

/** The refusal of a call: `{ status, body }` as the SDK throws it. */
async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return { status: error.status, body: error.body ?? '' };
  }
  throw new Error('the call was not refused');
}

story('trigger answers 200 with an object and reaches one channel', async (t) => {
  const channel = await subscribed(client(t, server, app), 'one');
  const answer = await backEnd(server, app).trigger('one', 'said', { n: 1 });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /application\/json/);
  assert.deepEqual(await answer.json(), {});
  assert.deepEqual(await arrives(channel, 'said'), [{ n: 1 }]);
});

story('trigger reaches a hundred channels in one call', async (t) => {
  const pusher = client(t, server, app);
  const names = [...Array(100).keys()].map((n) => `wide-${n}`);
  const channels = await Promise.all(names.map((name) => subscribed(pusher, name)));
  await backEnd(server, app).trigger(names, 'all', { ok: 1 });
  await Promise.all(channels.map((channel) => arrives(channel, 'all')));
});

story('101 channels are refused by the SDK, and with 400 by the server', async () => {
  const names = [...Array(101).keys()].map((n) => `wide-${n}`);
  assert.throws(() => backEnd(server, app).trigger(names, 'all', {}), /100 channels/);
  const answer = await server.rest(app, 'POST', `/apps/${app.id}/events`, { body: { name: 'all', channels: names, data: '{}' } });
  assert.equal(answer.status, 400);
  assert.match(answer.text, /100/);
});

story('publishing to a channel that nobody is on succeeds', async () => {
  const answer = await backEnd(server, app).trigger('nobody-here', 'said', {});
  assert.equal(answer.status, 200);
});

story('a batch reaches each of its channels', async (t) => {
  const pusher = client(t, server, app);
  const [a, b] = [await subscribed(pusher, 'batch-a'), await subscribed(pusher, 'private-batch-b')];
  const answer = await backEnd(server, app).triggerBatch([
    { channel: 'batch-a', name: 'first', data: { n: 1 } },
    { channel: 'private-batch-b', name: 'second', data: { n: 2 } },
    { channel: 'batch-a', name: 'third', data: { n: 3 } },
  ]);
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), {});
  assert.deepEqual(await arrives(b, 'second'), [{ n: 2 }]);
  await arrives(a, 'third');
  assert.deepEqual(a.events.filter(({ event }) => !event.startsWith('pusher')).map(({ event }) => event), ['first', 'third']);
});

story('a batch of eleven events is refused with 400 and none of them is published', async (t) => {
  const channel = await subscribed(client(t, server, app), 'batch-limit');
  const events = [...Array(11).keys()].map((n) => ({ channel: 'batch-limit', name: 'n', data: { n } }));
  const { status, body } = await refusal(backEnd(server, app).triggerBatch(events));
  assert.equal(status, 400);
  assert.match(body, /10/);
  await backEnd(server, app).trigger('batch-limit', 'marker', {});
  await arrives(channel, 'marker');
  assert.equal(named(channel, 'n').length, 0);
});

story('socket_id leaves out exactly that connection', async (t) => {
  const [ana, ben] = [client(t, server, app), client(t, server, app)];
  const [hers, his] = [await subscribed(ana, 'others'), await subscribed(ben, 'others')];
  const sdk = backEnd(server, app);
  await sdk.trigger('others', 'changed', { n: 1 }, { socket_id: await connected(ana) });
  await sdk.triggerBatch([{ channel: 'others', name: 'changed', data: { n: 2 }, socket_id: await connected(ben) }]);
  await sdk.trigger('others', 'marker', {});
  await arrives(hers, 'marker');
  await arrives(his, 'marker');
  assert.deepEqual(named(hers, 'changed').map(({ data }) => data.n), [2]);
  assert.deepEqual(named(his, 'changed').map(({ data }) => data.n), [1]);
});

story('info asked for with a publish counts each channel', async (t) => {
  const first = client(t, server, app, { user: { id: 'ana' } });
  const second = client(t, server, app, { user: { id: 'ana' } });
  for (const pusher of [first, second]) await subscribed(pusher, 'presence-counted');
  await subscribed(first, 'counted');
  const answer = await json(backEnd(server, app).trigger(['presence-counted', 'counted'], 'said', {}, { info: 'user_count,subscription_count' }));
  assert.equal(answer.channels['presence-counted'].user_count, 1);
  assert.equal(answer.channels['presence-counted'].subscription_count, 2);
  assert.equal(answer.channels.counted.subscription_count, 1);
  assert.equal(answer.channels.counted.user_count, undefined);
});

story('info asked for with a batch answers each event in its place', async (t) => {
  const pusher = client(t, server, app, { user: { id: 'ana' } });
  for (const name of ['presence-batch-info', 'batch-info']) await subscribed(pusher, name);
  const answer = await json(
    backEnd(server, app).triggerBatch([
      { channel: 'presence-batch-info', name: 'a', data: {}, info: 'user_count,subscription_count' },
      { channel: 'batch-info', name: 'b', data: {} },
      { channel: 'batch-info', name: 'c', data: {}, info: 'subscription_count' },
      { channel: 'batch-info-empty', name: 'd', data: {}, info: 'subscription_count' },
    ]),
  );
  assert.deepEqual(answer, { batch: [{ user_count: 1, subscription_count: 1 }, {}, { subscription_count: 1 }, { subscription_count: 0 }] });
});

story('encrypted events of the SDK are opaque to the server, and a batch may hold them', async (t) => {
  const sdk = backEnd(server, app, { encryptionMasterKeyBase64: MASTER_KEY });
  const pusher = client(t, server, app, { options: { channelAuthorization: { customHandler: ({ socketId, channelName }, done) => done(null, sdk.authorizeChannel(socketId, channelName)) } } });
  const channel = await subscribed(pusher, 'private-encrypted-sdk');
  const wire = [];
  pusher.connection.bind('message', ({ event, data }) => event === 'said' && wire.push(data));
  await sdk.trigger('private-encrypted-sdk', 'said', { pin: 1234 });
  await sdk.triggerBatch([{ channel: 'private-encrypted-sdk', name: 'said', data: { pin: 5678 } }]);
  assert.deepEqual(await arrives(channel, 'said', 2), [{ pin: 1234 }, { pin: 5678 }]);
  for (const data of wire) assert.deepEqual(Object.keys(data).sort(), ['ciphertext', 'nonce']);
  assert.throws(() => sdk.trigger(['private-encrypted-sdk', 'other'], 'said', {}), /multiple channels/);
});

story('channels, one channel and its users can be read', async (t) => {
  const reading = await server.app({ name: 'reading' });
  const sdk = backEnd(server, reading);
  assert.deepEqual(await json(sdk.get({ path: '/channels' })), { channels: {} });

  for (const id of ['ana', 'ben', 'ben']) await subscribed(client(t, server, reading, { user: { id } }), 'presence-room');
  await subscribed(client(t, server, reading), 'lobby');
  assert.deepEqual(await json(sdk.get({ path: '/channels' })), { channels: { lobby: {}, 'presence-room': {} } });
  assert.deepEqual(await json(sdk.get({ path: '/channels', params: { filter_by_prefix: 'presence-', info: 'user_count' } })), {
    channels: { 'presence-room': { user_count: 2 } },
  });
  assert.deepEqual(await json(sdk.get({ path: '/channels/presence-room', params: { info: 'user_count' } })), { occupied: true, user_count: 2 });
  assert.equal((await json(sdk.get({ path: '/channels/never-used' }))).occupied, false);
  const { users } = await json(sdk.get({ path: '/channels/presence-room/users' }));
  assert.deepEqual(users.map(({ id }) => id).sort(), ['ana', 'ben']);
});

story('reading what a channel cannot have is refused with 400', async () => {
  const sdk = backEnd(server, app);
  for (const call of [
    { path: '/channels/lobby/users' },
    { path: '/channels/lobby', params: { info: 'user_count' } },
    { path: '/channels', params: { info: 'user_count' } },
  ]) {
    const { status, body } = await refusal(sdk.get(call));
    assert.equal(status, 400, JSON.stringify(call));
    assert.ok(body.trim().length > 10, `a sentence for ${JSON.stringify(call)}`);
  }
});

story('event data of exactly 10,240 bytes is published, one byte more is refused with 413', async (t) => {
  const channel = await subscribed(client(t, server, app), 'large');
  const sdk = backEnd(server, app);
  await sdk.trigger('large', 'fits', 'x'.repeat(EVENT_DATA_BYTES_MAX));
  assert.equal((await arrives(channel, 'fits'))[0].length, EVENT_DATA_BYTES_MAX);

  const { status, body } = await refusal(sdk.trigger('large', 'too-large', 'x'.repeat(EVENT_DATA_BYTES_MAX + 1)));
  assert.equal(status, 413);
  assert.match(body, /10[,. ]?240/);
  // The limit counts bytes, not letters: 5,121 of these are 10,242 bytes.
  assert.equal((await refusal(sdk.trigger('large', 'too-large', 'é'.repeat(EVENT_DATA_BYTES_MAX / 2 + 1)))).status, 413);
  assert.equal((await refusal(sdk.triggerBatch([{ channel: 'large', name: 'too-large', data: 'x'.repeat(EVENT_DATA_BYTES_MAX + 1) }]))).status, 413);
});

story('a wrong secret is refused with 401 and the string that should have been signed', async () => {
  const { status, body } = await refusal(backEnd(server, { ...app, secret: 'not-the-secret-of-it' }).trigger('one', 'said', {}));
  assert.equal(status, 401);
  assert.match(body, /signature/i);
  // The line ends may be shown as \n, as the service that this answer is known from does.
  assert.ok(body.replaceAll('\\n', '\n').includes(`POST\n/apps/${app.id}/events\nauth_key=${app.key}`), body);
  assert.equal(body.includes(app.secret), false);
});

story('an unknown key is refused with 401', async () => {
  const { status, body } = await refusal(backEnd(server, { ...app, key: 'ffffffffffffffffffff' }).trigger('one', 'said', {}));
  assert.equal(status, 401);
  assert.match(body, /key/i);
});

story('the key of another app is refused with 401', async () => {
  const other = await server.app({ name: 'other' });
  const { status } = await refusal(backEnd(server, { ...other, id: app.id }).trigger('one', 'said', {}));
  assert.equal(status, 401);
});

story('an app that does not exist is refused with 404', async () => {
  const { status } = await refusal(backEnd(server, { ...app, id: '999999' }).trigger('one', 'said', {}));
  assert.equal(status, 404);
});

story('a clock that is ten minutes off is refused with 401 and both times', async () => {
  for (const off of [-600, 600]) {
    const answer = await server.rest(app, 'GET', `/apps/${app.id}/channels`, { timestamp: Math.floor(Date.now() / 1000) + off });
    assert.equal(answer.status, 401, `${off} s`);
    assert.match(answer.text, /timestamp|clock|time/i);
  }
  const near = await server.rest(app, 'GET', `/apps/${app.id}/channels`, { timestamp: Math.floor(Date.now() / 1000) - 590 });
  assert.equal(near.status, 200);
});

story('a body that was changed on its way is refused with 401', async () => {
  const pathname = `/apps/${app.id}/events`;
  const signed = JSON.stringify({ name: 'said', channel: 'one', data: 'yes' });
  const query = signedQuery(app, 'POST', pathname, { body: signed });
  const answer = await fetch(`${server.url}${pathname}?${query}`, { method: 'POST', body: signed.replace('yes', 'no!'), headers: { 'content-type': 'application/json' } });
  assert.equal(answer.status, 401);
  assert.match(await answer.text(), /md5|body/i);
});

story('a missing body_md5, auth_version or auth_key is refused with 401', async () => {
  const pathname = `/apps/${app.id}/events`;
  const body = JSON.stringify({ name: 'said', channel: 'one', data: 'yes' });
  const whole = new URLSearchParams(signedQuery(app, 'POST', pathname, { body }));
  for (const missing of ['body_md5', 'auth_version', 'auth_key', 'auth_timestamp', 'auth_signature']) {
    const params = new URLSearchParams(whole);
    params.delete(missing);
    const answer = await fetch(`${server.url}${pathname}?${params}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
    assert.equal(answer.status, 401, `without ${missing}`);
    await answer.arrayBuffer();
  }
});

story('malformed publishes are refused with 400 and a sentence', async () => {
  const pathname = `/apps/${app.id}/events`;
  const bodies = {
    'no JSON': '{"name":',
    'an array': '[]',
    'no name': { channels: ['one'], data: '{}' },
    'no channel': { name: 'said', data: '{}' },
    'no data': { name: 'said', channels: ['one'] },
    'a bad channel name': { name: 'said', channels: ['white space'], data: '{}' },
    'a bad socket_id': { name: 'said', channels: ['one'], data: '{}', socket_id: 'abc' },
    'a reserved event name': { name: 'pusher:fake', channels: ['one'], data: '{}' },
    'a name of 201 letters': { name: 'n'.repeat(201), channels: ['one'], data: '{}' },
    'an empty list of channels': { name: 'said', channels: [], data: '{}' },
    'deep nesting': `{"name":"said","channel":"one","data":${'['.repeat(9_000)}`,
  };
  for (const [what, body] of Object.entries(bodies)) {
    const answer = await server.rest(app, 'POST', pathname, { body });
    assert.equal(answer.status, 400, `${what}: ${answer.text}`);
    assert.ok(answer.text.trim().length > 5, `a sentence for ${what}`);
  }
});

story('the answer of the deprecated single `channel` form is the same', async (t) => {
  const channel = await subscribed(client(t, server, app), 'single');
  const answer = await server.rest(app, 'POST', `/apps/${app.id}/events`, {
    body: { name: 'App\\Events\\X', channel: 'single', data: '{"n":1}' },
    headers: { 'x-pusher-library': 'pusher-http-php 7.2.6' },
  });
  assert.equal(answer.status, 200);
  assert.equal(answer.text, '{}');
  assert.deepEqual(await arrives(channel, 'App\\Events\\X'), [{ n: 1 }]);
});

story('one TCP connection carries many calls', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set();
  const sdk = backEnd(server, app, { agent });
  for (let n = 0; n < 5; n += 1) {
    const answer = await sdk.trigger('kept-alive', 'said', { n });
    assert.equal(answer.status, 200);
    await answer.text();
    for (const socket of Object.values(agent.freeSockets).flat()) ports.add(socket.localPort);
    await until(() => Object.values(agent.freeSockets).flat().length === 1 || ports.size > 0, 'the socket to be free again');
    for (const socket of Object.values(agent.freeSockets).flat()) ports.add(socket.localPort);
  }
  // A refusal keeps the connection as well.
  await refusal(sdk.get({ path: '/channels/kept-alive/users' }));
  await (await sdk.trigger('kept-alive', 'said', {})).text();
  for (const socket of Object.values(agent.freeSockets).flat()) ports.add(socket.localPort);
  agent.destroy();
  assert.equal(ports.size, 1, `local ports used: ${[...ports]}`);
});

story('two requests sent at once on one connection are both answered, in order', async () => {
  const { exchange } = await import('./rawsocket.mjs');
  const request = (pathname) => `GET ${pathname}?${signedQuery(app, 'GET', pathname)} HTTP/1.1\r\nHost: ${server.host}\r\n\r\n`;
  const { text } = await exchange(server.port, request(`/apps/${app.id}/channels`) + request(`/apps/${app.id}/channels/pipelined`), {
    until: (got) => got.includes('"occupied"'),
  });
  assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 2, text);
  assert.ok(text.indexOf('"channels"') < text.indexOf('"occupied"'));
});

story('a socket that is left out is neither counted nor shown as a recipient', async (t) => {
  const counted = await server.app({ name: 'to others' });
  const owner = await ownerOf(server);
  const messages = async () => (await owner.stat(counted)).messages;
  const sender = client(t, server, counted);
  for (const pusher of [sender, client(t, server, counted), client(t, server, counted)]) await subscribed(pusher, 'counted');
  const elsewhere = client(t, server, counted);
  await subscribed(elsewhere, 'other');
  const before = await messages();
  const sdk = backEnd(server, counted);
  await sdk.trigger('counted', 'to-others', {}, { socket_id: sender.connection.socket_id });
  await until(async () => (await messages()) - before === 3, async () => `1 message and 2 deliveries, counted ${(await messages()) - before}`);
  await sdk.trigger('counted', 'foreign', {}, { socket_id: elsewhere.connection.socket_id });
  await sdk.trigger('counted', 'unknown', {}, { socket_id: '1.2' });
  await until(async () => (await messages()) - before === 11, '2 messages and 6 deliveries more');
  const recipients = Object.fromEntries((await owner.rows(counted)).filter((row) => row.kind === 'api_message').map((row) => [row.event, row.recipients]));
  assert.deepEqual(recipients, { 'to-others': 2, foreign: 3, unknown: 3 });
});

story('a publish counts one message and one for each delivery', async (t) => {
  const counted = await server.app({ name: 'counted' });
  const owner = await ownerOf(server);
  const messages = async () => (await owner.stat(counted)).messages;
  const before = await messages();
  for (let n = 0; n < 3; n += 1) await subscribed(client(t, server, counted), 'counted');
  const sdk = backEnd(server, counted);
  await sdk.trigger('counted', 'said', {});
  await until(async () => (await messages()) - before === 4, async () => `4 messages, counted ${(await messages()) - before}`);
  await sdk.triggerBatch([{ channel: 'counted', name: 'a', data: 1 }, { channel: 'nobody', name: 'b', data: 2 }]);
  await until(async () => (await messages()) - before === 9, '2 messages and 3 deliveries more');
  await sdk.trigger('counted', 'said', {}, { info: 'subscription_count' });
  await until(async () => (await messages()) - before === 14, 'a publish with info to count two');
  await sdk.get({ path: '/channels' });
  await until(async () => (await messages()) - before === 15, 'a read to count one');
  await refusal(backEnd(server, { ...counted, secret: 'wrong' }).trigger('counted', 'said', {}));
  assert.equal((await messages()) - before, 15);
});
