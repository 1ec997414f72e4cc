/** Migrations, of SQLite databases and, where only a browser can tell, of IndexedDB's: all or nothing, back and forth. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { matrix } from './matrix.mjs';

/** Gives the page a list of migrations, and what is in a database, as `schema()`: tables, data, history, version. */
const SETUP = () => {
  globalThis.migrations = [
    { version: 1, name: 'notes', upgrade: 'CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT)', down: 'DROP TABLE note' },
    {
      version: 2,
      checksum: 'v2',
      upgrade: async (tx) => {
        await tx.exec('ALTER TABLE note ADD COLUMN length INTEGER');
        for (const { id, text } of await tx.all('SELECT id, text FROM note')) await tx.run('UPDATE note SET length = ? WHERE id = ?', [text.length, id]);
      },
      down: 'ALTER TABLE note DROP COLUMN length',
    },
    { version: 3, up: 'CREATE TABLE tag(note REFERENCES note ON DELETE CASCADE, tag); CREATE INDEX tags ON tag(tag)', down: 'DROP TABLE tag' },
  ];
  globalThis.image = async (db) => {
    const tables = (await db.all("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")).map(({ name, sql }) => [name, sql]);
    const rows = {};
    for (const [name, sql] of tables) if (sql.startsWith('CREATE TABLE')) rows[name] = await db.all(`SELECT * FROM ${name}`);
    const { user_version: version } = await db.get('PRAGMA user_version');
    const { foreign_keys: foreignKeys } = await db.get('PRAGMA foreign_keys');
    return { tables, rows, version, foreignKeys };
  };
};

