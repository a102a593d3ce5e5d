// Laravel Echo 1 and 2 with both of their broadcasters that speak our protocol, signed by a route that answers as Laravel's does.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { ECHOS, backEnd, connected, echo, laravel } from './clients.mjs';
import { MASTER_KEY } from './customer.mjs';
import { startServer, story, until } from './harness.mjs';

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'laravel', clientEvents: true });

const kinds = ECHOS.flatMap(({ version, Echo }) => ['reverb', 'pusher'].map((broadcaster) => ({ kind: `Echo ${version}, ${broadcaster}`, Echo, broadcaster })));

const ready = (channel) => new Promise((resolve, reject) => channel.subscribed(resolve).error((error) => reject(new Error(JSON.stringify(error)))));

for (const { kind, Echo, broadcaster } of kinds) {
  /** An Echo whose user is signed in at a Laravel of its own. */
  const visitor = async (t, user, options = {}) => {
    const route = await laravel(t, server, app, { user, masterKey: MASTER_KEY, ...options });
    return Object.assign(echo(t, server, app, broadcaster, { ...route, release: Echo }), { calls: route.calls });
  };

  story(`${kind}: a broadcast event reaches a public channel under its class name`, async (t) => {
    const instance = await visitor(t, { id: 1 });
    const got = [];
    const channel = instance.channel('orders').listen('OrderShipped', (event) => got.push(['class', event])).listen('.order.shipped', (event) => got.push(['named', event]));
    await ready(channel);
    const sdk = backEnd(server, app);
    await sdk.trigger('orders', 'App\\Events\\OrderShipped', { id: 7 });
    await sdk.trigger('orders', 'order.shipped', { id: 8 });
    await until(() => got.length === 2, () => `both events, seen ${JSON.stringify(got)}`);
    assert.deepEqual(got, [['class', { id: 7 }], ['named', { id: 8 }]]);
  });

  story(`${kind}: a private channel is authorised at the customer's route and receives`, async (t) => {
    const instance = await visitor(t, { id: 1 });
    const got = [];
    await ready(instance.private('App.Models.User.1').listen('Paid', (event) => got.push(event)));
    assert.equal(instance.calls.length, 1);
    assert.equal(instance.calls[0].channel, 'private-App.Models.User.1');
    assert.equal(instance.calls[0].socketId, instance.socketId());
    await backEnd(server, app).trigger('private-App.Models.User.1', 'App\\Events\\Paid', { euros: 5 });
    await until(() => got.length === 1, 'the private event');
    assert.deepEqual(got, [{ euros: 5 }]);
  });

  story(`${kind}: a channel that Laravel forbids reports its error`, async (t) => {
    const instance = await visitor(t, { id: 1 }, { forbidden: ['private-secret'] });
    const error = await new Promise((resolve) => instance.private('secret').error(resolve));
    assert.equal(error.status, 403);
    await ready(instance.channel('public'));
  });

  story(`${kind}: a token that the server refuses reports its error on the channel`, async (t) => {
    const route = await laravel(t, server, { ...app, secret: '00000000000000000000' }, { user: { id: 1 } });
    const instance = echo(t, server, app, broadcaster, { ...route, release: Echo });
    const error = await new Promise((resolve) => instance.private('mine').error(resolve));
    assert.equal(error.status, 401);
    assert.match(error.error, /signature/i);
    await ready(instance.channel('public'));
  });

  story(`${kind}: join tells who is here, who joins and who leaves`, async (t) => {
    const ana = await visitor(t, { id: 1, info: { name: 'Ana' } });
    const seen = [];
    ana.join('room').here((users) => seen.push(['here', users])).joining((user) => seen.push(['joining', user])).leaving((user) => seen.push(['leaving', user]));
    await until(() => seen.length === 1, 'who is here');

    const ben = await visitor(t, { id: 2, info: { name: 'Ben' } });
    const roster = await new Promise((resolve) => ben.join('room').here(resolve));
    assert.deepEqual(roster.map(({ name }) => name).sort(), ['Ana', 'Ben']);
    await until(() => seen.length === 2, 'Ben joining');
    ben.leave('room');
    await until(() => seen.length === 3, 'Ben leaving');
    assert.deepEqual(seen, [['here', [{ name: 'Ana' }]], ['joining', { name: 'Ben' }], ['leaving', { name: 'Ben' }]]);
  });

  story(`${kind}: a whisper reaches the others on the channel`, async (t) => {
    const [ana, ben] = [await visitor(t, { id: 1, info: {} }), await visitor(t, { id: 2, info: {} })];
    const heard = { ana: [], ben: [] };
    const from = ana.join('chat').listenForWhisper('typing', (event) => heard.ana.push(event));
    const to = ben.join('chat').listenForWhisper('typing', (event) => heard.ben.push(event));
    await Promise.all([ready(from), ready(to)]);
    from.whisper('typing', { name: 'Ana' });
    await until(() => heard.ben.length === 1, 'the whisper');
    to.whisper('typing', { name: 'Ben' });
    await until(() => heard.ana.length === 1, 'the answer');
    assert.deepEqual(heard, { ana: [{ name: 'Ben' }], ben: [{ name: 'Ana' }] });
    from.whisper('typing', 'plain words');
    await until(() => heard.ben.length === 2, 'the whisper of a plain string');
    assert.equal(heard.ben[1], 'plain words');
  });

  story(`${kind}: a whisper on a private channel reaches the others`, async (t) => {
    const [ana, ben] = [await visitor(t, { id: 1 }), await visitor(t, { id: 2 })];
    const heard = [];
    const from = ana.private('desk');
    await Promise.all([ready(from), ready(ben.private('desk').listenForWhisper('typing', (event) => heard.push(event)))]);
    from.whisper('typing', { n: [1, null] });
    await until(() => heard.length === 1, 'the whisper');
    assert.deepEqual(heard, [{ n: [1, null] }]);
  });

  story(`${kind}: an encrypted private channel is decrypted with the secret that Laravel gives`, async (t) => {
    const instance = await visitor(t, { id: 1 });
    const got = [];
    await ready(instance.encryptedPrivate('diary').listen('Written', (event) => got.push(event)));
    assert.equal(instance.calls[0].channel, 'private-encrypted-diary');
    await backEnd(server, app, { encryptionMasterKeyBase64: MASTER_KEY }).trigger('private-encrypted-diary', 'App\\Events\\Written', { page: 'ünïcødé' });
    await until(() => got.length === 1, 'the decrypted event');
    assert.deepEqual(got, [{ page: 'ünïcødé' }]);
  });

  story(`${kind}: listenToAll hears every event, whatever its name`, async (t) => {
    const instance = await visitor(t, { id: 1 });
    const got = [];
    const channel = instance.channel('everything').listenToAll((event, data) => got.push([event, data]));
    await ready(channel);
    const sdk = backEnd(server, app);
    const names = ['App\\Events\\Deep\\Namespace\\Shipped', 'Modules\\Billing\\Events\\Paid', 'order.shipped', 'ünïcødé name', '.Illuminate'];
    for (const [n, name] of names.entries()) await sdk.trigger('everything', name, { n });
    await until(() => got.length === names.length, () => `all events, seen ${JSON.stringify(got)}`);
    assert.deepEqual(got, [
      ['Deep\\Namespace\\Shipped', { n: 0 }],
      ['.Modules\\Billing\\Events\\Paid', { n: 1 }],
      ['.order.shipped', { n: 2 }],
      ['.ünïcødé name', { n: 3 }],
      ['..Illuminate', { n: 4 }],
    ]);
  });

  story(`${kind}: toOthers leaves out the socket that Echo names`, async (t) => {
    const [ana, ben] = [await visitor(t, { id: 1 }), await visitor(t, { id: 2 })];
    const heard = { ana: [], ben: [] };
    await Promise.all([
      ready(ana.private('list').listen('Changed', (event) => heard.ana.push(event.n))),
      ready(ben.private('list').listen('Changed', (event) => heard.ben.push(event.n))),
    ]);
    assert.match(ana.socketId(), /^\d+\.\d+$/);
    const sdk = backEnd(server, app);
    await sdk.trigger('private-list', 'App\\Events\\Changed', { n: 1 }, { socket_id: ana.socketId() });
    await sdk.trigger('private-list', 'App\\Events\\Changed', { n: 2 });
    await until(() => heard.ana.includes(2) && heard.ben.includes(2), () => `the second event, seen ${JSON.stringify(heard)}`);
    assert.deepEqual(heard, { ana: [2], ben: [1, 2] });
  });

  story(`${kind}: a notification arrives on the channel of its user`, async (t) => {
    const instance = await visitor(t, { id: 9 });
    const got = [];
    await ready(instance.private('App.Models.User.9').notification((event) => got.push(event)));
    const notification = { id: '0190', type: 'App\\Notifications\\InvoicePaid', amount: 12 };
    await backEnd(server, app).trigger('private-App.Models.User.9', 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated', notification);
    await until(() => got.length === 1, 'the notification');
    assert.deepEqual(got, [notification]);
  });

  story(`${kind}: a user signs in at Laravel's route and is sent an event of their own`, async (t) => {
    const instance = await visitor(t, { id: 42, info: { name: 'Ana' } });
    const { pusher } = instance.connector;
    await connected(pusher);
    instance.connector.signin();
    await until(() => pusher.user.serverToUserChannel?.subscribed, 'the user channel');
    assert.deepEqual(instance.calls.map(({ url }) => url), ['/broadcasting/user-auth']);
    const got = [];
    pusher.user.bind('invoice', (event) => got.push(event));
    await backEnd(server, app).sendToUser('42', 'invoice', { euros: 5 });
    await until(() => got.length === 1, 'the event');
    assert.deepEqual(got, [{ euros: 5 }]);
  });

  story(`${kind}: leaving and joining a channel again, as a component that mounts twice does`, async (t) => {
    const instance = await visitor(t, { id: 1 });
    await connected(instance.connector.pusher);
    const got = [];
    for (let n = 0; n < 5; n += 1) {
      const channel = instance.private('strict');
      if (n === 4) channel.listen('Tick', (event) => got.push(event));
      await ready(channel);
      if (n < 4) instance.leave('strict');
    }
    await backEnd(server, app).trigger('private-strict', 'App\\Events\\Tick', { n: 1 });
    await until(() => got.length === 1, 'the event after the last mount');
    assert.equal(instance.connector.pusher.errors.length, 0);
  });

  story(`${kind}: leaving and joining in the same moment ends subscribed, on private and presence channels`, async (t) => {
    const instance = await visitor(t, { id: 1, info: { name: 'Ana' } });
    await connected(instance.connector.pusher);
    await ready(instance.private('hasty'));
    const got = [];
    for (let n = 0; n < 5; n += 1) {
      instance.leave('hasty');
      const channel = instance.private('hasty');
      if (n === 4) channel.listen('Tick', (event) => got.push(event.n));
      instance.leave('room-hasty');
      instance.join('room-hasty');
    }
    const channels = ['private-hasty', 'presence-room-hasty'].map((name) => instance.connector.pusher.channel(name));
    for (const channel of channels) await until(() => channel.subscribed, `${channel.name} to be subscribed`);
    assert.deepEqual(channels[1].members.me, { id: '1', info: { name: 'Ana' } });
    await backEnd(server, app).trigger('private-hasty', 'App\\Events\\Tick', { n: 1 });
    await until(() => got.length > 0, 'the event after the last mount');
    assert.deepEqual(got, [1]);
    assert.deepEqual(instance.connector.pusher.errors, []);
  });
}
