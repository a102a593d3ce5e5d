/** The drawer beside the table: one row in full. Payloads are text, whatever they contain. */
import { explanation } from './codes.js';
import { button, copyButton, el } from './dom.js';
import { hintBox } from './hints.js';
import { kindOf } from './kinds.js';
import { snippets } from './snippets.js';
import { idOf } from './store.js';
import { isoTime, size, timeOfDay, visible } from './text.js';
import { parseJson, tree } from './tree.js';

/** Fields in the order of the Meta tab; [field of the row, label, field of the query language]. */
const META = [
  ['kind', 'Kind', 'kind'], ['channel', 'Channel', 'channel'], ['event', 'Event', 'event'], ['socket_id', 'Socket', 'socket'],
  ['user_id', 'User', 'user'], ['recipients', 'Recipients', null], ['bytes', 'Size', null], ['status', 'Status', 'status'], ['code', 'Code', 'status'],
  ['source', 'Source', 'source'], ['key', 'Key', 'key'], ['ip', 'IP address', 'ip'], ['sdk', 'SDK', null], ['origin', 'Origin', null], ['transport', 'Transport', null],
  ['node', 'Node', 'node'], ['seq', 'Sequence', null], ['left_out', 'Left out before it', null],
  ['details', 'Details', null],
];

export class Drawer {
  #root; #app; #on; #tab = 'payload'; #row = null;

  /**
   * @param {HTMLElement} root
   * @param {{appId: string, appKey: string, host: string, port: number, secure: boolean}} app
   * @param {{close: () => void, step: (by: number) => void, filter: (field: string, value: string, negated: boolean) => void, resend: (row: object) => void, link: (row: object) => string}} on
   */
  constructor(root, app, on) {
    this.#root = root;
    this.#app = app;
    this.#on = on;
  }

  get row() {
    return this.#row;
  }

  /** @param {import('./kinds.js').Row} row */
  open(row) {
    this.#row = row;
    this.#root.hidden = false;
    this.#draw();
  }

  close() {
    this.#row = null;
    this.#root.hidden = true;
    this.#root.replaceChildren();
  }

