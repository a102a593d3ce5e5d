// Whoever runs the server, at its pages: an organisation is suspended and goes on, a plan is edited while its sockets stay open, and a
// backup is made with a press. What else the pages do is tried in dashboard/tests/it/server_pages.rs.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { client, connected, errorCodes } from './clients.mjs';
import { APP_SERVED_WITHIN_MS, commandOk, OWNER, startServer, story, temporaryDirectory, until } from './harness.mjs';
import { ON_POSTGRES } from './databases.mjs';
import { RawSocket } from './rawsocket.mjs';
import { goesTo, ownerOf, Visitor } from './visitor.mjs';

const server = await startServer();
after(() => server.stop());
const root = await ownerOf(server);

const PEOPLE = { email: 'ana@shop.test', password: OWNER.password };
const ana = await new Visitor(server.url).signUp(PEOPLE);
const app = await server.app({ name: 'shop', owner: PEOPLE.email });

const read = () => server.rest(app, 'GET', `/apps/${app.id}/channels`);

/** The page of the organisation of `email`. */
async function organisation(email) {
  const { text } = await root.page(`/dash/server/organisations?q=${encodeURIComponent(email)}`);
  const [, id] = text.match(/data-test="tenant"><th scope="row"><a href="\/dash\/server\/organisations\/([\w-]+)"/);
  return `/dash/server/organisations/${id}`;
}

const press = async (at, pattern, fields) => {
  const answer = await root.submit(await root.page(at), goesTo(pattern), fields);
  assert.equal(answer.status, 303, answer.text);
};

story('a suspended organisation: 4003 and 403 within a second, its people read why, and it goes on', async (t) => {
  const raw = await RawSocket.connect(t, server, app);
  const at = await organisation(PEOPLE.email);
  await press(at, /\/suspend$/, { why: 'An invoice is open.' });
  assert.equal(await raw.closeCode(APP_SERVED_WITHIN_MS), 4003);
  await until(async () => (await read()).status === 403, 'the API to refuse', APP_SERVED_WITHIN_MS);
  const refused = client(t, server, app);
  await until(() => errorCodes(refused).includes(4003), () => `4003, got ${JSON.stringify(refused.errors)}`);
  assert.match((await ana.page('/dash')).text, /This organisation is suspended[\s\S]*An invoice is open\./);
  await press(at, /\/resume$/);
  await until(async () => (await read()).status === 200, 'the API to answer', APP_SERVED_WITHIN_MS);
  await connected(client(t, server, app));
  assert.doesNotMatch((await ana.page('/dash')).text, /is suspended/);
});

story('an edited plan holds within a second for newcomers, and nobody is disconnected', async (t) => {
  const first = await RawSocket.connect(t, server, app);
  const second = await RawSocket.connect(t, server, app);
  const numbers = { connections: '1', messages: '200000', publishes: '1000', reads: '500' };
  await press('/dash/server/plans', /\/plans\/sandbox\/edit$/, numbers);
  const limit = async () => (await ana.json('/dash/usage')) && (await ana.stat(app)).connections_max;
  await until(async () => (await limit()) === 1, 'the limit of one connection', APP_SERVED_WITHIN_MS);
  const third = await RawSocket.connect(t, server, app).catch((error) => error);
  assert.match(third instanceof Error ? third.message : `${await third.closeCode(2_000)}`, /4004/);
  await first.alive();
  await second.alive();
  await press('/dash/server/plans', /\/plans\/sandbox\/remove$/);
  await until(async () => (await limit()) === 100, 'the limit of the catalogue', APP_SERVED_WITHIN_MS);
  await RawSocket.connect(t, server, app);
});

story('a plan of this server is made, given to an organisation and to an app, and limits both', async () => {
  await press('/dash/server/plans', /\/plans\/new$/, { name: 'team-large', connections: '123', messages: '', publishes: '', reads: '' });
  await press(await organisation(PEOPLE.email), /\/plan$/, { plan: 'team-large' });
  await until(async () => (await ana.stat(app)).connections_max === 123, 'the new limit', APP_SERVED_WITHIN_MS);
  const own = await server.app({ name: 'own plan', plan: 'team-large', owner: PEOPLE.email });
  assert.equal((await ana.stat(own)).connections_max, 123);
});

story('a backup made with a press is restored elsewhere', async (t) => {
  if (ON_POSTGRES) {
    const { text } = await root.page('/dash/server/backups');
    assert.match(text, /pg_dump --format=custom/, 'PostgreSQL has tools of its own');
    assert.doesNotMatch(text, /\/backups\/new"/);
    return;
  }
  await press('/dash/server/backups', /\/backups\/new$/);
  const folder = path.join(server.dataDir, 'backups');
  const [name] = readdirSync(folder);
  assert.equal(statSync(path.join(folder, name)).mode & 0o777, 0o600);
  assert.ok((await root.page('/dash/server/backups')).text.includes(name));
  const elsewhere = temporaryDirectory();
  const { stdout } = await commandOk(['restore', path.join(folder, name)], { dataDir: elsewhere });
  assert.match(stdout, /Its master key [0-9a-f]{8} is not here/);
  t.diagnostic(stdout.trim());
});
