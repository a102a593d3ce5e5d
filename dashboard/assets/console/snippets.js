/** "Reproduce": code that sends or receives what a row shows. Pure text; values are quoted for their language. */

/** A JavaScript string literal that is safe in any file encoding. @param {string} text */
export function jsString(text) {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A PHP string literal: single quotes, or double quotes with escapes when there is something invisible. @param {string} text */
export function phpString(text) {
  if (/^[\x20-\x7e]*$/.test(text)) return `'${text.replace(/[\\']/g, '\\$&')}'`;
  const escaped = text.replace(/[\\"$]/g, '\\$&').replace(/[^\x20-\x7e]/gu, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
  return `"${escaped}"`;
}

/**
 * @param {import('./kinds.js').Row} row
 * @param {{appId: string, appKey: string, host: string, port: number, secure: boolean}} app
 * @returns {{title: string, text: string}[]} empty when there is nothing to reproduce
 */
export function snippets(row, app) {
  if (row.kind === 'api_message') return [node(row, app), php(row, app), receive(row, app)];
  if (row.kind === 'client_event') return [trigger(row, app), receive(row, app)];
  return [];
}

/** `data` as the argument of a call: JSON stays an expression, other text becomes a string. */
function argument(row) {
  const data = row.data ?? '';
  if (row.truncated) return { js: '/* the payload was cut at 4 KiB */', php: '/* the payload was cut at 4 KiB */ null' };
  try {
    const value = JSON.parse(data);
    if (value !== null && typeof value === 'object') return { js: `JSON.parse(${jsString(data)})`, php: `json_decode(${phpString(data)}, true)` };
  } catch {
    // Any text is a valid payload.
  }
  return { js: jsString(data), php: phpString(data) };
}

function node(row, app) {
  return {
    title: 'Node',
    text: `import Pusher from 'pusher';

const pusher = new Pusher({
  appId: '${app.appId}',
  key: '${app.appKey}',
  secret: process.env.PUSHER_APP_SECRET,
  host: '${app.host}',
  port: '${app.port}',
  useTLS: ${app.secure},
});

await pusher.trigger(${jsString(row.channel ?? '')}, ${jsString(row.event ?? '')}, ${argument(row).js});
`,
  };
}

function php(row, app) {
  return {
    title: 'PHP',
    text: `$pusher = new Pusher\\Pusher(
    '${app.appKey}',
    getenv('PUSHER_APP_SECRET'),
    '${app.appId}',
    ['host' => '${app.host}', 'port' => ${app.port}, 'scheme' => '${app.secure ? 'https' : 'http'}']
);

$pusher->trigger(${phpString(row.channel ?? '')}, ${phpString(row.event ?? '')}, ${argument(row).php});
`,
  };
}

function client(app) {
  return `const pusher = new Pusher('${app.appKey}', {
  cluster: 'local',
  wsHost: '${app.host}',
  wsPort: ${app.port},
  wssPort: ${app.port},
  forceTLS: ${app.secure},
  enabledTransports: ['ws', 'wss'],
});
`;
}

function receive(row, app) {
  return {
    title: 'pusher-js (receive)',
    text: `${client(app)}
pusher.subscribe(${jsString(row.channel ?? '')}).bind(${jsString(row.event ?? '')}, (data) => {
  console.log(data);
});
`,
  };
}

function trigger(row, app) {
  return {
    title: 'pusher-js (send)',
    text: `${client(app)}
const channel = pusher.subscribe(${jsString(row.channel ?? '')});
channel.bind('pusher:subscription_succeeded', () => {
  channel.trigger(${jsString(row.event ?? '')}, ${argument(row).js});
});
`,
  };
}
