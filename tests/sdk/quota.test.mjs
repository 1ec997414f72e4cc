/** The quota: what is told of it, what is pruned when, who waits for whom; on a clock and a browser of the test's own. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { mulberry32 } from '../e2e/random.mjs';
import { START_MS, stamp } from '../kv/bench.mjs';
import { openIdb } from '../kv/idb.mjs';
import { load } from './load.mjs';
import { FakeClock, FakeLocks, FakeStorage, freeing, settled } from './quota-fakes.mjs';

const { IdbStorageAdapter, LARGE_BYTES, Quota, StorageQuotaExceeded, StatikError, expiredPruner, logPruner, opLogPruner } = await load(
  "export * from './quota/quota.js'; export * from './quota/exceeded.js'; export * from './quota/pruners.js'; export * from './kv/idb-adapter.js'; export { StatikError } from './errors.js'",
);

const SEED = 20260307;
const LOCK = 'statik:quota';

let locks;
const navigator = Object.getOwnPropertyDescriptor(globalThis, 'navigator');

beforeEach(() => {
  locks = new FakeLocks();
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
});

afterEach(() => {
  if (navigator === undefined) delete globalThis.navigator;
  else Object.defineProperty(globalThis, 'navigator', navigator);
});

/** A quota with all that it stands on. `events` without the errors' bulk: `type` and what tells them apart. */
function subject(options = {}) {
  const storage = options.storage ?? new FakeStorage();
  const clock = options.clock ?? new FakeClock();
  const events = [];
  const calls = [];
  const quota = new Quota({ storage, clock, isVisible: () => true, ...options, onEvent: (event) => events.push(event) });
  const freeingAll = (...pruners) => pruners.forEach((each) => quota.register(freeing(storage, calls, ...each)));
  const types = () => events.map(({ type }) => type);
  return { storage, clock, quota, events, calls, types, freeingAll };
}

const full = () => new StatikError({ code: 'Quota', message: 'the disk is full' });
const fails = (code, pattern = /./) => (error) => error instanceof StatikError && error.code === code && pattern.test(error.message);

test('an estimate has what the browser tells, and no more', async () => {
  const { quota, storage } = subject();
  storage.usage = 250;
  assert.deepEqual(await quota.estimate(), { usageBytes: 250, quotaBytes: 1000, share: 0.25 });
  storage.quota = 0;
  assert.deepEqual(await quota.estimate(), { usageBytes: 250, quotaBytes: 0 });
  storage.usage = undefined;
  assert.deepEqual(await quota.estimate(), { quotaBytes: 0 });
  storage.quota = NaN;
  assert.deepEqual(await quota.estimate(), {});
  assert.deepEqual(await subject({ storage: {} }).quota.estimate(), {});
  assert.deepEqual(await subject({ storage: {}, budgetBytes: 10 }).quota.estimate(), { quotaBytes: 10 });
  assert.deepEqual(await subject({ budgetBytes: 999 }).quota.estimate(), { usageBytes: 0, quotaBytes: 999, share: 0 });
  assert.deepEqual(await subject({ budgetBytes: 1001 }).quota.estimate(), { usageBytes: 0, quotaBytes: 1000, share: 0 });
  assert.deepEqual(await new Quota().estimate(), {}, 'a browser without a storage manager');
});

test('an estimate that the browser refuses, or never answers, fails with a reason', async () => {
  const refusing = (error) => subject({ storage: { estimate: () => Promise.reject(error) } }).quota.estimate();
  await assert.rejects(refusing(new TypeError('opaque origin')), fails('Unsupported', /estimate.*opaque origin/));
  await assert.rejects(refusing(new DOMException('no', 'SecurityError')), fails('Permission'));
  await assert.rejects(refusing(new DOMException('no', 'InvalidStateError')), fails('Io'));
  await assert.rejects(subject({ storage: { estimate() { throw new TypeError('no'); } } }).quota.estimate(), fails('Unsupported'));
  const { quota, clock } = subject({ storage: { estimate: () => new Promise(() => {}) } });
  const failed = assert.rejects(quota.estimate(), fails('Timeout', /10000 ms/));
  await clock.pass(10_000);
  await failed;
  assert.equal(clock.timers.size, 0);
});

