// Accounts through the pages: sign-up, sign-in, sign-out, the cookie, forged requests, guessing, and the doors of a first run.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer, story, until } from './harness.mjs';
import { Visitor, goesTo, has } from './visitor.mjs';

const PASSWORD = 'quiet-harbour-51-lamp';

const server = await startServer();
after(() => server.stop());

const visitor = () => new Visitor(server.url);
const attempt = async (who, email, password) => who.submit(await who.page('/login'), has('email', 'password'), { email, password });
const signedIn = async (who) => (await who.request('GET', '/dash')).status === 200;
const sessionCookie = (answer) => answer.headers.getSetCookie().find((line) => line.startsWith('fanfare_session='));

story('sign-up signs in and leads to the first app', async () => {
  const who = visitor();
  const answer = await who.submit(await who.page('/signup'), has('email', 'password'), { email: 'Ana@Example.test', password: PASSWORD });
  assert.equal(answer.status, 303);
  assert.equal(await signedIn(who), true);
  const next = await who.page(answer.location);
  assert.match(next.url, /\/dash\/apps\/new$/);
});

story('sign-up refuses bad addresses and passwords beside their fields and keeps what was typed', async () => {
  for (const [email, password] of [['no-at-sign', PASSWORD], ['x@example.test', 'short'], ['x@example.test', 'password1'], ['x@example.test', 'p'.repeat(200)]]) {
    const who = visitor();
    const answer = await who.submit(await who.page('/signup'), has('email', 'password'), { email, password });
    assert.equal(answer.status, 422, `${email} ${password.slice(0, 20)}`);
    assert.match(answer.text, /class="error"|class="form-error"/);
    assert.ok(answer.text.includes(email), 'the address is kept');
    assert.equal(answer.text.includes(`value="${password}"`), false, 'the password is not sent back');
    assert.equal(who.cookies.has('fanfare_session'), false);
  }
});

story('a taken address is said, whatever its letters’ case', async () => {
  await visitor().signUp({ email: 'taken@example.test', password: PASSWORD });
  const who = visitor();
  const answer = await who.submit(await who.page('/signup'), has('email', 'password'), { email: 'TAKEN@example.test', password: PASSWORD });
  assert.equal(answer.status, 409);
  assert.match(answer.text, /already have an account/i);
});

story('an unknown address and a wrong password get the same answer in about the same time', async (t) => {
  await visitor().signUp({ email: 'known@example.test', password: PASSWORD });
  const times = { known: [], unknown: [] };
  const texts = {};
  for (let n = 0; n < 3; n += 1) {
    for (const [what, email] of [['known', 'known@example.test'], ['unknown', 'nobody-here@example.test']]) {
      const who = visitor();
      const page = await who.page('/login');
      const began = performance.now();
      const answer = await who.submit(page, has('email', 'password'), { email, password: 'wrong-wrong-wrong' });
      times[what].push(performance.now() - began);
      assert.ok([401, 422, 429].includes(answer.status), String(answer.status));
      if (answer.status === 429) continue;
      texts[what] ??= answer.text.replaceAll(email, 'E').replace(/name="?csrf"? value="?[^">\s]+/g, 'csrf');
    }
  }
  assert.equal(texts.known, texts.unknown);
  const [known, unknown] = [Math.min(...times.known), Math.min(...times.unknown)];
  t.diagnostic(`fastest answers: wrong password ${known.toFixed(1)} ms, unknown address ${unknown.toFixed(1)} ms`);
  assert.ok(unknown > known / 3 && known > unknown / 3, `wrong password ${known} ms, unknown address ${unknown} ms`);
});

story('the session cookie is HttpOnly and SameSite=Lax, is new with each sign-in, and ends with sign-out', async () => {
  const email = 'cookie@example.test';
  await visitor().signUp({ email, password: PASSWORD });
  const who = visitor();
  const planted = 'a'.repeat(64);
  who.cookies.set('fanfare_session', planted);
  const answer = await attempt(who, email, PASSWORD);
  const line = sessionCookie(answer) ?? '';
  assert.match(line, /;\s*HttpOnly/i);
  assert.match(line, /;\s*SameSite=Lax/i);
  assert.match(line, /;\s*Path=\/(;|$)/i);
  assert.doesNotMatch(line, /;\s*Secure/i, 'over http a Secure cookie would be lost');
  assert.notEqual(who.cookies.get('fanfare_session'), planted, 'a planted session is not taken over');
  assert.equal(await signedIn(who), true);

  const copy = new Visitor(server.url);
  copy.cookies = new Map(who.cookies);
  const left = await who.submit(await who.page('/dash'), goesTo(/^\/logout$/));
  assert.equal(left.status, 303);
  assert.equal(await signedIn(who), false);
  assert.equal(await signedIn(copy), false, 'the session ended on the server, not only in the browser');
});

