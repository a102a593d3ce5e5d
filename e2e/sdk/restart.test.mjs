// `fanfare serve` twice on the same data: what was made stays, today's count goes on, clients come back by themselves.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { arrives, backEnd, client, connected, errorCodes, named, subscribed } from './clients.mjs';
import { OWNER, command, startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { Visitor, goesTo } from './visitor.mjs';

/** pusher-js waits out a transport time-out of 15 s when an attempt meets a closed port. */
const BACK_WITHIN_MS = 5_000;

const server = await startServer();
after(() => server.stop());

async function restart() {
  const ended = await server.stop();
  assert.deepEqual(ended, { code: 0, signal: null }, server.log());
  await server.start();
}

story('accounts, apps, keys, sessions and today’s count survive a restart', async (t) => {
  const app = await server.app({ name: 'kept', clientEvents: true });
  const owner = await new Visitor(server.url).signIn(OWNER);
  const other = await new Visitor(server.url).signUp({ email: 'second@example.test', password: OWNER.password });
  // Making the app ended with a read or more, each a message.
  const start = (await owner.stat(app)).messages;
  await subscribed(client(t, server, app), 'counted');
  for (let n = 0; n < 5; n += 1) await backEnd(server, app).trigger('counted', 'said', { n });
  const before = await until(async () => {
    const stat = await owner.stat(app);
    return stat.messages === start + 10 && stat;
  }, '5 publishes and 5 deliveries to be counted');

  await restart();
  await server.serves(app, 1_000);
  const after = await owner.stat(app);
  assert.equal(after.messages, before.messages + 1, 'the count goes on; the one more is the read of `serves`');
  assert.equal(after.messages_max, before.messages_max);
  assert.equal((await owner.page(`/dash/apps/${app.id}/keys`)).text.includes(app.key), true, 'the session and the key are kept');
  assert.equal((await other.page('/dash')).status, 200);
  await new Visitor(server.url).signIn({ email: 'second@example.test', password: OWNER.password });
  const { stdout } = await command(['apps', 'list', '--json'], { dataDir: server.dataDir });
  assert.ok(JSON.parse(stdout).some((listed) => String(listed.id) === app.id), stdout);
});

story('a client that was connected is back after the restart, with its subscriptions', async (t) => {
  const app = await server.app({ name: 'coming back' });
  const pusher = client(t, server, app, { user: { id: 'ana' } });
  const channels = [await subscribed(pusher, 'news'), await subscribed(pusher, 'presence-room')];
  const before = await connected(pusher);
  await restart();
  await until(() => pusher.connection.state === 'connected' && pusher.connection.socket_id !== before, () => `the client to be back, seen ${pusher.states}`, BACK_WITHIN_MS);
  for (const channel of channels) await arrives(channel, 'pusher:subscription_succeeded', 2, 10_000).catch(() => until(() => channel.subscribed, 'the subscription'));
  await backEnd(server, app).trigger('news', 'after', {});
  await arrives(channels[0], 'after');
  assert.equal(errorCodes(pusher).some((code) => code >= 4000 && code < 4100), false, JSON.stringify(pusher.errors));
  assert.equal(named(channels[0], 'after').length, 1);
});

story('a server that is told to end closes its sockets with 4200 and exits 0', async (t) => {
  const app = await server.app({ name: 'drained' });
  const raw = await RawSocket.connect(t, server, app);
  const ending = server.stop();
  assert.equal(await raw.closeCode(10_000), 4200);
  assert.deepEqual(await ending, { code: 0, signal: null }, server.log());
  await server.start();
});

story('a killed server loses no app and comes up again', async () => {
  const app = await server.app({ name: 'killed' });
  await server.stop('SIGKILL');
  await server.start();
  await server.serves(app, 1_000);
});

story('what an app used counts for its account after the app is deleted and the server restarted', async () => {
  const who = await new Visitor(server.url).signUp({ email: 'two-apps@example.test', password: OWNER.password });
  const [kept, deleted] = [await server.app({ name: 'kept', owner: 'two-apps@example.test' }), await server.app({ name: 'gone', owner: 'two-apps@example.test' })];
  for (let n = 0; n < 7; n += 1) await backEnd(server, deleted).trigger('x', 'y', {});
  const answer = await who.submit(await who.page(`/dash/apps/${deleted.id}/settings`), goesTo(/\/delete$/), { confirm: 'gone' });
  assert.equal(answer.status, 303, answer.text);
  await until(async () => (await server.rest(deleted, 'GET', `/apps/${deleted.id}/channels`)).status === 404, 'the API to forget the app');
  const { messages } = await who.stat(kept);
  assert.ok(messages >= 7, `${messages}`);
  await restart();
  assert.equal((await who.stat(kept)).messages, messages);
});