  #draw() {
    const row = this.#row;
    const parts = [this.#head(row)];
    if (row.hint) parts.push(hintBox(row.hint, this.#app, row));
    parts.push(this.#tabs(row), this.#panel(row));
    this.#root.replaceChildren(...parts);
  }

  #head(row) {
    const kind = kindOf(row.kind);
    const title = el('h2', { class: `drawer-title tone-${kind.tone}` }, el('i', { class: 'glyph', 'aria-hidden': 'true' }, kind.glyph), el('span', { class: 'kind-word' }, visible(kind.label)), el('time', { datetime: isoTime(row.ts), title: isoTime(row.ts) }, timeOfDay(row.ts)));
    const bar = el('div', { class: 'drawer-actions' },
      button('↑', 'button icon', () => this.#on.step(-1), { 'aria-label': 'Newer row', title: 'Newer row (k)' }),
      button('↓', 'button icon', () => this.#on.step(1), { 'aria-label': 'Older row', title: 'Older row (j)' }),
      button('×', 'button icon', () => this.#on.close(), { 'aria-label': 'Close', title: 'Close (Esc)', 'data-test': 'drawer-close' }));
    const head = el('header', { class: 'drawer-head' }, title, bar);
    if (row.channel !== undefined || row.event !== undefined) head.append(el('p', { class: 'drawer-subject' }, el('span', {}, visible(row.channel ?? '')), row.event === undefined ? '' : el('b', {}, visible(row.event))));
    const actions = el('div', { class: 'drawer-copy' }, copyButton('Copy link', () => this.#on.link(row)), copyButton('Copy JSON', () => JSON.stringify(plain(row), null, 2)));
    if (row.kind === 'api_message' && !row.truncated) actions.append(button('Edit and send again', 'button small', () => this.#on.resend(row)));
    head.append(actions);
    return head;
  }

  #tabs(row) {
    const names = [['payload', 'Payload'], ['meta', 'Meta']];
    if (snippets(row, this.#app).length > 0) names.push(['code', 'Code']);
    if (!names.some(([id]) => id === this.#tab)) this.#tab = 'payload';
    const list = el('div', { class: 'row-tabs', role: 'tablist', 'aria-label': 'Row' });
    for (const [id, label] of names) {
      list.append(button(label, 'row-tab', () => {
        this.#tab = id;
        this.#draw();
        this.#root.querySelector('[role=tab][aria-selected=true]')?.focus();
      }, { role: 'tab', id: `tab-${id}`, 'aria-selected': String(id === this.#tab), 'aria-controls': 'row-panel', 'data-test': `tab-${id}` }));
    }
    return list;
  }

  #panel(row) {
    const panel = el('div', { class: 'drawer-panel', role: 'tabpanel', id: 'row-panel', 'aria-labelledby': `tab-${this.#tab}` });
    if (this.#tab === 'payload') panel.append(...payload(row));
    else if (this.#tab === 'meta') panel.append(this.#meta(row));
    else for (const { title, text } of snippets(row, this.#app)) panel.append(codeBlock(title, text));
    return panel;
  }

  #meta(row) {
    const table = el('dl', { class: 'row-facts' });
    table.append(el('dt', {}, 'Time'), el('dd', {}, el('span', {}, isoTime(row.ts))));
    for (const [field, label, query] of META) {
      const value = row[field];
      if (value === undefined || value === null) continue;
      const shown = el('dd', {}, el('span', {}, field === 'bytes' ? `${size(value)} (${value})` : visible(value, { multiline: field === 'details' })));
      const page = field === 'code' || field === 'status' ? explanation(row, field) : undefined;
      if (page) shown.append(el('a', { href: page, target: '_blank', rel: 'noopener', 'data-test': 'explain' }, 'what it means'));
      if (query) {
        shown.append(el('span', { class: 'row-filter' },
          button('only', 'link', () => this.#on.filter(query, String(value), false), { title: 'Show only rows like this' }),
          button('not', 'link', () => this.#on.filter(query, String(value), true), { title: 'Hide rows like this' })));
      }
      table.append(el('dt', {}, label), shown);
    }
    return table;
  }
}

/** @param {import('./kinds.js').Row} row @returns {HTMLElement[]} */
function payload(row) {
  if (row.data === undefined) return [el('p', { class: 'muted' }, visible(row.details || (document.querySelector('[data-without-payloads]') ? 'Your role sees no payloads and members.' : 'This kind of row carries no payload.'), { multiline: true }))];
  const parts = [el('p', { class: 'muted payload-note' }, row.details ? visible(row.details, { multiline: true }) : '')];
  if (row.channel?.startsWith('private-encrypted-')) parts.push(el('p', { class: 'muted' }, 'End-to-end encrypted: this is ciphertext, and the server has no key.'));
  const json = row.truncated ? { ok: false } : parseJson(row.data);
  const raw = el('pre', { class: 'raw', 'data-test': 'payload', tabindex: '0' }, visible(row.data, { multiline: true }));
  if (json.ok && json.value !== null && typeof json.value === 'object') {
    const pretty = el('div', { class: 'pretty' }, tree(json.value));
    raw.hidden = true;
    const toggle = button('Raw', 'button small', () => {
      raw.hidden = !raw.hidden;
      pretty.hidden = !raw.hidden;
      toggle.textContent = raw.hidden ? 'Raw' : 'Tree';
    });
    parts.push(el('div', { class: 'payload-bar' }, toggle, copyButton('Copy payload', () => row.data ?? ''), el('span', { class: 'muted' }, size(row.bytes ?? row.data.length))), pretty, raw);
  } else {
    parts.push(el('div', { class: 'payload-bar' }, copyButton('Copy payload', () => row.data ?? ''), el('span', { class: 'muted' }, `${size(row.bytes ?? row.data.length)}${row.truncated ? ' — the first 4 KiB are kept' : ''}`)), raw);
  }
  return parts;
}

function codeBlock(title, text) {
  return el('section', { class: 'code-block' }, el('header', {}, el('h3', {}, title), copyButton('Copy', () => text)), el('pre', { tabindex: '0' }, visible(text, { multiline: true })));
}

/** The row as the server sent it. */
function plain(row) {
  const { n, ...rest } = row;
  return { id: idOf(row), ...rest };
}
