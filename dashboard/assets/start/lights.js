/**
 * The three lights: whether a client and a server of the reader's own were seen. Pure: rows in, findings out.
 *
 * The simulation's own socket never counts, nor does any other that was opened from this dashboard's address. Its rows may come before its socket id is known here, so while a simulation
 * connects, rows wait.
 */

/** @typedef {'connected'|'subscribed'|'published'} Light */

export class Lights {
  /** @type {Partial<Record<Light, import('../console/kinds.js').Row>>} the row that lit each */ lit = {};
  #own; #origin; #waiting = null;

  /** @param {Iterable<string>} own socket ids of earlier simulations @param {string} [origin] of the dashboard */
  constructor(own = [], origin = '') {
    this.#own = new Set(own);
    this.#origin = origin;
  }

  /** A simulation is connecting. */
  expectOwn() {
    this.#waiting ??= [];
  }

  /** Its socket id; without one (it failed) nothing is excluded. @param {string} [socketId] @returns {Light[]} */
  own(socketId) {
    if (socketId) this.#own.add(socketId);
    const rows = this.#waiting ?? [];
    this.#waiting = null;
    return this.see(rows);
  }

  /** @param {import('../console/kinds.js').Row[]} rows @returns {Light[]} what these rows lit */
  see(rows) {
    if (this.#waiting) {
      this.#waiting.push(...rows);
      return [];
    }
    const fresh = [];
    for (const row of rows) {
      const light = this.#lightOf(row);
      if (!light || this.lit[light]) continue;
      this.lit[light] = row;
      fresh.push(light);
    }
    return fresh;
  }

  /** @returns {Light | null} */
  #lightOf(row) {
    if (row.kind === 'api_message') return row.source === 'dashboard' ? null : 'published';
    if (row.kind === 'connection' && row.origin !== undefined && row.origin === this.#origin) this.#own.add(row.socket_id);
    if (this.#own.has(row.socket_id)) return null;
    if (row.kind === 'connection') return 'connected';
    if (row.kind === 'subscribed') return 'subscribed';
    return null;
  }
}
