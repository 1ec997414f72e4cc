/** Pools: turns in order, bounds, deadlines, death and idleness; and a database that routes its calls over two of them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { Pool, PooledDatabase, RemoteDatabase, Session, StatikError } = await load(
  "export * from './pool.js'; export * from './pooled-database.js'; export * from './database.js'; export * from './session.js'; export * from './errors.js'",
);

const OPTIONS = { min: 1, max: 2, acquireTimeoutMs: 10_000, idleMs: 10_000 };
const closed = new StatikError({ code: 'Closed', message: 'closed' });

/** Lets everything that is ready go on. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A pool of members that are numbers in objects. */
function pool(options, open = async (id) => ({ id, dead: false })) {
  const ended = [];
  let made = 0;
  const making = { open: () => open(++made), end: async ({ id }) => void ended.push(id) };
  return { pool: new Pool('a.db', making, { ...OPTIONS, ...options }), ended, made: () => made };
}

test('members are made when they are needed, and never more than max', async () => {
  const { pool: two, made } = pool();
  assert.equal(made(), 0);
  const [a, b] = [await two.acquire(), await two.acquire()];
  const third = two.acquire();
  await settled();
  assert.equal(made(), 2);
  assert.deepEqual([two.metrics.size, two.metrics.busy, two.metrics.waiting], [2, 2, 1]);
  two.release(b);
  assert.equal(await third, b);
  two.release(a);
  assert.equal(await two.acquire(), a);
  assert.equal(made(), 2);
  await two.close(closed);
});

test('who waits is served first come, first served, and a newcomer does not overtake', async () => {
  const { pool: one } = pool({ max: 1 });
  const first = await one.acquire();
  const order = [];
  const uses = ['a', 'b', 'c'].map((name) => one.use(async () => void order.push(name)));
  one.release(first);
  uses.push(one.use(async () => void order.push('d')));
  await Promise.all(uses);
  assert.deepEqual(order, ['a', 'b', 'c', 'd']);
  assert.equal(one.metrics.waited, 5);
  await one.close(closed);
});

test('a wait ends with Timeout, with its signal, or with the pool; and leaves the queue', async () => {
  const { pool: one } = pool({ max: 1, acquireTimeoutMs: 20 });
  const held = await one.acquire();
  await assert.rejects(one.acquire(), { code: 'Timeout', path: 'a.db', message: /no connection was free within 20 ms; 1 of 1/ });
  const abort = new AbortController();
  const aborted = one.acquire(abort.signal);
  abort.abort(new Error('mine'));
  await assert.rejects(aborted, { message: 'mine' });
  await assert.rejects(one.acquire(AbortSignal.abort(new Error('before'))), { message: 'before' });
  const last = one.acquire();
  assert.equal(one.metrics.waiting, 1);
  await one.close(closed);
  await assert.rejects(last, { code: 'Closed' });
  await assert.rejects(one.acquire(), { code: 'Closed' });
  assert.equal(one.metrics.timeouts, 1);
  assert.equal(one.metrics.waiting, 0);
  one.release(held);
});

test('a dead member is not handed out again, and another takes its place', async () => {
  const { pool: one, ended, made } = pool({ max: 1 });
  const first = await one.acquire();
  const waiting = one.acquire();
  first.dead = true;
  one.release(first);
  const second = await waiting;
  assert.deepEqual([second.id, made(), ended], [2, 2, [1]]);
  one.release(second);
  // This one dies while nobody uses it.
  second.dead = true;
  assert.equal((await one.acquire()).id, 3);
  assert.deepEqual([one.metrics.died, one.metrics.started, one.metrics.size], [2, 3, 1]);
  await one.close(closed);
});

test('members above min are let go when nobody used them for a while', async () => {
  const { pool: three, ended } = pool({ max: 3, idleMs: 15 });
  const members = [await three.acquire(), await three.acquire(), await three.acquire()];
  for (const member of members) three.release(member);
  while (ended.length < 2) await settled();
  assert.deepEqual([three.metrics.size, three.metrics.released, ended], [1, 2, [1, 2]]);
  assert.equal((await three.acquire()).id, 3);
  await three.close(closed);
});