matrix('migrations of SQLite databases', (place) => {
  const run = async (body) => {
    const tab = await place.tab();
    await tab.run(SETUP);
    return tab.run(body);
  };

  test('up, up again, down and up: the data stays, the history tells all of it', async () => {
    const found = await run(async () => {
      const { sqlite } = await openStore();
      const db = await sqlite.open('walk.db');
      const told = [];
      const first = await sqlite.migrate(db, migrations.slice(0, 1));
      await db.run("INSERT INTO note(text) VALUES ('hello'), ('you')");
      const second = await sqlite.migrate(db, migrations, { onProgress: (progress) => told.push(progress) });
      const again = await sqlite.migrate(db, migrations);
      const lengths = (await db.all('SELECT length FROM note')).map(({ length }) => length);
      const down = await sqlite.migrate(db, migrations, { target: 1 });
      const after = await image(db);
      const up = await sqlite.migrate(db, migrations);
      const { version, rows } = await image(db);
      return { told, again, lengths, after, version, rows: rows.note, history: rows.statik_migrations, results: [first, second, down, up] };
    });
    assert.deepEqual(found.results.map(({ from, to, applied }) => [from, to, applied.map(({ version, direction }) => `${version} ${direction}`)]), [
      [0, 1, ['1 up']], [1, 3, ['2 up', '3 up']], [3, 1, ['3 down', '2 down']], [1, 3, ['2 up', '3 up']],
    ]);
    assert.deepEqual(found.told[1], { step: 2, of: 2, version: 3, name: '', direction: 'up' });
    assert.deepEqual(found.again, { from: 3, to: 3, applied: [] });
    assert.deepEqual(found.lengths, [5, 3]);
    assert.deepEqual([found.after.version, found.after.tables.map(([name]) => name), found.after.rows.note], [
      1, ['note', 'statik_migrations'], [{ id: 1, text: 'hello' }, { id: 2, text: 'you' }],
    ]);
    assert.deepEqual([found.version, found.rows.map(({ length }) => length)], [3, [5, 3]]);
    const applied = found.results.flatMap((result) => result.applied);
    assert.deepEqual(found.history, applied.map(({ appliedMs, ...rest }, index) => ({ id: index + 1, ...rest, applied_ms: appliedMs })));
    assert.deepEqual([applied[0].name, applied[1].checksum], ['notes', 'v2']);
  });

  test('a step that fails, or a stop, leaves everything as it was', async () => {
    const found = await run(async () => {
      const { sqlite } = await openStore();
      const db = await sqlite.open('fails.db');
      await sqlite.migrate(db, migrations.slice(0, 1));
      await db.run("INSERT INTO note(text) VALUES ('kept')");
      const before = await image(db);
      const bad = (upgrade) => [...migrations.slice(0, 2), { version: 3, name: 'bad', upgrade }];
      const own = new RangeError('no');
      const thrown = await sqlite.migrate(db, bad(async (tx) => {
        await tx.run('DELETE FROM note');
        throw own;
      })).catch((error) => error);
      const sql = await failure(sqlite.migrate(db, bad("DELETE FROM note; INSERT INTO note(id) VALUES (1); INSERT INTO note(id) VALUES (1)")));
      const abort = new AbortController();
      const reason = new Error('enough');
      const stopped = await sqlite.migrate(db, migrations, {
        signal: abort.signal, onProgress: ({ step }) => { if (step === 2) abort.abort(reason); },
      }).catch((error) => error);
      const unharmed = JSON.stringify(await image(db)) === JSON.stringify(before);
      const then = await sqlite.migrate(db, migrations);
      return { own: thrown.cause === own, message: thrown.message, sql, stopped: stopped === reason, unharmed, to: then.to };
    });
    assert.equal(found.message, 'migration 3 (bad), up, of database "fails.db" failed, and nothing was changed: RangeError: no');
    assert.equal(found.sql.sqliteCode, 'SQLITE_CONSTRAINT_PRIMARYKEY');
    assert.match(found.sql.message, /^migration 3 \(bad\)/);
    assert.deepEqual([found.own, found.stopped, found.unharmed, found.to], [true, true, true, 3]);
  });

  test('connections that migrate at once take each step once, pooled ones too', async () => {
    const found = await run(async () => {
      const { sqlite } = await openStore();
      const databases = await Promise.all([{}, {}, { pool: { max: 2 } }].map((options) => sqlite.open('many.db', options)));
      const results = await Promise.all([...databases, databases[2]].map((db) => sqlite.migrate(db, migrations)));
      return { results, images: await Promise.all(databases.map(image)) };
    });
    assert.deepEqual(found.results.map(({ applied }) => applied.length).sort(), [0, 0, 0, 3]);
    assert.ok(found.results.every(({ to }) => to === 3));
    for (const { version, foreignKeys, rows } of found.images) {
      assert.deepEqual([version, foreignKeys, rows.statik_migrations.length], [3, 1, 3]);
    }
  });

  test('a table that others refer to is rebuilt, and a row without its parent is refused', async () => {
    const found = await run(async () => {
      const { sqlite } = await openStore();
      const db = await sqlite.open('rebuild.db');
      await sqlite.migrate(db, migrations);
      await db.exec("INSERT INTO note VALUES (1, 'a', 1), (2, 'b', 1); INSERT INTO tag VALUES (1, 'x'), (2, 'y')");
      const rebuild = (where) => ({
        version: 4,
        upgrade: `CREATE TABLE rebuilt(id INTEGER PRIMARY KEY, text TEXT NOT NULL); INSERT INTO rebuilt SELECT id, text FROM note ${where};
          DROP TABLE note; ALTER TABLE rebuilt RENAME TO note`,
      });
      const before = await image(db);
      const lost = await failure(sqlite.migrate(db, [...migrations, rebuild('WHERE id = 2')]));
      const unharmed = JSON.stringify(await image(db)) === JSON.stringify(before);
      // An insert that is called while they are off must find them on again.
      const migrated = sqlite.migrate(db, [...migrations, rebuild('')]);
      const orphans = [];
      let done = false;
      migrated.finally(() => { done = true; });
      while (!done) orphans.push(await failure(db.run("INSERT INTO tag VALUES (9, 'orphan')")));
      const { to } = await migrated;
      const { rows, foreignKeys } = await image(db);
      await db.exec('BEGIN');
      const inside = await failure(sqlite.migrate(db, [...migrations, rebuild(''), { version: 5, upgrade: 'DELETE FROM note' }]));
      await db.exec('ROLLBACK');
      return { lost, unharmed, to, rows, foreignKeys, orphans: [...new Set(orphans.map(({ sqliteCode }) => sqliteCode))], inside };
    });
    assert.equal(found.lost.code, 'Conflict');
    assert.match(found.lost.message, /the row with rowid 1 of table tag without its parent in table note; nothing was changed/);
    assert.ok(found.unharmed);
    assert.deepEqual([found.to, found.foreignKeys], [4, 1]);
    assert.deepEqual(found.orphans, ['SQLITE_CONSTRAINT_FOREIGNKEY']);
    assert.deepEqual(found.rows.note, [{ id: 1, text: 'a' }, { id: 2, text: 'b' }]);
    assert.deepEqual(found.rows.tag, [{ note: 1, tag: 'x' }, { note: 2, tag: 'y' }]);
    assert.equal(found.inside.code, 'Invalid');
    assert.match(found.inside.message, /inside a transaction already/);
  });

  test('what is refused is left as it was', async () => {
    const found = await run(async () => {
      const { sqlite } = await openStore();
      const db = await sqlite.open('refused.db');
      await sqlite.migrate(db, migrations);
      const before = JSON.stringify(await image(db));
      const refused = [
        await failure(sqlite.migrate(db, migrations.slice(0, 2))),
        await failure(sqlite.migrate(db, migrations.map((each) => (each.version === 2 ? { ...each, checksum: 'other' } : each)))),
        await failure(sqlite.migrate(db, migrations.map(({ down, ...each }) => (each.version === 2 ? each : { ...each, down })), { target: 0 })),
        await failure(sqlite.migrate(db, migrations, { target: 4 })),
      ];
      const unharmed = JSON.stringify(await image(db)) === before;
      await db.run('DELETE FROM statik_migrations WHERE id = 2');
      refused.push(await failure(sqlite.migrate(db, migrations)));
      await db.exec('DROP TABLE statik_migrations; CREATE VIEW statik_migrations AS SELECT 1 AS version');
      refused.push(await failure(sqlite.migrate(db, migrations)));
      await db.exec('DROP VIEW statik_migrations');
      refused.push(await failure(sqlite.migrate(db, migrations)), await failure(sqlite.migrate({}, migrations)));
      return { refused, unharmed };
    });
    assert.deepEqual(found.refused.map(({ code }) => code), ['Unsupported', 'Conflict', 'Unsupported', 'Invalid', 'Corrupt', 'Corrupt', 'Conflict', 'Invalid']);
    assert.match(found.refused[0].message, /"refused\.db" is at schema version 3, written by a newer app: this one knows versions up to 2/);
    assert.match(found.refused[6].message, /user_version 3 and no history/);
    assert.ok(found.unharmed);
  });

  test('in a worker, the same by plain calls', async () => {
    const found = await place.run(() => inWorker(async () => {
      const store = await openStore({ databases: ['sync.db'] });
      const db = store.sqlite.open('sync.db');
      const list = [
        { version: 1, upgrade: 'CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(a REFERENCES a ON DELETE CASCADE)', down: 'DROP TABLE b; DROP TABLE a' },
        { version: 2, checksum: 'v2', up: (tx) => tx.run('INSERT INTO a VALUES (1), (2)'), down: (tx) => tx.run('DELETE FROM a') },
      ];
      const tried = async (...args) => {
        try {
          return await store.sqlite.migrate(db, ...args);
        } catch ({ code, message }) {
          return { code, message };
        }
      };
      const results = [
        await tried(list), await tried(list), await tried(list, { target: 1 }), await tried([...list, { version: 3, upgrade: async () => {} }]),
        await tried([...list, { version: 3, upgrade: 'INSERT INTO b VALUES (7)' }]), await tried(list.slice(0, 0)), await tried(list),
      ];
      const state = { ...db.get('SELECT (SELECT count(*) FROM a) AS rows, (SELECT count(*) FROM statik_migrations) AS entries'), ...db.get('PRAGMA foreign_keys'), ...db.get('PRAGMA user_version') };
      await store.close();
      return { results, state };
    }));
    const [first, again, down, promise, orphan, newer, last] = found.results;
    assert.deepEqual([first, again, down, last].map(({ from, to, applied }) => [from, to, applied.length]), [[0, 2, 2], [2, 2, 0], [2, 1, 1], [1, 2, 1]]);
    assert.deepEqual([promise, orphan, newer].map(({ code }) => code), ['Invalid', 'Conflict', 'Unsupported']);
    assert.match(promise.message, /^migration 3, up, .*it returned a promise/);
    assert.deepEqual(found.state, { rows: 2, entries: 4, foreign_keys: 1, user_version: 2 });
  });
});

