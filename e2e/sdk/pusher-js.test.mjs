// pusher-js 8, unmodified, against a real server: channels of every kind, client events, and what a refused client sees.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import Pusher from 'pusher-js';
import { arrives, backEnd, client, clientOptions, collecting, connected, errorCodes, named, subscribed, watch } from './clients.mjs';
import { sleep, startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { allowOrigins, ownerOf, switchApp } from './visitor.mjs';

// pusher-js comes back 1 s after an ordinary close (spec §1.7); nothing by then means that it gave up.
const LONGER_THAN_A_RETRY_MS = 1_600;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'pusher-js', clientEvents: true });
const quiet = await server.app({ name: 'without client events' });

story('a public channel delivers a published event to every subscriber', async (t) => {
  const [ana, ben] = [client(t, server, app), client(t, server, app)];
  const channels = [await subscribed(ana, 'news'), await subscribed(ben, 'news')];
  await backEnd(server, app).trigger('news', 'posted', { title: 'Hello' });
  for (const channel of channels) assert.deepEqual(await arrives(channel, 'posted'), [{ title: 'Hello' }]);
});

story('the data of an event arrives exactly as published', async (t) => {
  const channel = await subscribed(client(t, server, app), 'exact');
  const sdk = backEnd(server, app);
  const values = [{ deep: { list: [1, 'two', null] } }, 'plain words', 'ünïcødé 🎺 日本', { html: '<b>&amp;</b>', quote: '"\\' }];
  for (const value of values) await sdk.trigger('exact', 'value', value);
  assert.deepEqual(await arrives(channel, 'value', values.length), values);
});

story('events of one publisher arrive in the order of their publishing', async (t) => {
  const channel = await subscribed(client(t, server, app), 'ordered');
  const sdk = backEnd(server, app);
  for (let n = 0; n < 100; n += 1) await sdk.trigger('ordered', 'n', { n });
  assert.deepEqual((await arrives(channel, 'n', 100)).map(({ n }) => n), [...Array(100).keys()]);
});

story('a private channel opens with a valid signature', async (t) => {
  const channel = await subscribed(client(t, server, app), 'private-orders');
  await backEnd(server, app).trigger('private-orders', 'App\\Events\\OrderShipped', { id: 7 });
  assert.deepEqual(await arrives(channel, 'App\\Events\\OrderShipped'), [{ id: 7 }]);
});

story('a wrong signature ends in a subscription error on its channel, and the connection stays', async (t) => {
  const stranger = { ...app, secret: '00000000000000000000' };
  const pusher = client(t, server, stranger);
  const id = await connected(pusher);
  const channel = collecting(pusher, 'private-orders');
  const [error] = await arrives(channel, 'pusher:subscription_error');
  assert.equal(error.type, 'AuthError');
  assert.equal(error.status, 401);
  assert.match(error.error, /signature/i);
  assert.equal(channel.subscribed, false);
  await subscribed(pusher, 'still-public');
  assert.equal(pusher.connection.socket_id, id);
});

story('a channel that the customer refuses ends in a subscription error without reaching the server', async (t) => {
  const pusher = client(t, server, app, {
    options: { channelAuthorization: { customHandler: (_, done) => setImmediate(done, new Error('not yours'), null) } },
  });
  await connected(pusher);
  const channel = collecting(pusher, 'private-orders');
  await arrives(channel, 'pusher:subscription_error');
  await subscribed(pusher, 'still-public');
  assert.equal(channel.subscribed, false);
});

