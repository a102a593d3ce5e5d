// A PostgreSQL of its own for stories, as Debian installs it: on a port of its own, in a temporary folder, to be ended and started anew.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, readdirSync } from 'node:fs';
import net from 'node:net';
import { freePort, mortal, temporaryDirectory, until } from './harness.mjs';

const ROOT = process.getuid() === 0;
const VERSIONS = '/usr/lib/postgresql';

function programs() {
  const [version] = readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a));
  assert.ok(version, `${VERSIONS} is empty: scripts/install.sh debian`);
  return `${VERSIONS}/${version}/bin`;
}

const idOf = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));

const listens = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => socket.destroy() && resolve(true)).on('error', () => resolve(false));
  });

export class Postgres {
  constructor(port) {
    Object.assign(this, { port, folder: temporaryDirectory('postgres'), bin: programs() });
    // It refuses to run as root.
    this.as = ROOT ? { uid: idOf('-u'), gid: idOf('-g') } : {};
    if (ROOT) chownSync(this.folder, this.as.uid, this.as.gid);
    execFileSync(`${this.bin}/initdb`, ['-D', `${this.folder}/data`, '-U', 'fanfare', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'], { ...this.as, cwd: this.folder, stdio: 'pipe' });
  }

  get url() {
    return `postgres://fanfare@127.0.0.1:${this.port}/postgres`;
  }

  async start() {
    const settings = ['listen_addresses=127.0.0.1', 'fsync=off', 'full_page_writes=off'].flatMap((one) => ['-c', one]);
    let said = '';
    this.child = spawn(...mortal(`${this.bin}/postgres`, ['-D', `${this.folder}/data`, '-p', String(this.port), '-k', this.folder, ...settings]), { ...this.as, cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
    this.child.stderr.on('data', (chunk) => (said = (said + chunk).slice(-2_000)));
    await until(() => listens(this.port), () => `PostgreSQL to listen\n${said}`, 20_000);
    return this;
  }

  /** Ends it at once; what was committed is there at the next start. */
  async stop() {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGQUIT');
    await ended;
  }
}

export async function startPostgres(t) {
  const postgres = await new Postgres(await freePort()).start();
  t.after(() => postgres.stop());
  return postgres;
}
