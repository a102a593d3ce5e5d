// Backup and restore from the command line: made while the server works, restored elsewhere, and the same apps, keys and
// people go on there. What is in such a file and how it may be damaged is tried in tenancy/tests/storage/backup.rs.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { arrives, backEnd, client, connected, subscribed } from './clients.mjs';
import { command, commandOk, OWNER, startServer, story, temporaryDirectory } from './harness.mjs';
import { keepToSqlite } from './databases.mjs';
import { Visitor } from './visitor.mjs';

keepToSqlite();
const server = await startServer();
after(() => server.stop());

/** A server on what was restored into `dataDir`; its owner comes out of the backup. */
async function startRestored(t, dataDir) {
  const restored = await startServer({ dataDir, owner: false });
  t.after(() => restored.stop());
  return restored;
}

story('a backup made while events flow works elsewhere: the same app, key, secret and owner', async (t) => {
  const app = await server.app({ name: 'moved' });
  const sdk = backEnd(server, app);
  let busy = true;
  const traffic = (async () => {
    for (let n = 0; busy; n += 1) await sdk.trigger('news', 'n', { n });
  })();
  const late = await command(['backup', '--with-master-key'], { dataDir: server.dataDir });
  busy = false;
  await traffic;
  assert.equal(late.code, 0, late.stderr);
  assert.match(late.stdout, /backups\/fanfare-\d{8}T\d{6}Z\.tar: \d+ bytes of database, schema \d+\nThe master key [0-9a-f]{8} is in it/);
  const [name] = readdirSync(path.join(server.dataDir, 'backups'));
  const file = path.join(server.dataDir, 'backups', name);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(path.dirname(file)).mode & 0o777, 0o700);

  const elsewhere = temporaryDirectory();
  const { stdout } = await commandOk(['restore', file], { dataDir: elsewhere });
  assert.match(stdout, /Its master key was in the backup/);
  const restored = await startRestored(t, elsewhere);
  const channel = await subscribed(client(t, restored, app), 'private-room');
  await backEnd(restored, app).trigger('private-room', 'after', { moved: true });
  assert.deepEqual(await arrives(channel, 'after'), [{ moved: true }]);
  await new Visitor(restored.url).signIn(OWNER);
});

story('without the master key a backup holds no usable secret, and says what is missing', async (t) => {
  const app = await server.app({ name: 'sealed', secret: 'a-secret-to-search-for' });
  const file = path.join(temporaryDirectory(), 'bare.tar');
  const made = await commandOk(['backup', '--to', file], { dataDir: server.dataDir });
  assert.match(made.stdout, /The master key [0-9a-f]{8} is not in it, .* keep a copy of .*secret-key elsewhere/);
  const key = readFileSync(path.join(server.dataDir, 'secret-key'), 'utf8').trim();
  for (const secret of [app.secret, key]) assert.equal(readFileSync(file).includes(secret), false);
  assert.ok(readFileSync(file).includes(app.key), 'the search finds what is there');
  const again = await command(['backup', '--to', file], { dataDir: server.dataDir });
  assert.equal(again.code, 1);
  assert.match(again.stderr, /exists already: name another file/);

  const elsewhere = temporaryDirectory();
  const { stdout } = await commandOk(['restore', file], { dataDir: elsewhere });
  assert.match(stdout, /Its master key [0-9a-f]{8} is not here, and the server will not start without it: put it to .*secret-key/);
  const start = await command(['serve', '--listen', '127.0.0.1:0'], { dataDir: elsewhere });
  assert.equal(start.code, 1);
  copyFileSync(path.join(server.dataDir, 'secret-key'), path.join(elsewhere, 'secret-key'));
  const restored = await startRestored(t, elsewhere);
  await connected(client(t, restored, app));
});

story('a restore goes neither over a server that runs nor, unasked, over data, and keeps what it replaces', async () => {
  const app = await server.app({ name: 'kept' });
  const file = path.join(temporaryDirectory(), 'then.tar');
  await commandOk(['backup', '--to', file], { dataDir: server.dataDir });
  const later = await server.app({ name: 'later' });
  for (const args of [['restore', file], ['restore', file, '--force']]) {
    const refused = await command(args, { dataDir: server.dataDir });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /fanfare\.db is in use: stop the server/);
  }
  assert.equal((await server.rest(later, 'GET', `/apps/${later.id}/channels`)).status, 200, 'it was not disturbed');
  await server.stop();
  const refused = await command(['restore', file], { dataDir: server.dataDir });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /holds data: `--force` replaces it and keeps what is there beside it/);

  const { stdout } = await commandOk(['restore', file, '--force'], { dataDir: server.dataDir });
  const [, aside] = stdout.match(/What was there before is (.*) now\./);
  assert.ok(existsSync(aside));
  await server.start();
  await server.serves(app);
  assert.equal((await server.rest(later, 'GET', `/apps/${later.id}/channels`)).status, 404, 'it was made after the backup');
});

story('damaged, foreign and PostgreSQL: each refused with what to do', async () => {
  const file = path.join(temporaryDirectory(), 'whole.tar');
  await commandOk(['backup', '--to', file], { dataDir: server.dataDir });
  const bytes = readFileSync(file);
  bytes[Math.floor(bytes.length / 2)] ^= 0xff;
  const bad = `${file}.bad`;
  writeFileSync(bad, bytes);
  const elsewhere = temporaryDirectory();
  const refused = async (args, words, env) => {
    const answer = await command(args, { dataDir: elsewhere, env });
    assert.equal(answer.code, 1, answer.stdout);
    assert.match(answer.stderr, words);
    assert.doesNotMatch(answer.stderr, /hush/);
  };
  await refused(['restore', bad], /this backup is damaged: its database does not match its checksum/);
  writeFileSync(bad, 'hello');
  await refused(['restore', bad], /is not a backup of Fanfare that this release can read/);
  await refused(['restore', `${file}.none`], /can't be read/);
  assert.deepEqual(readdirSync(elsewhere), [], 'nothing was left behind');
  await refused(['backup'], /there is no database at/);
  const postgres = { FANFARE_DATABASE_URL: 'postgres://u:hush@127.0.0.1/x' };
  await refused(['backup'], /pg_dump --format=custom/, postgres);
  await refused(['restore', file], /pg_restore --clean/, postgres);
});
