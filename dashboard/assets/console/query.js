/**
 * The query language of the search box: `kind:api channel:presence-* -kind:subscribed status:>=400 "free text" words`.
 *
 * All terms must hold. `a,b` inside one term means either. `*` matches any run of characters. Letter case never matters.
 * A field that does not exist is searched for as text and reported, so that `App\Events:x` still finds something.
 */
import { KINDS, kindOf, kindsOf, GROUPS } from './kinds.js';
import { timeOfDay } from './text.js';

/**
 * @typedef {object} Term
 * @property {string} field  name of a field, or `text`
 * @property {string[]} values
 * @property {boolean} negated
 * @property {string} source  the term as it was written
 */
/** @typedef {{terms: Term[], problems: string[]}} Query */

/** Field → value of a row to compare with. `kind`, `status` and `size` have rules of their own. */
const FIELD_VALUES = {
  channel: (row) => row.channel,
  event: (row) => row.event,
  socket: (row) => row.socket_id,
  user: (row) => row.user_id,
  ip: (row) => row.ip,
  key: (row) => row.key,
  source: (row) => row.source,
  node: (row) => row.node,
};
const NUMBER_FIELDS = { status: (row) => row.status ?? row.code, size: (row) => row.bytes };
/** Short words that people type for a kind. */
const KIND_ALIASES = { api: ['api_message'], client: ['client_event'], presence: ['member_added', 'member_removed'], refused: ['connection_refused'], denied: ['subscription_denied'], webhook: ['webhook_sent', 'webhook_failed'], signin: ['signed_in'], miss: ['cache_miss'] };

export const FIELDS = ['kind', ...Object.keys(FIELD_VALUES), ...Object.keys(NUMBER_FIELDS)];

/** @param {string} text @returns {Query} */
export function parse(text) {
  /** @type {Term[]} */ const terms = [];
  /** @type {string[]} */ const problems = [];
  // A token: optional minus, optional field and colon, then a quoted or an unquoted value.
  const token = /(-?)(?:([A-Za-z_]+):)?(?:"([^"]*)("?)|(\S*))/g;
  let match;
  while (token.lastIndex < text.length && (match = token.exec(text))) {
    if (match[0] === '') {
      token.lastIndex += 1;
      continue;
    }
    const [source, minus, field, quoted, closing, bare] = match;
    if (quoted !== undefined && !closing) problems.push('A quotation mark is not closed.');
    const term = termOf(minus === '-', field?.toLowerCase(), quoted, bare ?? '', problems);
    if (term) terms.push({ ...term, source });
  }
  return { terms, problems };
}

/** @returns {Omit<Term, 'source'> | null} */
function termOf(negated, field, quoted, bare, problems) {
  if (field && FIELDS.includes(field)) {
    const values = (quoted !== undefined ? [quoted] : bare.split(',')).filter((value) => value !== '');
    if (values.length === 0) {
      problems.push(`“${field}:” needs a value.`);
      return null;
    }
    if (Object.hasOwn(NUMBER_FIELDS, field) && values.some((value) => !comparison(value))) {
      problems.push(`“${field}:” takes a number, as in ${field}:>=400.`);
      return null;
    }
    if (field === 'kind') {
      const unknown = values.find((value) => kindsMatching(value).length === 0);
      if (unknown !== undefined) problems.push(`No kind is called “${unknown}”.`);
    }
    return { field, values, negated };
  }
  // Not a field of ours: the whole word is text. Only name it a problem when it looks like a mistyped field.
  const text = field ? `${field}:${quoted ?? bare}` : (quoted ?? bare);
  if (field && bare && FIELDS.some((known) => nearlySame(known, field))) problems.push(`“${field}:” is not a field; searched as text.`);
  if (text === '') {
    if (negated && quoted === undefined) return { field: 'text', values: ['-'], negated: false };
    return null;
  }
  return { field: 'text', values: [text], negated };
}

/** Same letters in another order, or one letter more or less. */
function nearlySame(a, b) {
  const sorted = (word) => [...word].sort().join('');
  return sorted(a) === sorted(b) || (Math.abs(a.length - b.length) === 1 && (a.startsWith(b) || b.startsWith(a)));
}

/** @param {string} value @returns {((n: number) => boolean) | null} */
function comparison(value) {
  const match = /^(>=|<=|>|<|=)?(\d+(?:\.\d+)?)(k|m)?$/i.exec(value);
  if (!match) {
    if (!/^[\d*]+$/.test(value)) return null;
    return glob(value);
  }
  const limit = Number(match[2]) * ({ k: 1024, m: 1048576 }[match[3]?.toLowerCase() ?? ''] ?? 1);
  switch (match[1]) {
    case '>=': return (n) => n >= limit;
    case '<=': return (n) => n <= limit;
    case '>': return (n) => n > limit;
    case '<': return (n) => n < limit;
    default: return (n) => n === limit;
  }
}

/**
 * A pattern in which `*` matches any run of characters. Linear in the text: no expression to backtrack in, because a
 * shared link may carry any pattern.
 * @param {string} pattern @returns {(text: unknown) => boolean} over the whole text, letter case ignored
 */
