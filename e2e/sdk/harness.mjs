// Starts the real `fanfare` for a story and ends it again: a free port, an own data directory, apps made through the
// command line, the log kept and printed when a story fails. Every process is ended by its own id.
//
// It knows nothing about any SDK (see clients.mjs) and nothing about the pages (see visitor.mjs).
import { execFile, spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { databaseOf } from './databases.mjs';

const READY_WITHIN_MS = 20_000;
const ENDS_WITHIN_MS = 15_000;
const COMMAND_WITHIN_MS = 30_000;
const STORY_WITHIN_MS = 45_000;
const CLEANUP_WITHIN_MS = 20_000;
/** contract.md: a running server serves what `fanfare apps create` wrote within 1 s. */
export const APP_SERVED_WITHIN_MS = 1_000;
const LOG_LINES_ON_FAILURE = 60;

// Below the range from which the kernel takes ports for outgoing connections, so that none of those can take one first.
const PORT_MIN = 7_000;
const PORT_MAX = 9_590;

export const OWNER = { email: 'owner@example.test', password: 'quiet-harbour-51-lamp' };

export function binary() {
  const bin = process.env.FANFARE_BIN;
  if (!bin) throw new Error('FANFARE_BIN names the fanfare binary under test; `make e2e` sets it');
  return path.resolve(bin);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls until `probe` gives something truthy and returns it; `what` ends the sentence "waited N ms for …". */
export async function until(probe, what, deadlineMs = 5_000) {
  const started = Date.now();
  let last;
  for (;;) {
    try {
      const got = await probe();
      if (got) return got;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() - started > deadlineMs) {
      const seen = typeof what === 'function' ? await what() : what;
      throw new Error(`waited ${deadlineMs} ms for ${seen}${last ? ` (last: ${last.message})` : ''}`);
    }
    await sleep(10);
  }
}

/** Rejects when `promise` takes longer than the deadline. */
export function within(promise, deadlineMs, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${deadlineMs} ms for ${what}`)), deadlineMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function freePort() {
  for (let tries = 0; tries < 200; tries += 1) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    const free = await new Promise((resolve) => {
      const probe = net.createServer();
      probe.once('error', () => resolve(false));
      probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error(`no free port between ${PORT_MIN} and ${PORT_MAX}`);
}

const directories = new Set();
const children = new Set();

// A server must not outlive a test process that was killed with no time to clean up. The kernel sees to it, through a
// program of util-linux that becomes the server itself, so that its process id is the server's.
const MORTAL = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : [];

/** Program and arguments, as `spawn` takes them, of something that ends with this process however that ends. */
export function mortal(program, args = []) {
  const [first, ...rest] = [...MORTAL, program, ...args];
  return [first, rest];
}

export function temporaryDirectory(label = 'data') {
  const directory = mkdtempSync(path.join(tmpdir(), `fanfare-e2e-${label}-`));
  directories.add(directory);
  return directory;
}

process.on('exit', () => {
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) process.kill(child.pid, 'SIGKILL');
  }
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1));

// Nothing of the caller's settings may leak into the server under test. A value of undefined leaves a variable out.
function environment(own) {
  const kept = {};
  for (const name of ['PATH', 'HOME', 'TMPDIR', 'LANG', 'RUST_BACKTRACE']) {
    if (process.env[name] !== undefined) kept[name] = process.env[name];
  }
  const all = { ...kept, NO_COLOR: '1', ...own };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Runs one `fanfare …` command to its end; never throws on a bad exit code. */
export function command(args, { dataDir, env = {}, input } = {}) {
  const cwd = dataDir ?? temporaryDirectory('cwd');
  return new Promise((resolve, reject) => {
    const child = execFile(
      binary(),
      args,
      {
        cwd,
        env: environment({ ...(dataDir ? { FANFARE_DATA_DIR: dataDir } : {}), ...databaseOf(dataDir), ...env }),
        timeout: COMMAND_WITHIN_MS,
        killSignal: 'SIGKILL',
      },
      (error, stdout, stderr) => {
        if (error && (error.killed || typeof error.code !== 'number')) {
          reject(new Error(`fanfare ${args.join(' ')}: ${error.message}\n${stdout}${stderr}`));
        } else {
          resolve({ code: error ? error.code : 0, stdout, stderr });
        }
      },
    );
    child.stdin.on('error', () => {}); // a command that reads nothing may be gone by now
    child.stdin.end(input ?? '');
  });
}

/** As `command`, but a bad exit code is a failed story. */
export async function commandOk(args, options) {
  const result = await command(args, options);
  if (result.code !== 0) throw new Error(`fanfare ${args.join(' ')} ended with ${result.code}\n${result.stdout}${result.stderr}`);
  return result;
}

/** `{ forceTls: true }` as `--force-tls on`. */
const switchFlags = (switches) => Object.entries(switches).flatMap(([name, on]) => [`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, on ? 'on' : 'off']);

const servers = new Set();

export class Server {
  constructor({ dataDir, port, mode, args, env }) {
    this.dataDir = dataDir;
    this.port = port;
    this.mode = mode;
    this.args = args;
    this.env = env;
    this.tls = env.FANFARE_TLS_CERT !== undefined;
    this.url = `${this.tls ? 'https' : 'http'}://127.0.0.1:${port}`;
    this.host = '127.0.0.1';
    this.output = '';
    this.child = undefined;
  }

  get pid() {
    return this.child.pid;
  }

  get running() {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  spawn() {
    const child = spawn(...mortal(binary(), [this.mode, ...this.args]), {
      cwd: this.dataDir,
      env: environment({
        FANFARE_DATA_DIR: this.dataDir,
        ...databaseOf(this.dataDir),
        FANFARE_LISTEN: `127.0.0.1:${this.port}`,
        FANFARE_LOG: 'info',
        FANFARE_DRAIN_SECONDS: '1',
        ...(this.mode === 'serve' ? { FANFARE_SIGNUP: 'open' } : {}),
        ...this.env,
      }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.add(child);
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        this.output += text;
      });
    }
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => {
        this.output += `\ncould not start: ${error.message}\n`;
        resolve({ code: -1, signal: null });
      });
      child.once('exit', (code, signal) => {
        children.delete(child);
        resolve({ code, signal });
      });
    });
    servers.add(this);
  }

  async ready() {
    await until(
      async () => {
        if (!this.running) return true;
        const answer = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(2_000) });
        await answer.arrayBuffer();
        return answer.status === 200;
      },
      () => `${this.url}/readyz to answer 200\n${this.log()}`,
      READY_WITHIN_MS,
    );
    if (!this.running) throw new Error(`fanfare ${this.mode} ended before it was ready\n${this.log()}`);
  }

  log(lines = LOG_LINES_ON_FAILURE) {
    return this.output.trimEnd().split('\n').slice(-lines).join('\n');
  }

  /** Ends the process as an operator would and tells how it went. */
  async stop(signal = 'SIGTERM') {
    servers.delete(this);
    if (!this.running) return this.exited;
    process.kill(this.pid, signal);
    try {
      return await within(this.exited, ENDS_WITHIN_MS, `fanfare to end after ${signal}`);
    } catch (error) {
      process.kill(this.pid, 'SIGKILL');
      await this.exited;
      throw new Error(`${error.message}\n${this.log()}`);
    }
  }

  /** The same data, the same port, a new process. */
  async start() {
    this.spawn();
    await this.ready();
    return this;
  }

  /** Runs a `fanfare` command on this server's data. */
  command(args, options = {}) {
    return command(args, { dataDir: this.dataDir, ...options, env: { ...this.env, ...options.env } });
  }

  /** Makes an app by `fanfare apps create`, with `switches` as `set` takes them, and waits until the server answers for it. */
  async app({ name = 'story', id, key, secret, cluster, plan, maxConnections, clientEvents, owner, switches = {} } = {}) {
    const args = ['apps', 'create', '--name', name, '--json'];
    const add = (flag, value) => value !== undefined && args.push(flag, String(value));
    add('--id', id);
    add('--key', key);
    add('--secret', secret);
    add('--cluster', cluster);
    add('--plan', plan);
    add('--max-connections', maxConnections);
    add('--owner', owner);
    if (clientEvents) args.push('--client-events');
    args.push(...switchFlags(switches));
    const { stdout } = await commandOk(args, { dataDir: this.dataDir });
    const app = JSON.parse(stdout);
    await this.serves(app);
    return app;
  }

  /**
   * Sets switches of an app by `fanfare apps set`, such as `{ watchlist: true, forceTls: false }`, and gives how all stand.
   * A server that serves the app already follows within a second.
   */
  async set(app, switches) {
    const { stdout } = await commandOk(['apps', 'set', app.id, ...switchFlags(switches), '--json'], { dataDir: this.dataDir });
    return JSON.parse(stdout);
  }

  /** Waits until the server answers signed requests for `app`, if only to ask for TLS; gives the milliseconds it took. */
  async serves(app, deadlineMs = 5_000) {
    const started = Date.now();
    await until(
      async () => {
        const { status, text } = await this.rest(app, 'GET', `/apps/${app.id}/channels`);
        return status === 200 || /TLS required/.test(text);
      },
      `the server to serve app ${app.id}\n${this.log()}`,
      deadlineMs,
    );
    return Date.now() - started;
  }

  /** One signed REST call: `{ status, text, json, headers }`. */
  async rest(app, method, pathname, { body, params, headers = {}, ...signing } = {}) {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const query = signedQuery(app, method, pathname, { body: text, params, ...signing });
    const answer = await fetch(`${this.url}${pathname}?${query}`, {
      method,
      body: text,
      headers: text === undefined ? headers : { 'content-type': 'application/json', ...headers },
      signal: AbortSignal.timeout(15_000),
    });
    const got = await answer.text();
    let json;
    try {
      json = JSON.parse(got);
    } catch {
      json = undefined;
    }
    return { status: answer.status, text: got, json, headers: answer.headers };
  }

  /** Publishes one event and insists on success. */
  async publish(app, channels, name, data, extra = {}) {
    const body = { name, channels: [channels].flat(), data: typeof data === 'string' ? data : JSON.stringify(data), ...extra };
    const answer = await this.rest(app, 'POST', `/apps/${app.id}/events`, { body });
    if (answer.status !== 200) throw new Error(`publish was answered ${answer.status}: ${answer.text}`);
    return answer.json;
  }
}

