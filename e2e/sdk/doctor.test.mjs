// `fanfare doctor` as an operator uses it: what a machine holds and what lifts its limits; the way to a running server, whole
// and broken at each of its steps.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after } from 'node:test';
import tls from 'node:tls';
import { client, connected } from './clients.mjs';
import { binary, command, freePort, startServer, story, temporaryDirectory } from './harness.mjs';
import { startNginx } from './nginx.mjs';

const server = await startServer({ env: { FANFARE_TRUST_PROXY: 'true' } });
after(() => server.stop());

/** In a shell whose limit of open files was lowered: `{ code, stdout, stderr }`. */
function lowered(openFiles, args) {
  return new Promise((resolve) => {
    const script = `ulimit -n ${openFiles}; exec "$0" doctor "$@"`;
    const env = { PATH: process.env.PATH };
    execFile('sh', ['-c', script, binary(), ...args], { cwd: temporaryDirectory('doctor'), env }, (error, stdout, stderr) => {
      resolve({ code: error ? error.code : 0, stdout, stderr });
    });
  });
}

const lastLine = (text) => text.trimEnd().split('\n').at(-1);
const row = (limits, id) => limits.rows.find((one) => one.id === id);

/** Asks for the way to `url`: `{ code, ok, checks, by }`, with each check by its name in `by`. */
async function asked(url, args = [], env = {}) {
  const { code, stdout, stderr } = await command(['doctor', url, ...args, '--json'], { env });
  assert.equal(stderr, '');
  const { ok, checks } = JSON.parse(stdout);
  assert.equal(code, ok ? 0 : 1);
  return { code, ok, checks, by: Object.fromEntries(checks.map((check) => [check.id, check])) };
}

const keys = (app) => ['--app-id', app.id, '--key', app.key, '--secret', app.secret];

story('the limit that stops first is named in the last line, with the line that lifts it', async () => {
  const { code, stdout } = await lowered(1_000, []);
  assert.equal(code, 0, stdout);
  assert.equal(lastLine(stdout), 'This machine stops at 900 sockets: open files (1,000).');
  assert.match(stdout, /^open files +1,000 +900 sockets/m);
  assert.match(stdout, /^To hold 10,000 sockets:\n {2}open files\n {4}ulimit -n 10100 /m);
  assert.match(stdout, /LimitNOFILE=10100|--ulimit nofile=10100:10100/);
  assert.match(stdout, /one local port for all its clients[\s\S]*one source address has [\d,]+ connections to one server address and port/);
  assert.match(stdout, /Assumed: a socket takes 5\.5 KiB/);
});

story('--for ends with 1 when a limit is below, and each such line says what to change', async () => {
  const few = await lowered(1_000, ['--for', '5000']);
  assert.equal(few.code, 1, few.stdout);
  assert.match(few.stdout, /^LOW +open files +1,000 +900 sockets/m);
  assert.match(few.stdout, /^ +ulimit -n 5100 /m);
  assert.match(lastLine(few.stdout), /^5,000 sockets do not fit\. This machine stops at 900 sockets: open files/);
  const enough = await lowered(1_000, ['--for', '900']);
  assert.equal(enough.code, 0, enough.stdout);
  assert.doesNotMatch(enough.stdout, /LOW/);
  assert.match(lastLine(enough.stdout), /^900 sockets fit\./);
  assert.equal((await lowered(1_000, ['--for', '901'])).code, 1);
});

story('the line that it prints is enough', async () => {
  const { stdout } = await lowered(600, ['--for', '800']);
  const line = /ulimit -n (\d+)/.exec(stdout);
  assert.ok(line, stdout);
  assert.equal((await lowered(Number(line[1]), ['--for', '800'])).code, 0);
  assert.equal((await lowered(Number(line[1]) - 1, ['--for', '800'])).code, 1);
});

story('--json is one object with the same numbers', async () => {
  const { code, stdout } = await lowered(1_000, ['--for', '5000', '--json']);
  assert.equal(code, 1);
  assert.equal(stdout.trimEnd().split('\n').length, 1);
  const { ok, limits, checks } = JSON.parse(stdout);
  assert.deepEqual([ok, checks, limits.sockets, limits.first, limits.wanted], [false, null, 900, 'open_files', 5_000]);
  const files = row(limits, 'open_files');
  assert.deepEqual([files.value, files.sockets, files.enough], ['1,000', 900, false]);
  assert.equal(files.lift[0].line, 'ulimit -n 5100');
  const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/).map(Number);
  const reserved = readFileSync('/proc/sys/net/ipv4/ip_local_reserved_ports', 'utf8').trim();
  const ports = row(limits, 'ports');
  assert.equal(ports.sockets, null, 'the ports are no limit of the server');
  if (!reserved) assert.equal(ports.aside.number, range[1] - range[0] + 1);
  const behind = JSON.parse((await lowered(1_000, ['--for', '5000', '--proxy-addresses', '3', '--json'])).stdout).limits;
  assert.equal(row(behind, 'ports').sockets, ports.aside.number * 3);
});

