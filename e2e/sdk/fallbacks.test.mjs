// The HTTP fallbacks of pusher-js: line by line through requests of our own, and through the unmodified library with
// nothing but `xhr_streaming` or `xhr_polling` switched on. (SockJS is a matter of browsers, see browser/fallbacks.test.mjs.)
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { arrives, backEnd, client, connected, errorCodes, named, subscribed } from './clients.mjs';
import { OWNER, channelToken, startServer, story, until } from './harness.mjs';
import { HttpSession, call, counting } from './httpsession.mjs';
import { Visitor, ownerOf, switchApp } from './visitor.mjs';

const server = await startServer();
after(() => server.stop());

const ORIGIN = { origin: 'https://shop.test' };

story('a stream opens with o, then the established frame, and cannot be buffered on its way', async (t) => {
  const app = await server.app({ name: 'stream' });
  const session = HttpSession.of(t, server, app, { headers: ORIGIN });
  const stream = await session.stream();
  const established = await session.frame('pusher:connection_established');
  assert.equal(stream.lines[0], 'o');
  assert.match(JSON.parse(established.data).socket_id, /^\d+\.\d+$/);
  assert.equal(stream.status, 200);
  assert.equal(stream.headers['x-accel-buffering'], 'no');
  assert.match(stream.headers['cache-control'], /no-store/);
  assert.equal(stream.headers['access-control-allow-origin'], '*');
  assert.equal(stream.headers['access-control-allow-credentials'], undefined);
  assert.equal(stream.lines.includes(''), false, 'a parser stops at an empty line');
});

