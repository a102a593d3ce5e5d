// The limits of presence channels and what is allowed as a member. How members come and go is in pusher-js.test.mjs.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { backEnd } from './clients.mjs';
import { startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';

const MEMBERS_MAX = 100;
const USER_BYTES_MAX = 1_024;
const USER_ID_CHARS_MAX = 128;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'presence', plan: 'startup' }); // the plan without limits has none here either

const connect = (t) => RawSocket.connect(t, server, app);
const roster = (frame) => JSON.parse(frame.data).presence;

/** Asks to join and gives the refusal, once both of its frames are there. */
async function refused(raw, channel, member) {
  const before = raw.all('pusher:subscription_error').length;
  raw.join(app, channel, member).catch(() => {});
  const error = await raw.message('pusher:subscription_error', { nth: before + 1 });
  assert.equal(error.channel, channel);
  assert.ok(error.data.status >= 400 && error.data.status < 500, JSON.stringify(error));
  assert.equal(raw.all('pusher:error').at(-1).data.code, null);
  await raw.alive();
  return error.data;
}

story('the hundredth member is let in, the 101st is not, another connection of a member is, and a freed place can be taken', async (t) => {
  const members = await Promise.all(
    [...Array(MEMBERS_MAX).keys()].map(async (n) => {
      const raw = await connect(t);
      await raw.join(app, 'presence-full', JSON.stringify({ user_id: `m${n}` }));
      return raw;
    }),
  );
  const late = await connect(t);
  assert.match((await refused(late, 'presence-full', JSON.stringify({ user_id: 'late' }))).error, /100/);
  const tab = await connect(t);
  assert.equal(roster(await tab.join(app, 'presence-full', JSON.stringify({ user_id: 'm0' }))).count, MEMBERS_MAX);
  members[7].destroy();
  await tab.message('pusher_internal:member_removed');
  assert.equal(roster(await late.join(app, 'presence-full', JSON.stringify({ user_id: 'late' }))).count, MEMBERS_MAX);
  const { users } = await (await backEnd(server, app).get({ path: '/channels/presence-full/users' })).json();
  assert.equal(users.length, MEMBERS_MAX);
  assert.ok(users.some(({ id }) => id === 'late') && !users.some(({ id }) => id === 'm7'));
});

story('a member may have a kilobyte and an id of 128 characters, not more', async (t) => {
  const raw = await connect(t);
  const sized = (bytes) => {
    const empty = JSON.stringify({ user_id: 'a', user_info: '' });
    return JSON.stringify({ user_id: 'a', user_info: 'x'.repeat(bytes - empty.length) });
  };
  await raw.join(app, 'presence-small', sized(USER_BYTES_MAX));
  assert.match((await refused(raw, 'presence-large', sized(USER_BYTES_MAX + 1))).error, /1[,. ]?024|kB|KB/);
  await raw.join(app, 'presence-short', JSON.stringify({ user_id: 'i'.repeat(USER_ID_CHARS_MAX) }));
  await refused(raw, 'presence-long', JSON.stringify({ user_id: 'i'.repeat(USER_ID_CHARS_MAX + 1) }));
});

story('a member needs an id that is a text or a number', async (t) => {
  const raw = await connect(t);
  for (const [n, member] of ['{}', '{"user_id":null}', '{"user_id":""}', '{"user_id":{}}', '{"user_id":[1]}', '{"user_id":true}', 'null', '[]', 'no JSON'].entries()) {
    await refused(raw, `presence-bad-${n}`, member);
  }
  assert.deepEqual(roster(await raw.join(app, 'presence-number', '{"user_id":0}')), { count: 1, ids: ['0'], hash: { 0: null } });
});

story('the info of the first connection of a user stays until the user has left', async (t) => {
  const [watcher, first, second] = [await connect(t), await connect(t), await connect(t)];
  await watcher.join(app, 'presence-info', '{"user_id":"w"}');
  await first.join(app, 'presence-info', '{"user_id":"ana","user_info":1}');
  const seen = roster(await second.join(app, 'presence-info', '{"user_id":"ana","user_info":2}'));
  assert.deepEqual(seen.hash, { w: null, ana: 1 });
  first.destroy();
  second.destroy();
  await watcher.message('pusher_internal:member_removed');
  await (await connect(t)).join(app, 'presence-info', '{"user_id":"ana","user_info":3}');
  await until(() => watcher.all('pusher_internal:member_added').length === 2, 'the second coming');
  assert.deepEqual(watcher.all('pusher_internal:member_added').map(({ data }) => JSON.parse(data).user_info), [1, 3]);
  assert.equal(watcher.all('pusher_internal:member_removed').length, 1);
});
