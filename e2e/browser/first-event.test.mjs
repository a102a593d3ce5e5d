// The way of a new developer through the pages, in a real browser: sign-up → app → *Simulate it* → rows in the console; the
// event creator; payloads as text; another tenant's app is 404 on every page and route.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';
import { startServer, story } from '../sdk/harness.mjs';
import { EXECUTABLE, QUIET } from './chromium.mjs';

const PASSWORD = 'quiet-harbour-51-lamp';
/** Console rows must be on screen this soon (milliseconds); a loaded machine gets some more. */
const ROW_WITHIN_MS = 300;
const SLACK_MS = 1_500;

let server;
let browser;
before(async () => {
  server = await startServer({ mode: 'dev', owner: false });
  browser = await chromium.launch({ executablePath: EXECUTABLE, args: QUIET });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function visitor(t) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  t.after(() => context.close());
  const page = await context.newPage();
  page.problems = [];
  page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
  page.on('pageerror', (error) => page.problems.push(error.message));
  return page;
}

/** Signs up and makes an app; gives its id. */
async function withApp(page, email) {
  await page.goto(`${server.url}/signup`);
  await page.fill('[name=email]', email);
  await page.fill('[name=password]', PASSWORD);
  await page.press('[name=password]', 'Enter');
  await page.waitForURL(/\/dash\/apps\/new/);
  await page.fill('[name=name]', 'Shop');
  await page.selectOption('[name=cluster]', 'local');
  await page.press('[name=name]', 'Enter');
  await page.waitForURL(/\/dash\/apps\/\d+\/start/);
  return /apps\/(\d+)\//.exec(page.url())[1];
}

const live = (page) => page.waitForSelector('[data-test=console-status][data-state=live]');
const row = (page, kind) => page.waitForSelector(`[data-test=console-row][data-kind=${kind}]`);

story('from sign-up to the first event on screen', async (t) => {
  const page = await visitor(t);
  const id = await withApp(page, 'first@example.test');
  await page.click('[data-test=simulate]');
  await page.waitForSelector('[data-test=first-event]:visible');
  assert.match(await page.textContent('[data-test=first-event]'), /It works/);
  await page.goto(`${server.url}/dash/apps/${id}/console`);
  await live(page);
  for (const kind of ['connection', 'occupied', 'subscribed', 'api_message']) await row(page, kind);
  assert.deepEqual(page.problems, []);
});

story('the event creator sends a signed event whose row shows the payload as text', async (t) => {
  const page = await visitor(t);
  const id = await withApp(page, 'creator@example.test');
  await page.goto(`${server.url}/dash/apps/${id}/console`);
  await live(page);
  const payload = '<img src=x onerror=document.title="owned">';
  await page.fill('[data-test=channel]', 'orders');
  await page.fill('[data-test=event]', 'order-shipped');
  await page.fill('[data-test=data]', payload);
  const sent = Date.now();
  await page.click('[data-test=send-event]');
  const shown = await page.waitForSelector('[data-test=console-row][data-kind=api_message][data-channel=orders]');
  const took = Date.now() - sent;
  t.diagnostic(`the row was on screen ${took} ms after the click`);
  assert.ok(took < ROW_WITHIN_MS + SLACK_MS, `${took} ms`);
  assert.equal(await shown.getAttribute('data-event'), 'order-shipped');
  await shown.click();
  await page.waitForFunction((text) => document.body.innerText.includes(text), payload);
  assert.notEqual(await page.title(), 'owned');
  assert.deepEqual(page.problems, []);
});

story('the keys page shows real values, and another tenant gets 404 everywhere', async (t) => {
  const page = await visitor(t);
  const id = await withApp(page, 'owner@example.test');
  await page.goto(`${server.url}/dash/apps/${id}/keys`);
  assert.equal((await page.textContent('[data-test=app-id]')).trim(), id);
  assert.match((await page.textContent('[data-test=app-key]')).trim(), /^[0-9a-f]{20}$/);
  assert.match(await page.textContent('[data-test=env-block]'), new RegExp(`REVERB_APP_ID=${id}`));
  const other = await visitor(t);
  await withApp(other, 'stranger@example.test');
  for (const path of ['', '/start', '/keys', '/console', '/settings']) {
    const answer = await other.goto(`${server.url}/dash/apps/${id}${path}`);
    assert.equal(answer.status(), 404, path);
  }
  for (const path of ['/events', '/events/stream', '/doctor']) {
    const answer = await other.request.get(`${server.url}/v1/apps/${id}${path}`);
    assert.equal(answer.status(), 404, path);
  }
});

story('no page scrolls sideways on a small screen', async (t) => {
  const page = await visitor(t);
  const id = await withApp(page, 'small@example.test');
  await page.setViewportSize({ width: 360, height: 740 });
  for (const path of ['', '/new', `/${id}`, `/${id}/start`, `/${id}/keys`, `/${id}/console`, `/${id}/settings`]) {
    await page.goto(`${server.url}/dash${path === '' ? '' : `/apps${path}`}`);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wider, 0, path);
  }
});
