// What an organisation is told when its limits come near: a strip on its pages, a mail to owners and admins and an event to each
// webhook endpoint that wants it, once a day for each step, whichever node sees it. And that one address opens connections no
// faster than it may.
import http from 'node:http';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { backEnd } from './clients.mjs';
import { commandOk, sleep, startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { SmtpSink } from './smtp-sink.mjs';
import { Visitor, ownerOf } from './visitor.mjs';

const PASSWORD = 'quiet-harbour-51-lamp';
/** Counters are looked at every 5 s, and mail is sent a second later at the most. */
const TOLD_WITHIN_MS = 15_000;

const sink = await new SmtpSink().start();
const env = { FANFARE_SMTP_URL: sink.url, FANFARE_URL: 'https://ws.example.test', FANFARE_TRUST_PROXY: 'true', FANFARE_WEBHOOK_ALLOW: '127.0.0.1' };
const server = await startServer({ env });
// A second node over the same database, whose connections are its own.
const otherNode = await startServer({ env, dataDir: server.dataDir });
after(async () => {
  await otherNode.stop();
  await server.stop();
  await sink.stop();
});

const TARGET = (app) => `/app/${app.key}?protocol=7&client=js&version=8.6.0&flash=false`;
const opened = async (t, on, app, n) => {
  for (let i = 0; i < n; i += 1) await RawSocket.connect(t, on, app);
};

story('80 % and 100 % of the connections are told once, by mail and on every page of the organisation', async (t) => {
  const hal = await new Visitor(server.url).signUp({ email: 'hal@shop.test', password: PASSWORD });
  const app = await server.app({ name: 'near', owner: 'hal@shop.test' });
  await otherNode.serves(app);
  const mails = () => sink.to('hal@shop.test').filter((mail) => mail.headers.subject.includes('connections')).map((mail) => mail.headers.subject);
  await opened(t, server, app, 79);
  assert.doesNotMatch((await hal.page('/dash')).text, /quota-note/);
  await opened(t, server, app, 1);
  await until(() => mails().length === 1, () => `the first mail; there are ${mails().join(', ')}`, TOLD_WITHIN_MS);
  assert.match(mails()[0], /80 % of the connections are in use/);
  const [mail] = sink.to('hal@shop.test').filter(({ text }) => text.includes('80 of 100'));
  assert.match(mail.text, /https:\/\/ws\.example\.test\/dash\/usage/);
  for (const page of ['/dash', '/dash/usage', '/dash/account']) {
    assert.match((await hal.page(page)).text, /data-test="quota-note"><strong>80 of 100 connections are in use/, page);
  }
  await opened(t, server, app, 20);
  await until(() => mails().length === 2, () => `the second mail; there are ${mails().join(', ')}`, TOLD_WITHIN_MS);
  assert.match(mails()[1], /all connections are in use/);
  // The other node sees the same day come to its end as well, and has nothing new to tell.
  await opened(t, otherNode, app, 100);
  await sleep(7_000);
  assert.equal(mails().length, 2);
}, { deadlineMs: 90_000 });

/** A customer's server; `posts` is what came. */
async function receiver(t) {
  const posts = [];
  const listening = http.createServer((request, response) => {
    let rawBody = '';
    request.setEncoding('utf8').on('data', (text) => (rawBody += text));
    request.on('end', () => {
      posts.push({ headers: request.headers, rawBody, events: JSON.parse(rawBody).events });
      response.writeHead(200).end();
    });
  });
  await new Promise((resolve) => listening.listen(0, '127.0.0.1', resolve));
  t.after(() => listening.close());
  return { posts, url: `http://127.0.0.1:${listening.address().port}/hooks` };
}

story('webhook endpoints that want it are told of 80 % and 100 % once, whatever app they are of and however many nodes there are', async (t) => {
  const ida = await new Visitor(server.url).signUp({ email: 'ida@shop.test', password: PASSWORD });
  const app = await server.app({ name: 'busy', owner: 'ida@shop.test' });
  const quiet = await server.app({ name: 'quiet', owner: 'ida@shop.test' });
  await otherNode.serves(app);
  const add = async (of, url, ...kinds) =>
    JSON.parse((await commandOk(['webhooks', 'add', '--app', of.id, '--url', url, '--json', ...kinds], { dataDir: server.dataDir, env: { FANFARE_WEBHOOK_ALLOW: '127.0.0.1' } })).stdout);
  const [own, others, without] = [await receiver(t), await receiver(t), await receiver(t)];
  const made = await add(app, own.url, '--kinds', 'quota_threshold');
  // The filter is about channels, and this is about none.
  await add(quiet, others.url, '--kinds', 'quota_threshold', '--channels', 'prefix:private-');
  // Not among the kinds of an endpoint of which nothing was said.
  const { kinds } = await add(app, without.url);
  assert.equal(kinds.length, 7);

  const day = () => Math.floor(Date.now() / 86_400_000) * 86_400_000;
  const began = day();
  const expected = (threshold, used) => ({ name: 'quota_threshold', resource: 'connections', threshold, used, limit: 100, period_start_ms: began });
  const first = async (n, event) => {
    for (const to of [own, others]) {
      await until(() => to.posts.length >= n, () => `post ${n}; there were ${JSON.stringify(to.posts)}`, TOLD_WITHIN_MS);
      assert.deepEqual(to.posts[n - 1].events, [event]);
    }
  };
  await opened(t, server, app, 80);
  await first(1, expected(80, 80));
  await opened(t, server, app, 20);
  await first(2, expected(100, 100));
  // The other node sees the same of its own connections, and has nothing new to tell.
  await opened(t, otherNode, app, 100);
  await sleep(7_000);
  if (day() === began) assert.deepEqual([own, others].map(({ posts }) => posts.length), [2, 2]);
  assert.equal(without.posts.some(({ events }) => events.some(({ name }) => name === 'quota_threshold')), false);

  for (const [of, to] of [[app, own], [quiet, others]]) {
    const webhook = backEnd(server, of).webhook({ headers: to.posts[0].headers, rawBody: to.posts[0].rawBody });
    assert.equal(webhook.isValid(), true);
    assert.deepEqual(webhook.getEvents(), to.posts[0].events);
  }
  const log = await ida.page(`/dash/apps/${app.id}/webhooks/${made.id}`);
  assert.equal(log.text.match(/<span class="mono">quota_threshold<\/span>/g).length, 2, 'both stand in the log');
  const rows = (await ida.rows(app)).concat(await new Visitor(otherNode.url).signIn({ email: 'ida@shop.test', password: PASSWORD }).then((there) => there.rows(app)));
  assert.ok(rows.filter(({ kind }) => kind === 'webhook_sent').length >= 2, 'and in the console of the node that sent it');
}, { deadlineMs: 90_000 });

story('one address opens connections no faster than it may, others are let in, and the console says why', async (t) => {
  const app = await server.app({ name: 'wild page', plan: 'business' });
  const from = (ip) => RawSocket.open(t, server, TARGET(app), { headers: { 'X-Forwarded-For': ip } });
  const codes = new Map();
  const open = async (ip) => {
    const raw = await from(ip);
    const first = await until(() => raw.messages[0], 'the first message');
    const code = first.event === 'pusher:error' ? first.data.code : 0;
    codes.set(code, (codes.get(code) ?? 0) + 1);
    raw.socket.destroy();
    return code;
  };
  await until(async () => {
    await Promise.all(Array.from({ length: 50 }, () => open('203.0.113.7')));
    return codes.has(4100);
  }, () => `a refusal; there were ${[...codes]}`, 30_000);
  assert.deepEqual([...codes.keys()].sort(), [0, 4100]);
  assert.ok(codes.get(0) >= 500, `${codes.get(0)} were let in`);
  assert.equal(await open('203.0.113.8'), 0);
  const owner = await ownerOf(server);
  // Rows of a flood are thinned out, and those of the first refusals may be among the ones left out.
  const row = await until(async () => {
    await Promise.all(Array.from({ length: 50 }, () => open('203.0.113.7')));
    return (await owner.rows(app)).find((one) => one.kind === 'connection_refused');
  }, 'the row', 20_000);
  assert.equal(row.hint.id, 'connects_too_fast');
  await until(async () => (await open('203.0.113.7')) === 0, 'the same address to be let in again');
}, { deadlineMs: 90_000 });
