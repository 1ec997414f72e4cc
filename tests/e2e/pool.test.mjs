/**
 * Pools: one database, several connections in workers of their own. In direct mode a pool is one connection, and all that
 * is promised of what callers see holds there too.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS count FROM n';

matrix('pool', (place) => {
  const isBridge = place.mode === 'bridge';
  const bridgeOnly = { skip: !isBridge && 'in direct mode a pool is one connection' };

  test('readers work at the same time, each in an engine of its own, up to max', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('parallel.db', { pool: { min: 1, max: 4 } });
      await db.exec('CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) SELECT i FROM n');
      const sums = await Promise.all(Array.from({ length: 20 }, (_, index) => db.get('SELECT sum(a) + ? AS sum FROM t', [index])));
      // Some may have been started in vain, and be ready later.
      while ((await db.metrics()).pool?.size < 4) continue;
      const { pool } = await db.metrics();
      return { sums: sums.map(({ sum }) => sum), pool, engines: workers.filter(({ name }) => name.startsWith('engine')).length };
    });
    assert.deepEqual(found.sums, Array.from({ length: 20 }, (_, index) => 500_500 + index));
    if (isBridge) {
      assert.deepEqual([found.pool.size, found.pool.busy, found.pool.started, found.pool.timeouts], [4, 0, 4, 0]);
      assert.ok(found.pool.waited >= 16 && found.pool.maxWaitMs > 0, JSON.stringify(found.pool));
      assert.ok(found.engines >= 4 && found.engines <= 5, `${found.engines} engines`);
    } else {
      assert.deepEqual([found.pool, found.engines], [undefined, 1]);
    }
  });

  test('two queries really run at once: one that never ends holds up no other', bridgeOnly, async () => {
    const found = await place.run(async (endless) => {
      const db = await openDatabase('endless.db', { pool: { min: 1, max: 3 } });
      await db.exec('CREATE TABLE t(a)');
      const controller = new AbortController();
      const stopped = failure(db.all(endless, [], { signal: controller.signal }));
      await db.run('INSERT INTO t VALUES (1)');
      const rows = await db.all('SELECT a FROM t');
      controller.abort();
      return { rows, stopped: (await stopped).name };
    }, ENDLESS);
    assert.deepEqual(found.rows, [{ a: 1 }]);
    assert.match(found.stopped, /AbortError|StatikError/);
  });

  test('whoever awaited a write reads it, on whichever connection', async () => {
    const missed = await place.run(async () => {
      const db = await openDatabase('own.db', { pool: { min: 3, max: 4 }, synchronous: 'normal' });
      await db.exec('CREATE TABLE t(a)');
      const missed = [];
      for (let written = 1; written <= 200; written += 1) {
        await db.run('INSERT INTO t VALUES (?)', [written]);
        const counts = await Promise.all([0, 1, 2].map(() => db.get('SELECT count(*) AS count, max(a) AS most FROM t')));
        for (const { count, most } of counts) if (count !== written || most !== written) missed.push({ written, count, most });
      }
      return missed;
    });
    assert.deepEqual(missed, []);
  });

  test('who waits is served in turn, or fails with Timeout', bridgeOnly, async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('turns.db', { pool: { min: 2, max: 2, acquireTimeoutMs: 2000 } });
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3)');
      // An engine may take longer to start than a call waits.
      while ((await db.metrics()).pool.size < 2) continue;
      const rows = db.iterate('SELECT a FROM t', [], { batchRows: 1 });
      await rows.next();
      const late = await failure(db.get('SELECT 1'));
      const order = [];
      const calls = ['a', 'b', 'c'].map((name) => db.get('SELECT ? AS name', [name]).then((row) => order.push(row.name)));
      // Writers are not readers: they go on.
      const { changes } = await db.run('INSERT INTO t VALUES (4)');
      const { pool } = await db.metrics();
      await rows.return();
      await Promise.all(calls);
      return { late, order, changes, waiting: pool.waiting, timeouts: pool.timeouts };
    });
    assert.equal(found.late.code, 'Timeout');
    assert.match(found.late.message, /turns\.db.*2000 ms/);
    assert.deepEqual([found.order, found.changes, found.waiting, found.timeouts], [['a', 'b', 'c'], 1, 3, 1]);
  });

  test('engines above min are let go when they are idle, and come again when they are needed', bridgeOnly, async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('idle.db', { pool: { min: 1, max: 4, idleMs: 200 } });
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3)');
      const all = async () => {
        const iterations = [0, 1, 2].map(() => db.iterate('SELECT a FROM t', [], { batchRows: 1 }));
        await Promise.all(iterations.map((each) => each.next()));
        const { pool } = await db.metrics();
        await Promise.all(iterations.map((each) => each.return()));
        return pool.size;
      };
      const most = await all();
      while ((await db.metrics()).pool.size > 1) await new Promise((resolve) => setTimeout(resolve, 20));
      const { pool, queries } = await db.metrics();
      // One engine may be kept warm for the next user.
      const isFew = async () => (await navigator.locks.query()).held.filter(({ name }) => name.includes(':engine:')).length <= 2;
      while (!await isFew()) await new Promise((resolve) => setTimeout(resolve, 20));
      return { most, released: pool.released, size: pool.size, count: queries.count, again: await all() };
    });
    assert.deepEqual([found.most, found.released, found.size, found.again], [4, 3, 1, 4]);
    assert.ok(found.count >= 4, 'what the engines that are gone have counted is not forgotten');
  });

  test('an engine that dies fails its call alone, and is replaced: reader or writer', bridgeOnly, async () => {
    const found = await place.run(async (endless) => {
      const died = [];
      const store = await openStore({ onEvent: ({ type }) => died.push(type) });
      const db = await store.sqlite.open('dies.db', { pool: { min: 1, max: 2 } });
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
      const engines = () => workers.filter(({ name }) => name.startsWith('engine'));
      const [writer] = engines();
      await db.all('SELECT a FROM t');
      const reader = engines().at(-1);
      const reading = failure(db.all(endless));
      const queued = db.all('SELECT a FROM t');
      reader.worker.terminate();
      const { code } = await reading;
      const afterReader = await queued;
      const writing = failure(db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (2)');
        writer.worker.terminate();
        await tx.run('INSERT INTO t VALUES (3)');
      }));
      const codes = [code, (await writing).code];
      await db.run('INSERT INTO t VALUES (4)');
      return { codes, afterReader, rows: await db.all('SELECT a FROM t'), died, pool: (await db.metrics()).pool };
    }, ENDLESS);
    assert.deepEqual(found.codes, ['Closed', 'Closed']);
    assert.deepEqual(found.afterReader, [{ a: 1 }]);
    assert.deepEqual(found.rows, [{ a: 1 }, { a: 4 }]);
    assert.deepEqual(found.died, ['died', 'died']);
    assert.deepEqual([found.pool.died, found.pool.size, found.pool.started], [2, 2, 4]);
  });

  test('a transaction stays on one connection; what it has not committed nobody else sees', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('stays.db', { pool: { min: 2, max: 3 } });
      const isPooled = store.mode === 'bridge';
      await db.exec('CREATE TABLE t(a)');
      const seen = await db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (1)');
        const inside = await tx.get('SELECT count(*) AS count FROM t');
        // On one connection the outside waits for the transaction, which must not wait for it.
        const outside = isPooled ? await db.get('SELECT count(*) AS count FROM t') : { count: 0 };
        return [inside.count, outside.count];
      });
      await db.transaction(async (tx) => {
        seen.push((await tx.get('SELECT count(*) AS count FROM t')).count);
        await tx.run('INSERT INTO t VALUES (2)');
        seen.push((await tx.get('SELECT count(*) AS count FROM t')).count);
      }, { mode: 'deferred' });
      seen.push((await db.get('SELECT count(*) AS count FROM t')).count);
      return seen;
    });
    assert.deepEqual(found, [1, 0, 1, 2, 2]);
  });

  test('what is a connection\'s own works: temporary tables, last_insert_rowid, RETURNING, prepared statements', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('own.db', { pool: { min: 2, max: 3 } });
      await db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TEMP TABLE mine(a); INSERT INTO mine VALUES (7)');
      await db.run("INSERT INTO t VALUES (41, 'x')");
      const select = await db.prepare('SELECT a FROM t WHERE id = ?');
      const insert = await db.prepare('INSERT INTO t(a) VALUES (?) RETURNING id');
      return {
        temporary: await db.all('SELECT * FROM mine'),
        last: await db.get('SELECT last_insert_rowid() AS id'),
        returned: await insert.all(['y']),
        selected: await select.get([42]),
        kinds: [select.readOnly, insert.readOnly, select.columns.map(({ name }) => name)],
        wrong: await failure(db.all('SELECT missing FROM t')),
        plan: (await db.explain('SELECT * FROM t WHERE id = 1')).map(({ detail }) => detail),
      };
    });
    assert.deepEqual([found.temporary, found.last, found.returned, found.selected], [[{ a: 7 }], { id: 41 }, [{ id: 42 }], { a: 'y' }]);
    assert.deepEqual(found.kinds, [true, false, ['a']]);
    assert.equal(found.wrong.code, 'Invalid');
    assert.match(found.wrong.message, /no such column/);
    assert.match(found.plan[0], /SEARCH t/);
  });

  test('closing ends what runs, and everything after fails with Closed', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('closed.db', { pool: true });
      await db.exec('CREATE TABLE t(a)');
      await db.all('SELECT 1');
      await db.close();
      const { code } = await failure(db.all('SELECT 1'));
      await store.sqlite.delete('closed.db');
      return { code, list: await store.sqlite.list(), pools: (await store.metrics()).pools };
    });
    assert.deepEqual(found, { code: 'Closed', list: [], pools: [] });
  });
});
