// One counter, one truth: traffic of every class, counted by hand, is what the header, the bar, the table and the kept minutes
// say; a killed server loses at most what came in the last moments and never has more than was sent.
import http from 'node:http';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { OWNER, channelToken, sleep, startServer, story, until } from './harness.mjs';
import { sql } from './databases.mjs';
import { RawSocket } from './rawsocket.mjs';
import { Visitor, ownerOf } from './visitor.mjs';

const SANDBOX_MESSAGES_A_DAY = 200_000;
const GROWTH_PLUS_MESSAGES_A_DAY = 90_000_000;
/** realtime::usage::FLUSH_EVERY, with as much again for the report on its way. */
const LOST_MS_MAX = 2_000;
const CLASSES = ['publishes', 'deliveries', 'client_events', 'presence', 'cached', 'reads', 'webhooks'];

const server = await startServer({ env: { FANFARE_WEBHOOK_ALLOW: '127.0.0.1' } });
after(() => server.stop());

/** Sums by class of an app's rows, straight from the database. */
function stored(table, app) {
  const sum = CLASSES.map((name) => `coalesce(sum(${name}), 0) as ${name}`).join(', ');
  const [row] = sql(server.dataDir, `select ${sum} from ${table} where app_id = ${Number(app.id)}`);
  return row;
}

const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);
const left = ({ headers }) => Number(headers.get('x-quota-remaining'));

/** What the page's bar says. */
async function bar(visitor, app) {
  const { text } = await visitor.page(`/dash/apps/${app.id}`);
  return Number(/data-test="usage-messages" data-value="(\d+)"/.exec(text)[1]);
}

async function receiver(t) {
  let posts = 0;
  const listening = http.createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      posts += 1;
      response.writeHead(200).end();
    });
  });
  await new Promise((resolve) => listening.listen(0, '127.0.0.1', resolve));
  t.after(() => listening.close());
  return { url: `http://127.0.0.1:${listening.address().port}/`, posts: () => posts };
}

story('messages of every class are the same number in the header, on the pages and in the kept minutes', async (t) => {
  const app = await server.app({ name: 'truth', plan: 'sandbox', clientEvents: true });
  const owner = await ownerOf(server);
  const hooks = await receiver(t);
  const added = await server.command(['webhooks', 'add', '--app', app.id, '--url', hooks.url, '--kinds', 'channel_occupied']);
  assert.equal(added.code, 0, added.stderr);
  // The server learns of the endpoint within a second; joining costs nothing.
  const probe = await RawSocket.connect(t, server, app);
  for (let n = 0; hooks.posts() === 0; n += 1) {
    assert.ok(n < 50, 'no webhook came');
    probe.send({ event: 'pusher:subscribe', data: { channel: `probe-${n}` } });
    await sleep(100);
  }
  probe.socket.destroy();
  // Making the app ended with reads, which count too.
  await server.rest(app, 'GET', `/apps/${app.id}/channels`);
  await sleep(1_500);
  const { reads } = stored('usage_minutes', app);
  assert.ok(reads > 0, 'reads are stored');
  const sent = { publishes: 0, deliveries: 0, client_events: 0, presence: 0, cached: 0, reads, webhooks: 0 };

  const member = (raw, id) => {
    const data = JSON.stringify({ user_id: id });
    raw.send({ event: 'pusher:subscribe', data: { channel: 'presence-room', channel_data: data, auth: channelToken(app, raw.socketId, 'presence-room', data) } });
  };
  const here = async (raw, frames) => until(() => raw.frames.length >= frames, () => `${raw.frames.length} of ${frames} frames`);
  const [ana, ben] = [await RawSocket.connect(t, server, app), await RawSocket.connect(t, server, app)];
  member(ana, 'ana');
  await here(ana, 2);
  member(ben, 'ben');
  await here(ana, 3);
  await here(ben, 2);
  sent.presence += 1;

  for (let n = 0; n < 3; n += 1) await server.publish(app, 'presence-room', 'said', { n });
  await here(ben, 5);
  sent.publishes += 3;
  sent.deliveries += 6;

  ana.send({ event: 'client-typing', channel: 'presence-room', data: {} });
  await here(ben, 6);
  sent.client_events += 2;

  await server.publish(app, 'cache-last', 'kept', { n: 1 });
  sent.publishes += 1;
  ben.send({ event: 'pusher:subscribe', data: { channel: 'cache-last' } });
  await here(ben, 8);
  sent.cached += 1;

  ana.socket.destroy();
  await here(ben, 9);
  sent.presence += 1;

  // Webhooks are batched and flushes come by the second: nothing more is on its way once two looks are the same.
  let seen = -1;
  await until(async () => {
    const posts = hooks.posts();
    const same = seen === posts && stored('usage_minutes', app).webhooks === posts;
    seen = posts;
    await sleep(1_000);
    return same && hooks.posts() === posts;
  }, 'the webhooks and the flush', 10_000);
  sent.webhooks = hooks.posts();

  const remaining = left(await server.rest(app, 'GET', `/apps/${app.id}/channels`));
  sent.reads += 1;
  await until(() => stored('usage_minutes', app).reads === sent.reads, 'the last read to be stored');
  for (const table of ['usage_minutes', 'usage_hours', 'usage_days']) assert.deepEqual(stored(table, app), sent, table);
  assert.equal(SANDBOX_MESSAGES_A_DAY - remaining, total(sent), 'the header');
  assert.equal(await bar(owner, app), total(sent), 'the bar');
  const { text } = await owner.page('/dash/usage');
  const [, row] = new RegExp(`data-test="usage-app" data-app="${app.id}">(.*?)</tr>`, 's').exec(text);
  assert.equal(Number(/data-test="usage-app-messages">([\d,]+)</.exec(row)[1].replaceAll(',', '')), total(sent), 'the line of the app');
  for (const range of ['1h', '24h', '30d']) {
    const stats = await owner.page(`/dash/apps/${app.id}/stats?range=${range}`);
    assert.equal(Number(/data-test="range-total">([\d,]+)</.exec(stats.text)[1].replaceAll(',', '')), total(sent), `the chart of ${range}`);
  }
  const { apps } = await owner.json('/dash/usage');
  assert.equal(apps.find((one) => String(one.app) === app.id).messages, total(sent), 'the table');
});