story('--pid reads a running server: its limits, and the descriptors that it has open', async (t) => {
  const own = async () => JSON.parse((await lowered(1_000, ['--pid', String(server.pid), '--json'])).stdout).limits;
  const before = await own();
  assert.equal(before.pid, server.pid);
  const soft = /^Max open files +(\S+)/m.exec(readFileSync(`/proc/${server.pid}/limits`, 'utf8'))[1];
  assert.equal(row(before, 'open_files').value.replaceAll(',', ''), soft, 'the limit of the server, not that of the shell');
  const app = await server.app({ name: 'counted' });
  await Promise.all(Array.from({ length: 20 }, () => connected(client(t, server, app))));
  const now = await own();
  assert.ok(now.descriptors.sockets >= before.descriptors.sockets + 20, JSON.stringify([before.descriptors, now.descriptors]));
  assert.ok(now.descriptors.all >= now.descriptors.sockets);
  const text = await lowered(1_000, ['--pid', String(server.pid), '--for', '5000000']);
  assert.match(text.stdout, new RegExp(`^Limits of process ${server.pid} \\(\\S+ serve\\), which has `));
  assert.match(text.stdout, new RegExp(`prlimit --pid ${server.pid} --nofile=\\d+:\\d+`));
  const nobody = await lowered(1_000, ['--pid', '4194305']);
  assert.deepEqual([nobody.code, nobody.stdout], [2, '']);
  assert.match(nobody.stderr, /there is no process 4194305/);
});

story('a running server without keys: an unknown key is closed with 4001, so upgrades pass', async () => {
  const { ok, checks, by } = await asked(server.url);
  assert.ok(ok, JSON.stringify(checks));
  assert.deepEqual(checks.map(({ id, state }) => [id, state]), [['name', 'ok'], ['tcp', 'ok'], ['http', 'ok'], ['websocket', 'ok'], ['event', 'skipped']]);
  assert.match(by.websocket.text, /4001/);
  assert.match(by.event.text, /--app-id, --key and --secret/);
});

story('with id, key and secret: the clocks agree, and an event goes there and back', async () => {
  const app = await server.app({ name: 'examined' });
  const { ok, checks, by } = await asked(server.url, keys(app));
  assert.ok(ok, JSON.stringify(checks));
  assert.deepEqual(checks.map(({ id }) => id), ['name', 'tcp', 'http', 'websocket', 'clock', 'event']);
  assert.ok(by.event.ms > 0 && by.event.ms < 5_000);
  const fromEnvironment = await asked(server.url, [], { FANFARE_APP_ID: app.id, FANFARE_APP_KEY: app.key, FANFARE_APP_SECRET: app.secret });
  assert.equal(fromEnvironment.by.event.state, 'ok');
  const { code, stdout } = await command(['doctor', server.url, ...keys(app)]);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /^event +ok +published and received, [\d.]+ ms$/m);
  assert.equal(lastLine(stdout), 'The server is reached, and nothing on the way is broken.');
  assert.equal(stdout.includes(app.secret), false);
});

story('a wrong secret, a wrong key, a wrong id: each with its reason and what to do', async () => {
  const app = await server.app({ name: 'mistaken' });
  const secret = await asked(server.url, keys({ ...app, secret: 'wrong' }));
  assert.deepEqual([secret.code, secret.by.event.state, secret.by.websocket.state], [1, 'failed', 'ok']);
  assert.match(secret.by.event.text, /answered 401: .*signature/i);
  assert.match(secret.by.event.fix.join('\n'), /fanfare apps env/);
  const key = await asked(server.url, keys({ ...app, key: 'nobodys' }));
  assert.match(key.by.websocket.text, /closed with 4001: .*nobodys/);
  assert.equal(key.by.event, undefined, 'what lies behind is not tried');
  const id = await asked(server.url, keys({ ...app, id: '999999' }));
  assert.match(id.by.event.text, /answered 404/);
  const { code, stdout } = await command(['doctor', server.url, ...keys({ ...app, secret: 'wrong' })]);
  assert.equal(code, 1);
  assert.match(stdout, /^event +FAILED +the publish is answered 401/m);
  assert.equal(lastLine(stdout), 'Broken: event.');
});

story('an app that takes TLS only says so', async () => {
  const app = await server.app({ name: 'tls only', switches: { forceTls: true } });
  const { by } = await asked(server.url, keys(app));
  assert.match(by.websocket.text, /closed with 4000/);
  assert.match(by.websocket.fix.join('\n'), /https:/);
});