story('behind a proxy that speaks https the cookie is Secure', async (t) => {
  const behind = await startServer({ env: { FANFARE_TRUST_PROXY: 'true' } });
  t.after(() => behind.stop());
  const who = new Visitor(behind.url);
  const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' };
  const page = await who.request('GET', '/login', { headers });
  const csrf = /name="?csrf"? value="?([^">\s]+)/.exec(page.text)[1];
  const answer = await who.request('POST', '/login', {
    body: new URLSearchParams({ csrf, email: 'owner@example.test', password: PASSWORD }),
    headers: { ...headers, origin: `https://127.0.0.1:${behind.port}` },
  });
  assert.equal(answer.status, 303, answer.text.slice(0, 300));
  assert.match(sessionCookie(answer), /;\s*Secure/i);
});

story('a request without the token, with another’s token or from another origin changes nothing', async () => {
  const who = await visitor().signUp({ email: 'forged@example.test', password: PASSWORD });
  const app = await server.app({ name: 'forged', owner: 'forged@example.test' });
  const target = `/dash/apps/${app.id}/settings/name`;
  const token = async (person) => /name="?csrf"? value="?([^">\s]+)/.exec((await person.page('/dash')).text)[1];
  const other = await visitor().signUp({ email: 'other-token@example.test', password: PASSWORD });
  const own = await token(who);
  const cases = [
    [{ name: 'changed' }, { origin: server.url }],
    [{ name: 'changed', csrf: 'x' }, { origin: server.url }],
    [{ name: 'changed', csrf: await token(other) }, { origin: server.url }],
    [{ name: 'changed', csrf: own }, { origin: 'https://evil.test' }],
    [{ name: 'changed', csrf: own }, { origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }],
  ];
  for (const [fields, headers] of cases) {
    const answer = await who.request('POST', target, { body: new URLSearchParams(fields), headers });
    assert.equal(answer.status, 403, JSON.stringify([fields, headers]));
  }
  const page = await who.page(`/dash/apps/${app.id}/settings`);
  assert.equal(page.text.includes('value="forged"'), true);
  // Signing in and up are guarded too: a forged sign-in would put a victim into the attacker's account.
  for (const path of ['/login', '/signup']) {
    const answer = await visitor().request('POST', path, { body: new URLSearchParams({ email: 'forged@example.test', password: PASSWORD }), headers: { origin: server.url } });
    assert.equal(answer.status, 403, path);
  }
});

story('no GET changes anything', async () => {
  const who = await visitor().signUp({ email: 'get@example.test', password: PASSWORD });
  const app = await server.app({ name: 'get', owner: 'get@example.test' });
  for (const target of ['/logout', `/dash/apps/${app.id}/delete`, `/dash/apps/${app.id}/settings/enabled`]) {
    const answer = await who.request('GET', target);
    assert.ok([404, 405].includes(answer.status), `${target}: ${answer.status}`);
  }
  assert.equal(await signedIn(who), true);
  assert.equal((await server.rest(app, 'GET', `/apps/${app.id}/channels`)).status, 200);
});

story('guessing is slowed down with 429 and a time to wait, and it does not lock the owner out elsewhere for good', async (t) => {
  const guarded = await startServer();
  t.after(() => guarded.stop());
  const email = 'owner@example.test';
  let refused;
  for (let n = 0; n < 30 && !refused; n += 1) {
    const who = new Visitor(guarded.url);
    const answer = await attempt(who, email, `wrong-guess-${n}`);
    if (answer.status === 429) refused = { answer, tries: n };
  }
  assert.ok(refused, 'thirty wrong guesses in a row were all answered');
  t.diagnostic(`slowed down after ${refused.tries} tries`);
  assert.ok(Number(refused.answer.headers.get('retry-after')) > 0, 'Retry-After');
  assert.match(refused.answer.text, /wait|later|again in/i);
});

story('a renamed, then deleted app is gone for its clients; deleting asks for the name', async (t) => {
  const who = await visitor().signUp({ email: 'deleter@example.test', password: PASSWORD });
  const app = await server.app({ name: 'short-lived', owner: 'deleter@example.test' });
  const settings = () => who.page(`/dash/apps/${app.id}/settings`);
  assert.equal((await who.submit(await settings(), goesTo(/\/settings\/name$/), { name: 'Renamed <b>' })).status, 303);
  const renamed = await settings();
  assert.ok(renamed.text.includes('Renamed &#60;b&#62;') || renamed.text.includes('Renamed &lt;b&gt;'), 'the name is shown as text');
  assert.equal((await who.submit(await settings(), goesTo(/\/delete$/), { confirm: 'wrong' })).status, 422);
  assert.equal((await server.rest(app, 'GET', `/apps/${app.id}/channels`)).status, 200);
  assert.equal((await who.submit(await settings(), goesTo(/\/delete$/), { confirm: 'Renamed <b>' })).status, 303);
  await until(async () => (await server.rest(app, 'GET', `/apps/${app.id}/channels`)).status === 404, 'the API to forget the app');
  assert.equal((await who.page(`/dash/apps/${app.id}`)).status, 404);
  const { RawSocket } = await import('./rawsocket.mjs');
  const raw = await RawSocket.open(t, server, `/app/${app.key}?protocol=7`);
  assert.equal(await raw.closeCode(), 4001);
});