story('presence members see each other come and go', async (t) => {
  const ana = await subscribed(client(t, server, app, { user: { id: 'ana', info: { name: 'Ana' } } }), 'presence-room');
  assert.equal(ana.members.count, 1);
  assert.deepEqual(ana.members.me, { id: 'ana', info: { name: 'Ana' } });

  const second = client(t, server, app, { user: { id: 'ben', info: { name: 'Ben' } } });
  const ben = await subscribed(second, 'presence-room');
  assert.equal(ben.members.count, 2);
  assert.deepEqual(ben.members.get('ana'), { id: 'ana', info: { name: 'Ana' } });
  assert.deepEqual(await arrives(ana, 'pusher:member_added'), [{ id: 'ben', info: { name: 'Ben' } }]);

  second.disconnect();
  assert.deepEqual(await arrives(ana, 'pusher:member_removed'), [{ id: 'ben', info: { name: 'Ben' } }]);
  assert.equal(ana.members.count, 1);
  assert.equal(named(ana, 'pusher:member_added').length, 1);
});

story('a second tab of the same user does not announce a member, and only the last tab removes it', async (t) => {
  const watcher = await subscribed(client(t, server, app, { user: { id: 'watcher' } }), 'presence-tabs');
  const tabs = [];
  for (const tab of ['first', 'second']) {
    const pusher = client(t, server, app, { user: { id: 'ana', info: { tab } } });
    const channel = await subscribed(pusher, 'presence-tabs');
    assert.equal(channel.members.count, 2, `members seen by the ${tab} tab`);
    tabs.push(pusher);
  }
  assert.deepEqual(await arrives(watcher, 'pusher:member_added'), [{ id: 'ana', info: { tab: 'first' } }]);

  tabs[0].disconnect();
  // A later member proves that the server has handled the first tab's leaving by now.
  await subscribed(client(t, server, app, { user: { id: 'marker' } }), 'presence-tabs');
  await arrives(watcher, 'pusher:member_added', 2);
  assert.equal(named(watcher, 'pusher:member_removed').length, 0);

  tabs[1].disconnect();
  const [gone] = await arrives(watcher, 'pusher:member_removed');
  assert.equal(gone.id, 'ana');
  assert.deepEqual(named(watcher, 'pusher:member_added').map(({ data }) => data.id), ['ana', 'marker']);
});

story('a client event reaches the others and not its sender', async (t) => {
  const ana = await subscribed(client(t, server, app), 'private-chat');
  const ben = await subscribed(client(t, server, app), 'private-chat');
  assert.equal(ana.trigger('client-typing', { who: 'ana' }), true);
  assert.deepEqual(await arrives(ben, 'client-typing'), [{ who: 'ana' }]);
  ben.trigger('client-answer', { who: 'ben' });
  await arrives(ana, 'client-answer');
  assert.equal(named(ana, 'client-typing').length, 0);
});

story('a client event on a presence channel names its sender, on a private channel it does not', async (t) => {
  const ana = client(t, server, app, { user: { id: 'ana' } });
  const ben = client(t, server, app, { user: { id: 'ben' } });
  for (const [name, sender] of [['presence-chat', 'ana'], ['private-chat-2', undefined]]) {
    const from = await subscribed(ana, name);
    const to = await subscribed(ben, name);
    // Handlers of one event get the metadata; global ones do not.
    const metadata = [];
    to.bind('client-wave', (_, about) => metadata.push(about?.user_id));
    from.trigger('client-wave', {});
    await arrives(to, 'client-wave');
    assert.deepEqual(metadata, [sender], name);
  }
});

story('a client event on a public channel is refused with an error', async (t) => {
  const pusher = client(t, server, app);
  const other = await subscribed(client(t, server, app), 'public-chat');
  const channel = await subscribed(pusher, 'public-chat');
  channel.trigger('client-typing', {});
  await until(() => pusher.errors.length > 0, 'the refusal of the client event');
  assert.deepEqual(errorCodes(pusher), [null]);
  await backEnd(server, app).trigger('public-chat', 'after', {});
  await arrives(other, 'after');
  assert.equal(named(other, 'client-typing').length, 0);
  assert.equal(pusher.connection.state, 'connected');
});

story('a client event is refused with an error while the app has them switched off', async (t) => {
  const pusher = client(t, server, quiet);
  const other = await subscribed(client(t, server, quiet), 'private-chat');
  const channel = await subscribed(pusher, 'private-chat');
  channel.trigger('client-typing', {});
  await until(() => pusher.errors.length > 0, 'the refusal of the client event');
  assert.match(pusher.errors[0].data.message, /client event/i);
  await backEnd(server, quiet).trigger('private-chat', 'after', {});
  await arrives(other, 'after');
  assert.equal(named(other, 'client-typing').length, 0);
});

