// A PostgreSQL for stories: the one of FANFARE_TEST_POSTGRES_URL, or one that is started here and ends with this process.
// Each data folder gets a database of its own there; the same folder always gets the same one, so that nodes which share a folder
// share the database.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
const STARTS_WITHIN_MS = 60_000;
const ALL = process.env.FANFARE_E2E_DATABASE ?? 'sqlite';
if (!['sqlite', 'postgres'].includes(ALL)) throw new Error(`FANFARE_E2E_DATABASE is sqlite or postgres, not ${ALL}`);

/** Whether every server of these stories gets a database on PostgreSQL. */
export const ON_POSTGRES = ALL === 'postgres';

let server = process.env.FANFARE_TEST_POSTGRES_URL;
const made = new Map();

// The shell ends PostgreSQL when the pipe to it closes, in whatever way this process ends.
const SCRIPT = `. scripts/lib.sh; . scripts/postgres.sh; rmdir "$logs"; trap '' INT TERM HUP
postgres_start >&2 || exit 1
echo "$FANFARE_TEST_POSTGRES_URL"; read -r _; postgres_stop`;

async function start() {
  const child = spawn('bash', ['-c', SCRIPT], { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  let told = '';
  child.stderr.on('data', (text) => (told += text));
  server = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`PostgreSQL did not start\n${told}`)), STARTS_WITHIN_MS);
    child.stdout.once('data', (text) => (clearTimeout(late), resolve(String(text).trim())));
    child.once('exit', () => reject(new Error(`PostgreSQL did not start\n${told}`)));
  });
  child.unref();
  for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.unref();
}
if (ON_POSTGRES && !server) await start();

const named = (name) => {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
};

/** Runs SQL by `psql`; gives what it prints. */
function psql(url, sql) {
  return execFileSync('psql', ['--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--set', 'ON_ERROR_STOP=1', '--dbname', url], { encoding: 'utf8', input: sql });
}

/** The address of a new, empty database, which goes with this process. */
export async function newDatabase() {
  if (!server) await start();
  return createDatabase();
}

function createDatabase() {
  const name = `fanfare_e2e_${randomBytes(8).toString('hex')}`;
  psql(server, `create database ${name}`);
  made.set(name, named(name));
  return named(name);
}

const ofFolder = new Map();
let onSqliteAlways = false;

/** For stories about the SQLite file itself, such as its backups: theirs is one wherever the others are told. */
export function keepToSqlite() {
  onSqliteAlways = true;
}

/** The settings that put the database of a data folder on PostgreSQL, if that is where stories are told. */
export function databaseOf(dataDir) {
  if (!ON_POSTGRES || onSqliteAlways || dataDir === undefined) return {};
  if (!ofFolder.has(dataDir)) ofFolder.set(dataDir, createDatabase());
  return { FANFARE_DATABASE_URL: ofFolder.get(dataDir) };
}

process.on('exit', () => {
  // One of our own goes as a whole.
  if (!process.env.FANFARE_TEST_POSTGRES_URL) return;
  for (const name of made.keys()) {
    try {
      psql(server, `drop database if exists ${name} with (force)`);
    } catch (error) {
      process.stderr.write(`${name} stays: ${error.message}\n`);
    }
  }
});

const SQLITE = `import json, sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
base.row_factory = sqlite3.Row
for row in base.execute(sys.stdin.read()): print(json.dumps(dict(row)))`;

/** Runs one statement on the database of a data folder, past the server; gives the rows of a `select` as objects. */
export function sql(dataDir, statement) {
  const { FANFARE_DATABASE_URL: url } = databaseOf(dataDir);
  const asked = /^\s*select\b/i.test(statement) ? `select row_to_json(one) from (${statement}) one` : statement;
  const printed = url
    ? psql(url, asked)
    : execFileSync('python3', ['-c', SQLITE, path.join(dataDir, 'fanfare.db')], { encoding: 'utf8', input: statement });
  return printed.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

/** All rows of all tables of a data folder's database on PostgreSQL, a line each. */
export function dump(dataDir) {
  const { FANFARE_DATABASE_URL: url } = databaseOf(dataDir);
  return execFileSync('pg_dump', ['--data-only', '--inserts', '--dbname', url], { encoding: 'utf8', maxBuffer: 1 << 28 })
    .split('\n')
    .filter((line) => line.startsWith('INSERT INTO'));
}