matrix('migrations of IndexedDB databases', (place) => {
  before(async () => {
    const { outputFiles: [output] } = await build({
      entryPoints: [fileURLToPath(new URL('../../web/sdk/src/migrations/indexeddb.ts', import.meta.url))],
      bundle: true, format: 'esm', target: 'es2022', write: false,
    });
    place.server.files.set('indexeddb.js', Buffer.from(output.contents));
  });

  /** A page with the migrations as `idb`, and `open` for the database `name`, as a tab opens it. */
  const newTab = async (options) => {
    const tab = await place.tab(options);
    await tab.run(async () => {
      const source = await (await fetch('/files/indexeddb.js')).text();
      const name = new URL(location.href).searchParams.get('store');
      const open = (version, upgrade) => new Promise((resolve, reject) => {
        const opening = indexedDB.open(name, version);
        opening.onupgradeneeded = () => void upgrade(opening.result, opening.transaction);
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          opening.result.onversionchange = () => opening.result.close();
          resolve(opening.result);
        };
      });
      const migrations = [
        { version: 1, checksum: 'v1', upgrade: (db) => void db.createObjectStore('episodes', { keyPath: 'id' }) },
        {
          version: 2,
          checksum: 'v2',
          upgrade: async (db) => {
            const store = db.transaction.objectStore('episodes');
            store.createIndex('timestamp', 'timestamp');
            for (let id = 0; id < 100; id++) await idb.request(store.put({ id, timestamp: id }));
          },
          down: (db) => {
            db.objectStore('episodes').deleteIndex('timestamp');
            return idb.request(db.objectStore('episodes').clear());
          },
        },
      ];
      const idb = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
      const migrated = async (list, options) => {
        const { database, from, to, applied } = await idb.migrate(open, list, options);
        const { version } = database;
        database.close();
        return { from, to, applied: applied.length, version };
      };
      const image = async () => {
        const database = await open();
        const tx = database.transaction([...database.objectStoreNames]);
        const store = tx.objectStore('episodes');
        const found = {
          version: database.version, stores: [...database.objectStoreNames], indexes: [...store.indexNames],
          count: await idb.request(store.count()), history: (await idb.request(tx.objectStore(idb.META).get(idb.SCHEMA))).history.length,
        };
        database.close();
        return found;
      };
      Object.assign(globalThis, { idb, migrations, migrated, image });
    });
    return tab;
  };

  test('a step that awaits something else and then goes on is refused as a whole', async () => {
    const found = await (await newTab()).run(async () => {
      await migrated(migrations);
      const before = await image();
      const elsewhere = () => fetch('/index.html').then((response) => response.text());
      const late = await migrated([...migrations, {
        version: 3,
        upgrade: async (db) => {
          db.createObjectStore('half');
          await idb.request(db.objectStore('episodes').clear());
          await elsewhere();
          await idb.request(db.objectStore('episodes').count());
        },
      }]).catch(({ name, code, message }) => ({ name, code, message }));
      const after = await image();
      const patient = [{ version: 3, upgrade: async (db) => { db.createObjectStore('whole'); await elsewhere(); } }, { version: 4, upgrade: (db) => void db.createObjectStore('next') }];
      return { before, late, after, patient: await migrated([...migrations, ...patient]), then: await image() };
    });
    assert.deepEqual([found.late.name, found.late.code], ['StatikError', 'Invalid']);
    assert.match(found.late.message, /^migration 3, up, .*may await nothing but requests of its transaction/);
    assert.deepEqual(found.after, found.before);
    assert.deepEqual(found.patient, { from: 2, to: 4, applied: 2, version: 2 });
    assert.deepEqual(found.then.stores, ['episodes', 'next', 'statik_meta', 'whole']);
  });

  test('a step whose request fails, heard or not, leaves the database and its number as they were', async () => {
    const found = await (await newTab()).run(async () => {
      await migrated(migrations);
      const before = await image();
      const bad = [
        (db) => { db.deleteObjectStore('episodes'); throw new Error('no'); },
        (db) => idb.request(db.objectStore('episodes').add({ id: 1 })),
        (db) => void db.objectStore('episodes').add({ id: 1 }),
        (db, tx) => tx.abort(),
        (db, tx) => tx.db.deleteObjectStore(idb.META),
      ];
      const failures = [];
      for (const upgrade of bad) failures.push(await migrated([...migrations, { version: 3, upgrade }]).catch(({ code, message }) => ({ code, message })));
      const after = await image();
      const isNew = await idb.migrate((version, upgrade) => new Promise((resolve, reject) => {
        const opening = indexedDB.open('never', version);
        opening.onupgradeneeded = () => void upgrade(opening.result, opening.transaction);
        opening.onerror = () => reject(opening.error);
      }), [{ version: 1, upgrade: () => { throw new Error('no'); } }]).catch(({ message }) => message);
      const names = (await indexedDB.databases()).map(({ name }) => name);
      return { before, failures, after, isNew, names, down: await migrated(migrations, { target: 1 }), then: await image() };
    });
    assert.ok(found.failures.every(({ message }) => /^migration 3, up, .* failed, and nothing was changed: /.test(message)), JSON.stringify(found.failures));
    assert.deepEqual(found.failures.slice(0, 3).map(({ code }) => code), ['Io', 'Conflict', 'Conflict']);
    assert.deepEqual(found.after, found.before);
    assert.match(found.isNew, /^migration 1, up/);
    assert.ok(!found.names.includes('never'));
    assert.deepEqual(found.down, { from: 2, to: 1, applied: 1, version: 2 });
    assert.deepEqual(found.then, { version: 2, stores: ['episodes', 'statik_meta'], indexes: [], count: 0, history: 3 });
  });

  test('two tabs that migrate at once take each step once', async () => {
    const first = await newTab();
    const second = await newTab({ store: first.store });
    const results = (await Promise.all([first, second, first, second].map((tab) => tab.run(() => migrated(migrations))))).flat();
    assert.deepEqual(results.map(({ applied }) => applied).sort(), [0, 0, 0, 2]);
    assert.ok(results.every(({ to, version }) => to === 2 && version === 1));
    assert.deepEqual(await first.run(() => image()), { version: 1, stores: ['episodes', 'statik_meta'], indexes: ['timestamp'], count: 100, history: 2 });
  });

  test('a tab that dies during its migration leaves nothing of it', async () => {
    const dying = await newTab();
    const living = await newTab({ store: dying.store });
    await living.run(() => migrated(migrations.slice(0, 1)));
    const inside = new Promise((resolve) => { place.server.told.once('inside', resolve); });
    await dying.start(() => migrated([...migrations, { version: 3, upgrade: () => { void tell('inside'); return new Promise(() => {}); } }]));
    await inside;
    await dying.close();
    assert.deepEqual(await living.run(() => migrated(migrations)), { from: 1, to: 2, applied: 1, version: 2 });
    assert.deepEqual(await living.run(() => image()), { version: 2, stores: ['episodes', 'statik_meta'], indexes: ['timestamp'], count: 100, history: 2 });
  });
}, { modes: ['bridge'] });
