/**
 * The live feed of one app: back-fill first, then our own protocol through pusher-js, server-sent events when no socket
 * comes up, polling when those fail too. One object, callbacks out, no DOM.
 *
 * It hands out each row once (see live/progress.js) and reports what could not be recovered as a gap.
 */
import { Progress } from './live/progress.js';
import { pusherOptions } from './live/connection.js';

/** Without a connected socket after this long, the stream over HTTP takes over; the socket goes on trying. */
const FALLBACK_AFTER_MS = 4000;
/** Between tries while nothing answers. */
const RETRY_MS = 4000;
/** A tab nobody looks at stops costing the server anything after this long. */
const HIDDEN_AFTER_MS = 60_000;
/** Gaps found more often than this are left to the back-fill that is already due. */
const GAP_FILL_EVERY_MS = 2000;
/** One answer of the back-fill, and how many of them are asked for in a row. */
const PAGE_ROWS = 200;
const PAGES_MAX = 10;

/** @typedef {'live'|'fallback'|'offline'} State */
/** @typedef {{rows: import('./console/kinds.js').Row[], totals?: Record<string, number>, dropped?: Record<string, number>, backfill: boolean}} Batch */
/**
 * @typedef {object} Handlers
 * @property {(batch: Batch) => void} [batch]
 * @property {(lost: number) => void} [gap]
 * @property {(state: State, text: string) => void} [state]
 * @property {(stat: Stat) => void} [stat]
 * @property {(message: string | null) => void} [problem] the back-fill failed; null when it works again
 */
/** @typedef {{connections: number, connections_max: number|null, messages: number, messages_max: number|null, own_cap: boolean, resets_ms: number}} Stat */

export class Live {
  #app; #systemKey; #csrf; #groups; #kind; #on;
  #progress = new Progress();
  #pusher = null; #source = null; #polling = false; #everLive = false; #reachable = false;
  #pending = new Set();
  #queue = null; // batches that wait for a running back-fill
  #gapFillAt = -Infinity;
  #timers = { fallback: 0, retry: 0, hidden: 0 };
  #running = false;