test('a member that cannot be made fails who waits the longest, and the others still get theirs', async () => {
  let fail = true;
  const { pool: one } = pool({ max: 1 }, async (id) => {
    if (!fail) return { id, dead: false };
    fail = false;
    throw new StatikError({ code: 'Io', message: 'no worker' });
  });
  const [first, second] = await Promise.allSettled([one.acquire(), one.acquire()]);
  assert.equal(first.reason.message, 'no worker');
  assert.equal(second.value.id, 2);
  await one.close(closed);
});

test('one that is ready after the pool was closed is ended at once', async () => {
  let ready;
  const { pool: one, ended } = pool({}, (id) => new Promise((resolve) => { ready = () => resolve({ id, dead: false }); }));
  const waiting = one.acquire();
  const closing = one.close(closed);
  await assert.rejects(waiting, { code: 'Closed' });
  ready();
  await closing;
  assert.deepEqual(ended, [1]);
});

/** A pooled database over engines that write down what they are asked, as `w: run …` (the first) or `r1: all …`. */
function pooled(options = {}, answers = {}) {
  const log = [];
  const members = [];
  const connect = () => {
    const index = members.length;
    const name = index === 0 ? 'w' : `r${index}`;
    let lastId = 0;
    const ask = (method, [, ...args]) => {
      if (method !== 'counters') log.push(`${name}: ${[method, ...args.filter((arg) => arg !== undefined)].join(' ')}`);
      const { [method]: answer = defaults[method] } = answers;
      return Promise.resolve().then(() => answer?.(...args, index));
    };
    const remote = { send: (method, args) => ({ id: ++lastId, result: ask(method, args) }), call: (method, ...args) => ask(method, args) };
    const fuse = { token: undefined, blow() {}, dispose() {} };
    const member = new RemoteDatabase('a.db', { session: new Session(remote, fuse), db: 1, lastCursor: 0 }, async () => new ReadableStream(), () => {});
    members.push(member);
    return member;
  };
  const defaults = {
    describe: (sql) => ({ columns: [], readOnly: !/INSERT|UPDATE|DELETE/.test(sql) }),
    open: () => ({ columnNames: ['a'], values: [1], done: true }),
    first: () => ({ columnNames: ['a'], values: [1], done: true }),
    counters: () => ({ timings: { count: 1, totalMs: 2, maxMs: 2, buckets: [0, 1], cacheHits: 3, cacheMisses: 1 }, slowQueries: [] }),
  };
  let released = 0;
  const db = new PooledDatabase(connect(), async () => connect(), { ...OPTIONS, ...options }, async () => new ReadableStream(), () => { released++; });
  return { db, log, members, released: () => released };
}

test('what only reads goes to a reader, which is asked once for each text; all else to the writer', async () => {
  const { db, log } = pooled();
  await db.all('SELECT 1');
  await db.all('SELECT 1');
  await db.get('-- a comment\n /* another */ WITH x AS (SELECT 1) SELECT * FROM x');
  await db.run('INSERT INTO t VALUES (1)');
  await db.exec('SELECT 1');
  await db.all('PRAGMA cache_size=1');
  await db.all('SELECT last_insert_rowid()');
  await db.all('INSERT INTO t VALUES (1) RETURNING a');
  await db.all('WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x RETURNING a');
  const asked = log.map((line) => line.replace(/ \d+ (?=[A-Z])/, ' ').replace(/ 2147483647$/, ''));
  assert.deepEqual(asked, [
    'r1: describe SELECT 1', 'r1: open SELECT 1', 'r1: open SELECT 1',
    'r1: describe -- a comment\n /* another */ WITH x AS (SELECT 1) SELECT * FROM x',
    'r1: first -- a comment\n /* another */ WITH x AS (SELECT 1) SELECT * FROM x',
    'w: run INSERT INTO t VALUES (1)', 'w: exec SELECT 1', 'w: open PRAGMA cache_size=1', 'w: open SELECT last_insert_rowid()',
    'w: open INSERT INTO t VALUES (1) RETURNING a',
    'r1: describe WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x RETURNING a',
    'w: open WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x RETURNING a',
  ]);
  await db.close();
});

