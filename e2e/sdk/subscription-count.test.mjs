// subscription_count: who is told how many subscribers a channel has, and how often.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';

/** Above this many subscribers the number is told at most once in the interval (spec §1.15). */
const AT_ONCE_MAX = 100;
const INTERVAL_MS = 5_000;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'counted', switches: { subscriptionCounts: true } });
const quiet = await server.app({ name: 'not counted' });

const connect = (t, of = app) => RawSocket.connect(t, server, of);
const counts = (raw, channel) => raw.all('pusher_internal:subscription_count', channel).map(({ data }) => JSON.parse(data).subscription_count);

for (const kind of ['', 'private-', 'private-encrypted-', 'cache-', 'private-cache-', 'private-encrypted-cache-']) {
  story(`${kind || 'public '}channels tell all their subscribers each change of their number`, async (t) => {
    const channel = `${kind}crowd`;
    const [first, second] = [await connect(t), await connect(t)];
    await first.join(app, channel);
    await second.join(app, channel);
    await until(() => counts(first, channel).length === 2, () => `two counts; got ${first.describe()}`);
    second.send({ event: 'pusher:unsubscribe', data: { channel } });
    await until(() => counts(first, channel).length === 3, () => `the third count; got ${first.describe()}`);
    assert.deepEqual(counts(first, channel), [1, 2, 1]);
    await second.alive();
    assert.deepEqual(counts(second, channel), [2]);
  });
}

story('it counts connections and not users, and nothing is told on presence and user channels or while the switch is off', async (t) => {
  const [first, second, other] = [await connect(t), await connect(t), await connect(t, quiet)];
  for (const raw of [first, second]) {
    await raw.signedIn(app, { id: 'ana' });
    for (const channel of ['presence-crowd', 'presence-cache-crowd']) await raw.join(app, channel, JSON.stringify({ user_id: 'ana' }));
    await raw.subscribe('#server-to-user-ana');
    await raw.subscribe('tabs');
  }
  await other.subscribe('tabs');
  for (const raw of [second, first, other]) await raw.alive();
  assert.deepEqual(counts(first, 'tabs'), [1, 2]);
  assert.equal(first.all('pusher_internal:subscription_count').length, 2);
  assert.deepEqual(counts(other), []);
});

story('above a hundred subscribers the number is told at most every five seconds, and the last one is told', async (t) => {
  const witness = await connect(t);
  await witness.subscribe('huge');
  const many = [];
  const join = async (n) => {
    const joining = [...Array(n).keys()].map(async () => {
      const raw = await connect(t);
      await raw.subscribe('huge');
      return raw;
    });
    many.push(...(await Promise.all(joining)));
  };
  await join(AT_ONCE_MAX - 1);
  await until(() => counts(witness, 'huge').at(-1) === AT_ONCE_MAX, () => `the hundredth; got ${counts(witness, 'huge')}`);
  assert.deepEqual(counts(witness, 'huge'), [...Array(AT_ONCE_MAX).keys()].map((n) => n + 1), 'each one up to a hundred');

  const before = counts(witness, 'huge').length;
  const started = Date.now();
  await join(20);
  many.pop().destroy();
  await until(() => counts(witness, 'huge').at(-1) === AT_ONCE_MAX + 19, () => `the last number; got ${counts(witness, 'huge').slice(before)}`, 3 * INTERVAL_MS);
  const told = counts(witness, 'huge').length - before;
  const intervals = Math.floor((Date.now() - started) / INTERVAL_MS) + 1;
  assert.ok(told <= intervals, `${told} frames in ${Date.now() - started} ms`);
  await witness.alive();
});
