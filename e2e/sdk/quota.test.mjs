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

const server = await startServer();
after(() => server.stop());

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
  assert.match(refused.body, /200[,. ]?000|limit|quota/i);
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
