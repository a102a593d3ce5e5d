// The PyPI package `pusher` as a customer's back end (through python/bridge.py), heard by pusher-js.
import { spawn } from 'node:child_process';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { arrives, backEnd, client, connected, named, subscribed } from './clients.mjs';
import { MASTER_KEY } from './customer.mjs';
import { startServer, story, until, within } from './harness.mjs';

const PYTHON = process.env.FANFARE_E2E_PYTHON ?? fileURLToPath(new URL('.venv/bin/python', import.meta.url));
const BRIDGE = fileURLToPath(new URL('python/bridge.py', import.meta.url));

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'python', clientEvents: true });
const python = bridge(app);
after(() => python.end());

function bridge(credentials) {
  const child = spawn(PYTHON, ['-W', 'ignore', BRIDGE], {
    env: {
      PATH: process.env.PATH,
      PUSHER_APP_ID: credentials.id,
      PUSHER_APP_KEY: credentials.key,
      PUSHER_APP_SECRET: credentials.secret,
      PUSHER_HOST: server.host,
      PUSHER_PORT: String(server.port),
      PUSHER_MASTER_KEY: MASTER_KEY,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting = [];
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()(JSON.parse(line)));
  return {
    raw(call, args = [], kwargs = {}) {
      child.stdin.write(`${JSON.stringify({ call, args, kwargs })}\n`);
      return within(new Promise((resolve) => waiting.push(resolve)), 15_000, `Python's ${call}`);
    },
    async call(call, args, kwargs) {
      const answer = await this.raw(call, args, kwargs);
      if (answer.error) throw new Error(`${call}: ${answer.error}: ${answer.text}`);
      return answer.result;
    },
    end() {
      child.stdin.end();
    },
  };
}

story('Python: trigger reaches one and several channels', async (t) => {
  const pusher = client(t, server, app);
  const channels = [await subscribed(pusher, 'py-a'), await subscribed(pusher, 'private-py-b')];
  assert.deepEqual(await python.call('trigger', ['py-a', 'said', { n: 1 }]), {});
  assert.deepEqual(await python.call('trigger', [['py-a', 'private-py-b'], 'both', { text: 'ünïcødé' }]), {});
  assert.deepEqual(await arrives(channels[0], 'said'), [{ n: 1 }]);
  for (const channel of channels) assert.deepEqual(await arrives(channel, 'both'), [{ text: 'ünïcødé' }]);
});

story('Python: trigger leaves out the socket it is given', async (t) => {
  const [ana, ben] = [client(t, server, app), client(t, server, app)];
  const [hers, his] = [await subscribed(ana, 'py-others'), await subscribed(ben, 'py-others')];
  await python.call('trigger', ['py-others', 'changed', {}, await connected(ana)]);
  await python.call('trigger', ['py-others', 'marker', {}]);
  await arrives(hers, 'marker');
  await arrives(his, 'marker');
  assert.equal(named(hers, 'changed').length, 0);
  assert.equal(named(his, 'changed').length, 1);
});

story('Python: trigger_batch reaches each channel', async (t) => {
  const channel = await subscribed(client(t, server, app), 'py-batch');
  const batch = [1, 2, 3].map((n) => ({ channel: 'py-batch', name: 'n', data: { n } }));
  assert.deepEqual(await python.call('trigger_batch', [batch]), {});
  assert.deepEqual(await arrives(channel, 'n', 3), [{ n: 1 }, { n: 2 }, { n: 3 }]);
});

story('Python: channels_info, channel_info and users_info read what is there', async (t) => {
  for (const id of ['ana', 'ben', 'ben']) await subscribed(client(t, server, app, { user: { id } }), 'presence-py');
  await subscribed(client(t, server, app), 'py-plain');
  const { channels } = await python.call('channels_info', ['presence-py', ['user_count']]);
  assert.deepEqual(channels, { 'presence-py': { user_count: 2 } });
  assert.ok('py-plain' in (await python.call('channels_info')).channels);
  assert.deepEqual(await python.call('channel_info', ['presence-py', ['user_count']]), { occupied: true, user_count: 2 });
  assert.equal((await python.call('channel_info', ['py-never'])).occupied, false);
  const { users } = await python.call('users_info', ['presence-py']);
  assert.deepEqual(users.map(({ id }) => id).sort(), ['ana', 'ben']);
});

story('Python: its channel tokens are accepted, private and presence', async (t) => {
  const pusher = client(t, server, app, {
    options: {
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, done) => {
          const member = channelName.startsWith('presence-') ? [{ user_id: 'pia', user_info: { name: 'Pia ♥' } }] : [];
          python.call('authenticate', [channelName, socketId, ...member]).then((token) => done(null, token), (error) => done(error, null));
        },
      },
    },
  });
  await subscribed(pusher, 'private-py-token');
  const channel = await subscribed(pusher, 'presence-py-token');
  assert.deepEqual(channel.members.me, { id: 'pia', info: { name: 'Pia ♥' } });
});

