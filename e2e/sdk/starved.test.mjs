// A node that lacks what it needs: descriptors, or its PostgreSQL. Who is there stays, newcomers get in as soon as they can, and the
// same process goes on.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { arrives, client, subscribed } from './clients.mjs';
import { commandOk, startServer, story, until } from './harness.mjs';
import { startPostgres } from './postgres.mjs';
import { ownerOf } from './visitor.mjs';

const open = (pid) => readdirSync(`/proc/${pid}/fd`).length;
/** Seconds of processor time that a process has used. */
const used = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).reduce((sum, ticks) => sum + Number(ticks) / 100, 0);

story('descriptors run out: open sockets go on, nothing spins, and newcomers are let in when one is free', async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const app = await server.app({ name: 'crowded', clientEvents: true });
  const [ana, ben] = [client(t, server, app), client(t, server, app)];
  const [from, to] = [await subscribed(ana, 'private-room'), await subscribed(ben, 'private-room')];
  const { pid } = server;
  const most = open(pid) + 16;
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${most}:${most}`]);

  const crowd = Array.from({ length: 60 }, () => net.connect(server.port, '127.0.0.1').on('error', () => {}));
  t.after(() => crowd.forEach((socket) => socket.destroy()));
  await until(() => server.output.includes('a connection could not be accepted'), 'the log to say so');
  const [before, started] = [used(pid), Date.now()];
  const late = client(t, server, app);
  // Ten a second are allowed.
  for (let n = 1; n <= 15; n += 1) {
    from.trigger('client-still-here', { n });
    await arrives(to, 'client-still-here', n);
    await new Promise((resolve) => setTimeout(resolve, 120));
  }
  assert.ok(used(pid) - before < (Date.now() - started) / 2_000, `${used(pid) - before} s of the processor in ${Date.now() - started} ms`);
  assert.notEqual(late.connection.state, 'connected');

  for (const socket of crowd) socket.destroy();
  const channel = await subscribed(late, 'private-room');
  from.trigger('client-welcome', {});
  await arrives(channel, 'client-welcome');
  assert.equal(server.pid, pid);
  assert.ok(server.running);
  for (const pusher of [ana, ben]) assert.equal(pusher.states.filter((state) => state === 'connected').length, 1, 'they were never away');
});

story('PostgreSQL ends: an app that the node knows goes on for old and new clients, pages say so, and nothing that was used is lost', async (t) => {
  const postgres = await startPostgres(t);
  const env = { FANFARE_DATABASE_URL: postgres.url };
  const server = await startServer({ env });
  t.after(() => server.stop());
  const owner = await ownerOf(server);
  const { stdout } = await commandOk(['apps', 'create', '--name', 'goes on', '--plan', 'sandbox', '--json'], { dataDir: server.dataDir, env });
  const app = JSON.parse(stdout);
  await server.serves(app);
  const old = await subscribed(client(t, server, app), 'news');
  const left = async () => Number((await server.rest(app, 'GET', `/apps/${app.id}/channels`)).headers.get('x-quota-remaining'));
  const metric = async () => Number(/^fanfare_database_up (\S+)$/m.exec(await (await fetch(`http://${server.env.FANFARE_METRICS_LISTEN}/metrics`)).text())[1]);
  assert.equal(await metric(), 1);

  await postgres.stop();
  await until(async () => (await metric()) === 0, 'the metric to say so', 10_000);
  const unready = await fetch(`${server.url}/readyz`);
  assert.equal(unready.status, 503);
  assert.match(await unready.text(), /database can't be reached/);
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
  const fresh = await subscribed(client(t, server, app), 'news');
  for (let n = 0; n < 20; n += 1) await server.publish(app, 'news', 'said', { n });
  for (const channel of [old, fresh]) await arrives(channel, 'said', 20);
  const page = await owner.page('/dash');
  assert.ok(page.status >= 500, `the dashboard answered ${page.status}`);
  const other = { id: '424242', key: 'f'.repeat(20), secret: 'x' };
  assert.equal((await server.rest(other, 'GET', `/apps/${other.id}/channels`)).status, 503, 'an app that it does not know');

  await postgres.start();
  await until(async () => (await fetch(`${server.url}/readyz`)).status === 200, 'the node to be ready', 20_000);
  assert.equal((await owner.page('/dash')).status, 200, 'the session is still there');
  await server.publish(app, 'news', 'after', {});
  for (const channel of [old, fresh]) await arrives(channel, 'after');
  const before = await left();
  await server.stop();
  await server.start();
  await server.serves(app);
  const after = await left();
  assert.ok(before > 0 && after < before && before - after < 10, `${before} were left, and ${after} after a restart that counts a few reads`);
}, { deadlineMs: 90_000 });
