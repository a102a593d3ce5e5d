// Several nodes that Redis joins: whatever node a client is on, it sees one service.
import http from 'node:http';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { arrives, backEnd, client, named, signedIn, subscribed } from './clients.mjs';
import { OWNER, commandOk, sleep, startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { startRedis } from './redis.mjs';
import { Visitor, goesTo } from './visitor.mjs';

const ends = [];
const redis = await startRedis({ after: (end) => ends.push(end) });
const env = { FANFARE_REDIS_URL: redis.url, FANFARE_WEBHOOK_ALLOW: '127.0.0.1', FANFARE_SIGNUP: 'open' };
const one = await startServer({ env });
const two = await startServer({ env, dataDir: one.dataDir });
const three = await startServer({ env, dataDir: one.dataDir });
const nodes = [one, two, three];
after(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await Promise.all(ends.map((end) => end()));
});
for (const node of nodes) await ready(node);

async function ready(node) {
  await until(async () => (await fetch(`${node.url}/readyz`)).status === 200, 'the node to be ready', 10_000);
}

async function app(options) {
  const made = await one.app(options);
  await Promise.all(nodes.map((node) => node.serves(made)));
  return made;
}

story('an event reaches the subscribers of every node once, in order, and not the socket that is left out', async (t) => {
  const made = await app({ name: 'everywhere' });
  const clients = nodes.map((node) => client(t, node, made));
  const channels = await Promise.all(clients.map((pusher) => subscribed(pusher, 'news')));
  const left = clients[1].connection.socket_id;
  await backEnd(one, made).trigger('news', 'left-out', {}, { socket_id: left });
  for (let n = 0; n < 50; n += 1) await backEnd(nodes[n % 2 === 0 ? 0 : 2], made).trigger('news', n % 2 === 0 ? 'even' : 'odd', { n });
  await Promise.all(channels.map((channel) => arrives(channel, 'odd', 25)));
  await Promise.all(channels.map((channel) => arrives(channel, 'even', 25)));
  for (const [at, channel] of channels.entries()) {
    assert.equal(named(channel, 'left-out').length, at === 1 ? 0 : 1);
    for (const event of ['even', 'odd']) {
      const numbers = named(channel, event).map(({ data }) => data.n);
      assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), event);
      assert.equal(numbers.length, 25);
    }
  }
});

story('a presence channel has one member list over all nodes, and a user of two nodes leaves with the second', async (t) => {
  const made = await app({ name: 'present' });
  const who = (id) => ({ user: { id, info: { name: id } } });
  const ana = client(t, one, made, who('ana'));
  const room = await subscribed(ana, 'presence-room');
  const ben = client(t, two, made, who('ben'));
  const seen = await subscribed(ben, 'presence-room');
  assert.deepEqual(Object.keys(seen.members.members).sort(), ['ana', 'ben']);
  await arrives(room, 'pusher:member_added');
  const anaToo = client(t, three, made, who('ana'));
  const third = await subscribed(anaToo, 'presence-room');
  assert.deepEqual(Object.keys(third.members.members).sort(), ['ana', 'ben']);
  for (const node of nodes) {
    const { users } = await (await backEnd(node, made).get({ path: '/channels/presence-room/users' })).json();
    assert.deepEqual(users.map(({ id }) => id).sort(), ['ana', 'ben']);
    const facts = await (await backEnd(node, made).get({ path: '/channels/presence-room', params: { info: 'user_count,subscription_count' } })).json();
    assert.deepEqual(facts, { occupied: true, user_count: 2, subscription_count: 3 });
  }
  ana.disconnect();
  await sleep(300);
  assert.equal(named(seen, 'pusher:member_removed').length, 0, 'she is still there on another node');
  anaToo.disconnect();
  await arrives(seen, 'pusher:member_removed');
  assert.deepEqual(Object.keys(seen.members.members), ['ben']);
  assert.equal(named(seen, 'pusher:member_added').length, 0, 'nobody came twice');
});