export function glob(pattern) {
  const [first, ...rest] = pattern.toLowerCase().split('*');
  if (rest.length === 0) return (text) => String(text).toLowerCase() === first;
  const last = rest.pop() ?? '';
  return (value) => {
    const text = String(value).toLowerCase();
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = text.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= text.length - last.length;
  };
}

/** Every kind a word stands for: its name, its label, its group, an alias, or a glob. @param {string} word @returns {string[]} */
export function kindsMatching(word) {
  const lower = word.toLowerCase();
  if (Object.hasOwn(KIND_ALIASES, lower)) return KIND_ALIASES[lower];
  const group = GROUPS.find(({ id, label }) => id === lower || label.toLowerCase() === lower);
  if (group) return kindsOf(group.id);
  const pattern = glob(lower.replace(/[- ]/g, '_'));
  return Object.keys(KINDS).filter((kind) => pattern(kind) || pattern(KINDS[kind].label.replaceAll(' ', '_')));
}

/** @param {Query} query @returns {(row: import('./kinds.js').Row) => boolean} */
export function matcher(query) {
  const tests = query.terms.map((term) => {
    const test = testOf(term);
    return term.negated ? (row) => !test(row) : test;
  });
  return (row) => row.kind === 'gap' || tests.every((test) => test(row));
}

/** @param {Term} term @returns {(row: import('./kinds.js').Row) => boolean} */
function testOf({ field, values }) {
  if (field === 'kind') {
    const kinds = new Set(values.flatMap(kindsMatching));
    return (row) => kinds.has(row.kind);
  }
  if (field === 'text') {
    const needle = values[0].toLowerCase();
    if (needle.includes('*') && needle !== '*') {
      const pattern = glob(`*${needle}*`);
      return (row) => pattern(haystack(row));
    }
    return (row) => haystack(row).includes(needle);
  }
  if (Object.hasOwn(NUMBER_FIELDS, field)) {
    const tests = values.map(comparison);
    return (row) => {
      const n = NUMBER_FIELDS[field](row);
      return n !== undefined && tests.some((test) => test !== null && test(n));
    };
  }
  // Rows carry only the beginning of a key, so either may be the longer one.
  if (field === 'key') return (row) => row.key !== undefined && values.some((value) => value.includes('*') ? glob(value)(row.key) : row.key.startsWith(value.toLowerCase()) || value.toLowerCase().startsWith(row.key));
  const patterns = values.map(glob);
  return (row) => {
    const value = FIELD_VALUES[field](row);
    return value !== undefined && patterns.some((pattern) => pattern(value));
  };
}

/** Everything of a row that bare words look at, lower case; made once per row. */
function haystack(row) {
  if (row.haystack === undefined) {
    const parts = [row.channel, row.event, kindOf(row.kind).label, row.kind, row.data, row.details, row.socket_id, row.user_id, row.ip, row.sdk, row.origin, row.transport, row.status, timeOfDay(row.ts)];
    Object.defineProperty(row, 'haystack', { value: parts.filter((part) => part !== undefined).join('\n').toLowerCase(), enumerable: false });
  }
  return row.haystack;
}

/** The kinds that the `kind:` terms of a query let through. @param {Query} query @returns {Set<string>} */
export function visibleKinds(query) {
  const kinds = new Set(Object.keys(KINDS));
  for (const term of query.terms.filter(({ field }) => field === 'kind')) {
    const named = new Set(term.values.flatMap(kindsMatching));
    for (const kind of kinds) if (named.has(kind) === term.negated) kinds.delete(kind);
  }
  return kinds;
}

/**
 * The query text with its `kind:` terms rewritten so that exactly `kinds` are shown; whichever form is shorter.
 * @param {string} text @param {Set<string>} kinds
 */
export function withKinds(text, kinds) {
  const rest = parse(text).terms.filter(({ field }) => field !== 'kind').map(({ source }) => source);
  const all = Object.keys(KINDS);
  const hidden = all.filter((kind) => !kinds.has(kind));
  const positive = `kind:${namesOf(new Set(all.filter((kind) => kinds.has(kind)))).join(',')}`;
  const negative = `-kind:${namesOf(new Set(hidden)).join(',')}`;
  if (hidden.length === all.length) rest.unshift(`-kind:*`);
  else if (hidden.length > 0) rest.unshift(positive.length < negative.length ? positive : negative);
  return rest.join(' ');
}

/** Kinds named by group where the whole group is there. @param {Set<string>} kinds */
function namesOf(kinds) {
  return GROUPS.flatMap(({ id }) => {
    const members = kindsOf(id);
    return members.every((kind) => kinds.has(kind)) ? [id] : members.filter((kind) => kinds.has(kind));
  });
}

/** The query text with one more term; a term for the same field and value is replaced. */
export function withTerm(text, field, value, negated = false) {
  const quoted = /[\s",]/.test(value) ? `"${value.replaceAll('"', '*')}"` : value;
  const same = `${field}:${quoted}`;
  const rest = parse(text).terms.map(({ source }) => source).filter((source) => source !== same && source !== `-${same}`);
  return [...rest, `${negated ? '-' : ''}${same}`].join(' ');
}
