/** `statik-storage/sync` in a dedicated worker of the app's own: alone, and sharing its page's store by a port. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

/** Every verb, each a plain call. Runs in the worker. */
async function everyVerb() {
  const store = await openStore({ databases: ['sync.db'] });
  const db = store.sqlite.open('sync.db');
  db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE); CREATE TABLE big(n)');
  const inserted = db.run('INSERT INTO t(a) VALUES (?), (?)', ['one', 'two']);
  const insert = db.prepare('INSERT INTO t(a) VALUES (:a)');
  const third = insert.run({ a: 'three' });
  insert.finalize();
  const iterated = [];
  for (const { a } of db.iterate('SELECT a FROM t ORDER BY id')) {
    iterated.push(a);
    if (a === 'two') break;
  }
  const transacted = db.transaction((tx) => {
    tx.run("INSERT INTO t(a) VALUES ('four')");
    try {
      tx.transaction((inner) => {
        inner.run("INSERT INTO t(a) VALUES ('dropped')");
        throw new Error('inner');
      });
    } catch (error) {
      return error.message;
    }
  });
  const rolledBack = failure(() => db.transaction((tx) => tx.run("INSERT INTO t(a) VALUES ('gone'), ('one')")));
  db.run('INSERT INTO big VALUES (?)', [2n ** 62n]);
  const result = {
    mode: store.mode, storage: store.storage, inserted, third, iterated, transacted, rolledBack,
    all: db.all('SELECT a FROM t ORDER BY id', [], { rows: 'array' }).flat(),
    first: db.get('SELECT * FROM t WHERE id = :id', { id: 2 }),
    missing: db.get('SELECT 1 WHERE 0') === undefined,
    big: String(db.get('SELECT n FROM big').n),
    plan: db.explain('SELECT * FROM t WHERE id = 1')[0].detail,
    syntax: failure(() => db.all('SELEC 1')),
    finalized: failure(() => insert.run({ a: 'x' })),
    writes: store.metrics().log.commits > 0,
  };
  db.close();
  db.close();
  result.closed = failure(() => db.all('SELECT 1'));
  await store.close();
  result.storeClosed = failure(() => store.sqlite.open('sync.db'));
  return result;
}

