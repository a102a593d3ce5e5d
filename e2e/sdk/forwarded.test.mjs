// Whom a node behind a proxy believes: of what stands in X-Forwarded-For and X-Forwarded-Proto, the last entry of the last line, which
// the proxy wrote. A client may have sent lines of its own before it, and some proxies add theirs below (HAProxy's `option forwardfor`).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { after } from 'node:test';
import { freePort, mortal, signedQuery, startServer, story, temporaryDirectory, until } from './harness.mjs';
import { call } from './httpsession.mjs';
import { exchange } from './rawsocket.mjs';
import { Visitor } from './visitor.mjs';

const server = await startServer({ env: { FANFARE_TRUST_PROXY: 'true' } });
after(() => server.stop());
const strict = await server.app({ name: 'tls only', switches: { forceTls: true } });

/** What an app that takes TLS only says to an upgrade with these lines. */
async function upgraded(...lines) {
  const head = ['Host: x', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', ...lines.map((scheme) => `X-Forwarded-Proto: ${scheme}`)];
  const { text } = await exchange(server.port, `GET /app/${strict.key}?protocol=7 HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`, { until: (got) => /pusher:connection_established|pusher:error/.test(got) });
  return /pusher:connection_established/.test(text) ? 'open' : /"code":(\d+)/.exec(text)?.[1];
}

const signed = (...lines) => call(server, 'GET', `/apps/${strict.id}/channels?${signedQuery(strict, 'GET', `/apps/${strict.id}/channels`)}`, { headers: { 'x-forwarded-proto': lines } });

for (const [lines, tls] of [
  [['https'], true],
  [['http', 'https'], true],
  [['http, https'], true],
  [['https', 'http'], false],
  [['https, http'], false],
  [['https', 'https, http'], false],
  [['https', ''], false],
]) story(`${JSON.stringify(lines)} is ${tls ? '' : 'not '}TLS`, async () => {
  assert.equal(await upgraded(...lines), tls ? 'open' : '4000');
  assert.equal((await signed(...lines)).status, tls ? 200 : 400);
});

let people = 0;

/** Somebody new signs up with these lines of X-Forwarded-For; gives the address that their session is shown with. */
async function seen({ host, port }, lines) {
  class Forwarded extends Visitor {
    async request(method, target, { body, headers = {} } = {}) {
      const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
      const text = body?.toString();
      const form = text === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(text) };
      const { pathname, search } = new URL(target, this.base);
      const answer = await call({ host, port }, method, pathname + search, { body: text, headers: { ...form, ...(cookie ? { cookie } : {}), ...headers, 'x-forwarded-for': lines } });
      for (const line of answer.headers['set-cookie'] ?? []) this.cookies.set(line.split('=')[0], line.split(';')[0].slice(line.indexOf('=') + 1));
      return { ...answer, headers: new Headers(Object.entries(answer.headers).map(([name, value]) => [name, String(value)])), location: answer.headers.location ?? null };
    }
  }
  const who = await new Forwarded(`http://${host}:${port}`).signUp({ email: `p${(people += 1)}@forwarded.test`, password: 'quiet-harbour-51-lamp' });
  const { status, text } = await who.page('/dash/account');
  assert.equal(status, 200);
  const [[, address], ...more] = text.matchAll(/<code>([\d.]+\.x)<\/code>/g);
  assert.deepEqual(more, []);
  return address;
}

for (const [lines, address] of [
  [['198.51.100.1', '203.0.113.9'], '203.0.113.x'],
  [['198.51.100.1, 203.0.113.9'], '203.0.113.x'],
  [['198.51.100.1', '192.0.2.1, 203.0.113.9'], '203.0.113.x'],
  [['198.51.100.1', 'unknown'], '127.0.0.x'],
]) story(`of ${JSON.stringify(lines)} it is ${address} who asks`, async () => {
  assert.equal(await seen(server, lines), address);
});

story('a client of a HAProxy that adds a line is who HAProxy saw, whatever it claims', async (t) => {
  const folder = temporaryDirectory('haproxy');
  const port = await freePort();
  writeFileSync(`${folder}/config`, `global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  option forwardfor
listen public
  bind 127.0.0.1:${port}
  server node 127.0.0.1:${server.port}
`);
  const child = spawn(...mortal('/usr/sbin/haproxy', ['-db', '-q', '-f', `${folder}/config`]), { stdio: 'inherit' });
  t.after(() => child.kill('SIGKILL'));
  const proxy = { host: '127.0.0.1', port };
  await until(async () => (await call(proxy, 'GET', '/readyz')).status === 200, 'HAProxy to pass requests on', 10_000);
  assert.equal(await seen(proxy, ['198.51.100.1']), '127.0.0.x');
});
