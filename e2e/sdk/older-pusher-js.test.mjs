// The pusher-js of each major version since 4, unmodified: what pages that nobody has touched for years still load.
// What the current version does is in pusher-js.test.mjs and builds.test.mjs; how pages of these versions outlive a restart of
// the server, in ../browser/older-pusher-js.test.mjs.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { arrives, backEnd, clientOptions, collecting, connected, named, subscribed, watch } from './clients.mjs';
import { startServer, story } from './harness.mjs';

const load = createRequire(import.meta.url);
/** By the names under which package.json has them. */
const VERSIONS = ['pusher-js-4', 'pusher-js-5', 'pusher-js-6', 'pusher-js-7'].map((name) => {
  const { version } = load(`${name}/package.json`);
  return { version, Pusher: load(name) };
});

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'older clients', clientEvents: true });

/** A client that signs its channels through `authorizer`, the option that all of these versions have. */
function client(t, Pusher, { user, credentials = app } = {}) {
  const sdk = backEnd(server, credentials);
  const pusher = new Pusher(app.key, {
    ...clientOptions(server),
    authorizer: ({ name }) => ({
      authorize(socketId, done) {
        const member = name.startsWith('presence-') ? { user_id: user.id, user_info: user.info } : undefined;
        done(null, sdk.authorizeChannel(socketId, name, member)); // null and the `false` of version 4 are the same to all
      },
    }),
  });
  t.after(() => pusher.disconnect());
  return watch(pusher);
}

story('the older versions are those of the acceptance list', async () => {
  assert.deepEqual(VERSIONS.map(({ version }) => version), ['4.4.0', '5.1.1', '6.0.3', '7.6.0']);
});

for (const { version, Pusher } of VERSIONS) {
  story(`pusher-js ${version} connects and gets events of public and private channels`, async (t) => {
    const pusher = client(t, Pusher);
    assert.match(await connected(pusher), /^\d+\.\d+$/);
    const channels = [await subscribed(pusher, 'news'), await subscribed(pusher, 'private-orders')];
    await backEnd(server, app).trigger(['news', 'private-orders'], 'App\\Events\\Posted', { title: 'ünïcødé' });
    for (const channel of channels) assert.deepEqual(await arrives(channel, 'App\\Events\\Posted'), [{ title: 'ünïcødé' }]);
    assert.deepEqual(pusher.errors, []);
  });

  story(`pusher-js ${version} sees presence members come and go, and client events with their sender`, async (t) => {
    const room = `presence-room-${version}`;
    const [ana, ben] = ['ana', 'ben'].map((id) => client(t, Pusher, { user: { id, info: { name: id } } }));
    const hers = await subscribed(ana, room);
    const his = await subscribed(ben, room);
    assert.deepEqual(his.members.get('ana'), { id: 'ana', info: { name: 'ana' } });
    assert.deepEqual(his.members.me, { id: 'ben', info: { name: 'ben' } });
    assert.deepEqual(await arrives(hers, 'pusher:member_added'), [{ id: 'ben', info: { name: 'ben' } }]);

    assert.equal(hers.trigger('client-typing', { who: 'ana' }), true);
    assert.deepEqual(await arrives(his, 'client-typing'), [{ who: 'ana' }]);
    his.trigger('client-answer', {});
    await arrives(hers, 'client-answer');
    assert.equal(named(hers, 'client-typing').length, 0);

    ben.disconnect();
    assert.equal((await arrives(hers, 'pusher:member_removed'))[0].id, 'ben');
    assert.equal(hers.members.count, 1);
  });

  story(`pusher-js ${version} is told on its channel that a signature is wrong, and stays connected`, async (t) => {
    const pusher = client(t, Pusher, { credentials: { ...app, secret: '00000000000000000000' } });
    await connected(pusher);
    const channel = collecting(pusher, 'private-orders');
    const [error] = await arrives(channel, 'pusher:subscription_error');
    assert.equal(error.status, 401);
    assert.equal(channel.subscribed, false);
    await subscribed(pusher, 'still-public');
    assert.equal(pusher.connection.state, 'connected');
  });
}
