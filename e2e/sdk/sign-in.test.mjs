// Users who sign in: the frames of it, events for one user, presence under the signed-in name, watchlists, and apps that want
// every connection authorized. How a user's connections are ended is in terminate.test.mjs.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { arrives, backEnd, client, signedIn, subscribed } from './clients.mjs';
import { channelToken, startServer, story, until, userToken } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { ownerOf } from './visitor.mjs';

/** A user is called offline up to 3 s after the last connection went (spec §1.16), and a busy machine takes its time. */
const OFFLINE_WITHIN_MS = 8_000;
const WATCHLIST_TOO_LONG = 4302;
const WATCHLIST_IDS_MAX = 100;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'users', clientEvents: true, switches: { watchlist: true } });

const connect = (t, of = app) => RawSocket.connect(t, server, of);
const errors = (raw) => raw.all('pusher:error').map(({ data }) => data);

/** The refusal of what was just sent: code null, an object, and the connection goes on. */
async function refused(raw, pattern, count = 1) {
  await until(() => errors(raw).length >= count, () => `${count} × pusher:error; got ${raw.describe()}`);
  const error = errors(raw)[count - 1];
  assert.equal(error.code, null);
  assert.match(error.message, pattern);
  await raw.alive();
}

story('sign-in is answered with the signed text as a string, byte for byte, and without a channel', async (t) => {
  const raw = await connect(t);
  const userData = '{"id":"ana", "user_info":{"name":"Ana ♥", "n":1.0}, "extra":[null]}';
  await raw.signedIn(app, userData);
  const { text } = raw.frames.find((frame) => frame.text?.includes('signin_success'));
  assert.deepEqual(JSON.parse(text), { event: 'pusher:signin_success', data: JSON.stringify({ user_data: userData }) });
});

story('a connection signs in again as the same user, and not as another', async (t) => {
  const raw = await connect(t);
  await raw.signedIn(app, { id: 'ana' });
  await raw.signedIn(app, { id: 'ana', user_info: { tab: 2 } });
  raw.signIn(app, { id: 'ben' });
  await refused(raw, /ana/);
  assert.equal(raw.all('pusher:signin_success').length, 2);
});

story('a sign-in that is not signed by the app for this socket is refused, and so is one without a proper id', async (t) => {
  const good = JSON.stringify({ id: 'ana' });
  const socket = await connect(t);
  const attempts = [
    [{ auth: userToken({ ...app, secret: 'wrong' }, socket.socketId, good), user_data: good }, /signature/i],
    [{ auth: userToken(app, '1.1', good), user_data: good }, /signature/i],
    [{ auth: userToken(app, socket.socketId, good), user_data: JSON.stringify({ id: 'eve' }) }, /signature/i],
    [{ auth: userToken({ ...app, key: 'ffffffffffffffffffff' }, socket.socketId, good), user_data: good }, /key/i],
    [{ auth: 'nonsense', user_data: good }, /auth/i],
    ...[{}, { id: '' }, { id: 7 }, { id: null }, { id: 'white space' }, { id: 'x'.repeat(300) }].map((user) => {
      const userData = JSON.stringify(user);
      return [{ auth: userToken(app, socket.socketId, userData), user_data: userData }, /id/];
    }),
    [{ auth: userToken(app, socket.socketId, '[]'), user_data: '[]' }, /JSON object|id/],
    [{ auth: userToken(app, socket.socketId, good) }, /user_data/],
    [{ user_data: good }, /auth/],
  ];
  for (const [n, [data, pattern]] of attempts.entries()) {
    socket.send({ event: 'pusher:signin', data });
    await refused(socket, pattern, n + 1);
  }
  assert.deepEqual(socket.all('pusher:signin_success'), []);
  await socket.signedIn(app, good);
});

story('the data of a sign-in may be a string that holds the JSON', async (t) => {
  const raw = await connect(t);
  const userData = JSON.stringify({ id: 'ana' });
  raw.send({ event: 'pusher:signin', data: JSON.stringify({ auth: userToken(app, raw.socketId, userData), user_data: userData }) });
  await raw.message('pusher:signin_success');
});

