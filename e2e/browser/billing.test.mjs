// Billing as a person meets it: the free plan is full, a larger one is bought at a Stripe-like server, the limit is lifted for
// newcomers while sockets that were open stay, then the card fails, and in the end the plan is gone.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { startServer, story, until } from '../sdk/harness.mjs';
import { RawSocket } from '../sdk/rawsocket.mjs';
import { launch, newApp, signUp, visitor } from './chromium.mjs';

const SANDBOX_CONNECTIONS = 100;
const LIFTED_WITHIN_MS = 3_000;

/** The Stripe-like server of `server/examples/stripe-like.rs`, ended with the file's stories. */
async function startStripe() {
  const program = process.env.FANFARE_STRIPE_BIN;
  if (!program) throw new Error('FANFARE_STRIPE_BIN names the Stripe-like server; `make e2e` sets it');
  const mortal = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : [];
  const [command, ...args] = [...mortal, program];
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  const url = await until(() => /^http:\S+$/m.exec(output)?.[0], 'the Stripe-like server to start');
  const call = async (method, name, body) => {
    const answer = await fetch(`${url}/_test/${name}`, { method, body: body && JSON.stringify(body), headers: { 'content-type': 'application/json' } });
    assert.ok(answer.ok, `${name}: ${answer.status}`);
    return answer.status === 204 ? undefined : answer.json();
  };
  return { url, all: (kind) => call('GET', kind), act: (verb, body = {}) => call('POST', verb, body) };
}

const stripe = await startStripe();
const env = {
  FANFARE_STRIPE_SECRET_KEY: 'sk_test_fanfare',
  FANFARE_STRIPE_WEBHOOK_SECRET: 'whsec_fanfare',
  FANFARE_STRIPE_PRICES: 'startup=price_startup,pro=price_pro,business=price_business',
  FANFARE_STRIPE_OVERAGE: 'fanfare_messages=price_overage',
  FANFARE_STRIPE_API_BASE: stripe.url,
  FANFARE_LOG: 'debug',
};
const server = await startServer({ env });
// A second process over the same database: nobody pays or presses anything there.
const otherNode = await startServer({ env, dataDir: server.dataDir });
after(async () => {
  await otherNode.stop();
  await server.stop();
});
await stripe.act('endpoint', { url: `${server.url}/stripe/webhook` });
const browser = await launch();

/** Connects; whether it was let in. */
async function connects(t, app) {
  const raw = await RawSocket.open(t, server, `/app/${app.key}?protocol=7&client=js&version=8.6.0&flash=false`);
  const first = await until(() => raw.messages[0], 'the first message');
  return { raw, refused: first.event === 'pusher:error' ? first.data.code : undefined };
}

