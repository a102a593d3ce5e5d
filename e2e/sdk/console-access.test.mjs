// Who watches an app's console, and for how long. What a Viewer's socket carries is read byte for byte beside a Developer's; and
// each way in which access ends closes the console's sockets within a second, while those who may come back.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { APP_SERVED_WITHIN_MS, startServer, story, until } from './harness.mjs';
import { CLOSE, RawSocket } from './rawsocket.mjs';
import { Visitor, goesTo, has } from './visitor.mjs';

const PASSWORD = 'quiet-harbour-51-lamp';
const NEW_PASSWORD = 'loud-harbour-52-lamp';
const GROUPS = ['conn', 'sub', 'msg', 'err', 'hook', 'stat'];

const server = await startServer();
after(() => server.stop());

let people = 0;
/** Somebody new with an organisation of their own, and an app in it. */
async function owner(switches = {}) {
  people += 1;
  const email = `owner-${people}@example.test`;
  const visitor = await new Visitor(server.url).signUp({ email, password: PASSWORD });
  return { visitor, email, app: await server.app({ name: `shop ${people}`, owner: email, clientEvents: true, switches }) };
}

/** Somebody who joins the organisation of `boss` by invitation. */
async function member(boss, role) {
  people += 1;
  const email = `${role}-${people}@example.test`;
  const visitor = await new Visitor(server.url).signUp({ email, password: PASSWORD });
  const made = await boss.visitor.submit(await boss.visitor.page('/dash/people'), has('email', 'role'), { email, role });
  const [, link] = /data-test="invite-link">([^<]+)</.exec(made.text);
  const joined = await visitor.submit(await visitor.page(new URL(link).pathname), goesTo(/\/join$/));
  assert.equal(joined.status, 303);
  return { visitor, email };
}

