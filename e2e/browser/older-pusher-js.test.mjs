// Pages with the pusher-js of each major version, in real Chromium, while the server restarts: nobody reloads them, and
// they must be back by themselves. What those versions do otherwise is in ../sdk/older-pusher-js.test.mjs.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { customer } from '../sdk/customer.mjs';
import { startServer, story, until } from '../sdk/harness.mjs';
import { launch } from './chromium.mjs';
import { IN_PAGE, guest, siteFiles } from './guests.mjs';

/** An attempt that met the closed port is given up after 15 s only (spec §1.22), whatever the server does. */
const BACK_WITHIN_MS = 20_000;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'older pages' });
const browser = await launch();

story('pages with pusher-js 4 to 8 come back after the server restarts, with their subscriptions', async (t) => {
  const pages = [];
  for (const name of ['pusher-js-4', 'pusher-js-5', 'pusher-js-6', 'pusher-js-7', 'pusher-js']) {
    const site = await customer(t, server, app, { files: siteFiles(IN_PAGE, `${name}/dist/web/pusher.min.js`) });
    pages.push({ name, sdk: site.sdk, run: await guest(t, browser, { key: app.key, host: server.host, port: server.port, origin: site.origin, user: name }) });
  }
  const events = async ({ run }, where, event) => (await run('seen')).filter((row) => row.where === where && row.event === event);
  for (const page of pages) {
    for (const channel of ['private-after', 'presence-after']) {
      await page.run('subscribe', channel);
      await until(async () => (await events(page, channel, 'pusher:subscription_succeeded')).length === 1, `${page.name} to be on ${channel}`);
    }
    page.before = (await page.run('state')).socketId;
  }
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  await server.start();
  for (const page of pages) {
    await until(async () => {
      const { state, socketId } = await page.run('state');
      return state === 'connected' && socketId !== page.before;
    }, async () => `${page.name} to be back, seen ${JSON.stringify((await page.run('seen')).slice(-6))}`, BACK_WITHIN_MS);
    for (const channel of ['private-after', 'presence-after']) await until(async () => (await events(page, channel, 'pusher:subscription_succeeded')).length === 2, `${page.name} to be on ${channel} again`);
  }
  await pages[0].sdk.trigger('private-after', 'after', { n: 1 });
  for (const page of pages) {
    await until(async () => (await events(page, 'private-after', 'after')).length === 1, `the event for ${page.name}`);
    await until(async () => (await page.run('members', 'presence-after')).count === pages.length, `${page.name} to see all members again`);
  }
});
