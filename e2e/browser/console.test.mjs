// The debug console under a real browser: its controls, its way without WebSocket, and pusher-js in a page of another origin.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';
import { backEnd } from '../sdk/clients.mjs';
import { startServer, story } from '../sdk/harness.mjs';
import { EXECUTABLE, QUIET } from './chromium.mjs';

let server;
let browser;
let context;
let app;
before(async () => {
  server = await startServer({ mode: 'dev', owner: false });
  browser = await chromium.launch({ executablePath: EXECUTABLE, args: QUIET });
  context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await page.goto(`${server.url}/signup`);
  await page.fill('[name=email]', 'console@example.test');
  await page.fill('[name=password]', 'quiet-harbour-51-lamp');
  await page.press('[name=password]', 'Enter');
  await page.waitForURL(/\/dash\/apps\/new/);
  await page.press('[name=name]', 'Enter');
  await page.waitForURL(/\/dash\/apps\/\d+\/start/);
  const id = /apps\/(\d+)\//.exec(page.url())[1];
  await page.goto(`${server.url}/dash/apps/${id}/keys`);
  const text = async (hook) => (await page.textContent(`[data-test=${hook}]`)).trim();
  app = { id, key: await text('app-key'), secret: await text('app-secret') };
  await page.close();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const state = (page, name) => page.waitForSelector(`[data-test=console-status][data-state=${name}]`, { timeout: 15_000 });
const row = (page, channel) => page.waitForSelector(`[data-test=console-row][data-kind=api_message][data-channel=${channel}]`);
const shown = (page, channel) => page.$$(`[data-test=console-row][data-channel=${channel}]`).then((rows) => rows.length);

async function openConsole(t, prepare) {
  const page = await context.newPage();
  t.after(() => page.close());
  await prepare?.(page);
  await page.goto(`${server.url}/dash/apps/${app.id}/console`);
  return page;
}

story('the last rows are there when the page opens', async (t) => {
  await backEnd(server, app).trigger('before', 'said', {});
  const page = await openConsole(t);
  await row(page, 'before');
});

story('a filter hides what does not match and stands in the address', async (t) => {
  const page = await openConsole(t);
  await state(page, 'live');
  await backEnd(server, app).trigger('wanted', 'said', {});
  await backEnd(server, app).trigger('unwanted', 'said', {});
  await row(page, 'unwanted');
  await page.keyboard.press('/');
  await page.keyboard.type('channel:wanted');
  await page.waitForFunction(() => !document.querySelector('[data-test=console-row][data-channel=unwanted]'));
  assert.ok((await shown(page, 'wanted')) > 0);
  assert.match(new URL(page.url()).search, /q=channel/);
});

story('pause holds the rows back, resume shows them, clear empties the list', async (t) => {
  const page = await openConsole(t);
  await state(page, 'live');
  await page.getByRole('button', { name: 'Pause' }).click();
  await state(page, 'paused');
  await backEnd(server, app).trigger('held', 'said', {});
  const resume = page.getByRole('button', { name: /Resume . [1-9]/ });
  await resume.waitFor();
  assert.equal(await shown(page, 'held'), 0);
  await resume.click();
  await row(page, 'held');
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.waitForFunction(() => !document.querySelector('[data-test=console-row]'));
});

story('without WebSocket the console goes on by server-sent events', async (t) => {
  const page = await openConsole(t, (fresh) => fresh.addInitScript(() => {
    window.WebSocket = class { constructor() { throw new Error('blocked'); } };
  }));
  await state(page, 'fallback');
  await backEnd(server, app).trigger('by-sse', 'said', {});
  await row(page, 'by-sse');
});

story('pusher-js in a page of another origin gets events', async (t) => {
  const library = readFileSync(new URL('../../dashboard/assets/vendor/pusher.min.js', import.meta.url));
  const options = { cluster: 'local', wsHost: '127.0.0.1', wsPort: server.port, forceTLS: false, enabledTransports: ['ws'] };
  const script = `const p = new Pusher(${JSON.stringify(app.key)}, ${JSON.stringify(options)});
    const c = p.subscribe('news'); c.bind('pusher:subscription_succeeded', () => { document.title = 'subscribed'; });
    c.bind('said', (data) => { document.title = data.text; });`;
  const site = http.createServer((request, response) => {
    const js = request.url === '/pusher.js';
    response.writeHead(200, { 'Content-Type': js ? 'text/javascript' : 'text/html' });
    response.end(js ? library : `<!doctype html><title>-</title><script src="/pusher.js"></script><script>${script}</script>`);
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  t.after(() => site.close());
  const page = await (await browser.newContext()).newPage();
  t.after(() => page.context().close());
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  await page.waitForFunction(() => document.title === 'subscribed');
  await backEnd(server, app).trigger('news', 'said', { text: 'arrived' });
  await page.waitForFunction(() => document.title === 'arrived');
});
