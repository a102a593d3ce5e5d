// A Redis of its own for stories: on a port of its own, in memory alone, to be stopped, paused and started anew.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { freePort, mortal, temporaryDirectory, until } from './harness.mjs';

export class Redis {
  constructor(port, { args = [], first = [], password, tls }) {
    Object.assign(this, { port, args, first, password, tls, child: undefined });
  }

  get url() {
    return `redis${this.tls ? 's' : ''}://${this.password ? `:${this.password}@` : ''}127.0.0.1:${this.port}`;
  }

  async start() {
    const port = this.tls
      ? ['--port', '0', '--tls-port', String(this.port), '--tls-cert-file', this.tls.certificate, '--tls-key-file', this.tls.key, '--tls-ca-cert-file', this.tls.authority, '--tls-auth-clients', 'no']
      : ['--port', String(this.port)];
    const memory = this.first.length > 0 ? [] : ['--save', '', '--appendonly', 'no'];
    const password = this.password ? ['--requirepass', this.password] : [];
    this.child = spawn(...mortal('redis-server', [...this.first, ...port, '--bind', '127.0.0.1', ...memory, '--dir', temporaryDirectory('redis'), ...password, ...this.args]), { stdio: 'ignore' });
    this.child.on('error', (error) => (this.error = error));
    await until(async () => (await this.cli('ping')) === 'PONG', () => `Redis to answer (${this.error ?? ''})`, 10_000);
    return this;
  }

  /** Ends it; its content is lost. */
  async stop(signal = 'SIGKILL') {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill(signal);
    await ended;
  }

  /** It answers nothing, and keeps its connections. */
  pause() {
    this.child.kill('SIGSTOP');
  }

  goOn() {
    this.child.kill('SIGCONT');
  }

  /** One command, as text; the answer as redis-cli shows it. */
  cli(...words) {
    return new Promise((resolve, reject) => {
      const child = spawn('redis-cli', ['-p', String(this.port), ...(this.password ? ['-a', this.password, '--no-auth-warning'] : []), ...(this.tls ? ['--tls', '--cacert', this.tls.authority] : []), ...words]);
      let out = '';
      child.stdout.on('data', (chunk) => (out += chunk));
      child.on('error', reject);
      child.on('exit', () => resolve(out.trim()));
    });
  }
}

/** `args`: more of its settings; `first`: what stands before all of them; `tls`: the files of a certificate, `{certificate, key, authority}`. */
export async function startRedis(t, options = {}) {
  const redis = await new Redis(await freePort(), options).start();
  t.after(() => redis.stop());
  return redis;
}

/** The wire between a node and something it needs: to be cut, and to be held still as a partition holds it. */
export class Wire {
  constructor(target) {
    this.target = target;
    this.mode = 'ok';
    this.pairs = new Set();
  }

  async start() {
    this.server = net.createServer((near) => {
      if (this.mode === 'cut') return near.destroy();
      const far = net.connect(this.target, '127.0.0.1');
      const pair = [near, far];
      this.pairs.add(pair);
      const end = () => {
        this.pairs.delete(pair);
        near.destroy();
        far.destroy();
      };
      for (const [from, to] of [[near, far], [far, near]]) {
        from.on('error', end);
        from.on('close', end);
        from.pipe(to);
      }
      if (this.mode === 'held') this.hold();
      return undefined;
    });
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    return this;
  }

  /** Nothing passes, and no end notices. */
  hold() {
    this.mode = 'held';
    for (const [near, far] of this.pairs) {
      near.unpipe(far);
      far.unpipe(near);
      near.pause();
      far.pause();
    }
  }

  /** All connections end, and new ones are refused. */
  cut() {
    this.mode = 'cut';
    for (const [near, far] of [...this.pairs]) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  mend() {
    const held = this.mode === 'held';
    this.mode = 'ok';
    if (!held) return;
    for (const [near, far] of this.pairs) {
      near.pipe(far);
      far.pipe(near);
    }
  }

  stop() {
    this.cut();
    this.server.close();
  }
}
