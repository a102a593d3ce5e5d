/**
 * The debug console: wires the feed (live.js) to the list, the toolbar, the drawer and the event creator.
 * State lives in `Store` (rows), the query text (what is shown) and the few flags below; the document is drawn from them
 * once per frame.
 */
import { Creator } from './console/creator.js';
import { Drawer } from './console/drawer.js';
import { drawFrequent, frequent } from './console/frequent.js';
import { shortcuts } from './console/keys.js';
import { remember, remembered } from './console/memory.js';
import { matcher, parse } from './console/query.js';
import { RowList } from './console/rows.js';
import { Flood, HELD_MAX, idOf, Store } from './console/store.js';
import { count, plural } from './console/text.js';
import { Toolbar } from './console/toolbar.js';
import { Live } from './live.js';
import { socketsAt } from './live/connection.js';
import { csrfToken, feedStrip } from './live/page.js';

const root = document.getElementById('console');
const part = (name) => root.querySelector(`[data-part=${name}]`);
const app = {
  appId: root.dataset.appId,
  appKey: root.dataset.appKey,
  csrf: csrfToken(),
  ...socketsAt(),
};
/** With more rows than this in one frame, fading each in would be noise and work. */
const FADE_ROWS_MAX = 12;
/** More rows than this at once are drawn only where they can be seen, until this long after the last burst. */
const BURST_ROWS = 20;
const BURST_CALM_MS = 250;
/** The doctor speaks up when nothing came for this long. */
const SILENCE_MS = 20_000;

const store = new Store();
const flood = new Flood();
/** @type {import('./console/kinds.js').Row[]} rows that pass the filter, oldest first */
const view = [];
let matches = () => true;
let paused = false;
let feed = { state: 'offline', text: 'Connecting…' };
let loaded = false;
let problem = null;
let arrived = 0;
let frame = 0;
let calm = 0; // timer that ends a burst
const openedAt = Date.now();
/** A link to one row (`#row=n1:17`): opened as soon as the row is there. */
let wanted = new URLSearchParams(location.hash.slice(1)).get('row');

const list = new RowList(part('viewport'), part('rows'));
list.replace(view);
const creator = new Creator(part('creator'), app);
const drawer = new Drawer(part('drawer'), app, {
  close: closeRow,
  step,
  filter: (field, value, negated) => toolbar.addTerm(field, value, negated),
  resend: (row) => {
    showCreator(true);
    creator.fill({ channel: row.channel, event: row.event, data: row.data });
  },
  link: (row) => {
    const url = new URL(location.href);
    url.hash = `row=${idOf(row)}`;
    return url.href;
  },
});
const toolbar = new Toolbar(part('toolbar'), refilter);

/** Rows wait while the reader looks at something that must not move. */
function holding() {
  return paused || list.scrolled || drawer.row !== null;
}

// ---- what comes in

function take(batch) {
  const hold = loaded && holding();
  store.add(batch, hold);
  flood.note(batch, performance.now());
  creator.seen(batch.rows);
  if (!hold) show(batch.rows);
  if (batch.backfill && !loaded) {
    loaded = true;
    part('skeleton').hidden = true;
    openWanted();
  } else if (!batch.backfill) arrived += batch.rows.length;
  schedule();
}

function gap(lost) {
  const last = store.rows.at(-1);
  const row = { kind: 'gap', lost, ts: last ? last.ts : Date.now(), node: 'gap', seq: 0, group: '' };
  store.append([row], holding());
  if (!holding()) show([row]);
  schedule();
}

/** Appends to the view; rows are numbered in the order of the store. */
function show(rows) {
  const fresh = rows.filter(matches).sort((a, b) => a.n - b.n);
  view.push(...fresh);
  const oldest = store.rows[0]?.n ?? Infinity;
  let gone = 0;
  while (gone < view.length && view[gone].n < oldest) gone += 1;
  if (gone > 0) view.splice(0, gone);
}

