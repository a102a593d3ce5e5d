// The list of docs/SECURITY.md, as far as only a running server can show it: no secret in what it logs, no GET that changes anything,
// headers on every kind of answer, and no second request hidden in a first.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { backEnd, client, subscribed } from './clients.mjs';
import { channelToken, commandOk, OWNER, startServer, story, temporaryDirectory, until } from './harness.mjs';
import { ON_POSTGRES, dump, sql } from './databases.mjs';
import { exchange } from './rawsocket.mjs';
import { forms, goesTo, has, Visitor } from './visitor.mjs';

const server = await startServer({ env: { FANFARE_LOG: 'trace' } });
after(() => server.stop());

const PERSON = { email: 'ana@secrets.test', password: 'quiet-harbour-61-lamp' };

story('no secret is in what a server logs, at its most talkative, nor in its files', async (t) => {
  const ana = await new Visitor(server.url).signUp(PERSON);
  await new Visitor(server.url).signIn(PERSON);
  const wrong = await new Visitor(server.url).page('/login');
  const guess = 'a-wrong-password-to-search-for';
  assert.equal((await new Visitor(server.url).submit(wrong, has('email', 'password'), { email: PERSON.email, password: guess })).status, 403, 'another browser has no cookie');
  const other = new Visitor(server.url);
  await other.submit(await other.page('/login'), has('email', 'password'), { email: PERSON.email, password: guess });
  const app = await server.app({ name: 'secrets', owner: PERSON.email, secret: 'an-app-secret-to-search-for' });
  const room = client(t, server, app);
  await subscribed(room, 'private-room');
  await backEnd(server, app).trigger('private-room', 'told', { text: 'a-payload-to-search-for' });
  await server.rest(app, 'POST', `/apps/${app.id}/events`, { body: { name: 'x', channel: 'y', data: 'z' }, secret: 'a-wrong-secret-to-search-for' }).catch(() => {});
  const token = channelToken(app, room.connection.socket_id, 'private-room');
  const hook = await ana.submit(await ana.page(`/dash/apps/${app.id}/webhooks/new`), has('url', 'headers'), {
    url: 'https://hooks.example.com/x?token=a-url-token-to-search-for',
    headers: 'X-Key: a-header-to-search-for',
    kind: 'channel_occupied',
  });
  assert.equal(hook.status, 303, hook.text);
  await ana.submit(await ana.page('/dash/people'), goesTo(/\/people\/invite$/), { email: 'ben@secrets.test', role: 'viewer' });
  const master = readFileSync(path.join(server.dataDir, 'secret-key'), 'utf8').trim();
  const session = ana.cookies.get('fanfare_session');
  const [{ fields }] = forms((await ana.page('/dash/account')).text).filter((form) => form.fields.some(([name]) => name === 'csrf'));
  const csrf = fields.find(([name]) => name === 'csrf')[1];
  const secrets = { password: PERSON.password, owner: OWNER.password, guess, app: app.secret, token, master, session, csrf };
  for (const [name, text] of Object.entries({ header: 'a-header-to-search-for', url: 'a-url-token-to-search-for', payload: 'a-payload-to-search-for', ...secrets })) {
    assert.ok(text.length > 10, name);
    assert.equal(server.output.split('\n').find((line) => line.includes(text))?.slice(0, 300), undefined, `${name} is in the log`);
  }
  assert.match(server.output, /TRACE|DEBUG sqlx::query/, 'the log was as talkative as it can be');
  const files = readdirSync(server.dataDir).filter((name) => name !== 'secret-key' && statSync(path.join(server.dataDir, name)).isFile());
  const places = files.map((file) => [file, readFileSync(path.join(server.dataDir, file))]);
  if (ON_POSTGRES) places.push(['the database', dump(server.dataDir).join('\n')]);
  for (const [file, bytes] of places) {
    for (const [name, text] of Object.entries(secrets)) assert.equal(bytes.includes(text), false, `${name} is in ${file}`);
  }
});

/** Every table's checksum in a fresh backup: the same for the same content. On PostgreSQL its rows, by table. */
async function content(dataDir) {
  if (ON_POSTGRES) {
    const tables = {};
    for (const row of dump(dataDir)) (tables[row.split(' ')[2]] ??= []).push(row);
    for (const rows of Object.values(tables)) rows.sort();
    return tables;
  }
  const folder = temporaryDirectory();
  await commandOk(['backup', '--to', path.join(folder, 'now.tar')], { dataDir });
  const program = `import hashlib, json, sqlite3, sys, tarfile
tarfile.open(sys.argv[1] + "/now.tar").extract("fanfare.db", sys.argv[1])
base = sqlite3.connect(sys.argv[1] + "/fanfare.db")
names = [name for (name,) in base.execute("select name from sqlite_master where type = 'table' order by name")]
print(json.dumps({name: hashlib.sha256(repr(sorted(map(repr, base.execute(f'select * from "{name}"')))).encode()).hexdigest() for name in names}))`;
  return JSON.parse(execFileSync('python3', ['-c', program, folder], { encoding: 'utf8' }));
}

