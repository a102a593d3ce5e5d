// An app that takes TLS only, behind a proxy that speaks it: what an unmodified client makes of 4000. The certificate is made
// for the run and signed by nobody; Chromium is told not to mind.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { customer } from '../sdk/customer.mjs';
import { startServer, story, temporaryDirectory, until } from '../sdk/harness.mjs';
import { launch } from './chromium.mjs';
import { IN_PAGE, guest, siteFiles } from './guests.mjs';

const server = await startServer({ env: { FANFARE_TRUST_PROXY: 'true' } });
after(() => server.stop());
const browser = await launch();

/** A TLS proxy in front of the server, as nginx would be; gives its port. */
async function proxy(t) {
  const folder = temporaryDirectory('tls');
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(folder, name));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=127.0.0.1'], { stdio: 'ignore' });
  const listener = https.createServer({ key: readFileSync(key), cert: readFileSync(cert) });
  const sockets = new Set();
  listener.on('upgrade', (request, socket, head) => {
    const upstream = net.connect(server.port, server.host);
    for (const one of [socket, upstream]) sockets.add(one.on('error', () => {}));
    const headers = request.rawHeaders.reduce((text, part, n) => text + part + (n % 2 ? '\r\n' : ': '), '');
    upstream.write(`GET ${request.url} HTTP/1.1\r\n${headers}X-Forwarded-Proto: https\r\n\r\n`);
    upstream.write(head);
    upstream.pipe(socket).pipe(upstream);
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    listener.closeAllConnections();
    listener.close();
  });
  return listener.address().port;
}

story('a client that came without TLS to an app that wants it comes back over TLS by itself', async (t) => {
  const app = await server.app({ name: 'tls only', switches: { forceTls: true } });
  const site = await customer(t, server, app, { files: siteFiles(IN_PAGE, 'pusher-js/dist/web/pusher.min.js') });
  const more = { wssPort: await proxy(t), enabledTransports: ['ws', 'wss'] };
  const run = await guest(t, browser, { key: app.key, host: server.host, port: server.port, origin: site.origin, user: 'ana', more }, { ignoreHTTPSErrors: true });
  await until(async () => (await run('state')).state === 'connected', async () => `to be connected, seen ${JSON.stringify(await run('seen'))}`, 10_000);
  const states = (await run('seen')).filter(({ where }) => where === 'connection').map(({ event }) => event);
  assert.equal(states.includes('disconnected'), false, states.join());
  await run('subscribe', 'private-safe');
  await until(async () => (await run('seen')).some(({ event }) => event === 'pusher:subscription_succeeded'), 'the subscription');
  await site.sdk.trigger('private-safe', 'said', { n: 1 }).then(
    () => assert.fail('a publish without TLS should be refused'),
    (error) => t.diagnostic(`a publish without TLS is refused with ${error.status}`),
  );
});