test('SQL that a reader does not understand is the writer\'s, which may have a temporary table', async () => {
  const { db, log } = pooled({}, {
    describe: (sql) => { throw new StatikError({ code: 'Invalid', message: `no such table: ${sql}` }); },
  });
  assert.deepEqual(await db.all('SELECT * FROM mine'), [{ a: 1 }]);
  assert.deepEqual(log, ['r1: describe SELECT * FROM mine', 'w: open 1 SELECT * FROM mine 2147483647']);
  await db.close();
});

test('transactions stay on one connection: immediate ones on the writer, deferred ones on a reader', async () => {
  const { db, log } = pooled();
  await db.transaction(async (tx) => { await tx.run('one'); await tx.all('SELECT 1'); });
  await db.transaction(async (tx) => { await tx.all('SELECT 2'); await tx.run('two'); }, { mode: 'deferred' });
  assert.deepEqual(log, [
    'w: begin immediate', 'w: run one', 'w: open 1 SELECT 1 2147483647', 'w: commit',
    'r1: begin deferred', 'r1: open 1 SELECT 2 2147483647', 'r1: run two', 'r1: commit',
  ]);
  await assert.rejects(db.transaction((tx) => { void tx; return db.run('outside'); }), { code: 'Invalid', message: /call tx/ });
  await db.close();
});

test('an iteration keeps its reader until the loop is left', async () => {
  const { db } = pooled({}, { open: () => ({ columnNames: ['a'], values: [1, 2], done: false }), next: () => ({ columnNames: ['a'], values: [3], done: false }) });
  for await (const row of db.iterate('SELECT a FROM t')) {
    assert.deepEqual(row, { a: 1 });
    assert.equal(db.pool.busy, 1);
    break;
  }
  assert.equal(db.pool.busy, 0);
  await db.close();
});

test('with room for one it reads with its writer', async () => {
  const { db, log, members } = pooled({ max: 1 });
  await db.all('SELECT 1');
  await db.transaction(async () => {}, { mode: 'deferred' });
  assert.deepEqual(log, ['w: open 1 SELECT 1 2147483647', 'w: begin deferred', 'w: commit']);
  assert.equal(members.length, 1);
  await db.close();
});

test('a reader that dies fails its call alone, and is replaced', async () => {
  const died = new StatikError({ code: 'Closed', message: 'the engine worker died' });
  let kill = true;
  const { db, members } = pooled({}, {
    open: (_cursor, _sql, _params, _max, index) => {
      if (!kill || index === 0) return { columnNames: ['a'], values: [1], done: true };
      kill = false;
      members[index].die(died);
      throw died;
    },
  });
  await assert.rejects(db.all('SELECT 1'), { code: 'Closed' });
  assert.deepEqual(await db.all('SELECT 1'), [{ a: 1 }]);
  assert.equal(db.pool.died, 1);
  assert.equal(members.length, 3);
  await db.close();
});

test('metrics are those of all connections, the closed ones included', async () => {
  const { db } = pooled();
  await db.all('SELECT 1');
  const { queries, cache, pool: use } = await db.metrics();
  assert.deepEqual([queries.count, queries.totalMs, queries.maxMs, cache], [2, 4, 2, { hits: 6, misses: 2, hitRate: 0.75 }]);
  assert.equal(queries.p50Ms, 2 ** 0.5 / 1000);
  assert.deepEqual({ ...use, maxWaitMs: 0 }, {
    database: 'a.db', size: 2, busy: 0, waiting: 0, waited: 1, maxWaitMs: 0, timeouts: 0, started: 2, released: 0, died: 0,
  });
  await db.close();
  const hasty = pooled({ idleMs: 1 }).db;
  await hasty.all('SELECT 1');
  while (hasty.pool.released === 0) await settled();
  assert.equal((await hasty.metrics()).queries.count, 2);
  await hasty.close();
});

test('closing closes every connection once, and then everything fails with Closed', async () => {
  const { db, log, released } = pooled();
  await db.all('SELECT 1');
  await Promise.all([db.close(), db.close()]);
  assert.deepEqual(log.filter((line) => line.includes('closeDatabase')).sort(), ['r1: closeDatabase', 'w: closeDatabase']);
  assert.equal(released(), 1);
  for (const call of [db.all('SELECT 1'), db.run('x'), db.metrics(), db.health(), db.vacuum(), db.transaction(async () => {})]) {
    await assert.rejects(call, { code: 'Closed' });
  }
});