test('persistence: granted, denied, refused, or nobody to ask', async () => {
  const { quota, storage, clock, types } = subject();
  for (const [isGranted, expected] of [[true, 'granted'], [false, 'denied']]) {
    const asked = quota.persist();
    await settled();
    storage.answer(isGranted);
    assert.equal(await asked, expected);
  }
  const refused = assert.rejects(quota.persist(), fails('Unsupported', /opaque/));
  await settled();
  storage.refuse(new TypeError('opaque origin'));
  await refused;
  assert.equal(storage.prompts, 3);
  assert.deepEqual([types(), clock.timers.size], [[], 0], 'who was in time needs no event');
  assert.equal(await subject({ storage: {} }).quota.persist(), 'unsupported');
  assert.equal(await subject({ storage: { persisted: async () => false } }).quota.persist(), 'unsupported');
  assert.equal(await subject({ storage: { persisted: async () => true } }).quota.persist(), 'granted', 'as a worker knows it');
  assert.equal(await new Quota().persist(), 'unsupported');
  await assert.rejects(quota.persist({ deadlineMs: 0 }), fails('Invalid', /deadlineMs/));
});

test('a prompt that nobody answers ends at its deadline; the late answer is told once', async () => {
  const { quota, storage, clock, events } = subject();
  const [first, patient] = [quota.persist(), quota.persist({ deadlineMs: 60_000 })];
  await clock.pass(4999);
  assert.equal(await Promise.race([first, 'pending']), 'pending');
  await clock.pass(1);
  assert.equal(await first, 'unanswered');
  const again = quota.persist();
  await clock.pass(5000);
  assert.equal(await again, 'unanswered');
  assert.equal(storage.prompts, 1, 'one prompt for all');
  storage.answer(true);
  assert.equal(await patient, 'granted');
  await settled();
  assert.deepEqual(events, [{ type: 'persistence', persistence: 'granted' }]);
  const third = quota.persist({ deadlineMs: 1 });
  await clock.pass(1);
  assert.equal(await third, 'unanswered');
  storage.refuse(new TypeError('gone'));
  await settled();
  assert.deepEqual(events.slice(1), [{ type: 'persistence', persistence: 'denied', reason: 'gone' }]);
  assert.equal(clock.timers.size, 0);
});

test('thresholds are told once each time that usage comes to be above them', async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const { quota, storage, events } = subject({ thresholds: [0.95, 0.6, 0.8, 0.8] });
  const random = mulberry32(SEED);
  const above = new Set();
  let told = 0;
  for (let step = 0; step < 500; step += 1) {
    storage.usage = Math.floor(random() * 1200);
    const expected = [600, 800, 950].filter((bytes) => storage.usage >= bytes && !above.has(bytes));
    for (const bytes of [600, 800, 950]) above[storage.usage >= bytes ? 'add' : 'delete'](bytes);
    events.length = 0;
    assert.deepEqual(await quota.check(), { usageBytes: storage.usage, quotaBytes: 1000, share: storage.usage / 1000 });
    await settled();
    assert.deepEqual(events, expected.map((bytes) => (
      { type: 'threshold', threshold: bytes / 1000, usageBytes: storage.usage, quotaBytes: 1000, share: storage.usage / 1000 })));
    told += events.length;
  }
  assert.ok(told > 200, `${told} events`);
  storage.quota = undefined;
  await quota.check();
});

