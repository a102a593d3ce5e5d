// Mail, as people get it: a real server that talks SMTP to a real mail server. From the mail to the page and back: confirming an
// address, a forgotten password, another address, an invitation; a mail server that is away; a server without one.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { OWNER, commandOk, startServer, story, until } from './harness.mjs';
import { SmtpSink } from './smtp-sink.mjs';
import { Visitor, has } from './visitor.mjs';

const PASSWORD = 'quiet-harbour-51-lamp';
const NEW = 'a-much-quieter-harbour';
const PUBLIC = 'https://ws.example.test';
const ARRIVES_WITHIN_MS = 15_000;

const sink = await new SmtpSink().start();
const server = await startServer({ env: { FANFARE_SMTP_URL: sink.url, FANFARE_URL: PUBLIC, FANFARE_MAIL_FROM: 'Acme <ws@acme.example>' } });
after(async () => {
  await server.stop();
  await sink.stop();
});

/** The one that looks like this among the mails to an address. */
const arrives = (address, subject) =>
  until(
    () => sink.to(address).find((mail) => subject.test(mail.headers.subject)),
    () => `a mail to ${address} with ${subject}; there are ${sink.mails.map((mail) => `${mail.to}: ${mail.headers.subject}`).join(', ')}\n${server.log()}`,
    ARRIVES_WITHIN_MS,
  );

/** The path of the one link of a mail, which must lead to the public address. */
function path(mail) {
  const links = mail.text.match(/https?:\/\/\S+/g) ?? [];
  assert.equal(links.length, 1, mail.text);
  assert.ok(links[0].startsWith(`${PUBLIC}/`), links[0]);
  return links[0].slice(PUBLIC.length);
}

// The page is asked for at its port, so a form that names the public address would be another origin's.
const visitor = () => new Visitor(server.url);
const send = async (one, target, fields = {}, matches = () => true) => one.submit(await one.page(target), matches, fields);
const signsIn = async (email, password) => (await send(visitor(), '/login', { email, password }, has('email', 'password'))).status === 303;

story('whoever signs up goes on at once and confirms the address by a mail', async () => {
  const ana = await visitor().signUp({ email: 'ana@shop.test', password: PASSWORD });
  assert.match((await ana.page('/dash')).text, /data-test="confirm-note"/);
  const mail = await arrives('ana@shop.test', /Confirm your e-mail/);
  assert.match(mail.headers.from, /Acme.*<ws@acme\.example>/);
  assert.match(mail.headers['content-type'], /text\/plain/);
  const link = path(mail);
  const anybody = visitor();
  assert.equal((await anybody.request('HEAD', link)).status, 200);
  const done = await send(anybody, link);
  assert.equal(done.status, 200, done.text);
  assert.doesNotMatch((await ana.page('/dash')).text, /data-test="confirm-note"/);
  assert.equal((await anybody.page(link)).status, 410);
});

story('a forgotten password is set anew by a mail, once, wherever the request said that it went to', async () => {
  const email = 'ben@shop.test';
  const ben = await visitor().signUp({ email, password: PASSWORD });
  const known = await send(visitor(), '/forgot', { email });
  const unknown = await send(visitor(), '/forgot', { email: 'nobody@shop.test' });
  assert.equal(known.status, 200);
  const same = (answer, address) => answer.text.replaceAll(address, '…');
  assert.equal(same(known, email), same(unknown, 'nobody@shop.test'));
  const link = path(await arrives(email, /Set a new password/));
  const eve = visitor();
  const weak = await send(eve, link, { password: 'password1' }, has('password'));
  assert.equal(weak.status, 422);
  const set = await send(eve, link, { password: NEW }, has('password'));
  assert.equal(set.location, '/login?done=reset');
  assert.equal((await ben.request('GET', '/dash')).status, 303, 'their sessions have ended');
  assert.deepEqual([await signsIn(email, PASSWORD), await signsIn(email, NEW)], [false, true]);
  assert.equal((await eve.page(link)).status, 410);
  await arrives(email, /was changed/);
  assert.equal(sink.to('nobody@shop.test').length, 0);
});

