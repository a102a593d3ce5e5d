// The HTTP API from outside, by raw signed requests: every endpoint with every status that it can answer, and each limit at
// its edge. What the packages for Node and Python make of it is told in server-sdk.test.mjs and python.test.mjs.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { client, subscribed } from './clients.mjs';
import { startServer, story, until } from './harness.mjs';
import { RawSocket, exchange } from './rawsocket.mjs';
import { ownerOf, switchApp } from './visitor.mjs';

const EVENT_DATA_BYTES_MAX = 10_240;
const QUERY_PARAMETERS_MAX = 256;

const server = await startServer({ env: { FANFARE_TRUST_PROXY: 'true' } });
after(() => server.stop());
const app = await server.app({ name: 'rest' });
const other = await server.app({ name: 'another' });
const base = `/apps/${app.id}`;

const md5 = (text) => createHash('md5').update(text).digest('hex');
const now = () => Math.floor(Date.now() / 1_000);
const credentials = (of = app, at = now()) => [['auth_key', of.key], ['auth_timestamp', String(at)], ['auth_version', '1.0']];

/** The signature over exactly this text. */
const sign = (secret, method, path, parameters) => createHmac('sha256', secret).update([method, path, parameters].join('\n')).digest('hex');

/**
 * One request with a query of our own making: `wire` is what goes over the wire, `signed` what was signed (without
 * `auth_signature`; the same as the wire if left out).
 */
async function send(method, path, wire, { signed = wire, body, secret = app.secret, headers = {}, signPath = path } = {}) {
  const query = `${wire}&auth_signature=${sign(secret, method, signPath, signed)}`;
  const answer = await fetch(`${server.url}${path}?${query}`, { method, body, headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers } });
  return { status: answer.status, text: await answer.text(), headers: answer.headers };
}

/** Pairs in the order in which the signature wants them. */
const sorted = (pairs) => [...pairs].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([name, value]) => `${name}=${value}`).join('&');

const events = (body, options) => server.rest(app, 'POST', `${base}/events`, { body, ...options });
const names = (count, prefix = 'c-') => [...Array(count).keys()].map((n) => `${prefix}${n}`);
const event = (more = {}) => ({ name: 'said', channels: ['rest'], data: '{}', ...more });

