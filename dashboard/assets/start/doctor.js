/** "Why is nothing happening?": hints on rows, keys that nobody has, and silence, in plain words. */
import { copyButton, el } from '../console/dom.js';
import { hintBox } from '../console/hints.js';
import { visible } from '../console/text.js';

const POLL_MS = 5000;
const SILENCE_MS = 20_000;
/** Older findings belong to another day's problem. */
const FRESH_MS = 10 * 60_000;
const SHOWN_MAX = 5;

const CHECKS = 'php artisan config:clear && php artisan tinker --execute="dump(config(\'broadcasting.default\'), config(\'broadcasting.connections.\'.config(\'broadcasting.default\').\'.options\'))"';

export class Doctor {
  #box; #list; #app; #shown = new Map(); #waiting = true; #timer = 0;

  /** @param {HTMLElement} box @param {HTMLElement} list @param {{appId: string, appKey: string}} app */
  constructor(box, list, app) {
    this.#box = box;
    this.#list = list;
    this.#app = app;
  }

  /** Begins to wait for a connection. */
  start() {
    setTimeout(() => { if (this.#waiting) this.#silence(); }, SILENCE_MS);
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
    this.#poll();
  }

  /** A client of the reader's own connected: silence is over, hints still come. */
  connected() {
    this.#waiting = false;
    this.#box.querySelector('h2').textContent = 'Worth a look';
    clearInterval(this.#timer);
    this.#remove('silence');
    for (const id of [...this.#shown.keys()]) if (id.startsWith('unknown_key')) this.#remove(id);
  }

  /** @param {import('../console/kinds.js').Row[]} rows */
  see(rows) {
    for (const row of rows) {
      if (!row.hint || Date.now() - row.ts > FRESH_MS) continue;
      this.#show(`${row.hint.id}:${row.hint.text}`, hintBox(row.hint, this.#app, row));
    }
  }

  async #poll() {
    if (document.hidden) return;
    try {
      const response = await fetch(`/v1/apps/${encodeURIComponent(this.#app.appId)}/doctor`, { headers: { Accept: 'application/json' } });
      if (!response.ok || !this.#waiting) return;
      const { unknown_keys: attempts } = await response.json();
      for (const attempt of attempts ?? []) if (Date.now() - attempt.ts < FRESH_MS) this.#unknownKey(attempt);
    } catch {
      // The page says elsewhere that the server is away.
    }
  }

  #unknownKey({ key, ip, sdk }) {
    const from = [sdk, ip].filter(Boolean).map((part) => visible(part)).join(', ');
    const id = `unknown_key:${key}`;
    if (this.#shown.has(id)) return;
    const isId = key === this.#app.appId;
    const hint = isId
      ? { id: 'app_id_as_key', title: 'The app ID was used where the key belongs', text: `A client${from ? ` (${from})` : ''} connected with \`${key}\`. Use \`${this.#app.appKey}\` as the key.` }
      : { id: 'unknown_key', title: `A client tried the key ${key}`, text: `No app here has that key${from ? ` (${from})` : ''}. An old \`.env\` or a cached config is the usual cause; rebuild the front end too, because \`VITE_…\` values are compiled in.` };
    this.#show(id, hintBox(hint, this.#app));
  }

  #silence() {
    const box = el('section', { class: 'hint-box', 'data-hint': 'silence' },
      el('h3', {}, 'No packet for this app has arrived yet'),
      el('p', {}, 'In Laravel the usual reasons are ', el('code', {}, 'BROADCAST_CONNECTION=log'), ', a cached config, or no ', el('code', {}, 'queue:work'), '. In the browser: the page was built before the key changed, or the socket goes to pusher.com because ', el('code', {}, 'wsHost'), ' is missing.'),
      el('div', { class: 'hint-actions' }, copyButton('Copy checks for Laravel', () => CHECKS)));
    this.#show('silence', box);
  }

  #show(id, element) {
    this.#remove(id);
    this.#shown.set(id, element);
    this.#list.prepend(element);
    const [oldest] = this.#shown.keys();
    if (this.#shown.size > SHOWN_MAX) this.#remove(oldest);
    this.#box.hidden = false;
  }

  #remove(id) {
    this.#shown.get(id)?.remove();
    this.#shown.delete(id);
    this.#box.hidden = this.#shown.size === 0;
  }
}
