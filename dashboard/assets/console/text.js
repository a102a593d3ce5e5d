/**
 * How attacker-controlled text is shown: always as text, with the characters that could mislead a reader made visible.
 * Pure functions, no DOM.
 */

/** Control, bidirectional, zero-width and tag characters, and lone surrogates. Line feed and tab are decided by the caller. */
const INVISIBLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}\ud800-\udfff]/gu;

/**
 * Replaces characters that have no shape of their own by their number, `⟨U+202E⟩`, and a line feed by `↵`.
 * @param {unknown} value
 * @param {{multiline?: boolean}} [options] `multiline` keeps line feeds and tabs
 * @returns {string}
 */
export function visible(value, options = {}) {
  return String(value ?? '').replace(INVISIBLE, (char) => {
    if (options.multiline && (char === '\n' || char === '\t')) return char;
    if (char === '\n') return ' ↵ ';
    const code = char.codePointAt(0) ?? 0;
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
}

/** Cuts a text for a table cell, so that one hostile row cannot cost a layout of megabytes. */
export function clip(text, charsMax = 300) {
  return text.length > charsMax ? `${text.slice(0, charsMax)}…` : text;
}

/** Local time of day with milliseconds, `15:06:49.312`. @param {number} ms since the epoch */
export function timeOfDay(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return '–';
  const two = (n) => String(n).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** ISO time in UTC, for titles and details. @param {number} ms */
export function isoTime(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? '–' : date.toISOString();
}

/** `123 B`, `4.1 KiB`. @param {number|undefined} bytes */
export function size(bytes) {
  if (bytes === undefined || bytes === null) return '';
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(bytes < 10240 ? 1 : 0)} KiB`;
  return `${(bytes / 1048576).toFixed(1)} MiB`;
}

/** `18,204` in the reader's locale. @param {number} n */
export function count(n) {
  return Number(n).toLocaleString();
}

/** `1.2k` for counters on chips. @param {number} n */
export function short(n) {
  if (n < 1000) return String(n);
  if (n < 999_500) return `${(n / 1000).toFixed(n < 9950 ? 1 : 0)}k`;
  return `${(n / 1e6).toFixed(1)}M`;
}

/** `1 row`, `2 rows`. */
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

const encoder = new TextEncoder();
/** Length in UTF-8 bytes, which is what the limits count. @param {string} text */
export function utf8Bytes(text) {
  return encoder.encode(text).length;
}