  /**
   * @param {{appId: string, systemKey: string, csrf: string, groups: string[], payloads?: boolean, on: Handlers}} options
   *   `groups`: any of conn, sub, msg, err, and `stat` for the numbers in the header
   *   `payloads`: false for who may not see them; the server sends them no row with one
   */
  constructor({ appId, systemKey, csrf, groups, payloads = true, on }) {
    this.#app = appId; this.#systemKey = systemKey; this.#csrf = csrf; this.#groups = groups; this.#on = on;
    this.#kind = payloads ? 'app' : 'meta';
    document.addEventListener('visibilitychange', () => this.#visibilityChanged());
  }

  start() {
    this.#running = true;
    this.#say('offline', 'Connecting…');
    this.#fill();
    this.#connect();
  }

  /** Asks again at once, after `problem`. */
  retry() {
    if (this.#running) this.#fill();
  }

  stop() {
    this.#running = false;
    for (const name of Object.keys(this.#timers)) {
      clearTimeout(this.#timers[name]);
      this.#timers[name] = 0;
    }
    this.#closeStream();
    const pusher = this.#pusher;
    this.#pusher = null;
    pusher?.disconnect();
  }

  get #url() {
    return `/v1/apps/${encodeURIComponent(this.#app)}/events`;
  }

  get #wantsRows() {
    return this.#groups.some((group) => group !== 'stat');
  }

  #say(state, text) {
    this.#on.state?.(state, text);
  }

  #visibilityChanged() {
    clearTimeout(this.#timers.hidden);
    if (document.hidden && this.#running) {
      this.#timers.hidden = setTimeout(() => {
        this.stop();
        this.#say('offline', 'Asleep while this tab is hidden');
      }, HIDDEN_AFTER_MS);
    } else if (!document.hidden && !this.#running) {
      this.start();
    }
  }

  // ---- socket

  #connect() {
    const Pusher = globalThis.Pusher;
    if (typeof Pusher !== 'function') {
      this.#stream();
      return;
    }
    this.#armFallback();
    const pusher = new Pusher(this.#systemKey, pusherOptions(this.#csrf));
    this.#pusher = pusher;
    pusher.connection.bind('state_change', ({ current }) => {
      if (current !== 'connected') this.#away(pusher);
    });
    // A lost socket keeps its state until the next try; this comes at once.
    pusher.connection.bind('connecting_in', () => this.#away(pusher));
    this.#pending = new Set(this.#groups);
    for (const group of this.#groups) this.#subscribe(pusher, group);
  }

  /** The socket is not there. pusher-js tries again and subscribes again by itself. */
  #away(pusher) {
    if (this.#pusher !== pusher) return;
    this.#pending = new Set(this.#groups); // the back-fill waits for the last of the channels
    if (this.#source || this.#polling) return;
    this.#say('offline', this.#everLive ? 'Reconnecting…' : 'Connecting…');
    if (!this.#timers.fallback) this.#armFallback();
  }

  #subscribe(pusher, group) {
    const channel = pusher.subscribe(`private-dash-${this.#kind}-${this.#app}-${group}`);
    channel.bind('pusher:subscription_succeeded', () => {
      if (this.#pusher !== pusher) return;
      this.#pending.delete(group);
      if (this.#pending.size === 0) this.#caughtUp();
    });
    channel.bind('pusher:subscription_error', () => {
      if (this.#pusher === pusher && !this.#source) this.#stream();
    });
    channel.bind('batch', (batch) => this.#batch(batch, group));
    channel.bind('stat', (stat) => this.#on.stat?.(stat));
  }

  /** All channels joined, for the first time or again: what came in between is fetched, then the socket alone carries on. */
  #caughtUp() {
    clearTimeout(this.#timers.fallback);
    this.#timers.fallback = 0;
    this.#everLive = true;
    this.#closeStream();
    this.#say('live', 'Live');
    this.#fill();
  }

  #armFallback() {
    clearTimeout(this.#timers.fallback);
    this.#timers.fallback = setTimeout(() => {
      this.#timers.fallback = 0;
      this.#stream();
    }, FALLBACK_AFTER_MS);
  }

  // ---- batches

  #batch(batch, group) {
    if (!batch || !Array.isArray(batch.rows)) return;
    if (this.#queue) {
      this.#queue.push([batch, group]);
      return;
    }
    if (group && this.#progress.misses(batch, group) && performance.now() - this.#gapFillAt > GAP_FILL_EVERY_MS) {
      this.#gapFillAt = performance.now();
      this.#fill();
      this.#queue?.push([batch, group]);
      return;
    }
    this.#accept(batch, group);
  }

  #accept(batch, group) {
    const dropped = sum(batch.dropped);
    const rows = this.#progress.take(batch.rows, performance.now());
    // Totals of an interval that a back-fill partly covered would count rows twice.
    const repeated = rows.length < batch.rows.length;
    const totals = repeated ? undefined : batch.totals;
    if (rows.length > 0 || dropped > 0) this.#on.batch?.({ rows, totals, dropped: batch.dropped, backfill: false });
  }

  // ---- back-fill

  async #fill() {
    if (!this.#wantsRows || this.#queue) return;
    clearTimeout(this.#timers.retry);
    this.#queue = [];
    try {
      for (let page = 0; page < PAGES_MAX; page += 1) {
        const cursor = this.#progress.cursor();
        const repeated = this.#progress.repeated();
        const answer = await this.#page(cursor);
        if (!this.#running) break;
        if (this.#progress.restarted(answer.cursor)) continue;
        const lost = cursor === '' ? 0 : Math.max(0, (answer.lost ?? 0) - repeated);
        if (lost > 0) this.#on.gap?.(lost);
        const rows = this.#progress.take(answer.rows, performance.now());
        this.#progress.filled(answer.rows);
        this.#on.batch?.({ rows, backfill: true });
        if (answer.stat) this.#on.stat?.(answer.stat);
        if (cursor === '' || answer.rows.length < PAGE_ROWS) break;
      }
      this.#reachable = true;
      this.#on.problem?.(null);
    } catch (error) {
      this.#reachable = false;
      this.#on.problem?.(error instanceof Error ? error.message : String(error));
      if (this.#running) this.#timers.retry = setTimeout(() => this.#fill(), RETRY_MS);
    } finally {
      const waiting = this.#queue ?? [];
      this.#queue = null;
      for (const [batch, group] of waiting) this.#accept(batch, group);
    }
  }

  async #page(cursor) {
    const after = cursor === '' ? '' : `&after=${encodeURIComponent(cursor)}`;
    const response = await fetch(`${this.#url}?limit=${PAGE_ROWS}${after}`, { headers: { Accept: 'application/json' } });
    if (response.status === 401 || response.status === 404) throw new Error('You are signed out, or this app is gone. Reload the page.');
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const answer = await response.json();
    if (!Array.isArray(answer.rows)) throw new Error('The answer was not understood.');
    return answer;
  }

  // ---- server-sent events, then polling

  #stream() {
    if (this.#source || !this.#running) return;
    const cursor = this.#progress.cursor();
    const source = new EventSource(`${this.#url}/stream${cursor === '' ? '' : `?after=${encodeURIComponent(cursor)}`}`);
    this.#source = source;
    source.addEventListener('open', () => this.#say('fallback', 'Live (fallback)'));
    source.addEventListener('batch', (event) => this.#batch(parsed(event.data), ''));
    source.addEventListener('stat', (event) => {
      const stat = parsed(event.data);
      if (stat) this.#on.stat?.(stat);
    });
    source.addEventListener('error', () => {
      if (this.#source !== source) return;
      source.close();
      this.#source = null;
      this.#poll();
    });
  }

  /** The last resort: ask for what is new every few seconds, and try the stream again each time. */
  async #poll() {
    if (this.#polling) return;
    this.#polling = true;
    if (this.#reachable) this.#say('fallback', 'Live (polling)');
    else this.#say('offline', `Offline — retrying in ${RETRY_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    this.#polling = false;
    const joined = this.#pusher?.connection.state === 'connected' && this.#pending.size === 0;
    if (!this.#running || joined) return;
    await this.#fill();
    this.#stream();
  }

  #closeStream() {
    this.#source?.close();
    this.#source = null;
  }
}

/** @param {Record<string, number>|undefined} counts */
function sum(counts) {
  return counts ? Object.values(counts).reduce((a, b) => a + b, 0) : 0;
}

/** @param {string} json */
function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
