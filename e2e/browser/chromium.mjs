// Chromium for stories: one browser a file, one context a visitor, and everything that the browser complains about (script
// errors, failed loads, violations of the content security policy) kept for the story to look at.
import { after } from 'node:test';
import { chromium } from 'playwright-core';
import { until } from '../sdk/harness.mjs';

/** Debian's Chromium; another one by name. */
export const EXECUTABLE = process.env.FANFARE_CHROMIUM ?? '/usr/bin/chromium';
/** Runs as root, and asks nothing of the world outside. */
export const QUIET = ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

export const PASSWORD = 'quiet-harbour-51-lamp';

/** Starts a browser that is closed when the file's stories are told. */
export async function launch() {
  const browser = await chromium.launch({ executablePath: EXECUTABLE, args: QUIET });
  after(() => browser.close());
  return browser;
}

/** A fresh visitor's page. `page.complaints` holds what went wrong in it so far. */
export async function visitor(t, browser, { cookies, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  t.after(() => context.close());
  if (cookies) await context.addCookies(cookies);
  return complaining(await context.newPage());
}

export async function complaining(page) {
  page.complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error') page.complaints.push(`${message.text()} (${page.url()})`);
  });
  page.on('pageerror', (error) => page.complaints.push(`${error.message} (${page.url()})`));
  // The policy's violations are console errors too, but this names the directive.
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy: ${event.violatedDirective} forbids ${event.blockedURI} ${event.sample}`);
    });
  });
  return page;
}

export async function signUp(page, server, email) {
  await page.goto(`${server.url}/signup`);
  await page.fill('[name=email]', email);
  await page.fill('[name=password]', PASSWORD);
  await page.press('[name=password]', 'Enter');
  await page.waitForURL(/\/dash\/apps\/new/);
}

export async function signIn(page, server, { email, password }) {
  await page.goto(`${server.url}/login`);
  await page.fill('[name=email]', email);
  await page.fill('[name=password]', password);
  await page.press('[name=password]', 'Enter');
  await page.waitForURL(/\/dash/);
}

/** Makes an app through the form, from the page *New app*; ends on *Getting started* and gives the app. */
export async function newApp(page, server, name) {
  await page.goto(`${server.url}/dash/apps/new`);
  await page.fill('[name=name]', name);
  await page.press('[name=name]', 'Enter');
  await page.waitForURL(/\/dash\/apps\/\d+\/start/);
  const id = /apps\/(\d+)\//.exec(page.url())[1];
  await page.goto(`${server.url}/dash/apps/${id}/keys`);
  const text = async (hook) => (await page.textContent(`[data-test=${hook}]`)).trim();
  return { id, key: await text('app-key'), secret: await text('app-secret') };
}

/** The cookies of a `Visitor` (sdk/visitor.mjs), so that a browser goes on as the same person. */
export function cookiesOf(person, server) {
  return [...person.cookies].map(([name, value]) => ({ name, value, url: server.url }));
}

export async function openConsole(page, server, app, { state = 'live' } = {}) {
  await page.goto(`${server.url}/dash/apps/${app.id}/console`);
  await status(page, state);
  return page;
}

export const status = (page, state, timeout = 15_000) => page.waitForSelector(`[data-test=console-status][data-state=${state}]`, { timeout });

/** The rows on screen that match, newest first. */
export const rows = (page, { kind, channel, event } = {}) =>
  page.locator(`[data-test=console-row]${kind ? `[data-kind=${kind}]` : ''}${channel ? `[data-channel="${channel}"]` : ''}${event ? `[data-event="${event}"]` : ''}`);

/** Waits for a row; the sentence of a failure tells which. */
export async function row(page, wanted, deadlineMs = 5_000) {
  const found = rows(page, wanted).first();
  await until(() => found.count(), `a console row ${JSON.stringify(wanted)}`, deadlineMs);
  return found;
}
