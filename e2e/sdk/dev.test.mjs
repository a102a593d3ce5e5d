// `fanfare dev`: no settings, one command, and a terminal that tells all that is needed.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { backEnd, client, connected } from './clients.mjs';
import { startServer, story, temporaryDirectory, until } from './harness.mjs';
import { Visitor, goesTo } from './visitor.mjs';

const ADDRESS = /https?:\/\/[^\s]+(?:token=|\/login\/)[^\s]+/;

/** What the terminal shows once the server is up. */
async function printed(server) {
  await until(() => /REVERB_SCHEME=/.test(server.output) && ADDRESS.test(server.output), () => `the address and the .env block in\n${server.log()}`);
  const setting = (name) => new RegExp(`^\\s*(?:Laravel\\s+)?${name}=\\s*"?([^"\\s]*)"?\\s*$`, 'm').exec(server.output)?.[1] ?? new RegExp(`${name}="?([^"\\s]+)"?`).exec(server.output)?.[1];
  return {
    address: ADDRESS.exec(server.output)[0],
    app: { id: setting('REVERB_APP_ID'), key: setting('REVERB_APP_KEY'), secret: setting('REVERB_APP_SECRET') },
    host: setting('REVERB_HOST'),
    port: setting('REVERB_PORT'),
    scheme: setting('REVERB_SCHEME'),
    connection: setting('BROADCAST_CONNECTION'),
  };
}

/** Opens a one-time address as a browser does: the page, then its button. */
async function redeem(visitor, address) {
  const page = await visitor.page(address);
  if (page.status !== 200) return page;
  const form = /<form/.test(page.text) && /login\/link/.test(page.text);
  if (!form) return page;
  const answer = await visitor.submit(page, goesTo(/\/login\/link/));
  return answer.location ? visitor.page(answer.location) : answer;
}

story('dev prints a one-time sign-in address and an .env block that works', async (t) => {
  const server = await startServer({ mode: 'dev', owner: false });
  t.after(() => server.stop());
  const { address, app, host, port, scheme, connection } = await printed(server);
  assert.equal(connection, 'reverb');
  assert.equal(scheme, 'http');
  assert.equal(Number(port), server.port);
  assert.ok(['localhost', '127.0.0.1'].includes(host), host);
  assert.equal((await backEnd(server, app).trigger('x', 'y', {})).status, 200);
  await connected(client(t, server, app));

  const visitor = new Visitor(server.url);
  const first = await redeem(visitor, new URL(address).pathname + new URL(address).search);
  assert.equal(first.status, 200);
  assert.ok(visitor.cookies.has('fanfare_session'), 'signed in');
  assert.equal((await visitor.page(`/dash/apps/${app.id}/keys`)).text.includes(app.key), true);

  const late = new Visitor(server.url);
  await redeem(late, new URL(address).pathname + new URL(address).search);
  assert.equal(late.cookies.has('fanfare_session'), false, 'the address works once');
});

story('a second start of dev keeps the app, its keys and who is signed in, and prints a new address', async (t) => {
  const server = await startServer({ mode: 'dev', owner: false });
  t.after(() => server.stop());
  const before = await printed(server);
  const visitor = new Visitor(server.url);
  await redeem(visitor, new URL(before.address).pathname + new URL(before.address).search);
  await server.stop();
  server.output = '';
  await server.start();
  const after = await printed(server);
  assert.deepEqual(after.app, before.app);
  assert.notEqual(after.address, before.address);
  const page = await visitor.page(`/dash/apps/${before.app.id}/keys`);
  assert.equal(page.status, 200);
  assert.equal(page.text.includes(before.app.key), true);
});

story('dev without any setting keeps its data in ./data and lets people sign up', async (t) => {
  const cwd = temporaryDirectory('dev');
  const server = await startServer({ mode: 'dev', owner: false, dataDir: cwd, env: { FANFARE_DATA_DIR: undefined } });
  t.after(() => server.stop());
  await printed(server);
  assert.equal(existsSync(`${cwd}/data`), true);
  await new Visitor(server.url).signUp({ email: 'new@example.test', password: 'quiet-harbour-51-lamp' });
});
