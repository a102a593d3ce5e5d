// One client of any pusher-js build, in any of the places where a build runs: a page, a Web Worker, Node. A classic script
// on purpose, for `importScripts`. It keeps all that the client sees; a story drives it by name.
globalThis.tour = (Pusher, { key, host, port, origin, user, watch = [], more = {} }) => {
  const seen = [];
  const note = (where) => (event, data, about) => seen.push({ where, event, data, userId: about?.user_id });
  const pusher = new Pusher(key, {
    cluster: 'mt1',
    wsHost: host,
    wsPort: port,
    forceTLS: false,
    enabledTransports: ['ws'],
    disableStats: true,
    authEndpoint: `${origin}/auth?user=${user}`, // the name that all versions know
    userAuthentication: { endpoint: `${origin}/user-auth?user=${user}&watch=${watch.join(',')}`, transport: 'ajax' },
    ...more,
  });
  pusher.connection.bind('state_change', ({ current }) => seen.push({ where: 'connection', event: current }));
  pusher.connection.bind('error', (error) => seen.push({ where: 'connection', event: 'error', data: error.data ?? error.error?.data ?? String(error.type) }));
  pusher.user?.bind_global(note('user'));
  pusher.user?.watchlist.bind_global(note('watchlist'));
  const commands = {
    state: () => ({ state: pusher.connection.state, socketId: pusher.connection.socket_id }),
    seen: () => seen,
    subscribe(name) {
      const channel = pusher.subscribe(name);
      channel.bind_global(note(name));
    },
    /** Global handlers get no metadata; a handler of one event does. */
    bind(name, event) {
      const bound = note(`${name} bound`);
      pusher.channel(name).bind(event, (data, about) => bound(event, data, about));
    },
    unsubscribe: (name) => void pusher.unsubscribe(name),
    trigger: (name, event, data) => pusher.channel(name).trigger(event, data),
    members: (name) => ({ count: pusher.channel(name).members.count, me: pusher.channel(name).members.me, all: pusher.channel(name).members.members }),
    count: (name) => pusher.channel(name).subscriptionCount,
    signin: () => void pusher.signin(),
    disconnect: () => void pusher.disconnect(),
  };
  return (command, ...args) => commands[command](...args) ?? null;
};
