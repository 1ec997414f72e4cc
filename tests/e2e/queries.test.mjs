/** The verbs of stores, databases and statements, as the types promise them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

const NUMBERS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000)';

matrix('queries', (place) => {
  test('the mode is what the headers make it', async () => {
    const found = await place.run(async () => {
      const events = [];
      const store = await openStore({ onEvent: (event) => events.push(event) });
      return { mode: store.mode, storage: store.storage, name: store.name, isolated: crossOriginIsolated, events };
    });
    assert.equal(found.isolated, place.mode === 'bridge');
    assert.equal(found.mode, place.mode);
    assert.equal(found.storage, 'opfs');
    assert.match(found.name, /^store-\d+$/);
    assert.deepEqual(found.events.map(({ type, mode }) => ({ type, mode })), place.mode === 'direct' ? [{ type: 'mode', mode: 'direct' }] : []);
  });

  test('SQLite is 3.53 or newer, with what was promised', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('features.db');
      await db.exec(`CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('a needle in a haystack');
        CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES (1, 0, 2), (2, 5, 6);`);
      return {
        ...await db.get('SELECT sqlite_version() AS version, sqrt(2) AS root, \'{"a":[1,2]}\' ->> \'$.a[1]\' AS json'),
        hits: await db.all("SELECT snippet(words, 0, '[', ']', '', 9) AS hit FROM words WHERE words MATCH 'needle'"),
        boxes: await db.all('SELECT id FROM boxes WHERE x1 >= 5'),
        options: (await db.all('PRAGMA compile_options')).map(({ compile_options }) => compile_options),
      };
    });
    const [major, minor] = found.version.split('.').map(Number);
    assert.ok(major === 3 && minor >= 53, found.version);
    assert.equal(found.root, Math.SQRT2);
    assert.equal(found.json, 2);
    assert.deepEqual(found.hits, [{ hit: 'a [needle] in a haystack' }]);
    assert.deepEqual(found.boxes, [{ id: 2 }]);
    for (const option of ['ENABLE_SESSION', 'ENABLE_PREUPDATE_HOOK', 'ENABLE_COLUMN_METADATA']) assert.ok(found.options.includes(option), `${option} in ${found.options}`);
  });

  test('exec runs many statements, and stops at the first that fails', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('exec.db');
      const nothing = await db.exec(`-- a comment;\n CREATE TABLE t(a TEXT); INSERT INTO t VALUES (';'), ('--'); SELECT * FROM t; /* ; */ ;; INSERT INTO t VALUES ('last')`);
      const failed = await failure(db.exec("INSERT INTO t VALUES ('before'); INSERT INTO nowhere VALUES (1); INSERT INTO t VALUES ('after')"));
      await db.exec('');
      return { nothing, failed, rows: (await db.all('SELECT a FROM t')).map(({ a }) => a) };
    });
    assert.equal(found.nothing, undefined);
    assert.match(found.failed.message, /nowhere/);
    assert.deepEqual(found.rows, [';', '--', 'last', 'before']);
  });

  test('run tells the changes of this statement alone', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('run.db');
      await db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, a)');
      return [
        await db.run('INSERT INTO t(a) VALUES (?), (?), (?)', [1, 2, 3]),
        await db.run('UPDATE t SET a = 0 WHERE id > 1'),
        await db.run('UPDATE t SET a = 0 WHERE id > 100'),
        await db.run('SELECT 1'),
        await db.run('DELETE FROM t'),
      ].map(({ changes }) => changes);
    });
    assert.deepEqual(found, [3, 2, 0, 0, 3]);
  });

  test('all and get: objects, arrays, nothing', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('all.db');
      return {
        objects: await db.all("VALUES (1, 'a'), (2, 'b')"),
        arrays: await db.all('SELECT 1 AS x, 2 AS x, 3', [], { rows: 'array' }),
        none: await db.all('SELECT 1 WHERE 0'),
        first: await db.get('SELECT 1 AS one UNION ALL SELECT 2'),
        firstArray: await db.get('SELECT 1, 2', [], { rows: 'array' }),
        missing: await db.get('SELECT 1 WHERE 0'),
      };
    });
    assert.deepEqual(found, {
      objects: [{ column1: 1, column2: 'a' }, { column1: 2, column2: 'b' }],
      arrays: [[1, 2, 3]],
      none: [],
      first: { one: 1 },
      firstArray: [1, 2],
      missing: undefined,
    });
  });

  test('column names are data: __proto__ and constructor are columns like others', async () => {
    const { keys, isPlain } = await place.run(async () => {
      const row = await (await openDatabase('proto.db')).get('SELECT 1 AS "__proto__", 2 AS "constructor", 3 AS ""');
      return { keys: Object.keys(row).sort(), isPlain: [].polluted === undefined };
    });
    assert.deepEqual(keys, ['', '__proto__', 'constructor']);
    assert.ok(isPlain);
  });

  test('100,000 rows come in order', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('many.db');
      const rows = await db.all('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT i, i * 2 AS twice, \'row \' || i AS text FROM n');
      return { count: rows.length, isOrdered: rows.every(({ i, twice, text }, index) => i === index + 1 && twice === i * 2 && text === `row ${i}`) };
    });
    assert.deepEqual(found, { count: 100_000, isOrdered: true });
  });

  test('iterate streams in batches, and leaving early stops the query', async () => {
    const found = await place.run(async (numbers) => {
      const db = await openDatabase('iterate.db');
      const all = [];
      for await (const { i } of db.iterate(`${numbers} SELECT i FROM n`, [], { batchRows: 7 })) all.push(i);
      const some = [];
      // Endless: it ends only because the loop is left.
      for await (const [i] of db.iterate('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n', undefined, { rows: 'array' })) {
        some.push(i);
        if (i === 2500) break;
      }
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)');
      for await (const row of db.iterate('SELECT * FROM t', [], { batchRows: 1 })) if (row) break;
      // A query that were still open would forbid this.
      await db.exec('DROP TABLE t');
      const abandoned = db.iterate(`${numbers} SELECT i FROM n`);
      await abandoned.next();
      await abandoned.return();
      return { all, some: some.length, after: await abandoned.next(), next: await db.get('SELECT 1 AS works') };
    }, NUMBERS);
    assert.deepEqual(found.all, Array.from({ length: 5000 }, (_, index) => index + 1));
    assert.equal(found.some, 2500);
    assert.deepEqual(found.after, { done: true, value: undefined });
    assert.deepEqual(found.next, { works: 1 });
  });

  test('other calls run between the batches of an iteration', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('interleaved.db');
      await db.exec('CREATE TABLE source(i INTEGER PRIMARY KEY); CREATE TABLE copy(i); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) INSERT INTO source SELECT i FROM n');
      for await (const { i } of db.iterate('SELECT i FROM source', [], { batchRows: 10 })) await db.run('INSERT INTO copy VALUES (?)', [i]);
      return db.get('SELECT count(*) AS count, sum(i) AS sum FROM copy');
    });
    assert.deepEqual(found, { count: 100, sum: 5050 });
  });

  test('a prepared statement has the same verbs, and its columns are described', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('prepared.db');
      await db.exec('CREATE TABLE person(id INTEGER PRIMARY KEY, name VARCHAR(20))');
      const insert = await db.prepare('INSERT INTO person(name) VALUES (:name)');
      for (const name of ['Ada', 'Grace', 'Edsger']) await insert.run({ name });
      const select = await db.prepare('SELECT id, name AS called, id + 1 FROM person WHERE id >= ? ORDER BY id');
      const iterated = [];
      for await (const row of select.iterate([1], { rows: 'array' })) iterated.push(row[1]);
      const result = {
        insert: { sql: insert.sql, readOnly: insert.readOnly, columns: insert.columns },
        select: { readOnly: select.readOnly, columns: select.columns },
        all: await select.all([2]), first: await select.get([3]), none: await select.get([9]), iterated,
      };
      await select.finalize();
      await select.finalize();
      return { ...result, finalized: await failure(select.all([1])), two: await failure(db.prepare('SELECT 1; SELECT 2')), zero: await failure(db.prepare(' -- nothing')) };
    });
    assert.deepEqual(found.insert, { sql: 'INSERT INTO person(name) VALUES (:name)', readOnly: false, columns: [] });
    assert.equal(found.select.readOnly, true);
    assert.deepEqual(found.select.columns, [
      { name: 'id', declaredType: 'INTEGER', table: 'person', database: 'main' },
      { name: 'called', declaredType: 'VARCHAR(20)', table: 'person', database: 'main' },
      { name: 'id + 1', declaredType: null, table: null, database: null },
    ]);
    assert.deepEqual(found.all, [{ id: 2, called: 'Grace', 'id + 1': 3 }, { id: 3, called: 'Edsger', 'id + 1': 4 }]);
    assert.deepEqual(found.first, { id: 3, called: 'Edsger', 'id + 1': 4 });
    assert.equal(found.none, undefined);
    assert.deepEqual(found.iterated, ['Ada', 'Grace', 'Edsger']);
    assert.equal(found.finalized.code, 'Closed');
    assert.equal(found.two.code, 'Invalid');
    assert.equal(found.zero.code, 'Invalid');
  });

  test('a statement survives a change of the schema', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('schema.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
      const select = await db.prepare('SELECT * FROM t');
      const before = await select.get();
      await db.exec('ALTER TABLE t ADD COLUMN b DEFAULT 2');
      return { before, after: await select.get() };
    });
    assert.deepEqual(found, { before: { a: 1 }, after: { a: 1, b: 2 } });
  });

  test('explain gives the plan, with the index that is used', async () => {
    const plan = await place.run(async () => {
      const db = await openDatabase('explain.db');
      await db.exec('CREATE TABLE t(a, b); CREATE INDEX t_a ON t(a)');
      return db.explain('SELECT b FROM t WHERE a = ?', [1]);
    });
    assert.ok(plan.length >= 1);
    assert.match(plan[0].detail, /USING INDEX t_a/);
    assert.deepEqual(Object.keys(plan[0]).sort(), ['detail', 'id', 'parent']);
  });

  test('databases are listed, renamed, deleted; nested names make folders', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const { sqlite } = store;
      const empty = await sqlite.list();
      for (const name of ['one.db', 'folder/deep/two.db', 'ünï cödé.db']) {
        const db = await sqlite.open(name);
        await db.exec(`CREATE TABLE t(name); INSERT INTO t VALUES ('${name}')`);
        await db.close();
      }
      const listed = await sqlite.list();
      const open = await sqlite.open('one.db');
      const { page_size: pageBytes } = await open.get('PRAGMA page_size');
      const busy = [await failure(sqlite.delete('one.db')), await failure(sqlite.rename('one.db', 'three.db'))];
      await open.close();
      const taken = await failure(sqlite.rename('folder/deep/two.db', 'one.db'));
      await sqlite.rename('one.db', 'elsewhere/three.db');
      const renamed = await sqlite.open('elsewhere/three.db', { mustExist: true });
      const row = await renamed.get('SELECT name FROM t');
      await renamed.close();
      await sqlite.delete('folder/deep/two.db');
      const exists = [await sqlite.exists('one.db'), await sqlite.exists('elsewhere/three.db'), await sqlite.exists('folder/deep/two.db')];
      const missing = [await failure(sqlite.delete('one.db')), await failure(sqlite.rename('one.db', 'x.db')), await failure(sqlite.export('one.db')), await failure(sqlite.open('one.db', { mustExist: true }))];
      return { empty, listed, pageBytes, busy, taken, row, exists, missing, left: (await sqlite.list()).map(({ name }) => name) };
    });
    assert.deepEqual(found.empty, []);
    assert.deepEqual(found.listed.map(({ name }) => name).sort(), ['folder/deep/two.db', 'one.db', 'ünï cödé.db']);
    for (const { sizeBytes } of found.listed) assert.equal(sizeBytes, 2 * found.pageBytes);
    assert.deepEqual(found.busy.map(({ code }) => code), ['Busy', 'Busy']);
    assert.equal(found.taken.code, 'Exists');
    assert.deepEqual(found.row, { name: 'one.db' });
    assert.deepEqual(found.exists, [false, true, false]);
    assert.deepEqual(found.missing.map(({ code }) => code), ['NotFound', 'NotFound', 'NotFound', 'NotFound']);
    assert.deepEqual(found.left.sort(), ['elsewhere/three.db', 'ünï cödé.db']);
  });

  test('names that would leave the store, or mean nothing, are refused', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const names = ['', '.', '..', '../x.db', 'a/../../x.db', '/x.db', 'x.db/', 'a//b.db', 'a\0b.db', 'a.db-journal'];
      const failures = {};
      for (const name of names) failures[JSON.stringify(name)] = await failure(store.sqlite.open(name)).catch((error) => ({ code: error.message }));
      for (const name of ['', 'a/b', 'ä', 'x'.repeat(65), '..']) failures[`store ${name}`] = await failure(statik.open({ name })).catch((error) => ({ code: error.message }));
      return { failures, list: await store.sqlite.list() };
    });
    for (const [name, { code }] of Object.entries(found.failures)) assert.equal(code, 'Invalid', name);
    assert.deepEqual(found.list, []);
  });

  test('options of a database: readOnly, mustExist, foreignKeys, cacheKib', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('options.db');
      await db.exec('CREATE TABLE parent(id INTEGER PRIMARY KEY); CREATE TABLE child(id REFERENCES parent(id))');
      const broken = await failure(db.exec('INSERT INTO child VALUES (1)'));
      await db.close();
      const lax = await openDatabase('options.db', { foreignKeys: false, cacheKib: 512 });
      await lax.exec('INSERT INTO child VALUES (1)');
      const cache = await lax.get('PRAGMA cache_size');
      await lax.close();
      const reader = await openDatabase('options.db', { readOnly: true });
      const refused = await failure(reader.exec('INSERT INTO parent VALUES (1)'));
      const rows = await reader.all('SELECT * FROM child');
      await reader.close();
      return { broken, cache, refused, rows, missing: await failure(openDatabase('none.db', { mustExist: true })), readNothing: await failure(openDatabase('none.db', { readOnly: true })) };
    });
    assert.equal(found.broken.sqliteCode, 'SQLITE_CONSTRAINT_FOREIGNKEY');
    assert.deepEqual(found.cache, { cache_size: -512 });
    assert.equal(found.refused.code, 'ReadOnly');
    assert.deepEqual(found.rows, [{ id: 1 }]);
    assert.equal(found.missing.code, 'NotFound');
    assert.equal(found.readNothing.code, 'NotFound');
  });

  test('a database in memory is its own, and leaves no file', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const one = await store.sqlite.open(':memory:');
      const two = await store.sqlite.open(':memory:');
      await one.exec('CREATE TABLE t(a)');
      return { other: await two.all('SELECT name FROM sqlite_schema'), list: await store.sqlite.list() };
    });
    assert.deepEqual(found, { other: [], list: [] });
  });

  test('what needs temporary files stays within the database', async () => {
    const found = await place.run(async (numbers) => {
      const db = await openDatabase('temporary.db', { cacheKib: 64 });
      await db.exec(`CREATE TEMP TABLE scratch(a); ${numbers} INSERT INTO scratch SELECT hex(randomblob(100)) FROM n;
        CREATE TABLE t AS SELECT a FROM scratch ORDER BY a; CREATE INDEX t_a ON t(a); VACUUM;
        ATTACH ':memory:' AS aside; CREATE TABLE aside.t AS SELECT * FROM main.t`);
      const store = await db.get('SELECT (SELECT count(*) FROM t) AS here, (SELECT count(*) FROM aside.t) AS aside');
      return { ...store, integrity: await db.get('PRAGMA integrity_check') };
    }, NUMBERS);
    assert.deepEqual(found, { here: 5000, aside: 5000, integrity: { integrity_check: 'ok' } });
  });

  test('status, metrics and persist', async () => {
    const { before, after, ...found } = await place.run(async () => {
      const store = await openStore({ sanityCheck: true });
      const db = await store.sqlite.open('metrics.db');
      const before = await store.metrics();
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (randomblob(100000))');
      return { before, after: await store.metrics(), status: await store.status(), persisted: await store.persist(), list: await store.sqlite.list() };
    });
    const bytes = ({ operations }) => Object.values(operations).reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(bytes(after) - bytes(before) >= 100_000, JSON.stringify(after));
    assert.ok(after.log.commits > before.log.commits && after.log.flushes > before.log.flushes, JSON.stringify(after.log));
    for (const { count, totalMs, maxMs } of Object.values(after.operations)) assert.ok(count >= 1 && totalMs >= maxMs && maxMs >= 0, JSON.stringify(after));
    assert.equal(found.status.mode, place.mode);
    assert.equal(found.status.storage, 'opfs');
    assert.ok(found.status.quotaBytes > 0 && found.status.usageBytes >= 0);
    assert.equal(typeof found.status.persisted, 'boolean');
    assert.equal(typeof found.persisted, 'boolean');
    assert.deepEqual(found.list.map(({ name }) => name), ['metrics.db']);
  });

  test('no file is opened or closed inside a transaction', async () => {
    const { before, after } = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('handles.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (0)');
      const before = await store.metrics();
      for (let index = 0; index < 20; index += 1) await db.run('INSERT INTO t VALUES (?)', [index]);
      return { before, after: await store.metrics() };
    });
    assert.ok(after.log.flushes >= before.log.flushes + 20);
    const opening = place.mode === 'bridge' ? 'attach' : 'open';
    assert.ok(before.operations[opening].count > 0, JSON.stringify(before));
    assert.equal(after.operations[opening].count, before.operations[opening].count);
  });

  test('options are checked, and say what is wrong', async () => {
    const failures = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('a.db');
      return [
        await failure(statik.open({ name: 'x', fallback: 'disk' })),
        await failure(statik.open({ name: 'x', waitMs: -1 })),
        await failure(store.sqlite.open('b.db', { cacheKib: 'much' })),
        await failure(db.all('SELECT 1', [], { rows: 'map' })),
        await failure(db.iterate('SELECT 1', [], { batchRows: 0 }).next()),
        await failure(db.transaction(() => {}, { mode: 'sudden' })),
      ];
    });
    for (const { code, message } of failures) assert.equal(code, 'Invalid', message);
    assert.match(failures[0].message, /fallback/);
    assert.match(failures[3].message, /rows/);
  });
});
