/**
 * The table of rows: one element per row, at most `DOM_ROWS_MAX` of them, newest on top, redrawn once per frame.
 * Text reaches the page through textContent and attributes only.
 */
import { kindOf } from './kinds.js';
import { idOf } from './store.js';
import { clip, count, isoTime, plural, size, timeOfDay, visible } from './text.js';

export const DOM_ROWS_MAX = 200;
/** Rows kept above the visible part while scrolling, so that a fast wheel shows no blank. */
const ABOVE = 60;
/** Rows drawn below the visible part during a burst. */
const BURST_MARGIN = 4;

/**
 * @param {import('./kinds.js').Row} row
 * @param {Document} [doc]
 * @returns {HTMLElement}
 */
export function rowElement(row, doc = document) {
  const element = doc.createElement('div');
  element.dataset.n = String(row.n);
  if (row.kind === 'gap') {
    element.className = 'row gap-row';
    element.dataset.test = 'console-gap';
    element.textContent = `gap: ${plural(row.lost, 'row')} lost`;
    return element;
  }
  const kind = kindOf(row.kind);
  element.className = `row tone-${kind.tone}`;
  element.tabIndex = -1;
  element.dataset.test = 'console-row';
  element.dataset.kind = row.kind;
  element.dataset.id = idOf(row);
  if (row.channel !== undefined) element.dataset.channel = row.channel;
  if (row.event !== undefined) element.dataset.event = row.event;
  element.append(
    cell(doc, 'c-time', timeOfDay(row.ts), isoTime(row.ts)),
    kindCell(doc, kind, row),
    cell(doc, 'c-channel', row.channel),
    cell(doc, 'c-event', row.event),
    cell(doc, 'c-socket', row.user_id !== undefined ? `@${row.user_id}` : row.socket_id, row.socket_id),
    cell(doc, 'c-details', details(row)),
    cell(doc, 'c-size', size(row.bytes), row.bytes === undefined ? undefined : plural(row.bytes, 'byte')),
    cell(doc, 'c-to', row.recipients === undefined ? '' : count(row.recipients), row.recipients === undefined ? undefined : plural(row.recipients, 'recipient')),
  );
  if (row.recipients === 0) element.classList.add('no-recipients');
  return element;
}

/** The sentence of a row; one that follows a thinned-out flood says how many of its kind have no row. */
function details(row) {
  const sentence = row.details ?? preview(row);
  return row.left_out === undefined ? sentence : `${count(row.left_out)} more like this before it · ${sentence}`;
}

function preview(row) {
  return row.data === undefined ? '' : row.data.slice(0, 200);
}

function cell(doc, className, text, title) {
  const span = doc.createElement('span');
  span.className = className;
  const shown = clip(visible(text ?? ''));
  span.textContent = shown;
  const hover = title === undefined ? shown : clip(visible(title));
  if (hover !== '') span.title = hover;
  return span;
}

function kindCell(doc, kind, row) {
  const span = doc.createElement('span');
  span.className = 'c-kind';
  const glyph = doc.createElement('i');
  glyph.className = 'glyph';
  glyph.setAttribute('aria-hidden', 'true');
  glyph.textContent = kind.glyph;
  const word = doc.createElement('span');
  word.className = 'kind-word';
  word.textContent = clip(visible(kind.label), 24);
  span.append(glyph, word);
  if (row.hint) {
    const mark = doc.createElement('span');
    mark.className = 'hint-mark';
    mark.textContent = '?';
    mark.title = clip(visible(row.hint.title));
    span.append(mark);
  }
  return span;
}

/** Draws a window of at most 200 rows of a longer list; the rest is empty space of the right height. */
export class RowList {
  #viewport; #body; #height = 28; #view = []; #whole = true; #selected = -1;

  /** @param {HTMLElement} viewport scrolls @param {HTMLElement} body holds the rows */
  constructor(viewport, body) {
    this.#viewport = viewport;
    this.#body = body;
    this.measure();
  }

