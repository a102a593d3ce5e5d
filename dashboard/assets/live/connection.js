/** How pages of this dashboard connect to this host by pusher-js. */

/**
 * @returns {{host: string, port: number, secure: boolean, origin: string}} where this page's app has its sockets: its own cluster, or
 *   (with an empty origin) this very server
 */
export function socketsAt() {
  const own = globalThis.document?.querySelector?.('[data-sockets]')?.dataset.sockets;
  const at = own ? new URL(own) : location;
  const secure = at.protocol === 'https:';
  return { host: at.hostname, port: Number(at.port) || (secure ? 443 : 80), secure, origin: own ?? '' };
}

/**
 * @param {string} csrf token for the authorisation endpoint
 * @returns {object} options for `new Pusher(key, …)`
 */
export function pusherOptions(csrf) {
  const { host, port, secure } = socketsAt();
  return {
    cluster: 'local',
    wsHost: host,
    wsPort: port,
    wssPort: port,
    forceTLS: secure,
    enabledTransports: ['ws', 'wss'],
    enableStats: false,
    channelAuthorization: { endpoint: '/dash/rt/auth', transport: 'ajax', headers: { 'X-CSRF-Token': csrf } },
  };
}
