import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readdirSync, readFileSync } from 'node:fs';
import { rowElement } from '../../assets/console/rows.js';
import { jsString, phpString, snippets } from '../../assets/console/snippets.js';
import { Flood, HELD_MAX, ROWS_MAX, Store } from '../../assets/console/store.js';
import { visible } from '../../assets/console/text.js';
import { explanation } from '../../assets/console/codes.js';
import { KINDS } from '../../assets/console/kinds.js';
import { frequent } from '../../assets/console/frequent.js';
import { fakeDocument } from './dom.mjs';

const base = { n: 1, node: 'n1', seq: 17, ts: 1764000000123, kind: 'api_message', group: 'msg', details: 'one sentence' };
const HOSTILE = ['<img src=x onerror=alert(1)>', '</script><script>alert(1)</script>', 'javascript:alert(1)', '__proto__', 'pay\u202edaol', '\u001b[31mred', 'x'.repeat(10_000)];

test('a row carries the attributes that tests and styles rely on', () => {
  const element = rowElement({ ...base, channel: 'orders', event: 'created', recipients: 0 }, fakeDocument);
  assert.equal(element.dataset.test, 'console-row');
  assert.equal(element.dataset.kind, 'api_message');
  assert.equal(element.dataset.channel, 'orders');
  assert.equal(element.dataset.event, 'created');
  assert.equal(element.dataset.id, 'n1:17');
  assert.match(element.className, /no-recipients/);
  assert.match(element.textContent, /API message/);
});

test('hostile text stays text, and of bounded length', () => {
  for (const text of HOSTILE) {
    const element = rowElement({ ...base, channel: text, event: text, details: text, socket_id: text, kind: text, hint: { id: 'x', title: text, text } }, fakeDocument);
    assert.ok(element.textContent.length < 2000, text.slice(0, 20));
    assert.doesNotMatch(element.textContent, /[\u202a-\u202e\u0000-\u001f]/);
  }
});

test('no script of the page parses HTML', () => {
  const files = readdirSync(new URL('../../assets/', import.meta.url), { recursive: true }).filter((name) => name.endsWith('.js') && !name.startsWith('vendor'));
  assert.ok(files.length > 15);
  for (const name of files) {
    const source = readFileSync(new URL(`../../assets/${name}`, import.meta.url), 'utf8');
    assert.doesNotMatch(source, /\.(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|DOMParser/, name);
  }
});

test('characters without a shape are shown by number', () => {
  assert.equal(visible('a\u202eb\u0000c\ud800d\u200b'), 'a⟨U+202E⟩b⟨U+0000⟩c⟨U+D800⟩d⟨U+200B⟩');
  assert.equal(visible('a\nb\tc', { multiline: true }), 'a\nb\tc');
  assert.equal(visible('naïve 日本語 🎺 עברית'), 'naïve 日本語 🎺 עברית');
});

test('a gap says how many rows are lost', () => {
  assert.equal(rowElement({ n: 3, kind: 'gap', lost: 312 }, fakeDocument).textContent, 'gap: 312 rows lost');
});

test('every kind has a word, a glyph and a group', () => {
  assert.equal(Object.keys(KINDS).length, 21);
  for (const kind of Object.values(KINDS)) assert.ok(kind.label && kind.glyph && kind.tone && ['conn', 'sub', 'msg', 'err', 'hook'].includes(kind.group));
});

test('rows and held rows are bounded, and what is dropped is counted', () => {
  const store = new Store();
  const rows = (n) => Array.from({ length: n }, (_, seq) => ({ ...base, seq }));
  for (let i = 0; i < 60; i += 1) store.add({ rows: rows(50) }, false);
  assert.ok(store.rows.length <= ROWS_MAX + 200);
  for (let i = 0; i < 50; i += 1) store.add({ rows: rows(50) }, true);
  assert.equal(store.held.length, HELD_MAX);
  assert.equal(store.heldDropped, 500);
  assert.equal(store.counts.get('api_message'), 5500);
  store.release();
  assert.equal(store.held.length, 0);
});

test('totals count what sampling left out', () => {
  const store = new Store();
  store.add({ rows: [{ ...base }], totals: { api_message: 640, client_event: 2 }, dropped: { api_message: 639 } }, false);
  assert.equal(store.groupCount('msg'), 642);
});

test('a flood is told by its rate and by the part that is shown', () => {
  const flood = new Flood();
  for (let at = 0; at <= 1000; at += 100) flood.note({ rows: Array(5).fill({}), totals: { api_message: 65 }, dropped: { api_message: 60 } }, at);
  const { perSecond, oneIn } = flood.state(1000);
  assert.ok(perSecond > 600 && perSecond < 750);
  assert.equal(oneIn, 13);
  assert.equal(flood.state(4000), null);
});

test('frequently seen counts the last minute only', () => {
  const now = base.ts + 60_000;
  const found = frequent([{ ...base, ts: base.ts - 1, channel: 'old' }, { ...base, ts: now, channel: 'a' }, { ...base, ts: now, channel: 'a', kind: 'api_error' }], now);
  assert.deepEqual(found.channel, [{ value: 'a', label: 'a', n: 2 }]);
  assert.deepEqual(found.kind, [{ value: 'api_error', label: 'API error', n: 1 }]);
});

test('reproducing code quotes hostile values for its language', () => {
  assert.equal(jsString('a"b\u2028</script>'), '"a\\"b\\u2028</script>"');
  assert.equal(phpString("it's \\ $x"), "'it\\'s \\\\ $x'");
  assert.equal(phpString('$x\u202e"'), '"\\$x\\u{202e}\\""');
  const app = { appId: '1001', appKey: 'k', host: 'h', port: 1, secure: false };
  assert.deepEqual(snippets({ ...base, channel: 'c', event: 'e', data: '{"a":1}' }, app).map(({ title }) => title), ['Node', 'PHP', 'pusher-js (receive)']);
  assert.deepEqual(snippets({ ...base, kind: 'connection' }, app), []);
});

test('a code leads to its explanation, unless it is one of the customer’s own server', () => {
  assert.equal(explanation({ kind: 'connection_refused', code: 4001 }, 'code'), '/e/4001');
  assert.equal(explanation({ kind: 'api_error', status: 401 }, 'status'), '/e/401');
  assert.equal(explanation({ kind: 'webhook_failed', status: 404 }, 'status'), undefined);
  assert.equal(explanation({ kind: 'api_message', status: 200 }, 'status'), undefined);
  assert.equal(explanation({ kind: 'disconnection', code: 1001 }, 'code'), undefined);
});
