// An app with two key pairs, and the change from one to the other without a gap.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { channelToken, startServer, story, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { goesTo, ownerOf } from './visitor.mjs';

const server = await startServer();
after(() => server.stop());

const text = (html, hook) => new RegExp(`data-test="${hook}"[^>]*>([^<]+)<`).exec(html)[1].trim();

/** A second pair for `app`, made on its page of keys. */
async function secondPair(app) {
  const owner = await ownerOf(server);
  const made = await owner.submit(await owner.page(`/dash/apps/${app.id}/keys`), goesTo(/\/keys\/new$/));
  assert.equal(made.status, 303, made.text);
  const { text: html } = await owner.page(made.location);
  const pair = { ...app, key: text(html, 'app-key'), secret: text(html, 'app-secret') };
  assert.notEqual(pair.key, app.key);
  await server.serves(pair);
  return pair;
}

story('a channel opens and a user signs in with any active pair, whichever the socket came with', async (t) => {
  const app = await server.app({ name: 'two pairs' });
  const pair = await secondPair(app);
  for (const [came, signs] of [[app, pair], [pair, app]]) {
    const raw = await RawSocket.connect(t, server, came);
    await raw.join(signs, 'private-a');
    await raw.join(signs, 'presence-a', '{"user_id":"1"}');
    await raw.signedIn(signs, { id: 'ana' });
    await server.publish(signs, 'private-a', 'said', signs.key);
    assert.equal((await raw.message('said')).data, signs.key);
    raw.send({ event: 'pusher:subscribe', data: { channel: 'private-mixed', auth: `${app.key}:${channelToken(pair, raw.socketId, 'private-mixed').split(':')[1]}` } });
    assert.match((await raw.message('pusher:subscription_error')).data.error, /signature/i);
  }
});

story('after a pair is deleted its open connections stay, and it opens nothing any more', async (t) => {
  const app = await server.app({ name: 'rotated' });
  const pair = await secondPair(app);
  const old = await RawSocket.connect(t, server, app);
  await old.join(app, 'private-before');
  const owner = await ownerOf(server);
  const page = await owner.page(`/dash/apps/${app.id}/keys`);
  const answer = await owner.submit(page, (form) => goesTo(/\/keys\/delete$/)(form) && form.html.includes(app.key), {});
  assert.equal(answer.status, 303, answer.text);
  await until(async () => (await server.rest(app, 'GET', `/apps/${app.id}/channels`)).status === 401, 'the pair to be unknown to the HTTP API');
  const refused = await RawSocket.open(t, server, `/app/${app.key}?protocol=7`);
  assert.equal(await refused.closeCode(), 4001);
  await server.publish(pair, 'private-before', 'still', '{}');
  await old.message('still');
  old.send({ event: 'pusher:subscribe', data: { channel: 'private-after', auth: channelToken(app, old.socketId, 'private-after') } });
  assert.match((await old.message('pusher:subscription_error')).data.error, /key/i);
  await old.join(pair, 'private-after');
});
