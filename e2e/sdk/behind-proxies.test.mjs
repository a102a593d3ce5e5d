// The files of deploy/proxy as they stand there, with TLS, in front of a control plane and two realtime nodes. The two nodes know
// the same app but nothing of each other: what must stay on one node is seen at once when it doesn't.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { arrives, client, subscribed } from './clients.mjs';
import { trusted } from './certificates.mjs';
import { OWNER, Server, signedQuery, startServer, story, until } from './harness.mjs';
import { HttpSession, call } from './httpsession.mjs';
import { PROXIES, startProxy } from './proxies.mjs';
import { Visitor } from './visitor.mjs';

const [cert] = trusted(['proxies']);
const STRANGER = '203.0.113.7';
const app = { id: '4711', key: 'behindproxies0000001', secret: 'behindproxiessecret1' };
const env = { FANFARE_TRUST_PROXY: 'true' };
const ofApp = { ...env, FANFARE_APP_ID: app.id, FANFARE_APP_KEY: app.key, FANFARE_APP_SECRET: app.secret };
const control = await startServer({ env });
const nodes = [await startServer({ env: ofApp, owner: false }), await startServer({ env: ofApp, owner: false })];
after(() => Promise.all([control, ...nodes].map((server) => server.stop())));

const at = (server) => `127.0.0.1:${server.port}`;
const proxies = new Map();
for (const kind of PROXIES) proxies.set(kind, await startProxy(kind, { cert, control: at(control), realtime: nodes.map(at) }));

/** A signed call through the proxy. */
const rest = (proxy, ...call) => Server.prototype.rest.call({ url: proxy.url }, app, ...call);

/** Somebody at the pages who claims another address. */
class Liar extends Visitor {
  request(method, target, { headers = {}, ...more } = {}) {
    return super.request(method, target, { ...more, headers: { ...headers, 'x-forwarded-for': STRANGER, 'x-forwarded-proto': 'http' } });
  }
}

for (const [kind, proxy] of proxies) {
  story(`${kind}: a WebSocket opens over TLS, on each node in turn, and what is published reaches it`, async (t) => {
    const channels = await Promise.all(Array.from({ length: 6 }, (_, n) => subscribed(client(t, proxy, app, { user: { id: String(n) } }), 'presence-room')));
    // Nodes that are alone count their own members: with six that come, none counts all.
    for (const channel of channels) assert.ok(channel.members.count < 6, 'all came to one node');
    await until(async () => {
      assert.equal((await rest(proxy, 'POST', `/apps/${app.id}/events`, { body: { name: 'said', channels: ['presence-room'], data: 'hello' } })).status, 200);
      return channels.every((channel) => channel.events.some(({ event }) => event === 'said'));
    }, 'a publish to each node');
  });

  for (const base of [`/pusher/app/${app.key}`, '/pusher']) story(`${kind}: a session below ${base.replace(app.key, 'KEY')} stays on its node, and its lines come at once`, async (t) => {
    for (let n = 0; n < 6; n += 1) {
      const sockJs = base === '/pusher';
      const session = new HttpSession(t, proxy, base, sockJs ? { query: '' } : {});
      await session.stream();
      await session.line(sockJs ? 'o' : 'a[', 2_000);
      if (sockJs) await session.send({ path: `/app/${app.key}?protocol=7&client=js&version=8.6.0` });
      await session.frame('pusher:connection_established', 2_000);
      for (const channel of ['one', 'two', 'three']) {
        assert.ok([200, 204].includes(await session.send({ event: 'pusher:subscribe', data: { channel } })));
        await until(() => session.frames.some((frame) => frame.event === 'pusher_internal:subscription_succeeded' && frame.channel === channel), channel, 2_000);
      }
    }
  });

  story(`${kind}: the largest batch passes, a body beyond all limits does not`, async () => {
    const batch = Array.from({ length: 10 }, (_, n) => ({ channel: 'news', name: `n${n}`, data: '\u0001'.repeat(10_240) }));
    const full = await rest(proxy, 'POST', `/apps/${app.id}/batch_events`, { body: { batch } });
    assert.equal(full.status, 200, full.text);
    const refused = await rest(proxy, 'POST', `/apps/${app.id}/events`, { body: 'x'.repeat(3_000_000) }).then(({ status }) => status, () => 413);
    // Debian's Caddy says 502 when the body that it passes on turns out too long.
    assert.ok([413, ...(kind === 'caddy' ? [502] : [])].includes(refused), `answered ${refused}`);
  });

  story(`${kind}: pages come from the control plane, which knows who came and how, whatever they claim`, async () => {
    const liar = new Liar(proxy.url);
    const login = await liar.request('GET', '/login', { headers: { accept: 'text/html' } });
    assert.equal(login.status, 200);
    assert.match(login.headers.get('set-cookie'), /; Secure/);
    await liar.signIn(OWNER);
    const account = await liar.page('/dash/account');
    assert.equal(account.status, 200);
    assert.ok(account.text.includes('<code>127.0.0.x</code>'), 'the session has the address that the proxy saw');
    assert.ok(!account.text.includes('203.0.113.'));
    const signed = signedQuery(app, 'GET', `/apps/${app.id}/channels`);
    assert.notEqual((await call(control, 'GET', `/apps/${app.id}/channels?${signed}`)).status, 200, 'the control plane has no such app');
    assert.equal((await rest(proxy, 'GET', `/apps/${app.id}/channels`)).status, 200);
  });

  if (proxy.plain) story(`${kind}: who comes without TLS is sent to it`, async () => {
    const answer = await call({ host: proxy.host, port: proxy.plain }, 'GET', '/login?x=1', { headers: { host: 'ws.example.com' } });
    assert.equal(answer.status, 308);
    assert.equal(answer.headers.location, 'https://ws.example.com/login?x=1');
  });
}

// The last story: it takes a node away.
story('a node that goes away is missed by nobody', async (t) => {
  await nodes[0].stop();
  for (const [kind, proxy] of proxies) {
    for (let n = 0; n < 4; n += 1) {
      const channel = await subscribed(client(t, proxy, app), 'news');
      assert.equal((await rest(proxy, 'POST', `/apps/${app.id}/events`, { body: { name: kind, channels: ['news'], data: 'x' } })).status, 200, kind);
      await arrives(channel, kind);
    }
  }
});
