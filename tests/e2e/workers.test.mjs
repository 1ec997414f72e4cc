/** Several connections, and what happens when a worker dies: calls fail with `Closed`, locks are released, nothing hangs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS count FROM n';

matrix('workers', (place) => {
  test('four connections incrementing one counter lose nothing', async () => {
    const found = await place.run(async () => {
      const connections = [];
      for (let index = 0; index < 4; index += 1) connections.push(await openDatabase('counter.db', { busyTimeoutMs: 60_000 }));
      await connections[0].exec('CREATE TABLE counter(n); INSERT INTO counter VALUES (0); CREATE TABLE log(who, n)');
      const mine = await Promise.all(connections.map(async (db, who) => {
        for (let index = 0; index < 50; index += 1) {
          await db.transaction(async (tx) => {
            const { n } = await tx.get('SELECT n FROM counter');
            await tx.run('UPDATE counter SET n = ?', [n + 1]);
            await tx.run('INSERT INTO log VALUES (?, ?)', [who, n + 1]);
          });
        }
        return db.get('SELECT count(*) AS count FROM log WHERE who = ?', [who]);
      }));
      const last = connections[3];
      return {
        mine: mine.map(({ count }) => count),
        ...await last.get('SELECT n FROM counter'),
        ...await last.get('SELECT count(DISTINCT n) AS different, max(n) AS most FROM log'),
        ...await last.get('PRAGMA integrity_check'),
        engines: workers.filter(({ name }) => name.startsWith('engine')).length,
      };
    });
    const { engines, ...rest } = found;
    assert.deepEqual(rest, { mine: [50, 50, 50, 50], n: 200, different: 200, most: 200, integrity_check: 'ok' });
    assert.ok(place.mode === 'bridge' ? engines >= 4 : engines === 1, `${engines} engine workers`);
  });

  test('connections see what others commit, and not what they have not', async () => {
    const found = await place.run(async () => {
      const one = await openDatabase('seen.db');
      const two = await openDatabase('seen.db');
      await one.exec('CREATE TABLE t(a)');
      const count = async () => (await two.get('SELECT count(*) AS count FROM t')).count;
      const seen = [await count()];
      await one.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (1)');
        seen.push(await count());
      });
      seen.push(await count());
      await one.exec('ALTER TABLE t ADD COLUMN b');
      return { seen, columns: Object.keys(await two.get('SELECT * FROM t')) };
    });
    assert.deepEqual(found, { seen: [0, 0, 1], columns: ['a', 'b'] });
  });

  test('a writer waits for the other\'s lock as long as it was told', async () => {
    const found = await place.run(async () => {
      const holder = await openDatabase('wait.db');
      await holder.exec('CREATE TABLE t(a)');
      const patient = await openDatabase('wait.db', { busyTimeoutMs: 30_000 });
      const hasty = await openDatabase('wait.db', { busyTimeoutMs: 100 });
      let written;
      const busy = await holder.transaction(async (tx) => {
        await tx.run("INSERT INTO t VALUES ('holder')");
        written = patient.run("INSERT INTO t VALUES ('patient')");
        return failure(hasty.run("INSERT INTO t VALUES ('hasty')"));
      });
      await written;
      return { busy, rows: (await holder.all('SELECT a FROM t')).map(({ a }) => a) };
    });
    assert.equal(found.busy.code, 'Busy');
    assert.equal(found.busy.sqliteCode, 'SQLITE_BUSY');
    assert.deepEqual(found.rows, ['holder', 'patient']);
  });

  test('an engine terminated in the middle of a call: that call and later ones fail with Closed', async () => {
    const found = await place.run(async (endless) => {
      const { promise: died, resolve } = Promise.withResolvers();
      const store = await openStore({ onEvent: (event) => event.type === 'died' && resolve(event) });
      const db = await store.sqlite.open('killed.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
      const inFlight = failure(db.all(endless));
      const queued = failure(db.all('SELECT 2'));
      workers.find(({ name }) => name.startsWith('engine')).worker.terminate();
      const result = { inFlight: await inFlight, queued: await queued, event: await died, later: await failure(db.all('SELECT 1')) };
      await db.close();
      return result;
    }, ENDLESS);
    for (const failure of [found.inFlight, found.queued, found.later]) assert.equal(failure.code, 'Closed', JSON.stringify(failure));
    assert.equal(found.event.worker, 'engine');
    assert.ok(found.event.reason.length > 5);
  });

  test('locks of a killed engine are released, and its open transaction is rolled back', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      let db = await store.sqlite.open('locks.db', { cacheKib: 1 });
      const other = store.mode === 'bridge' ? await store.sqlite.open('locks.db', { busyTimeoutMs: 20_000 }) : undefined;
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (0)');
      const failed = failure(db.transaction(async (tx) => {
        // More than the cache holds, so that pages, and the exclusive lock, reach the file.
        await tx.run('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) INSERT INTO t SELECT randomblob(1000) FROM n');
        workers.find(({ name }) => name.startsWith('engine')).worker.terminate();
        await tx.run('INSERT INTO t VALUES (1)');
      }));
      const { code } = await failed;
      let survivor = other;
      if (!other) {
        // Direct mode has one engine: with it, the store is gone, and can be had again.
        await store.close();
        survivor = await (await openStore()).sqlite.open('locks.db');
      }
      const { changes } = await survivor.run('INSERT INTO t VALUES (2)');
      return { code, changes, rows: await survivor.all('SELECT a FROM t'), ...await survivor.get('PRAGMA integrity_check') };
    });
    assert.deepEqual(found, { code: 'Closed', changes: 1, rows: [{ a: 0 }, { a: 2 }], integrity_check: 'ok' });
  });

  test('databases can be opened again after their engine died', { skip: place.mode === 'direct' && 'its one engine is the store' }, async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const db = await store.sqlite.open('again.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
      for (const { name, worker } of workers) if (name.startsWith('engine')) worker.terminate();
      await failure(db.all('SELECT 1'));
      const again = await store.sqlite.open('again.db');
      const rows = await again.all('SELECT a FROM t');
      await again.close();
      await store.sqlite.delete('again.db');
      return { rows, list: await store.sqlite.list() };
    });
    assert.deepEqual(found, { rows: [{ a: 1 }], list: [] });
  });

  test('the worker with the files terminated: everything fails with Closed, and the store can be opened again', async () => {
    const found = await place.run(async (endless) => {
      const { promise: died, resolve } = Promise.withResolvers();
      const store = await openStore({ onEvent: (event) => event.type === 'died' && resolve(event) });
      const owner = store.mode === 'bridge' ? 'io' : 'engine';
      const db = await store.sqlite.open('io.db');
      const other = await store.sqlite.open('io.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
      const inFlight = [failure(db.all(endless)), failure(other.run('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT randomblob(1000) FROM n'))];
      workers.find(({ name }) => name.startsWith(owner)).worker.terminate();
      const codes = (await Promise.all(inFlight)).map(({ code }) => code);
      const event = await died;
      const later = [await failure(db.all('SELECT 1')), await failure(store.sqlite.open('new.db')), await failure(store.sqlite.list()), await failure(store.metrics())];
      await store.close();
      const again = await openStore({ waitMs: 20_000 });
      const reopened = await again.sqlite.open('io.db');
      return { owner, codes, event: event.worker, later: later.map(({ code }) => code), rows: await reopened.all('SELECT a FROM t'), ...await reopened.get('PRAGMA integrity_check') };
    }, ENDLESS);
    assert.deepEqual(found, { owner: found.owner, codes: ['Closed', 'Closed'], event: found.owner, later: ['Closed', 'Closed', 'Closed', 'Closed'], rows: [{ a: 1 }], integrity_check: 'ok' });
  });

  test('engines are reused and let go: opening often does not pile up workers', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      for (let index = 0; index < 12; index += 1) {
        const db = await store.sqlite.open(`${index % 3}.db`);
        await db.exec('CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES (1)');
        await db.close();
      }
      const held = (await navigator.locks.query()).held.map(({ name }) => name);
      return { started: workers.length, held: held.length, list: (await store.sqlite.list()).length };
    });
    assert.equal(found.list, 3);
    assert.ok(found.started <= 4, `${found.started} workers were started`);
    assert.ok(found.held <= 4, `${found.held} locks are held`);
  });

  test('workers that cannot be loaded are a failure that says so', async () => {
    const tab = await place.tab();
    tab.expected = /^Error: Loading Worker from/;
    const found = await tab.run(async () => [
      await failure(openStore({ workersUrl: '/nowhere/' })),
      await failure(openStore({ wasmUrl: '/nowhere.wasm' })),
      await failure(openStore({ workersUrl: 'https://elsewhere.example/' })),
      (await openStore({ workersUrl: '/statik/', wasmUrl: '/statik/statik_bg.wasm' })).storage,
    ]);
    assert.equal(found[0].code, 'Io');
    assert.equal(found[1].code, 'Io');
    assert.match(found[1].message, /nowhere\.wasm/);
    assert.equal(found[2].code, 'Invalid');
    assert.equal(found[3], 'opfs');
  });
});
