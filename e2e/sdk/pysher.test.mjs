// Pysher from PyPI, a client of the community that shares no code with the official ones and speaks protocol 6: it signs its
// channels itself, sends text where others send objects, and meets pusher-js on the same channels.
import { spawn } from 'node:child_process';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { arrives, backEnd, client, named, subscribed } from './clients.mjs';
import { startServer, story, until } from './harness.mjs';

const PYTHON = process.env.FANFARE_E2E_PYTHON ?? fileURLToPath(new URL('.venv/bin/python', import.meta.url));
const LISTEN = fileURLToPath(new URL('python/listen.py', import.meta.url));

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'pysher', clientEvents: true });

/** A Pysher that is connected: `seen` has what it told its user, `hears` waits for it. */
async function pysher(t, user, secret = app.secret) {
  const child = spawn(PYTHON, ['-W', 'ignore', LISTEN], {
    env: { PATH: process.env.PATH, PUSHER_APP_KEY: app.key, PUSHER_APP_SECRET: secret, PUSHER_HOST: server.host, PUSHER_PORT: String(server.port), PUSHER_USER: JSON.stringify(user) },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => process.kill(child.pid, 'SIGKILL'));
  const one = { seen: [] };
  createInterface({ input: child.stdout }).on('line', (line) => one.seen.push(JSON.parse(line)));
  one.tell = (request) => void child.stdin.write(`${JSON.stringify(request)}\n`);
  one.all = (event, channel = null) => one.seen.filter((row) => row.event === event && row.channel === channel).map(({ data }) => data);
  one.hears = (event, channel, count = 1) =>
    until(() => one.all(event, channel).length >= count && one.all(event, channel), () => `${event} for Pysher, seen ${JSON.stringify(one.seen)}`, 10_000);
  one.subscribe = async (channel) => {
    one.tell({ do: 'subscribe', channel });
    return one.hears('pusher_internal:subscription_succeeded', channel);
  };
  await one.hears('pusher:connection_established');
  return one;
}

story('Pysher: public, private, presence and cache channels, and client events with pusher-js', async (t) => {
  const sdk = backEnd(server, app);
  const ben = await subscribed(client(t, server, app, { user: { id: 'ben', info: { name: 'Ben' } } }), 'presence-py-room');
  const ana = await pysher(t, { user_id: 'ana', user_info: { name: 'Ana' } });
  for (const channel of ['py-news', 'private-py-orders']) {
    assert.deepEqual(await ana.subscribe(channel), ['{}']);
    await sdk.trigger(channel, 'said', { text: 'ünïcødé 🎺' });
    assert.deepEqual((await ana.hears('said', channel)).map((data) => JSON.parse(data)), [{ text: 'ünïcødé 🎺' }]);
  }
  const [roster] = await ana.subscribe('presence-py-room');
  assert.deepEqual(JSON.parse(roster).presence.hash, { ben: { name: 'Ben' }, ana: { name: 'Ana' } });
  assert.deepEqual(await arrives(ben, 'pusher:member_added'), [{ id: 'ana', info: { name: 'Ana' } }]);

  ana.tell({ do: 'trigger', channel: 'presence-py-room', event: 'client-typing', data: { at: 1 } });
  assert.deepEqual(await arrives(ben, 'client-typing'), [{ at: 1 }]);
  ben.trigger('client-typing', { at: 2 });
  assert.deepEqual((await ana.hears('client-typing', 'presence-py-room')).map((data) => JSON.parse(data)), [{ at: 2 }]);

  await ana.subscribe('cache-py');
  await ana.hears('pusher:cache_miss', 'cache-py');
  ana.tell({ do: 'unsubscribe', channel: 'presence-py-room' });
  assert.equal((await arrives(ben, 'pusher:member_removed'))[0].id, 'ana');
  assert.equal(named(ben, 'client-typing').length, 1);
  assert.deepEqual(ana.all('pusher:error'), []);
});

story('Pysher: a wrong secret is told on the connection and on the channel', async (t) => {
  const ana = await pysher(t, { user_id: 'ana' }, 'not-the-secret');
  ana.tell({ do: 'subscribe', channel: 'private-py-wrong' });
  const [error] = await ana.hears('pusher:subscription_error', 'private-py-wrong');
  assert.equal(error.status, 401);
  await ana.subscribe('still-public');
});