function refused({ status, text, headers }, expected, pattern) {
  assert.equal(status, expected, text);
  assert.match(text, pattern);
  assert.ok(text.endsWith('\n'), `a line end: ${JSON.stringify(text)}`);
  assert.match(headers.get('content-type'), /^text\/plain/);
  assert.doesNotMatch(text, /^\s*[{[]/, 'plain text');
}

function answered({ status, text }, expected) {
  assert.equal(status, 200, text);
  assert.equal(text, typeof expected === 'string' ? expected : JSON.stringify(expected));
}

// ---- what is asked for, and that it is there

story('every endpoint answers 200 with the object that its SDKs decode', async (t) => {
  const own = await server.app({ name: 'own' });
  const at = `/apps/${own.id}`;
  const post = (path, body) => server.rest(own, 'POST', `${at}${path}`, { body });
  const get = (path, params) => server.rest(own, 'GET', `${at}${path}`, { params });
  answered(await post('/events', event()), '{}');
  answered(await post('/batch_events', { batch: [{ name: 'a', channel: 'b', data: '1' }] }), '{}');
  answered(await post('/batch_events', { batch: [] }), '{}');
  answered(await get('/channels'), '{"channels":{}}');
  answered(await get('/channels/never'), '{"occupied":false}');
  answered(await get('/channels/presence-never', { info: 'user_count,subscription_count' }), { occupied: false, subscription_count: 0, user_count: 0 });
  answered(await get('/channels/presence-never/users'), '{"users":[]}');
  answered(await get('/channels/never/stats'), { connection_count: 0, occupied: false });
  answered(await get('/connections'), '{"connections":0}');

  for (const id of ['ana', 'ben', 'ben']) await subscribed(client(t, server, own, { user: { id } }), 'presence-room');
  await subscribed(client(t, server, own), 'lobby');
  answered(await get('/connections'), '{"connections":4}');
  answered(await get('/channels'), { channels: { lobby: {}, 'presence-room': {} } });
  answered(await get('/channels', { filter_by_prefix: 'lob' }), { channels: { lobby: {} } });
  answered(await get('/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), { channels: { 'presence-room': { user_count: 2 } } });
  answered(await get('/channels', { filter_by_prefix: 'lob', info: 'subscription_count' }), { channels: { lobby: { subscription_count: 1 } } });
  answered(await get('/channels/lobby', { info: 'subscription_count' }), { occupied: true, subscription_count: 1 });
  answered(await get('/channels/lobby', { info: 'connection_count' }), { connection_count: 1, occupied: true });
  answered(await get('/channels/lobby', { info: '' }), '{"occupied":true}');
  answered(await get('/channels/lobby', { info: ' , subscription_count ,' }), { occupied: true, subscription_count: 1 });
  answered(await get('/channels/presence-room', { info: 'user_count,subscription_count' }), { occupied: true, subscription_count: 3, user_count: 2 });
  answered(await get('/channels/presence-room/stats'), { connection_count: 3, occupied: true, user_count: 2 });
  answered(await get('/channels/lobby/stats'), { connection_count: 1, occupied: true });
  const info = { channels: { lobby: { subscription_count: 1 }, 'presence-room': { subscription_count: 3, user_count: 2 }, nobody: { subscription_count: 0 } } };
  const counted = await post('/events', { name: 'x', data: '', channels: Object.keys(info.channels), info: 'subscription_count,user_count' });
  assert.deepEqual(JSON.parse(counted.text), info);
  const batch = [{ name: 'x', data: '1', channel: 'presence-room', info: 'user_count' }, { name: 'x', data: '2', channel: 'lobby' }, { name: 'x', data: '3', channel: 'lobby', info: 'subscription_count,user_count' }];
  answered(await post('/batch_events', { batch }), { batch: [{ user_count: 2 }, {}, { subscription_count: 1 }] });
});

story('counts of a channel are there whether or not the app tells its subscribers', async () => {
  const counting = await server.app({ name: 'counting', switches: { subscriptionCounts: true } });
  for (const of of [app, counting]) {
    answered(await server.rest(of, 'GET', `/apps/${of.id}/channels/x`, { params: { info: 'subscription_count' } }), { occupied: false, subscription_count: 0 });
  }
});

story('the health page of Reverb answers without a signature', async () => {
  const answer = await fetch(`${server.url}/up`);
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { health: 'OK' });
});

// ---- the publish of 2012

story('the deprecated publish takes its data from the body as it is and answers 202', async (t) => {
  const [raw, sender] = [await RawSocket.connect(t, server, app), await RawSocket.connect(t, server, app)];
  for (const socket of [raw, sender]) await socket.subscribe('old');
  const path = `${base}/channels/old/events`;
  const publish = (params, body) => server.rest(app, 'POST', path, { params, body });
  const data = '{"a": 1.0,\t"ü": "\\u00fc"}';
  const answer = await publish({ name: 'kept', socket_id: sender.socketId }, data);
  assert.equal(answer.status, 202);
  assert.equal(answer.text, '{}');
  assert.equal((await raw.message('kept')).data, data);
  assert.equal((await publish({ name: 'plain' }, 'no JSON at all')).status, 202);
  assert.equal((await sender.message('plain')).data, 'no JSON at all');
  assert.equal((await publish({ name: 'nothing' })).status, 202);
  assert.equal((await sender.message('nothing')).data, '');
  assert.equal((await publish({ name: 'edge' }, 'x'.repeat(EVENT_DATA_BYTES_MAX))).status, 202);
  assert.deepEqual(sender.messages.filter((message) => message.event === 'kept'), []);

  refused(await publish({}, data), 400, /Missing parameter: name/);
  refused(await publish({ name: 'pusher:x' }, data), 400, /reserved/);
  refused(await publish({ name: 'x', socket_id: 'me' }, data), 400, /socket_id "me"/);
  refused(await publish({ name: 'x' }, 'x'.repeat(EVENT_DATA_BYTES_MAX + 1)), 413, /content of this event.*10240 bytes.*10241 bytes/);
  refused(await server.rest(app, 'POST', `${base}/channels/wh%20ite/events`, { params: { name: 'x' }, body: 'x' }), 400, /Invalid channel name "wh ite"/);
  const bytes = Buffer.from([0x61, 0xff, 0x62]);
  const query = sorted([...credentials(), ['body_md5', md5(bytes)], ['name', 'x']]);
  refused(await send('POST', path, query, { body: bytes }), 400, /not UTF-8, beginning at byte 1/);
});

// ---- what goes in comes out

story('data passes byte for byte, and what is no string arrives as its JSON text', async (t) => {
  const raw = await RawSocket.connect(t, server, app);
  await raw.subscribe('bytes');
  const literals = {
    spaces: [JSON.stringify('{ "b":1,  "a":1.0e2 }'), '{ "b":1,  "a":1.0e2 }'],
    escapes: ['"\\u00fc\\/\\ud83d\\ude00\\n"', 'ü/😀\n'],
    object: ['{"b": 1.50, "a": [ ]}', '{"b": 1.50, "a": [ ]}'],
    number: ['12345678901234567890.10', '12345678901234567890.10'],
    null: ['null', 'null'],
    empty: ['""', ''],
  };
  for (const [name, [literal, expected]] of Object.entries(literals)) {
    // JSON.stringify would tidy the literal up, so the body is put together by hand.
    const answer = await events(`{"name":"${name}","channel":"bytes","data":${literal}}`);
    if (name === 'null') {
      refused(answer, 400, /Missing parameter: data/);
      continue;
    }
    assert.equal(answer.status, 200, answer.text);
    assert.equal((await raw.message(name)).data, expected);
  }
});

story('channel and channels may come together; a name is published to once', async (t) => {
  const raw = await RawSocket.connect(t, server, app);
  for (const name of ['both-a', 'both-b']) await raw.subscribe(name);
  answered(await events({ name: 'x', data: '1', channel: 'both-a', channels: ['both-b', 'both-a', 'both-b'] }), '{}');
  answered(await events({ name: 'end', data: '1', channel: 'both-b' }), '{}');
  await raw.message('end');
  assert.deepEqual(raw.messages.filter(({ event: name }) => name === 'x').map(({ channel }) => channel).sort(), ['both-a', 'both-b']);
});

story('a user is reached over the system channel, signed in or not there at all; other # names are refused', async () => {
  answered(await events(event({ channels: ['#server-to-user-42'] })), '{}');
  answered(await events(event({ channels: ['#server-to-user-42', 'rest'], info: 'subscription_count' })), { channels: { '#server-to-user-42': { subscription_count: 0 }, rest: { subscription_count: 0 } } });
  for (const name of ['#', '#x', '#server-to-user-', '#Server-to-user-1']) refused(await events(event({ channels: [name] })), 400, /Invalid channel name "#/);
});

story('info=cache gives the last event of a cache channel and the seconds that it is kept', async () => {
  const get = async (name, info = 'cache') => (await server.rest(app, 'GET', `${base}/channels/${name}`, { params: { info } })).json;
  assert.deepEqual(await get('cache-never'), { occupied: false, cache: null });
  const data = '{ "n":1 }';
  for (const name of ['cache-a', 'private-cache-a', 'presence-cache-a', 'private-encrypted-cache-a']) {
    answered(await events({ name: 'price', channel: name, data }), '{}');
    const { occupied, cache } = await get(name);
    assert.equal(occupied, false);
    assert.equal(cache.data, data);
    assert.ok(Number.isInteger(cache.ttl) && cache.ttl > 1_790 && cache.ttl <= 1_800, String(cache.ttl));
  }
  assert.equal((await get('presence-cache-a', 'user_count,cache')).user_count, 0);
  const published = await events({ name: 'price', channels: ['cache-a', 'plain'], data: 'two', info: 'cache,subscription_count' });
  assert.equal(published.json.channels['cache-a'].cache.data, 'two');
  assert.deepEqual(published.json.channels.plain, { subscription_count: 0 });
  const batch = [{ name: 'a', channel: 'cache-a', data: 'three', info: 'cache' }, { name: 'b', channel: 'cache-b', data: 'x' }, { name: 'c', channel: 'plain', data: 'x', info: 'cache' }];
  const answer = (await server.rest(app, 'POST', `${base}/batch_events`, { body: { batch } })).json.batch;
  assert.equal(answer[0].cache.data, 'three');
  assert.deepEqual(answer.slice(1), [{}, {}]);
});

story('a user is put out over either path, and who is not there is no error', async (t) => {
  const signIn = async () => {
    const raw = await RawSocket.connect(t, server, app);
    const user_data = JSON.stringify({ id: 'zoe@shop,1;=.' });
    raw.send({ event: 'pusher:signin', data: { auth: `${app.key}:${createHmac('sha256', app.secret).update(`${raw.socketId}::user::${user_data}`).digest('hex')}`, user_data } });
    await raw.message('pusher:signin_success');
    return raw;
  };
  const user = encodeURIComponent('zoe@shop,1;=.');
  for (const path of [`${base}/users/${user}/terminate_connections`, `/users/${user}/terminate_connections`]) {
    const sockets = [await signIn(), await signIn()];
    answered(await server.rest(app, 'POST', path, { body: '{}' }), '{}');
    for (const raw of sockets) assert.equal(await raw.closeCode(), 4009);
    answered(await server.rest(app, 'POST', path), '{}');
    refused(await server.rest({ ...app, key: 'ffffffffffffffffffff' }, 'POST', path, { body: '{}' }), 401, /Unknown auth_key/);
    refused(await server.rest({ ...app, secret: other.secret }, 'POST', path, { body: '{}' }), 401, /Invalid signature/);
    refused(await server.rest(app, 'GET', path), 405, /is for POST, this was GET/);
  }
  const bystander = await signIn();
  answered(await server.rest(other, 'POST', `/users/${user}/terminate_connections`, { body: '{}' }), '{}');
  answered(await server.rest(app, 'POST', `${base}/users/zoe/terminate_connections`, { body: '{}' }), '{}');
  await bystander.alive();
  const naked = await fetch(`${server.url}/users/x/terminate_connections`, { method: 'POST' });
  refused({ status: naked.status, text: await naked.text(), headers: naked.headers }, 401, /Missing parameter: auth_key/);
});

// ---- edges

story('the edges of each limit: the largest passes, one more is refused with the value and the limit', async () => {
  const batch = (count) => ({ batch: names(count).map((channel) => ({ name: 'x', channel, data: '' })) });
  const publishBatch = (body) => server.rest(app, 'POST', `${base}/batch_events`, { body });
  const data = (bytes) => 'x'.repeat(bytes);
  answered(await events(event({ data: data(EVENT_DATA_BYTES_MAX) })), '{}');
  refused(await events(event({ data: data(EVENT_DATA_BYTES_MAX + 1) })), 413, /content of this event.*10240 bytes.*said has 10241 bytes/);
  // Bytes, not letters, and of what the string stands for, not of how it was escaped.
  answered(await events(event({ data: 'é'.repeat(EVENT_DATA_BYTES_MAX / 2) })), '{}');
  refused(await events(event({ data: 'é'.repeat(EVENT_DATA_BYTES_MAX / 2 + 1) })), 413, /10242 bytes/);
  answered(await events(`{"name":"x","channel":"c","data":"${'\\u0061'.repeat(EVENT_DATA_BYTES_MAX)}"}`), '{}');
  refused(await events(`{"name":"x","channel":"c","data":"${'\\u0061'.repeat(EVENT_DATA_BYTES_MAX + 1)}"}`), 413, /10241 bytes/);

  answered(await events(event({ channels: names(100) })), '{}');
  refused(await events(event({ channels: names(101) })), 400, /Too many channels: 101 given, at most 100/);
  answered(await events(event({ channels: [...names(100), ...names(100)] })), '{}');

  answered(await publishBatch(batch(10)), '{}');
  refused(await publishBatch(batch(11)), 400, /Batch too large: 11 events given, at most 10/);
  const large = batch(10);
  for (const one of large.batch) one.data = data(EVENT_DATA_BYTES_MAX);
  answered(await publishBatch(large), '{}');
  large.batch[3].data += 'x';
  refused(await publishBatch(large), 413, /content of this event.*10241 bytes.*event 4 of the batch/);
  refused(await publishBatch({ batch: [{ name: 'x', channels: ['a', 'b'], data: '' }] }), 400, /one channel, 2 given \(event 1 of the batch\)/);

  answered(await events(event({ name: 'n'.repeat(200) })), '{}');
  refused(await events(event({ name: 'n'.repeat(201) })), 400, /at most 200 characters, this one has 201/);
  answered(await events(event({ channels: ['n'.repeat(200)] })), '{}');
  refused(await events(event({ channels: ['n'.repeat(201)] })), 400, /at most 200 characters, this one has 201/);
  refused(await events(event({ channels: ['private-encrypted-a', 'b'] })), 400, /encrypted channel can have one channel only, 2 given/);

  const deep = (levels) => `{"name":"x","channel":"c","data":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
  answered(await events(deep(64)), '{}');
  refused(await events(deep(65)), 400, /deeper than 64 levels/);
  refused(await events('['.repeat(50_000)), 400, /deeper than 64 levels/);
  const huge = await events(`{"name":"x","channel":"c","data":"${data(800_000)}"}`);
  refused(huge, 413, /content of this event/);
  assert.match(huge.text, /this one has 800\d+ bytes/);
});

story('what is no publish is refused with 400 and its cause', async () => {
  for (const [body, pattern] of [
    ['{"name":', /Invalid JSON body/],
    ['[]', /Invalid JSON body/],
    ['{"name":5,"channel":"c","data":""}', /Invalid JSON body/],
    ['{"name":"x","channels":"c","data":""}', /Invalid JSON body/],
    ['{"name":"x","channels":[null],"data":""}', /Invalid JSON body/],
    [JSON.stringify({ channel: 'c', data: '' }), /Missing parameter: name/],
    [JSON.stringify({ name: '', channel: 'c', data: '' }), /event name can't be empty/],
    [JSON.stringify({ name: 'x', channel: 'c' }), /Missing parameter: data/],
    [JSON.stringify({ name: 'x', data: '' }), /Missing parameter: channels/],
    [JSON.stringify({ name: 'x', data: '', channels: [] }), /Missing parameter: channels/],
    [JSON.stringify({ name: 'x', data: '', channels: [''] }), /can't be empty/],
    [JSON.stringify({ name: 'x', data: '', channels: ['a b'] }), /Invalid channel name "a b"/],
    [JSON.stringify({ name: 'pusher:x', data: '', channel: 'c' }), /reserved/],
    [JSON.stringify({ name: 'pusher_internal:x', data: '', channel: 'c' }), /reserved/],
    [JSON.stringify({ name: 'x', data: '', channel: 'c', socket_id: '1.2.3' }), /socket_id "1.2.3"/],
    [JSON.stringify({ name: 'x', data: '', channel: 'c', info: 'users' }), /Unknown info attribute: users/],
  ]) refused(await events(body), 400, pattern);
  const bytes = Buffer.from('{"name":"x","channel":"c","data":"\xff"}', 'latin1');
  refused(await send('POST', `${base}/events`, sorted([...credentials(), ['body_md5', md5(bytes)]]), { body: bytes }), 400, /not UTF-8/);
  refused(await server.rest(app, 'POST', `${base}/batch_events`, { body: {} }), 400, /batch/);
});

story('reading what a channel cannot have is refused with 400', async () => {
  const get = (path, params) => server.rest(app, 'GET', `${base}${path}`, { params });
  refused(await get('/channels', { info: 'user_count' }), 400, /presence/);
  refused(await get('/channels', { filter_by_prefix: 'test_', info: 'user_count' }), 400, /presence/);
  refused(await get('/channels', { filter_by_prefix: 'presence', info: 'user_count' }), 400, /presence/);
  refused(await get('/channels', { info: 'bogus' }), 400, /Unknown info attribute: bogus/);
  refused(await get('/channels/lobby', { info: 'user_count' }), 400, /not for lobby/);
  refused(await get('/channels', { filter_by_prefix: 'cache-', info: 'cache' }), 400, /cache is not there for the list/);
  for (const name of ['lobby', 'private-x', 'presence-x', 'cachet']) refused(await get(`/channels/${name}`, { info: 'cache' }), 400, new RegExp(`not for ${name}`));
  refused(await get('/channels/lobby', { info: 'bogus' }), 400, /Unknown info attribute: bogus/);
  refused(await get('/channels/lobby/users'), 400, /not for lobby/);
  for (const path of ['/channels/a%20b', '/channels/a%20b/users', '/channels/a%20b/stats']) refused(await get(path), 400, /Invalid channel name "a b"/);
});

// ---- who asks

story('nobody gets in with less than a whole signature', async () => {
  const path = `${base}/channels`;
  const whole = credentials();
  const without = (name) => sorted(whole.filter(([key]) => key !== name));
  const cases = [
    [without('auth_key'), /Missing parameter: auth_key/],
    [without('auth_version'), /Version required/],
    [without('auth_timestamp'), /Timestamp required/],
    [sorted(whole).replace('auth_version=1.0', 'auth_version=1.1'), /Version not supported.*not 1.1/],
    [sorted(whole).replace(/auth_timestamp=\d+/, 'auth_timestamp=today'), /Invalid timestamp.*"today"/],
    [sorted(whole).replace(app.key, 'ffffffffffffffffffff'), /Unknown auth_key: ffffffffffffffffffff is not a key of app/],
    [sorted(credentials(other)), /Unknown auth_key/],
  ];
  for (const [query, pattern] of cases) refused(await send('GET', path, query), 401, pattern);
  // Another app's secret with this app's key, and the other way round.
  refused(await send('GET', path, sorted(whole), { secret: other.secret }), 401, /Invalid signature: you should have sent HmacSHA256Hex/);
  refused(await send('GET', path, sorted(credentials(other)), { secret: app.secret }), 401, /Unknown auth_key/);
  const plain = await fetch(`${server.url}${path}?${sorted(whole)}`);
  refused({ status: plain.status, text: await plain.text(), headers: plain.headers }, 401, /Missing parameter: auth_signature/);
  const naked = await fetch(`${server.url}${path}`);
  refused({ status: naked.status, text: await naked.text(), headers: naked.headers }, 401, /Missing parameter: auth_key/);
  for (const signature of ['', 'x', '0'.repeat(64), '0'.repeat(65), 'ü']) refused(await server.rest(app, 'GET', path, { signature }), 401, /signature/);
});

story('a clock may be 599 seconds off, and not 600', async () => {
  // The seconds may turn between the signing and the check, which a second's room absorbs on the side that shrinks.
  for (const [off, status] of [[-598, 200], [599, 200], [-600, 401], [601, 401], [-1_000_000, 401]]) {
    const answer = await server.rest(app, 'GET', `${base}/channels`, { timestamp: now() + off });
    assert.equal(answer.status, status, `${off} s: ${answer.text}`);
    if (status === 401) refused(answer, 401, /Timestamp expired: Given timestamp \(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\) not within 600s of server time \(\d{4}-/);
  }
  refused(await server.rest(app, 'GET', `${base}/channels`, { timestamp: '9223372036854775807' }), 401, /Timestamp expired: Given timestamp \(9223372036854775807\)/);
  refused(await server.rest(app, 'GET', `${base}/channels`, { timestamp: '99999999999999999999' }), 401, /Invalid timestamp/);
});

story('body_md5 is needed with a body, checked whenever it is there, and allowed without a body', async () => {
  const body = JSON.stringify(event());
  const with_ = (value) => sorted([...credentials(), ...(value === undefined ? [] : [['body_md5', value]])]);
  const post = (value, sent = body) => send('POST', `${base}/events`, with_(value), { body: sent });
  answered(await post(md5(body)), '{}');
  refused(await post(undefined), 401, /body_md5 is required/);
  refused(await post(md5(`${body} `)), 401, /Invalid body_md5: the body received has [0-9a-f]{32}, the request says/);
  refused(await post(md5(body).toUpperCase()), 401, /Invalid body_md5/);
  refused(await post(''), 401, /Invalid body_md5/);
  const get = (value) => send('GET', `${base}/channels`, with_(value));
  assert.equal((await get(md5(''))).status, 200, 'Python sends it with a GET');
  refused(await get(md5('x')), 401, /Invalid body_md5/);
});

// ---- parameters in every form

story('parameters may be in the query instead of the body', async (t) => {
  const raw = await RawSocket.connect(t, server, app);
  for (const name of ['q-a', 'q-b']) await raw.subscribe(name);
  const path = `${base}/events`;
  const parameters = sorted([...credentials(), ['channels[]', 'q-a'], ['channels[]', 'q-b'], ['data', '{"x":1}'], ['name', 'queried']]);
  answered(await send('POST', path, parameters), '{}');
  await raw.message('queried', { nth: 2 });
  assert.deepEqual(raw.messages.filter(({ event: name }) => name === 'queried').map(({ channel, data }) => [channel, data]).sort(), [['q-a', '{"x":1}'], ['q-b', '{"x":1}']]);
  // Escaped on the wire, signed as it is.
  answered(await send('POST', path, parameters.replaceAll('[]', '%5B%5D').replaceAll('"', '%22').replace('{', '%7B'), { signed: parameters }), '{}');
  answered(await send('POST', path, sorted([...credentials(), ['channel', 'q-a'], ['data', 'one'], ['info', 'subscription_count'], ['name', 'single']])), { channels: { 'q-a': { subscription_count: 1 } } });
  assert.equal((await raw.message('single')).data, 'one');
  const excluded = sorted([...credentials(), ['channel', 'q-a'], ['data', ''], ['name', 'left-out'], ['socket_id', raw.socketId]]);
  answered(await send('POST', path, excluded), '{}');
  // A plus is a plus, or a blank for those that encode forms.
  const plus = (value) => sorted([...credentials(), ['channel', 'q-a'], ['data', value], ['name', 'plus']]);
  answered(await send('POST', path, plus('1+1')), '{}');
  assert.equal((await raw.message('plus')).data, '1+1');
  answered(await send('POST', path, plus('a+b'), { signed: plus('a b') }), '{}');
  assert.equal((await raw.message('plus', { nth: 2 })).data, 'a b');
  assert.deepEqual(raw.messages.filter(({ event: name }) => name === 'left-out'), []);
  refused(await send('POST', path, sorted([...credentials(), ['channel', 'q-a'], ['name', 'x']])), 400, /Missing parameter: data/);
  const many = names(101).map((name) => ['channels[]', name]);
  refused(await send('POST', path, sorted([...credentials(), ...many, ['data', ''], ['name', 'x']])), 400, /Too many channels: 101/);
});

story('of a parameter that comes twice the last counts, in the signature and in what is done', async () => {
  const path = `${base}/channels/dup`;
  const at = credentials();
  const last = sorted([...at, ['info', 'subscription_count']]);
  answered(await send('GET', path, `info=bogus&${sorted(at)}&info=subscription_count`, { signed: last }), { occupied: false, subscription_count: 0 });
  refused(await send('GET', path, `info=subscription_count&${sorted(at)}&info=bogus`, { signed: sorted([...at, ['info', 'bogus']]) }), 400, /Unknown info attribute: bogus/);
  refused(await send('GET', path, `${sorted(at)}&info=a&info=b`), 401, /info=b/);
  // Nothing can be slipped in behind what was signed.
  refused(await send('GET', path, `${last}&info=`, { signed: last }), 401, /Invalid signature/);
  refused(await send('GET', path, `${last}&INFO=`, { signed: last }), 401, /Invalid signature/);
});

story('arrays keep their order, PHP joins them, names are lower-cased before they are signed', async () => {
  const path = `${base}/channels/presence-arrays`;
  const both = { occupied: false, subscription_count: 0, user_count: 0 };
  const at = credentials();
  const joined = sorted([...at, ['info', 'user_count,subscription_count']]);
  answered(await send('GET', path, joined), both);
  answered(await send('GET', path, joined.replace('user_count,', 'user_count%2C'), { signed: joined }), both);
  answered(await send('GET', path, `${sorted(at)}&info%5B0%5D=user_count&info%5B1%5D=subscription_count`, { signed: joined }), both);
  const upper = sorted(at).replace('auth_key', 'Auth_Key').replace('auth_version', 'AUTH_VERSION');
  answered(await send('GET', path, `${upper}&INFO=user_count,subscription_count`, { signed: joined }), both);
  // Ruby asks so when it wants nothing.
  answered(await send('GET', path, sorted([...at, ['info', '']])), { occupied: false });
  // Values that hold an equals sign are cut at the first one.
  answered(await send('GET', `${base}/channels`, sorted([...at, ['filter_by_prefix', 'a=b=@,;']])), { channels: {} });
  // Order on the wire is of no account.
  const shuffled = sorted(at).split('&').reverse().join('&');
  assert.equal((await send('GET', path, shuffled, { signed: sorted(at) })).status, 200);
});

story('a path that was escaped on its way is read as it was signed', async () => {
  answered(await send('GET', `${base}/channels/a%2Cb%40c`, sorted(credentials()), { signPath: `${base}/channels/a,b@c` }), { occupied: false });
  answered(await send('GET', `${base}/channels/a%2Cb`, sorted(credentials())), { occupied: false });
});

story('a flood of parameters is refused', async () => {
  const many = (count) => sorted([...credentials(), ...[...Array(count - 3).keys()].map((n) => [`p${String(n).padStart(4, '0')}`, ''])]);
  assert.equal((await send('GET', `${base}/channels`, many(QUERY_PARAMETERS_MAX - 1))).status, 200);
  refused(await send('GET', `${base}/channels`, many(QUERY_PARAMETERS_MAX)), 400, /Too many query parameters: 257 given, at most 256/);
  const took = Date.now();
  await fetch(`${server.url}${base}/channels?${sorted(credentials())}&${'a&'.repeat(20_000)}auth_signature=x`);
  assert.ok(Date.now() - took < 2_000, 'answered at once');
});

// ---- other paths, other methods, other apps

story('unknown apps and paths are 404, wrong methods 405, each in words', async () => {
  for (const id of ['999999', 'shop', '%2B1', '18446744073709551616', `${app.id}x`]) {
    refused(await server.rest({ ...app, id }, 'GET', `/apps/${id}/channels`), 404, /Unknown app: there is no app /);
  }
  for (const path of ['/apps', `/apps/${app.id}`, `${base}/nothing`, `${base}/channels/a/b`, `${base}/events/x`]) {
    refused(await server.rest(app, 'GET', path), 404, new RegExp(`Unknown path: the HTTP API has no GET ${path}\\n`));
  }
  for (const [method, path, allowed] of [['GET', '/events', 'POST'], ['PUT', '/events', 'POST'], ['GET', '/batch_events', 'POST'], ['POST', '/channels', 'GET'], ['DELETE', '/channels/x', 'GET'], ['POST', '/channels/presence-x/users', 'GET'], ['POST', '/connections', 'GET'], ['GET', '/channels/x/events', 'POST']]) {
    const answer = await server.rest(app, method, `${base}${path}`);
    refused(answer, 405, new RegExp(`${base}${path} is (for ${allowed}, this was ${method}|not for (PUT|DELETE))`));
    assert.match(answer.headers.get('allow') ?? '', new RegExp(allowed));
  }
  const { text } = await exchange(server.port, `GET ${base}/channels/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  assert.match(text, /^HTTP\/1\.1 400 [\s\S]*Invalid path: its escapes are no UTF-8\n$/);
});

story('an app that takes TLS only refuses requests that came without it', async () => {
  const strict = await server.app({ name: 'strict' });
  await server.set(strict, { forceTls: true });
  const read = (headers) => server.rest(strict, 'GET', `/apps/${strict.id}/channels`, { headers });
  await until(async () => (await read()).status === 400, 'the switch to be seen');
  refused(await read(), 400, new RegExp(`app ${strict.id} takes requests over https only`));
  assert.equal((await read({ 'x-forwarded-proto': 'https' })).status, 200);
});

story('a disabled app is answered 403', async () => {
  const asleep = await server.app({ name: 'asleep' });
  const read = () => server.rest(asleep, 'GET', `/apps/${asleep.id}/channels`);
  await switchApp(await ownerOf(server), asleep, 'disable');
  await until(async () => (await read()).status === 403, 'the switch to be seen');
  refused(await read(), 403, new RegExp(`The app is disabled: app ${asleep.id}`));
});
