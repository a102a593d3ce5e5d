// Moving in: apps of Reverb, Soketi and Pusher are imported from what those keep them in, and clients and servers that know
// nothing but another host name go on with their old key and secret.
import { after } from 'node:test';
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { arrives, backEnd, client, subscribed } from './clients.mjs';
import { command, startServer, story, temporaryDirectory, until } from './harness.mjs';
import { RawSocket } from './rawsocket.mjs';
import { ownerOf } from './visitor.mjs';

const server = await startServer({ env: { FANFARE_WEBHOOK_ALLOW: '127.0.0.1' } });
after(() => server.stop());
const folder = temporaryDirectory('import');

/** Runs `fanfare import` on this server's data. */
async function imports(origin, content, flags = []) {
  const file = path.join(folder, `${Math.random()}.txt`);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  const { code, stdout, stderr } = await server.command(['import', origin, file, ...flags]);
  return { code, stdout, stderr, rows: flags.includes('--json') ? JSON.parse(stdout || 'null') : undefined };
}

/** An unmodified pusher-js and an unmodified `pusher` with the old credentials. */
async function goesOn(t, old) {
  await server.serves(old);
  const channel = await subscribed(client(t, server, old), 'private-moved');
  assert.equal((await backEnd(server, old).trigger('private-moved', 'said', { n: 1 })).status, 200);
  assert.deepEqual(await arrives(channel, 'said'), [{ n: 1 }]);
}

story('Reverb: a .env file is enough for one app, and its client goes on with the old key', async (t) => {
  const old = { id: '256980', key: 'fkxrjwtsqqrhhshbjrkl', secret: 'umrpegtxgokmbmifrlbx' };
  const text = `APP_NAME="My Shop"\nBROADCAST_CONNECTION=reverb\n\nREVERB_APP_ID=${old.id}\nREVERB_APP_KEY=${old.key}\nREVERB_APP_SECRET=${old.secret}\nREVERB_HOST="localhost"\nVITE_REVERB_APP_KEY="\${REVERB_APP_KEY}"\n`;
  const dry = await imports('reverb', text, ['--dry-run']);
  assert.equal(dry.code, 0, dry.stderr);
  assert.match(dry.stdout, /would be made\s+256980\s+fkxrjwtsqqrhhshbjrkl/);
  const { stdout: before } = await command(['apps', 'list', '--json'], { dataDir: server.dataDir });
  assert.equal(before.includes(old.id), false, 'a dry run makes nothing');

  const first = await imports('reverb', text);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /made\s+256980/);
  assert.equal(first.stdout.includes(old.secret), false, 'a secret is not printed');
  await goesOn(t, old);
  const again = await imports('reverb', text);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /already here\s+256980/);
  const { stdout: list } = await command(['apps', 'list', '--json'], { dataDir: server.dataDir });
  assert.deepEqual(JSON.parse(list).filter(({ id }) => id === old.id).map(({ name }) => name), ['My Shop']);
});

story('Reverb: several apps as JSON keep their origins, whispers and limits', async (t) => {
  const apps = [
    { key: 'reverb-one', secret: 'secret-one', app_id: '501', options: { host: 'ws.test', port: 443 }, allowed_origins: ['*'], max_connections: null, max_message_size: 10_000 },
    { key: 'reverb-two', secret: 'secret-two', app_id: 502, allowed_origins: ['shop.test', '*.shop.test'], max_connections: 1, accept_client_events_from: 'none' },
  ];
  const { code, rows, stderr } = await imports('reverb', apps, ['--json']);
  assert.equal(code, 0, stderr);
  assert.deepEqual(rows.map(({ app, outcome, notes }) => [app, outcome, notes]), [['501', 'made', []], ['502', 'made', []]]);
  const [one, two] = [{ id: '501', key: 'reverb-one', secret: 'secret-one' }, { id: '502', key: 'reverb-two', secret: 'secret-two' }];
  await goesOn(t, one);
  await goesOn(t, two);
  const switches = async ({ id }) => JSON.parse((await command(['apps', 'set', id, '--json'], { dataDir: server.dataDir })).stdout);
  assert.equal((await switches(one)).client_events, true);
  assert.equal((await switches(two)).client_events, false);
  const { text } = await (await ownerOf(server)).page('/dash/apps/502/settings');
  assert.match(text, /shop\.test\s*\*\.shop\.test/);
  // The one connection that the app may have is taken.
  const second = await RawSocket.open(t, server, `/app/${two.key}?protocol=7`);
  assert.equal(await second.closeCode(), 4004);
});

