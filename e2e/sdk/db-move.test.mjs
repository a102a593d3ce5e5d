// A server moves from its SQLite file to PostgreSQL: `fanfare db move` refuses what it must, and the next start has the same
// people, apps and secrets.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { backEnd, client, connected, subscribed } from './clients.mjs';
import { OWNER, command, commandOk, startServer, story, temporaryDirectory, until } from './harness.mjs';
import { newDatabase } from './databases.mjs';
import { Visitor, ownerOf } from './visitor.mjs';

const dataDir = temporaryDirectory();
const file = path.join(dataDir, 'fanfare.db');
const from = `sqlite:${file}`;
// The source is a file, wherever the other stories have their databases.
const server = await startServer({ dataDir, env: { FANFARE_DATABASE_URL: from } });
after(() => server.stop());

const sum = () => createHash('sha256').update(readFileSync(file)).digest('hex');
const move = (args, env = {}) => command(['db', 'move', ...args], { dataDir, env: { FANFARE_DATABASE_URL: from, ...env } });

story('a server on SQLite is moved to PostgreSQL, and people and clients go on with what they have', async (t) => {
  const made = await server.command(['apps', 'create', '--name', 'Trompeten 🎺', '--owner', OWNER.email, '--json']);
  assert.equal(made.code, 0, made.stderr);
  const app = JSON.parse(made.stdout);
  await server.serves(app);
  const visitor = await ownerOf(server);
  assert.match((await visitor.page('/dash')).text, /Trompeten 🎺/);
  const to = await newDatabase();

  const running = await move(['--to', to]);
  assert.equal(running.code, 1, running.stdout);
  assert.match(running.stderr, /the source is in use: stop the server/);
  await server.stop();

  // Without the key that the secrets are sealed with nothing is moved.
  const key = path.join(dataDir, 'secret-key');
  renameSync(key, `${key}.aside`);
  const keyless = await move(['--to', to]);
  assert.equal(keyless.code, 1, keyless.stdout);
  assert.match(keyless.stderr, /sealed with the master key [0-9a-f]{8}, and its file .* is missing/);
  renameSync(`${key}.aside`, key);

  const { stdout } = await move(['--to', to]).then((done) => (assert.equal(done.code, 0, done.stderr), done));
  const before = sum();
  assert.match(stdout, /^users +1 rows {2}[0-9a-f]{16}$/m);
  assert.match(stdout, /^apps +1 rows/m);
  assert.match(stdout, /^\d+ tables with \d+ rows are in postgres:\/\/.* now; counts and checksums of both sides are the same\.$/m);
  assert.match(stdout, /Secrets stay sealed with the master key of .*secret-key; it opened them/);
  assert.doesNotMatch(stdout, /copy it there/, 'the server looks for the key where it is');

  const again = await move(['--to', to]);
  assert.equal(again.code, 1, again.stdout);
  assert.match(again.stderr, /the target is not empty/);

  const moved = await startServer({ dataDir, env: { FANFARE_DATABASE_URL: to }, owner: false });
  t.after(() => moved.stop());
  const owner = await new Visitor(moved.url).signIn(OWNER);
  assert.match((await owner.page('/dash')).text, /Trompeten 🎺/);
  assert.match((await owner.page('/dash/server')).text, /PostgreSQL/);
  const room = client(t, moved, app);
  await connected(room);
  const channel = await subscribed(room, 'private-room');
  let said;
  channel.bind('said', (data) => (said = data));
  await backEnd(moved, app).trigger('private-room', 'said', { by: 'the same secret' });
  assert.deepEqual(await until(() => said, 'the event'), { by: 'the same secret' });
  const next = JSON.parse((await commandOk(['apps', 'create', '--name', 'next', '--json'], { dataDir, env: { FANFARE_DATABASE_URL: to } })).stdout);
  assert.equal(Number(next.id), Number(app.id) + 1, 'ids go on');
  assert.equal(sum(), before, 'the file is as it was');

  // And back, into a new file.
  const back = path.join(dataDir, 'back');
  mkdirSync(back);
  const used = await move(['--from', to, '--to', `sqlite:${back}/fanfare.db`]);
  assert.equal(used.code, 1, used.stdout);
  assert.match(used.stderr, /the source is in use/);
  await moved.stop();
  const returned = await move(['--from', to, '--to', `sqlite:${back}/fanfare.db`]);
  assert.equal(returned.code, 0, returned.stderr);
  assert.match(returned.stdout, /^apps +2 rows/m);
  assert.match(returned.stdout, /The server will look for that key at .*back\/secret-key: copy it there/);
}, { deadlineMs: 90_000 });