story('a preflight of a page of any origin is answered, to be remembered for long', async () => {
  for (const end of ['xhr_streaming', 'xhr', 'xhr_send']) {
    const answer = await call(server, 'OPTIONS', `/pusher/app/any/12/abcdefgh/${end}`, { headers: { ...ORIGIN, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    assert.match(answer.headers['access-control-allow-methods'], /POST/);
    assert.match(answer.headers['access-control-allow-headers'], /content-type/i);
    assert.ok(Number(answer.headers['access-control-max-age']) >= 7_200);
  }
});

story('messages are answered on the stream, and a ping by an empty array and never by a heartbeat', async (t) => {
  const app = await server.app({ name: 'messages' });
  const session = HttpSession.of(t, server, app);
  await session.stream();
  await session.line('a[');
  assert.equal(await session.send({ event: 'pusher:subscribe', data: { channel: 'news' } }), 204);
  await session.frame('pusher_internal:subscription_succeeded');
  await server.publish(app, 'news', 'said', { text: 'ünïcødé 🎺\n' });
  assert.deepEqual(JSON.parse((await session.frame('said')).data), { text: 'ünïcødé 🎺\n' });
  for (let n = 1; n <= 3; n += 1) {
    assert.equal(await session.sendBody('[]'), 204);
    await until(() => session.lines.filter((line) => line === 'a[]').length === n, `answer ${n} to a ping`);
  }
  assert.equal(await session.send({ event: 'pusher:ping', data: {} }), 204);
  await session.frame('pusher:pong');
  assert.equal(session.lines.includes('h'), false);
});

story('polls of one session carry on where the last one ended, and are opened once', async (t) => {
  const app = await server.app({ name: 'polls' });
  const session = HttpSession.of(t, server, app);
  const first = await session.poll();
  assert.equal(first.lines[0], 'o');
  assert.match(first.lines[1], /^a\[.*connection_established/);
  assert.equal(await session.send({ event: 'pusher:subscribe', data: { channel: 'news' } }), 204);
  assert.match((await session.poll()).text, /^a\[.*subscription_succeeded.*\]\n$/);
  for (const n of [1, 2, 3]) await server.publish(app, 'news', 'between', { n });
  await until(async () => {
    await session.poll();
    return session.frames.filter((frame) => frame.event === 'between').length === 3;
  }, 'what was published between two polls');
  assert.deepEqual(session.frames.filter((frame) => frame.event === 'between').map((frame) => JSON.parse(frame.data).n), [1, 2, 3]);
  const waiting = session.poll();
  await until(async () => (await session.sendBody('[]')) === 204, 'a ping');
  assert.equal((await waiting).text, 'a[]\n');
  assert.equal(session.lines.filter((line) => line === 'o').length, 1);
});

story('an idle poll ends after 25 seconds with a line, and an idle stream has one', async (t) => {
  const app = await server.app({ name: 'idle' });
  const [polling, streaming] = [HttpSession.of(t, server, app), HttpSession.of(t, server, app)];
  await polling.poll();
  await streaming.stream();
  await streaming.line('a[');
  const started = Date.now();
  const [poll] = await Promise.all([polling.poll(), streaming.line('a[]', 30_000)]);
  assert.deepEqual([poll.status, poll.text], [200, 'a[]\n']);
  assert.ok(Date.now() - started >= 24_000 && Date.now() - started < 29_000, `${Date.now() - started} ms`);
  assert.equal(streaming.lines.includes('h'), false);
});

story('a stream that breaks is taken up again by the next request, without what was told before', async (t) => {
  const app = await server.app({ name: 'again' });
  const session = HttpSession.of(t, server, app);
  const first = await session.stream();
  await session.line('a[');
  await session.send({ event: 'pusher:subscribe', data: { channel: 'news' } });
  await session.frame('pusher_internal:subscription_succeeded');
  const second = await session.stream();
  await until(() => first.ended, 'the older request to end');
  await server.publish(app, 'news', 'said', {});
  await session.frame('said');
  assert.equal(second.lines.length, 1, JSON.stringify(second.lines));
  second.abort();
  await server.publish(app, 'news', 'missed-by-nobody', {});
  await session.stream();
  await session.frame('missed-by-nobody');
});

story('a session belongs to the key in its path', async (t) => {
  const [app, other] = [await server.app({ name: 'mine' }), await server.app({ name: 'theirs' })];
  const name = '7/abcdefgh';
  const [mine, theirs] = [HttpSession.of(t, server, app, { name }), HttpSession.of(t, server, other, { name })];
  await mine.stream();
  const established = await mine.frame('pusher:connection_established');
  assert.equal(await theirs.send({ event: 'pusher:ping' }), 404, 'no session of that name with that key');
  await theirs.stream();
  assert.notEqual((await theirs.frame('pusher:connection_established')).data, established.data);
  assert.equal(await theirs.send({ event: 'pusher:ping' }), 204);
  await theirs.frame('pusher:pong');
  assert.equal(mine.frames.length, 1);
  for (const bad of ['/pusher/app/k/1000/abcdefgh', '/pusher/app/k/1/short', '/pusher/app/k/1/abcdefg.']) assert.equal((await call(server, 'POST', `${bad}/xhr_streaming`)).status, 404, bad);
});

story('who is not let in is told a session that ends with the code', async (t) => {
  const app = await server.app({ name: 'refusing', maxConnections: 1 });
  const told = async (key, query, code) => {
    for (const way of ['stream', 'poll']) {
      const session = HttpSession.of(t, server, { key }, query === undefined ? {} : { query });
      const answer = await session[way]();
      const closed = await until(() => session.closed, 'a close line');
      assert.deepEqual([answer.status, session.lines[0], closed[0]], [200, 'o', code]);
      assert.equal(typeof closed[1], 'string');
      if (way === 'stream') await until(() => answer.ended, 'the stream to end');
      assert.equal(await session.send({ event: 'pusher:ping' }), 404);
    }
  };
  await told('nobodyhasthiskey', undefined, 4001);
  await told(app.key, '', 4008);
  await told(app.key, 'protocol=99', 4007);
  const only = HttpSession.of(t, server, app);
  await only.stream();
  await only.frame('pusher:connection_established');
  await told(app.key, undefined, 4004);
  const refused = (await (await ownerOf(server)).rows(app)).filter((row) => row.code === 4004);
  assert.deepEqual(refused.map((row) => row.transport), ['xhr_streaming', 'xhr_polling']);
  await switchApp(await ownerOf(server), app, 'Disable');
  assert.equal((await until(() => only.closed, 'the open session to be closed'))[0], 4003);
  await until(async () => {
    await told(app.key, undefined, 4003);
    return true;
  }, '4003');
});

story('sends that no client of ours makes are refused as on a socket', async (t) => {
  const app = await server.app({ name: 'garbage', clientEvents: true });
  const session = HttpSession.of(t, server, app);
  await session.stream();
  await session.line('a[');
  for (const body of ['', '{}', '[1]', 'null', '["a"', '"a"']) assert.equal(await session.sendBody(body), 400, body);
  await until(() => session.frames.filter((frame) => frame.event === 'pusher:error').length === 6, 'an error each');
  assert.equal(session.closed, undefined);
  assert.equal(await session.send(' '.repeat(32 * 1_024 + 1)), 204);
  assert.equal((await until(() => session.closed, 'the end'))[0], 1009);
  assert.equal(await session.send({ event: 'pusher:ping' }), 204, 'to nobody');
  const large = HttpSession.of(t, server, app);
  await large.stream();
  await large.line('a[');
  assert.equal(await large.send(' '.repeat(300 * 1_024)), 413);
  assert.equal((await until(() => large.closed, 'the end'))[0], 1009);
});

story('messages of one send, and sends one after another, are carried out in their order', async (t) => {
  const app = await server.app({ name: 'order' });
  const session = HttpSession.of(t, server, app);
  await session.stream();
  await session.line('a[');
  const channels = Array.from({ length: 50 }, (_, n) => `c-${n}`);
  await session.send(...channels.slice(0, 25).map((channel) => ({ event: 'pusher:subscribe', data: { channel } })));
  for (const channel of channels.slice(25)) await session.send({ event: 'pusher:subscribe', data: { channel } });
  const seen = () => session.frames.filter((frame) => frame.event === 'pusher_internal:subscription_succeeded').map((frame) => frame.channel);
  await until(() => seen().length === 50, 'all subscriptions');
  assert.deepEqual(seen(), channels);
});

story('a session counts as a connection, its deliveries as messages, and the console tells its transport', async (t) => {
  const email = 'counted@example.test'; // an account of its own, since connections are counted by account
  const owner = await new Visitor(server.url).signUp({ email, password: OWNER.password });
  const app = await server.app({ name: 'counted', owner: email });
  const session = HttpSession.of(t, server, app, { headers: ORIGIN });
  const stream = await session.stream();
  await session.line('a[');
  await session.send({ event: 'pusher:subscribe', data: { channel: 'news' } });
  await session.frame('pusher_internal:subscription_succeeded');
  const before = await owner.stat(app);
  assert.equal(before.connections, 1);
  await server.publish(app, 'news', 'said', {});
  await session.frame('said');
  await until(async () => (await owner.stat(app)).messages === before.messages + 2, 'a publish and a delivery');
  const polling = HttpSession.of(t, server, app);
  await polling.poll();
  const rows = (await owner.rows(app)).filter((row) => row.kind === 'connection');
  assert.deepEqual(rows.map((row) => row.transport), ['xhr_streaming', 'xhr_polling']);
  assert.match(rows[0].details, /pusher-js 8\.6\.0 · over xhr_streaming · from 127\.0\.0\.1 · https:\/\/shop\.test/);
  stream.abort();
  const gone = await until(async () => (await owner.rows(app)).find((row) => row.kind === 'disconnection' && row.transport === 'xhr_streaming'), 'the session to be over', 20_000);
  assert.equal(gone.code, 1006);
  assert.equal(await session.send({ event: 'pusher:ping' }), 204, 'its end can still be asked for');
  assert.equal((await session.poll()).text.slice(0, 6), 'c[1006');
});

story('a reader that fetches nothing is closed with 4100 when a mebibyte waits for it', async (t) => {
  const app = await server.app({ name: 'slow' });
  const owner = await ownerOf(server);
  const session = HttpSession.of(t, server, app);
  await session.poll();
  await session.send({ event: 'pusher:subscribe', data: { channel: 'flood' } });
  await session.poll();
  const sdk = backEnd(server, app);
  const batch = Array.from({ length: 10 }, () => ({ channel: 'flood', name: 'said', data: 'x'.repeat(9_000) }));
  for (let n = 0; n < 15; n += 1) await sdk.triggerBatch(batch);
  const gone = await until(async () => (await owner.rows(app)).find((row) => row.kind === 'disconnection'), 'its end');
  assert.equal(gone.code, 4100);
  assert.match(gone.details, /slow reader/);
  assert.equal((await session.poll()).text.slice(0, 7), 'c[4100,');
});

story('SockJS: the app comes in the first message, and all else is as ever', async (t) => {
  const app = await server.app({ name: 'sockjs' });
  const info = await call(server, 'GET', '/pusher/info', { headers: ORIGIN });
  assert.equal(info.headers['access-control-allow-origin'], ORIGIN.origin);
  assert.equal(info.headers['access-control-allow-credentials'], 'true');
  const { websocket, cookie_needed: cookies, entropy } = JSON.parse(info.text);
  assert.deepEqual([websocket, cookies, typeof entropy], [false, false, 'number']);
  for (const way of ['stream', 'poll']) {
    const session = new HttpSession(t, server, '/pusher', { query: '', headers: ORIGIN });
    const answer = await session[way]();
    await session.line('o');
    assert.equal(answer.headers['access-control-allow-origin'], ORIGIN.origin);
    assert.equal(await session.send({ path: `/app/${app.key}?protocol=7&client=js&version=8.6.0` }), 204);
    if (way === 'poll') await session.poll();
    await session.frame('pusher:connection_established');
    await session.send({ event: 'pusher:subscribe', data: { channel: 'news' } });
    if (way === 'poll') await session.poll();
    await session.frame('pusher_internal:subscription_succeeded');
  }
  const rows = (await (await ownerOf(server)).rows(app)).filter((row) => row.kind === 'connection');
  assert.deepEqual(rows.map((row) => [row.transport, row.sdk]), [['sockjs', 'pusher-js 8.6.0'], ['sockjs', 'pusher-js 8.6.0']]);
  for (const [first, code] of [[{ path: '/app/nobodyhasthiskey?protocol=7' }, 4001], [{ path: `/app/${app.key}` }, 4008], [{ path: '/elsewhere' }, 4005], [{ event: 'pusher:ping' }, 4005], ['garbage', 4005]]) {
    const session = new HttpSession(t, server, '/pusher', { query: '' });
    await session.stream();
    await session.line('o');
    await session.send(first);
    assert.equal((await until(() => session.closed, 'a close line'))[0], code, JSON.stringify(first));
  }
});

story('statistics of pusher-js are answered as it expects', async () => {
  const script = await call(server, 'GET', '/timeline/v2/jsonp/12?session=MQ%3D%3D');
  assert.match(script.headers['content-type'], /javascript/);
  const calls = [];
  new Function('Pusher', script.text)({ ScriptReceivers: { 12: (...args) => calls.push(args) } });
  assert.deepEqual(calls, [[null, {}]]);
  assert.deepEqual(JSON.parse((await call(server, 'GET', '/timeline/v2/xhr/2?session=MQ%3D%3D')).text), {});
  assert.equal((await call(server, 'GET', '/timeline/v2/jsonp/1;alert(1)')).status, 404);
});

/** pusher-js with nothing but one fallback. */
function over(t, app, transport, { user, port = server.port, options = {} } = {}) {
  return client(t, server, app, { user, options: { wsPort: port, httpHost: server.host, httpPort: port, enabledTransports: [transport], ...options } });
}

for (const transport of ['xhr_streaming', 'xhr_polling']) {
  story(`${transport}: pusher-js subscribes to every kind of channel, receives, and sends client events`, async (t) => {
    const app = await server.app({ name: transport, clientEvents: true });
    const ana = over(t, app, transport, { user: { id: 'ana', info: { name: 'Ana' } } });
    const ben = client(t, server, app, { user: { id: 'ben', info: { name: 'Ben' } } });
    await connected(ana);
    for (const name of ['news', 'private-orders']) {
      const channel = await subscribed(ana, name);
      await backEnd(server, app).trigger(name, 'said', { text: 'ünïcødé 🎺' });
      assert.deepEqual(await arrives(channel, 'said'), [{ text: 'ünïcødé 🎺' }]);
    }
    const [ofAna, ofBen] = [await subscribed(ana, 'presence-room'), await subscribed(ben, 'presence-room')];
    assert.equal((await arrives(ofAna, 'pusher:member_added'))[0].id, 'ben');
    ofAna.trigger('client-typing', { who: 'ana' });
    assert.deepEqual(await arrives(ofBen, 'client-typing'), [{ who: 'ana' }]);
    ofBen.trigger('client-typing', { who: 'ben' });
    assert.deepEqual(await arrives(ofAna, 'client-typing'), [{ who: 'ben' }]);
    ben.disconnect();
    await arrives(ofAna, 'pusher:member_removed', 1, 10_000);
    assert.deepEqual(ana.errors, []);
  });

  story(`${transport}: a megabyte arrives whole and in order`, async (t) => {
    const app = await server.app({ name: 'long' });
    const proxy = await counting(t, server);
    const pusher = over(t, app, transport, { port: proxy.port });
    const channel = await subscribed(pusher, 'news');
    const socketId = pusher.connection.socket_id;
    const sdk = backEnd(server, app);
    const [batches, pad] = [12, 'ü'.repeat(4_500)];
    for (let n = 0; n < batches; n += 1) await sdk.triggerBatch(Array.from({ length: 10 }, (_, i) => ({ channel: 'news', name: 'said', data: { n: n * 10 + i, pad } })));
    await until(() => named(channel, 'said').length === batches * 10, () => `all events, seen ${named(channel, 'said').length}`, 20_000);
    assert.deepEqual(named(channel, 'said').map((row) => row.data.n), Array.from({ length: batches * 10 }, (_, n) => n));
    assert.equal(pusher.connection.socket_id, socketId, 'on one and the same connection');
    assert.ok(proxy.of(transport === 'xhr_polling' ? '/xhr' : '/xhr_streaming').length > 1, 'by more than one request');
    assert.deepEqual(pusher.errors, []);
  });

  story(`${transport}: an unknown key is refused once and for all`, async (t) => {
    const pusher = over(t, { id: '1', key: 'nobodyhasthiskey', secret: 'x' }, transport);
    await until(() => pusher.connection.state === 'disconnected', () => `a refusal, seen ${pusher.states}`);
    assert.equal(errorCodes(pusher)[0], 4001);
  });

  story(`${transport}: a drain tells 4200, and the client is back with its subscriptions after the restart`, async (t) => {
    const own = await startServer();
    t.after(() => own.stop());
    const app = await own.app({ name: 'restarting' });
    const pusher = client(t, own, app, { user: { id: 'ana' }, options: { httpHost: own.host, httpPort: own.port, enabledTransports: [transport] } });
    const channels = [await subscribed(pusher, 'news'), await subscribed(pusher, 'presence-room')];
    const before = pusher.connection.socket_id;
    const raw = HttpSession.of(t, own, app);
    const stream = await raw.stream();
    await raw.line('a[');
    const ending = own.stop();
    await until(async () => {
      const late = HttpSession.of(t, own, app);
      await late.poll();
      return late.closed?.[0] === 4100;
    }, 'a newcomer to be told to come back later');
    const ended = await ending;
    assert.deepEqual(ended, { code: 0, signal: null }, own.log());
    assert.equal(raw.closed?.[0], 4200, JSON.stringify(raw.lines));
    assert.equal(stream.ended, true);
    await own.start();
    await until(() => pusher.connection.state === 'connected' && pusher.connection.socket_id !== before, () => `the client to be back, seen ${pusher.states} ${JSON.stringify(pusher.errors)}`, 30_000);
    await until(() => channels.every((channel) => channel.subscribed), 'its subscriptions');
    await until(async () => {
      await backEnd(own, app).trigger('news', 'after', {});
      return named(channels[0], 'after').length > 0;
    }, 'an event after the restart');
    assert.equal(errorCodes(pusher).includes(4200), true, JSON.stringify(pusher.errors));
    assert.equal(errorCodes(pusher).some((code) => code >= 4000 && code < 4100), false, JSON.stringify(pusher.errors));
  }, { deadlineMs: 60_000 });

  story(`${transport}: a killed server does not keep the client from coming back`, async (t) => {
    const own = await startServer();
    t.after(() => own.stop());
    const app = await own.app({ name: 'killed' });
    const pusher = client(t, own, app, { options: { httpHost: own.host, httpPort: own.port, enabledTransports: [transport] } });
    const channel = await subscribed(pusher, 'news');
    const before = pusher.connection.socket_id;
    await own.stop('SIGKILL');
    await own.start();
    await until(() => pusher.connection.state === 'connected' && pusher.connection.socket_id !== before, () => `the client to be back, seen ${pusher.states}`, 40_000);
    await until(() => channel.subscribed, 'its subscription');
  }, { deadlineMs: 60_000 });
}

story('an idle streaming client makes at most one send in each activity timeout', async (t) => {
  const app = await server.app({ name: 'quiet' });
  const proxy = await counting(t, server);
  const seconds = 3;
  const pusher = over(t, app, 'xhr_streaming', { port: proxy.port, options: { activityTimeout: seconds * 1_000, pongTimeout: 2_000 } });
  await connected(pusher);
  const socketId = pusher.connection.socket_id;
  const sends = () => proxy.of('/xhr_send');
  await until(() => sends().length === 4, 'four pings', 6 * seconds * 1_000);
  const times = sends().map((one) => one.at);
  for (let n = 1; n < times.length; n += 1) assert.ok(times[n] - times[n - 1] >= seconds * 1_000 - 100, `sends at ${times}`);
  assert.equal(pusher.connection.socket_id, socketId, 'each was answered');
  assert.equal(proxy.of('/xhr_streaming').length, 1);
  assert.deepEqual(pusher.errors, []);
});

story('private channels are signed for the socket id of the session', async (t) => {
  const app = await server.app({ name: 'signed' });
  const session = HttpSession.of(t, server, app);
  await session.stream();
  const { socket_id: socketId } = JSON.parse((await session.frame('pusher:connection_established')).data);
  await session.send({ event: 'pusher:subscribe', data: { channel: 'private-x', auth: `${app.key}:${'0'.repeat(64)}` } });
  await session.frame('pusher:subscription_error');
  await session.send({ event: 'pusher:subscribe', data: { channel: 'private-x', auth: channelToken(app, socketId, 'private-x') } });
  await session.frame('pusher_internal:subscription_succeeded');
});