function refilter(text) {
  matches = matcher(parse(text));
  view.length = 0;
  for (const row of store.rows) if (matches(row)) view.push(row);
  list?.replace(view);
  schedule();
}

function release() {
  const { rows, dropped } = store.release();
  if (dropped > 0) {
    const row = { kind: 'gap', lost: dropped, ts: rows[0]?.ts ?? Date.now(), node: 'gap', seq: 0, group: '', n: (rows[0]?.n ?? 1) - 0.5 };
    store.rows.splice(store.rows.length - rows.length, 0, row);
    rows.unshift(row);
  }
  show(rows);
  schedule();
}

// ---- drawing

function schedule() {
  if (frame === 0) frame = requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  if (!holding() && store.held.length > 0) release();
  const burst = arrived > BURST_ROWS && !holding();
  if (burst) {
    clearTimeout(calm);
    calm = setTimeout(() => {
      calm = 0;
      schedule();
    }, BURST_CALM_MS);
  }
  list.paint({ arriving: arrived > 0 && arrived <= FADE_ROWS_MAX, burst: burst || (calm !== 0 && !holding()) });
  arrived = 0;
  drawStatus();
  drawHeld();
  drawEmpty();
  toolbar.counts(store);
}

function drawStatus() {
  const status = part('status');
  const state = paused ? 'paused' : feed.state;
  const text = paused ? (feed.state === 'offline' ? 'Paused · offline' : 'Paused') : feed.text;
  if (status.dataset.state !== state) status.dataset.state = state;
  if (status.textContent !== text) status.textContent = text;
}

function drawHeld() {
  const n = store.held.length;
  const lost = store.heldDropped > 0 ? ` · ${count(store.heldDropped)} dropped` : '';
  const pause = part('pause');
  const label = paused ? `Resume · ${count(n)} new${lost}` : 'Pause';
  const words = pause.firstElementChild;
  if (words.textContent !== label) words.textContent = label;
  pause.setAttribute('aria-pressed', String(paused));
  pause.title = store.heldDropped > 0 ? `The newest ${count(HELD_MAX)} rows are kept; ${count(store.heldDropped)} older ones were dropped.` : 'Space';
  const pill = part('pill');
  pill.hidden = paused || n === 0;
  pill.textContent = `↑ ${count(n)} new${lost}`;
}

function drawEmpty() {
  const empty = part('empty');
  part('error').hidden = problem === null;
  if (problem !== null) part('error-text').textContent = `Couldn’t load events (${problem}). Retrying in 4 s.`;
  const filtered = loaded && view.length === 0 && store.rows.length > 0;
  const nothing = loaded && store.rows.length === 0 && problem === null;
  empty.hidden = !filtered && !nothing;
  part('empty-filter').hidden = !filtered;
  part('empty-nothing').hidden = !nothing;
  part('empty-doctor').hidden = !nothing || Date.now() - openedAt < SILENCE_MS;
  if (filtered) part('empty-filter-text').textContent = `No rows match. ${plural(store.rows.length, 'row')} hidden by `;
  if (filtered) part('empty-filter-query').textContent = toolbar.text;
}

/** Once a second: what depends on the clock. */
function tick() {
  const state = flood.state(performance.now());
  const strip = part('flood');
  strip.hidden = state === null;
  if (state) strip.firstElementChild.textContent = `${count(state.perSecond)}/s — showing 1 in ${count(state.oneIn)}. Totals are exact.`;
  const panel = part('frequent');
  if (!panel.hidden && !document.hidden && !paused) drawFrequent(panel, frequent(store.rows, Date.now()), (field, value) => toolbar.addTerm(field, value));
  drawEmpty();
}

// ---- rows: open, move, close

function openRow(row) {
  drawer.open(row);
  root.classList.add('with-drawer');
  list.select(row);
  schedule();
}

function closeRow() {
  const row = drawer.row;
  drawer.close();
  root.classList.remove('with-drawer');
  list.select(row);
  schedule();
}