story('the limit is hit, a plan is bought, the limit is lifted at once, the card fails, and the plan goes', async (t) => {
  const page = await visitor(t, browser);
  await signUp(page, server, 'ana@example.test');
  const app = await newApp(page, server, 'shop');
  await server.serves(app);
  assert.equal((await otherNode.rest(app, 'GET', `/apps/${app.id}/channels`)).headers.get('x-quota-limit'), '200000');
  const open = [];
  for (let n = 0; n < SANDBOX_CONNECTIONS; n += 1) open.push(await connects(t, app));
  assert.deepEqual(open.filter(({ refused }) => refused), []);
  assert.equal((await connects(t, app)).refused, 4004);

  await page.goto(`${server.url}/dash/apps/${app.id}`);
  assert.match(await page.locator('.strip-note.bad').innerText(), /All 100 connections are in use/);
  await page.locator('.strip-note').getByRole('link', { name: 'Upgrade' }).click();
  await page.waitForURL(/\/dash\/billing\?from=/);
  // Counts are written every second.
  await until(async () => {
    await page.reload();
    return /your peak 100 fits/.test(await page.locator('[data-test=plan-sandbox]').innerText());
  }, 'the peak on the plan');
  await page.getByRole('button', { name: 'Choose Startup' }).click();
  await page.waitForURL(`${stripe.url}/pay/**`);
  const paid = Date.now();
  await page.click('[data-test=pay]');
  await page.waitForURL(`${server.url}/dash/apps/${app.id}`);
  const newcomer = await until(async () => {
    const one = await connects(t, app);
    return one.refused ? undefined : one;
  }, 'a newcomer to be let in', LIFTED_WITHIN_MS);
  assert.ok(Date.now() - paid < LIFTED_WITHIN_MS, `${Date.now() - paid} ms after the payment`);
  const daily = async () => Number((await otherNode.rest(app, 'GET', `/apps/${app.id}/channels`)).headers.get('x-quota-limit'));
  await until(async () => (await daily()) === 1_000_000, 'the other node to lift the limit', LIFTED_WITHIN_MS - (Date.now() - paid));
  t.diagnostic(`both nodes had lifted the limit ${Date.now() - paid} ms after the payment`);
  await page.reload();
  assert.match(await page.locator('.strip').innerText(), /101 \/ 500 connections/);

  // All of those that were open hear the next event.
  const all = [...open.map(({ raw }) => raw), newcomer.raw];
  for (const raw of all) raw.send({ event: 'pusher:subscribe', data: { channel: 'orders' } });
  const has = (raw, event) => raw.messages.some((message) => message.event === event);
  await until(() => all.every((raw) => has(raw, 'pusher_internal:subscription_succeeded')), 'all subscriptions');
  await server.publish(app, 'orders', 'shipped', { id: 1 });
  await until(() => all.every((raw) => has(raw, 'shipped')), 'the event on every socket');

  const [{ id: customer }] = await stripe.all('customers');
  await page.goto(`${server.url}/dash/billing`);
  assert.equal(await page.getAttribute('[data-test=plan]', 'data-plan'), 'startup');
  assert.equal(await page.locator('[data-test=invoice]').count(), 1);

  // More than the plan's day, up to an amount.
  await page.fill('#overage-amount', '12.50');
  await page.click('[data-test=overage-save]');
  assert.match(await page.innerText('[data-test=overage-spent]'), /^0 messages, EUR 0\.00 of EUR 12\.50$/);
  await until(async () => (await daily()) === 2_250_000, 'the other node to lift the day', LIFTED_WITHIN_MS);
  await page.click('[data-test=overage-stop]');
  await until(async () => (await daily()) === 1_000_000, 'the other node to stop at the plan again', LIFTED_WITHIN_MS);
  await stripe.act('card', { customer, works: false });
  await stripe.act('renew', { customer });
  await until(async () => {
    await page.goto(`${server.url}/dash`);
    return page.locator('[data-test=billing-notice]').count();
  }, 'the notice of the missing payment');
  assert.match(await page.innerText('[data-test=billing-notice]'), /^We couldn't charge visa •••• 4242\. Your plan stays until \d+ \w+\. Update card$/);
  assert.equal((await connects(t, app)).refused, undefined, 'the plan is kept for the grace');

  const [{ id: subscription }] = await stripe.all('subscriptions');
  await stripe.act('end', { subscription });
  await until(async () => (await connects(t, app)).refused === 4004, 'newcomers to be turned away');
  await page.goto(`${server.url}/dash`);
  assert.match(await page.innerText('[data-test=billing-notice]'), /A payment was missing, so this workspace is on Sandbox now/);
  await server.publish(app, 'orders', 'still-here', {});
  await until(() => all.every((raw) => has(raw, 'still-here')), 'the event on every socket after the plan went');
  assert.deepEqual(page.complaints, []);
}, { deadlineMs: 120_000 });

story('with a lost event and no return the payment is found all the same; a plan is cancelled and taken up again', async (t) => {
  const page = await visitor(t, browser);
  await signUp(page, server, 'ben@example.test');
  await page.goto(`${server.url}/dash`);
  await page.click('[aria-label="Your account"]');
  await page.getByRole('link', { name: 'Billing', exact: true }).click();
  await stripe.act('posting', { how: 'lost' });
  await page.getByRole('button', { name: 'Choose Pro' }).click();
  await page.waitForURL(`${stripe.url}/pay/**`);
  const session = page.url().split('/').at(-1);
  assert.equal((await fetch(`${stripe.url}/press/${session}/pay`, { method: 'POST', redirect: 'manual' })).status, 303);
  await stripe.act('posting', { how: 'at once' });
  const plan = async () => {
    await page.goto(`${server.url}/dash/billing`);
    return page.getAttribute('[data-test=plan]', 'data-plan');
  };
  assert.equal(await plan(), 'sandbox');
  await until(async () => (await plan()) === 'pro', 'the payment to be found', 40_000);

  await page.locator('[data-test=plan-sandbox]').getByRole('link', { name: 'Cancel the plan' }).click();
  assert.match(await page.innerText('[data-test=refused]'), /Nothing: your use fits\./);
  await page.getByRole('button', { name: 'Cancel Pro' }).click();
  await page.waitForURL(/done=canceled/);
  await page.click('[data-test=resume]');
  await page.waitForURL(/done=resumed/);
  await page.click('[data-test=portal]');
  await page.waitForURL(`${stripe.url}/portal/**`);
  await page.click('[data-test=leave]');
  await page.waitForURL(`${server.url}/dash/billing`);
  assert.deepEqual(page.complaints, []);
  const logs = server.output + otherNode.output;
  assert.ok(logs.includes('the billing of an account changed'), 'the log is what is looked at');
  for (const secret of [env.FANFARE_STRIPE_SECRET_KEY, env.FANFARE_STRIPE_WEBHOOK_SECRET]) assert.ok(!logs.includes(secret), 'a secret is in the log');
}, { deadlineMs: 120_000 });
