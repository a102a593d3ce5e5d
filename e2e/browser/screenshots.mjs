// Takes the pictures of docs/screenshots/: every page in both themes, and the console on a small screen, from a real server
// with something going on. Run it by `make screenshots`; it is no test.
import { mkdirSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { backEnd, client, collecting, signedIn, subscribed } from '../sdk/clients.mjs';
import { OWNER, sleep, startServer, until } from '../sdk/harness.mjs';
import { EXECUTABLE, PASSWORD, QUIET, newApp, signIn, signUp, status } from './chromium.mjs';

const folder = process.argv[2];
if (!folder) throw new Error('usage: screenshots.mjs FOLDER');
mkdirSync(folder, { recursive: true });

const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 360, height: 740 };
const PHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1';
/** So that the times in the pictures look like a morning in a shop and not like a burst. */
const BETWEEN_STEPS_MS = 140;
const server = await startServer({ env: { FANFARE_CLUSTER: 'eu', FANFARE_WEBHOOK_ALLOW: '127.0.0.0/8' } });
const cleanups = [];
const t = { after: (cleanup) => cleanups.push(cleanup) };
const browser = await chromium.launch({ executablePath: EXECUTABLE, args: QUIET });

/** The shop's own server: it takes the webhooks of one address, and is out of order at the other. */
const shop = http.createServer((request, response) => {
  request.resume().on('end', () => {
    const fine = request.url.startsWith('/webhooks');
    response.writeHead(fine ? 204 : 502, { server: 'nginx', 'content-type': 'text/html' }).end(fine ? undefined : '<h1>502 Bad Gateway</h1>');
  });
});
await new Promise((resolve) => shop.listen(0, '127.0.0.1', resolve));
cleanups.push(() => shop.close());

async function addEndpoint(page, app, path, kinds) {
  await page.goto(`${server.url}/dash/apps/${app.id}/webhooks/new`);
  await page.fill('[name=url]', `http://127.0.0.1:${shop.address().port}${path}`);
  for (const box of await page.locator('[name=kind]').all()) await box.setChecked(kinds.includes(await box.getAttribute('value')));
  await page.getByRole('button', { name: 'Create endpoint' }).click();
  await page.waitForURL(/\/whe_/);
  return new URL(page.url()).pathname;
}

/** A shop at work: members come and go, orders are shipped, somebody types, and two things go wrong. */
async function bustle(app) {
  const sdk = backEnd(server, app);
  const stranger = { ...app, secret: 'secret-of-another-app' };
  const [ana, ben] = ['Ana', 'Ben'].map((name) => client(t, server, app, { user: { id: name.toLowerCase(), info: { name } } }));
  const steps = [
    ...[ana, ben].flatMap((pusher) => ['orders', 'private-chat.7', 'presence-checkout'].map((channel) => () => subscribed(pusher, channel))),
    () => sdk.trigger('orders', 'App\\Events\\OrderPlaced', { id: 1042, total: '59.00', currency: 'EUR' }),
    () => sdk.trigger('private-chat.7', 'App\\Events\\MessageSent', { from: 'ana', text: 'Is the blue one back in stock?' }),
    () => ana.channel('private-chat.7').trigger('client-typing', { who: 'ana' }),
    () => sdk.trigger('presence-checkout', 'App\\Events\\CartChanged', { items: 3, total: '118.50' }),
    () => sdk.trigger('chat.7', 'App\\Events\\MessageSent', { from: 'ben', text: 'Yes, since this morning.' }),
    () => backEnd(server, stranger).trigger('orders', 'App\\Events\\OrderPlaced', { id: 1043 }).catch(() => {}),
    () => collecting(client(t, server, stranger), 'private-chat.8'),
    () => signedIn(t, server, app, 'cem'),
    () => subscribed(ana, 'cache-prices'),
    () => ben.disconnect(),
    () => sdk.trigger('orders', 'App\\Events\\OrderShipped', { id: 1042, carrier: 'DHL', track: 'JD014600003' }),
  ];
  for (const step of steps) {
    await step();
    await sleep(BETWEEN_STEPS_MS);
  }
}

