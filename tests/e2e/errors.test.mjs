/** How things fail: with a code, SQLite's own and the place in the SQL, at once, and never by hanging. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS count FROM n';

matrix('errors', (place) => {
  test('errors keep their class, code, SQLite\'s code and the offset across threads', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('errors.db');
      await db.exec("CREATE TABLE t(a UNIQUE NOT NULL, b CHECK (b > 0)); INSERT INTO t VALUES (1, 1)");
      return {
        syntax: await failure(db.all('SELECT * FORM t')),
        column: await failure(db.all("SELECT 'ü👍', missing FROM t")),
        unique: await failure(db.run('INSERT INTO t VALUES (1, 1)')),
        notNull: await failure(db.run('INSERT INTO t VALUES (NULL, 1)')),
        check: await failure(db.run('INSERT INTO t VALUES (2, -1)')),
        inExec: await failure(db.exec("SELECT 'é'; SELECT missing")),
        overflow: await failure(db.all('SELECT abs(-9223372036854775807 - 1)')),
        after: await db.get('SELECT count(*) AS count FROM t'),
      };
    });
    for (const failure of Object.values(found).slice(0, -1)) {
      assert.ok(failure.isStatikError && failure.isError, JSON.stringify(failure));
      assert.equal(failure.name, 'StatikError');
      assert.ok(failure.message.length > 10);
    }
    assert.equal(found.syntax.code, 'Invalid');
    assert.equal(found.syntax.sqliteCode, 'SQLITE_ERROR');
    assert.equal(found.syntax.offset, 'SELECT * FORM t'.indexOf('FORM'), found.syntax.message);
    assert.match(found.syntax.message, /syntax error/);
    assert.equal(found.column.offset, "SELECT 'ü👍', missing FROM t".indexOf('missing'), 'the offset counts UTF-16 units');
    assert.equal(found.unique.code, 'Conflict');
    assert.equal(found.unique.sqliteCode, 'SQLITE_CONSTRAINT_UNIQUE');
    assert.match(found.unique.message, /t\.a/);
    assert.equal(found.notNull.sqliteCode, 'SQLITE_CONSTRAINT_NOTNULL');
    assert.equal(found.check.sqliteCode, 'SQLITE_CONSTRAINT_CHECK');
    assert.equal(found.inExec.offset, "SELECT 'é'; SELECT missing".indexOf('missing'), 'the offset is in the whole text');
    assert.match(found.overflow.message, /overflow/);
    assert.deepEqual(found.after, { count: 1 });
  });

  test('calls after close fail with Closed', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('closed.db');
      const statement = await db.prepare('SELECT 1');
      await db.close();
      await db.close();
      const ofDatabase = [
        await failure(db.exec('SELECT 1')), await failure(db.run('SELECT 1')), await failure(db.all('SELECT 1')), await failure(db.get('SELECT 1')),
        await failure(db.iterate('SELECT 1').next()), await failure(db.prepare('SELECT 1')), await failure(db.explain('SELECT 1')),
        await failure(db.transaction(async () => {})), await failure(db.export()), await failure(statement.all()),
      ];
      const other = await store.sqlite.open('other.db');
      const pending = other.get('SELECT 1 AS one');
      await store.close();
      await store.close();
      const ofStore = [
        await failure(store.sqlite.open('x.db')), await failure(store.sqlite.list()), await failure(store.sqlite.exists('x.db')),
        await failure(store.sqlite.delete('x.db')), await failure(store.sqlite.rename('x.db', 'y.db')), await failure(store.sqlite.export('other.db')),
        await failure(store.sqlite.import('x.db', new Uint8Array(4096))), await failure(store.status()), await failure(store.metrics()),
        await failure(store.persist()), await failure(store.port()), await failure(other.get('SELECT 1')),
      ];
      return { ofDatabase, ofStore, pending: await pending };
    });
    for (const [index, failure] of [...found.ofDatabase, ...found.ofStore].entries()) {
      assert.equal(failure.code, 'Closed', `call ${index}: ${JSON.stringify(failure)}`);
      assert.ok(failure.isStatikError);
    }
    assert.deepEqual(found.pending, { one: 1 }, 'what was called before close is answered');
  });

  test('await using closes', async () => {
    const found = await place.run(async () => {
      // Firefox has the symbol from 141 on; compilers that translate the syntax look for the other one before.
      const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');
      const store = await openStore();
      const db = await store.sqlite.open('using.db');
      await db[asyncDispose]();
      const closed = await failure(db.get('SELECT 1'));
      await store[asyncDispose]();
      return [closed.code, (await failure(store.metrics())).code];
    });
    assert.deepEqual(found, ['Closed', 'Closed']);
  });

  test('interrupt stops an endless query', async () => {
    const found = await place.run(async (endless) => {
      const db = await openDatabase('interrupt.db');
      await db.exec('CREATE TABLE t(a)');
      const idle = db.interrupt();
      const before = await db.get('SELECT 1 AS works');
      const running = failure(db.all(endless));
      const { promise: ticked, resolve } = Promise.withResolvers();
      setTimeout(resolve, 200);
      await ticked;
      const begin = performance.now();
      db.interrupt();
      const stopped = await running;
      return { idle, before, stopped, tookMs: performance.now() - begin, after: await db.get('SELECT 1 AS works') };
    }, ENDLESS);
    assert.deepEqual(found.before, { works: 1 });
    assert.equal(found.stopped.code, 'Aborted');
    assert.ok(found.tookMs < 5000, `${found.tookMs} ms`);
    assert.deepEqual(found.after, { works: 1 });
  });

  for (const verb of ['all', 'get', 'run', 'exec', 'iterate']) {
    test(`an AbortSignal stops an endless ${verb}, and what it wrote is undone`, async () => {
      const found = await place.run(async (verb, endless) => {
        const db = await openDatabase('abort.db');
        await db.exec('CREATE TABLE t(a)');
        const writing = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT i % 10 FROM n';
        const signal = AbortSignal.timeout(250);
        const failed = await failure(async () => {
          if (verb === 'exec') await db.exec(writing, { signal });
          else if (verb === 'run') await db.run(writing, [], { signal });
          else if (verb === 'iterate') await db.iterate(endless, [], { signal }).next();
          else await db[verb](endless, [], { signal });
        });
        return { failed, reason: signal.reason?.name, after: await db.get('SELECT count(*) AS count FROM t') };
      }, verb, ENDLESS);
      assert.ok(found.failed.code === 'Aborted' || found.failed.name === found.reason, JSON.stringify(found));
      assert.deepEqual(found.after, { count: 0 });
    });
  }

  test('a signal that is aborted already stops the call before it begins', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('aborted.db');
      await db.exec('CREATE TABLE t(a)');
      const reason = new Error('my own reason');
      const error = await db.run('INSERT INTO t VALUES (1)', [], { signal: AbortSignal.abort(reason) }).catch((error) => error);
      return { isReason: error === reason, code: error.code, rows: await db.all('SELECT * FROM t') };
    });
    assert.ok(found.isReason || found.code === 'Aborted', JSON.stringify(found));
    assert.deepEqual(found.rows, []);
  });

  test('an aborted call that still waits does not run, and does not disturb the one that does', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('queued.db');
      await db.exec('CREATE TABLE t(a)');
      const controller = new AbortController();
      const first = db.get('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT count(*) AS count FROM n');
      const second = failure(db.run('INSERT INTO t VALUES (1)', [], { signal: controller.signal }));
      const third = db.run('INSERT INTO t VALUES (2)');
      controller.abort();
      await Promise.all([second, third]);
      return { first: await first, rows: await db.all('SELECT a FROM t') };
    });
    assert.deepEqual(found, { first: { count: 3_000_000 }, rows: [{ a: 2 }] });
  });

  test('a signal that aborts late does nothing to later calls', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('late.db');
      const controller = new AbortController();
      await db.get('SELECT 1', [], { signal: controller.signal });
      const later = db.get('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000) SELECT count(*) AS count FROM n');
      controller.abort();
      return later;
    });
    assert.deepEqual(found, { count: 2_000_000 });
  });

  test('a transaction goes on after one of its queries was aborted', async () => {
    const rows = await place.run(async (endless) => {
      const db = await openDatabase('abort-inside.db');
      await db.exec('CREATE TABLE t(a)');
      await db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (1)');
        await failure(tx.all(endless, [], { signal: AbortSignal.timeout(100) }));
        await tx.run('INSERT INTO t VALUES (2)');
      });
      return db.all('SELECT a FROM t', [], { rows: 'array' });
    }, ENDLESS);
    assert.deepEqual(rows, [[1], [2]]);
  });
});