/** @param {number} by 1: older, -1: newer */
function step(by) {
  const rows = view.filter((row) => row.kind !== 'gap');
  if (rows.length === 0) return;
  const current = drawer.row ?? focusedRow();
  const at = current ? rows.indexOf(current) : -1;
  const next = at < 0 ? rows.at(-1) : rows[Math.max(0, Math.min(rows.length - 1, at - by))];
  if (drawer.row) openRow(next);
  else list.select(next);
}

function focusedRow() {
  return rowOf(document.activeElement);
}

function rowOf(target) {
  const element = target instanceof Element ? target.closest('.row[data-id]') : null;
  if (!element) return null;
  const n = Number(element.dataset.n);
  return view.find((row) => row.n === n) ?? null;
}

function openWanted() {
  if (!wanted) return;
  const row = store.find(wanted);
  wanted = null;
  if (!row) {
    part('notice').hidden = false;
    part('notice').textContent = 'The row of this link has left the log; the newest rows are shown.';
    return;
  }
  if (!matches(row)) toolbar.text = '';
  draw();
  openRow(row);
}

// ---- controls

function togglePause() {
  paused = !paused;
  if (!paused) list.toTop();
  schedule();
}

function clear() {
  store.clear();
  view.length = 0;
  list.replace(view);
  if (drawer.row) closeRow();
  schedule();
}

function showCreator(open) {
  if ('forbidden' in part('dock').dataset) return; // their role sends nothing
  part('dock').hidden = !open;
  part('creator-toggle').setAttribute('aria-expanded', String(open));
  remember('creator', open);
}

function showFrequent(open) {
  part('frequent').hidden = !open;
  part('frequent-toggle').setAttribute('aria-expanded', String(open));
  remember('frequent', open);
  tick();
}

part('pause').addEventListener('click', togglePause);
part('clear').addEventListener('click', clear);
part('pill').addEventListener('click', () => {
  if (drawer.row) closeRow();
  list.toTop();
  schedule();
});
part('retry').addEventListener('click', () => live.retry());
part('clear-filter').addEventListener('click', () => { toolbar.text = ''; });
part('send-test').addEventListener('click', () => {
  showCreator(true);
  creator.fill({ channel: 'hello', event: 'first-event', data: '{"message":"Hello from the console"}' });
});
part('creator-toggle').addEventListener('click', () => showCreator(part('dock').hidden));
part('creator-close').addEventListener('click', () => {
  showCreator(false);
  part('creator-toggle').focus();
});
part('frequent-toggle').addEventListener('click', () => showFrequent(part('frequent').hidden));
part('viewport').addEventListener('scroll', schedule, { passive: true });
part('rows').addEventListener('click', (event) => {
  if (String(getSelection()) !== '') return; // somebody is copying text out of the table
  const row = rowOf(event.target);
  if (row) openRow(row);
});
addEventListener('resize', () => {
  list.measure();
  schedule();
});
shortcuts({
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  Enter: () => {
    const row = focusedRow();
    if (row) openRow(row);
  },
  Escape: () => { if (drawer.row) closeRow(); },
  '/': () => toolbar.focus(),
  ' ': togglePause,
  C: clear,
  e: () => {
    showCreator(true);
    creator.focus();
  },
});

showCreator(remembered('creator', true));
showFrequent(remembered('frequent', innerHeight >= 760 && innerWidth >= 900));
setInterval(tick, 1000);

const live = new Live({
  appId: app.appId,
  systemKey: root.dataset.systemKey,
  csrf: app.csrf,
  groups: ['conn', 'sub', 'msg', 'err', 'hook', 'stat'],
  payloads: !('withoutPayloads' in root.dataset),
  on: {
    batch: take,
    gap,
    state: (state, text) => {
      feed = { state, text };
      schedule();
    },
    stat: (stat) => feedStrip(app.appId, stat),
    problem: (message) => {
      problem = message;
      if (message !== null) part('skeleton').hidden = true;
      schedule();
    },
  },
});
live.start();