story('Python: its encrypted events and their shared secret are opened by pusher-js, on one channel and in a batch', async (t) => {
  const pusher = client(t, server, app, {
    options: {
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, done) => void python.call('authenticate', [channelName, socketId]).then((token) => done(null, token), (error) => done(error, null)),
      },
    },
  });
  const [channel, cached] = [await subscribed(pusher, 'private-encrypted-py'), 'private-encrypted-cache-py'];
  await python.call('trigger', ['private-encrypted-py', 'said', { secret: 'ünïcødé' }]);
  assert.deepEqual(await arrives(channel, 'said'), [{ secret: 'ünïcødé' }]);
  await python.call('trigger_batch', [[{ channel: cached, name: 'kept', data: { n: 1 } }]]);
  assert.deepEqual(await arrives(await subscribed(pusher, cached), 'kept'), [{ n: 1 }]);
});

story('Python: its user tokens sign a user in, and send_to_user reaches that user', async (t) => {
  const pusher = client(t, server, app, {
    options: {
      userAuthentication: {
        customHandler: ({ socketId }, done) => void python.call('authenticate_user', [socketId, { id: 'pia', user_info: { name: 'Pia ♥' } }]).then((token) => done(null, token), (error) => done(error, null)),
      },
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, done) => void python.call('authenticate', [channelName, socketId, { user_id: 'pia' }]).then((token) => done(null, token), (error) => done(error, null)),
      },
    },
  });
  const told = [];
  pusher.user.bind('hello', (data) => told.push(data));
  await connected(pusher);
  pusher.signin();
  await until(() => pusher.user.serverToUserChannel?.subscribed, () => `the user channel (errors ${JSON.stringify(pusher.errors)})`);
  assert.deepEqual(pusher.user.user_data, { id: 'pia', user_info: { name: 'Pia ♥' } });
  await python.call('send_to_user', ['pia', 'hello', { n: 1 }]);
  await until(() => told.length === 1, 'the event for the user');
  assert.deepEqual(told, [{ n: 1 }]);
});

story('Python: a wrong secret is PusherBadAuth, too much data and a bad question are PusherBadRequest or a status', async () => {
  const stranger = bridge({ ...app, secret: 'wrong' });
  try {
    const refused = await stranger.raw('trigger', ['py-a', 'said', {}]);
    assert.equal(refused.error, 'PusherBadAuth');
    assert.match(refused.text, /signature/i);
  } finally {
    stranger.end();
  }
  const question = await python.raw('users_info', ['py-plain']);
  assert.ok(['PusherBadRequest', 'ValueError'].includes(question.error), JSON.stringify(question));
  await until(async () => (await python.call('channels_info')) !== undefined, 'the next call to work');
});

story('Python: terminate_user_connections, whose path leaves the app out, ends what the user has and nothing else', async (t) => {
  const signedIn = async (id) => {
    const pusher = client(t, server, app, {
      options: { userAuthentication: { customHandler: ({ socketId }, done) => done(null, backEnd(server, app).authenticateUser(socketId, { id })) } },
    });
    pusher.signin();
    await pusher.user.signinDonePromise;
    return pusher;
  };
  const [phone, laptop, friend] = [await signedIn('py-ana'), await signedIn('py-ana'), await signedIn('py-ben')];
  assert.deepEqual(await python.call('terminate_user_connections', ['py-ana']), {});
  for (const pusher of [phone, laptop]) await until(() => pusher.connection.state === 'disconnected', `the end of a connection, which is ${pusher.connection.state}`);
  assert.equal(friend.connection.state, 'connected');
  assert.deepEqual(await python.call('terminate_user_connections', ['py-nobody']), {});
});
