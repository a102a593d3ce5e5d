// Another tenant's app does not exist: every page that links to it, every form on those pages and every route of the API is
// walked as its owner, then tried as a stranger and as nobody.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer, story } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { Visitor, forms } from './visitor.mjs';

const PASSWORD = 'quiet-harbour-51-lamp';

const server = await startServer();
after(() => server.stop());

async function tenant(email) {
  const visitor = await new Visitor(server.url).signUp({ email, password: PASSWORD });
  const app = await server.app({ name: `app of ${email.split('@')[0]}`, owner: email });
  const page = await visitor.page('/dash');
  const csrf = /name="?csrf-token"? content="?([^">\s]+)/.exec(page.text)[1];
  return { visitor, app, csrf };
}
const owner = await tenant('owner-of-it@example.test');
const stranger = await tenant('stranger@example.test');

/** Every page below the dashboard that is reached by links, and every form on them. */
async function walk({ visitor }) {
  const pages = new Map();
  const waiting = ['/dash'];
  while (waiting.length > 0) {
    const target = waiting.shift();
    if (pages.has(target)) continue;
    const page = await visitor.page(target);
    assert.equal(page.status, 200, `${target}, linked from a page, answers ${page.status}`);
    pages.set(target, { page, forms: forms(page.text) });
    for (const [, , link] of page.text.matchAll(/<a\b[^>]*\shref=("|')(.*?)\1/g)) {
      const url = new URL(link, new URL(target, server.url));
      if (url.origin === server.url && url.pathname.startsWith('/dash')) waiting.push(url.pathname);
    }
  }
  return pages;
}

const swap = (target) => target.replaceAll(`/apps/${stranger.app.id}`, `/apps/${owner.app.id}`);
const unknown = (target) => target.replaceAll(`/apps/${owner.app.id}`, '/apps/999999');
/** What a person reads on the page: numbers of the address aside, it must not tell the two cases apart. */
const words = (html) => html.replace(/<[^>]*>/g, ' ').replaceAll(owner.app.id, 'N').replaceAll('999999', 'N').replace(/\s+/g, ' ');

story('every page of an app answers 404 to a stranger, in the words for an unknown app', async (t) => {
  const pages = [...(await walk(owner)).keys()].filter((target) => target.includes(`/apps/${owner.app.id}`));
  t.diagnostic(`${pages.length} pages: ${pages.join(' ')}`);
  assert.ok(pages.length >= 5, pages.join(' '));
  for (const target of pages) {
    const answer = await stranger.visitor.page(target);
    assert.equal(answer.status, 404, target);
    assert.equal(answer.text.includes(owner.app.key) || answer.text.includes(owner.app.secret) || answer.text.includes('app of owner'), false, target);
    assert.equal(words(answer.text), words((await stranger.visitor.page(unknown(target))).text), target);
  }
});

story('every form of an app answers 404 to a stranger with a token of their own, and changes nothing', async (t) => {
  const before = (await owner.visitor.page(`/dash/apps/${owner.app.id}/settings`)).text;
  const seen = [];
  for (const { page, forms: found } of (await walk(stranger)).values()) {
    for (const form of found) {
      const action = swap(new URL(form.action || page.url, new URL(page.url, server.url)).pathname);
      if (form.method !== 'POST' || !action.includes(`/apps/${owner.app.id}`)) continue;
      const answer = await stranger.visitor.request('POST', action, {
        body: new URLSearchParams([...form.fields.filter(([name]) => name !== 'confirm'), ['confirm', 'app of owner-of-it']]),
        headers: { origin: server.url, 'sec-fetch-site': 'same-origin' },
      });
      assert.equal(answer.status, 404, action);
      seen.push(action);
    }
  }
  t.diagnostic(`${seen.length} forms: ${[...new Set(seen)].join(' ')}`);
  assert.ok(seen.length >= 5, seen.join(' '));
  const after = (await owner.visitor.page(`/dash/apps/${owner.app.id}/settings`)).text;
  assert.equal(words(after).replace(/\d+ [hm] ?\d*/g, ''), words(before).replace(/\d+ [hm] ?\d*/g, ''));
  assert.equal((await server.rest(owner.app, 'GET', `/apps/${owner.app.id}/channels`)).status, 200);
});

story('every route of the live API answers 404 as JSON to a stranger and refuses nobody’s session', async () => {
  for (const route of ['events?limit=5', 'events/stream', 'doctor']) {
    const target = `/v1/apps/${owner.app.id}/${route}`;
    if (route !== 'events/stream') assert.equal((await owner.visitor.request('GET', target)).status, 200, target);
    const answer = await stranger.visitor.request('GET', target);
    assert.equal(answer.status, 404, target);
    const { error } = JSON.parse(answer.text);
    assert.equal(error.code, 'not_found', target);
    const nobody = await new Visitor(server.url).request('GET', target);
    assert.ok([401, 404].includes(nobody.status), `${target}: ${nobody.status}`);
    assert.equal(nobody.text.includes(owner.app.key), false);
  }
});

story('a stranger gets no token for the live channels of an app, and no signature for its events', async () => {
  const asks = (visitor, csrf, app, group, headers = {}) =>
    visitor.request('POST', '/dash/rt/auth', {
      body: new URLSearchParams({ socket_id: '1.1', channel_name: `private-dash-app-${app.id}-${group}` }),
      headers: { 'x-csrf-token': csrf, origin: server.url, ...headers },
    });
  for (const group of ['conn', 'sub', 'msg', 'err', 'stat']) {
    assert.equal((await asks(owner.visitor, owner.csrf, owner.app, group)).status, 200, group);
    const refused = await asks(stranger.visitor, stranger.csrf, owner.app, group);
    assert.ok([403, 404].includes(refused.status), `${group}: ${refused.status}`);
    assert.equal(refused.text.includes('auth"'), false);
  }
  assert.ok([401, 403].includes((await asks(owner.visitor, 'wrong', owner.app, 'msg')).status), 'without the token of the session');
  assert.notEqual((await asks(new Visitor(server.url), owner.csrf, owner.app, 'msg')).status, 200, 'without a session');

  const signs = (visitor, csrf, app) =>
    visitor.request('POST', `/dash/apps/${app.id}/events/sign`, {
      body: JSON.stringify({ channel: 'orders', event: 'shipped', data: '{}' }),
      headers: { 'content-type': 'application/json', 'x-csrf-token': csrf, origin: server.url },
    });
  assert.equal((await signs(owner.visitor, owner.csrf, owner.app)).status, 200);
  assert.equal((await signs(stranger.visitor, stranger.csrf, owner.app)).status, 404);
  assert.notEqual((await signs(owner.visitor, 'wrong', owner.app)).status, 200);
});

story('the system app serves the dashboard’s own channels only, and is not listed', async (t) => {
  const page = (await owner.visitor.page(`/dash/apps/${owner.app.id}/console`)).text;
  const key = /data-system-key="?([0-9a-zA-Z_-]+)/.exec(page)[1];
  const raw = await RawSocket.connect(t, server, { key });
  raw.send({ event: 'pusher:subscribe', data: { channel: `private-dash-app-${owner.app.id}-msg`, auth: `${key}:${'0'.repeat(64)}` } });
  await raw.message('pusher:subscription_error');
  raw.send({ event: 'client-x', channel: `private-dash-app-${owner.app.id}-msg`, data: {} });
  await raw.message('pusher:error');
  for (const visitor of [owner.visitor, stranger.visitor]) {
    assert.equal((await visitor.page('/dash/apps/1')).status, 404);
    assert.equal((await visitor.request('GET', '/v1/apps/1/events')).status, 404);
  }
});

story('the list of apps shows one’s own alone', async () => {
  const { text } = await stranger.visitor.page('/dash');
  assert.ok(text.includes(`/dash/apps/${stranger.app.id}`));
  assert.equal(text.includes(`/dash/apps/${owner.app.id}`), false);
});

story('nobody is sent to sign in from every page', async () => {
  for (const target of (await walk(owner)).keys()) {
    const answer = await new Visitor(server.url).request('GET', target, { headers: { accept: 'text/html' } });
    assert.ok([302, 303, 307].includes(answer.status), `${target}: ${answer.status}`);
    assert.match(answer.location, /^\/login/, target);
  }
});
