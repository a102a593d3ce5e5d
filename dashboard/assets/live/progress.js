/**
 * Which rows this page has already seen, per node and group: it drops repeats, notices gaps, and says where a back-fill
 * must begin. Pure; the transport is live.js.
 *
 * Sequence numbers rise per node over all groups, but batches of different groups may overtake one another by one
 * interval. So "everything up to here is known" is only said of rows that are at least `SETTLE_MS` old.
 */

/** A batch is sent at the latest 100 ms after its first row; ten intervals are enough for any order of arrival. */
const SETTLE_MS = 1000;

/** @typedef {{seq: number, ts: number}} Mark */

class Node {
  /** @type {Map<string, Mark>} */ groups = new Map();
  /** @type {Mark} highest row of a back-fill, which covers all groups */ floor = { seq: -1, ts: -Infinity };
  settled = -1;
  highest = -1;
  #candidate = { seq: -1, at: -Infinity };

  /** @param {string} group @returns {Mark} */
  last(group) {
    const mark = this.groups.get(group);
    return mark && mark.seq > this.floor.seq ? mark : this.floor;
  }

  /** @param {number} nowMs */
  note(nowMs) {
    if (nowMs - this.#candidate.at <= SETTLE_MS) return;
    if (this.#candidate.seq > this.settled) this.settled = this.#candidate.seq;
    this.#candidate = { seq: this.highest, at: nowMs };
  }
}

export class Progress {
  /** @type {Map<string, Node>} */ #nodes = new Map();

  /**
   * The rows not seen before, in the order given.
   * @param {import('../console/kinds.js').Row[]} rows
   * @param {number} nowMs
   */
  take(rows, nowMs) {
    const fresh = rows.filter((row) => this.#takeOne(row));
    for (const node of this.#nodes.values()) node.note(nowMs);
    return fresh;
  }

  #takeOne(row) {
    let node = this.#nodes.get(row.node);
    if (!node) this.#nodes.set(row.node, (node = new Node()));
    const last = node.last(row.group);
    if (row.seq <= last.seq) {
      // A node that started again counts from the beginning: an old number on a clearly newer row.
      if (row.ts <= last.ts + SETTLE_MS) return false;
      this.#nodes.set(row.node, (node = new Node()));
    }
    node.groups.set(row.group, { seq: row.seq, ts: row.ts });
    node.highest = Math.max(node.highest, row.seq);
    return true;
  }

  /** After a back-fill: all groups of these nodes are known up to their highest row. */
  filled(rows) {
    for (const row of rows) {
      const node = this.#nodes.get(row.node);
      if (!node || row.seq <= node.floor.seq) continue;
      node.floor = { seq: row.seq, ts: row.ts };
      node.settled = Math.max(node.settled, row.seq);
    }
  }

  /**
   * Whether rows are missing before this batch. `prev` is the last row of the group that the node sent before.
   * @param {{node: string, prev?: number}} batch @param {string} group
   */
  misses(batch, group) {
    if (batch.prev === undefined || batch.prev === null) return false;
    const node = this.#nodes.get(batch.node);
    return node !== undefined && batch.prev > node.last(group).seq;
  }

  /** Where a back-fill begins so that nothing is left out: `n1:17`, several nodes joined by commas; empty: from the start. */
  cursor() {
    return [...this.#nodes].map(([name, node]) => `${name}:${Math.max(0, node.settled)}`).join(',');
  }

  /** Rows that the cursor asks for again although they are known; a count of lost rows includes them. */
  repeated() {
    let n = 0;
    for (const node of this.#nodes.values()) n += Math.max(0, node.highest - Math.max(0, node.settled));
    return n;
  }

  /**
   * Whether a node counts from the beginning again, by the cursor of an answer that is behind what was seen. Then it is
   * forgotten, and the caller asks once more.
   * @param {string|undefined} cursor
   */
  restarted(cursor) {
    let found = false;
    for (const [, name, seq] of String(cursor ?? '').matchAll(/([^,]+):(\d+)/g)) {
      const node = this.#nodes.get(name);
      if (!node || Number(seq) >= node.settled) continue;
      this.#nodes.delete(name);
      found = true;
    }
    return found;
  }
}