story('counts, cache channels, client events and user events know no nodes', async (t) => {
  const made = await app({ name: 'no nodes', clientEvents: true, switches: { subscriptionCounts: true } });
  const clients = nodes.map((node) => client(t, node, made));
  const channels = await Promise.all(clients.map((pusher) => subscribed(pusher, 'private-talk')));
  await until(() => channels.every((channel) => named(channel, 'pusher:subscription_count').at(-1)?.data.subscription_count === 3), () => JSON.stringify(channels.map(({ events }) => events)));
  channels[0].trigger('client-hello', { from: 'one' });
  await Promise.all(channels.slice(1).map((channel) => arrives(channel, 'client-hello')));
  assert.equal(named(channels[0], 'client-hello').length, 0);
  const listed = await (await backEnd(three, made).get({ path: '/channels', params: { info: 'subscription_count' } })).json();
  assert.deepEqual(listed, { channels: { 'private-talk': { subscription_count: 3 } } });

  await backEnd(one, made).trigger('cache-last', 'price', { n: 1 });
  await backEnd(two, made).trigger('cache-last', 'price', { n: 2 });
  for (const node of nodes) {
    const late = await subscribed(client(t, node, made), 'cache-last');
    await arrives(late, 'price');
    assert.deepEqual(named(late, 'price').map(({ data }) => data), [{ n: 2 }]);
    const { cache } = await (await backEnd(node, made).get({ path: '/channels/cache-last', params: { info: 'cache' } })).json();
    assert.deepEqual(JSON.parse(cache.data), { n: 2 });
  }

  const user = await signedIn(t, two, made, 'ana');
  const inbox = new Promise((resolve) => user.user.bind('letter', resolve));
  await until(async () => (await (await backEnd(one, made).get({ path: '/channels/%23server-to-user-ana' })).json()).occupied, 'her channel');
  await backEnd(one, made).sendToUser('ana', 'letter', { hello: true });
  assert.deepEqual(await inbox, { hello: true });
  await backEnd(three, made).terminateUserConnections('ana');
  await until(() => user.connection.state !== 'connected', 'her connection to end');
});

story('whoever is watched is online while any node has them', async (t) => {
  const made = await app({ name: 'watched', switches: { watchlist: true } });
  const seen = [];
  const watcher = await signedIn(t, one, made, 'watcher', { watchlist: ['ana', 'ben'] });
  watcher.user.watchlist.bind('online', ({ user_ids: ids }) => seen.push(...ids.map((id) => `+${id}`)));
  watcher.user.watchlist.bind('offline', ({ user_ids: ids }) => seen.push(...ids.map((id) => `-${id}`)));
  const ana = await signedIn(t, two, made, 'ana');
  await until(() => seen.includes('+ana'), () => seen.join());
  const again = await signedIn(t, three, made, 'ana');
  ana.disconnect();
  await sleep(2_800);
  assert.equal(seen.filter((word) => word === '-ana').length, 0, 'she is on another node');
  again.disconnect();
  await until(() => seen.includes('-ana'), () => seen.join(), 8_000);
  assert.equal(seen.filter((word) => word === '+ana').length, 1);
});

/** A server that takes webhooks; the events of all posts, in the order in which they came. */
async function hooks(t, made, kinds) {
  const got = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      got.push(...JSON.parse(body).events);
      response.writeHead(200).end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  await commandOk(['webhooks', 'add', '--app', made.id, '--url', `http://127.0.0.1:${server.address().port}/`, '--kinds', kinds], { dataDir: one.dataDir, env });
  await sleep(1_500); // every node asks for changes twice a second
  return got;
}

const told = (got) => got.map(({ name, channel, user_id: user }) => [name, channel, user].filter(Boolean).join(' '));