story('Soketi: apps come with webhooks; what has no counterpart is named; a bad one stops no other', async (t) => {
  const apps = [
    {
      id: '601', key: 'soketi-one', secret: 'secret-one', enableClientMessages: true, maxConnections: -1, maxBackendEventsPerSecond: 100,
      webhooks: [
        { url: 'https://shop.test/hook', event_types: ['channel_occupied', 'cache_missed'], headers: { 'X-Token': 'abc' }, filter: { channel_name_starts_with: 'private-', channel_name_ends_with: '-eu' } },
        { lambda_function: 'f', event_types: ['client_event'] },
      ],
    },
    { id: 'app-id', key: 'soketi-named', secret: 'secret-two' },
    { id: '603', key: 'soketi one', secret: 'secret-three' },
    { id: '604', key: 'soketi-four' },
    { id: '605', key: 'soketi-five', secret: 'secret-five', enabled: false },
  ];
  const { code, rows, stderr } = await imports('soketi', { 'appManager.array.apps': apps }, ['--json']);
  assert.equal(code, 1);
  assert.match(stderr, /3 of 5 apps were not taken over/);
  assert.deepEqual(rows.map(({ outcome }) => outcome), ['made', 'refused', 'refused', 'refused', 'made']);
  assert.match(rows[0].notes.join('\n'), /maxBackendEventsPerSecond 100 is not taken over[^]*webhook 2 is not taken over: it calls an AWS Lambda/);
  assert.match(rows[1].notes[0], /"app-id" is no number.*--new-ids/);
  assert.match(rows[2].notes[0], /the key must be/);
  assert.match(rows[3].notes[0], /no secret/);
  await goesOn(t, { id: '601', key: 'soketi-one', secret: 'secret-one' });
  const asleep = { id: '605', key: 'soketi-five', secret: 'secret-five' };
  await until(async () => (await server.rest(asleep, 'GET', '/apps/605/channels')).status === 403, 'the disabled app to be known as such');
  assert.deepEqual(rows.map(({ webhooks }) => webhooks), [1, 0, 0, 0, 0]);

  // With leave to, the one whose id is no number gets another id; its clients need not know.
  const renamed = await imports('soketi', [apps[1]], ['--json', '--new-ids']);
  assert.equal(renamed.code, 0, renamed.stderr);
  const [{ app }] = renamed.rows;
  assert.match(app, /^\d+$/);
  await goesOn(t, { id: app, key: 'soketi-named', secret: 'secret-two' });
  assert.equal((await imports('soketi', [apps[1]], ['--json', '--new-ids'])).rows[0].outcome, 'already here');
});

story('Soketi: an imported webhook is called, with its header and signed with the imported secret', async (t) => {
  const posts = [];
  const receiver = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      posts.push({ headers: request.headers, body, url: request.url });
      response.end();
    });
  });
  await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => receiver.close(resolve)));
  const old = { id: '621', key: 'soketi-hook', secret: 'secret-hook' };
  const webhooks = [{ url: `http://127.0.0.1:${receiver.address().port}/h`, event_types: ['channel_occupied'], headers: { 'X-Token': 'abc' }, filter: { channel_name_ends_with: '-eu' } }];
  const private_ = [{ url: 'http://10.0.0.1/h', event_types: ['channel_occupied'] }];
  const { code, rows } = await imports('soketi', [{ ...old, webhooks: JSON.stringify(webhooks) }, { id: '622', key: 'soketi-private', secret: 's', webhooks: private_ }], ['--json']);
  assert.equal(code, 1);
  assert.deepEqual(rows.map(({ outcome, webhooks: count }) => [outcome, count]), [['made', 1], ['partly made', 0]]);
  assert.match(rows[1].notes[0], /webhook 1 was not taken over: .*10\.0\.0\.1/);
  await server.serves(old);
  const pusher = client(t, server, old);
  for (const name of ['stock-us', 'stock-eu']) await subscribed(pusher, name);
  await until(() => posts.length > 0, 'the webhook to be called', 10_000);
  assert.equal(posts[0].url, '/h');
  assert.equal(posts[0].headers['x-token'], 'abc');
  assert.equal(posts[0].headers['x-pusher-key'], old.key);
  assert.equal(posts[0].headers['x-pusher-signature'], createHmac('sha256', old.secret).update(posts[0].body).digest('hex'));
  assert.deepEqual(JSON.parse(posts[0].body).events.map(({ name, channel }) => [name, channel]), [['channel_occupied', 'stock-eu']]);
});