story('another address holds when the mail to it is opened, and both are told', async () => {
  const [old, email] = ['cem@shop.test', 'cem@home.test'];
  const cem = await visitor().signUp({ email: old, password: PASSWORD });
  const asked = await send(cem, '/dash/account', { email, password: PASSWORD }, has('email', 'password'));
  assert.equal(asked.location, '/dash/account?done=email');
  await arrives(old, /about to change/);
  const link = path(await arrives(email, /Confirm your new/));
  assert.equal(await signsIn(old, PASSWORD), true);
  assert.equal((await send(visitor(), link)).status, 200);
  assert.deepEqual([await signsIn(old, PASSWORD), await signsIn(email, PASSWORD)], [false, true]);
  for (const address of [old, email]) await arrives(address, /was changed/);
});

story('an invitation arrives with the link that the page shows', async () => {
  const owner = await visitor().signUp({ email: 'dora@shop.test', password: PASSWORD });
  const page = await send(owner, '/dash/people', { email: 'emil@shop.test', role: 'viewer' }, has('email', 'role'));
  assert.equal(page.status, 200);
  const link = path(await arrives('emil@shop.test', /^Join /));
  assert.ok(page.text.includes(`${PUBLIC}${link}`));
});

story('a mail that is refused for now goes out later, and one that is refused for good is told on the page', async () => {
  const admin = await visitor().signIn(OWNER);
  sink.refusals.push('421 try later', '550 there is nobody');
  const test = (to) => send(admin, '/dash/server/mail', { to }, (form) => form.action.endsWith('/test'));
  await test('later@shop.test');
  await until(() => sink.refusals.length === 1, 'the first refusal', ARRIVES_WITHIN_MS);
  await test('never@shop.test');
  await arrives('later@shop.test', /test mail/);
  const page = await until(async () => {
    const { text } = await admin.page('/dash/server/mail');
    return /550|there is nobody/.test(text) && text;
  }, 'the page to tell', ARRIVES_WITHIN_MS);
  assert.match(page, /not sent/);
  assert.equal(sink.to('never@shop.test').length, 0);
  const stranger = await visitor().signUp({ email: 'fay@shop.test', password: PASSWORD });
  assert.equal((await stranger.page('/dash/server/mail')).status, 404);
  assert.doesNotMatch(server.output, /\/reset\/|\/verify\//, 'no link is in the log of a server that sends mail');
});

story('without a mail server links stand in the log and on the page, and are made by hand', async () => {
  const silent = await startServer();
  try {
    const email = 'gil@shop.test';
    await new Visitor(silent.url).signUp({ email, password: PASSWORD });
    await send(new Visitor(silent.url), '/forgot', { email });
    const logged = await until(() => new RegExp(`${silent.url}/reset/[0-9a-f]{64}`).exec(silent.output)?.[0], 'the link in the log', ARRIVES_WITHIN_MS);
    const admin = await new Visitor(silent.url).signIn(OWNER);
    const page = await admin.page('/dash/server/mail');
    assert.ok(page.text.includes(logged), 'the page has it too');
    const { stdout } = await commandOk(['admin', 'reset-link', '--email', email, '--url', silent.url], { dataDir: silent.dataDir });
    const guest = new Visitor(silent.url);
    assert.equal((await guest.page(logged)).status, 410, 'a newer one was made');
    const set = await guest.submit(await guest.page(stdout.trim()), has('password'), { password: NEW });
    assert.equal(set.location, '/login?done=reset');
    await new Visitor(silent.url).signIn({ email, password: NEW });
    const missing = await silent.command(['admin', 'reset-link', '--email', 'nobody@shop.test']);
    assert.equal(missing.code, 1);
  } finally {
    await silent.stop();
  }
});