story('every address that a page leads to answers 200, and looking at all of them changes nothing', async (t) => {
  const quiet = await startServer(); // without traffic: what an app used is written down in the background, at no known moment
  t.after(() => quiet.stop());
  const owner = await new Visitor(quiet.url).signIn(OWNER);
  await quiet.app({ name: 'crawled', owner: OWNER.email });
  const seen = new Map();
  const visit = async () => {
    seen.clear();
    const waiting = ['/dash', '/dash/server', '/dash/account', '/dash/people', '/e/'];
    while (waiting.length > 0) {
      const target = waiting.shift();
      if (seen.has(target)) continue;
      const answer = await owner.request('GET', target, { headers: { accept: 'text/html' } });
      seen.set(target, answer.status);
      if (!/^text\/html/.test(answer.headers.get('content-type') ?? '')) continue;
      for (const [, link] of answer.text.matchAll(/<a\b[^>]*\bhref="([^"#]*)/g)) {
        if (link.startsWith('/') && !link.startsWith('//') && link !== '/') waiting.push(link.replaceAll('&#38;', '&'));
      }
    }
  };
  // What making the app used is written down in the background.
  const counted = 'select count(*) as n from app_keys, usage_minutes where last_rest_ms > 0';
  await until(() => sql(quiet.dataDir, counted)[0].n > 0, 'the use of the app to be written down');
  await visit(); // what is written down at the first look only, such as the use of the session, is written now
  const before = await content(quiet.dataDir);
  assert.ok(Object.keys(before).length > (ON_POSTGRES ? 8 : 20), 'the tables are seen'); // there, those with rows
  await visit();
  assert.deepEqual(await content(quiet.dataDir), before);
  assert.ok(seen.size > 30, [...seen.keys()].join(' '));
  assert.deepEqual([...seen].filter(([, status]) => status !== 200), []);
});

story('what is not a page is locked down too: errors of every kind say nosniff, and none can be framed', async () => {
  const owner = await new Visitor(server.url).signIn(OWNER);
  for (const [method, target, status] of [
    ['GET', '/nowhere', 404],
    ['GET', '/dash/nowhere', 404],
    ['DELETE', '/dash', 405],
    ['POST', '/login', 403],
    ['GET', '/dash/apps/1', 404],
    ['GET', '/assets/x/none', 404],
    ['POST', '/dash/apps/new', 403],
  ]) {
    const { headers, status: got } = await owner.request(method, target);
    assert.equal(got, status, `${method} ${target}`);
    assert.equal(headers.get('x-content-type-options'), 'nosniff', target);
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'.*frame-ancestors 'none'/, target);
    assert.equal(headers.get('referrer-policy'), 'no-referrer', target);
  }
});

const HIDDEN = 'GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n';
const POST = 'POST /login HTTP/1.1\r\nHost: x\r\n';
const CHUNKED_END = '0\r\n\r\n';
/** Requests whose end two readers could see at different places, each with another request behind. */
const SMUGGLED = [
  ['Content-Length and Transfer-Encoding', `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['the two in the other order', `${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['Content-Length over a hidden request', `${POST}Content-Length: ${5 + HIDDEN.length}\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['two lengths', `${POST}Content-Length: 0\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a list of lengths', `${POST}Content-Length: 0, ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a length with a sign', `${POST}Content-Length: +0\r\n\r\n${HIDDEN}`],
  ['a length in hex', `${POST}Content-Length: 0x0\r\n\r\n${HIDDEN}`],
  ['a negative length', `${POST}Content-Length: -1\r\n\r\n${HIDDEN}`],
  ['a length beyond all numbers', `${POST}Content-Length: 99999999999999999999999\r\n\r\n${HIDDEN}`],
  ['an unknown coding last', `${POST}Transfer-Encoding: chunked, identity\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['a coding that only looks like chunked', `${POST}Transfer-Encoding: xchunked\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['chunked behind a control character', `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['two codings in two lines', `${POST}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['chunked in HTTP/1.0', `POST /login HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['a folded line', `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['a blank before the colon', `${POST}Transfer-Encoding : chunked\r\n\r\n${CHUNKED_END}${HIDDEN}`],
  ['a NUL in a value', `${POST}X: a\0b\r\nContent-Length: 0\r\n\r\n${HIDDEN}`],
  ['a chunk size with a sign', `${POST}Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n${HIDDEN}`],
  ['a chunk size beyond all numbers', `${POST}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n${HIDDEN}`],
  ['a chunk without its end', `${POST}Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n${CHUNKED_END}${HIDDEN}`],
  ['a carriage return alone', `${POST}X: a\rContent-Length: 0\r\n\r\n${HIDDEN}`],
];

story('no request is hidden in another: after one that can be read in two ways nothing more is answered', async () => {
  const plain = await exchange(server.port, `${POST}Content-Length: 0\r\n\r\n${HIDDEN}`, { until: (text) => text.match(/HTTP\/1\.1 \d/g)?.length === 2 });
  assert.equal(plain.text.match(/HTTP\/1\.1 \d/g).length, 2, 'two honest requests on one connection are two answers');
  for (const [what, bytes] of SMUGGLED) {
    const { text, closed } = await exchange(server.port, Buffer.from(bytes, 'latin1'), { deadlineMs: 15_000 });
    const answers = text.match(/HTTP\/1\.[01] \d{3}/g) ?? [];
    assert.ok(answers.length <= 1 && closed, `${what}: ${answers.join(', ')}${closed ? '' : ', and still open'}`);
  }
});

story('an address that a stranger claims to come from does not move the brake on guessing', async (t) => {
  const guarded = await startServer();
  t.after(() => guarded.stop());
  const statuses = [];
  for (let n = 0; n < 12; n += 1) {
    const who = new Visitor(guarded.url);
    const page = await who.page('/login');
    const [{ fields }] = forms(page.text);
    const body = new URLSearchParams([...fields.filter(([name]) => !['email', 'password'].includes(name)), ['email', `u${n}@spoof.test`], ['password', 'not-the-password']]);
    const answer = await who.request('POST', '/login', { body, headers: { origin: guarded.url, 'x-forwarded-for': `203.0.${n}.9` } });
    statuses.push(answer.status);
  }
  assert.equal(statuses[0] !== 429, true, `${statuses}`);
  assert.equal(statuses.at(-1), 429, `${statuses}`);
});