/** Their page, with what its scripts need. */
async function consoleOf({ visitor }, app) {
  const { status, text } = await visitor.page(`/dash/apps/${app.id}/console`);
  assert.equal(status, 200);
  return { key: /data-system-key="?([0-9a-zA-Z_-]+)/.exec(text)[1], csrf: /name="?csrf-token"? content="?([^">\s]+)/.exec(text)[1] };
}

async function asks({ visitor }, csrf, socketId, channel) {
  const body = new URLSearchParams({ socket_id: socketId, channel_name: channel });
  const answer = await visitor.request('POST', '/dash/rt/auth', { body, headers: { 'x-csrf-token': csrf, origin: server.url, accept: 'application/json' } });
  return { status: answer.status, auth: answer.status === 200 ? JSON.parse(answer.text).auth : undefined };
}

/** A socket on the console's channels of `kind` (`app`: with payloads, `meta`: without), and all bytes that it receives. */
async function watch(t, person, app, kind) {
  const { key, csrf } = await consoleOf(person, app);
  const raw = await RawSocket.connect(t, server, { key });
  const bytes = [];
  raw.socket.on('data', (chunk) => bytes.push(chunk));
  for (const group of GROUPS) {
    const channel = `private-dash-${group === 'stat' ? 'app' : kind}-${app.id}-${group}`;
    const { status, auth } = await asks(person, csrf, raw.socketId, channel);
    assert.equal(status, 200, channel);
    await raw.subscribe(channel, { auth });
  }
  return { raw, csrf, text: () => Buffer.concat(bytes).toString('latin1') };
}

/** Within a second after `act` the socket is closed with 4200: come back, and ask anew. */
async function closes({ raw }, act) {
  await act();
  const began = performance.now();
  const { code } = await raw.frame(CLOSE, 5_000);
  assert.equal(code, 4200);
  assert.ok(performance.now() - began < 1_000, `${Math.round(performance.now() - began)} ms`);
}

/** May this person join the payloads' channel with a new socket? */
async function mayWatch(t, person, app, key, csrf) {
  const raw = await RawSocket.connect(t, server, { key });
  return (await asks(person, csrf, raw.socketId, `private-dash-app-${app.id}-msg`)).status === 200;
}

story('a Viewer’s console never carries a payload, a member or a text of a client, and a Developer’s does', async (t) => {
  const boss = await owner();
  const { app } = boss;
  const [developer, viewer] = [await member(boss, 'developer'), await member(boss, 'viewer')];
  const [full, narrow] = [await watch(t, developer, app, 'app'), await watch(t, viewer, app, 'meta')];
  for (const group of GROUPS.filter((one) => one !== 'stat')) {
    const asked = await asks(viewer, narrow.csrf, narrow.raw.socketId, `private-dash-app-${app.id}-${group}`);
    assert.equal(asked.status, 403, group);
  }

  const canary = { rest: 'canaryrest51', client: 'canaryclient52', member: 'canarymember53' };
  const bad = 'canarybad54';
  const customer = await RawSocket.connect(t, server, app);
  await customer.join(app, 'private-room');
  await customer.join(app, 'presence-room', JSON.stringify({ user_id: canary.member, user_info: { name: canary.member } }));
  for (let n = 0; n < 25; n += 1) await server.publish(app, 'private-room', 'shipped', JSON.stringify({ n, text: canary.rest }));
  customer.send({ event: 'client-typing', channel: 'private-room', data: { text: canary.client } });
  customer.send({ event: 'pusher:subscribe', data: { channel: 'private-other', auth: `${bad}:${'0'.repeat(64)}` } });
  await server.publish(app, 'private-room', 'last', '{}');

  const needed = Object.values(canary);
  await until(() => needed.every((one) => full.text().includes(one)) && full.text().includes('last'), () => `all of ${needed} for the Developer; got ${full.raw.describe()}`, 10_000);
  await until(() => narrow.text().includes('"last') || narrow.text().includes('\\"last'), () => `the last event for the Viewer; got ${narrow.raw.describe()}`, 10_000);
  const seen = narrow.text();
  assert.ok(seen.includes('shipped') && seen.includes('client-typing') && seen.includes('private-room'), 'names of events and channels are there');
  for (const one of [...needed, bad]) assert.equal(seen.includes(one), false, `the Viewer’s socket carried ${one}`);
  t.diagnostic(`${seen.length} bytes of the Viewer, ${full.text().length} of the Developer`);

  const backFill = async ({ visitor }) => (await visitor.request('GET', `/v1/apps/${app.id}/events?limit=1000`)).text;
  const ofViewer = await backFill(viewer);
  assert.ok(needed.every((one) => !ofViewer.includes(one)) && ofViewer.includes('shipped'));
  const ofDeveloper = await backFill(developer);
  assert.ok(needed.every((one) => ofDeveloper.includes(one)));
});

story('signing out closes the consoles of that session, and a colleague’s comes back', async (t) => {
  const boss = await owner();
  const { app } = boss;
  const developer = await member(boss, 'developer');
  const [hers, his] = [await watch(t, developer, app, 'app'), await watch(t, boss, app, 'app')];
  const { key } = await consoleOf(developer, app);
  await closes(hers, async () => assert.equal((await developer.visitor.submit(await developer.visitor.page('/dash'), goesTo(/^\/logout$/))).status, 303));
  assert.equal(await mayWatch(t, developer, app, key, hers.csrf), false);
  await his.raw.frame(CLOSE);
  await watch(t, boss, app, 'app');
});

story('a session that is ended from another one loses its console', async (t) => {
  for (const ends of [goesTo(/sessions\/end-others$/), goesTo(/sessions\/[^/]+\/end$/)]) {
    const boss = await owner();
    const elsewhere = { visitor: await new Visitor(server.url).signIn({ email: boss.email, password: PASSWORD }) };
    const [there, here] = [await watch(t, elsewhere, boss.app, 'app'), await watch(t, boss, boss.app, 'app')];
    const { key } = await consoleOf(boss, boss.app);
    await closes(there, async () => assert.equal((await boss.visitor.submit(await boss.visitor.page('/dash/account'), ends)).status, 303));
    assert.equal(await mayWatch(t, elsewhere, boss.app, key, there.csrf), false);
    assert.equal(await mayWatch(t, boss, boss.app, key, here.csrf), true);
  }
});

story('a new password closes the consoles of all other sessions', async (t) => {
  const boss = await owner();
  const elsewhere = { visitor: await new Visitor(server.url).signIn({ email: boss.email, password: PASSWORD }) };
  const there = await watch(t, elsewhere, boss.app, 'app');
  const { key } = await consoleOf(boss, boss.app);
  const page = await boss.visitor.page('/dash/account');
  await closes(there, async () => assert.equal((await boss.visitor.submit(page, has('present', 'new'), { present: PASSWORD, new: NEW_PASSWORD })).status, 303));
  assert.equal(await mayWatch(t, elsewhere, boss.app, key, there.csrf), false);
});

story('who may see less, or nothing any more, is put out of the console', async (t) => {
  const boss = await owner();
  const second = await server.app({ name: 'another', owner: boss.email });
  const acts = {
    'becomes a Viewer': [/\/place$/, { role: 'viewer', apps: 'all' }],
    'loses the grant of the app': [/\/place$/, { role: 'developer', apps: 'some', app: second.id }],
    'is removed': [/\/remove$/, {}],
  };
  for (const [what, [action, fields]] of Object.entries(acts)) {
    const developer = await member(boss, 'developer');
    const socket = await watch(t, developer, boss.app, 'app');
    const { key } = await consoleOf(developer, boss.app);
    const page = await boss.visitor.page('/dash/people');
    const row = page.text.split('data-test="member"').find((part) => part.includes(developer.email));
    const form = (one) => action.test(one.action) && row.includes(one.action);
    await closes(socket, async () => assert.equal((await boss.visitor.submit(page, form, fields)).status, 303, what));
    assert.equal(await mayWatch(t, developer, boss.app, key, socket.csrf), false, what);
  }
});

story('an app that is moved closes its consoles and its own sockets with 4200, and its clients come back to it', async (t) => {
  const boss = await owner();
  const { app } = boss;
  const developer = await member(boss, 'developer');
  const made = await boss.visitor.submit(await boss.visitor.page('/dash/organisations/new'), has('name'), { name: 'Second shop' });
  assert.equal(made.status, 303);
  const watching = await watch(t, developer, app, 'app');
  const { key } = await consoleOf(developer, app);
  const client = await RawSocket.connect(t, server, app);
  await client.subscribe('orders');

  const page = await boss.visitor.page(`/dash/apps/${app.id}/settings`);
  await closes(watching, async () => {
    const answer = await boss.visitor.submit(page, goesTo(/\/transfer$/), { confirm: `shop ${boss.email.match(/\d+/)[0]}` });
    assert.match(answer.location ?? '', /done=moved/);
  });
  assert.equal(await client.closeCode(APP_SERVED_WITHIN_MS), 4200);
  assert.equal(await mayWatch(t, developer, app, key, watching.csrf), false);

  const again = await RawSocket.connect(t, server, app);
  await again.subscribe('orders');
  await server.publish(app, 'orders', 'shipped', '{}');
  await again.message('shipped');
});

story('the console of an app that was deleted is closed', async (t) => {
  const boss = await owner();
  const socket = await watch(t, boss, boss.app, 'app');
  const page = await boss.visitor.page(`/dash/apps/${boss.app.id}/settings`);
  await closes(socket, async () => {
    const answer = await boss.visitor.submit(page, goesTo(/\/delete$/), { confirm: `shop ${boss.email.match(/\d+/)[0]}` });
    assert.equal(answer.status, 303);
  });
});
