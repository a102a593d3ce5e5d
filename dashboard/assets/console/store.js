/**
 * The rows this page holds, bounded: what is shown, what waits while the list is held, and exact counts per kind.
 * Pure; rows are oldest first. Each row gets a rising number `n` on arrival.
 */
import { KINDS, kindOf } from './kinds.js';

/** Rows kept and searched. At 4 KiB of payload each this is at most 8 MB; the table shows 200 of them at a time. */
export const ROWS_MAX = 2000;
/** Rows kept back while the list is paused. */
export const HELD_MAX = 2000;
/** Trimming in steps costs one copy per step, not one per row. */
const TRIM_STEP = 200;

export class Store {
  /** @type {import('./kinds.js').Row[]} */ rows = [];
  /** @type {import('./kinds.js').Row[]} */ held = [];
  /** Rows that fell out of `held`. */ heldDropped = 0;
  /** @type {Map<string, number>} exact counts per kind, sampled rows included */ counts = new Map();
  #next = 1;

  /**
   * Takes a batch: counts it, and appends or holds its rows.
   * @param {{rows: object[], totals?: Record<string, number>, dropped?: Record<string, number>}} batch
   * @param {boolean} hold
   */
  add({ rows, totals, dropped }, hold) {
    if (totals) for (const [kind, n] of Object.entries(totals)) this.#count(kind, n);
    else {
      for (const row of rows) this.#count(row.kind, 1);
      for (const [kind, n] of Object.entries(dropped ?? {})) this.#count(kind, n);
    }
    this.append(rows, hold);
  }

  /** Appends rows that are not counted (gap rows among them). */
  append(rows, hold) {
    // Groups are batched apart, so neighbours may arrive crossed by one interval.
    const sorted = [...rows].sort(byTime);
    for (const row of sorted) row.n = this.#next++;
    if (hold) {
      this.held.push(...sorted);
      const over = this.held.length - HELD_MAX;
      if (over > 0) {
        this.held.splice(0, over);
        this.heldDropped += over;
      }
      return;
    }
    this.rows.push(...sorted);
    if (this.rows.length > ROWS_MAX + TRIM_STEP) this.rows.splice(0, this.rows.length - ROWS_MAX);
  }

  /** Lets the held rows into the list. @returns {{rows: object[], dropped: number}} */
  release() {
    const rows = this.held;
    const dropped = this.heldDropped;
    this.held = [];
    this.heldDropped = 0;
    this.rows.push(...rows);
    if (this.rows.length > ROWS_MAX) this.rows.splice(0, this.rows.length - ROWS_MAX);
    return { rows, dropped };
  }

  clear() {
    this.rows = [];
    this.held = [];
    this.heldDropped = 0;
    this.counts.clear();
  }

  /** @param {string} group */
  groupCount(group) {
    let n = 0;
    for (const [kind, count] of this.counts) if (kindOf(kind).group === group) n += count;
    return n;
  }

  /** @param {string} id `node:seq` */
  find(id) {
    return this.rows.find((row) => idOf(row) === id) ?? this.held.find((row) => idOf(row) === id);
  }

  #count(kind, n) {
    // Only kinds we know and a bounded number of others: a hostile name must not grow this map for ever.
    if (!Object.hasOwn(KINDS, kind) && this.counts.size > 64 && !this.counts.has(kind)) return;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + n);
  }
}

/** Order in time; a node's own order within one millisecond. */
export function byTime(a, b) {
  return a.ts - b.ts || (a.node === b.node ? a.seq - b.seq : 0);
}

/** The id of a row in links: `n1:17`. @param {import('./kinds.js').Row} row */
export function idOf(row) {
  return `${row.node}:${row.seq}`;
}

/**
 * How fast rows come and which part is shown, over the last two seconds.
 * The strip reads "640/s — showing 1 in 13".
 */
export class Flood {
  /** @type {{at: number, total: number, dropped: number}[]} */ #intervals = [];

  /** @param {{rows: object[], totals?: Record<string, number>, dropped?: Record<string, number>}} batch @param {number} nowMs */
  note({ rows, totals, dropped }, nowMs) {
    const left = sum(dropped);
    this.#intervals.push({ at: nowMs, total: totals ? sum(totals) : rows.length + left, dropped: left });
  }

  /** @param {number} nowMs @returns {{perSecond: number, oneIn: number} | null} null while nothing is left out */
  state(nowMs) {
    while (this.#intervals.length > 0 && nowMs - this.#intervals[0].at > 2000) this.#intervals.shift();
    const dropped = this.#intervals.reduce((n, interval) => n + interval.dropped, 0);
    if (dropped === 0) return null;
    const total = this.#intervals.reduce((n, interval) => n + interval.total, 0);
    const span = Math.max(1000, nowMs - this.#intervals[0].at);
    return { perSecond: Math.round((total * 1000) / span), oneIn: Math.max(2, Math.round(total / Math.max(1, total - dropped))) };
  }
}

function sum(counts) {
  return counts ? Object.values(counts).reduce((a, b) => a + b, 0) : 0;
}
