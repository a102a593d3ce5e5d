// pusher-js in Chromium with one fallback at a time, in a page of another origin: preflights, streaming and polling are the
// browser's own here. SockJS' client is loaded by the page, since pusher-js would fetch it from Pusher's servers.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { backEnd, client, subscribed, arrives } from '../sdk/clients.mjs';
import { startServer, story, until } from '../sdk/harness.mjs';
import { ownerOf } from '../sdk/visitor.mjs';
import { launch, visitor } from './chromium.mjs';

const file = (path) => readFileSync(fileURLToPath(new URL(path, import.meta.url)));
const SCRIPTS = { '/pusher.js': file('../sdk/node_modules/pusher-js/dist/web/pusher.min.js'), '/sockjs.js': file('./node_modules/sockjs-client/dist/sockjs.min.js') };
const TRANSPORTS = ['xhr_streaming', 'xhr_polling', 'sockjs'];

const server = await startServer();
after(() => server.stop());
const browser = await launch();

const PAGE = `<!doctype html><meta charset="utf-8"><title>customer</title><link rel="icon" href="data:,"><script src="/sockjs.js"></script><script src="/pusher.js"></script><script>
const { key, channels = [], ...options } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
window.seen = [];
window.states = [];
const pusher = window.pusher = new Pusher(key, { cluster: 'mt1', wsHost: '127.0.0.1', httpHost: '127.0.0.1', forceTLS: false,
  channelAuthorization: { endpoint: '/auth' }, ...options });
pusher.connection.bind('state_change', ({ current }) => window.states.push(current));
pusher.connection.bind('error', (error) => window.seen.push(['error', error.data?.code ?? error.error?.data?.code]));
for (const name of channels) pusher.subscribe(name).bind_global((event, data) => window.seen.push([name, event, data]));
</script>`;

async function site(t, app) {
  const sdk = backEnd(server, app);
  const listener = http.createServer((request, response) => {
    if (SCRIPTS[request.url]) return response.writeHead(200, { 'content-type': 'text/javascript' }).end(SCRIPTS[request.url]);
    if (request.url !== '/auth') return response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE);
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    return request.on('end', () => {
      const form = new URLSearchParams(body);
      const member = form.get('channel_name').startsWith('presence-') ? { user_id: 'page', user_info: { name: 'Page' } } : undefined;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(sdk.authorizeChannel(form.get('socket_id'), form.get('channel_name'), member)));
    });
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    listener.closeAllConnections();
    listener.close();
  });
  return `http://127.0.0.1:${listener.address().port}`;
}

