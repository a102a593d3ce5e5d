// The plan's messages a day, reached through the public doors alone: 40 sockets on 100 channels make one publish cost
// 4,001 messages, so that fifty calls use up the 200,000 of the sandbox plan.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { backEnd } from './clients.mjs';
import { startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { ownerOf } from './visitor.mjs';

const SANDBOX_MESSAGES_A_DAY = 200_000;
const SOCKETS = 40;
const CHANNELS = 100;

const STATIC = { id: '4711', key: 'quota-static-key', secret: 'quota-static-secret' };

const server = await startServer({ env: { FANFARE_APP_ID: STATIC.id, FANFARE_APP_KEY: STATIC.key, FANFARE_APP_SECRET: STATIC.secret } });
after(() => server.stop());

const HEADERS = { remaining: 'x-quota-remaining', limit: 'x-quota-limit', reset: 'x-quota-reset' };

/** What an answer says of the day's messages; `null` where it says nothing. */
const quotaOf = ({ headers }) => Object.fromEntries(Object.entries(HEADERS).map(([name, header]) => [name, headers.has(header) ? Number(headers.get(header)) : null]));

const read = (app) => server.rest(app, 'GET', `/apps/${app.id}/channels`);

story('each answer tells the messages left of the day: one less for a publish, one for each delivery, one for a read', async (t) => {
  const app = await server.app({ name: 'left', plan: 'sandbox' });
  const sockets = [];
  for (let n = 0; n < 3; n += 1) {
    const raw = await RawSocket.connect(t, server, app);
    raw.send({ event: 'pusher:subscribe', data: { channel: 'told' } });
    sockets.push(raw);
  }
  for (const raw of sockets) await until(() => raw.frames.length >= 2, 'the subscription');

  const first = quotaOf(await read(app));
  assert.equal(first.limit, SANDBOX_MESSAGES_A_DAY);
  assert.ok(first.remaining > 0 && first.remaining < SANDBOX_MESSAGES_A_DAY, `${first.remaining} left`);
  assert.equal(first.reset % 86_400, 0, 'midnight in UTC');
  assert.ok(first.reset > Date.now() / 1_000 - 60 && first.reset <= Date.now() / 1_000 + 86_400);

  let left = first.remaining;
  const costs = async (messages, what, call) => {
    const answer = await call();
    left -= messages;
    assert.equal(quotaOf(answer).remaining, left, `${what}: ${answer.status} ${answer.text}`);
    return answer.status;
  };
  const post = (path, body) => server.rest(app, 'POST', `/apps/${app.id}/${path}`, { body });
  const event = (channel) => ({ name: 'e', channel, data: 'x' });
  assert.equal(await costs(1, 'nobody hears it', () => post('events', event('empty'))), 200);
  assert.equal(await costs(4, 'three hear it', () => post('events', event('told'))), 200);
  assert.equal(await costs(4, 'one of two channels is heard', () => post('events', { name: 'e', channels: ['told', 'empty'], data: 'x' })), 200);
  assert.equal(await costs(9, 'a batch', () => post('batch_events', { batch: [event('told'), event('told'), event('empty')] })), 200);
  assert.equal(await costs(1, 'a read', () => read(app)), 200);
  assert.equal(await costs(1, 'ending connections', () => post('users/nobody/terminate_connections', {})), 200);
  assert.equal(await costs(0, 'a refusal', () => post('events', event('no such: name'))), 400);
  assert.equal(await costs(0, 'a refused read', () => server.rest(app, 'GET', `/apps/${app.id}/channels/told/users`)), 400);
});

story('an app without a limit has no quota headers, and who can not sign is told nothing', async () => {
  const none = { remaining: null, limit: null, reset: null };
  const unlimited = await server.app({ name: 'unlimited', plan: 'unlimited' });
  for (const app of [STATIC, unlimited]) {
    assert.deepEqual(quotaOf(await read(app)), none);
    const published = await server.rest(app, 'POST', `/apps/${app.id}/events`, { body: { name: 'e', channel: 'c', data: 'x' } });
    assert.equal(published.status, 200);
    assert.deepEqual(quotaOf(published), none);
  }
  const app = await server.app({ name: 'signed', plan: 'sandbox' });
  const forged = await server.rest({ ...app, secret: 'wrong' }, 'GET', `/apps/${app.id}/channels`);
  assert.equal(forged.status, 401);
  assert.deepEqual(quotaOf(forged), none);
});

story('more events in a second than the plan allows are refused with 429, batches whole, and the next second goes on', async (t) => {
  const app = await server.app({ name: 'rate', plan: 'sandbox' });
  const raw = await RawSocket.connect(t, server, app);
  raw.send({ event: 'pusher:subscribe', data: { channel: 'heard' } });
  await until(() => raw.frames.length >= 2, 'the subscription');
  const before = raw.frames.length;
  const batch = Array(10).fill({ name: 'e', channel: 'heard', data: 'x' });
  const call = () => server.rest(app, 'POST', `/apps/${app.id}/batch_events`, { body: { batch } });
  let accepted = 0;
  const refused = [];
  for (const started = Date.now(); refused.length === 0 && Date.now() - started < 30_000; ) {
    for (const answer of await Promise.all(Array.from({ length: 200 }, call))) {
      assert.ok([200, 429].includes(answer.status), answer.text);
      if (answer.status === 200) accepted += 1;
      else refused.push(answer);
    }
  }
  assert.ok(refused.length > 0, `${accepted} batches were accepted and none refused`);
  for (const answer of refused) {
    assert.equal(answer.headers.get('retry-after'), '1');
    assert.match(answer.text, /^Over rate: \d+ events came in this second and 10 more with this call, at most 1000 a second are taken/);
    assert.ok(quotaOf(answer).remaining > 0);
  }
  assert.ok(accepted >= 100, `${accepted} batches accepted`);
  await until(async () => (await call()).status === 200 && ++accepted, 'the next second');
  await until(() => raw.frames.length - before >= 10 * accepted, () => `${raw.frames.length - before} of ${10 * accepted} events`);
  assert.equal(raw.frames.length - before, 10 * accepted, 'nothing of a refused batch is delivered');
});

story('the daily message limit refuses publishes with 403, tells when it resets, and outlives a restart', async (t) => {
  const app = await server.app({ name: 'quota', plan: 'sandbox' });
  const names = [...Array(CHANNELS).keys()].map((n) => `quota-${n}`);
  const sockets = [];
  for (let n = 0; n < SOCKETS; n += 1) {
    const raw = await RawSocket.connect(t, server, app);
    for (const channel of names) raw.send({ event: 'pusher:subscribe', data: { channel } });
    sockets.push(raw);
  }
  const received = (raw) => raw.frames.length;
  for (const raw of sockets) await until(() => received(raw) >= CHANNELS + 1, 'all subscriptions', 15_000);

  const sdk = backEnd(server, app);
  const each = 1 + SOCKETS * CHANNELS;
  let published = 0;
  let refused;
  while (!refused && published * each < SANDBOX_MESSAGES_A_DAY + 4 * each) {
    try {
      await (await sdk.trigger(names, 'tick', 'x')).text();
      published += 1;
      // Reading keeps pace, so that no socket is ended as a slow reader.
      const due = CHANNELS + 1 + published * CHANNELS;
      for (const raw of sockets) await until(() => received(raw) >= due, () => `delivery ${published}: ${received(raw)} of ${due}`, 15_000);
    } catch (error) {
      if (error.status === undefined) throw error;
      refused = error;
    }
  }
  assert.ok(refused, `nothing was refused after ${published * each} messages`);
  assert.equal(refused.status, 403);
  const [, used, resetsMs] = refused.body.match(/^Over quota: (\d+) of 200000 messages of today .* 00:00 UTC \((\d+) ms/) ?? assert.fail(refused.body);
  assert.ok(Number(used) >= SANDBOX_MESSAGES_A_DAY);
  assert.equal(Number(resetsMs) % 86_400_000, 0);
  const raw = await server.rest(app, 'POST', `/apps/${app.id}/events`, { body: { name: 'tick', channel: 'quota-0', data: 'x' } });
  assert.equal(raw.status, 403);
  assert.deepEqual(quotaOf(raw), { remaining: 0, limit: SANDBOX_MESSAGES_A_DAY, reset: Number(resetsMs) / 1_000 });
  assert.equal(quotaOf(await read(app)).remaining, 0, 'reads go on, and nothing is left');
  assert.ok(published * each >= SANDBOX_MESSAGES_A_DAY - each, `refused after only ${published * each} messages`);
  // What was admitted is delivered whole, so the last publish may pass the limit; the next one is not admitted.
  assert.ok(published * each < SANDBOX_MESSAGES_A_DAY + 2 * each, `${published * each} messages were admitted`);

  const another = await server.app({ name: 'own meter', plan: 'sandbox' });
  assert.equal((await backEnd(server, another).trigger('free', 'said', {})).status, 200, 'an app with its own plan has its own meter');

  const before = await (await ownerOf(server)).stat(app);
  assert.ok(before.messages >= SANDBOX_MESSAGES_A_DAY, `${before.messages} messages shown`);
  await server.stop();
  await server.start();
  await server.serves(another);
  await assert.rejects(sdk.trigger('quota-0', 'tick', 'x'), (error) => error.status === 403);
  assert.ok((await (await ownerOf(server)).stat(app)).messages >= before.messages);
}, { deadlineMs: 120_000 });