story('the channel of a user opens for that user alone', async (t) => {
  const [ana, eve, anonymous] = [await connect(t), await connect(t), await connect(t)];
  await ana.signedIn(app, { id: 'ana-alone' });
  await eve.signedIn(app, { id: 'eve' });
  const channel = '#server-to-user-ana-alone';
  assert.equal((await ana.subscribe(channel, { auth: '' })).data, '{}');
  for (const raw of [eve, anonymous]) {
    raw.send({ event: 'pusher:subscribe', data: { channel, auth: '' } });
    const error = await raw.message('pusher:subscription_error');
    assert.equal(error.channel, channel);
    assert.ok(error.data.status >= 400 && error.data.status < 500);
    // A valid token for a channel of that name is no way in either.
    raw.send({ event: 'pusher:subscribe', data: { channel, auth: channelToken(app, raw.socketId, channel) } });
    await raw.message('pusher:subscription_error', { nth: 2 });
  }
  await backEnd(server, app).sendToUser('ana-alone', 'secret', { n: 1 });
  await ana.message('secret');
  for (const raw of [eve, anonymous]) {
    await raw.alive();
    assert.deepEqual(raw.all('secret'), []);
  }
});

story('sendToUser reaches all tabs of the user and nobody else', async (t) => {
  const tabs = [await signedIn(t, server, app, 'tabby'), await signedIn(t, server, app, 'tabby')];
  const other = await signedIn(t, server, app, 'tabb');
  const answer = await backEnd(server, app).sendToUser('tabby', 'invoice', { euros: 5 });
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), {});
  for (const tab of tabs) await until(() => tab.told.some(({ event }) => event === 'invoice'), 'the event in each tab');
  assert.deepEqual(tabs[0].told.filter(({ event }) => event === 'invoice'), [{ event: 'invoice', data: { euros: 5 } }]);
  await backEnd(server, app).sendToUser('tabb', 'marker', {});
  await until(() => other.told.some(({ event }) => event === 'marker'), 'the marker');
  assert.equal(other.told.some(({ event }) => event === 'invoice'), false);
  assert.equal((await backEnd(server, app).sendToUser('nobody-is-this', 'invoice', {})).status, 200);
});

story('the channel of a user is not listed, takes no client events, and no other channel with # can be made', async (t) => {
  const raw = await connect(t);
  await raw.signedIn(app, { id: 'hidden' });
  await raw.subscribe('#server-to-user-hidden');
  const { json } = await server.rest(app, 'GET', `/apps/${app.id}/channels`);
  assert.equal(Object.keys(json.channels).some((name) => name.startsWith('#')), false, JSON.stringify(json));
  raw.send({ event: 'client-x', channel: '#server-to-user-hidden', data: {} });
  await refused(raw, /client event/i);
  raw.send({ event: 'pusher:subscribe', data: { channel: '#other' } });
  await raw.message('pusher:subscription_error');
  const answer = await server.rest(app, 'POST', `/apps/${app.id}/events`, { body: { name: 'x', channels: ['#other'], data: '{}' } });
  assert.equal(answer.status, 400, answer.text);
});

story('pusher-js signs in again by itself after it reconnects', async (t) => {
  const pusher = await signedIn(t, server, app, 'returning');
  const before = pusher.connection.socket_id;
  pusher.disconnect();
  pusher.connect();
  await until(() => pusher.connection.state === 'connected' && pusher.connection.socket_id !== before, 'a new connection');
  await until(() => pusher.user.serverToUserChannel?.subscribed, 'the user channel to open again');
  await backEnd(server, app).sendToUser('returning', 'hello', {});
  await until(() => pusher.told.some(({ event }) => event === 'hello'), 'the event after the return');
});

