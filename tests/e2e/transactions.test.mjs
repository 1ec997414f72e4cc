/** Transactions: all or nothing, nested, one after another, and never left open. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

matrix('transactions', (place) => {
  test('commits what the body did, and returns what it returned', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('commit.db');
      await db.exec('CREATE TABLE t(a)');
      const returned = await db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (?)', [1]);
        const insert = await tx.prepare('INSERT INTO t VALUES (?)');
        await insert.run([2]);
        const seen = [];
        for await (const { a } of tx.iterate('SELECT a FROM t')) seen.push(a);
        return seen;
      });
      return { returned, rows: await db.all('SELECT a FROM t', [], { rows: 'array' }) };
    });
    assert.deepEqual(found, { returned: [1, 2], rows: [[1], [2]] });
  });

  test('rolls back when the body throws, with the body\'s own error', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('rollback.db');
      await db.exec('CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (0)');
      const own = new RangeError('thought better of it');
      const thrown = await db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (1)');
        throw own;
      }).catch((error) => error);
      const constraint = await failure(db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (2)');
        await tx.run('INSERT INTO t VALUES (0)');
      }));
      const at = await failure(db.transaction(() => { throw new Error('at once'); }));
      return { isSame: thrown === own, constraint, at: at.message, rows: await db.all('SELECT a FROM t', [], { rows: 'array' }) };
    });
    assert.ok(found.isSame);
    assert.equal(found.constraint.sqliteCode, 'SQLITE_CONSTRAINT_UNIQUE');
    assert.equal(found.at, 'at once');
    assert.deepEqual(found.rows, [[0]]);
  });

  test('nested transactions are savepoints', async () => {
    const rows = await place.run(async () => {
      const db = await openDatabase('nested.db');
      await db.exec('CREATE TABLE t(a)');
      await db.transaction(async (tx) => {
        await tx.run("INSERT INTO t VALUES ('outer')");
        await tx.transaction(async (inner) => {
          await inner.run("INSERT INTO t VALUES ('kept')");
          await inner.transaction(async (innermost) => {
            await innermost.run("INSERT INTO t VALUES ('dropped')");
            throw new Error('only this one');
          }).catch(() => {});
          await inner.run("INSERT INTO t VALUES ('also kept')");
        });
        await tx.transaction(async (inner) => {
          await inner.run("INSERT INTO t VALUES ('dropped too')");
          throw new Error('and this one');
        }).catch(() => {});
      });
      return (await db.all('SELECT a FROM t')).map(({ a }) => a);
    });
    assert.deepEqual(rows, ['outer', 'kept', 'also kept']);
  });

  test('calls of others wait until the transaction has ended', async () => {
    const order = await place.run(async () => {
      const db = await openDatabase('serial.db');
      await db.exec('CREATE TABLE t(a)');
      const order = [];
      const note = (what) => (result) => (order.push(what), result);
      const { promise: entered, resolve: enter } = Promise.withResolvers();
      const { promise: released, resolve: release } = Promise.withResolvers();
      const first = db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (1)');
        enter();
        await released;
        await tx.run('INSERT INTO t VALUES (2)');
      }).then(note('first'));
      await entered;
      const outside = db.get('SELECT count(*) AS count FROM t').then(({ count }) => note(`outside saw ${count}`)());
      const second = db.transaction(async (tx) => tx.run('INSERT INTO t VALUES (3)')).then(note('second'));
      release();
      await Promise.all([first, outside, second]);
      return order;
    });
    assert.deepEqual(order, ['first', 'outside saw 2', 'second']);
  });

  test('a hundred transactions at once lose nothing', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('hundred.db');
      await db.exec('CREATE TABLE counter(n); INSERT INTO counter VALUES (0)');
      await Promise.all(Array.from({ length: 100 }, () => db.transaction(async (tx) => {
        const { n } = await tx.get('SELECT n FROM counter');
        await tx.run('UPDATE counter SET n = ?', [n + 1]);
      })));
      return db.get('SELECT n FROM counter');
    });
    assert.deepEqual(found, { n: 100 });
  });

  test('the transaction is of no use once it has ended', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('ended.db');
      let kept;
      await db.transaction(async (tx) => {
        kept = tx;
      });
      return { late: await failure(kept.run('SELECT 1')), db: await db.get('SELECT 1 AS works') };
    });
    assert.equal(found.late.code, 'Closed');
    assert.deepEqual(found.db, { works: 1 });
  });

  test('calling the outside from the body at once is refused instead of waiting for ever', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('inside.db');
      return { failed: await failure(db.transaction(() => db.run('SELECT 1'))), after: await db.get('SELECT 1 AS works') };
    });
    assert.equal(found.failed.code, 'Invalid');
    assert.deepEqual(found.after, { works: 1 });
  });

  test('closing the database rolls back what is open', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('closed.db');
      await db.exec('CREATE TABLE t(a)');
      const { promise: entered, resolve: enter } = Promise.withResolvers();
      const failed = failure(db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (1)');
        enter();
        await new Promise(() => {});
      }));
      await entered;
      await db.close();
      const again = await openDatabase('closed.db');
      return { failed: await failed, rows: await again.all('SELECT * FROM t') };
    });
    assert.equal(found.failed.code, 'Closed');
    assert.deepEqual(found.rows, []);
  });

  test('modes: immediate takes the write lock at once, deferred does not', async () => {
    const found = await place.run(async () => {
      const one = await openDatabase('modes.db');
      await one.exec('CREATE TABLE t(a)');
      const two = await openDatabase('modes.db', { busyTimeoutMs: 0 });
      const during = {};
      await one.transaction(async () => {
        during.deferred = await two.run('INSERT INTO t VALUES (1)');
      }, { mode: 'deferred' });
      await one.transaction(async () => {
        during.immediate = await failure(two.run('INSERT INTO t VALUES (2)'));
        during.reading = await two.all('SELECT * FROM t');
      });
      await one.transaction(async () => {
        during.exclusive = [await failure(two.run('INSERT INTO t VALUES (2)')), await two.all('SELECT * FROM t')];
      }, { mode: 'exclusive' });
      return during;
    });
    assert.equal(found.deferred.changes, 1);
    assert.equal(found.immediate.code, 'Busy');
    assert.deepEqual(found.reading, [{ a: 1 }]);
    assert.equal(found.immediate.sqliteCode, 'SQLITE_BUSY');
    // Readers are never held up, so that exclusive is immediate.
    assert.equal(found.exclusive[0].code, 'Busy');
    assert.deepEqual(found.exclusive[1], [{ a: 1 }]);
  });

  test('what a connection left open, and more than its cache holds, is gone for the next', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('raw.db', { cacheKib: 1 });
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
      await db.exec('BEGIN; INSERT INTO t SELECT randomblob(4000) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200) SELECT i FROM n)');
      await db.close();
      const again = await openDatabase('raw.db');
      return { ...await again.get('SELECT count(*) AS count FROM t'), ...await again.get('PRAGMA integrity_check') };
    });
    assert.deepEqual(found, { count: 1, integrity_check: 'ok' });
  });
});