try {
  const first = await browser.newContext({ viewport: WIDE });
  const page = await first.newPage();
  await signUp(page, server, 'ana@example.test');
  const app = await newApp(page, server, 'shop-prod');
  await newApp(page, server, 'shop-staging');
  await page.goto(`${server.url}/dash/apps/${app.id}/settings`);
  await page.check('#client-events [name=on]', { force: true });
  await page.waitForLoadState();
  await server.serves(app);
  const fine = await addEndpoint(page, app, '/webhooks/pusher', ['channel_occupied', 'channel_vacated', 'member_added', 'member_removed']);
  const broken = await addEndpoint(page, app, '/audit', ['client_event', 'channel_occupied']);
  await bustle(app);
  // Of the failing one, a delivery that was tried more than once.
  const delivery = await until(async () => {
    await page.goto(`${server.url}${broken}`);
    const lines = await page.locator('[data-test=delivery]').all();
    for (const line of lines) if (Number(await line.locator('[data-label=Attempt]').innerText()) >= 2) return line.getByRole('link').getAttribute('href');
    return null;
  }, 'a second attempt', 30_000);
  const state = await first.storageState();
  // The other browser in the list of sessions.
  const phone = await browser.newContext({ userAgent: PHONE });
  await signIn(await phone.newPage(), server, { email: 'ana@example.test', password: PASSWORD });

  const operator = await browser.newContext();
  await signIn(await operator.newPage(), server, OWNER);

  const shot = async (context, name, target, prepare) => {
    const view = await context.newPage();
    await view.goto(`${server.url}${target}`, { waitUntil: 'load' });
    const stated = view.locator('[data-test=console-status]');
    if (await stated.count()) await status(view, 'live');
    await prepare?.(view);
    await view.evaluate(() => document.fonts.ready);
    await view.screenshot({ path: path.join(folder, `${name}.png`), animations: 'disabled' });
    await view.close();
  };
  const openRow = async (view) => {
    const row = view.locator('[data-test=console-row][data-kind=api_message][data-channel=orders]').first();
    await until(() => row.count(), 'the row');
    await row.click();
  };
  for (const colorScheme of ['light', 'dark']) {
    const guest = await browser.newContext({ viewport: WIDE, colorScheme, reducedMotion: 'reduce' });
    await shot(guest, `signup-${colorScheme}`, '/signup');
    await shot(guest, `login-${colorScheme}`, '/login');
    const owner = await browser.newContext({ viewport: WIDE, colorScheme, reducedMotion: 'reduce', storageState: state });
    await shot(owner, `home-${colorScheme}`, '/dash');
    await shot(owner, `new-app-${colorScheme}`, '/dash/apps/new');
    await shot(owner, `account-${colorScheme}`, '/dash/account');
    for (const name of ['people', 'organisation', 'audit', 'tokens', 'usage']) await shot(owner, `${name}-${colorScheme}`, `/dash/${name}`);
    await shot(guest, `api-reference-${colorScheme}`, '/docs/api');
    await shot(guest, `errors-${colorScheme}`, '/e/');
    await shot(guest, `error-4001-${colorScheme}`, '/e/4001');
    for (const [name, target] of [['overview', ''], ['stats', '/stats?range=1h'], ['keys', '/keys'], ['settings', '/settings'], ['webhooks', '/webhooks'], ['webhook-new', '/webhooks/new'], ['webhook-deliveries', fine.replace(/.*(?=\/webhooks)/, '')], ['webhook-delivery', delivery.replace(/.*(?=\/webhooks)/, '')]]) await shot(owner, `${name}-${colorScheme}`, `/dash/apps/${app.id}${target}`);
    await shot(owner, `start-${colorScheme}`, `/dash/apps/${app.id}/start`, async (view) => {
      await view.click('[data-test=simulate]');
      await view.waitForSelector('[data-test=first-event]:visible');
    });
    await shot(owner, `console-${colorScheme}`, `/dash/apps/${app.id}/console`, openRow);
    const admin = await browser.newContext({ viewport: WIDE, colorScheme, reducedMotion: 'reduce', storageState: await operator.storageState() });
    for (const name of ['', '/organisations', '/plans', '/sign-up', '/mail', '/backups']) await shot(admin, `server${name.replace('/', '-')}-${colorScheme}`, `/dash/server${name}`);
    const small = await browser.newContext({ viewport: NARROW, colorScheme, reducedMotion: 'reduce', storageState: state });
    await shot(small, `console-360-${colorScheme}`, `/dash/apps/${app.id}/console`);
    await shot(small, `webhook-delivery-360-${colorScheme}`, delivery);
  }
  console.log(`pictures are in ${folder}`);
} finally {
  for (const cleanup of cleanups.reverse()) cleanup();
  await browser.close();
  await server.stop();
}
process.exit(0);
