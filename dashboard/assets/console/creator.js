/** The event creator: a form that publishes a real event and says what became of it. */
import { publish } from './publish.js';
import { button, el, prose } from './dom.js';
import { count, plural, timeOfDay, utf8Bytes, visible } from './text.js';

/** The same limit as the API; it has the last word, so more may be tried. */
const DATA_BYTES_MAX = 10_240;
const HISTORY_MAX = 20;
/** The row of a sent event is expected within this long; then the answer stands alone. */
const ROW_WAIT_MS = 3000;
/** Names offered while typing. */
const SUGGESTIONS_MAX = 50;

export class Creator {
  #form; #app; #channels = new Set(); #events = new Set(); #waiting = null; #suggestionsDirty = false;

  /** @param {HTMLFormElement} form @param {{appId: string, csrf: string}} app */
  constructor(form, app) {
    this.#form = form;
    this.#app = app;
    this.#data.addEventListener('input', () => this.#check());
    form.addEventListener('focusin', () => this.#suggest());
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    form.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.#check();
    this.#drawHistory();
  }

  get #data() { return this.#form.elements.namedItem('data'); }
  #part(name) { return this.#form.querySelector(`[data-part=${name}]`); }
  get #storageKey() { return `fanfare.sends.${this.#app.appId}`; }

  focus() {
    this.#form.elements.namedItem('channel').focus();
  }

  /** @param {{channel?: string, event?: string, data?: string}} message */
  fill({ channel, event, data }) {
    this.#form.elements.namedItem('channel').value = channel ?? '';
    this.#form.elements.namedItem('event').value = event ?? '';
    this.#data.value = data ?? '';
    this.#check();
    this.#data.focus();
  }

  /** Rows that arrive: names to suggest, and the row of what was just sent. @param {import('./kinds.js').Row[]} rows */
  seen(rows) {
    for (const row of rows) {
      if (row.channel && this.#channels.size < 500) this.#channels.add(row.channel);
      if (row.event && this.#events.size < 500) this.#events.add(row.event);
      const sent = this.#waiting;
      if (sent && row.kind === 'api_message' && row.source === 'dashboard' && row.channel === sent.message.channel && row.event === sent.message.event) this.#delivered(row, sent);
    }
    this.#suggestionsDirty = true;
  }

  #suggest() {
    if (!this.#suggestionsDirty) return;
    this.#suggestionsDirty = false;
    const options = (names) => [...names].slice(-SUGGESTIONS_MAX).map((name) => el('option', { value: name }));
    document.getElementById('seen-channels')?.replaceChildren(...options(this.#channels));
    document.getElementById('seen-events')?.replaceChildren(...options(this.#events));
  }

  #check() {
    const text = this.#data.value;
    const bytes = utf8Bytes(text);
    const meter = this.#part('meter');
    meter.textContent = `${count(bytes)} / ${count(DATA_BYTES_MAX)} bytes`;
    meter.classList.toggle('over', bytes > DATA_BYTES_MAX);
    const note = this.#part('json');
    const [state, words] = jsonState(text);
    note.dataset.state = state;
    note.textContent = words;
  }

  async #send() {
    const value = (name) => this.#form.elements.namedItem(name).value;
    const message = { channel: value('channel').trim(), event: value('event').trim(), data: value('data') };
    const except = value('socket_id').trim();
    if (except !== '') message.socket_id = except;
    if (message.channel === '' || message.event === '') {
      this.#say('bad', 'Channel and event need a name.');
      this.#form.elements.namedItem(message.channel === '' ? 'channel' : 'event').focus();
      return;
    }
    const submit = this.#form.querySelector('[data-test=send-event]');
    submit.disabled = true;
    this.#say('busy', 'Sending…');
    const sent = { message, ms: 0, row: null };
    this.#waiting = sent;
    const answer = await publish(this.#app, message);
    submit.disabled = false;
    this.#remember(message);
    if (!answer.ok) {
      this.#waiting = null;
      this.#say('bad', answer.status === 0 ? `Not sent: ${answer.text}` : `${answer.status} · ${answer.text.trim()}`);
      return;
    }
    sent.ms = answer.ms;
    if (sent.row) this.#delivered(sent.row, sent);
    else this.#say('ok', `Accepted in ${answer.ms} ms`);
    setTimeout(() => { if (this.#waiting === sent) this.#waiting = null; }, ROW_WAIT_MS);
  }

  /** @param {import('./kinds.js').Row} row */
  #delivered(row, sent) {
    sent.row = row;
    if (sent.ms === 0) return; // the row was faster than the answer; the answer will come back here
    this.#waiting = null;
    if (row.recipients > 0) this.#say('ok', `Delivered to ${plural(row.recipients, 'socket')} in ${sent.ms} ms`);
    else if (row.hint) this.#say('warn', row.hint.text);
    else if (row.recipients === 0) this.#say('warn', `Accepted in ${sent.ms} ms, but nobody is subscribed to \`${row.channel}\`.`);
  }

  /** @param {'ok'|'warn'|'bad'|'busy'} tone */
  #say(tone, text) {
    const result = this.#part('result');
    result.dataset.tone = tone;
    result.replaceChildren(...(tone === 'warn' ? prose(text) : [document.createTextNode(visible(text))]));
  }

  #history() {
    try {
      const list = JSON.parse(localStorage.getItem(this.#storageKey) ?? '[]');
      return Array.isArray(list) ? list : [];
    } catch {
      return [];
    }
  }

  #remember(message) {
    const same = (other) => ['channel', 'event', 'data'].every((name) => other[name] === message[name]);
    const list = [{ ...message, at: Date.now() }, ...this.#history().filter((other) => !same(other))].slice(0, HISTORY_MAX);
    try {
      localStorage.setItem(this.#storageKey, JSON.stringify(list));
    } catch {
      // A full or forbidden storage costs the history, nothing else.
    }
    this.#drawHistory();
  }

  #drawHistory() {
    const list = this.#history();
    const menu = this.#part('history');
    this.#part('history-toggle').hidden = list.length === 0;
    menu.replaceChildren(...list.map((message) => {
      const entry = button('', 'history-entry', () => {
        menu.hidePopover?.();
        this.fill(message);
      });
      entry.append(el('b', {}, visible(message.event)), el('span', {}, visible(message.channel)), el('time', {}, timeOfDay(message.at).slice(0, 8)));
      return el('li', {}, entry);
    }));
  }
}

/** @param {string} text @returns {[string, string]} state and words */
export function jsonState(text) {
  if (text.trim() === '') return ['empty', 'Empty: subscribers get an empty string.'];
  try {
    JSON.parse(text);
    return ['json', 'Valid JSON'];
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n')[0] : '';
    return ['text', `Not JSON, sent as text. ${message}`];
  }
}