story('more than ten client events a second are refused with 4301 and the connection stays', async (t) => {
  const pusher = client(t, server, app);
  const channel = await subscribed(pusher, 'private-flood');
  for (let n = 0; n < 30; n += 1) channel.trigger('client-n', { n });
  await until(() => errorCodes(pusher).includes(4301), () => `4301, seen ${JSON.stringify(pusher.errors)}`);
  assert.equal(pusher.connection.state, 'connected');
  await subscribed(pusher, 'after-the-flood');
});

story('unsubscribing ends delivery and frees the channel', async (t) => {
  const pusher = client(t, server, app);
  const channel = await subscribed(pusher, 'leaving');
  const sdk = backEnd(server, app);
  const occupied = async () => (await (await sdk.get({ path: '/channels/leaving' })).json()).occupied;
  assert.equal(await occupied(), true);
  pusher.unsubscribe('leaving');
  await until(async () => (await occupied()) === false, 'the channel to be free');
  await sdk.trigger('leaving', 'late', {});
  const marker = await subscribed(pusher, 'marker');
  await sdk.trigger('marker', 'now', {});
  await arrives(marker, 'now');
  assert.equal(named(channel, 'late').length, 0);
});

story('subscribing and unsubscribing in quick succession keeps its order', async (t) => {
  const pusher = client(t, server, app);
  await subscribed(pusher, 'restless');
  for (let n = 0; n < 20; n += 1) {
    pusher.unsubscribe('restless');
    await subscribed(pusher, 'restless');
  }
  const channel = pusher.channel('restless');
  await backEnd(server, app).trigger('restless', 'here', {});
  await arrives(channel, 'here');
  assert.deepEqual(errorCodes(pusher), []);
});

story('many channels share one connection', async (t) => {
  const pusher = client(t, server, app);
  const names = [...Array(60).keys()].map((n) => (n % 2 ? `private-many-${n}` : `many-${n}`));
  const channels = await Promise.all(names.map((name) => subscribed(pusher, name)));
  await backEnd(server, app).trigger(names, 'all', { ok: true });
  await Promise.all(channels.map((channel) => arrives(channel, 'all')));
});

story('a key that no app has is refused with 4001 and not tried again', async (t) => {
  const pusher = watch(new Pusher('0123456789abcdef0123', clientOptions(server)));
  t.after(() => pusher.disconnect());
  await until(() => pusher.connection.state === 'disconnected', () => `disconnected, seen ${pusher.states}`);
  assert.ok(errorCodes(pusher).includes(4001), JSON.stringify(pusher.errors));
  await sleep(LONGER_THAN_A_RETRY_MS);
  assert.equal(pusher.connection.state, 'disconnected');
  assert.equal(pusher.states.includes('connected'), false);
});

story('an app id used as the key is refused with a sentence that says so', async (t) => {
  const pusher = watch(new Pusher(app.id, clientOptions(server)));
  t.after(() => pusher.disconnect());
  await until(() => pusher.errors.length > 0, 'the refusal');
  const [{ data }] = pusher.errors.map((error) => (error.data ? error : error.error));
  assert.equal(data.code, 4001);
  assert.match(data.message, /app id/i);
});

story('a disabled app is refused with 4003, and served again once it is enabled', async (t) => {
  const sleepy = await server.app({ name: 'sleepy' });
  const owner = await ownerOf(server);
  await switchApp(owner, sleepy, 'disable');
  await until(async () => {
    const probe = await RawSocket.open(t, server, `/app/${sleepy.key}?protocol=7`);
    await until(() => probe.frames.length > 0, 'a first frame');
    probe.destroy();
    return probe.frames[0].code === 4003 || JSON.stringify(probe.messages).includes('4003');
  }, 'the node to know that the app is disabled');
  const pusher = client(t, server, sleepy);
  await until(() => pusher.connection.state === 'disconnected', () => `disconnected, seen ${pusher.states}`);
  assert.ok(errorCodes(pusher).includes(4003), JSON.stringify(pusher.errors));
  const refused = await server.rest(sleepy, 'GET', `/apps/${sleepy.id}/channels`);
  assert.equal(refused.status, 403);

  await switchApp(owner, sleepy, 'enable');
  await server.serves(sleepy);
  await connected(client(t, server, sleepy));
});

