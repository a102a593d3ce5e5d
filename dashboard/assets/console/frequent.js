/** "Frequently seen": the top channels, events and problems of the last minute, each a click away from a filter. */
import { button, el } from './dom.js';
import { kindOf, PROBLEM_KINDS } from './kinds.js';
import { clip, count, visible } from './text.js';

const WINDOW_MS = 60_000;
const TOP = 4;
/** A single occurrence is not a long bar. */
const FULL_BAR_MIN = 5;

/**
 * @param {import('./kinds.js').Row[]} rows oldest first
 * @param {number} nowMs
 * @returns {Record<'channel'|'event'|'kind', {value: string, label: string, n: number}[]>}
 */
export function frequent(rows, nowMs) {
  const counts = { channel: new Map(), event: new Map(), kind: new Map() };
  const bump = (map, value) => map.set(value, (map.get(value) ?? 0) + 1);
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index];
    if (nowMs - row.ts > WINDOW_MS) break;
    if (row.kind === 'gap') continue;
    if (row.channel !== undefined) bump(counts.channel, row.channel);
    if (row.event !== undefined) bump(counts.event, row.event);
    if (PROBLEM_KINDS.has(row.kind)) bump(counts.kind, row.kind);
  }
  const top = (map, label) => [...map].sort((a, b) => b[1] - a[1]).slice(0, TOP).map(([value, n]) => ({ value, label: label(value), n }));
  return { channel: top(counts.channel, String), event: top(counts.event, String), kind: top(counts.kind, (kind) => kindOf(kind).label) };
}

const COLUMNS = [['channel', 'Channels'], ['event', 'Events'], ['kind', 'Problems']];

/**
 * @param {HTMLElement} root
 * @param {ReturnType<typeof frequent>} found
 * @param {(field: string, value: string) => void} filter
 */
export function drawFrequent(root, found, filter) {
  // Redrawn every second: keep a button that has the focus where it is.
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  if (COLUMNS.every(([field]) => found[field].length === 0)) {
    root.replaceChildren(el('p', { class: 'muted' }, 'Frequently seen: nothing in the last minute.'));
    return;
  }
  root.replaceChildren(...COLUMNS.map(([field, title]) => {
    const items = found[field];
    const most = Math.max(FULL_BAR_MIN, items[0]?.n ?? 0);
    const list = el('ul', {}, ...items.map(({ value, label, n }) => el('li', {}, entry(field, value, label, n, n / most, filter))));
    return el('section', { class: `frequent-column frequent-${field}` }, el('h3', {}, title), items.length > 0 ? list : el('p', { class: 'muted' }, 'none in the last minute'));
  }));
  if (focused !== undefined) for (const candidate of root.querySelectorAll('button')) if (candidate.dataset.key === focused) candidate.focus();
}

function entry(field, value, label, n, share, filter) {
  const bar = el('span', { class: 'frequent-bar', 'aria-hidden': 'true' });
  bar.style.setProperty('--share', share.toFixed(3));
  const shown = clip(visible(label), 80);
  const element = button('', 'frequent-entry', () => filter(field, value), { title: `Show only ${shown}` });
  element.dataset.key = `${field}:${value}`;
  element.append(el('span', { class: 'frequent-label' }, shown), bar, el('span', { class: 'frequent-n' }, count(n)));
  return element;
}