test('checks: by time while the page is visible, and by what was written; none after close', async () => {
  let isVisible = true;
  const { quota, storage, clock, types } = subject({ checkMs: 1000, checkBytes: 100, isVisible: () => isVisible });
  assert.equal(clock.timers.size, 0, 'nobody has asked for any');
  quota.watch();
  quota.watch();
  assert.deepEqual([...clock.timers].map(({ isUnref }) => isUnref), [true]);
  storage.usage = 700;
  await clock.pass(999);
  assert.equal(storage.estimates, 0);
  await clock.pass(1);
  assert.deepEqual([storage.estimates, types()], [1, ['threshold']]);
  isVisible = false;
  await clock.pass(3000);
  assert.equal(storage.estimates, 1);
  isVisible = true;
  await clock.pass(1000);
  assert.equal(storage.estimates, 2);
  for (const bytes of [50, 49]) quota.wrote(bytes);
  await settled();
  assert.equal(storage.estimates, 2);
  quota.wrote(1);
  await settled();
  assert.equal(storage.estimates, 3);
  quota.close();
  assert.equal(clock.timers.size, 0);
  quota.wrote(1000);
  await clock.pass(10_000);
  assert.equal(storage.estimates, 3);
  assert.throws(() => quota.watch(), fails('Closed'));
  const off = subject({ checkMs: 0 });
  off.quota.watch();
  assert.equal(off.clock.timers.size, 0);
});

test('a check that finds usage above the limit prunes; what fails there is told', async () => {
  const { quota, storage, clock, events, calls, freeingAll } = subject({ checkMs: 1000, thresholds: [] });
  freeingAll(['ops', 'synced', 100]);
  quota.watch();
  storage.usage = 801;
  await clock.pass(1000);
  assert.deepEqual(events, [{ type: 'pruned', pruner: 'ops', records: 10, bytes: 100 }]);
  storage.estimate = () => Promise.reject(new TypeError('no more'));
  await clock.pass(1000);
  assert.deepEqual([calls, events.length, events[1].type, events[1].error.code], [['ops'], 2, 'estimateFailed', 'Unsupported']);
  quota.close();
});

test('room: nothing is pruned up to the limit, and pruners run in order until usage is there', async () => {
  const { quota, storage, calls, freeingAll } = subject();
  freeingAll(['cache', 'expired', 100, 9], ['ops a', 'synced', 50, 9], ['logs', 'expired', 100, 9], ['ops b', 'synced', 50, 9]);
  storage.usage = 700;
  assert.deepEqual([await quota.ensureRoom(100), calls], [{}, []]);
  assert.deepEqual(await quota.ensureRoom(101), { 'ops a': { records: 5, bytes: 50 } });
  storage.usage = 900;
  assert.deepEqual(Object.keys(await quota.ensureRoom(0)), ['ops a', 'ops b']);
  storage.usage = 900;
  calls.length = 0;
  assert.deepEqual(Object.keys(await quota.ensureRoom(50)), ['ops a', 'ops b', 'cache']);
  assert.deepEqual(calls, ['ops a', 'ops b', 'cache']);
  await assert.rejects(quota.ensureRoom(-1), fails('Invalid', /bytes/));
  await assert.rejects(quota.ensureRoom(1.5), fails('Invalid', /bytes/));
});

test('room: above the limit but within the quota a write may go on, and pruning in vain rests a while', async () => {
  const { quota, storage, clock, calls, freeingAll } = subject();
  freeingAll(['ops', 'synced', 50]);
  storage.usage = 950;
  assert.deepEqual(await quota.ensureRoom(100), { ops: { records: 5, bytes: 50 } });
  assert.deepEqual([await quota.ensureRoom(100), calls.length], [{}, 1]);
  await assert.rejects(quota.ensureRoom(101), StorageQuotaExceeded, 'where there is no room at all it does not rest');
  assert.equal(calls.length, 2);
  await clock.pass(60_000);
  assert.deepEqual([await quota.ensureRoom(100), calls.length], [{ ops: { records: 0 } }, 3]);
});