/** Starts a server. `mode` is `serve` or `dev`; `owner: false` leaves the database without its first owner. */
export async function startServer({ mode = 'serve', args = [], env = {}, dataDir, port, owner = true } = {}) {
  const directory = dataDir ?? temporaryDirectory();
  for (let tries = 1; ; tries += 1) {
    const server = new Server({
      dataDir: directory,
      port: port ?? (await freePort()),
      mode,
      args,
      env: {
        FANFARE_METRICS_LISTEN: `127.0.0.1:${await freePort()}`,
        ...(owner ? { FANFARE_ADMIN_EMAIL: OWNER.email, FANFARE_ADMIN_PASSWORD: OWNER.password } : {}),
        ...env,
      },
    });
    try {
      return await server.start();
    } catch (error) {
      await server.stop('SIGKILL');
      // Another test file may have taken the port between the look and the bind.
      if (tries < 3 && port === undefined && /in use/i.test(server.output)) continue;
      throw error;
    }
  }
}

/** The query of a signed REST request (spec §2.2); any part can be forged by naming it. */
export function signedQuery(app, method, pathname, { body, params = {}, key = app.key, secret = app.secret, timestamp, version = '1.0', md5, signature } = {}) {
  const all = {
    auth_key: key,
    auth_timestamp: String(timestamp ?? Math.floor(Date.now() / 1000)),
    auth_version: version,
    ...params,
  };
  if (md5 !== undefined) all.body_md5 = md5;
  else if (body) all.body_md5 = createHash('md5').update(body).digest('hex');
  const sorted = Object.keys(all).sort().map((name) => [name, all[name]]);
  const toSign = [method, pathname, sorted.map(([name, value]) => `${name}=${value}`).join('&')].join('\n');
  const signed = signature ?? createHmac('sha256', secret).update(toSign).digest('hex');
  return [...sorted, ['auth_signature', signed]].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
}

