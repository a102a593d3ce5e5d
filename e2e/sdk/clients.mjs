// The official packages, wired to a server under test: pusher-js and laravel-echo as clients, `pusher` as the customer's
// back end, and the two authorisation routes that a Laravel application offers.
import http from 'node:http';
import Echo from 'laravel-echo';
import Echo1 from 'laravel-echo-1';
import PusherServer from 'pusher';
import Pusher from 'pusher-js';
import { until } from './harness.mjs';

/** The npm server SDK for `app`. */
export function backEnd(server, app, options = {}) {
  return new PusherServer({ appId: app.id, key: app.key, secret: app.secret, host: server.host, port: server.port, useTLS: server.tls ?? false, ...options });
}

/** The options that reach our server from an unmodified pusher-js (laravel.md §2.3). */
export function clientOptions(server) {
  return {
    cluster: 'mt1',
    wsHost: server.host,
    wsPort: server.port,
    wssPort: server.port,
    forceTLS: server.tls ?? false,
    enabledTransports: ['ws'],
    disableStats: true,
  };
}

/**
 * A pusher-js client that signs its own channels with the app's secret. `user` is the presence member it stands for.
 * It is disconnected when the story `t` ends.
 */
export function client(t, server, app, { user, options = {} } = {}) {
  const sdk = backEnd(server, app);
  const pusher = new Pusher(app.key, {
    ...clientOptions(server),
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => {
        const member = channelName.startsWith('presence-') ? { user_id: user?.id, user_info: user?.info } : undefined;
        done(null, sdk.authorizeChannel(socketId, channelName, member));
      },
    },
    ...options,
  });
  t.after(() => pusher.disconnect());
  return watch(pusher);
}

/** Remembers states and errors of a client's connection from its first moment. */
export function watch(pusher) {
  pusher.states = [];
  pusher.errors = [];
  pusher.connection.bind('state_change', ({ current }) => pusher.states.push(current));
  pusher.connection.bind('error', (error) => pusher.errors.push(error));
  return pusher;
}

export async function connected(pusher) {
  await until(
    () => pusher.connection.state === 'connected',
    () => `pusher-js to connect (states ${pusher.states.join(', ')}; errors ${JSON.stringify(pusher.errors)})`,
  );
  return pusher.connection.socket_id;
}

/** Subscribes and waits for `pusher:subscription_succeeded`; gives the channel with `events` of what arrived since. */
export async function subscribed(pusher, name) {
  const channel = collecting(pusher, name);
  await until(
    () => channel.subscribed,
    () => `the subscription to ${name} (errors ${JSON.stringify(pusher.errors)}; events ${JSON.stringify(channel.events)})`,
  );
  return channel;
}

/** Subscribes and keeps every event of the channel, the SDK's own among them. */
export function collecting(pusher, name) {
  const channel = pusher.subscribe(name);
  if (!channel.events) {
    channel.events = [];
    channel.bind_global((event, data) => channel.events.push({ event, data }));
  }
  return channel;
}

export const named = (channel, event) => channel.events.filter((row) => row.event === event);

export async function arrives(channel, event, count = 1, deadlineMs = 5_000) {
  await until(
    () => named(channel, event).length >= count,
    () => `${count} × ${event} on ${channel.name}, seen ${JSON.stringify(channel.events)}`,
    deadlineMs,
  );
  return named(channel, event).map((row) => row.data);
}

/** The code of the first `PusherError` of a connection. */
export function errorCodes(pusher) {
  return pusher.errors.map((error) => error?.data?.code ?? error?.error?.data?.code ?? null);
}

/**
 * A pusher-js client whose back end signs it in as `id`, once `#server-to-user-{id}` is open. `told` has the events that were
 * sent to the user; `watchlist` are the ids whom the user watches.
 */
export async function signedIn(t, server, app, id, { watchlist } = {}) {
  const sdk = backEnd(server, app);
  const pusher = client(t, server, app, { options: { userAuthentication: { customHandler: ({ socketId }, done) => done(null, sdk.authenticateUser(socketId, { id, watchlist })) } } });
  pusher.told = [];
  pusher.user.bind_global((event, data) => pusher.told.push({ event, data }));
  await connected(pusher);
  pusher.signin();
  await until(() => pusher.user.serverToUserChannel?.subscribed, () => `${id} to be signed in (errors ${JSON.stringify(pusher.errors)})`);
  return pusher;
}

/**
 * Laravel's `/broadcasting/auth` and `/broadcasting/user-auth` for one signed-in user, spoken by the official back-end SDK:
 * 200 with a token, or 403 for channels named in `forbidden`. `masterKey` (base64) is that of encrypted channels.
 */
export async function laravel(t, server, app, { user, forbidden = [], masterKey } = {}) {
  const sdk = backEnd(server, app, masterKey ? { encryptionMasterKeyBase64: masterKey } : {});
  const calls = [];
  const route = http.createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (text) => {
      body += text;
    });
    request.on('end', () => {
      const form = new URLSearchParams(body);
      const channel = form.get('channel_name');
      calls.push({ url: request.url, channel, socketId: form.get('socket_id'), headers: request.headers });
      const answer = (status, value) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
      if (request.url.endsWith('/user-auth')) return answer(200, sdk.authenticateUser(form.get('socket_id'), { id: String(user.id), user_info: user.info }));
      if (forbidden.includes(channel)) return answer(403, { message: 'This action is unauthorized.' });
      const member = channel.startsWith('presence-') ? { user_id: String(user.id), user_info: user.info } : undefined;
      return answer(200, sdk.authorizeChannel(form.get('socket_id'), channel, member));
    });
  });
  await new Promise((resolve) => route.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    route.closeAllConnections();
    route.close();
  });
  const base = `http://127.0.0.1:${route.address().port}/broadcasting`;
  return { authEndpoint: `${base}/auth`, userAuthEndpoint: `${base}/user-auth`, calls };
}

/** The releases of Laravel Echo that stories are told through. */
export const ECHOS = [{ version: 1, Echo: Echo1.default }, { version: 2, Echo }];

/** Laravel Echo with pusher-js passed in, as `resources/js/echo.js` of a Laravel application sets it up. */
export function echo(t, server, app, broadcaster, { authEndpoint, userAuthEndpoint, release = Echo, options = {} } = {}) {
  const instance = new release({
    broadcaster,
    Pusher,
    key: app.key,
    ...(broadcaster === 'pusher' ? { cluster: 'mt1' } : {}),
    wsHost: server.host,
    wsPort: server.port,
    wssPort: server.port,
    forceTLS: false,
    enabledTransports: ['ws', 'wss'],
    authEndpoint,
    userAuthentication: { endpoint: userAuthEndpoint, transport: 'ajax' },
    ...options,
  });
  t.after(() => instance.disconnect());
  watch(instance.connector.pusher);
  return instance;
}
