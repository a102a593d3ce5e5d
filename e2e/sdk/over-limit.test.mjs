// What pusher-js, unmodified, does when it finds all connections of an app in use: it stays away for good (4004, as with
// Pusher), or comes back by itself (4100), as the app has it. Limits of plans are in quota.test.mjs.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { client, connected, errorCodes } from './clients.mjs';
import { sleep, startServer, story, until } from './harness.mjs';
import { ownerOf } from './visitor.mjs';

// pusher-js comes back 1 s after a 4100; nothing by then means that it gave up.
const LONGER_THAN_A_RETRY_MS = 1_600;
// An HTTP session whose reader left keeps its place for 15 s (`AWAY_SECONDS_MAX`), in case the reader only changes requests.
const PLACE_FREE_WITHIN_MS = 30_000;

const server = await startServer();
after(() => server.stop());

async function refusedRow(app, code) {
  const owner = await ownerOf(server);
  return until(async () => (await owner.rows(app)).find((row) => row.kind === 'connection_refused' && row.code === code), `the row with ${code}`);
}

for (const transport of ['ws', 'xhr_streaming', 'xhr_polling']) {
  const over = (t, app) => client(t, server, app, { options: { httpHost: server.host, httpPort: server.port, enabledTransports: [transport] } });

  story(`${transport}: over the limit a client told 4100 comes back by itself once a place is free, and one told 4004 does not`, async (t) => {
    const patient = await server.app({ name: `${transport} retrying`, maxConnections: 1, switches: { retryOverLimit: true } });
    const final = await server.app({ name: `${transport} final`, maxConnections: 1 });
    const [here, there] = [over(t, patient), over(t, final)];
    await connected(here);
    await connected(there);
    const [waiting, gone] = [over(t, patient), over(t, final)];
    await until(() => errorCodes(waiting).length > 1, () => `two refusals, seen ${waiting.states}`, 10_000);
    assert.deepEqual([...new Set(errorCodes(waiting))], [4100]);
    await until(() => gone.connection.state === 'disconnected', () => `disconnected, seen ${gone.states}`);
    assert.deepEqual(errorCodes(gone), [4004]);

    const told = await refusedRow(patient, 4100);
    assert.match(told.details, /^4100 Account over quota: 1 of 1 connections in use/);
    assert.equal(told.hint.id, 'over_limit_retry');
    const sent = await refusedRow(final, 4004);
    assert.match(sent.details, /^4004 Account over quota: 1 of 1 connections in use/);
    assert.equal(sent.hint.id, 'over_limit_final');

    here.disconnect();
    there.disconnect();
    await until(() => waiting.connection.state === 'connected', () => `the waiting client to be let in, seen ${waiting.states} ${JSON.stringify(waiting.errors)}`, PLACE_FREE_WITHIN_MS);
    await sleep(LONGER_THAN_A_RETRY_MS);
    assert.equal(gone.connection.state, 'disconnected');
    assert.deepEqual(errorCodes(gone), [4004]);
  }, { deadlineMs: 60_000 });
}

story('a running server tells the other code from the moment the switch is set', async (t) => {
  const app = await server.app({ name: 'switched', maxConnections: 1 });
  await connected(client(t, server, app));
  await server.set(app, { retryOverLimit: true });
  await until(async () => {
    const next = client(t, server, app);
    await until(() => errorCodes(next).length > 0, 'a refusal');
    next.disconnect();
    return errorCodes(next)[0] === 4100;
  }, 'the refusal to be 4100');
});
