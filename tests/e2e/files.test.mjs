/**
 * Whole files in and out. What the machine's own `sqlite3` made is imported, changed and exported, and then judged by
 * `sqlite3` again: the file is sound, and holds what the same changes make of the original there. What is no database is
 * refused, and what was there before stays.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';
import { dump, makeDatabase, newFile, saveDatabase, sqlite3 } from './sqlite3.mjs';

const FILL = `CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT NOT NULL, born REAL, face BLOB, UNIQUE(name));
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400)
  INSERT INTO person SELECT i, 'Zoë ' || i, 1900 + i / 7.0, zeroblob(i * 5) FROM n;
  CREATE INDEX person_born ON person(born);
  CREATE TABLE code(a TEXT, b INT, note TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID;
  INSERT INTO code SELECT 'k' || id % 20, id, name || ' €' FROM person;
  CREATE VIEW elder AS SELECT name FROM person WHERE born < 1920;
  CREATE TRIGGER person_gone AFTER DELETE ON person BEGIN DELETE FROM code WHERE b = old.id; END;`;

const SEARCH = `CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='porter');
  CREATE VIRTUAL TABLE pages USING fts5(title, body);
  INSERT INTO pages SELECT name, 'running through ' || note FROM person JOIN code ON b = id;`;

/** The same for Statik and for `sqlite3`. */
const CHANGE = `BEGIN;
  DELETE FROM person WHERE id % 3 = 0;
  UPDATE person SET face = zeroblob(9000), name = name || ' the second' WHERE id % 50 = 1;
  INSERT INTO person(name, born) VALUES ('Новый', 2001.5), ('新', 2002);
  UPDATE code SET note = upper(note) WHERE b < 100;
  COMMIT;
  CREATE TABLE added AS SELECT name FROM elder;`;

const CHANGE_SEARCH = `DELETE FROM pages WHERE title LIKE '%7'; INSERT INTO pages VALUES ('new', 'a page that ran');`;

const FILES = {
  ...Object.fromEntries([512, 1024, 2048, 4096, 8192, 16384, 32768, 65536].map((bytes) => [`pages of ${bytes} bytes`, `PRAGMA page_size = ${bytes}; ${FILL}`])),
  'auto-vacuum full': `PRAGMA auto_vacuum = FULL; ${FILL}`,
  'auto-vacuum incremental': `PRAGMA auto_vacuum = INCREMENTAL; ${FILL}; DELETE FROM code;`,
  'UTF-16 little-endian': `PRAGMA encoding = 'UTF-16le'; ${FILL}`,
  'UTF-16 big-endian': `PRAGMA encoding = 'UTF-16be'; ${FILL}`,
  'WAL mode': `PRAGMA journal_mode = WAL; ${FILL}`,
  'FTS5': FILL + SEARCH,
};