matrix('sync', (place) => {
  test('alone in a worker: every verb returns its value', async () => {
    const found = await place.run(async (source) => inWorker(source), everyVerb.toString());
    assert.equal(found.mode, place.mode);
    assert.equal(found.storage, 'opfs');
    assert.deepEqual(found.inserted, { changes: 2, lastInsertRowid: 2 });
    assert.deepEqual(found.third, { changes: 1, lastInsertRowid: 3 });
    assert.deepEqual(found.iterated, ['one', 'two']);
    assert.equal(found.transacted, 'inner');
    assert.equal(found.rolledBack.sqliteCode, 'SQLITE_CONSTRAINT_UNIQUE');
    assert.deepEqual(found.all, ['one', 'two', 'three', 'four']);
    assert.deepEqual(found.first, { id: 2, a: 'two' });
    assert.ok(found.missing && found.writes);
    assert.equal(found.big, String(2n ** 62n));
    assert.match(found.plan, /SEARCH t USING INTEGER PRIMARY KEY/);
    assert.equal(found.syntax.code, 'Invalid');
    assert.equal(found.syntax.offset, 0);
    assert.ok(found.syntax.isStatikError);
    assert.deepEqual([found.finalized.code, found.closed.code, found.storeClosed.code], ['Closed', 'Closed', 'Closed']);
  });

  test('alone in a worker: databases are listed; renamed and deleted in bridge mode alone', async () => {
    const found = await place.run(async () => inWorker(async () => {
      const store = await openStore({ databases: ['one.db'] });
      const { sqlite } = store;
      sqlite.open('one.db').close();
      const work = {
        list: () => sqlite.list().map(({ name }) => name), exists: () => sqlite.exists('one.db'),
        rename: () => sqlite.rename('one.db', 'two.db'), delete: () => sqlite.delete('two.db'), after: () => sqlite.list().map(({ name }) => name),
      };
      return Object.fromEntries(Object.entries(work).map(([name, each]) => {
        try {
          return [name, each()];
        } catch ({ code }) {
          return [name, code];
        }
      }));
    }));
    const changed = place.mode === 'direct' ? { rename: 'Unsupported', delete: 'Unsupported', after: ['one.db'] } : { rename: undefined, delete: undefined, after: [] };
    assert.deepEqual(found, { list: ['one.db'], exists: true, ...changed });
  });

  test('alone in a worker: a page finds what it wrote, once it has closed', async () => {
    const found = await place.run(async () => {
      const worker = startWorker();
      await worker.call(async () => {
        const store = kept.store = await openStore({ databases: ['shared.db'] });
        const db = store.sqlite.open('shared.db');
        db.exec("CREATE TABLE t(a); INSERT INTO t VALUES ('from the worker')");
      });
      const busy = await failure(openStore({ waitMs: 100 }));
      await worker.call(() => kept.store.close());
      const store = await openStore();
      const db = await store.sqlite.open('shared.db', { mustExist: true });
      return { busy, rows: await db.all('SELECT a FROM t') };
    });
    assert.equal(found.busy.code, 'Busy');
    assert.deepEqual(found.rows, [{ a: 'from the worker' }]);
  });

  test('alone in a worker that is terminated: the store is free, its commits are there', async () => {
    const found = await place.run(async () => {
      const worker = startWorker();
      await worker.call(async () => {
        const store = await openStore({ databases: ['terminated.db'] });
        const db = store.sqlite.open('terminated.db', { cacheKib: 1 });
        db.exec("CREATE TABLE t(a); INSERT INTO t VALUES ('committed')");
        db.exec('BEGIN; INSERT INTO t SELECT randomblob(4000) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200) SELECT i FROM n)');
      });
      worker.worker.terminate();
      const db = await openDatabase('terminated.db');
      return { rows: await db.all('SELECT a FROM t'), ...await db.get('PRAGMA integrity_check') };
    });
    assert.deepEqual(found, { rows: [{ a: 'committed' }], integrity_check: 'ok' });
  });

  test('direct mode opens what it was told of, and says so of the rest', { skip: place.mode === 'bridge' && 'bridge mode opens any' }, async () => {
    const found = await place.run(async () => inWorker(async () => {
      const store = await openStore({ databases: ['told.db'] });
      store.sqlite.open('told.db').exec('CREATE TABLE t(a)');
      return { untold: failure(() => store.sqlite.open('untold.db')) };
    }));
    assert.equal(found.untold.code, 'Unsupported');
    assert.match(found.untold.message, /untold\.db/);
  });

  test('by port: page and workers share one store, and lose nothing', { skip: place.mode === 'direct' && 'a port needs SharedArrayBuffer' }, async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('port.db', { busyTimeoutMs: 60_000 });
      await db.exec('CREATE TABLE counter(n); INSERT INTO counter VALUES (0)');
      const increment = async () => {
        for (let index = 0; index < 40; index += 1) await db.transaction(async (tx) => tx.run('UPDATE counter SET n = n + 1'));
      };
      const inPort = async () => {
        const port = await store.port();
        return inWorker(async (port) => {
          const store = await statik.open({ port });
          const db = store.sqlite.open('port.db', { busyTimeoutMs: 60_000 });
          for (let index = 0; index < 40; index += 1) {
            db.transaction((tx) => {
              const { n } = tx.get('SELECT n FROM counter');
              tx.run('UPDATE counter SET n = ?', [n + 1]);
            });
          }
          const other = store.sqlite.open('made/by/worker.db');
          other.exec('CREATE TABLE IF NOT EXISTS t(a)');
          other.close();
          db.close();
          const { mode, name } = store;
          await store.close();
          return { mode, name };
        }, [port], [port]);
      };
      const joined = await Promise.all([inPort(), inPort(), increment()]);
      return { store: store.name, joined: joined.slice(0, 2), ...await db.get('SELECT n FROM counter'), list: (await store.sqlite.list()).map(({ name }) => name).sort() };
    });
    assert.equal(found.n, 120);
    assert.deepEqual(found.joined, [{ mode: 'bridge', name: found.store }, { mode: 'bridge', name: found.store }]);
    assert.deepEqual(found.list, ['made/by/worker.db', 'port.db']);
  });

  test('by port: a worker terminated in its transaction holds nobody up', { skip: place.mode === 'direct' && 'a port needs SharedArrayBuffer' }, async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('port.db', { busyTimeoutMs: 20_000 });
      await db.exec('CREATE TABLE t(a)');
      const port = await store.port();
      const worker = startWorker();
      await worker.call(async (port) => {
        const store = await statik.open({ port });
        store.sqlite.open('port.db').exec("BEGIN IMMEDIATE; INSERT INTO t VALUES ('lost')");
      }, [port], [port]);
      worker.worker.terminate();
      await db.run("INSERT INTO t VALUES ('page')");
      return db.all('SELECT a FROM t');
    });
    assert.deepEqual(found, [{ a: 'page' }]);
  });

  test('by port: when the page closes the store, the worker\'s calls fail', { skip: place.mode === 'direct' && 'a port needs SharedArrayBuffer' }, async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const port = await store.port();
      const worker = startWorker();
      await worker.call(async (port) => {
        kept.db = (await statik.open({ port })).sqlite.open('port.db');
        kept.db.exec('CREATE TABLE t(a)');
      }, [port], [port]);
      await store.close();
      return worker.call(() => failure(() => kept.db.run('INSERT INTO t VALUES (1)')));
    });
    assert.equal(found.code, 'Closed', JSON.stringify(found));
  });

  test('a port is refused in direct mode, and names and ports exclude each other', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      return {
        port: store.mode === 'direct' ? await failure(store.port()) : undefined,
        neither: await inWorker(() => statik.open({}).then(() => 'opened', ({ code }) => code)),
      };
    });
    if (place.mode === 'direct') assert.equal(found.port.code, 'Unsupported');
    assert.equal(found.neither, 'Invalid');
  });
});