story('a signed-in connection joins a presence channel under its own name without channel_data', async (t) => {
  const watcher = await subscribed(client(t, server, app, { user: { id: 'watcher' } }), 'presence-office');
  const raw = await connect(t);
  await raw.signedIn(app, '{"id":"ana","user_info":{"name":"Ana ♥","n":1.0},"more":true}');
  const joined = await raw.join(app, 'presence-office');
  assert.deepEqual(JSON.parse(joined.data).presence.hash, { watcher: null, ana: { name: 'Ana ♥', n: 1 } });
  assert.match(joined.data, /"n":1\.0/, 'the info byte for byte');
  assert.deepEqual(await arrives(watcher, 'pusher:member_added'), [{ id: 'ana', info: { name: 'Ana ♥', n: 1 } }]);

  const other = await connect(t);
  await other.signedIn(app, { id: 'ben' });
  const given = await other.join(app, 'presence-office', JSON.stringify({ user_id: 'benjamin' }));
  assert.ok('benjamin' in JSON.parse(given.data).presence.hash, 'explicit channel_data wins');

  const anonymous = await connect(t);
  anonymous.send({ event: 'pusher:subscribe', data: { channel: 'presence-office', auth: channelToken(app, anonymous.socketId, 'presence-office') } });
  const error = await anonymous.message('pusher:subscription_error');
  assert.match(error.data.error, /channel_data/);
});

story('pusher-js that is signed in joins a presence channel by a token without channel_data', async (t) => {
  const sdk = backEnd(server, app);
  const pusher = client(t, server, app, {
    options: {
      userAuthentication: { customHandler: ({ socketId }, done) => done(null, sdk.authenticateUser(socketId, { id: 'cleo', user_info: { name: 'Cleo' } })) },
      channelAuthorization: { customHandler: ({ socketId, channelName }, done) => done(null, sdk.authorizeChannel(socketId, channelName)) },
    },
  });
  pusher.signin();
  const channel = await subscribed(pusher, 'presence-cleo');
  assert.deepEqual(channel.members.me, { id: 'cleo', info: { name: 'Cleo' } });
});

// ---- watchlists

const watchlist = (raw) => raw.all('pusher_internal:watchlist_events').flatMap(({ data }) => JSON.parse(data).events);

story('a watchlist starts with who is there and who is not, in one frame of string data without a channel', async (t) => {
  const [here, ana] = [await connect(t), await connect(t)];
  await here.signedIn(app, { id: 'w1-here' });
  await ana.signedIn(app, { id: 'w1-ana', watchlist: ['w1-here', 'w1-away', 'w1-gone'] });
  const frame = await ana.message('pusher_internal:watchlist_events');
  assert.equal(typeof frame.data, 'string');
  assert.deepEqual(Object.keys(frame).sort(), ['data', 'event']);
  const { events } = JSON.parse(frame.data);
  const byName = Object.fromEntries(events.map(({ name, user_ids }) => [name, user_ids.sort()]));
  assert.deepEqual(byName, { online: ['w1-here'], offline: ['w1-away', 'w1-gone'] });
  assert.deepEqual(ana.messages.map(({ event }) => event), ['pusher:connection_established', 'pusher:signin_success', 'pusher_internal:watchlist_events']);

  const lonely = await connect(t);
  await lonely.signedIn(app, { id: 'w1-lonely', watchlist: ['w1-away'] });
  await lonely.message('pusher_internal:watchlist_events');
  assert.deepEqual(watchlist(lonely), [{ name: 'offline', user_ids: ['w1-away'] }]);
});

story('watchers hear when a user’s first connection comes and its last one goes, and nobody else hears', async (t) => {
  const [ana, stranger] = [await connect(t), await connect(t)];
  await ana.signedIn(app, { id: 'w2-ana', watchlist: ['w2-ben'] });
  await stranger.signedIn(app, { id: 'w2-stranger', watchlist: ['w2-someone-else'] });
  const tabs = [await connect(t), await connect(t)];
  for (const tab of tabs) await tab.signedIn(app, { id: 'w2-ben' });
  await until(() => watchlist(ana).length === 2, () => `the online event; got ${ana.describe()}`);
  tabs[0].destroy();
  const again = await connect(t);
  await again.signedIn(app, { id: 'w2-ben' });
  tabs[1].destroy();
  again.destroy();
  await until(() => watchlist(ana).length === 3, () => `the offline event; got ${ana.describe()}`, OFFLINE_WITHIN_MS);
  assert.deepEqual(watchlist(ana), [
    { name: 'offline', user_ids: ['w2-ben'] },
    { name: 'online', user_ids: ['w2-ben'] },
    { name: 'offline', user_ids: ['w2-ben'] },
  ]);
  assert.deepEqual(watchlist(stranger), [{ name: 'offline', user_ids: ['w2-someone-else'] }]);
});