story('a killed server has lost at most its last moments, and counts nothing twice', async () => {
  // On a plan whose rate is above what this loop can reach.
  const app = await server.app({ name: 'killed', plan: 'growth-plus' });
  const moments = [];
  const call = async () => {
    const { status } = await server.rest(app, 'POST', `/apps/${app.id}/events`, { body: { name: 'e', channel: 'c', data: 'x' } });
    assert.equal(status, 200);
    moments.push(Date.now());
  };
  let sent = 0;
  for (let kills = 0; kills < 3; kills += 1) {
    const over = Date.now() + 2_500 + kills * 300;
    while (Date.now() < over) {
      await Promise.all([call(), call(), call(), call()]);
      sent += 4;
    }
    const killed = Date.now();
    await server.stop('SIGKILL');
    const kept = stored('usage_minutes', app).publishes;
    const unsafe = moments.filter((at) => at > killed - LOST_MS_MAX).length;
    assert.ok(kept <= sent, `${kept} are stored of ${sent} sent`);
    assert.ok(kept >= sent - unsafe, `${sent - kept} of ${sent} are lost, ${unsafe} came in the last moments`);
    assert.equal(stored('usage_days', app).publishes, kept);
    await server.start();
    // From here on, what is stored is the truth: the node goes on from there.
    moments.length = 0;
    sent = kept;
    const first = await server.rest(app, 'GET', `/apps/${app.id}/channels`);
    const all = stored('usage_days', app);
    assert.ok(GROWTH_PLUS_MESSAGES_A_DAY - left(first) - 1 >= total(all) - 1 && GROWTH_PLUS_MESSAGES_A_DAY - left(first) - 1 <= total(all) + 1, `${GROWTH_PLUS_MESSAGES_A_DAY - left(first)} by the header, ${total(all)} stored`);
  }
  const who = await new Visitor(server.url).signIn(OWNER);
  await until(async () => (await bar(who, app)) === total(stored('usage_minutes', app)), 'the page and the minutes to agree');
});
