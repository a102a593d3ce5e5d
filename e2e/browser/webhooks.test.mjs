// Webhooks as a person meets them: an endpoint is added, a test event sent and seen to arrive, a failing one is watched, mended
// and sent again; real happenings show in the console. The customer's server is a real one.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after } from 'node:test';
import { backEnd, client, collecting, subscribed } from '../sdk/clients.mjs';
import { startServer, story, until } from '../sdk/harness.mjs';
import { cookiesOf, launch, openConsole, row, visitor } from './chromium.mjs';
import { ownerOf } from '../sdk/visitor.mjs';

const server = await startServer({ env: { FANFARE_WEBHOOK_ALLOW: '127.0.0.0/8' } });
after(() => server.stop());
const browser = await launch();

/** A customer's server. It answers with `status`, and `posts` has what came. */
async function receiver(t) {
  const site = { status: 204, posts: [] };
  const listener = http.createServer((request, response) => {
    let rawBody = '';
    request.on('data', (chunk) => { rawBody += chunk; });
    request.on('end', () => {
      site.posts.push({ headers: request.headers, rawBody, json: JSON.parse(rawBody) });
      response.writeHead(site.status, { 'x-served-by': 'the-customer' }).end(site.status === 204 ? undefined : '<b>out of order</b>');
    });
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    listener.closeAllConnections();
    listener.close();
  });
  site.url = `http://127.0.0.1:${listener.address().port}/webhooks/pusher`;
  return site;
}

/** The owner at the page of webhooks of a fresh app. */
async function atWebhooks(t, options = {}) {
  const app = await server.app({ name: 'hooked' });
  const page = await visitor(t, browser, { ...options, cookies: cookiesOf(await ownerOf(server), server) });
  await page.goto(`${server.url}/dash/apps/${app.id}/webhooks`);
  return { app, page };
}

/** Adds an endpoint through the form, and ends at its deliveries. */
async function add(page, url, kinds) {
  await page.getByRole('link', { name: 'New endpoint' }).click();
  await page.fill('[name=url]', url);
  for (const box of await page.locator('[name=kind]').all()) await box.setChecked(kinds.includes(await box.getAttribute('value')));
  await page.getByRole('button', { name: 'Create endpoint' }).click();
  await page.waitForURL(/\/webhooks\/whe_[0-9a-f]+\?done=new/);
}

async function sendTest(page, kind) {
  await page.selectOption('[name=kind]', kind);
  await page.getByRole('button', { name: 'Send test event' }).click();
  await page.waitForURL(/\/whd_/);
}

const state = (page, word) => until(async () => (await page.textContent('[data-test=delivery-state]').catch(() => '')) === word, `the delivery to be ${word}`, 20_000);
/** A page that looks again by itself may be loading just then. */
const attempts = (page) => page.locator('[data-test=attempt]').allInnerTexts().catch(() => []);

story('one adds an endpoint, sends a test event, and sees it arrive', async (t) => {
  const site = await receiver(t);
  const { app, page } = await atWebhooks(t);
  await page.getByText('Webhooks tell your server when channels open and close').waitFor();
  await add(page, site.url, ['channel_occupied', 'member_added']);
  await sendTest(page, 'member_added');
  await state(page, 'Delivered');
  const [post] = site.posts;
  assert.deepEqual(post.json.events.map(({ name }) => name), ['member_added']);
  assert.equal(backEnd(server, app).webhook(post).isValid(), true, 'the official package finds it signed');
  assert.match((await attempts(page))[0], /204[\s\S]*x-served-by: the-customer/);
  assert.ok((await page.textContent('[data-test=curl]')).includes(post.headers['x-pusher-signature']));
  await page.goto(`${server.url}/dash/apps/${app.id}/webhooks`);
  const line = page.locator('[data-test=endpoint]');
  assert.match(await line.innerText(), /100 %[\s\S]*Healthy/);
  await line.getByRole('link').click();
  assert.match(await page.locator('[data-test=delivery]').innerText(), /member_added\s+test[\s\S]*Delivered[\s\S]*204/);
  assert.deepEqual(page.complaints, []);
});

