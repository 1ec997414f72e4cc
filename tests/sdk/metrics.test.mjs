/** From counters to metrics; deadlines; and what is due after commits in direct mode. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { NO_TIMINGS, queryMetrics, report, storeMetrics, sum, within, Tender, StatikError } = await load(
  "export * from './metrics.js'; export * from './deadline.js'; export * from './tend.js'; export * from './errors.js'",
);

/** Timings of statements that took so many microseconds. */
function timings(...us) {
  const buckets = [];
  for (const each of us) {
    const bucket = each < 1 ? 0 : Math.floor(4 * Math.log2(each));
    while (buckets.length <= bucket) buckets.push(0);
    buckets[bucket]++;
  }
  return { ...NO_TIMINGS, count: us.length, totalMs: us.reduce((a, b) => a + b, 0) / 1000, maxMs: Math.max(...us) / 1000, buckets };
}

test('percentiles are at most a quarter of an octave too long, and never longer than the longest', () => {
  assert.deepEqual(queryMetrics(NO_TIMINGS), { count: 0, totalMs: 0, maxMs: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0 });
  const us = Array.from({ length: 1000 }, (_, index) => index + 1);
  const { p50Ms, p95Ms, p99Ms, maxMs } = queryMetrics(timings(...us));
  for (const [found, right] of [[p50Ms, 0.5], [p95Ms, 0.95], [p99Ms, 0.99]]) {
    assert.ok(found >= right && found <= right * 2 ** 0.25 + 1e-9, `${found} for ${right}`);
  }
  assert.equal(maxMs, 1);
  assert.equal(queryMetrics(timings(0.1, 0.2)).p99Ms, 0.0002);
  assert.equal(queryMetrics(timings(100, 100, 100, 7000)).p99Ms, 7);
});

test('two connections add up as if they were one', () => {
  const [a, b] = [timings(1, 20, 300), timings(4000)];
  assert.deepEqual(sum(a, b), { ...timings(1, 20, 300, 4000), totalMs: a.totalMs + b.totalMs });
  assert.deepEqual(sum(b, a).buckets, sum(a, b).buckets);
});

test('rates are missing where there is nothing to divide', () => {
  const usage = { logBytes: 1, newest: 9, durable: 8, checkpointed: 7, commits: 6, flushes: 0, cacheHits: 0, cacheMisses: 0 };
  assert.deepEqual(storeMetrics({ operations: {}, usage }, []), {
    operations: {}, log: { bytes: 1, newest: 9, durable: 8, checkpointed: 7, commits: 6, flushes: 0 }, cache: { hits: 0, misses: 0 }, pools: [],
  });
  const { log, cache } = storeMetrics({ operations: {}, usage: { ...usage, flushes: 3, cacheHits: 9, cacheMisses: 1 } }, []);
  assert.deepEqual([log.commitsPerFlush, cache.hitRate], [2, 0.9]);
});

test('what is late fails with Timeout; what is not settles as it does, and leaves no timer', async () => {
  await assert.rejects(within(5, new Promise(() => {}), 'it was late'), { code: 'Timeout', message: 'it was late' });
  assert.equal(await within(2 ** 40, Promise.resolve(1), 'never'), 1);
  const cause = new Error('mine');
  await assert.rejects(within(60_000, Promise.reject(cause), 'never'), (error) => error === cause);
});

test('metrics are told in intervals until the store is closed', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const told = [];
  let reads = 0;
  const stop = report({ onMetrics: (metrics) => told.push(metrics), metricsIntervalMs: 100 }, async () => ++reads);
  for (let index = 0; index < 3; index++) {
    t.mock.timers.tick(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  stop();
  t.mock.timers.tick(1000);
  assert.deepEqual(told, [1, 2, 3]);
  const closed = new StatikError({ code: 'Closed', message: 'closed' });
  report({ onMetrics: () => assert.fail('it has ended'), metricsIntervalMs: 1 }, async () => { throw closed; });
  t.mock.timers.tick(1);
  await new Promise((resolve) => setImmediate(resolve));
});

test('what is due is looked after soon after a commit, then when the store says', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const now = t.mock.method(performance, 'now', () => clock);
  let clock = 0;
  const pass = (ms) => { clock += ms; t.mock.timers.tick(ms); };
  const due = [500, undefined];
  const looks = [];
  const tender = new Tender(() => { looks.push(clock); return due.shift(); });
  tender.touch();
  tender.touch();
  pass(20);
  assert.deepEqual(looks, [20]);
  pass(100);
  // A commit does not wait for what was due later.
  tender.touch();
  pass(20);
  assert.deepEqual(looks, [20, 140]);
  pass(1000);
  assert.deepEqual(looks, [20, 140]);
  tender.touch();
  tender.stop();
  pass(1000);
  assert.deepEqual(looks, [20, 140]);
  now.mock.restore();
});
