// Runs the very files of deploy/proxy: what is put in is where it listens, the certificate, where the nodes are, folders to write
// into, and limits that this machine may not allow. A line that the file no longer has fails the story.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after } from 'node:test';
import { freePort, mortal, temporaryDirectory, until } from './harness.mjs';
import { call } from './httpsession.mjs';

const read = (name) => readFileSync(new URL(`../../deploy/proxy/${name}`, import.meta.url), 'utf8');

/** Each `[pattern, text]` must be found. Nothing of the text has a meaning of its own. */
function put(file, changes) {
  return changes.reduce((text, [pattern, by]) => {
    const changed = text.replace(pattern, () => by);
    assert.notEqual(changed, text, `nothing in the file is like ${pattern}`);
    return changed;
  }, file);
}

const KINDS = {
  nginx({ folder, port, plain, cert, control, realtime: [one, two] }) {
    const written = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${folder}/${name};\n`).join('');
    const text = put(read('nginx.conf'), [
      [/upstream control {\n {4}server 127\.0\.0\.1:6001;/, `upstream control {\n    server ${control};`],
      [/ {4}server 127\.0\.0\.1:6001;\n/g, `    server ${one};\n`],
      [/# server 10\.0\.0\.12:6001;/g, `server ${two};`],
      [/^ {4}listen \[::\].*\n/gm, ''],
      ['listen 80;', `listen 127.0.0.1:${plain};`],
      ['listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`],
      [/ssl_certificate .*;/, `ssl_certificate ${cert.cert};`],
      [/ssl_certificate_key .*;/, `ssl_certificate_key ${cert.key};`],
      [/^pid .*;/m, `pid ${folder}/pid; daemon off; master_process off;`],
      [/^error_log .*;/m, `error_log ${folder}/log;`],
      [/^worker_rlimit_nofile .*$/m, ''],
      [/worker_connections .*;/, 'worker_connections 512;'],
      ['http {\n', `http {\n${written}`],
    ]);
    return { program: '/usr/sbin/nginx', text, args: (file) => ['-p', folder, '-e', `${folder}/log`, '-c', file] };
  },
  haproxy({ folder, port, plain, cert, control, realtime: [one, two] }) {
    const pem = `${folder}/both.pem`;
    writeFileSync(pem, readFileSync(cert.cert, 'utf8') + readFileSync(cert.key, 'utf8'), { mode: 0o600 });
    const text = put(read('haproxy.cfg'), [
      ['bind :80\n', `bind 127.0.0.1:${plain}\n`],
      [/bind :443 ssl crt \S+/, `bind 127.0.0.1:${port} ssl crt ${pem}`],
      ['server control 127.0.0.1:6001', `server control ${control}`],
      [/server realtime-1 127\.0\.0\.1:6001/g, `server realtime-1 ${one}`],
      [/# server realtime-2 10\.0\.0\.12:6001/g, `server realtime-2 ${two}`],
      [/maxconn \d+/, 'maxconn 500'],
    ]);
    return { program: '/usr/sbin/haproxy', text, args: (file) => ['-db', '-q', '-f', file] };
  },
  caddy({ folder, port, cert, control, realtime }) {
    const text = put(read('Caddyfile'), [
      ['\tadmin off\n', '\tadmin off\n\tauto_https disable_redirects\n'],
      ['{$FANFARE_HOST:localhost} {\n', `{$FANFARE_HOST:localhost} {\n\tbind 127.0.0.1\n\ttls ${cert.cert} ${cert.key}\n`],
    ]);
    const env = { FANFARE_HOST: `https://127.0.0.1:${port}`, FANFARE_CONTROL: control, FANFARE_REALTIME: realtime.join(' '), XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
    return { program: '/usr/bin/caddy', text, args: (file) => ['run', '--adapter', 'caddyfile', '--config', file], env };
  },
};

/** Those that can be run here. Traefik is in none of the registries that the tests install from. */
export const PROXIES = Object.keys(KINDS);

/** HAProxy of deploy/compose.cluster.yml: names become addresses, and of three nodes those that are not given are not there. */
const OF_THE_CLUSTER = {
  async haproxy({ port, control, realtime }) {
    const nodes = [...realtime];
    while (nodes.length < 3) nodes.push(`127.0.0.1:${await freePort()}`);
    const text = put(read('haproxy-cluster.cfg'), [
      ['bind :8080\n', `bind 127.0.0.1:${port}\n`],
      ['server control control:6001 resolvers docker', `server control ${control}`],
      ...nodes.map((node, n) => [new RegExp(`server realtime-${n + 1} realtime-${n + 1}:6001 resolvers docker`, 'g'), `server realtime-${n + 1} ${node}`]),
      [/maxconn \d+/, 'maxconn 500'],
    ]);
    return { program: '/usr/sbin/haproxy', text, args: (file) => ['-db', '-q', '-f', file] };
  },
};

/**
 * Starts `kind` in front of a control plane and two realtime nodes (`host:port`): with a certificate, or without one as the cluster
 * of compose has it. Gives host and port, and `plain`, the port that sends to TLS (none of Caddy's). It ends with the tests.
 */
export async function startProxy(kind, { cert, control, realtime }) {
  const folder = temporaryDirectory(kind);
  const [port, plain] = [await freePort(), await freePort()];
  const { program, text, args, env = {} } = await (cert ? KINDS : OF_THE_CLUSTER)[kind]({ folder, port, plain, cert, control, realtime });
  assert.ok(existsSync(program), `${program} is missing: scripts/install.sh debian`);
  const file = `${folder}/config`;
  writeFileSync(file, text);
  let said = '';
  const child = spawn(...mortal(program, args(file)), { cwd: folder, env: { PATH: process.env.PATH, HOME: folder, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said = (said + chunk).slice(-4_000)));
  const gone = new Promise((resolve) => child.once('exit', resolve));
  process.on('exit', () => child.kill('SIGKILL'));
  after(async () => {
    child.kill('SIGTERM');
    await gone;
  });
  const tls = cert !== undefined;
  const at = { host: '127.0.0.1', port, plain: kind === 'caddy' || !tls ? undefined : plain, tls, url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}` };
  await until(async () => (await call(at, 'GET', '/readyz')).status === 200, () => `${kind} to pass requests on\n${said}`, 15_000);
  return at;
}