story('one sees a delivery fail and be tried again, mends the server, and sends it once more', async (t) => {
  const site = await receiver(t);
  site.status = 503;
  const { app, page } = await atWebhooks(t);
  await add(page, site.url, ['channel_occupied']);
  await subscribed(client(t, server, app), 'orders');
  await until(() => site.posts.length > 0, 'the first attempt', 10_000);
  const list = page.url().split('?')[0];
  await page.goto(`${list}?state=pending`);
  await page.locator('[data-test=delivery] a').first().click();
  await page.waitForURL(/\/whd_/);
  await state(page, 'Retrying');
  // Nobody touches the page: it shows the next attempt by itself, and the answers as text.
  await until(async () => (await attempts(page)).length >= 2, 'the second attempt on the page', 20_000);
  assert.match((await attempts(page))[0], /503[\s\S]*<b>out of order<\/b>/);
  await page.goto(list);
  await page.getByText('Failing', { exact: true }).waitFor();
  site.status = 200;
  await page.locator('[data-test=delivery] a').first().click();
  await state(page, 'Delivered');
  const before = site.posts.length;
  assert.equal((await attempts(page)).length, before);
  await page.click('[data-test=resend]');
  await until(() => site.posts.length === before + 1, 'the delivery to be posted again', 10_000);
  assert.deepEqual(site.posts.at(-1).json.events, site.posts[0].json.events);
  await state(page, 'Delivered');
  await until(async () => (await attempts(page)).length === before + 1, 'the new attempt on the page', 10_000);
  assert.deepEqual(page.complaints, []);
});

story('the console shows webhooks that arrived and that did not, in a group of their own', async (t) => {
  const [site, broken] = [await receiver(t), await receiver(t)];
  broken.status = 500;
  const { app, page } = await atWebhooks(t);
  await add(page, site.url, ['channel_occupied']);
  await page.goto(`${server.url}/dash/apps/${app.id}/webhooks`);
  await add(page, broken.url, ['channel_occupied']);
  await openConsole(page, server, app);
  const member = client(t, server, app);
  collecting(member, 'orders');
  await row(page, { kind: 'webhook_failed' }, 10_000);
  await (await row(page, { kind: 'webhook_sent' }, 10_000)).click();
  await page.click('[data-test=tab-meta]');
  assert.match(await page.locator('[data-test=drawer]').innerText(), /Status\s+204/);
  await page.click('[data-test=chip-hook]');
  await until(async () => (await page.locator('[data-test=console-row][data-kind^=webhook]').count()) === 0, 'the chip to hide its kinds');
  await page.fill('[data-test=console-search]', 'kind:webhook');
  await row(page, { kind: 'webhook_sent' });
  assert.deepEqual(page.complaints, []);
});

story('without scripts one can add, test, change and delete an endpoint', async (t) => {
  const site = await receiver(t);
  const { app, page } = await atWebhooks(t, { javaScriptEnabled: false });
  await add(page, site.url, ['cache_miss']);
  await sendTest(page, 'cache_miss');
  await until(() => site.posts.length === 1, 'the test event', 10_000);
  await until(async () => {
    await page.reload();
    return (await page.textContent('[data-test=delivery-state]')) === 'Delivered';
  }, 'the delivery to be shown as delivered');
  await page.getByRole('link', { name: 'Deliveries' }).click();
  await page.getByRole('link', { name: 'Change' }).click();
  await page.fill('[name=url]', 'http://10.0.0.1/');
  await page.getByRole('button', { name: 'Save' }).click();
  assert.match(await page.innerText('#url-error'), /10\.0\.0\.1 is not on the public internet/);
  await page.fill('[name=url]', `${site.url}?v=2`);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name: `${site.url}?v=2` }).waitFor();
  await page.getByRole('link', { name: 'Change' }).click();
  await page.getByText('Delete endpoint…').click();
  await page.getByRole('button', { name: 'Delete endpoint' }).click();
  await page.getByText('No endpoints').waitFor();
  assert.equal((await page.goto(`${server.url}/dash/apps/${app.id}/webhooks`)).status(), 200);
});