story('Soketi: the default app of a .env file', async (t) => {
  const { code, stderr } = await imports('soketi', 'SOKETI_DEFAULT_APP_ID=611\nSOKETI_DEFAULT_APP_KEY=soketi-env\nSOKETI_DEFAULT_APP_SECRET=secret-env\n');
  assert.equal(code, 0, stderr);
  await goesOn(t, { id: '611', key: 'soketi-env', secret: 'secret-env' });
});

story('Pusher: a .env file, the text of its page of keys, and JSON of its command line', async (t) => {
  for (const [text, old] of [
    ['PUSHER_APP_ID=701\nPUSHER_APP_KEY=278d425bdf160c739803\nPUSHER_APP_SECRET=7ad3773142a6692b25b8\nPUSHER_APP_CLUSTER=eu\n', { id: '701', key: '278d425bdf160c739803', secret: '7ad3773142a6692b25b8' }],
    ['app_id = "702"\nkey = "aaaaaaaaaaaaaaaaaaaa"\nsecret = "bbbbbbbbbbbbbbbbbbbb"\ncluster = "mt1"\n', { id: '702', key: 'aaaaaaaaaaaaaaaaaaaa', secret: 'bbbbbbbbbbbbbbbbbbbb' }],
    [JSON.stringify([{ id: 703, name: 'Shop', cluster: 'eu', tokens: [{ key: 'cccccccccccccccccccc', secret: 'dddddddddddddddddddd' }] }]), { id: '703', key: 'cccccccccccccccccccc', secret: 'dddddddddddddddddddd' }],
  ]) {
    const { code, stdout, stderr } = await imports('pusher', text);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /whether clients may trigger events is not in the file/);
    await goesOn(t, old);
  }
});

story('ids and keys that another app has are refused, and nothing is overwritten', async (t) => {
  const here = await server.app({ name: 'here' });
  const sameKey = await imports('pusher', `PUSHER_APP_ID=${here.id}\nPUSHER_APP_KEY=${here.key}\nPUSHER_APP_SECRET=another\n`, ['--json']);
  assert.equal(sameKey.code, 1);
  assert.match(sameKey.rows[0].notes[0], new RegExp(`app ${here.id} has this key already, with another id or secret`));
  const sameId = await imports('pusher', `PUSHER_APP_ID=${here.id}\nPUSHER_APP_KEY=some-other-key\nPUSHER_APP_SECRET=s\n`, ['--json']);
  assert.match(sameId.rows[0].notes[0], /another app here has the id/);
  const reserved = await imports('pusher', 'PUSHER_APP_ID=1\nPUSHER_APP_KEY=system\nPUSHER_APP_SECRET=s\n', ['--json']);
  assert.match(reserved.rows[0].notes[0], /the id 1 is kept for the server itself/);
  const twice = await imports('soketi', [{ id: 801, key: 'twice', secret: 's' }, { id: 802, key: 'twice', secret: 's' }], ['--json']);
  assert.deepEqual(twice.rows.map(({ outcome }) => outcome), ['made', 'refused']);
  await goesOn(t, here);
});

story('a file that holds no apps is one sentence, and the owner can be named', async () => {
  for (const [origin, text, pattern] of [
    ['reverb', "<?php return ['apps' => []];", /json_encode\(config\('reverb.apps.apps'\)\)/],
    ['reverb', 'REVERB_APP_ID=1\n', /REVERB_APP_KEY, REVERB_APP_SECRET missing or empty/],
    ['soketi', '[{', /can't be read as JSON/],
    ['soketi', '[]', /there are no apps in it/],
    ['pusher', 'nothing', /there is no app in it/],
  ]) {
    const { code, stderr } = await imports(origin, text);
    assert.equal(code, 1);
    assert.match(stderr, pattern);
  }
  const stranger = await imports('pusher', 'PUSHER_APP_ID=5\nPUSHER_APP_KEY=k\nPUSHER_APP_SECRET=s\n', ['--owner', 'nobody@example.test']);
  assert.match(stranger.stderr, /nobody has the e-mail nobody@example.test/);
  const piped = await command(['import', 'pusher', '-', '--json'], { dataDir: server.dataDir, input: 'PUSHER_APP_ID=901\nPUSHER_APP_KEY=piped\nPUSHER_APP_SECRET=s\n' });
  assert.equal(piped.code, 0, piped.stderr);
  assert.equal(JSON.parse(piped.stdout)[0].outcome, 'made');
});
