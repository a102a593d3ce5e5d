// A customer's web server beside Fanfare: static files, and the two routes at which pusher-js asks for tokens, answered by
// the npm package `pusher`. Whoever asks is whom the query says: `?user=ID`, and `&watch=a,b` at the sign-in.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { backEnd } from './clients.mjs';

export const MASTER_KEY = randomBytes(32).toString('base64');

const TYPES = { js: 'text/javascript', html: 'text/html' };

/**
 * Starts the site and gives `{ origin, sdk, calls, end }`. `files` maps a path to a file (URL or path) or, as `{ text }`, to
 * its content. `calls` has every question for a token. It ends with the story `t`.
 */
export async function customer(t, server, app, { files = {} } = {}) {
  const sdk = backEnd(server, app, { encryptionMasterKeyBase64: MASTER_KEY });
  const calls = [];
  const answer = (url, form) => {
    const [id, socketId, channel] = [url.searchParams.get('user'), form.get('socket_id'), form.get('channel_name')];
    calls.push({ path: url.pathname, id, socketId, channel });
    if (url.pathname === '/user-auth') {
      const watchlist = url.searchParams.get('watch')?.split(',').filter(Boolean) ?? [];
      return sdk.authenticateUser(socketId, { id, user_info: { name: id.toUpperCase() }, ...(watchlist.length ? { watchlist } : {}) });
    }
    return sdk.authorizeChannel(socketId, channel, channel.startsWith('presence-') ? { user_id: id, user_info: { name: id.toUpperCase() } } : undefined);
  };
  const listener = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://customer');
    if (request.method !== 'POST') {
      const file = files[url.pathname];
      if (file === undefined) return response.writeHead(404).end();
      return response.writeHead(200, { 'content-type': TYPES[url.pathname.split('.')[1]] ?? TYPES.html }).end(file.text ?? readFileSync(file));
    }
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    return request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer(url, new URLSearchParams(body)))));
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    listener.closeAllConnections();
    listener.close();
  });
  return { origin: `http://127.0.0.1:${listener.address().port}`, sdk, calls };
}
