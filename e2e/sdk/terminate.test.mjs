// The connections of a signed-in user, ended by the customer's server: whose they are, and what the clients do then.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { backEnd, client, errorCodes, signedIn, subscribed } from './clients.mjs';
import { sleep, startServer, story, until } from './harness.mjs';

/** pusher-js comes back 1 s after an ordinary close (spec §1.7); nothing by then means that it gave up. */
const LONGER_THAN_A_RETRY_MS = 1_600;

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'ended users' });

story('terminate closes the connections of the user with 4009 and no others, and official clients stay away', async (t) => {
  const tabs = [await signedIn(t, server, app, 'kicked'), await signedIn(t, server, app, 'kicked')];
  const [other, anonymous] = [await signedIn(t, server, app, 'kicke'), client(t, server, app, { user: { id: 'kicked' } })];
  await subscribed(anonymous, 'presence-kicked'); // the same id without sign-in
  const answer = await backEnd(server, app).terminateUserConnections('kicked');
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), {});
  for (const tab of tabs) {
    await until(() => tab.connection.state === 'disconnected', () => `the tab to be disconnected, seen ${tab.states}`);
    assert.ok(errorCodes(tab).includes(4009), JSON.stringify(tab.errors));
  }
  await sleep(LONGER_THAN_A_RETRY_MS);
  for (const tab of tabs) assert.equal(tab.connection.state, 'disconnected');
  for (const pusher of [other, anonymous]) {
    assert.equal(pusher.connection.state, 'connected');
    assert.deepEqual(pusher.states.filter((state) => state === 'connected'), ['connected']);
  }
  // Who signs in anew may: it is the customer's server that decides.
  await signedIn(t, server, app, 'kicked');
  assert.equal((await backEnd(server, app).terminateUserConnections('nobody-is-this')).status, 200);
});

story('terminate in one app leaves the user of the same name in another', async (t) => {
  const other = await server.app({ name: 'another' });
  const mine = await signedIn(t, server, app, 'same-name');
  assert.equal((await backEnd(server, other).terminateUserConnections('same-name')).status, 200);
  await backEnd(server, app).sendToUser('same-name', 'marker', {});
  await until(() => mine.told.some(({ event }) => event === 'marker'), 'the marker');
  assert.equal(mine.connection.state, 'connected');
});
