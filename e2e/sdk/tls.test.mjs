// TLS on the public port itself, with no proxy in front: what an unmodified pusher-js, the npm server SDK and a person at the
// pages do over wss and https; what happens to who speaks the wrong language; and a certificate that is replaced meanwhile.
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { after } from 'node:test';
import { trusted } from './certificates.mjs';
import { arrives, backEnd, client, connected, named, subscribed } from './clients.mjs';
import { OWNER, startServer, story, temporaryDirectory, until, within } from './harness.mjs';
import { HttpSession } from './httpsession.mjs';
import { RawSocket, exchange } from './rawsocket.mjs';
import { Visitor, ownerOf } from './visitor.mjs';

/** A handshake has ten seconds. */
const HANDSHAKE_MS = 10_000;
/** The files are looked at every two seconds. */
const RENEWED_WITHIN_MS = 8_000;

const [first, second] = trusted(['first', 'second']);
const directory = temporaryDirectory('tls');
const [CERT, KEY] = ['cert.pem', 'key.pem'].map((name) => path.join(directory, name));
const show = ({ cert, key }) => [[cert, CERT], [key, KEY]].forEach(([from, to]) => copyFileSync(from, to));
show(first);

const server = await startServer({ env: { FANFARE_TLS_CERT: CERT, FANFARE_TLS_KEY: KEY } });
after(() => server.stop());
assert.match(server.url, /^https:/);

/** A TLS connection, once its handshake is done. */
function dial(t, options = {}) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port: server.port, host: server.host, ...options }, () => resolve(socket)).on('error', reject);
    t.after(() => socket.destroy());
  });
}

story('pusher-js over wss: private and presence channels, client events, and what pusher-http-node publishes over https', async (t) => {
  const app = await server.app({ name: 'tls', clientEvents: true, switches: { forceTls: true } });
  const [ana, ben] = ['ana', 'ben'].map((id) => client(t, server, app, { user: { id } }));
  const [ofAna, ofBen] = [await subscribed(ana, 'presence-room'), await subscribed(ben, 'presence-room')];
  ofAna.trigger('client-typing', { who: 'ana' });
  assert.deepEqual(await arrives(ofBen, 'client-typing'), [{ who: 'ana' }]);
  const sdk = backEnd(server, app);
  await sdk.trigger('presence-room', 'said', { text: 'zwölf Boxkämpfer' });
  for (const channel of [ofAna, ofBen]) assert.deepEqual(await arrives(channel, 'said'), [{ text: 'zwölf Boxkämpfer' }]);
  const members = await sdk.get({ path: '/channels/presence-room/users' });
  assert.deepEqual((await members.json()).users.map(({ id }) => id).sort(), ['ana', 'ben']);
  assert.deepEqual([...ana.errors, ...ben.errors], []);
});

for (const version of ['TLSv1.2', 'TLSv1.3']) story(`${version}: frames of all sizes go both ways, ALPN is http/1.1, and who comes back resumes`, async (t) => {
  const app = await server.app({ name: version, clientEvents: true });
  const options = { minVersion: version, maxVersion: version, ALPNProtocols: ['h2', 'http/1.1'] };
  const raw = await RawSocket.connect(t, server, app, { options });
  assert.deepEqual([raw.socket.getProtocol(), raw.socket.alpnProtocol, raw.socket.isSessionReused()], [version, 'http/1.1', false]);
  const other = await RawSocket.connect(t, server, app, { options });
  for (const one of [raw, other]) await one.join(app, 'private-sizes');
  const sizes = [0, 1, 100, 126, 1_000, 4_000, 9_000];
  for (const size of sizes) raw.send({ event: `client-${size}`, channel: 'private-sizes', data: { pad: 'x'.repeat(size) } });
  for (const size of sizes) assert.equal(JSON.parse((await other.message(`client-${size}`)).data).pad.length, size);

  const connection = await dial(t, options);
  // In TLS 1.2 the ticket is part of the handshake, in 1.3 it follows.
  const later = new Promise((resolve) => connection.once('session', resolve));
  const ticket = version === 'TLSv1.2' ? connection.getSession() : await within(later, 5_000, 'a ticket');
  connection.destroy();
  assert.equal((await dial(t, { ...options, session: ticket })).isSessionReused(), true);
});