matrix('files', (place) => {
  for (const [name, sql] of Object.entries(FILES)) {
    test(`a file of sqlite3 with ${name} is imported, changed and exported`, async () => {
      const original = makeDatabase(sql);
      assert.equal(original[18], name === 'WAL mode' ? 2 : 1, 'the header says whether the file is in WAL mode');
      const change = CHANGE + (sql.includes('fts5') ? CHANGE_SEARCH : '');
      place.server.files.set('original', original);
      const found = await place.run(async (change) => {
        const store = await openStore();
        const blob = await (await fetch('/files/original')).blob();
        const info = await store.sqlite.import('folder/imported.db', blob);
        const unchanged = await bytesOf(await store.sqlite.export('folder/imported.db'));
        const db = await store.sqlite.open('folder/imported.db', { mustExist: true });
        const people = await db.get("SELECT count(*) AS count, max(length(face)) AS face, (SELECT name FROM person WHERE id = 7) AS name FROM person");
        await db.exec(change);
        const integrity = await db.get('PRAGMA integrity_check');
        const changed = await bytesOf(await db.export());
        await fetch('/files/unchanged', { method: 'PUT', body: unchanged });
        await fetch('/files/changed', { method: 'PUT', body: changed });
        return { info, people, integrity };
      }, change);
      assert.deepEqual(found, {
        info: { name: 'folder/imported.db', sizeBytes: original.length },
        people: { count: 400, face: 2000, name: 'Zoë 7' },
        integrity: { integrity_check: 'ok' },
      });
      const native = saveDatabase(original);
      assert.deepEqual(dump(saveDatabase(place.server.files.get('unchanged'))), dump(native), 'exported as it was imported');
      sqlite3(native, change);
      const changed = saveDatabase(place.server.files.get('changed'));
      assert.deepEqual(sqlite3(changed, 'PRAGMA integrity_check; PRAGMA foreign_key_check;'), ['ok']);
      assert.deepEqual(dump(changed), dump(native), 'changed as sqlite3 changes it');
      assert.deepEqual(sqlite3(changed, 'PRAGMA page_size; PRAGMA encoding; PRAGMA auto_vacuum;'), sqlite3(native, 'PRAGMA page_size; PRAGMA encoding; PRAGMA auto_vacuum;'));
    });
  }

  test('a file made here is one that sqlite3 reads', async () => {
    await place.run(async (sql) => {
      const db = await openDatabase('made.db');
      await db.exec(sql);
      await fetch('/files/made', { method: 'PUT', body: await bytesOf(await db.export()) });
    }, FILL + SEARCH + CHANGE);
    const made = saveDatabase(place.server.files.get('made'));
    assert.deepEqual(sqlite3(made, 'PRAGMA integrity_check'), ['ok']);
    const native = newFile();
    sqlite3(native, FILL + SEARCH + CHANGE);
    assert.deepEqual(dump(made), dump(native));
  });

  test('imports from a stream, a Blob and bytes, with progress', async () => {
    const original = makeDatabase(FILL);
    place.server.files.set('original', original);
    const found = await place.run(async () => {
      const store = await openStore();
      const bytes = new Uint8Array(await (await fetch('/files/original')).arrayBuffer());
      // In pieces that no page or header ends with, the first smaller than a header.
      let at = 0;
      const pieces = new ReadableStream({
        pull(controller) {
          const next = at === 0 ? 17 : at + 4099;
          controller.enqueue(bytes.slice(at, next));
          at = next;
          if (at >= bytes.length) controller.close();
        },
      });
      const sources = { stream: (await fetch('/files/original')).body, pieces, blob: new Blob([bytes]), bytes };
      const results = {};
      for (const [name, source] of Object.entries(sources)) {
        const progress = [];
        await store.sqlite.import(`${name}.db`, source, { onProgress: (each) => progress.push(each) });
        const db = await store.sqlite.open(`${name}.db`);
        results[name] = { ...await db.get('SELECT count(*) AS count FROM person'), progress };
      }
      const exported = [];
      await bytesOf(await store.sqlite.export('bytes.db', { onProgress: (each) => exported.push(each) }));
      return { results, exported, kept: bytes.length };
    });
    assert.deepEqual(Object.keys(found.results), ['stream', 'pieces', 'blob', 'bytes']);
    for (const [name, { count, progress }] of Object.entries(found.results)) {
      assert.equal(count, 400);
      assert.equal(progress.at(-1).doneBytes, original.length, name);
      assert.equal(progress.at(-1).totalBytes, name === 'blob' || name === 'bytes' ? original.length : undefined, name);
      for (let index = 1; index < progress.length; index += 1) assert.ok(progress[index].doneBytes >= progress[index - 1].doneBytes);
    }
    assert.deepEqual(found.exported.at(-1), { doneBytes: original.length, totalBytes: original.length });
    assert.equal(found.kept, original.length, 'the caller\'s bytes stay its own');
  });

  test('what is no sound database is refused in clear words, and the old one stays', async () => {
    const sound = makeDatabase(FILL);
    const edited = (edit) => {
      const bytes = Buffer.from(sound);
      edit(bytes);
      return bytes;
    };
    const bad = {
      'cut in half': sound.subarray(0, sound.length >> 1),
      'cut within a page': sound.subarray(0, sound.length - 100),
      'cut within the header': sound.subarray(0, 60),
      'empty': Buffer.alloc(0),
      'a picture': Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), Buffer.alloc(8192, 7)]),
      'text': Buffer.from('id,name\n1,Ada\n'.repeat(1000)),
      'an impossible page size': edited((bytes) => bytes.writeUInt16BE(1000, 16)),
      'a page overwritten': edited((bytes) => bytes.fill(0xa5, 4096 * 2, 4096 * 3)),
      'an index that lies': edited((bytes) => {
        const at = bytes.indexOf('Zoë 250');
        assert.ok(at > 0);
        bytes.write('Zoë 999', at);
      }),
    };
    for (const [name, bytes] of Object.entries(bad)) place.server.files.set(name, bytes);
    place.server.files.set('sound', sound);
    const found = await place.run(async (names) => {
      const store = await openStore();
      const load = async (name) => new Uint8Array(await (await fetch(`/files/${name}`)).arrayBuffer());
      await store.sqlite.import('old.db', await load('sound'));
      const failures = {};
      for (const name of names) {
        failures[name] = await failure(store.sqlite.import('old.db', await load(name))).catch((error) => ({ code: error.message }));
        failures[`${name}, to a new name`] = await failure(store.sqlite.import('new.db', new Blob([await load(name)]))).catch((error) => ({ code: error.message }));
      }
      const list = await store.sqlite.list();
      const db = await store.sqlite.open('old.db');
      return { failures, list, ...await db.get('SELECT count(*) AS count FROM person'), ...await db.get('PRAGMA integrity_check') };
    }, Object.keys(bad));
    for (const [name, failure] of Object.entries(found.failures)) {
      assert.equal(failure.code, 'Corrupt', `${name}: ${JSON.stringify(failure)}`);
      assert.ok(failure.message.length > 20, failure.message);
    }
    assert.match(found.failures['a picture'].message, /not a(n SQLite)? database|header/i);
    assert.deepEqual(found.list, [{ name: 'old.db', sizeBytes: sound.length }]);
    assert.equal(found.count, 400);
    assert.equal(found.integrity_check, 'ok');
  });

  test('a database in use is not replaced; an import that is stopped or whose source fails leaves no trace', async () => {
    place.server.files.set('original', makeDatabase(FILL));
    const found = await place.run(async () => {
      const store = await openStore();
      const bytes = new Uint8Array(await (await fetch('/files/original')).arrayBuffer());
      const db = await store.sqlite.open('used.db');
      await db.exec("CREATE TABLE t(a); INSERT INTO t VALUES ('old')");
      const busy = await failure(store.sqlite.import('used.db', bytes));
      const rows = await db.all('SELECT a FROM t');
      await db.close();
      const controller = new AbortController();
      const stopped = await failure(store.sqlite.import('used.db', new ReadableStream({
        pull(stream) {
          stream.enqueue(bytes.slice(0, 5000));
          controller.abort();
        },
      }), { signal: controller.signal }));
      const broken = await failure(store.sqlite.import('used.db', new ReadableStream({
        start: (stream) => stream.enqueue(bytes.slice(0, 5000)),
        pull: (stream) => stream.error(new Error('the network is gone')),
      })));
      const notBytes = await failure(store.sqlite.import('used.db', new ReadableStream({ start: (stream) => stream.enqueue('text') })));
      const other = await failure(store.sqlite.import('used.db', 'text'));
      const again = await store.sqlite.open('used.db');
      return { busy, rows, stopped, broken, codes: [notBytes.code, other.code], after: await again.all('SELECT a FROM t'), list: (await store.sqlite.list()).map(({ name }) => name) };
    });
    assert.equal(found.busy.code, 'Busy');
    assert.deepEqual(found.rows, [{ a: 'old' }]);
    assert.ok(found.stopped.code === 'Aborted' || found.stopped.name === 'AbortError', JSON.stringify(found.stopped));
    assert.equal(found.broken.message, 'the network is gone');
    assert.deepEqual(found.codes, ['Invalid', 'Invalid']);
    assert.deepEqual(found.after, [{ a: 'old' }]);
    assert.deepEqual(found.list, ['used.db']);
  });

  test('an export is of one moment, whatever is written meanwhile, and can be left', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('moment.db', { busyTimeoutMs: 0 });
      await db.exec('CREATE TABLE t(a); INSERT INTO t SELECT randomblob(4000000)');
      const reader = (await db.export()).getReader();
      const pieces = [(await reader.read()).value];
      const during = await db.run("UPDATE t SET a = 'later'");
      await db.run("INSERT INTO t VALUES ('later')");
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) pieces.push(piece.value);
      await store.sqlite.import('copy.db', new Blob(pieces));
      const left = (await db.export()).getReader();
      await left.read();
      await left.cancel();
      await db.close();
      await store.sqlite.delete('moment.db');
      const copy = await store.sqlite.open('copy.db');
      return { during: during.changes, ...await copy.get('SELECT count(*) AS count, length(a) AS bytes FROM t'), ...await copy.get('PRAGMA integrity_check') };
    });
    assert.deepEqual(found, { during: 1, count: 1, bytes: 4_000_000, integrity_check: 'ok' });
  });

  test('a file of 100 MiB goes in and out in small pieces', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('large.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) SELECT randomblob(1048576) FROM n');
      let largest = 0;
      let total = 0;
      const counted = (await db.export()).pipeThrough(new TransformStream({
        transform(chunk, controller) {
          largest = Math.max(largest, chunk.byteLength);
          total += chunk.byteLength;
          controller.enqueue(chunk);
        },
      }));
      const { sizeBytes } = await store.sqlite.import('copy.db', counted);
      const copy = await store.sqlite.open('copy.db');
      return { largest, isSame: total === sizeBytes, isLarge: total > 100 * 1024 * 1024, ...await copy.get('SELECT count(*) AS count, sum(length(a)) AS bytes FROM t') };
    });
    assert.ok(found.largest <= 4 * 1024 * 1024, `a chunk of ${found.largest} bytes`);
    assert.deepEqual({ ...found, largest: undefined }, { largest: undefined, isSame: true, isLarge: true, count: 100, bytes: 104_857_600 });
  });
});