test('no room after pruning: StorageQuotaExceeded says what was freed, thrown and told', async () => {
  const { quota, storage, events, freeingAll } = subject({ thresholds: [] });
  freeingAll(['ops', 'synced', 20], ['cache', 'expired', 0], ['__proto__', 'expired', 30]);
  storage.usage = 990;
  const error = await quota.ensureRoom(100).catch((thrown) => thrown);
  assert.ok(error instanceof StorageQuotaExceeded && error instanceof StatikError);
  assert.deepEqual([error.name, error.code, error.usageBytes, error.quotaBytes], ['StorageQuotaExceeded', 'Quota', 940, 1000]);
  assert.deepEqual(Object.entries(error.freed), [['ops', { records: 2, bytes: 20 }], ['cache', { records: 0, bytes: 0 }], ['__proto__', { records: 3, bytes: 30 }]]);
  assert.match(error.message, /no room for 100 bytes.* 940 of 1000 .*ops 2, cache 0, __proto__ 3/);
  const { freed: { ops }, ...shape } = JSON.parse(JSON.stringify(error));
  assert.deepEqual([ops, shape], [{ records: 2, bytes: 20 }, { code: 'Quota', message: error.message, usageBytes: 940, quotaBytes: 1000 }]);
  await settled();
  assert.deepEqual(events.map(({ type }) => type), ['pruned', 'pruned', 'quotaExceeded']);
  assert.equal(events[2].error, error);
});

test('room: where the browser tells nothing, or refuses to, a write may go on', async () => {
  const silent = subject({ storage: {} });
  silent.freeingAll(['ops', 'synced', 1]);
  assert.deepEqual([await silent.quota.ensureRoom(1e12), silent.calls, silent.types()], [{}, [], []]);
  const refusing = subject({ storage: { estimate: () => Promise.reject(new TypeError('no')) } });
  assert.deepEqual([await refusing.quota.ensureRoom(1e12), refusing.types()], [{}, ['estimateFailed']]);
  const nothing = subject();
  nothing.storage.quota = 0;
  await assert.rejects(nothing.quota.ensureRoom(1), StorageQuotaExceeded);
});

test('a pruner that fails in whatever way is told, and the others run', async () => {
  const { quota, storage, clock, events, calls, freeingAll } = subject({ thresholds: [] });
  let signal;
  const bad = {
    throws: () => { throw new Error('thrown'); },
    rejects: () => Promise.reject(full()),
    lies: async () => ({ records: -1 }),
    nothing: async () => undefined,
    hangs: (given) => new Promise(() => { signal = given; }),
  };
  for (const [name, prune] of Object.entries(bad)) quota.register({ name, stage: 'synced', prune });
  freeingAll(['cache', 'expired', 300]);
  storage.usage = 1000;
  const made = quota.ensureRoom(1);
  await clock.pass(59_999);
  assert.deepEqual([calls, signal.aborted], [[], false]);
  await clock.pass(1);
  assert.deepEqual(await made, { cache: { records: 30, bytes: 300 } });
  assert.equal(signal.aborted, true);
  await settled();
  const failed = events.filter(({ type }) => type === 'prunerFailed');
  assert.deepEqual(failed.map(({ pruner, error }) => [pruner, error.code]), [
    ['throws', 'Io'], ['rejects', 'Quota'], ['lies', 'Invalid'], ['nothing', 'Io'], ['hangs', 'Timeout'],
  ]);
  assert.ok(failed.every(({ error }) => error instanceof StatikError));
  assert.equal(clock.timers.size, 0);
});

test('a pruner that has no room for deleting is run again after the others, once', async () => {
  const { quota, storage, calls, types, freeingAll } = subject({ thresholds: [] });
  const runs = { once: 0, ever: 0 };
  const prune = (name, times) => async () => {
    calls.push(name);
    if (++runs[name] <= times) throw new DOMException('full', 'QuotaExceededError');
    storage.usage -= 10;
    return { records: 1 };
  };
  quota.register({ name: 'once', stage: 'synced', prune: prune('once', 1) });
  quota.register({ name: 'ever', stage: 'synced', prune: prune('ever', Infinity) });
  freeingAll(['cache', 'expired', 10]);
  storage.usage = 1000;
  assert.deepEqual(await quota.ensureRoom(10), { cache: { records: 1, bytes: 10 }, once: { records: 1 } });
  await settled();
  assert.deepEqual([calls, types()], [['once', 'ever', 'cache', 'once', 'ever'], ['prunerFailed', 'prunerFailed', 'pruned', 'pruned', 'prunerFailed']]);
});