story('webhooks tell each fact once, whichever nodes it concerns, and a change of node is none', async (t) => {
  const made = await app({ name: 'facts' });
  const got = await hooks(t, made, 'channel_occupied,channel_vacated,member_added,member_removed');
  const who = (id) => ({ user: { id } });
  const first = client(t, one, made, who('ana'));
  await subscribed(first, 'presence-facts');
  const second = client(t, two, made, who('ana'));
  await subscribed(second, 'presence-facts');
  const ben = client(t, three, made, who('ben'));
  await subscribed(ben, 'presence-facts');
  first.disconnect();
  second.disconnect();
  await sleep(1_000);
  const back = client(t, three, made, who('ana'));
  await subscribed(back, 'presence-facts');
  await sleep(4_000);
  // Each node sends what it saw in its order; what two nodes saw may overtake.
  assert.deepEqual(told(got).sort(), ['channel_occupied presence-facts', 'member_added presence-facts ana', 'member_added presence-facts ben'], 'she was back in time');
  back.disconnect();
  ben.disconnect();
  await until(() => got.length >= 6, () => told(got).join(), 10_000);
  await sleep(1_000);
  assert.deepEqual(told(got).slice(3).sort(), ['channel_vacated presence-facts', 'member_removed presence-facts ana', 'member_removed presence-facts ben']);
});

story('a node that is killed is missed within seconds: its members leave, its counts drop, its facts are told once', async (t) => {
  const made = await app({ name: 'killed' });
  const got = await hooks(t, made, 'channel_occupied,channel_vacated,member_added,member_removed');
  const doomed = await startServer({ env, dataDir: one.dataDir });
  t.after(() => doomed.stop());
  await ready(doomed);
  await doomed.serves(made);
  const watcher = client(t, one, made, { user: { id: 'watcher' } });
  const room = await subscribed(watcher, 'presence-room');
  const ghosts = ['ana', 'ben'].map((id) => client(t, doomed, made, { user: { id } }));
  await Promise.all(ghosts.map((ghost) => subscribed(ghost, 'presence-room')));
  await subscribed(ghosts[0], 'alone');
  const both = client(t, doomed, made, { user: { id: 'watcher' } });
  await subscribed(both, 'presence-room');
  await until(() => Object.keys(room.members.members).length === 3, 'all three to be there');
  await doomed.stop('SIGKILL');
  for (const ghost of [...ghosts, both]) ghost.disconnect();
  const killed = Date.now();
  await until(() => named(room, 'pusher:member_removed').length === 2, 'two members to leave', 15_000);
  assert.ok(Date.now() - killed < 14_000, `after ${Date.now() - killed} ms`);
  const { channels } = await (await backEnd(two, made).get({ path: '/channels', params: { info: 'subscription_count' } })).json();
  assert.deepEqual(channels, { 'presence-room': { subscription_count: 1 } });
  await until(() => told(got).includes('channel_vacated alone'), () => told(got).join(), 8_000);
  await sleep(1_000);
  const ends = told(got).filter((fact) => /vacated|removed/.test(fact));
  assert.deepEqual(ends.sort(), ['channel_vacated alone', 'member_removed presence-room ana', 'member_removed presence-room ben']);
  assert.deepEqual(Object.keys(room.members.members), ['watcher']);
  const keys = (await redis.cli('--scan', '--pattern', `*{${made.id}}*`)).split('\n').filter(Boolean);
  assert.deepEqual(keys.filter((key) => key.includes('alone')), [], 'no ghost stays');
}, { deadlineMs: 60_000 });

story('a limit on connections holds over all nodes to the last one, and a place that is given back is free everywhere', async (t) => {
  const LIMIT = 40;
  const made = await app({ name: 'limited', plan: 'sandbox', maxConnections: LIMIT });
  const open = async (at) => {
    const raw = await RawSocket.open(t, nodes[at % nodes.length], `/app/${made.key}?protocol=7&client=js&version=8.6.0`);
    await until(() => raw.messages.length > 0, 'the first message');
    return { raw, is: raw.messages[0].event };
  };
  const all = await Promise.all(Array.from({ length: LIMIT + 30 }, (_, at) => open(at)));
  const inside = all.filter(({ is }) => is === 'pusher:connection_established');
  assert.equal(inside.length, LIMIT);
  assert.equal((await (await backEnd(three, made).get({ path: '/connections' })).json()).connections, LIMIT);
  inside[0].raw.socket.destroy();
  await until(async () => (await open(1)).is === 'pusher:connection_established', 'the place to be free on another node', 10_000);
  assert.notEqual((await open(2)).is, 'pusher:connection_established');
});