story('a closed port, a silent one, a name that is none, an address that cannot be read', async (t) => {
  const port = await freePort();
  const closed = await command(['doctor', `http://127.0.0.1:${port}`]);
  assert.equal(closed.code, 1);
  assert.match(closed.stdout, new RegExp(`^tcp +FAILED +nothing listens on 127\\.0\\.0\\.1:${port}`, 'm'));
  assert.match(closed.stdout, /start the server: fanfare serve/);
  assert.equal(lastLine(closed.stdout), 'Broken: tcp.');

  const mute = net.createServer((socket) => socket.on('error', () => {}));
  await new Promise((resolve) => mute.listen(0, '127.0.0.1', resolve));
  t.after(() => mute.close());
  const silent = await asked(`http://127.0.0.1:${mute.address().port}`);
  assert.match(silent.by.http.text, /no answer within 5 s/);
  assert.equal(silent.by.websocket, undefined, 'what lies behind is not tried');

  const nowhere = await asked('http://no-such-host.invalid');
  assert.deepEqual(nowhere.checks.map(({ id, state }) => [id, state]), [['name', 'failed']]);
  const unreadable = await command(['doctor', '127.0.0.1:6001']);
  assert.equal(unreadable.code, 2);
  assert.match(unreadable.stderr, /https:\/\/ws\.example\.com/);
});

story('nginx without the upgrade is found out, and the block that is printed repairs it', async () => {
  const app = await server.app({ name: 'proxied' });
  const plain = await startNginx(`location / { proxy_pass http://127.0.0.1:${server.port}; }`);
  const broken = await asked(`http://127.0.0.1:${plain.port}`, keys(app));
  assert.deepEqual([broken.by.http.state, broken.by.websocket.state], ['ok', 'failed']);
  const fix = broken.by.websocket.fix;
  const block = fix.slice(fix.findIndex((line) => line.includes('location / {'))).join('\n');
  assert.match(block, /proxy_set_header Upgrade \$http_upgrade;/);
  const repaired = await startNginx(block.replace('127.0.0.1:6001', `127.0.0.1:${server.port}`));
  const { ok, checks } = await asked(`http://127.0.0.1:${repaired.port}`, keys(app));
  assert.ok(ok, JSON.stringify(checks));
});

story('a proxy whose server is gone', async () => {
  const gone = await freePort();
  const proxy = await startNginx(`location = /readyz { return 200; }\n location / { proxy_pass http://127.0.0.1:${gone}; }`);
  const { by } = await asked(`http://127.0.0.1:${proxy.port}`);
  assert.match(by.http.text, /answered 502/);
  assert.match(by.websocket.fix.join('\n'), /proxy_pass/);
});

story('https: the handshake and the end of the certificate, an authority that nobody knows, a port without TLS', async (t) => {
  const directory = temporaryDirectory('tls');
  const [key, cert] = [path.join(directory, 'key.pem'), path.join(directory, 'cert.pem')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '90', '-subj', '/CN=doctor', '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const front = tls.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
    const back = net.connect(server.port, '127.0.0.1');
    socket.pipe(back).pipe(socket);
    for (const end of [socket, back]) end.on('error', () => [socket, back].forEach((one) => one.destroy()));
  });
  front.on('tlsClientError', () => {});
  await new Promise((resolve) => front.listen(0, '127.0.0.1', resolve));
  t.after(() => front.close());
  const { port } = front.address();
  const app = await server.app({ name: 'encrypted' });

  const { ok, checks, by } = await asked(`https://127.0.0.1:${port}`, keys(app), { SSL_CERT_FILE: cert });
  assert.ok(ok, JSON.stringify(checks));
  assert.deepEqual(checks.map(({ id }) => id), ['name', 'tcp', 'tls', 'http', 'websocket', 'clock', 'event']);
  const ends = new Date(execFileSync('openssl', ['x509', '-in', cert, '-noout', '-enddate', '-dateopt', 'iso_8601'], { encoding: 'utf8' }).trim().replace('notAfter=', '').replace(' ', 'T'));
  assert.match(by.tls.text, new RegExp(`TLS 1\\.3, the certificate ends on ${ends.toISOString().slice(0, 10)} \\((89|90) days\\)`));

  const unknown = await asked(`https://127.0.0.1:${port}`);
  assert.match(unknown.by.tls.text, /authority that is not known/);
  assert.match(unknown.by.tls.fix.join('\n'), /SSL_CERT_FILE/);
  const plain = await asked(server.url.replace('http:', 'https:'));
  assert.match(plain.by.tls.text, /doesn't speak TLS/);
  const encrypted = await asked(`http://127.0.0.1:${port}`);
  assert.equal(encrypted.by.http.state, 'failed');
  assert.match(encrypted.by.http.fix.join('\n'), /https:\/\//);
});
