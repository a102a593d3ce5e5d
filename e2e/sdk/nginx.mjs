// An nginx in front of a server, as Debian installs it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { after } from 'node:test';
import { freePort, mortal, temporaryDirectory, until } from './harness.mjs';
import { call } from './httpsession.mjs';

const NGINX = process.env.FANFARE_NGINX ?? '/usr/sbin/nginx';

/** Starts one with this `server` content, and more for its `http` section; gives its host and port. It ends with the tests. */
export async function startNginx(serverBlock, httpBlock = '') {
  assert.ok(existsSync(NGINX), `${NGINX} is missing: scripts/install.sh debian`);
  const directory = temporaryDirectory('nginx');
  const port = await freePort();
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`).join('\n  ');
  writeFileSync(`${directory}/nginx.conf`, `daemon off;
master_process off;
pid ${directory}/pid;
error_log ${directory}/error.log;
events {}
http {
  access_log off;
  ${paths}
  ${httpBlock}
  server {
    listen 127.0.0.1:${port};
    ${serverBlock}
  }
}
`);
  const child = spawn(...mortal(NGINX, ['-p', directory, '-e', `${directory}/error.log`, '-c', `${directory}/nginx.conf`]), { stdio: 'inherit' });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  process.on('exit', () => child.kill('SIGKILL'));
  after(async () => {
    child.kill('SIGTERM');
    await gone;
  });
  const at = { host: '127.0.0.1', port };
  await until(async () => (await call(at, 'GET', '/readyz')).status === 200, 'nginx to pass requests on');
  return at;
}
