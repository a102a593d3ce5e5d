// RFC 6455 by Autobahn's own cases (kosoku, from PyPI, drives them) against our accept loop, upgrade, parser, limits and
// writes; only the handler is another one, which sends every message back (server/examples/ws-echo.rs). Compression (groups
// 12 and 13) is left out: we negotiate none. What Autobahn does not ask is in ../sdk/websocket.test.mjs.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { certificate } from '../sdk/certificates.mjs';

const ECHO = process.env.FANFARE_ECHO_BIN;
const KOSOKU = process.env.FANFARE_E2E_KOSOKU ?? fileURLToPath(new URL('../sdk/.venv/bin/kosoku', import.meta.url));
const RUN_WITHIN_MS = 180_000;
const STARTS_WITHIN_MS = 20_000;
const PARALLEL = 4;

const GROUPS = { 1: 'framing', 2: 'pings and pongs', 3: 'reserved bits', 4: 'opcodes', 5: 'fragmentation', 6: 'UTF-8', 7: 'closing', 9: 'limits and performance', 10: 'auto-fragmentation' };
/** Our parser checks UTF-8 when a frame is complete; the RFC leaves it open whether that is soon enough. */
const NON_STRICT = ['6.4.3', '6.4.4'];
/** Cases whose messages of 65,535 bytes and more are over the limit of production (32 KiB): 1009 is the right answer. */
const OVER_LIMIT = ['1.1.6', '1.1.7', '1.1.8', '1.2.6', '1.2.7', '1.2.8', '10.1.1'];

const children = new Set();
const folders = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Starts the echo server on a free port; `limit` in bytes, or the limit of production; `files` of a certificate for TLS. */
async function echo(limit, files = []) {
  if (!ECHO) throw new Error('FANFARE_ECHO_BIN names the ws-echo binary under test; `make e2e` sets it');
  const child = spawn(ECHO, ['127.0.0.1:0', ...(limit ? [String(limit)] : []), ...files], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const address = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('ws-echo did not start')), STARTS_WITHIN_MS);
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
      const found = /listens on (\S+), messages up to (\d+) bytes/.exec(said);
      if (found) {
        clearTimeout(late);
        resolve(found[1]);
      }
    });
    child.once('exit', (code) => reject(new Error(`ws-echo ended with ${code}`)));
  });
  return { address, child };
}

/** The address of a way in for a client without TLS: whatever comes goes on over TLS. */
async function stripped(t, address) {
  const [host, port] = address.split(':');
  const way = net.createServer({ allowHalfOpen: true }, (client) => {
    const beyond = tls.connect({ host, port: Number(port), rejectUnauthorized: false, allowHalfOpen: true });
    client.pipe(beyond).pipe(client);
    for (const [one, other] of [[client, beyond], [beyond, client]]) one.on('error', () => other.destroy());
  });
  await new Promise((resolve) => way.listen(0, '127.0.0.1', resolve));
  t.after(() => way.close());
  return `127.0.0.1:${way.address().port}`;
}

/** Runs the suite and gives the verdict of each case. */
async function verdicts(limit, leftOut, { files, by = (address) => address } = {}) {
  const { address: own, child } = await echo(limit, files);
  const address = await by(own);
  const folder = mkdtempSync(path.join(tmpdir(), 'fanfare-conformance-'));
  folders.push(folder);
  const excluded = ['12.*', '13.*', ...leftOut].flatMap((pattern) => ['-x', pattern]);
  // Its exit code is 1 when a case failed; which ones may is decided here.
  const { stdout } = await promisify(execFile)(KOSOKU, ['-m', 'fuzzingclient', '-p', String(PARALLEL), ...excluded, '-o', folder, address], { timeout: RUN_WITHIN_MS }).catch((error) => {
    if (error.code === 1) return error;
    throw error;
  });
  assert.match(stdout, /wrote reports/);
  assert.equal(child.exitCode, null, 'the server is still there');
  child.removeAllListeners('exit');
  child.kill('SIGTERM');
  children.delete(child);
  const [cases] = Object.values(JSON.parse(readFileSync(path.join(folder, 'index.json'), 'utf8')));
  return cases;
}

/** The verdicts of one group that are not as they should be. */
function bad(cases, group, allowed = []) {
  const good = (name, { behavior, behaviorClose }) =>
    ['OK', 'INFORMATIONAL'].includes(behaviorClose) && (['OK', 'INFORMATIONAL'].includes(behavior) || (behavior === 'NON-STRICT' && NON_STRICT.includes(name)));
  const rows = Object.entries(cases).filter(([name]) => name.startsWith(`${group}.`));
  return { count: rows.length, wrong: rows.filter(([name, verdict]) => !allowed.includes(name) && !good(name, verdict)).map(([name, verdict]) => ({ name, ...verdict })) };
}

test('all 301 cases without compression, messages up to 64 MiB', { timeout: RUN_WITHIN_MS }, async (t) => {
  const cases = await verdicts(64 * 1024 * 1024, []);
  assert.equal(Object.keys(cases).length, 301);
  for (const [group, name] of Object.entries(GROUPS)) {
    await t.test(`group ${group}: ${name}`, (each) => {
      const { count, wrong } = bad(cases, group);
      each.diagnostic(`${count} cases`);
      assert.ok(count > 0);
      assert.deepEqual(wrong, []);
    });
  }
});

test('all 301 cases over TLS', { timeout: RUN_WITHIN_MS }, async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'fanfare-conformance-tls-'));
  folders.push(folder);
  const { cert, key } = certificate(folder, 'echo');
  const cases = await verdicts(64 * 1024 * 1024, [], { files: [cert, key], by: (address) => stripped(t, address) });
  assert.equal(Object.keys(cases).length, 301);
  for (const group of Object.keys(GROUPS)) assert.deepEqual(bad(cases, group).wrong, []);
});

test('groups 1 to 7 and 10 with the limits of production', { timeout: RUN_WITHIN_MS }, async (t) => {
  const cases = await verdicts(undefined, ['9.*']);
  assert.equal(Object.keys(cases).length, 247);
  for (const [group, name] of Object.entries(GROUPS).filter(([group]) => group !== '9')) {
    await t.test(`group ${group}: ${name}`, () => assert.deepEqual(bad(cases, group, OVER_LIMIT).wrong, []));
  }
  await t.test('what is over the limit is closed with 1009, and nothing else is refused', () => {
    assert.deepEqual(OVER_LIMIT.map((name) => cases[name].remoteCloseCode), OVER_LIMIT.map(() => 1009));
  });
});
