// Cache channels: what is kept, for whom it is played again, and what is not kept.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { arrives, backEnd, client, named, subscribed } from './clients.mjs';
import { startServer, story } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';

const TTL_SECONDS_MAX = 30 * 60;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'cache', clientEvents: true });

const connect = (t, of = app) => RawSocket.connect(t, server, of);
const member = (channel, id) => (channel.startsWith('presence-') ? JSON.stringify({ user_id: id }) : undefined);
const onChannel = (raw, channel) => raw.messages.filter((message) => message.channel === channel).map(({ event, data }) => [event, data]);

for (const kind of ['cache-', 'private-cache-', 'presence-cache-', 'private-encrypted-cache-']) {
  story(`${kind}: the last event is the first that a newcomer gets, on an empty channel there is a cache_miss`, async (t) => {
    const [full, empty] = [`${kind}full`, `${kind}empty`];
    await server.publish(app, full, 'old', 'first');
    await server.publish(app, full, 'price', '{"n": 2}'); // nobody was there: it is kept all the same
    for (const id of ['ana', 'ben']) {
      const raw = await connect(t);
      await raw.join(app, full, member(full, id));
      await raw.join(app, empty, member(empty, id));
      await raw.alive();
      assert.deepEqual(onChannel(raw, full).slice(1), [['price', '{"n": 2}']]);
      assert.deepEqual(onChannel(raw, empty).slice(1), [['pusher:cache_miss', '{}']]);
    }
  });
}

story('each event takes the place of the one before, and what was delivered is not played again', async (t) => {
  const first = await connect(t);
  await first.subscribe('cache-moving');
  for (const n of [1, 2, 3]) await server.publish(app, 'cache-moving', 'n', String(n));
  await first.message('n', { nth: 3 });
  const second = await connect(t);
  await second.subscribe('cache-moving');
  await second.message('n');
  await Promise.all([first, second].map((raw) => raw.alive()));
  assert.deepEqual(first.all('n').map(({ data }) => data), ['1', '2', '3']);
  assert.deepEqual(second.all('n').map(({ data }) => data), ['3']);
});

story('a sender that was left out still gets the kept copy when it subscribes later', async (t) => {
  const raw = await connect(t);
  await raw.subscribe('cache-own');
  await server.publish(app, 'cache-own', 'said', 'mine', { socket_id: raw.socketId });
  await raw.alive();
  assert.deepEqual(raw.all('said'), []);
  raw.send({ event: 'pusher:unsubscribe', data: { channel: 'cache-own' } });
  await raw.subscribe('cache-own');
  await raw.message('said');
});

story('client events are not kept', async (t) => {
  const [from, to] = [client(t, server, app), client(t, server, app)];
  const [sender, receiver] = [await subscribed(from, 'private-cache-chat'), await subscribed(to, 'private-cache-chat')];
  await arrives(sender, 'pusher:cache_miss');
  sender.trigger('client-typing', {});
  await arrives(receiver, 'client-typing');
  const late = await subscribed(client(t, server, app), 'private-cache-chat');
  await arrives(late, 'pusher:cache_miss');
  assert.equal(named(late, 'client-typing').length, 0);
  await backEnd(server, app).trigger('private-cache-chat', 'said', { n: 1 });
  await arrives(receiver, 'said');
  sender.trigger('client-typing', {});
  await arrives(receiver, 'client-typing', 2);
  assert.deepEqual(await arrives(await subscribed(client(t, server, app), 'private-cache-chat'), 'said'), [{ n: 1 }]);
});

story('a name that only begins like a cache channel keeps nothing', async (t) => {
  const raw = await connect(t);
  for (const channel of ['cachet-full', 'news-cache-', 'private-cachet']) {
    await server.publish(app, channel, 'said', 'x');
    await raw.join(app, channel);
    await raw.alive();
    assert.equal(onChannel(raw, channel).length, 1, channel);
  }
});

story('apps keep apart what their cache channels hold', async (t) => {
  const other = await server.app({ name: 'another cache' });
  await server.publish(app, 'cache-shared-name', 'said', 'mine');
  const raw = await connect(t, other);
  await raw.subscribe('cache-shared-name');
  await raw.message('pusher:cache_miss');
  assert.deepEqual(raw.all('said'), []);
});