story('what a client sends right behind its upgrade, in the same record, is not lost', async (t) => {
  const app = await server.app({ name: 'early' });
  const socket = await dial(t);
  let got = '';
  socket.on('data', (chunk) => (got += chunk.toString('latin1')));
  const upgrade = `GET /app/${app.key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
  const ping = Buffer.from([0x89, 0x81, 0, 0, 0, 0, 0x2a]);
  socket.write(Buffer.concat([Buffer.from(upgrade), ping, ping]));
  await until(() => got.split('\x8a\x01*').length === 3, () => `two pongs, seen ${JSON.stringify(got)}`);
  // Twenty records in one write of the kernel.
  socket.cork();
  for (let n = 0; n < 20; n += 1) socket.write(ping);
  socket.uncork();
  await until(() => got.split('\x8a\x01*').length === 23, () => `twenty more pongs, seen ${JSON.stringify(got)}`);
});

story('a megabyte at once reaches a reader that takes its time, in order; who reads nothing is closed and named in the console', async (t) => {
  const app = await server.app({ name: 'slow' });
  const [slow, stopped] = [await RawSocket.connect(t, server, app), await RawSocket.connect(t, server, app)];
  for (const one of [slow, stopped]) await one.subscribe('flood');
  stopped.socket.pause();
  const sdk = backEnd(server, app);
  const burst = (from) => sdk.triggerBatch(Array.from({ length: 10 }, (_, i) => ({ channel: 'flood', name: 'said', data: { n: from + i, pad: 'x'.repeat(9_000) } })));
  const counted = () => slow.all('said').map((message) => JSON.parse(message.data).n);
  slow.socket.pause();
  for (let n = 0; n < 120; n += 10) await burst(n);
  const pause = () => slow.socket.pause();
  slow.socket.on('data', pause);
  const sips = setInterval(() => slow.socket.resume(), 2);
  t.after(() => clearInterval(sips));
  await until(() => counted().length === 120, () => `120 events, seen ${counted().length}`, 20_000);
  clearInterval(sips);
  slow.socket.off('data', pause).resume();
  assert.deepEqual(counted(), Array.from({ length: 120 }, (_, n) => n));

  const owner = await ownerOf(server);
  let n = 120;
  const gone = await until(async () => {
    for (let times = 0; times < 10; times += 1, n += 10) await burst(n);
    return (await owner.rows(app)).find((row) => row.kind === 'disconnection' && row.code === 4100);
  }, 'the row about the stopped reader', 30_000);
  assert.match(gone.details, /slow reader/);
  await until(() => counted().length === n, () => `${n} events at its neighbour, seen ${counted().length}`, 20_000);
  assert.deepEqual(counted(), Array.from({ length: n }, (_, i) => i));
});

story('the HTTP fallbacks work over https', async (t) => {
  const app = await server.app({ name: 'fallback' });
  const pusher = client(t, server, app, { options: { httpHost: server.host, httpPort: server.port, httpsPort: server.port, enabledTransports: ['xhr_streaming'] } });
  const channel = await subscribed(pusher, 'news');
  await server.publish(app, 'news', 'said', { n: 1 });
  assert.deepEqual(await arrives(channel, 'said'), [{ n: 1 }]);
});

story('a new certificate is shown to newcomers, and nobody is cut off; a broken one is told in the log and not used', async (t) => {
  const app = await server.app({ name: 'renewal' });
  const pusher = client(t, server, app);
  const channel = await subscribed(pusher, 'news');
  const shown = async () => (await dial(t)).getPeerX509Certificate().fingerprint256;
  assert.equal(await shown(), first.fingerprint);
  show(second);
  await until(async () => (await shown()) === second.fingerprint, 'the second certificate', RENEWED_WITHIN_MS);

  writeFileSync(KEY, 'no key at all');
  await until(() => /certificate from before stays in use.*key\.pem/.test(server.output), () => `a line about the key\n${server.log()}`, RENEWED_WITHIN_MS);
  assert.equal(await shown(), second.fingerprint);
  copyFileSync(first.key, KEY); // of the other certificate
  await until(() => /don't go together/.test(server.output), () => `a line about the pair\n${server.log()}`, RENEWED_WITHIN_MS);
  assert.equal(await shown(), second.fingerprint);
  show(first);
  process.kill(server.pid, 'SIGHUP');
  await until(async () => (await shown()) === first.fingerprint, 'the first certificate again', RENEWED_WITHIN_MS);

  await server.publish(app, 'news', 'said', { n: 1 });
  assert.deepEqual(await arrives(channel, 'said'), [{ n: 1 }]);
  assert.deepEqual(pusher.states, ['connected']);
});

story('a request without TLS is told to use https, a WebSocket too', async () => {
  for (const more of ['', 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n']) {
    const { text, closed } = await exchange(server.port, `GET /app/x HTTP/1.1\r\nHost: x\r\n${more}\r\n`);
    assert.match(text, /^HTTP\/1\.1 400 /);
    assert.match(text, /use https:\/\//);
    assert.equal(closed, true);
  }
});

story('who speaks TLS to a plain port is told in the log, once', async (t) => {
  const plain = await startServer();
  t.after(() => plain.stop());
  for (let n = 0; n < 3; n += 1) {
    const socket = tls.connect({ port: plain.port, host: plain.host });
    await new Promise((resolve) => socket.once('error', resolve));
  }
  await until(() => /speaks TLS to this port, which is plain/.test(plain.output), () => `a hint\n${plain.log()}`);
  assert.equal((await fetch(`${plain.url}/readyz`)).status, 200);
  assert.equal(plain.output.match(/speaks TLS to this port/g).length, 1);
});

story('who doesn’t finish a handshake in time is cut off', async (t) => {
  const hello = Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]); // the beginning of one
  const ends = [Buffer.alloc(0), hello.subarray(0, 1), hello].map((bytes) => {
    const socket = net.connect(server.port, server.host, () => socket.write(bytes));
    t.after(() => socket.destroy());
    socket.on('error', () => {}).resume();
    return new Promise((resolve) => socket.on('close', resolve));
  });
  await within(Promise.all(ends), HANDSHAKE_MS + 5_000, 'all to be cut off');
});

story('the pages over https: Secure cookies, and addresses that say https', async () => {
  const visitor = new Visitor(server.url);
  const page = await visitor.page('/login');
  const answer = await visitor.submit(page, (form) => form.names.includes('password'), OWNER);
  const cookies = answer.headers.getSetCookie();
  assert.ok(cookies.length > 0 && cookies.every((line) => /; *Secure/i.test(line)), cookies.join('\n'));
  assert.match(answer.headers.get('strict-transport-security') ?? '', /max-age/);
  const app = await server.app({ name: 'pages' });
  const keys = await visitor.page(`/dash/apps/${app.id}/keys`);
  assert.match(keys.text, /REVERB_SCHEME=https/);
});

story('the commands know that the port speaks TLS', async () => {
  const app = await server.app({ name: 'commands' });
  const env = { FANFARE_LISTEN: `127.0.0.1:${server.port}` };
  const block = await server.command(['apps', 'env', app.id], { env });
  assert.match(block.stdout, /REVERB_SCHEME=https/);
  assert.match(block.stdout, new RegExp(`REVERB_PORT=${server.port}`));
  const health = await server.command(['healthcheck'], { env });
  assert.equal(health.code, 0, health.stderr);
  const print = await server.command(['config', 'print'], { env });
  assert.match(print.stdout, /tls_cert = .*cert\.pem/);
  const half = await server.command(['config', 'print'], { env: { ...env, FANFARE_TLS_KEY: '' } });
  assert.match(half.stderr, /tls_cert and tls_key belong together/);
  const missing = await server.command(['serve'], { env: { FANFARE_LISTEN: '127.0.0.1:0', FANFARE_TLS_CERT: 'nowhere.pem' } });
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /tls_cert nowhere\.pem/);
});

story('the load tool measures over wss, and takes no certificate that nobody vouches for unless it is told to', async () => {
  const app = await server.app({ name: 'load', plan: 'unlimited' });
  const bench = (scenario, more, env) => server.command(['bench', scenario, '--url', `wss://127.0.0.1:${server.port}`, '--app-id', app.id, '--key', app.key, '--secret', app.secret, '--json', ...more], { env });
  const fanout = ['-n', '20', '--secs', '1', '--warmup', '0.2'];
  const known = await bench('fanout', fanout, { SSL_CERT_FILE: first.cert });
  assert.equal(known.code, 0, known.stdout + known.stderr);
  const churn = await bench('churn', ['-n', '10', '--secs', '1', '--warmup', '0.2', '--insecure']);
  assert.equal(churn.code, 0, churn.stdout + churn.stderr);
  const unknown = await bench('fanout', fanout, { SSL_CERT_FILE: second.cert });
  assert.equal(unknown.code, 2, unknown.stdout);
  assert.match(unknown.stderr, /--insecure.*certificate/);
});

story('a drain tells sockets 4200 over TLS, and the end is said', async (t) => {
  const going = await startServer({ env: { FANFARE_TLS_CERT: first.cert, FANFARE_TLS_KEY: first.key } });
  t.after(() => going.stop());
  const app = await going.app({ name: 'going' });
  const [raw, pusher] = [await RawSocket.connect(t, going, app), client(t, going, app)];
  await connected(pusher);
  const ended = new Promise((resolve) => raw.socket.once('end', resolve));
  const stopping = going.stop();
  assert.equal(await raw.closeCode(), 4200);
  await within(ended, 5_000, 'close_notify');
  assert.deepEqual(await stopping, { code: 0, signal: null });
  assert.equal(raw.error, undefined);
});