test('guard: a write that succeeds, or fails for something else, runs once', async () => {
  const { quota, storage, calls, freeingAll } = subject({ checkBytes: 100 });
  freeingAll(['ops', 'synced', 1]);
  storage.usage = 999;
  assert.equal(await quota.guard(async () => 7), 7);
  await assert.rejects(quota.guard(() => { throw new RangeError('mine'); }), RangeError);
  await assert.rejects(quota.guard(() => Promise.reject(undefined)), (thrown) => thrown === undefined);
  assert.deepEqual([calls, storage.estimates], [[], 0]);
  storage.usage = 0;
  await quota.guard(async () => {}, 100);
  await settled();
  assert.equal(storage.estimates, 1, 'what was written counts');
});

test('guard: a large write runs only if it fits', async () => {
  const { quota, storage, calls, freeingAll } = subject();
  freeingAll(['ops', 'synced', 10_000_000]);
  [storage.usage, storage.quota] = [12_000_000, 20_000_000];
  assert.deepEqual([await quota.guard(async () => [...calls], LARGE_BYTES - 1), await quota.guard(async () => [...calls], LARGE_BYTES)], [[], ['ops']]);
  await assert.rejects(quota.guard(() => assert.fail('it does not fit'), 19_000_000), StorageQuotaExceeded);
});

test('guard: a write that fails for the quota runs again after all pruners, whatever the estimate says', async () => {
  for (const error of [full(), new DOMException('full', 'QuotaExceededError'), { code: 'Quota', message: 'of another bundle' }]) {
    const { quota, calls, freeingAll } = subject();
    freeingAll(['cache', 'expired', 10], ['ops', 'synced', 10]);
    let runs = 0;
    const job = async () => {
      runs += 1;
      if (runs === 1) throw error;
      return [...calls];
    };
    assert.deepEqual(await quota.guard(job), ['ops', 'cache']);
    assert.equal(runs, 2);
  }
});

test('guard: a write that fails twice gives StorageQuotaExceeded, or its own other error', async () => {
  const { quota, storage, events, freeingAll } = subject({ thresholds: [] });
  freeingAll(['ops', 'synced', 10]);
  storage.usage = 500;
  const causes = [];
  const error = await quota.guard(() => Promise.reject(causes[causes.push(full()) - 1])).catch((thrown) => thrown);
  assert.ok(error instanceof StorageQuotaExceeded);
  assert.deepEqual([error.freed, error.usageBytes, causes.length], [{ ops: { records: 1, bytes: 10 } }, 490, 2]);
  assert.equal(error.cause, causes[1]);
  assert.match(error.message, /failed twice.*the disk is full/);
  await settled();
  assert.deepEqual(events.map(({ type }) => type), ['pruned', 'quotaExceeded']);
  let runs = 0;
  await assert.rejects(quota.guard(() => Promise.reject(++runs === 1 ? full() : new RangeError('mine'))), RangeError);
  runs = 0;
  const inner = () => quota.guard(() => Promise.reject((runs += 1, full())));
  await assert.rejects(quota.guard(inner), StorageQuotaExceeded);
  assert.equal(runs, 2, 'a guard within a guard is enough');
});

test('guard: many writes that fail together prune once', async () => {
  const { quota, calls, freeingAll } = subject();
  freeingAll(['ops', 'synced', 10, 9]);
  const results = await Promise.all(Array.from({ length: 100 }, (_, index) => {
    let runs = 0;
    return quota.guard(() => ++runs === 1 ? Promise.reject(full()) : Promise.resolve(index));
  }));
  assert.deepEqual([results, calls], [Array.from({ length: 100 }, (_, index) => index), ['ops']]);
});

