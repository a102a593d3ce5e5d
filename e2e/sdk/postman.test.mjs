// Without any library, as a person does it with Postman or wscat: open the address, read the socket id, compute the auth
// string by hand, paste frames, read what comes. The words of each step are those of docs/PROTOCOL.md.
import { createHash, createHmac } from 'node:crypto';
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer, story } from './harness.mjs';
import { RawSocket, TEXT } from './rawsocket.mjs';

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'by hand', clientEvents: true });

const hmac = (text) => createHmac('sha256', app.secret).update(text).digest('hex');

/** Step 1: open ws://HOST/app/KEY?protocol=7 and read the first frame. */
async function open(t) {
  const raw = await RawSocket.open(t, server, `/app/${app.key}?protocol=7`);
  await raw.frame(TEXT);
  const first = JSON.parse(raw.frames[0].text);
  assert.equal(first.event, 'pusher:connection_established');
  return { raw, socketId: JSON.parse(first.data).socket_id };
}

/** POST /apps/ID/events as curl would, signed by hand. */
async function publish(body) {
  const text = JSON.stringify(body);
  const pathname = `/apps/${app.id}/events`;
  const query = `auth_key=${app.key}&auth_timestamp=${Math.floor(Date.now() / 1000)}&auth_version=1.0&body_md5=${createHash('md5').update(text).digest('hex')}`;
  const answer = await fetch(`${server.url}${pathname}?${query}&auth_signature=${hmac(`POST\n${pathname}\n${query}`)}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: text });
  assert.equal(answer.status, 200, await answer.clone().text());
  assert.equal(await answer.text(), '{}');
}

story('by hand: a public channel is subscribed by one pasted line, and an event arrives', async (t) => {
  const { raw } = await open(t);
  raw.send('{"event":"pusher:subscribe","data":{"channel":"orders"}}');
  await raw.message('pusher_internal:subscription_succeeded');
  await publish({ name: 'shipped', channel: 'orders', data: '{"id":7}' });
  assert.deepEqual(await raw.message('shipped'), { event: 'shipped', data: '{"id":7}', channel: 'orders' });
  raw.send('{"event":"pusher:unsubscribe","data":{"channel":"orders"}}');
  raw.send('{"event":"pusher:ping"}');
  await raw.message('pusher:pong');
});

story('by hand: a private channel opens with KEY:HMAC(socket_id:channel)', async (t) => {
  const { raw, socketId } = await open(t);
  const auth = `${app.key}:${hmac(`${socketId}:private-orders`)}`;
  raw.send(`{"event":"pusher:subscribe","data":{"channel":"private-orders","auth":"${auth}"}}`);
  await raw.message('pusher_internal:subscription_succeeded');
  await publish({ name: 'shipped', channels: ['private-orders', 'elsewhere'], data: 'plain' });
  assert.equal((await raw.message('shipped')).data, 'plain');
});

story('by hand: a private channel may carry channel_data, which is then part of what is signed', async (t) => {
  const { raw, socketId } = await open(t);
  const data = '{"user_id":"1"}';
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-data', auth: `${app.key}:${hmac(`${socketId}:private-data:${data}`)}`, channel_data: data } });
  await raw.message('pusher_internal:subscription_succeeded');
});

story('by hand: a presence channel opens with KEY:HMAC(socket_id:channel:channel_data), and its members talk', async (t) => {
  const [ana, ben] = [await open(t), await open(t)];
  for (const [{ raw, socketId }, id] of [[ana, 1], [ben, 2]]) {
    const data = `{"user_id":${id},"user_info":{"name":"n${id}"}}`;
    raw.send({ event: 'pusher:subscribe', data: { channel: 'presence-room', auth: `${app.key}:${hmac(`${socketId}:presence-room:${data}`)}`, channel_data: data } });
    await raw.message('pusher_internal:subscription_succeeded');
  }
  assert.deepEqual(JSON.parse((await ana.raw.message('pusher_internal:member_added')).data), { user_id: '2', user_info: { name: 'n2' } });
  ana.raw.send('{"event":"client-typing","channel":"presence-room","data":{"at":1}}');
  assert.deepEqual(await ben.raw.message('client-typing'), { event: 'client-typing', data: '{"at":1}', channel: 'presence-room', user_id: '1' });
});

story('by hand: a user signs in with KEY:HMAC(socket_id::user::user_data), and is sent an event', async (t) => {
  const { raw, socketId } = await open(t);
  const data = '{"id":"ana"}';
  raw.send({ event: 'pusher:signin', data: { auth: `${app.key}:${hmac(`${socketId}::user::${data}`)}`, user_data: data } });
  await raw.message('pusher:signin_success');
  raw.send('{"event":"pusher:subscribe","data":{"channel":"#server-to-user-ana"}}');
  await raw.message('pusher_internal:subscription_succeeded');
  await publish({ name: 'hello', channels: ['#server-to-user-ana'], data: '{}' });
  await raw.message('hello');
});

story('by hand: a mistake is answered with a sentence that says what to sign', async (t) => {
  const { raw, socketId } = await open(t);
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-orders', auth: `${app.key}:${hmac(`${socketId}:private-other`)}` } });
  const { data } = await raw.message('pusher:error');
  assert.equal(data.code, null);
  assert.ok(data.message.includes(`${socketId}:private-orders`), data.message);
  raw.send('{"event":"subscribe","data":{"channel":"orders"}}');
  assert.match((await raw.message('pusher:error', { nth: 2 })).data.message, /event/i);
});
