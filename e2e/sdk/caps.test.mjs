// An app's own caps on connections and on messages a day: set on the settings page while its sockets are open. They hold within a
// second, disconnect nobody, leave other apps of the organisation alone, and are taken away again.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { APP_SERVED_WITHIN_MS, channelToken, OWNER, startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { goesTo, Visitor } from './visitor.mjs';

const server = await startServer();
after(() => server.stop());

const PEOPLE = { email: 'ana@shop.test', password: OWNER.password };
const ana = await new Visitor(server.url).signUp(PEOPLE);
const made = (name, clientEvents = false) => server.app({ name, owner: PEOPLE.email, clientEvents });

const cap = async (app, which, value) => {
  const page = `/dash/apps/${app.id}/settings`;
  const answer = await ana.submit(await ana.page(page), goesTo(new RegExp(`/settings/${which}$`)), { cap: value });
  assert.equal(answer.status, 303, answer.text);
};
const publish = (app, channel = 'c') => server.rest(app, 'POST', `/apps/${app.id}/events`, { body: { name: 'e', channel, data: 'x' } });
const quotaOf = ({ headers }) => ['limit', 'remaining', 'reset'].map((name) => Number(headers.get(`x-quota-${name}`)));
const limitOf = async (app) => quotaOf(await server.rest(app, 'GET', `/apps/${app.id}/channels`))[0];

story('a cap on connections holds within a second for newcomers, disconnects nobody, and ends as fast', async (t) => {
  const [app, other] = [await made('capped'), await made('other')];
  const [first, second] = [await RawSocket.connect(t, server, app), await RawSocket.connect(t, server, app)];
  await cap(app, 'cap', '1');
  const newcomer = async () => {
    const raw = await RawSocket.open(t, server, `/app/${app.key}?protocol=7&client=js&version=8.6.0`);
    return until(() => raw.messages[0], 'the first message');
  };
  const refused = await until(async () => { const told = await newcomer(); return told.event === 'pusher:error' && told.data; }, 'a newcomer to be refused', APP_SERVED_WITHIN_MS);
  assert.equal(refused.code, 4004);
  assert.match(refused.message, /\d of 1 connections in use/);
  await RawSocket.connect(t, server, other);
  await first.alive();
  await second.alive();
  await cap(app, 'cap', '');
  await until(async () => (await newcomer()).event === 'pusher:connection_established', 'a newcomer to be let in', APP_SERVED_WITHIN_MS);
  await first.alive();
});

story('a cap on messages refuses publishes and client events within a second, disconnects nobody, and names itself', async (t) => {
  const [app, other] = [await made('talks', true), await made('quiet')];
  const channel = 'private-room';
  const raw = await RawSocket.connect(t, server, app);
  const hears = await RawSocket.connect(t, server, app);
  for (const one of [raw, hears]) {
    one.send({ event: 'pusher:subscribe', data: { channel, auth: channelToken(app, one.socketId, channel) } });
    await one.message('pusher_internal:subscription_succeeded');
  }
  assert.equal((await publish(app)).status, 200);
  assert.equal(await limitOf(app), 200_000, 'the limit of the plan');

  const wanted = 60;
  await cap(app, 'messages-cap', String(wanted));
  const limit = await until(async () => { const now = await limitOf(app); return now !== 200_000 && now; }, 'the cap', APP_SERVED_WITHIN_MS);
  assert.equal(limit, wanted);
  let [, left, reset] = quotaOf(await publish(app));
  assert.ok(left > 20 && left < wanted && reset % 86_400 === 0, `${left} left`);

  // As many at once as there is no room for: exactly those that there is room for are taken.
  const answers = await Promise.all(Array.from({ length: left + 30 }, () => publish(app)));
  assert.equal(answers.filter(({ status }) => status === 200).length, left);
  const refused = answers.filter(({ status }) => status !== 200);
  assert.equal(refused.length, 30);
  for (const answer of refused) {
    assert.equal(answer.status, 403);
    assert.match(answer.text, new RegExp(`^Over quota: ${limit} of ${limit} messages of today are used, this app's own cap; publishing goes on at 00:00 UTC \\(${reset}000 ms since the epoch\\) or with a higher cap`));
    assert.deepEqual(quotaOf(answer), [limit, 0, reset]);
  }
  const before = hears.messages.length;
  raw.send({ event: 'client-typing', channel, data: {} });
  assert.match((await raw.message('pusher:error')).data.message, new RegExp(`^Client event refused: ${limit} of ${limit} messages of today are used, this app's own cap`));
  assert.equal(hears.messages.length, before);
  const row = await until(async () => (await ana.rows(app)).find(({ kind }) => kind === 'quota'), 'the row of the console');
  assert.equal(row.hint.id, 'own_message_cap');
  const stat = await ana.stat(app);
  assert.deepEqual([stat.messages_max, stat.own_cap], [limit, true]);
  assert.match((await ana.page(`/dash/apps/${app.id}`)).text, /data-test="own-cap-note"/);

  assert.equal((await publish(other)).status, 200, 'other apps of the organisation go on');
  assert.equal(await limitOf(other), 200_000);
  await raw.alive();
  await hears.alive();

  await cap(app, 'messages-cap', '');
  await until(async () => (await publish(app, channel)).status === 200, 'publishing to go on', APP_SERVED_WITHIN_MS);
  await until(() => hears.messages.some(({ event }) => event === 'e'), 'the event');
  assert.equal(await limitOf(app), 200_000);
  await raw.alive();
});

story('a cap below what is used already holds at once, outlives a restart, and is counted from storage', async (t) => {
  const app = await made('restarted');
  for (let n = 0; n < 5; n += 1) assert.equal((await publish(app)).status, 200);
  await cap(app, 'messages-cap', '3');
  const over = async () => (await publish(app)).status === 403;
  await until(over, 'the cap to hold', APP_SERVED_WITHIN_MS);
  await server.stop();
  await server.start();
  await server.serves(app);
  const answer = await publish(app);
  assert.equal(answer.status, 403, answer.text);
  assert.match(answer.text, /^Over quota: [5-9] of 3 messages of today are used, this app's own cap/);
}, { deadlineMs: 60_000 });
