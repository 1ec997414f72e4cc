/** The queue that keeps a connection's calls in order, and rows on their way. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { Queue, shape, portable, buffersOf } = await load("export * from './queue.js'; export * from './rows.js'");

test('jobs run one at a time in order, and a failure stops nobody else', async () => {
  const queue = new Queue();
  const log = [];
  const job = (name, fails = false) => async () => {
    log.push(`${name} begins`);
    await Promise.resolve();
    log.push(`${name} ends`);
    if (fails) throw new Error(name);
    return name;
  };
  const results = await Promise.allSettled([queue.run(job('a')), queue.run(job('b', true)), queue.run(job('c'))]);
  assert.deepEqual(results.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled']);
  assert.deepEqual(log, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

test('an aborted job that has not begun never does, and does not hold up the rest', async () => {
  const queue = new Queue();
  let release;
  const first = queue.run(() => new Promise((resolve) => { release = resolve; }));
  const abort = new AbortController();
  let ran = false;
  const second = queue.run(async () => { ran = true; }, abort.signal);
  const third = queue.run(async () => 3);
  abort.abort(new Error('enough'));
  await assert.rejects(second, { message: 'enough' });
  release(1);
  assert.equal(await first, 1);
  assert.equal(await third, 3);
  assert.equal(ran, false);
  await assert.rejects(queue.run(async () => 4, abort.signal), { message: 'enough' });
});

test('aborting does not reject a job that has begun', async () => {
  const queue = new Queue();
  const abort = new AbortController();
  assert.equal(await queue.run(async () => { abort.abort(); await Promise.resolve(); return 1; }, abort.signal), 1);
});

test('idle waits for what is queued, failures too', async () => {
  const queue = new Queue();
  const log = [];
  queue.run(async () => { throw new Error('x'); }).catch(() => log.push('failed'));
  queue.run(async () => { log.push('second'); });
  await queue.idle();
  assert.deepEqual(log, ['failed', 'second']);
});

test('rows take their shape', () => {
  const batch = { columnNames: ['a', 'b', 'a'], values: [1, 2, 3, 4, 5, 6], done: true };
  assert.deepEqual(shape(batch), [{ a: 3, b: 2 }, { a: 6, b: 5 }]);
  assert.deepEqual(shape(batch, 'array'), [[1, 2, 3], [4, 5, 6]]);
  assert.deepEqual(shape({ columnNames: [], values: [], done: true }), []);
});

test('a column called __proto__ is a column', () => {
  const [row] = shape({ columnNames: ['__proto__', 'b'], values: [1, 2], done: true });
  assert.equal(Object.getPrototypeOf(row), Object.prototype);
  assert.deepEqual(Object.entries(row), [['__proto__', 1], ['b', 2]]);
});

test('views into larger buffers travel alone, whole buffers are not copied', () => {
  const whole = new Uint8Array(8);
  const view = whole.subarray(2, 4);
  const [first, second, third] = portable([whole, view, 'x']);
  assert.equal(first, whole);
  assert.equal(second.buffer.byteLength, 2);
  assert.equal(third, 'x');
  assert.equal(portable({ blob: view }).blob.buffer.byteLength, 2);
  assert.equal(portable(undefined), undefined);
});

test('only large buffers are worth transferring', () => {
  const large = new Uint8Array(4096);
  assert.deepEqual(buffersOf([1, 'x', new Uint8Array(10), large]), [large.buffer]);
});
