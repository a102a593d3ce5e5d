/**
 * The kinds of console rows: which group they belong to, and the word, glyph and colour they are shown with.
 * A kind that this table does not know (a newer node) is shown by its own name in a neutral colour.
 */

/**
 * @typedef {object} Row  One console row, the schema of the live batches, the back-fill and the stream.
 * @property {string} node @property {number} seq @property {number} ts @property {string} kind @property {string} group
 * @property {string} [channel] @property {string} [event] @property {string} [socket_id] @property {string} [user_id]
 * @property {string} [key] @property {string} [source] @property {string} [ip] @property {string} [sdk] @property {string} [origin] @property {string} [transport]
 * @property {number} [bytes] @property {number} [recipients] @property {number} [status] @property {number} [code]
 * @property {string} [details] @property {string} [data] @property {boolean} [truncated]
 * @property {{id: string, title: string, text: string}} [hint]
 * @property {number} [n] position in this page's list, given on arrival
 */

/** @typedef {{group: string, label: string, glyph: string, tone: string}} Kind */

/** @type {Record<string, Kind>} */
export const KINDS = {
  connection: { group: 'conn', label: 'Connection', glyph: '●', tone: 'conn' },
  disconnection: { group: 'conn', label: 'Disconnection', glyph: '○', tone: 'conn' },
  connection_refused: { group: 'conn', label: 'Refused', glyph: '⊘', tone: 'err' },
  subscribed: { group: 'sub', label: 'Subscribed', glyph: '+', tone: 'sub' },
  unsubscribed: { group: 'sub', label: 'Unsubscribed', glyph: '−', tone: 'sub' },
  subscription_denied: { group: 'sub', label: 'Denied', glyph: '⊘', tone: 'err' },
  occupied: { group: 'sub', label: 'Occupied', glyph: '■', tone: 'sub' },
  vacated: { group: 'sub', label: 'Vacated', glyph: '□', tone: 'sub' },
  member_added: { group: 'sub', label: 'Member added', glyph: '▸', tone: 'pres' },
  member_removed: { group: 'sub', label: 'Member removed', glyph: '◂', tone: 'pres' },
  api_message: { group: 'msg', label: 'API message', glyph: '▲', tone: 'msg' },
  client_event: { group: 'msg', label: 'Client event', glyph: '◆', tone: 'client' },
  api_error: { group: 'err', label: 'API error', glyph: '×', tone: 'err' },
  client_error: { group: 'err', label: 'Client error', glyph: '×', tone: 'err' },
  error: { group: 'err', label: 'Error', glyph: '!', tone: 'err' },
  quota: { group: 'err', label: 'Quota', glyph: '◔', tone: 'hook' },
  signed_in: { group: 'conn', label: 'Signed in', glyph: '◉', tone: 'conn' },
  cache_miss: { group: 'sub', label: 'Cache miss', glyph: '◌', tone: 'sub' },
  webhook_sent: { group: 'hook', label: 'Webhook sent', glyph: '→', tone: 'hook' },
  webhook_failed: { group: 'hook', label: 'Webhook failed', glyph: '⇥', tone: 'err' },
  config_changed: { group: 'err', label: 'Config changed', glyph: '≡', tone: 'sys' },
};

/** Kinds that report something refused or broken, wherever they are grouped. */
export const PROBLEM_KINDS = new Set(['connection_refused', 'subscription_denied', 'api_error', 'client_error', 'error', 'quota', 'webhook_failed']);

/** @type {{id: string, label: string}[]} */
export const GROUPS = [
  { id: 'conn', label: 'Connections' },
  { id: 'sub', label: 'Subscriptions' },
  { id: 'msg', label: 'Messages' },
  { id: 'hook', label: 'Webhooks' },
  { id: 'err', label: 'Errors' },
];

/** @param {string} name @returns {Kind} */
export function kindOf(name) {
  if (Object.hasOwn(KINDS, name)) return KINDS[name];
  return { group: 'err', label: name, glyph: '·', tone: 'sys' };
}

/** The kinds of one group, in the order of the table. @param {string} group */
export function kindsOf(group) {
  return Object.keys(KINDS).filter((kind) => KINDS[kind].group === group);
}
