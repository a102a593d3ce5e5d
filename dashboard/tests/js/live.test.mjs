import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Progress } from '../../assets/live/progress.js';
import { Lights } from '../../assets/start/lights.js';

const row = (seq, group = 'msg', ts = 1000 + seq) => ({ node: 'n1', seq, group, ts });

test('a row is handed out once, whichever way it comes first', () => {
  const progress = new Progress();
  const first = [row(1), row(2, 'conn'), row(3)];
  assert.equal(progress.take(first, 0).length, 3);
  progress.filled(first);
  assert.equal(progress.take([row(3)], 10).length, 0);
  assert.equal(progress.take([row(4), row(5)], 20).length, 2);
  assert.deepEqual(progress.take([row(4), row(5), row(6, 'conn')], 30).map(({ seq }) => seq), [6]);
});

test('a group that a batch overtook still gets its rows', () => {
  const progress = new Progress();
  progress.take([row(10, 'conn')], 0);
  assert.equal(progress.take([row(9, 'msg')], 1).length, 1);
});

test('a missing batch is a gap; a quiet group is not', () => {
  const progress = new Progress();
  const filled = [row(1), row(2, 'conn'), row(5)];
  progress.take(filled, 0);
  progress.filled(filled);
  assert.equal(progress.misses({ node: 'n1', prev: 2 }, 'conn'), false);
  assert.equal(progress.misses({ node: 'n1', prev: 5 }, 'msg'), false);
  assert.equal(progress.misses({ node: 'n1', prev: 8 }, 'msg'), true);
  assert.equal(progress.misses({ node: 'n1' }, 'msg'), false);
});

test('the cursor stays behind rows that other groups may not have had yet', () => {
  const progress = new Progress();
  assert.equal(progress.cursor(), '');
  progress.take([row(1)], 0);
  progress.filled([row(1)]);
  progress.take([row(9)], 5000);
  assert.equal(progress.cursor(), 'n1:1');
  assert.equal(progress.repeated(), 8);
  progress.take([row(10)], 6500);
  assert.equal(progress.cursor(), 'n1:9');
});

test('a node that started again is not taken for repeats', () => {
  const progress = new Progress();
  const before = [row(500, 'msg', 1000)];
  progress.take(before, 0);
  progress.filled(before);
  assert.equal(progress.restarted('n1:500'), false);
  assert.equal(progress.restarted('n1:3'), true);
  assert.equal(progress.cursor(), '');
  progress.take(before, 0);
  assert.equal(progress.take([row(1, 'msg', 9000)], 1).length, 1);
});

test('the simulation lights nothing, whatever comes first: its rows or its id', () => {
  const lights = new Lights();
  lights.expectOwn();
  assert.deepEqual(lights.see([{ kind: 'connection', socket_id: '1.1' }]), []);
  assert.deepEqual(lights.own('1.1'), []);
  assert.deepEqual(lights.see([{ kind: 'subscribed', socket_id: '1.1' }, { kind: 'api_message', source: 'dashboard' }]), []);
  assert.deepEqual(lights.see([{ kind: 'connection', socket_id: '2.2' }]), ['connected']);
  assert.deepEqual(lights.see([{ kind: 'subscribed', socket_id: '2.2' }, { kind: 'api_message', source: 'api' }]), ['subscribed', 'published']);
  assert.deepEqual(lights.see([{ kind: 'connection', socket_id: '3.3' }]), []);
});

test('a foreign client that connects during the simulation still counts', () => {
  const lights = new Lights();
  lights.expectOwn();
  lights.see([{ kind: 'connection', socket_id: '2.2' }, { kind: 'connection', socket_id: '1.1' }]);
  assert.deepEqual(lights.own('1.1'), ['connected']);
});

test('a simulation of another browser is known by its origin', () => {
  const lights = new Lights([], 'http://host');
  assert.deepEqual(lights.see([{ kind: 'connection', socket_id: '1.1', origin: 'http://host' }, { kind: 'subscribed', socket_id: '1.1' }]), []);
  assert.deepEqual(lights.see([{ kind: 'connection', socket_id: '2.2', origin: 'http://shop' }]), ['connected']);
});
