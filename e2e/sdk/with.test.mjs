// Signing in with an account elsewhere, against a provider on this machine that checks client, redirect URI, PKCE and each code
// once: the happy path, every way in which it must not work, linking, unlinking, and the second factor behind it.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer, story } from './harness.mjs';
import { CLIENT, provider } from './oauth-like.mjs';
import { totp } from './totp.mjs';
import { Visitor, goesTo, has, ownerOf } from './visitor.mjs';

const PASSWORD = 'quiet-harbour-51-lamp';

const elsewhere = await provider();
after(() => elsewhere.end());
const server = await startServer({ env: elsewhere.env });
after(() => server.stop());

const visitor = () => new Visitor(server.url);
const signedIn = async (who) => (await who.request('GET', '/dash')).status === 200;
let ids = 100;
/** Somebody who is signed in at the provider. */
function person(email, more = {}) {
  ids += 1;
  elsewhere.person = { id: ids, email, ...more };
  return elsewhere.person;
}

/** Presses the button and looks at the provider's page; gives both ways back. */
async function setOut(who, name = 'github', page = '/login') {
  const answer = await who.submit(await who.page(page), goesTo(new RegExp(`/with/${name}(/link)?$`)));
  assert.equal(answer.status, 303, answer.text.slice(0, 300));
  const there = new URL(answer.location);
  assert.equal(there.origin, elsewhere.url);
  const text = await (await fetch(there)).text();
  const link = (id) => new RegExp(`id="${id}" href="([^"]+)"`).exec(text)[1].replaceAll('&amp;', '&').replace(server.url, '');
  return { asked: there.searchParams, yes: link('yes'), no: link('no') };
}

async function through(who, name, page) {
  const { yes } = await setOut(who, name, page);
  return who.request('GET', yes);
}

story('without settings there is no button and no address', async () => {
  const plain = await startServer();
  try {
    const who = new Visitor(plain.url);
    assert.equal((await who.page('/login')).text.includes('Continue with'), false);
    assert.equal((await who.request('GET', '/login/with/github/callback?code=x&state=y')).status, 404);
  } finally {
    await plain.stop();
  }
});

for (const [name, title] of [['github', 'GitHub'], ['google', 'Google']]) {
  story(`${title}: somebody new signs up without a password, and is the same person the next time`, async () => {
    const email = `new-${name}@example.test`;
    const them = person(email);
    const who = visitor();
    const { asked, yes } = await setOut(who, name, '/signup');
    assert.equal(asked.get('client_id'), CLIENT.id);
    assert.equal(asked.get('code_challenge_method'), 'S256');
    const answer = await who.request('GET', yes);
    assert.equal(answer.status, 303, answer.text.slice(0, 500));
    assert.match(answer.location, /\/dash\/apps\/new$/);
    assert.equal(await signedIn(who), true);
    elsewhere.person = { ...them, email: `renamed-${name}@example.test` };
    const again = visitor();
    assert.equal((await through(again, name)).status, 303);
    const account = await again.page('/dash/account');
    assert.ok(account.text.includes(email), 'the id decides, not the address');
  });
}

story('a state of another browser, a replayed answer and a foreign code sign nobody in', async () => {
  person('states@example.test');
  const victim = visitor();
  const { yes } = await setOut(victim);
  const attacker = visitor();
  await setOut(attacker);
  const grants = elsewhere.grants.length;
  for (const who of [attacker, visitor()]) {
    const answer = await who.request('GET', yes);
    assert.equal(answer.status, 400);
    assert.match(answer.text, /begun in another browser/);
    assert.equal(await signedIn(who), false);
  }
  for (const wrong of [yes.replace(/state=[^&]+/, 'state='), yes.replace(/state=../, 'state=00'), yes.replace('/github/', '/google/')]) {
    const again = visitor();
    again.cookies = new Map(victim.cookies);
    assert.equal((await again.request('GET', wrong)).status, 400, wrong);
  }
  assert.equal(elsewhere.grants.length, grants, 'no code was spent');

  const cookies = new Map(victim.cookies);
  assert.equal((await victim.request('GET', yes)).status, 303);
  assert.equal((await victim.request('GET', yes)).status, 400, 'the attempt is used up');
  const replay = visitor();
  replay.cookies = cookies;
  const refused = await replay.request('GET', yes);
  assert.equal(refused.status, 400, 'the code is used up at the provider');
  assert.match(refused.text, /used already/);
  assert.equal(await signedIn(replay), false);

  const mine = visitor();
  const { yes: own } = await setOut(mine);
  const other = visitor();
  const { yes: stolen } = await setOut(other);
  const code = (target) => new URL(target, server.url).searchParams.get('code');
  const injected = await mine.request('GET', own.replace(code(own), code(stolen)));
  assert.equal(injected.status, 400, 'a code of another attempt fails by its verifier');
  assert.equal(await signedIn(mine), false);
});

