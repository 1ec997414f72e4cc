/** Snapshots and conflicts: readers beside a writer, stale snapshots that may not write, commits over several databases. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';
import { saveDatabase, sqlite3 } from './sqlite3.mjs';

matrix('snapshots', (place) => {
  const bridgeOnly = { skip: place.mode === 'direct' && 'a port needs SharedArrayBuffer' };

  test('readers see one moment while a writer goes on, and do not hold it up', async () => {
    const found = await place.run(async () => {
      const writer = await openDatabase('bank.db', { synchronous: 'normal' });
      const readers = [await openDatabase('bank.db'), await openDatabase('bank.db')];
      await writer.exec('CREATE TABLE account(id INTEGER PRIMARY KEY, balance INT); INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) SELECT i, 10 FROM n');
      let isDone = false;
      const write = (async () => {
        for (let index = 0; index < 150; index += 1) {
          await writer.transaction(async (tx) => {
            await tx.run('UPDATE account SET balance = balance - 1 WHERE id = ?', [index % 100 + 1]);
            await tx.run('UPDATE account SET balance = balance + 1 WHERE id = ?', [(index * 7) % 100 + 1]);
          });
        }
        isDone = true;
      })();
      const wrong = [];
      let reads = 0;
      const read = async (db) => {
        do {
          await db.transaction(async (tx) => {
            const first = await tx.all('SELECT balance FROM account', [], { rows: 'array' });
            const second = await tx.all('SELECT balance FROM account', [], { rows: 'array' });
            const sum = first.flat().reduce((a, b) => a + b, 0);
            if (sum !== 1000 || JSON.stringify(first) !== JSON.stringify(second)) wrong.push(sum);
          }, { mode: 'deferred' });
          reads += 1;
        } while (!isDone);
      };
      await Promise.all([write, ...readers.map(read)]);
      return { wrong, reads, ...await writer.get('SELECT sum(balance) AS sum FROM account') };
    });
    assert.deepEqual(found.wrong, []);
    assert.ok(found.reads >= 2);
    assert.equal(found.sum, 1000);
  });

  test('an iteration is of the moment at which it began', async () => {
    const found = await place.run(async () => {
      const one = await openDatabase('moment.db');
      const two = await openDatabase('moment.db', { busyTimeoutMs: 0 });
      await one.exec('CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT i FROM n');
      const seen = [];
      for await (const { a } of one.iterate('SELECT a FROM t', [], { batchRows: 100 })) {
        seen.push(a);
        if (a === 50) await two.exec('DELETE FROM t WHERE a > 100; INSERT INTO t VALUES (1000)');
      }
      return { seen: seen.length, last: seen.at(-1), after: await one.get('SELECT count(*) AS count, max(a) AS most FROM t') };
    });
    assert.deepEqual(found, { seen: 500, last: 500, after: { count: 101, most: 1000 } });
  });

  test('who has read may not write once somebody else has: Conflict, and nothing is lost', async () => {
    const found = await place.run(async () => {
      const one = await openDatabase('conflict.db', { busyTimeoutMs: 0 });
      const two = await openDatabase('conflict.db', { busyTimeoutMs: 0 });
      await one.exec('CREATE TABLE t(n); INSERT INTO t VALUES (1)');
      const conflict = await failure(one.transaction(async (tx) => {
        const { n } = await tx.get('SELECT n FROM t');
        await two.run('UPDATE t SET n = 10');
        await tx.run('UPDATE t SET n = ?', [n + 1]);
      }, { mode: 'deferred' }));
      // The same again succeeds, on a new snapshot.
      await one.transaction(async (tx) => {
        const { n } = await tx.get('SELECT n FROM t');
        await tx.run('UPDATE t SET n = ?', [n + 1]);
      }, { mode: 'deferred' });
      return { conflict, rows: await two.all('SELECT n FROM t') };
    });
    assert.equal(found.conflict.code, 'Conflict');
    assert.equal(found.conflict.sqliteCode, 'SQLITE_BUSY_SNAPSHOT');
    assert.deepEqual(found.rows, [{ n: 11 }]);
  });

  test('four workers of the app, 25 contended transactions each: nothing is lost', bridgeOnly, async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('contended.db');
      await db.exec('CREATE TABLE counter(n); INSERT INTO counter VALUES (0); CREATE TABLE log(who, n)');
      const one = async (who) => {
        const port = await store.port();
        return inWorker(async (port, who) => {
          const store = await statik.open({ port });
          const db = store.sqlite.open('contended.db', { busyTimeoutMs: 60_000 });
          for (let index = 0; index < 25; index += 1) {
            db.transaction((tx) => {
              const { n } = tx.get('SELECT n FROM counter');
              tx.run('UPDATE counter SET n = ?', [n + 1]);
              tx.run('INSERT INTO log VALUES (?, ?)', [who, n + 1]);
            });
          }
          const mine = db.get('SELECT count(*) AS count FROM log WHERE who = ?', [who]).count;
          await store.close();
          return mine;
        }, [port, who], [port]);
      };
      const mine = await Promise.all([0, 1, 2, 3].map(one));
      return { mine, ...await db.get('SELECT n, (SELECT count(DISTINCT n) FROM log) AS different FROM counter'), ...await db.get('PRAGMA integrity_check') };
    });
    assert.deepEqual(found, { mine: [25, 25, 25, 25], n: 100, different: 100, integrity_check: 'ok' });
  });

  test('attached databases commit together, or not at all', async () => {
    const found = await place.run(async () => {
      const one = await openDatabase('one.db', { busyTimeoutMs: 20_000 });
      const two = await openDatabase('two.db');
      await one.exec('CREATE TABLE a(n); INSERT INTO a VALUES (0)');
      await two.exec('CREATE TABLE b(n); INSERT INTO b VALUES (0)');
      await one.exec("ATTACH 'two.db' AS other");
      const torn = [];
      let isDone = false;
      const write = (async () => {
        for (let index = 1; index <= 60; index += 1) {
          await one.transaction(async (tx) => {
            await tx.run('UPDATE a SET n = ?', [index]);
            await tx.run('UPDATE other.b SET n = ?', [index]);
          });
        }
        isDone = true;
      })();
      // SQLite begins to read its main database first, so what it reads of the other is as new, or newer.
      const readers = [['one.db', 'two.db', 'a', 'b'], ['two.db', 'one.db', 'b', 'a']].map(async ([main, attached, first, second]) => {
        const reader = await openDatabase(main);
        await reader.exec(`ATTACH '${attached}' AS other`);
        do {
          const { n, m } = await reader.get(`SELECT x.n, y.n AS m FROM main.${first} AS x, other.${second} AS y`);
          if (n > m) torn.push([main, n, m]);
        } while (!isDone);
      });
      await Promise.all([write, ...readers]);
      await failure(one.transaction(async (tx) => {
        await tx.run('UPDATE a SET n = -1');
        await tx.run('UPDATE other.b SET n = -1');
        throw new Error('thought better of it');
      }));
      return { torn, ...await one.get('SELECT a.n, b.n AS m FROM a, other.b') };
    });
    assert.deepEqual(found, { torn: [], n: 60, m: 60 });
  });

  test('a tab that is closed amid commits over two databases: both have every acknowledged one, and the same', async () => {
    const store = `torn-${place.mode}`;
    const first = await place.tab({ store });
    let acknowledged = 0;
    const enough = new Promise((resolve) => place.server.told.on('committed', (number) => {
      acknowledged = Math.max(acknowledged, number);
      if (acknowledged >= 20) resolve();
    }));
    await first.start(async () => {
      const one = await openDatabase('one.db');
      const two = await openDatabase('two.db');
      await one.exec('CREATE TABLE a(n)');
      await two.exec('CREATE TABLE b(n)');
      await two.close();
      const pooled = await openDatabase('one.db', { pool: { min: 2, max: 3 } });
      await pooled.exec("ATTACH 'two.db' AS other");
      for (let number = 1; ; number += 1) {
        await pooled.transaction(async (tx) => {
          await tx.run('INSERT INTO a VALUES (?)', [number]);
          await tx.run('INSERT INTO other.b VALUES (?)', [number]);
        });
        tell('committed', number);
      }
    });
    await enough;
    await first.close();
    place.server.told.removeAllListeners('committed');
    const second = await place.tab({ store });
    const found = await second.run(async () => {
      const store = await openStore({ waitMs: 20_000 });
      const one = await store.sqlite.open('one.db', { mustExist: true });
      const two = await store.sqlite.open('two.db', { mustExist: true });
      return {
        a: await one.get('SELECT count(*) AS count, max(n) AS most FROM a'), b: await two.get('SELECT count(*) AS count, max(n) AS most FROM b'),
        sound: [await one.get('PRAGMA integrity_check'), await two.get('PRAGMA integrity_check')].map(({ integrity_check: found }) => found),
      };
    });
    assert.deepEqual(found.a, found.b);
    assert.ok(found.a.count >= acknowledged, `${acknowledged} were acknowledged, ${found.a.count} are there`);
    assert.equal(found.a.most, found.a.count);
    assert.deepEqual(found.sound, ['ok', 'ok']);
  });

  test('a damaged log: read-only as of before the damage, refused, or cut there, as the app says; and never in silence', async () => {
    const store = `damaged-${place.mode}`;
    const first = await place.tab({ store });
    const written = await first.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('log.db');
      await db.exec("CREATE TABLE t(a); INSERT INTO t VALUES ('before')");
      await db.run("INSERT INTO t VALUES ('to be damaged')");
      for (let index = 0; index < 5; index += 1) await db.run("INSERT INTO t VALUES ('after')");
      return (await store.metrics()).log;
    });
    await first.close();
    const second = await place.tab({ store });
    const found = await second.run(async () => {
      const events = [];
      const reopen = (options) => openStore({ waitMs: 20_000, onEvent: (event) => event.type === 'mode' || events.push(event), ...options });
      const name = new URL(location.href).searchParams.get('store');
      // The tab before lets go of its files when it lets go of the store.
      await navigator.locks.request(`statik:${name}`, () => {});
      const root = await navigator.storage.getDirectory();
      const folder = await (await (await root.getDirectoryHandle('statik')).getDirectoryHandle(name)).getDirectoryHandle('.statik');
      let isFound = false;
      for (const log of ['log-a', 'log-b']) {
        const handle = await folder.getFileHandle(log);
        const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
        const at = new TextDecoder('latin1').decode(bytes).indexOf('to be damaged');
        if (at === -1) continue;
        isFound = true;
        bytes[at] ^= 1;
        const writable = await handle.createWritable();
        await writable.write(bytes);
        await writable.close();
      }
      const refused = await failure(reopen({ recover: 'refuse' }));
      const look = async (store) => {
        const db = await store.sqlite.open('log.db', { mustExist: true });
        const rows = (await db.all('SELECT a FROM t')).map(({ a }) => a);
        const written = await db.run("INSERT INTO t VALUES ('new')").then(({ changes }) => changes, ({ code }) => code);
        await store.close();
        return { rows, written };
      };
      const readOnly = await look(await reopen({}));
      const cut = await look(await reopen({ recover: 'truncate' }));
      const seen = events.length;
      const sound = await look(await reopen({}));
      return { isFound, refused: refused.code, readOnly, cut, events: events.slice(0, seen), later: events.slice(seen), sound };
    });
    assert.ok(written.bytes > 0 && found.isFound, 'the log still has what is damaged');
    assert.equal(found.refused, 'Corrupt');
    assert.deepEqual(found.readOnly, { rows: ['before'], written: 'ReadOnly' });
    assert.deepEqual(found.cut, { rows: ['before'], written: 1 });
    assert.deepEqual([found.sound, found.later], [{ rows: ['before', 'new'], written: 1 }, []]);
    assert.deepEqual(found.events.map(({ type }) => type), ['damaged', 'damaged']);
    for (const { file, offset, sequence, filesAhead, reason } of found.events) {
      assert.match(file, /^\.statik\/log-[ab]$/);
      assert.ok(offset > 0 && sequence > 0 && sequence < written.newest, JSON.stringify(found.events));
      // It is the log that a checkpoint would have copied.
      assert.ok(filesAhead && /may be a mix; .*copied to/.test(reason), reason);
    }
  });

  test('after a checkpoint, and after closing, the file is one that sqlite3 opens', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('plain.db', { synchronous: 'normal' });
      await db.exec('CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) SELECT i FROM n');
      const before = (await store.metrics()).log;
      await db.checkpoint();
      const after = (await store.metrics()).log;
      await db.run('INSERT INTO t VALUES (-1)');
      await store.close();
      const root = await navigator.storage.getDirectory();
      const folder = await (await root.getDirectoryHandle('statik')).getDirectoryHandle(store.name);
      const file = await (await folder.getFileHandle('plain.db')).getFile();
      await fetch('/files/plain', { method: 'PUT', body: await file.arrayBuffer() });
      return { before, after };
    });
    assert.ok(found.before.bytes > 0, JSON.stringify(found.before));
    assert.equal(found.after.bytes, 0);
    assert.equal(found.after.checkpointed, found.after.newest);
    const file = saveDatabase(place.server.files.get('plain'));
    assert.deepEqual(sqlite3(file, 'PRAGMA integrity_check; SELECT count(*), min(a), max(a) FROM t;'), ['ok', '2001|-1|2000']);
  });
});