test('one context prunes at a time; who has waited prunes only if there still is no room', async () => {
  const shared = { storage: new FakeStorage(), clock: new FakeClock() };
  const subjects = [subject(shared), subject(shared)];
  let [running, bytes] = [0, 0];
  for (const { quota, calls } of subjects) {
    const prune = async () => {
      assert.equal(++running, 1, 'nobody else prunes');
      calls.push('ops');
      await settled();
      running -= 1;
      shared.storage.usage -= bytes;
      return { records: 1 };
    };
    quota.register({ name: 'ops', stage: 'synced', prune });
  }
  /** Both want so much room at once; whether each has pruned. */
  const both = async (usage, freed, wanted) => {
    await shared.clock.pass(60_000);
    [shared.storage.usage, bytes] = [usage, freed];
    const made = await Promise.all(subjects.map(({ quota }) => quota.ensureRoom(wanted)));
    assert.deepEqual(made.map(({ ops }) => ops?.records ?? 0), subjects.map(({ calls }) => calls.splice(0).length));
    return made.map((each) => 'ops' in each);
  };
  assert.deepEqual(await both(900, 100, 101), [true, true], 'each had to');
  assert.deepEqual(await both(900, 300, 101), [true, false], 'the first made enough');
  assert.deepEqual(await both(899, 50, 101), [true, false], 'within the quota nobody waits');
  const twice = () => {
    let runs = 0;
    return () => ++runs === 1 ? Promise.reject(full()) : Promise.resolve(runs);
  };
  assert.deepEqual(await Promise.all(subjects.map(({ quota }) => quota.guard(twice()))), [2, 2]);
});

test('somebody else who prunes and does not end: waited for where there is no room, and not for ever', async () => {
  const { quota, storage, clock, calls, types, freeingAll } = subject({ thresholds: [] });
  freeingAll(['ops', 'synced', 500]);
  let end;
  void locks.request(LOCK, {}, () => new Promise((resolve) => { end = resolve; }));
  await settled();
  storage.usage = 900;
  assert.deepEqual([await quota.ensureRoom(100), calls], [{}, []], 'it fits, so nobody waits');
  const late = assert.rejects(quota.ensureRoom(101), fails('Timeout', /another tab/));
  let runs = 0;
  const guarded = quota.guard(async () => { if (++runs === 1) throw full(); return runs; });
  await clock.pass(120_000);
  await late;
  assert.deepEqual([await guarded, types()], [2, ['pruningFailed']], 'the write is tried again all the same');
  assert.deepEqual([locks.waiting(LOCK), clock.timers.size], [0, 0], 'nobody is left in the queue');
  const patient = quota.ensureRoom(101);
  await clock.pass(119_999);
  end();
  assert.deepEqual(await patient, { ops: { records: 50, bytes: 500 } });
});

test('close ends whatever waits, frees the lock and says nothing more', async () => {
  const { quota, storage, clock, events } = subject({ thresholds: [] });
  let signal;
  quota.register({ name: 'hangs', stage: 'synced', prune: (given) => new Promise(() => { signal = given; }) });
  storage.usage = 1000;
  const waiting = [
    quota.ensureRoom(1), quota.ensureRoom(2), quota.guard(() => Promise.reject(full())), quota.persist(),
  ].map((work) => assert.rejects(work, fails('Closed')));
  await settled();
  assert.equal(locks.waiting(LOCK), 2);
  quota.close();
  await Promise.all(waiting);
  await settled();
  assert.deepEqual([signal.aborted, locks.waiting(LOCK), clock.timers.size, events], [true, -1, 0, []]);
  storage.answer(true);
  await settled();
  assert.deepEqual(events, []);
  await assert.rejects(quota.ensureRoom(1), fails('Closed'));
  await assert.rejects(quota.persist(), fails('Closed'));
  await assert.rejects(quota.estimate(), fails('Closed'));
});

test('close in the moment in which the lock is granted leaves it to others', async () => {
  const { quota, storage } = subject();
  storage.usage = 900;
  const { request } = locks;
  locks.request = (...args) => {
    quota.close();
    return request.apply(locks, args);
  };
  await assert.rejects(quota.ensureRoom(0), fails('Closed'));
  await settled();
  assert.equal(locks.waiting(LOCK), -1);
});

