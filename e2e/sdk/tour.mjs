// The stories that every build of pusher-js must be able to tell, wherever it runs. `builds.test.mjs` tells them in Node,
// `../browser/builds.test.mjs` in pages and in Web Workers of Chromium.
import assert from 'node:assert/strict';
import { MASTER_KEY, customer } from './customer.mjs';
import { story, until } from './harness.mjs';
import { ownerOf } from './visitor.mjs';

/** What an app needs for the tour. */
export const TOURED = { name: 'toured', clientEvents: true, switches: { subscriptionCounts: true, watchlist: true } };

/** A client of the build under test: `run(command, …)` is asynchronous wherever it runs. */
class Guest {
  constructor(run, user) {
    this.run = run;
    this.user = user;
  }

  async events(where, event) {
    return (await this.run('seen')).filter((row) => row.where === where && row.event === event).map((row) => row.data);
  }

  async hears(where, event, count = 1) {
    return until(
      async () => {
        const got = await this.events(where, event);
        return got.length >= count && got;
      },
      async () => `${count} × ${event} on ${where} for ${this.user}, seen ${JSON.stringify(await this.run('seen'))}`,
    );
  }

  async subscribe(...names) {
    for (const name of names) await this.run('subscribe', name);
    for (const name of names) await this.hears(name, 'pusher:subscription_succeeded');
  }

  async connected() {
    await this.hears('connection', 'connected');
    return (await this.run('state')).socketId;
  }
}

/**
 * Tells the tour of one build. `open(t, options)` starts a client and gives its `run`; `site` files are those it needs.
 * `encrypted` says whether the build can decrypt.
 */
