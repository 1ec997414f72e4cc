/** Health, backups, VACUUM, metrics, slow queries, and what `synchronous` promises while the browser lives. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';
import { saveDatabase, sqlite3 } from './sqlite3.mjs';

matrix('maintenance', (place) => {
  test('health: quick and full, of a sound database and of one with violated foreign keys', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('health.db', { foreignKeys: false });
      await db.exec('CREATE TABLE parent(id INTEGER PRIMARY KEY); CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (5, 1)');
      const sound = { quick: await db.health(), full: await db.health({ full: true }) };
      await db.exec('INSERT INTO child VALUES (6, 2); CREATE TABLE big AS SELECT randomblob(400000) AS a; DROP TABLE big');
      return { sound, quick: await db.health(), full: await db.health({ full: true }) };
    });
    for (const health of Object.values(found.sound)) {
      assert.deepEqual([health.ok, health.integrity, health.foreignKeys, health.freeBytes], [true, [], [], 0]);
      assert.ok(health.sizeBytes >= 8192 && health.log.newest > 0, JSON.stringify(health));
    }
    assert.deepEqual([found.sound.quick.full, found.sound.full.full], [false, true]);
    assert.ok(found.sound.full.fragmentation >= 0 && found.sound.full.fragmentation <= 1);
    assert.deepEqual([found.quick.ok, found.quick.foreignKeys], [true, []]);
    assert.deepEqual([found.full.ok, found.full.foreignKeys], [false, [{ table: 'child', rowid: 6, parent: 'parent' }]]);
    assert.ok(found.full.freeBytes >= 400_000 && found.full.freeBytes < found.full.sizeBytes, JSON.stringify(found.full));
  });

  test('health tells what is damaged', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('damaged.db');
      await db.exec("CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES ('a text like no other'), ('two')");
      await store.close();
      const root = await navigator.storage.getDirectory();
      const folder = await (await root.getDirectoryHandle('statik')).getDirectoryHandle(store.name);
      const handle = await folder.getFileHandle('damaged.db');
      const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
      // The row says something else than its index.
      bytes[new TextDecoder('latin1').decode(bytes).indexOf('a text like no other')] = 0x62;
      const writable = await handle.createWritable();
      await writable.write(bytes);
      await writable.close();
      const again = await (await openStore()).sqlite.open('damaged.db');
      return again.health({ full: true });
    });
    assert.equal(found.ok, false);
    assert.ok(found.integrity.length > 0 && found.integrity.every((line) => line.length > 5), JSON.stringify(found.integrity));
  });

  test('a backup is of one moment, while others write; and replaces what was there', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('source.db');
      const writer = await store.sqlite.open('source.db', { synchronous: 'normal', busyTimeoutMs: 20_000 });
      await db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000) SELECT i, randomblob(1000) FROM n');
      const old = await store.sqlite.open('backups/copy.db');
      await old.exec("CREATE TABLE old(a); INSERT INTO old VALUES ('before')");
      await old.close();
      const progress = [];
      let written = 0;
      const copying = db.backup('backups/copy.db', { onProgress: (each) => progress.push(each) });
      let isDone = false;
      const writing = (async () => {
        while (!isDone) {
          await writer.transaction(async (tx) => {
            await tx.run('UPDATE t SET a = zeroblob(10) WHERE id = 1');
            await tx.run('INSERT INTO t VALUES (NULL, 1)');
          });
          written += 1;
        }
      })();
      const info = await copying;
      isDone = true;
      await writing;
      const copy = await store.sqlite.open('backups/copy.db', { mustExist: true });
      const bytes = await bytesOf(await copy.export());
      await fetch('/files/copy', { method: 'PUT', body: bytes });
      return {
        info, size: bytes.length, written, steps: progress.length, last: progress.at(-1),
        tables: await copy.all('SELECT name FROM sqlite_schema', [], { rows: 'array' }),
        ...await copy.get('SELECT count(*) AS count, (SELECT length(a) FROM t WHERE id = 1) AS first FROM t'),
        ...await copy.get('PRAGMA integrity_check'),
      };
    });
    assert.deepEqual(found.info, { name: 'backups/copy.db', sizeBytes: found.size });
    assert.ok(found.written > 0 && found.steps >= 2, JSON.stringify(found));
    assert.deepEqual(found.last, { doneBytes: found.size, totalBytes: found.size });
    assert.deepEqual([found.tables, found.integrity_check], [[['t']], 'ok']);
    assert.equal(found.first === 1000 ? 3000 : found.count, found.count, 'the change and the row of a transaction are both there or both not');
    assert.deepEqual(sqlite3(saveDatabase(place.server.files.get('copy')), 'PRAGMA integrity_check; SELECT count(*) FROM t;'), ['ok', String(found.count)]);
  });

  test('a backup that is stopped leaves no trace; :memory: can be saved', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('source.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000) SELECT randomblob(1000) FROM n');
      const controller = new AbortController();
      const stopped = await failure(db.backup('stopped.db', { signal: controller.signal, onProgress: () => controller.abort() }));
      const invalid = await failure(db.backup('../out.db'));
      const memory = await store.sqlite.open(':memory:');
      await memory.exec("CREATE TABLE m(a); INSERT INTO m VALUES ('kept')");
      const info = await memory.backup('saved.db');
      const saved = await store.sqlite.open('saved.db', { mustExist: true });
      return { stopped, invalid: invalid.code, info, rows: await saved.all('SELECT a FROM m'), list: (await store.sqlite.list()).map(({ name }) => name) };
    });
    assert.ok(found.stopped.name === 'AbortError' || found.stopped.code === 'Aborted', JSON.stringify(found.stopped));
    assert.equal(found.invalid, 'Invalid');
    assert.equal(found.info.name, 'saved.db');
    assert.deepEqual(found.rows, [{ a: 'kept' }]);
    assert.deepEqual(found.list, ['saved.db', 'source.db']);
  });

  test('vacuum gives space back', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('vacuum.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) SELECT randomblob(1000) FROM n; DELETE FROM t WHERE rowid > 10');
      const result = await db.vacuum();
      await db.checkpoint();
      const [{ sizeBytes }] = await store.sqlite.list();
      return { result, sizeBytes, ...await db.get('SELECT count(*) AS count FROM t'), ...await db.get('PRAGMA integrity_check') };
    });
    assert.ok(found.result.beforeBytes > 2_000_000 && found.result.afterBytes < 100_000, JSON.stringify(found.result));
    assert.equal(found.sizeBytes, found.result.afterBytes);
    assert.deepEqual([found.count, found.integrity_check], [10, 'ok']);
  });

  test('metrics: queries with percentiles, caches, the log; told in intervals too', async () => {
    const found = await place.run(async () => {
      const { promise: told, resolve } = Promise.withResolvers();
      const store = await openStore({ onMetrics: resolve, metricsIntervalMs: 50 });
      const db = await store.sqlite.open('metrics.db');
      await db.exec('CREATE TABLE t(a)');
      for (let index = 0; index < 50; index += 1) await db.run('INSERT INTO t VALUES (?)', [index]);
      for (let index = 0; index < 50; index += 1) await db.get('SELECT a FROM t WHERE a = ?', [index]);
      const database = await db.metrics();
      const another = await store.sqlite.open('metrics.db');
      await another.all('SELECT * FROM t');
      const shared = [(await store.metrics()).cache];
      // What an engine has counted stays when it is let go.
      await another.close();
      await (await store.sqlite.open('third.db')).close();
      shared.push((await store.metrics()).cache);
      return { told: await told, database, store: await store.metrics(), shared };
    });
    const { queries, cache, slowQueries } = found.database;
    assert.ok(queries.count >= 101 && queries.totalMs > 0, JSON.stringify(queries));
    assert.ok(queries.p50Ms <= queries.p95Ms && queries.p95Ms <= queries.p99Ms && queries.p99Ms <= queries.maxMs, JSON.stringify(queries));
    assert.ok(cache.hits > 0 && cache.hitRate > 0 && cache.hitRate <= 1, JSON.stringify(cache));
    assert.deepEqual(slowQueries, []);
    const { log, operations, pools } = found.store;
    assert.ok(log.commits >= 51 && log.flushes >= 51 && log.commitsPerFlush > 0, JSON.stringify(log));
    assert.equal(log.durable, log.newest, 'every commit was awaited with synchronous = full');
    assert.ok(Object.values(operations).some(({ count }) => count > 0), JSON.stringify(operations));
    assert.deepEqual(pools, []);
    const [first, last] = found.shared;
    assert.equal(first.hits + first.misses > 0, place.mode === 'bridge', JSON.stringify(first));
    assert.ok(last.hits >= first.hits && last.misses >= first.misses, JSON.stringify(last));
    assert.ok(found.told.log.newest <= log.newest);
  });

  test('slow queries are events, with their plan; quick ones are not', async () => {
    const found = await place.run(async () => {
      const events = [];
      const store = await openStore({ slowQueryMs: 50, onEvent: (event) => event.type === 'slowQuery' && events.push(event) });
      const db = await store.sqlite.open('slow.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
      await db.all('SELECT a FROM t');
      const slow = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT count(*) AS count FROM n, t';
      await db.all(slow);
      const { slowQueries } = await db.metrics();
      return { events: events.filter(({ sql }) => sql === slow), slowQueries: slowQueries.filter(({ sql }) => sql === slow) };
    });
    assert.equal(found.events.length, 1);
    const [{ type, database, ...slow }] = found.events;
    assert.deepEqual([type, database, slow.rows], ['slowQuery', 'slow.db', 1]);
    assert.ok(slow.ms >= 50 && slow.plan.some(({ detail }) => /SCAN t/.test(detail)), JSON.stringify(slow));
    assert.deepEqual(found.slowQueries, [slow]);
  });

  test('synchronous: full is flushed when it returns, normal soon after, off when somebody asks', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const log = async () => (await store.metrics()).log;
      const insert = async (synchronous) => {
        const db = await store.sqlite.open('sync.db', { synchronous });
        await db.exec('CREATE TABLE IF NOT EXISTS t(a)');
        await store.durable();
        const before = await log();
        for (let index = 0; index < 5; index += 1) await db.run('INSERT INTO t VALUES (1)');
        return { db, before, after: await log(), pragma: Object.values(await db.get('PRAGMA synchronous'))[0] };
      };
      const full = await insert('full');
      const off = await insert('off');
      await store.durable();
      off.durable = await log();
      const normal = await insert('normal');
      const due = performance.now() + 5000;
      let later;
      do later = await log(); while (later.durable < normal.after.newest && performance.now() < due);
      await normal.db.exec('PRAGMA synchronous = OFF');
      normal.changed = Object.values(await normal.db.get('PRAGMA synchronous'))[0];
      for (const each of [full, off, normal]) delete each.db;
      return { full, off, normal, later };
    });
    const { full, off, normal, later } = found;
    assert.equal(full.after.durable, full.after.newest);
    assert.ok(full.after.flushes >= full.before.flushes + 5);
    assert.equal(off.after.newest, off.before.newest + 5);
    assert.ok(off.after.flushes < off.before.flushes + 5, 'off flushes for nobody');
    assert.equal(off.durable.durable, off.durable.newest);
    assert.equal(normal.after.newest, normal.before.newest + 5);
    assert.ok(later.durable >= normal.after.newest, 'the flush followed by itself');
    assert.deepEqual([full.pragma, off.pragma, normal.pragma, normal.changed], [2, 0, 1, 0]);
  });

  test('the same verbs, synchronously', async () => {
    const found = await place.run(async () => inWorker(async () => {
      const events = [];
      const store = await openStore({ databases: ['sync.db', 'copy.db'], slowQueryMs: 0, onEvent: (event) => events.push(event) });
      const db = store.sqlite.open('sync.db', { synchronous: 'normal' });
      db.exec('CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) SELECT randomblob(1000) FROM n; DELETE FROM t WHERE rowid > 10');
      store.durable();
      const progress = [];
      const result = {
        health: db.health({ full: true }), vacuum: db.vacuum(),
        backup: db.backup('copy.db', { onProgress: (each) => progress.push(each) }),
        copied: store.sqlite.open('copy.db').get('SELECT count(*) AS count FROM t').count,
        metrics: db.metrics(), store: store.metrics(), progress: progress.at(-1),
      };
      db.checkpoint();
      result.log = store.metrics().log;
      await new Promise((resolve) => setTimeout(resolve));
      result.slow = events.some(({ type, database }) => type === 'slowQuery' && database === 'sync.db');
      await store.close();
      result.closed = failure(() => store.metrics());
      return result;
    }));
    assert.ok(found.health.ok && found.health.freeBytes > 500_000, JSON.stringify(found.health));
    assert.ok(found.vacuum.afterBytes < found.vacuum.beforeBytes);
    assert.deepEqual(found.backup, { name: 'copy.db', sizeBytes: found.vacuum.afterBytes });
    assert.deepEqual([found.copied, found.progress], [10, { doneBytes: found.vacuum.afterBytes, totalBytes: found.vacuum.afterBytes }]);
    assert.ok(found.metrics.queries.count > 0 && found.metrics.slowQueries.length > 0 && found.store.log.commits > 0);
    assert.deepEqual([found.log.bytes, found.log.checkpointed], [0, found.log.newest]);
    assert.ok(found.slow);
    assert.equal(found.closed.code, 'Closed');
  });
});