  /** The height of a row comes from the style sheet and differs on narrow screens. */
  measure() {
    const height = parseFloat(getComputedStyle(this.#viewport).getPropertyValue('--row-height'));
    if (height > 0) this.#height = height;
  }

  get scrolled() {
    return this.#viewport.scrollTop > this.#height;
  }

  toTop() {
    this.#viewport.scrollTop = 0;
  }

  /** The list was filtered or cleared: nothing in the document can be reused. @param {object[]} view oldest first */
  replace(view) {
    this.#view = view;
    this.#whole = true;
  }

  /**
   * Draws what the present scroll position shows.
   * @param {{arriving?: boolean, burst?: boolean}} [how] `arriving`: new rows fade in; `burst`: rows come faster than
   *   anybody scrolls, so only those in sight are drawn, and the rest with the next quiet paint
   */
  paint({ arriving = false, burst = false } = {}) {
    const length = this.#view.length;
    const top = Math.floor(this.#viewport.scrollTop / this.#height);
    const rowsMax = burst ? Math.min(DOM_ROWS_MAX, Math.ceil(this.#viewport.clientHeight / this.#height) + BURST_MARGIN) : DOM_ROWS_MAX;
    const start = Math.max(0, Math.min(top - (burst ? 0 : ABOVE), length - rowsMax));
    const end = Math.min(length, start + rowsMax);
    if (this.#whole) this.#body.replaceChildren();
    this.#whole = false;
    this.#drop(start, end);
    this.#fill(start, end, arriving);
    this.#body.style.paddingTop = `${start * this.#height}px`;
    this.#body.style.paddingBottom = `${(length - end) * this.#height}px`;
  }

  /** Row by position from the top. */
  #at(index) {
    return this.#view[this.#view.length - 1 - index];
  }

  #drop(start, end) {
    const newest = start < end ? this.#at(start).n : -1;
    const oldest = start < end ? this.#at(end - 1).n : Infinity;
    const body = this.#body;
    while (body.firstElementChild && Number(body.firstElementChild.dataset.n) > newest) body.firstElementChild.remove();
    while (body.lastElementChild && Number(body.lastElementChild.dataset.n) < oldest) body.lastElementChild.remove();
  }

  #fill(start, end, arriving) {
    const body = this.#body;
    const first = body.firstElementChild ? Number(body.firstElementChild.dataset.n) : -1;
    const last = body.lastElementChild ? Number(body.lastElementChild.dataset.n) : -1;
    const above = document.createDocumentFragment();
    const below = document.createDocumentFragment();
    for (let index = start; index < end && this.#at(index).n > first; index += 1) above.append(this.#element(this.#at(index), arriving));
    if (first !== -1) {
      const rows = [];
      for (let index = end - 1; index >= start && this.#at(index).n < last; index -= 1) rows.push(this.#element(this.#at(index), false));
      below.append(...rows.reverse());
    }
    body.prepend(above);
    body.append(below);
  }

  #element(row, arriving) {
    const element = rowElement(row);
    if (arriving) element.classList.add('arriving');
    if (row.n === this.#selected) element.setAttribute('aria-current', 'true');
    return element;
  }

  /** Marks one row, scrolls it into view and gives it the focus. @param {import('./kinds.js').Row | null} row */
  select(row, focus = true) {
    this.#selected = row ? row.n : -1;
    for (const element of this.#body.querySelectorAll('[aria-current]')) element.removeAttribute('aria-current');
    if (!row) return;
    const index = this.#view.length - 1 - this.#view.indexOf(row);
    if (index >= this.#view.length) return;
    this.#reveal(index);
    const element = this.#body.querySelector(`[data-n="${row.n}"]`);
    element?.setAttribute('aria-current', 'true');
    if (focus) element?.focus({ preventScroll: true });
  }

  #reveal(index) {
    const from = index * this.#height;
    const viewport = this.#viewport;
    if (from < viewport.scrollTop) viewport.scrollTop = from;
    else if (from + this.#height > viewport.scrollTop + viewport.clientHeight) viewport.scrollTop = from + this.#height - viewport.clientHeight;
    this.paint();
  }
}
