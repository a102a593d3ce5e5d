// Secrets at rest: nothing in clear on the disk, the master key in a file of its own, and a wrong key that stops the start
// and loses nothing.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { client, connected } from './clients.mjs';
import { command, commandOk, startServer, story } from './harness.mjs';
import { ON_POSTGRES, dump } from './databases.mjs';

const server = await startServer();
after(() => server.stop());

const keyFile = path.join(server.dataDir, 'secret-key');

/** Names of the files of the data folder that hold `text`, and `database` if PostgreSQL does. */
function holding(text) {
  const files = readdirSync(server.dataDir).filter((name) => readFileSync(path.join(server.dataDir, name)).includes(text));
  return ON_POSTGRES && dump(server.dataDir).join('\n').includes(text) ? [...files, 'database'] : files;
}

story('no file of the data folder holds a secret, and the master key has a file that only its owner reads', async () => {
  const app = await server.app({ name: 'sealed', secret: 'a-secret-to-search-for' });
  assert.deepEqual(holding(app.secret), []);
  assert.notDeepEqual(holding(app.key), [], 'the search finds what is there');
  assert.equal(statSync(keyFile).mode & 0o777, 0o600);
  const key = readFileSync(keyFile, 'utf8').trim();
  assert.match(key, /^[0-9a-f]{64}$/);
  assert.deepEqual(holding(key), ['secret-key']);
});

story('a new master key takes over while the server runs, and apps made before and after work on', async (t) => {
  const before = await server.app({ name: 'before' });
  const { stdout } = await commandOk(['secrets', 'rotate'], { dataDir: server.dataDir });
  assert.match(stdout, /begins with the new master key [0-9a-f]{8}; secrets sealed with it: \d+/);
  const [current, old] = stdout.trim().split('\n').slice(1);
  assert.match(old, / 0 secrets$/);
  assert.doesNotMatch(current, / 0 secrets$/);
  const next = await server.app({ name: 'after' });
  await connected(client(t, server, before));
  await server.set(before, { watchlist: true }); // the server reads it anew
  assert.equal((await server.rest(before, 'GET', `/apps/${before.id}/channels`)).status, 200);
  await connected(client(t, server, next));
});

story('without its master key, or with another one, a server ends with a sentence and loses nothing', async () => {
  const app = await server.app({ name: 'kept' });
  await server.stop();
  const aside = `${keyFile}.aside`;
  renameSync(keyFile, aside);
  const start = (env = {}) => command(['serve', '--listen', '127.0.0.1:0'], { dataDir: server.dataDir, env });
  const missing = await start();
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /sealed with the master key [0-9a-f]{8}, and its file .* is missing: put it back/);
  assert.deepEqual(readdirSync(server.dataDir).filter((name) => name === 'secret-key'), [], 'no new key is made');
  const wrong = await start({ FANFARE_SECRET_KEY: '7'.repeat(64) });
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /sealed with the master key [0-9a-f]{8}, and FANFARE_SECRET_KEY holds [0-9a-f]{8}/);
  assert.doesNotMatch(wrong.stderr, /7777/);
  const nonsense = await start({ FANFARE_SECRET_KEY: 'hunter2' });
  assert.equal(nonsense.code, 1);
  assert.match(nonsense.stderr, /64 hex digits/);

  writeFileSync(keyFile, readFileSync(aside), { mode: 0o600 });
  await server.start();
  assert.equal((await server.rest(app, 'GET', `/apps/${app.id}/channels`)).status, 200);

  // The same key from the setting, with a new one in front: all is sealed anew at the start.
  await server.stop();
  const keys = readFileSync(keyFile, 'utf8').trim().split('\n');
  renameSync(keyFile, `${keyFile}.off`);
  server.env.FANFARE_SECRET_KEY = ['8'.repeat(64), ...keys].join(',');
  await server.start();
  server.env.FANFARE_SECRET_KEY = '8'.repeat(64);
  await server.stop();
  await server.start();
  assert.equal((await server.rest(app, 'GET', `/apps/${app.id}/channels`)).status, 200);
});
