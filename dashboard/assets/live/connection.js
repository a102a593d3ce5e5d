/** How pages of this dashboard connect to this host by pusher-js. */

/**
 * @param {string} csrf token for the authorisation endpoint
 * @returns {object} options for `new Pusher(key, …)`
 */
export function pusherOptions(csrf) {
  const secure = location.protocol === 'https:';
  const port = Number(location.port) || (secure ? 443 : 80);
  return {
    cluster: 'local',
    wsHost: location.hostname,
    wsPort: port,
    wssPort: port,
    forceTLS: secure,
    enabledTransports: ['ws', 'wss'],
    enableStats: false,
    channelAuthorization: { endpoint: '/dash/rt/auth', transport: 'ajax', headers: { 'X-CSRF-Token': csrf } },
  };
}
