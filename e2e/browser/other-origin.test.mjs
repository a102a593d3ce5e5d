// pusher-js in Chromium itself, in a page of another origin than ours, as every customer's page is: public, private and
// presence channels, client events between two pages, and a list of allowed origins.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { backEnd } from '../sdk/clients.mjs';
import { startServer, story, until } from '../sdk/harness.mjs';
import { allowOrigins, ownerOf } from '../sdk/visitor.mjs';
import { launch, visitor } from './chromium.mjs';

const LIBRARY = readFileSync(fileURLToPath(new URL('../sdk/node_modules/pusher-js/dist/web/pusher.min.js', import.meta.url)));

const server = await startServer();
after(() => server.stop());
const browser = await launch();

const PAGE = `<!doctype html><meta charset="utf-8"><title>customer</title><script src="/pusher.js"></script><script>
const options = JSON.parse(decodeURIComponent(location.hash.slice(1)));
window.seen = [];
window.states = [];
const pusher = window.pusher = new Pusher(options.key, { cluster: 'mt1', wsHost: '127.0.0.1', wsPort: options.port, forceTLS: false,
  enabledTransports: ['ws'], channelAuthorization: { endpoint: '/auth?user=' + options.user } });
pusher.connection.bind('state_change', ({ current }) => window.states.push(current));
pusher.connection.bind('error', (error) => window.seen.push(['error', error.data?.code ?? error.error?.data?.code]));
for (const name of options.channels) pusher.subscribe(name).bind_global((event, data) => window.seen.push([name, event, data]));
</script>`;

/** The customer's site: the page, the library, and an endpoint that signs for whoever asks. */
async function site(t, app) {
  const sdk = backEnd(server, app);
  const listener = http.createServer((request, response) => {
    if (request.url === '/pusher.js') return response.writeHead(200, { 'content-type': 'text/javascript' }).end(LIBRARY);
    if (!request.url.startsWith('/auth')) return response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE);
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    return request.on('end', () => {
      const form = new URLSearchParams(body);
      const channel = form.get('channel_name');
      const id = new URL(request.url, 'http://x').searchParams.get('user');
      const member = channel.startsWith('presence-') ? { user_id: id, user_info: { name: id } } : undefined;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(sdk.authorizeChannel(form.get('socket_id'), channel, member)));
    });
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    listener.closeAllConnections();
    listener.close();
  });
  return `http://127.0.0.1:${listener.address().port}`;
}

async function customer(t, origin, app, { channels = [], user = 'ana' } = {}) {
  const page = await visitor(t, browser);
  await page.goto(`${origin}/#${encodeURIComponent(JSON.stringify({ key: app.key, port: server.port, channels, user }))}`);
  return page;
}

const heard = (page, channel, event) => page.evaluate(([on, name]) => window.seen.filter((one) => one[0] === on && one[1] === name).map((one) => one[2]), [channel, event]);
const hears = (page, channel, event) => until(async () => (await heard(page, channel, event))[0] ?? false, async () => `${event} on ${channel}, seen ${JSON.stringify(await page.evaluate(() => window.seen))}`);

story('a page of another origin connects and gets events of public and private channels', async (t) => {
  const app = await server.app({ name: 'web' });
  const page = await customer(t, await site(t, app), app, { channels: ['news', 'private-orders'] });
  for (const channel of ['news', 'private-orders']) await until(() => page.evaluate((name) => window.pusher.channel(name).subscribed, channel), `the subscription to ${channel}`);
  await backEnd(server, app).trigger(['news', 'private-orders'], 'said', { text: 'ünïcødé 🎺' });
  for (const channel of ['news', 'private-orders']) assert.deepEqual(await hears(page, channel, 'said'), { text: 'ünïcødé 🎺' });
  assert.deepEqual(page.complaints, []);
});

story('two pages meet on a presence channel and whisper to each other', async (t) => {
  const app = await server.app({ name: 'chat', clientEvents: true });
  const origin = await site(t, app);
  const ana = await customer(t, origin, app, { channels: ['presence-room'], user: 'ana' });
  await until(() => ana.evaluate(() => window.pusher.channel('presence-room').subscribed), 'Ana to join');
  const ben = await customer(t, origin, app, { channels: ['presence-room'], user: 'ben' });
  assert.equal((await hears(ana, 'presence-room', 'pusher:member_added')).id, 'ben');
  await ana.evaluate(() => window.pusher.channel('presence-room').trigger('client-typing', { who: 'ana' }));
  assert.deepEqual(await hears(ben, 'presence-room', 'client-typing'), { who: 'ana' });
  assert.deepEqual(await heard(ana, 'presence-room', 'client-typing'), []);
  await ben.close();
  assert.equal((await hears(ana, 'presence-room', 'pusher:member_removed')).id, 'ben');
});

story('a page whose origin is not on the list is refused with 4009 and does not try again', async (t) => {
  const app = await server.app({ name: 'listed' });
  const [allowed, foreign] = [await site(t, app), await site(t, app)];
  await allowOrigins(await ownerOf(server), app, [allowed]);
  const good = await customer(t, allowed, app);
  await until(() => good.evaluate(() => window.pusher.connection.state === 'connected'), 'the listed page to connect');
  await until(async () => {
    const bad = await customer(t, foreign, app);
    await until(() => bad.evaluate(() => ['connected', 'disconnected'].includes(window.pusher.connection.state)), 'an answer');
    return bad.evaluate(() => window.pusher.connection.state === 'disconnected' && window.seen.some((one) => one[0] === 'error' && one[1] === 4009));
  }, 'the foreign page to be refused', 10_000);
});