test('without Web Locks it prunes all the same', async () => {
  delete globalThis.navigator.locks;
  const { quota, storage, freeingAll } = subject();
  freeingAll(['ops', 'synced', 200]);
  storage.usage = 950;
  assert.deepEqual(Object.keys(await quota.ensureRoom(0)), ['ops']);
});

test('pruners are registered by name, and no longer when they are taken back', async () => {
  const { quota, storage, calls } = subject();
  const pruner = freeing(storage, calls, 'ops', 'synced', 100);
  const unregister = quota.register(pruner);
  assert.throws(() => quota.register(pruner), fails('Exists', /"ops"/));
  unregister();
  quota.register(freeing(storage, calls, 'ops', 'synced', 50));
  unregister();
  storage.usage = 850;
  assert.deepEqual(await quota.ensureRoom(0), { ops: { records: 5, bytes: 50 } });
  for (const bad of [{ name: '' }, { stage: 'old' }, { prune: 1 }]) assert.throws(() => quota.register({ ...pruner, ...bad }), fails('Invalid'));
});

test('options that are none are refused, and the field is named', () => {
  const bad = { thresholds: [1.5], limitShare: 2, budgetBytes: 0, checkMs: -1, checkBytes: 0 };
  for (const [name, value] of Object.entries(bad)) assert.throws(() => new Quota({ [name]: value }), fails('Invalid', new RegExp(name)));
  assert.throws(() => new Quota({ thresholds: 0.5 }), fails('Invalid', /thresholds/));
});

test('pruners of adapters and logs ask their owners', async () => {
  const asked = [];
  const adapter = { pruneOpLog: async (upTo) => asked.push(upTo), pruneExpired: async () => 3 };
  const logs = { pruneLogs: async (retention) => (asked.push(retention), { deltas: 1, errors: 0, actions: 4 }) };
  const retention = { maxAgeMs: 5, maxCount: 6, stores: ['deltas'] };
  const pruners = [opLogPruner('a', adapter), expiredPruner('b', adapter), logPruner('c', logs, retention)];
  assert.deepEqual(await Promise.all(pruners.map(async (each) => [each.name, each.stage, await each.prune()])), [
    ['a', 'synced', { records: 1 }], ['b', 'expired', { records: 3 }], ['c', 'expired', { records: 5 }],
  ]);
  assert.deepEqual(asked, [Number.MAX_SAFE_INTEGER, retention]);
  for (const bad of [{}, { stores: ['deltas'] }, { maxAgeMs: NaN }, { maxCount: -1 }]) assert.throws(() => logPruner('c', logs, bad), fails('Invalid'));
});

test('the pruners of an adapter free what every peer has, and what has expired, and nothing else', async () => {
  const platform = { indexedDB: new IDBFactory(), IDBKeyRange };
  const nowMs = START_MS;
  const adapter = new IdbStorageAdapter({ databases: { database: (name, migrations) => openIdb(platform, name, migrations) }, now: () => nowMs });
  await adapter.initialize('kv');
  const put = (expiresMs) => ({ value: 1, hlc: stamp(0), ...(expiresMs && { expiresMs }) });
  await adapter.batchPut(new Map([['old', put(nowMs - 1)], ['new', put(nowMs + 1)], ['lasting', put()]]));
  for (const key of 'abcd') await adapter.appendOpLog({ key, opType: 'remove', hlc: stamp(0) });
  for (const [peer, id] of [['near', 4], ['far', 2]]) {
    await adapter.registerPeer(peer);
    await adapter.acknowledge(peer, id);
  }
  const { quota, storage } = subject();
  quota.register(expiredPruner('expired', adapter));
  quota.register(opLogPruner('op-log', adapter));
  storage.usage = 1000;
  assert.deepEqual(await quota.ensureRoom(0), { 'op-log': { records: 2 }, expired: { records: 1 } });
  assert.deepEqual((await adapter.getPendingOps()).map(({ id }) => id), [3, 4]);
  const keys = [];
  await adapter.iterateKeys((key) => keys.push(key));
  assert.deepEqual(keys, ['lasting', 'new']);
  await adapter.close();
});