story('a no, an address that isn’t verified and a provider that is down change nothing and say so', async () => {
  person('said-no@example.test');
  const who = visitor();
  const { no } = await setOut(who);
  const refused = await who.request('GET', no);
  assert.equal(refused.status, 403);
  assert.match(refused.text, /didn(’|'|&#39;)t say who you are/);

  for (const name of ['github', 'google']) {
    person('unverified@example.test', { verified: false });
    const answer = await through(visitor(), name);
    assert.equal(answer.status, 403);
    assert.match(answer.text, /no confirmed address/);
  }

  elsewhere.mode = 'down';
  try {
    const down = await through(visitor());
    assert.equal(down.status, 502);
    assert.match(down.text, /doesn(’|'|&#39;)t answer/);
  } finally {
    elsewhere.mode = 'up';
  }
  for (const email of ['said-no@example.test', 'unverified@example.test']) await visitor().signUp({ email, password: PASSWORD });
});

story('an address that somebody has here is theirs to link after their password, and then signs in with the second factor too', async () => {
  const email = 'ana@example.test';
  const ana = await visitor().signUp({ email, password: PASSWORD });
  const them = person(email);
  const stranger = visitor();
  const refused = await through(stranger);
  assert.equal(refused.status, 409);
  assert.match(refused.text, /already have an account/i);
  assert.equal(await signedIn(stranger), false);

  const linked = await through(ana, 'github', '/dash/account');
  assert.match(linked.location, /done=linked/);
  const again = visitor();
  assert.equal((await through(again)).status, 303);
  assert.equal(await signedIn(again), true);

  const second = await visitor().signUp({ email: 'bea@example.test', password: PASSWORD });
  const taken = await through(second, 'github', '/dash/account');
  assert.equal(taken.status, 409);
  assert.match(taken.text, /another person/);

  const page = '/dash/account/two-step';
  await ana.submit(await ana.page(page), goesTo(/\/begin$/));
  const setUp = await ana.page(page);
  const secret = /data-test="factor-secret">([^<]+)</.exec(setUp.text)[1];
  assert.match((await ana.submit(setUp, goesTo(/\/confirm$/), { code: totp(secret, -1) })).text, /recovery-codes/);
  elsewhere.person = them;
  const asked = visitor();
  const half = await through(asked);
  assert.match(half.location, /^\/login\/code/);
  assert.equal(await signedIn(asked), false);
  assert.equal((await asked.submit(await asked.page('/login/code'), has('code'), { code: totp(secret) })).status, 303);
  assert.equal(await signedIn(asked), true);

  const unlinked = await ana.submit(await ana.page('/dash/account'), goesTo(/\/github\/unlink$/));
  assert.match(unlinked.location, /done=unlinked/);
  assert.equal((await through(visitor())).status, 409);
  const log = (await ana.page('/dash/audit')).text;
  assert.ok(log.includes('linked an account') && log.includes('unlinked an account'));
});

story('an attempt to link is bound to the session, and the only way in stays', async () => {
  person('only@example.test');
  const who = visitor();
  await through(who, 'github', '/signup');
  const kept = await who.submit(await who.page('/dash/account'), goesTo(/\/github\/unlink$/));
  assert.match(kept.location, /done=only-way/);
  assert.equal((await through(visitor())).status, 303);

  const victim = await visitor().signUp({ email: 'victim@example.test', password: PASSWORD });
  const attacker = await visitor().signUp({ email: 'attacker@example.test', password: PASSWORD });
  person('attacker-elsewhere@example.test');
  const { yes } = await setOut(attacker, 'google', '/dash/account');
  assert.equal((await victim.request('GET', yes)).status, 400, 'the attacker’s account is not put into the victim’s');
  assert.equal((await victim.page('/dash/account')).text.includes('/google/unlink'), false);
});

for (const mode of ['open', 'invite']) {
  story(`sign-up is ${mode}: who is asked in joins with an account elsewhere of that address, and with no other`, async () => {
    const own = await startServer({ env: { ...elsewhere.env, FANFARE_SIGNUP: mode } });
    try {
      const there = () => {
        const who = new Visitor(own.url);
        who.through = async (page) => {
          const answer = await who.submit(await who.page(page), goesTo(/\/with\/github$/));
          const text = await (await fetch(answer.location)).text();
          return who.request('GET', /id="yes" href="([^"]+)"/.exec(text)[1].replaceAll('&amp;', '&').replace(own.url, ''));
        };
        return who;
      };
      const owner = await ownerOf(own);
      const asked = async (email) => {
        const made = await owner.submit(await owner.page('/dash/people'), goesTo(/\/people\/invite$/), { email, role: 'developer' });
        return new URL(/data-test="invite-link">([^<]+)</.exec(made.text)[1]).pathname;
      };
      const invitation = await asked(`asked-${mode}@example.test`);
      person(`somebody-else-${mode}@example.test`);
      const wrong = there();
      const refused = await wrong.through(invitation);
      assert.equal(refused.status, 409, refused.text.slice(0, 400));
      assert.ok(refused.text.includes(`The invitation is for asked-${mode}@example.test`));
      assert.equal(await signedIn(wrong), false, 'and nobody was made of it');

      person(`Asked-${mode}@Example.test`);
      const ben = there();
      const joined = await ben.through(invitation);
      assert.equal(joined.status, 303, joined.text.slice(0, 400));
      assert.match(joined.location, /\/dash$/);
      const account = await ben.page('/dash/account');
      assert.ok(account.text.includes(`asked-${mode}@example.test`));
      assert.equal((await ben.request('GET', '/dash/people')).status, 403, 'a Developer, in the organisation that asked');
      assert.ok((await owner.page('/dash/people')).text.includes(`asked-${mode}@example.test`));
      assert.equal((await there().request('GET', invitation)).status, 404, 'the invitation is used up');
    } finally {
      await own.stop();
    }
  });
}

story('sign-up obeys the server: closed is closed', async () => {
  const closed = await startServer({ env: { ...elsewhere.env, FANFARE_SIGNUP: 'closed' } });
  try {
    person('outsider@example.test');
    const who = new Visitor(closed.url);
    const answer = await who.submit(await who.page('/login'), goesTo(/\/with\/github$/));
    const text = await (await fetch(answer.location)).text();
    const yes = /id="yes" href="([^"]+)"/.exec(text)[1].replaceAll('&amp;', '&').replace(closed.url, '');
    const refused = await who.request('GET', yes);
    assert.equal(refused.status, 403);
    assert.match(refused.text, /Sign-up is closed/);
  } finally {
    await closed.stop();
  }
});
