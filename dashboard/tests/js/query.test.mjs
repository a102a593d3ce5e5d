import assert from 'node:assert/strict';
import { test } from 'node:test';
import { glob, matcher, parse, visibleKinds, withKinds, withTerm } from '../../assets/console/query.js';
import { KINDS, kindsOf } from '../../assets/console/kinds.js';

const row = {
  node: 'n1', seq: 1, ts: 1764000000123, kind: 'api_message', group: 'msg', channel: 'presence-room.7', event: 'App\\Events\\OrderShipped',
  socket_id: '123.456', user_id: '42', key: 'a1b2c3d4', ip: '203.0.113.x', bytes: 9000, status: 200, details: '3 recipients', data: '{"total":129}',
};
const matches = (text, changes = {}) => matcher(parse(text))({ ...row, ...changes });

test('each field compares with its own value, letter case ignored', () => {
  for (const yes of ['kind:api', 'kind:api_message', 'kind:"API message"', 'kind:msg', 'channel:presence-room.7', 'event:app\\events\\ordershipped', 'socket:123.456', 'user:42', 'status:200', 'key:a1b2c3d4e5f6', 'key:A1b2', 'ip:203.0.113.x', 'size:9000']) {
    assert.equal(matches(yes), true, yes);
  }
  for (const no of ['kind:client', 'channel:presence-room', 'event:OrderShipped', 'socket:123', 'user:4', 'status:401', 'key:ffff', 'ip:198.51.100.x']) {
    assert.equal(matches(no), false, no);
  }
});

test('a star matches any run of characters', () => {
  for (const yes of ['channel:presence-*', 'channel:*room*', 'event:*OrderShipped', 'ip:203.0.113.*', 'kind:api_*', 'tot*129']) assert.equal(matches(yes), true, yes);
  assert.equal(matches('channel:private-*'), false);
});

test('a pattern of many stars stays cheap on a long text', () => {
  const started = performance.now();
  assert.equal(glob('*a'.repeat(200) + 'b')('a'.repeat(20_000)), false);
  assert.ok(performance.now() - started < 200);
});

test('terms must all hold, a comma means either, a minus means not', () => {
  assert.equal(matches('kind:api user:42'), true);
  assert.equal(matches('kind:api user:43'), false);
  assert.equal(matches('kind:client,api'), true);
  assert.equal(matches('-kind:subscribed'), true);
  assert.equal(matches('-kind:api'), false);
  assert.equal(matches('-channel:presence-*'), false);
});

test('bare words and quoted text look at channel, event, payload, details and time', () => {
  for (const yes of ['ordershipped', 'total', '"3 recipients"', '-"4 recipients"', 'room total']) assert.equal(matches(yes), true, yes);
  assert.equal(matches('"recipients 3"'), false);
});

test('numbers compare', () => {
  for (const yes of ['status:>=200', 'status:<300', 'size:>8k', 'status:2*']) assert.equal(matches(yes), true, yes);
  for (const no of ['status:>=400', 'size:>9k', 'status:4*']) assert.equal(matches(no), false, no);
  assert.equal(matches('status:4001', { status: undefined, code: 4001 }), true);
});

test('what is not understood is said and searched as text', () => {
  assert.match(parse('stauts:401').problems[0], /not a field/);
  assert.match(parse('status:abc').problems[0], /takes a number/);
  assert.match(parse('kind:nonsense').problems[0], /No kind/);
  assert.match(parse('"open').problems[0], /not closed/);
  assert.deepEqual(parse('App\\Events:x https://a.example').problems, []);
  assert.equal(matches('channel:'), true, 'an unfinished term hides nothing');
});

test('a gap is shown whatever the filter', () => {
  assert.equal(matcher(parse('kind:client'))({ kind: 'gap' }), true);
});

test('names of object properties are ordinary words', () => {
  assert.equal(matches('__proto__:x'), false);
  assert.equal(matches('kind:constructor'), false);
});

test('switching kinds rewrites only the kind terms, in the shorter form', () => {
  const all = new Set(Object.keys(KINDS));
  const without = new Set([...all].filter((kind) => !kindsOf('conn').includes(kind)));
  assert.equal(withKinds('channel:a kind:api x', all), 'channel:a x');
  assert.equal(withKinds('channel:a', without), '-kind:conn channel:a');
  assert.equal(withKinds('', new Set(['api_message'])), 'kind:api_message');
  assert.equal(withKinds('', new Set(kindsOf('msg'))), 'kind:msg');
  for (const kinds of [all, without, new Set(), new Set(['quota']), new Set(['subscribed', ...kindsOf('msg')])]) {
    assert.deepEqual(visibleKinds(parse(withKinds('x', kinds))), new Set([...all].filter((kind) => kinds.has(kind))));
  }
});

test('a term is added once and quoted when it must be', () => {
  assert.equal(withTerm('a', 'channel', 'orders'), 'a channel:orders');
  assert.equal(withTerm('channel:orders', 'channel', 'orders', true), '-channel:orders');
  assert.equal(withTerm('', 'event', 'two words'), 'event:"two words"');
  assert.equal(matches(withTerm('', 'event', 'say "hi"'), { event: 'say "hi"' }), true);
});
