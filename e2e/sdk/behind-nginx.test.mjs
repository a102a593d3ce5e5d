// nginx in front, as Debian configures it for a plain `proxy_pass`: it buffers and compresses answers and speaks HTTP/1.0 to
// us, unless an answer says otherwise. The fallbacks must not hang there.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { arrives, backEnd, client, connected, named, subscribed } from './clients.mjs';
import { startServer, story, until } from './harness.mjs';
import { HttpSession } from './httpsession.mjs';
import { startNginx } from './nginx.mjs';
import { ownerOf } from './visitor.mjs';

const server = await startServer({ env: { FANFARE_TRUST_PROXY: 'true' } });
after(() => server.stop());
const proxy = await startNginx(
  `location / {
      proxy_pass http://127.0.0.1:${server.port};
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $http_x_story_proto;
    }`,
  'gzip on; gzip_types *; gzip_min_length 1;',
);

const over = (t, app, transport, user) =>
  client(t, server, app, { user, options: { wsPort: proxy.port, httpHost: proxy.host, httpPort: proxy.port, enabledTransports: [transport] } });

for (const encoding of ['identity', 'gzip']) story(`each line of a stream comes through at once (${encoding})`, async (t) => {
  const app = await server.app({ name: 'lines' });
  const session = HttpSession.of(t, proxy, app, { headers: { 'accept-encoding': encoding } });
  const stream = await session.stream();
  await session.line('a[', 1_000);
  assert.equal(stream.headers['content-encoding'] ?? 'identity', encoding);
  await session.send({ event: 'pusher:subscribe', data: { channel: 'news' } });
  await session.frame('pusher_internal:subscription_succeeded', 1_000);
  for (let n = 1; n <= 3; n += 1) {
    await server.publish(app, 'news', `said-${n}`, {});
    await session.frame(`said-${n}`, 1_000);
  }
  await session.sendBody('[]');
  await session.line('a[]', 1_000);
});

for (const transport of ['xhr_streaming', 'xhr_polling']) {
  story(`${transport}: pusher-js connects through nginx, subscribes, sends, and reads a megabyte`, async (t) => {
    const app = await server.app({ name: transport, clientEvents: true });
    const [ana, ben] = [over(t, app, transport, { id: 'ana' }), over(t, app, transport, { id: 'ben' })];
    const [ofAna, ofBen] = [await subscribed(ana, 'presence-room'), await subscribed(ben, 'presence-room')];
    ofAna.trigger('client-typing', { who: 'ana' });
    assert.deepEqual(await arrives(ofBen, 'client-typing'), [{ who: 'ana' }]);
    for (let n = 0; n < 24; n += 1) {
      await backEnd(server, app).triggerBatch(Array.from({ length: 5 }, (_, i) => ({ channel: 'presence-room', name: 'said', data: { n: n * 5 + i, pad: 'ü'.repeat(4_500) } })));
      await arrives(ofAna, 'said', (n - 4) * 5);
    }
    await arrives(ofAna, 'said', 120, 20_000);
    assert.deepEqual(named(ofAna, 'said').map((row) => row.data.n), Array.from({ length: 120 }, (_, n) => n));
    assert.deepEqual(ana.errors, []);
  });

  story(`${transport}: a client that leaves is missed at once or when its time is up`, async (t) => {
    const app = await server.app({ name: 'leaving' });
    const pusher = over(t, app, transport);
    await connected(pusher);
    pusher.disconnect();
    const owner = await ownerOf(server);
    await until(async () => (await owner.rows(app)).find((row) => row.kind === 'disconnection' && row.transport === transport), 'its end', 20_000);
  });
}

story('an app that takes TLS only is closed to who comes without, and open to who came to the proxy over TLS', async (t) => {
  const app = await server.app({ name: 'tls' });
  const { code, stdout, stderr } = await server.command(['apps', 'set', app.id, '--force-tls', 'on']);
  assert.equal(code, 0, stdout + stderr);
  await until(async () => {
    const session = HttpSession.of(t, proxy, app);
    await session.poll();
    return session.closed?.[0] === 4000;
  }, 'a refusal with 4000');
  const session = HttpSession.of(t, proxy, app, { headers: { 'x-story-proto': 'https' } });
  await session.stream();
  await session.frame('pusher:connection_established');
  const sockjs = new HttpSession(t, proxy, '/pusher', { query: '' });
  await sockjs.stream();
  await sockjs.send({ path: `/app/${app.key}?protocol=7` });
  assert.equal((await until(() => sockjs.closed, 'a refusal'))[0], 4000);
});
