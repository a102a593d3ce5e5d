// *Getting started* with a developer's own client and server: the three lights, the celebration, and the doctor's words for
// what goes wrong in the first minute, each provoked by an official package.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import Pusher from '../sdk/packages.mjs';
import { backEnd, client, clientOptions, connected, subscribed } from '../sdk/clients.mjs';
import { startServer, story, until } from '../sdk/harness.mjs';
import { RawSocket } from '../sdk/rawsocket.mjs';
import { launch, newApp, rows, signUp, status, visitor } from './chromium.mjs';

/** A refused client must find its explanation on the page this soon. */
const EXPLAINED_WITHIN_MS = 8_000;

const server = await startServer();
after(() => server.stop());
const browser = await launch();
let people = 0;

/** A new person with a new app, on *Getting started* and live. */
async function beginner(t) {
  const page = await visitor(t, browser);
  people += 1;
  await signUp(page, server, `beginner${people}@example.test`);
  const app = await newApp(page, server, 'Shop');
  await server.serves(app);
  await page.goto(`${server.url}/dash/apps/${app.id}/start`);
  await status(page, 'live');
  return { page, app };
}

const heading = (page) => page.locator('#start-heading').innerText();
const light = (page, name) => page.getAttribute(`[data-test=light-${name}]`, 'data-state');

story('the page waits, and one click on Simulate it ends in "It works" with measured milliseconds and its rows', async (t) => {
  const { page } = await beginner(t);
  assert.match(await heading(page), /^Waiting for your first connection/);
  const clicked = Date.now();
  await page.click('[data-test=simulate]');
  await until(async () => /^It works/.test(await heading(page)), async () => `It works, seen ${await heading(page)}`);
  const took = Date.now() - clicked;
  const [, claimed] = /in ([\d,.]+) ms/.exec(await heading(page));
  t.diagnostic(`"It works" ${took} ms after the click; the page measured ${claimed} ms for the event`);
  assert.ok(Number(claimed.replace(/\D/g, '')) <= took, 'what the page claims is no more than what passed');
  assert.ok(took < 5_000, `${took} ms`);
  for (const kind of ['connection', 'subscribed', 'occupied', 'api_message']) await until(() => rows(page, { kind }).count(), `the row ${kind} in the small console`);
  for (const name of ['connected', 'subscribed', 'published']) assert.equal(await light(page, name), 'off', `a simulation is not the reader's own: ${name}`);
  assert.deepEqual(page.complaints, []);
});

story('the lights go on one by one with the reader’s own client and server', async (t) => {
  const { page, app } = await beginner(t);
  const pusher = client(t, server, app);
  await connected(pusher);
  await until(async () => (await light(page, 'connected')) === 'on', 'the light Connected');
  await until(async () => /Connected: .*pusher-js|Connected: js/i.test(await heading(page)), async () => `the heading, seen ${await heading(page)}`);
  assert.equal(await light(page, 'subscribed'), 'off');
  await subscribed(pusher, 'orders');
  await until(async () => (await light(page, 'subscribed')) === 'on', 'the light Subscribed');
  assert.equal(await light(page, 'published'), 'off');
  await backEnd(server, app).trigger('orders', 'shipped', {});
  await until(async () => (await light(page, 'published')) === 'on', 'the light Published');
  assert.match(await page.innerText('[data-test=light-published]'), /pusher-http-node/);
  assert.deepEqual(page.complaints, []);
});

story('snippets hold this app’s values, and the copy button gives the whole block', async (t) => {
  const { page, app } = await beginner(t);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url });
  const block = page.locator('[data-test=env-block]');
  const text = await block.textContent();
  for (const line of [`REVERB_APP_ID=${app.id}`, `REVERB_APP_KEY=${app.key}`, `REVERB_PORT=${server.port}`, 'REVERB_SCHEME=http']) assert.ok(text.includes(line), `${line} in\n${text}`);
  await page.locator('.code', { has: block }).getByRole('button', { name: /copy/i }).first().click();
  const copied = await until(() => page.evaluate(() => navigator.clipboard.readText()), 'the clipboard to fill');
  assert.ok(copied.includes(`REVERB_APP_SECRET=${app.secret}`), 'the secret is copied although it is covered on screen');
});

async function doctorSays(page, pattern) {
  const box = page.locator('[data-test=doctor]');
  await until(async () => (await box.isVisible()) && pattern.test(await box.innerText()), async () => `the doctor to say ${pattern}; it says ${(await box.isVisible()) ? await box.innerText() : 'nothing'}`, EXPLAINED_WITHIN_MS);
}

story('the doctor: the app id was used where the key belongs', async (t) => {
  const { page, app } = await beginner(t);
  const pusher = new Pusher(app.id, clientOptions(server));
  t.after(() => pusher.disconnect());
  await doctorSays(page, new RegExp(`app ID[\\s\\S]*where the key belongs[\\s\\S]*${app.key}`, 'i'));
});

story('the doctor: a key that no app has, tried from the reader’s own address', async (t) => {
  const { page } = await beginner(t);
  const pusher = new Pusher('abcdef0123456789abcd', clientOptions(server));
  t.after(() => pusher.disconnect());
  await doctorSays(page, /abcdef01[\s\S]*No app here has that key/i);
});

story('the doctor: a signature that does not match, with the part that differs', async (t) => {
  const { page, app } = await beginner(t);
  await backEnd(server, { ...app, secret: 'another-secret' }).trigger('orders', 'shipped', {}).catch(() => {});
  await doctorSays(page, /signature/i);
});

story('the doctor: a clock that is off', async (t) => {
  const { page, app } = await beginner(t);
  const answer = await server.rest(app, 'GET', `/apps/${app.id}/channels`, { timestamp: Math.floor(Date.now() / 1000) - 700 });
  assert.equal(answer.status, 401);
  await doctorSays(page, /clock/i);
  await doctorSays(page, /11 min 40 s|700 s/);
});

story('the doctor: published to a channel that nobody is on, while its private twin has subscribers', async (t) => {
  const { page, app } = await beginner(t);
  await subscribed(client(t, server, app), 'private-orders');
  await backEnd(server, app).trigger('orders', 'shipped', {});
  await doctorSays(page, /private-orders/);
});

story('the doctor: an origin that is not on the list', async (t) => {
  const { page, app } = await beginner(t);
  await page.goto(`${server.url}/dash/apps/${app.id}/settings`);
  await page.fill('[name=origins]', 'https://shop.test');
  await page.getByRole('button', { name: 'Save origins' }).click();
  await page.waitForLoadState();
  await page.goto(`${server.url}/dash/apps/${app.id}/start`);
  await status(page, 'live');
  await until(async () => {
    const refused = await RawSocket.open(t, server, `/app/${app.key}?protocol=7&client=js&version=8.6.0`, { headers: { Origin: 'http://localhost:5173' } });
    await until(() => refused.frames.length > 0, 'an answer');
    return !refused.messages.some((message) => message.event === 'pusher:connection_established');
  }, 'the node to know the list');
  await doctorSays(page, /localhost:5173/);
});