story('disabling an app ends the connections it has with 4003', async (t) => {
  const victim = await server.app({ name: 'victim' });
  const pusher = client(t, server, victim);
  await connected(pusher);
  await switchApp(await ownerOf(server), victim, 'disable');
  await until(() => pusher.connection.state === 'disconnected', () => `disconnected, seen ${pusher.states}`);
  assert.ok(errorCodes(pusher).includes(4003), JSON.stringify(pusher.errors));
});

story('an origin that the app does not allow is refused with 4009, an allowed one is served', async (t) => {
  const shop = await server.app({ name: 'shop' });
  await allowOrigins(await ownerOf(server), shop, ['https://shop.test', 'http://localhost:5173']);
  const open = (origin) => RawSocket.open(t, server, `/app/${shop.key}?protocol=7&client=js&version=8.6.0`, { headers: { Origin: origin } });
  await until(async () => {
    const refused = await open('https://evil.test');
    await until(() => refused.frames.length > 0, 'a first frame');
    if (refused.messages[0]?.event === 'pusher:connection_established') return false;
    return (await refused.closeCode()) === 4009;
  }, 'the foreign origin to be refused');
  for (const origin of ['https://shop.test', 'http://localhost:5173']) {
    await (await open(origin)).message('pusher:connection_established');
  }
});

story('the connection over the limit is refused with 4004, and a freed place can be taken', async (t) => {
  const small = await server.app({ name: 'small', maxConnections: 2 });
  const [first, second] = [client(t, server, small), client(t, server, small)];
  await connected(first);
  await connected(second);
  const third = client(t, server, small);
  await until(() => third.connection.state === 'disconnected', () => `disconnected, seen ${third.states}`);
  assert.ok(errorCodes(third).includes(4004), JSON.stringify(third.errors));
  await sleep(LONGER_THAN_A_RETRY_MS);
  assert.equal(third.connection.state, 'disconnected');
  first.disconnect();
  await until(async () => {
    const next = client(t, server, small);
    await until(() => ['connected', 'disconnected'].includes(next.connection.state), 'an answer');
    return next.connection.state === 'connected';
  }, 'the freed place');
});

story('a quiet client is kept alive by pings', async (t) => {
  const heard = [];
  Pusher.log = (line) => heard.push(line);
  t.after(() => {
    Pusher.log = undefined;
  });
  // pusher-js takes the smaller of its own and the server's time; its own unit is the millisecond.
  const pusher = client(t, server, app, { options: { activityTimeout: 600, pongTimeout: 500 } });
  const id = await connected(pusher);
  const pongs = () => heard.filter((line) => /recd/.test(line) && /pusher:pong/.test(line)).length;
  await until(() => pongs() >= 3, () => `three pongs, seen ${pongs()}`, 8_000);
  assert.equal(pusher.connection.socket_id, id);
  assert.deepEqual(pusher.states.filter((state) => state === 'connected'), ['connected']);
});

story('two apps with the same channel name do not hear each other', async (t) => {
  const mine = await subscribed(client(t, server, app), 'shared-name');
  const theirs = await subscribed(client(t, server, quiet), 'shared-name');
  await backEnd(server, app).trigger('shared-name', 'mine', {});
  await arrives(mine, 'mine');
  await backEnd(server, quiet).trigger('shared-name', 'theirs', {});
  await arrives(theirs, 'theirs');
  assert.equal(named(mine, 'theirs').length + named(theirs, 'mine').length, 0);
});