export function tour(build, { server, app, open, files, encrypted }) {
  const guests = async (t, ...people) => {
    const site = await customer(t, server, app, { files });
    const all = await Promise.all(
      people.map(async (person) => {
        const [user, watchlist] = [person].flat();
        const options = { key: app.key, host: server.host, port: server.port, origin: site.origin, user, watch: watchlist?.split(',') };
        return new Guest(await open(t, options), user);
      }),
    );
    for (const one of all) assert.match(await one.connected(), /^\d+\.\d+$/);
    return { sdk: site.sdk, all };
  };
  // A channel of its own for each build: the files of stories share an app.
  const own = (name) => `${name}-${build.replaceAll(/[^a-z0-9]+/gi, '-')}`;

  story(`${build}: public, private and presence channels, and client events`, async (t) => {
    const { sdk, all: [ana, ben] } = await guests(t, 'ana', 'ben');
    const [news, orders, room] = ['news', 'private-orders', 'presence-room'].map(own);
    await ana.subscribe(news, orders, room);
    await ben.subscribe(orders, room);
    assert.deepEqual(await ana.hears(room, 'pusher:member_added'), [{ id: 'ben', info: { name: 'BEN' } }]);
    assert.deepEqual(await ben.run('members', room), { count: 2, me: { id: 'ben', info: { name: 'BEN' } }, all: { ana: { name: 'ANA' }, ben: { name: 'BEN' } } });

    await sdk.trigger([news, orders, room], 'App\\Events\\Said', { text: 'ünïcødé 🎺' });
    for (const name of [news, orders, room]) assert.deepEqual(await ana.hears(name, 'App\\Events\\Said'), [{ text: 'ünïcødé 🎺' }]);

    await ben.run('bind', room, 'client-typing');
    await ana.run('trigger', room, 'client-typing', { at: [1, 2] });
    await ana.run('trigger', orders, 'client-plain', 'just words');
    assert.deepEqual(await ben.hears(room, 'client-typing'), [{ at: [1, 2] }]);
    assert.deepEqual(await ben.hears(orders, 'client-plain'), ['just words']);
    assert.deepEqual((await ben.run('seen')).filter(({ where }) => where === `${room} bound`).map(({ userId }) => userId), ['ana']);
    assert.deepEqual(await ana.events(room, 'client-typing'), []);

    await ben.run('disconnect');
    assert.equal((await ana.hears(room, 'pusher:member_removed'))[0].id, 'ben');
    assert.deepEqual(await ana.events('connection', 'error'), []);
  });

  story(`${build}: ${encrypted ? 'encrypted channels are decrypted by the client, and opaque to the server' : 'an encrypted channel is refused by the build itself'}`, async (t) => {
    const { sdk, all: [ana] } = await guests(t, 'ana');
    const notes = own('private-encrypted-notes');
    if (!encrypted) {
      await assert.rejects(async () => ana.run('subscribe', notes), /encrypted/i);
      return;
    }
    await ana.subscribe(notes);
    const secret = `the eagle lands at ${Date.now()}`;
    await sdk.trigger(notes, 'whispered', { secret });
    assert.deepEqual(await ana.hears(notes, 'whispered'), [{ secret }]);
    const row = await until(async () => (await (await ownerOf(server)).rows(app)).find((one) => one.kind === 'api_message' && one.channel === notes), 'the console row');
    assert.match(JSON.stringify(row), /ciphertext/);
    assert.doesNotMatch(JSON.stringify(row), new RegExp(`${secret}|${MASTER_KEY}`));
  });

  story(`${build}: cache channels replay their last event, or tell that there is none`, async (t) => {
    const { sdk, all: [ana] } = await guests(t, 'ana');
    const kinds = ['cache-', 'private-cache-', 'presence-cache-', ...(encrypted ? ['private-encrypted-cache-'] : [])];
    for (const [n, kind] of kinds.entries()) {
      const [filled, empty] = [own(`${kind}filled`), own(`${kind}empty`)];
      await sdk.trigger(filled, 'price', { n: -1 });
      await sdk.trigger(filled, 'price', { n });
      await ana.subscribe(filled, empty);
      assert.deepEqual(await ana.hears(filled, 'price'), [{ n }], kind);
      await ana.hears(empty, 'pusher:cache_miss');
      const order = (await ana.run('seen')).filter(({ where }) => where === filled).map(({ event }) => event);
      assert.deepEqual(order.slice(0, 2), ['pusher:subscription_succeeded', 'price'], kind);
      assert.deepEqual(await ana.events(filled, 'pusher:cache_miss'), [], kind);
    }
  });

  story(`${build}: a user signs in, is sent events, and watches another come and go`, async (t) => {
    const [name, friend] = [own('ana'), own('ben')];
    const { sdk, all: [ana, ben] } = await guests(t, [name, friend], friend);
    await ana.run('signin');
    assert.deepEqual(await ana.hears('watchlist', 'offline'), [{ name: 'offline', user_ids: [friend] }]);
    await until(async () => {
      await sdk.sendToUser(name, 'told', { n: 1 });
      return (await ana.events('user', 'told')).length > 0;
    }, 'the user channel to open');
    assert.deepEqual((await ana.events('user', 'told'))[0], { n: 1 });
    await ben.run('signin');
    assert.deepEqual(await ana.hears('watchlist', 'online'), [{ name: 'online', user_ids: [friend] }]);
    assert.deepEqual(await ben.events('user', 'told'), []);
    await ben.run('disconnect');
    assert.deepEqual((await ana.hears('watchlist', 'offline', 2))[1], { name: 'offline', user_ids: [friend] });
  });

  story(`${build}: subscribers are told how many they are`, async (t) => {
    const { all: [ana, ben] } = await guests(t, 'ana', 'ben');
    const [crowd, room] = [own('crowd'), own('presence-crowd')];
    await ana.subscribe(crowd, room);
    assert.deepEqual(await ana.hears(crowd, 'pusher:subscription_count'), [{ subscription_count: 1 }]);
    await ben.subscribe(crowd, room);
    assert.deepEqual((await ana.hears(crowd, 'pusher:subscription_count', 2))[1], { subscription_count: 2 });
    assert.equal(await ana.run('count', crowd), 2);
    await ben.run('unsubscribe', crowd);
    assert.deepEqual((await ana.hears(crowd, 'pusher:subscription_count', 3))[2], { subscription_count: 1 });
    assert.deepEqual(await ana.events(room, 'pusher:subscription_count'), []);
  });
}