story('a watchlist of 100 ids is taken whole; of 101 the first 100, and error 4302 names them after the sign-in', async (t) => {
  const ids = [...Array(WATCHLIST_IDS_MAX + 1).keys()].map((n) => `w3-${n}`);
  const full = await connect(t);
  await full.signedIn(app, { id: 'w3-full', watchlist: ids.slice(0, WATCHLIST_IDS_MAX) });
  await full.message('pusher_internal:watchlist_events');
  await full.alive();
  assert.deepEqual(errors(full), []);

  const over = await connect(t);
  await over.signedIn(app, { id: 'w3-over', watchlist: ids });
  const { data } = await over.message('pusher:error');
  assert.equal(data.code, WATCHLIST_TOO_LONG);
  const words = data.message.split(/[\s,]+/);
  for (const id of ids.slice(0, WATCHLIST_IDS_MAX)) assert.ok(words.includes(id), `${id} is named`);
  assert.equal(words.includes(ids[WATCHLIST_IDS_MAX]), false);
  assert.deepEqual(watchlist(over)[0].user_ids.sort(), ids.slice(0, WATCHLIST_IDS_MAX).sort());
  const order = over.messages.map(({ event }) => event);
  assert.ok(order.indexOf('pusher:signin_success') < order.indexOf('pusher:error'));
  await over.alive();
});

story('while the switch is off nobody is told about a watchlist', async (t) => {
  const plain = await server.app({ name: 'without watchlists' });
  const [ana, ben] = [await connect(t, plain), await connect(t, plain)];
  await ana.signedIn(plain, { id: 'ana', watchlist: ['ben', ...[...Array(200).keys()].map(String)] });
  await ben.signedIn(plain, { id: 'ben' });
  for (const raw of [ben, ana]) await raw.alive();
  assert.deepEqual([watchlist(ana), errors(ana)], [[], []]);
});

story('two apps have users of their own', async (t) => {
  const other = await server.app({ name: 'other users', switches: { watchlist: true } });
  const [mine, theirs] = [await connect(t), await connect(t, other)];
  await mine.signedIn(app, { id: 'same-name' });
  await mine.subscribe('#server-to-user-same-name');
  await theirs.signedIn(other, { id: 'watcher', watchlist: ['same-name'] });
  await theirs.message('pusher_internal:watchlist_events');
  assert.deepEqual(watchlist(theirs), [{ name: 'offline', user_ids: ['same-name'] }]);
  await backEnd(server, other).sendToUser('same-name', 'wrong', {});
  await backEnd(server, app).sendToUser('same-name', 'right', {});
  await mine.message('right');
  assert.deepEqual(mine.all('wrong'), []);
});

// ---- authorized connections; who does not authorize itself in time is a matter of a moved clock (realtime's own tests)

story('where connections must be authorized, one counts once it signed in or joined a private channel', async (t) => {
  const strict = await server.app({ name: 'strict', maxConnections: 2, switches: { authorizedConnections: true } });
  const owner = await ownerOf(server);
  const connections = async () => (await owner.stat(strict)).connections;
  const [signed, member, third, fourth] = [await connect(t, strict), await connect(t, strict), await connect(t, strict), await connect(t, strict)];
  for (const raw of [signed, member, third, fourth]) await raw.subscribe('public');
  await until(async () => (await connections()) === 0, async () => `nobody counted, counted ${await connections()}`);
  await signed.signedIn(strict, { id: 'ana' });
  await member.join(strict, 'private-room');
  await until(async () => (await connections()) === 2, async () => `two counted, counted ${await connections()}`);
  // Both places are taken: who wants to be the third is told so, and closed.
  third.signIn(strict, { id: 'ben' });
  assert.equal(await third.closeCode(), 4004);
  signed.destroy();
  await until(async () => (await connections()) === 1, 'a place to be free');
  await fourth.signedIn(strict, { id: 'cleo' });
  for (const raw of [member, fourth]) await raw.alive();
});
