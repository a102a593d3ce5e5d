/**
 * A payload as a tree of text. JSON inside JSON strings is common on this wire (`data` is a string), so a string that
 * holds an object is unfolded once more and labelled.
 */
import { el } from './dom.js';
import { visible } from './text.js';

/** Deeper or longer than this, the rest is shown as a count: the row drawer is for reading. */
const DEPTH_MAX = 12;
const CHILDREN_MAX = 200;

/** @param {string} data @returns {{ok: true, value: unknown} | {ok: false}} */
export function parseJson(data) {
  try {
    return { ok: true, value: JSON.parse(data) };
  } catch {
    return { ok: false };
  }
}

/** @param {unknown} value @returns {HTMLElement} */
export function tree(value) {
  return el('div', { class: 'tree' }, node(value, 0));
}

function node(value, depth) {
  if (typeof value === 'string') return stringNode(value, depth);
  if (value === null || typeof value !== 'object') return el('span', { class: `json-${value === null ? 'null' : typeof value}` }, String(value));
  const list = Array.isArray(value);
  const keys = list ? value.map((_, index) => index) : Object.keys(value);
  const [open, close] = list ? ['[', ']'] : ['{', '}'];
  if (keys.length === 0) return el('span', { class: 'json-mark' }, open + close);
  if (depth >= DEPTH_MAX) return el('span', { class: 'json-mark' }, `${open} ${keys.length} more levels ${close}`);
  const details = el('details', { class: 'json-branch' }, el('summary', {}, el('span', { class: 'json-mark' }, open), el('span', { class: 'json-count' }, ` ${keys.length} ${list ? 'items' : 'keys'} `), el('span', { class: 'json-mark json-close' }, close)));
  details.open = depth < 3;
  const children = el('div', { class: 'json-children' });
  for (const key of keys.slice(0, CHILDREN_MAX)) {
    const label = list ? el('span', { class: 'json-index' }, String(key)) : el('span', { class: 'json-key' }, visible(key));
    children.append(el('div', { class: 'json-line' }, label, el('span', { class: 'json-mark' }, ': '), node(value[key], depth + 1)));
  }
  if (keys.length > CHILDREN_MAX) children.append(el('div', { class: 'json-count' }, `… ${keys.length - CHILDREN_MAX} more`));
  details.append(children, el('span', { class: 'json-mark json-end' }, close));
  return details;
}

function stringNode(value, depth) {
  const first = value[0];
  if ((first === '{' || first === '[') && depth < DEPTH_MAX) {
    const inner = parseJson(value);
    if (inner.ok) return el('span', { class: 'json-nested' }, el('span', { class: 'json-count' }, 'JSON in a string '), node(inner.value, depth + 1));
  }
  return el('span', { class: 'json-string' }, `"${visible(value)}"`);
}