/** A channel's token as the customer's server would make it (spec §3.1). */
export function channelToken(app, socketId, channel, channelData) {
  const text = channelData === undefined ? `${socketId}:${channel}` : `${socketId}:${channel}:${channelData}`;
  return `${app.key}:${createHmac('sha256', app.secret).update(text).digest('hex')}`;
}

/** A user's token as the customer's server would make it (spec §3.1); `userData` is the JSON text that is signed. */
export function userToken(app, socketId, userData) {
  return `${app.key}:${createHmac('sha256', app.secret).update(`${socketId}::user::${userData}`).digest('hex')}`;
}

/**
 * A test that prints the servers' logs when it fails. What its body hands to `t.after` runs when it ends, the last first:
 * clients are gone before the server that they would otherwise try to reach again.
 */
export function story(name, body, { deadlineMs = STORY_WITHIN_MS, skip = false } = {}) {
  test(name, { skip, timeout: deadlineMs + CLEANUP_WITHIN_MS }, async (context) => {
    const cleanups = [];
    const t = { name, after: (cleanup) => cleanups.push(cleanup), diagnostic: (text) => context.diagnostic(text) };
    try {
      await within(Promise.resolve(body(t)), deadlineMs, 'the story to end');
    } catch (error) {
      for (const server of servers) {
        process.stderr.write(`\n--- ${name}: log of fanfare ${server.mode} (pid ${server.pid}) ---\n${server.log()}\n---\n`);
      }
      throw error;
    } finally {
      for (const cleanup of cleanups.reverse()) await cleanup();
    }
  });
}