story('the console has the rows of all nodes, in the order of their times, and says how many got an event wherever they are', async (t) => {
  const made = await app({ name: 'console', owner: OWNER.email });
  await Promise.all([two, three].map(async (node) => subscribed(client(t, node, made), 'news')));
  await backEnd(one, made).trigger('news', 'hello', {});
  const owner = await new Visitor(one.url).signIn(OWNER);
  let rows;
  const read = async () => {
    const answer = await owner.request('GET', `/v1/apps/${made.id}/events?limit=200`, { headers: { accept: 'application/json' } });
    ({ rows } = JSON.parse(answer.text));
    return rows;
  };
  const telling = () => new Set(rows.filter(({ kind }) => kind === 'subscribed').map(({ node }) => node)).size;
  // Who there is, a node hears once a second.
  await until(async () => (await read()).some(({ kind }) => kind === 'api_message') && telling() === 2, () => JSON.stringify(rows));
  const sent = rows.find(({ kind }) => kind === 'api_message');
  assert.equal(sent.recipients, 2, JSON.stringify(sent));
  assert.equal(rows.filter(({ kind }) => kind === 'occupied').length, 1, 'the channel was occupied once');
  assert.deepEqual(rows.map(({ ts }) => ts), rows.map(({ ts }) => ts).sort((a, b) => a - b));
});

story('a limit on messages holds over all nodes within the stated bound, while all publish as fast as they can', async () => {
  const LIMIT = 2_000;
  const STEP = 50; // realtime::meter::STEP_MIN
  const UNDER_WAY = 150; // what a node of a test takes during a report, on a slow machine
  const person = { email: 'ana@bound.test', password: OWNER.password };
  const ana = await new Visitor(one.url).signUp(person);
  const made = await app({ name: 'bound', owner: person.email });
  const page = `/dash/apps/${made.id}/settings`;
  const answer = await ana.submit(await ana.page(page), goesTo(/\/settings\/messages-cap$/), { cap: String(LIMIT) });
  assert.equal(answer.status, 303, answer.text);
  const knows = async (node) => Number((await node.rest(made, 'GET', `/apps/${made.id}/channels`)).headers.get('x-quota-limit')) === LIMIT;
  await until(async () => (await Promise.all(nodes.map(knows))).every(Boolean), 'all nodes to know the cap');
  let accepted = 0;
  const publisher = async (node) => {
    for (;;) {
      const { status, text } = await node.rest(made, 'POST', `/apps/${made.id}/events`, { body: { name: 'e', channel: 'c', data: 'x' } });
      if (status === 403) return assert.match(text, /own cap/);
      assert.equal(status, 200, text);
      accepted += 1;
    }
  };
  await Promise.all(nodes.flatMap((node) => Array.from({ length: 4 }, () => publisher(node))));
  const reads = 100; // each read of the wait above counted one
  assert.ok(accepted >= LIMIT - reads && accepted <= LIMIT + nodes.length * (STEP + UNDER_WAY), `${accepted} of ${LIMIT} were accepted`);
}, { deadlineMs: 60_000 });

story('whoever looks after the server sees every node, and its connections', async (t) => {
  const made = await app({ name: 'seen' });
  await subscribed(client(t, two, made), 'news');
  const owner = await new Visitor(one.url).signIn(OWNER);
  await until(async () => {
    const { text } = await owner.page('/dash/server/nodes');
    return text.split('data-test="node"').length === 4 && /data-label="Connections" class="num">[1-9]/.test(text);
  }, 'three nodes, one with a connection', 8_000);
});