async function customer(t, app, transport, { at = server, ...options } = {}) {
  const page = await visitor(t, browser);
  page.asked = [];
  page.on('request', (request) => page.asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
  const all = { key: app.key, wsPort: at.port, httpPort: at.port, enabledTransports: [transport], ...options };
  await page.goto(`${await site(t, app)}/#${encodeURIComponent(JSON.stringify(all))}`);
  return page;
}

const heard = (page, channel, event) => page.evaluate(([on, name]) => window.seen.filter((one) => one[0] === on && one[1] === name).map((one) => one[2]), [channel, event]);
const hears = (page, channel, event, deadlineMs) => until(async () => (await heard(page, channel, event))[0] ?? false, async () => `${event} on ${channel}, seen ${JSON.stringify(await page.evaluate(() => [window.states, window.seen.slice(-20)]))}, asked ${page.asked.slice(-10)}`, deadlineMs);
const isOn = (page, channel, deadlineMs) => until(() => page.evaluate((name) => window.pusher.channel(name).subscribed, channel), async () => `the subscription to ${channel}, seen ${JSON.stringify(await page.evaluate(() => [window.states, window.seen]))}, asked ${page.asked.slice(-10)}`, deadlineMs);

for (const transport of TRANSPORTS) {
  story(`${transport}: a page subscribes, receives and sends, and the console tells how it is connected`, async (t) => {
    const app = await server.app({ name: transport, clientEvents: true });
    const page = await customer(t, app, transport, { channels: ['news', 'private-orders', 'presence-room'] });
    for (const channel of ['news', 'private-orders', 'presence-room']) await isOn(page, channel);
    await backEnd(server, app).trigger(['news', 'private-orders'], 'said', { text: 'ünïcødé 🎺\u2028' });
    for (const channel of ['news', 'private-orders']) assert.deepEqual(await hears(page, channel, 'said'), { text: 'ünïcødé 🎺\u2028' });
    const room = await subscribed(client(t, server, app, { user: { id: 'ben', info: { name: 'Ben' } } }), 'presence-room');
    assert.equal((await hears(page, 'presence-room', 'pusher:member_added')).id, 'ben');
    await page.evaluate(() => window.pusher.channel('presence-room').trigger('client-typing', { who: 'page' }));
    assert.deepEqual(await arrives(room, 'client-typing'), [{ who: 'page' }]);
    const row = (await (await ownerOf(server)).rows(app)).find((one) => one.kind === 'connection');
    assert.equal(row.transport, transport);
    assert.match(row.origin, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.deepEqual(page.complaints, []);
  });

  story(`${transport}: a megabyte arrives whole and in order`, async (t) => {
    const app = await server.app({ name: 'long' });
    const page = await customer(t, app, transport, { channels: ['news'] });
    await isOn(page, 'news');
    const socketId = await page.evaluate(() => window.pusher.connection.socket_id);
    const pad = 'ü'.repeat(4_500);
    const count = async () => (await page.evaluate(() => window.seen.filter((one) => one[1] === 'said').length));
    const shows = (n) => until(async () => (await count()) >= n, async () => `${n} events, seen ${await count()}, errors ${JSON.stringify(await page.evaluate(() => window.seen.filter((one) => one[0] === 'error')))}`, 10_000);
    for (let n = 0; n < 24; n += 1) {
      await backEnd(server, app).triggerBatch(Array.from({ length: 10 }, (_, i) => ({ channel: 'news', name: 'said', data: { n: n * 10 + i, pad } })));
      await shows((n - 4) * 10); // no further behind than a slow reader may be
    }
    await shows(240);
    assert.deepEqual((await heard(page, 'news', 'said')).map((data) => data.n), Array.from({ length: 240 }, (_, n) => n));
    assert.equal(await page.evaluate(() => window.pusher.connection.socket_id), socketId);
    assert.deepEqual(page.complaints, []);
  });

  story(`${transport}: a page is back with its subscriptions after a restart`, async (t) => {
    const own = await startServer();
    t.after(() => own.stop());
    const app = await own.app({ name: 'restarting' });
    const page = await customer(t, app, transport, { at: own, channels: ['news'] });
    await isOn(page, 'news');
    const before = await page.evaluate(() => window.pusher.connection.socket_id);
    await own.stop();
    assert.equal(await page.evaluate(() => window.seen.some((one) => one[0] === 'error' && one[1] === 4200)), true, JSON.stringify(await page.evaluate(() => window.seen)));
    await own.start();
    await until(() => page.evaluate((id) => window.pusher.connection.state === 'connected' && window.pusher.connection.socket_id !== id, before), async () => `the page to be back, seen ${JSON.stringify(await page.evaluate(() => [window.states, window.seen]))}`, 35_000);
    await isOn(page, 'news');
    await until(async () => {
      await backEnd(own, app).trigger('news', 'after', {});
      return (await heard(page, 'news', 'after')).length > 0;
    }, 'an event after the restart');
  }, { deadlineMs: 60_000 });

  story(`${transport}: a page with an unknown key is told and stops`, async (t) => {
    const page = await customer(t, { id: '1', key: 'nobodyhasthiskey', secret: 'x' }, transport);
    await until(() => page.evaluate(() => window.pusher.connection.state === 'disconnected'), async () => `a refusal, seen ${JSON.stringify(await page.evaluate(() => window.states))}`);
    assert.equal(await page.evaluate(() => window.seen[0][1]), 4001);
    assert.deepEqual(page.complaints, []);
  });
}

story('a page whose WebSockets are blocked ends up on a fallback by itself', async (t) => {
  const app = await server.app({ name: 'blocked' });
  const nothing = http.createServer(() => {}); // takes an upgrade and never answers, as some proxies do
  await new Promise((resolve) => nothing.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    nothing.closeAllConnections();
    nothing.close();
  });
  const page = await customer(t, app, 'ws', { wsPort: nothing.address().port, wssPort: nothing.address().port, enabledTransports: ['ws', 'xhr_streaming', 'xhr_polling'], channels: ['news'] });
  await isOn(page, 'news', 20_000);
  await backEnd(server, app).trigger('news', 'said', {});
  await hears(page, 'news', 'said');
});

story('a page with statistics switched on shows no error', async (t) => {
  const app = await server.app({ name: 'stats' });
  const page = await customer(t, app, 'ws', { enableStats: true, statsHost: `127.0.0.1:${server.port}`, channels: ['news'] });
  await isOn(page, 'news');
  await until(() => page.asked.some((one) => one.startsWith('GET /timeline/v2/jsonp/')), 'the call with the statistics');
  await until(() => page.evaluate(() => document.querySelector('script[src*=timeline]') === null), 'the answer to be taken');
  assert.deepEqual(page.complaints, []);
});