story('client events are switched by the settings page', async (t) => {
  const who = await visitor().signUp({ email: 'switch@example.test', password: PASSWORD });
  const app = await server.app({ name: 'switch', owner: 'switch@example.test' });
  const { client, subscribed, arrives } = await import('./clients.mjs');
  assert.equal((await who.submit(await who.page(`/dash/apps/${app.id}/settings`), goesTo(/\/client-events$/), { on: '1' })).status, 303);
  const [from, to] = [client(t, server, app), client(t, server, app)];
  const [sender, receiver] = [await subscribed(from, 'private-x'), await subscribed(to, 'private-x')];
  await until(async () => {
    sender.trigger('client-hello', {});
    await new Promise((resolve) => setTimeout(resolve, 150));
    return receiver.events.some(({ event }) => event === 'client-hello');
  }, 'the switch to reach the node', 3_000);
  await arrives(receiver, 'client-hello');
});

story('closed sign-up takes nobody, and says so', async (t) => {
  const closed = await startServer({ env: { FANFARE_SIGNUP: 'closed' } });
  t.after(() => closed.stop());
  const who = new Visitor(closed.url);
  const page = await who.page('/signup');
  assert.match(page.text, /closed/i);
  const csrf = /name="?csrf"? value="?([^">\s]+)/.exec((await who.page('/login')).text)[1];
  const forced = await who.request('POST', '/signup', { body: new URLSearchParams({ csrf, email: 'x@example.test', password: PASSWORD }), headers: { origin: closed.url } });
  assert.notEqual(forced.status, 303);
  assert.equal(who.cookies.has('fanfare_session'), false);
});

story('the first owner is made at /setup with the token from the log, once', async (t) => {
  const fresh = await startServer({ owner: false });
  t.after(() => fresh.stop());
  const address = await until(() => /\/setup\?token=\S+/.exec(fresh.output)?.[0], () => `the setup address in the log:\n${fresh.log()}`);
  const front = await new Visitor(fresh.url).page('/');
  assert.match(front.url, /\/setup/, 'the front page leads there');

  const wrong = new Visitor(fresh.url);
  const refused = await wrong.submit(await wrong.page('/setup'), has('token', 'email', 'password'), { token: 'guess', email: 'a@example.test', password: PASSWORD });
  assert.ok([403, 422].includes(refused.status), String(refused.status));

  const who = new Visitor(fresh.url);
  const answer = await who.submit(await who.page(address), has('token', 'email', 'password'), { email: 'first@example.test', password: PASSWORD });
  assert.equal(answer.status, 303, answer.text.slice(0, 300));
  assert.equal((await who.request('GET', '/dash')).status, 200);
  assert.equal((await new Visitor(fresh.url).page('/setup')).status, 404, 'the door is closed');
  assert.equal((await new Visitor(fresh.url).page(address)).status, 404);
});

story('the owner from the environment is made once and keeps a password that was changed since', async (t) => {
  const env = { FANFARE_ADMIN_EMAIL: 'env@example.test', FANFARE_ADMIN_PASSWORD: PASSWORD };
  const own = await startServer({ owner: false, env });
  t.after(() => own.stop());
  await new Visitor(own.url).signIn({ email: env.FANFARE_ADMIN_EMAIL, password: PASSWORD });
  await own.stop();
  own.env.FANFARE_ADMIN_PASSWORD = 'another-lamp-52-harbour';
  await own.start();
  await new Visitor(own.url).signIn({ email: env.FANFARE_ADMIN_EMAIL, password: PASSWORD });
});

story('pages carry the headers that keep them to themselves', async () => {
  for (const target of ['/login', '/signup', '/no-such-page']) {
    const { headers } = await visitor().request('GET', target, { headers: { accept: 'text/html' } });
    const policy = headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'none'/, target);
    assert.match(policy, /script-src 'self'(;|$)/, target);
    assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval|\*/, target);
    assert.match(policy, /frame-ancestors 'none'/, target);
    assert.equal(headers.get('x-content-type-options'), 'nosniff', target);
    assert.ok(headers.get('referrer-policy'), target);
  }
});
