/** More than one tab, reloads, and browsers that refuse OPFS. */
import assert from 'node:assert/strict';
import { describe, test, before, after } from 'node:test';
import { Browser } from './browsers.mjs';
import { BROWSERS, matrix, Place, ROOTS } from './matrix.mjs';
import { Server } from './server.mjs';

matrix('tabs', (place) => {
  test('what was committed is there after a reload', async () => {
    const tab = await place.tab();
    await tab.run(async () => {
      const db = await openDatabase('reload.db');
      await db.exec('CREATE TABLE t(a)');
      await db.transaction(async (tx) => {
        for (let index = 0; index < 100; index += 1) await tx.run('INSERT INTO t VALUES (?)', [index]);
      });
      await db.run("INSERT INTO t VALUES ('last')");
      // Left open: a person does not close databases.
    });
    for (let round = 0; round < 3; round += 1) {
      await tab.reload();
      const found = await tab.run(async () => {
        const db = await openDatabase('reload.db', { mustExist: true });
        const counted = await db.get("SELECT count(*) AS count, sum(a) AS sum, max(a = 'last') AS last FROM t");
        return { ...counted, ...await db.get('PRAGMA integrity_check') };
      });
      assert.deepEqual(found, { count: 101, sum: 4950, last: 1, integrity_check: 'ok' });
    }
  });

  test('a reload in the middle of a transaction leaves nothing of it', async () => {
    const tab = await place.tab();
    await tab.run(async () => {
      const db = await openDatabase('middle.db', { cacheKib: 1 });
      await db.exec("CREATE TABLE t(a); INSERT INTO t VALUES ('before')");
      await db.exec('BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) INSERT INTO t SELECT randomblob(1000) FROM n');
    });
    await tab.reload();
    const found = await tab.run(async () => {
      const db = await openDatabase('middle.db');
      return { rows: await db.all('SELECT a FROM t'), ...await db.get('PRAGMA integrity_check') };
    });
    assert.deepEqual(found, { rows: [{ a: 'before' }], integrity_check: 'ok' });
  });

  test('a second tab gets Busy, in words a person understands', async () => {
    const first = await place.tab();
    await first.run(async () => void await openDatabase('a.db'));
    const second = await place.tab({ store: first.store });
    const busy = await second.run(() => failure(openStore({ waitMs: 200 })));
    assert.equal(busy.code, 'Busy');
    assert.ok(busy.isStatikError);
    assert.match(busy.message, /tab/);
    assert.match(busy.message, new RegExp(first.store));
    const otherStore = await second.run(async () => (await statik.open({ name: 'another' })).storage);
    assert.equal(otherStore, 'opfs', 'another store is free');
  });

  test('the store is free once the first tab is closed, for one that waits and for one that comes later', async () => {
    const first = await place.tab();
    await first.run(async () => (await openDatabase('a.db')).exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)'));
    const second = await place.tab({ store: first.store });
    const waiting = second.run(async () => {
      tell('waiting');
      const db = await (await openStore({ waitMs: 60_000 })).sqlite.open('a.db');
      return db.all('SELECT a FROM t');
    });
    await new Promise((resolve) => place.server.told.once('waiting', resolve));
    await first.close();
    assert.deepEqual(await waiting, [{ a: 1 }]);
    await second.close();
    const third = await place.tab({ store: first.store });
    assert.deepEqual(await third.run(async () => (await openDatabase('a.db')).all('SELECT a FROM t')), [{ a: 1 }]);
  });

  test('the store is free as soon as close has resolved', async () => {
    const found = await place.run(async () => {
      const codes = [];
      for (let round = 0; round < 3; round += 1) {
        const store = await openStore({ waitMs: 0 });
        codes.push((await failure(openStore({ waitMs: 0 }))).code);
        await store.close();
      }
      return codes;
    });
    assert.deepEqual(found, ['Busy', 'Busy', 'Busy']);
  });

  test('a store can be closed while its workers are still starting', async () => {
    const found = await place.run(async () => {
      for (let round = 0; round < 3; round += 1) await (await openStore({ waitMs: 0 })).close();
      const store = await openStore({ waitMs: 0 });
      const opening = store.sqlite.open('a.db').then(() => 'opened', ({ code }) => code);
      await store.close();
      return opening;
    });
    assert.ok(found === 'opened' || found === 'Closed', found);
  });

  test('OPFS switched off: Unsupported, or memory with an event, and never a silent empty database', async () => {
    const found = await place.run(async () => {
      const refused = await failure(openStore({ opfs: false }));
      const events = [];
      const store = await openStore({ opfs: false, fallback: 'memory', onEvent: (event) => events.push(event) });
      const db = await store.sqlite.open('memory.db');
      await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
      const other = await store.sqlite.open('memory.db');
      return {
        refused, events: events.filter(({ type }) => type === 'fallback'), storage: store.storage, status: (await store.status()).storage,
        rows: await other.all('SELECT a FROM t'), list: (await store.sqlite.list()).map(({ name }) => name),
      };
    });
    assert.equal(found.refused.code, 'Unsupported');
    assert.match(found.refused.message, /OPFS|origin private file system/i);
    assert.equal(found.events.length, 1);
    assert.deepEqual([found.events[0].storage, found.storage, found.status], ['memory', 'memory', 'memory']);
    assert.ok(found.events[0].reason.length > 10, found.events[0].reason);
    assert.deepEqual(found.rows, [{ a: 1 }]);
    assert.deepEqual(found.list, ['memory.db']);
  });

  test('options in the page\'s URL count only where the app asks for them', async () => {
    const tab = await place.tab();
    await tab.load(`${place.server.origin}/?store=${tab.store}&statik.opfs=off&statik.mode=direct`);
    const found = await tab.run(async () => {
      const ignoring = await openStore();
      const { mode, storage } = ignoring;
      await ignoring.close();
      const refused = await failure(openStore({ urlOptions: true }));
      const heeding = await openStore({ urlOptions: true, fallback: 'memory' });
      return { mode, storage, refused: refused.code, heeding: [heeding.mode, heeding.storage] };
    });
    assert.deepEqual(found, { mode: place.mode, storage: 'opfs', refused: 'Unsupported', heeding: ['direct', 'memory'] });
  });
});

describe('a private window of Firefox', { skip: !BROWSERS.includes('firefox') && 'Firefox is not among the browsers' }, () => {
  const places = [];
  before(async () => {
    const browser = await Browser.launch('firefox', { preferences: { 'browser.privatebrowsing.autostart': true } });
    for (const mode of ['bridge', 'direct']) {
      const place = new Place(browser, mode);
      place.server = await Server.start({ isolated: mode === 'bridge', roots: ROOTS });
      places.push(place);
    }
  });
  after(async () => {
    for (const place of places) await place.server.close();
    await places[0]?.browser.close();
  });

  test('works on OPFS if the browser gives it, or says that it does not', async () => {
    for (const place of places) {
      const found = await place.run(async () => {
        const isGiven = await navigator.storage.getDirectory().then(() => true, () => false);
        const plain = await openStore().then(async (store) => {
          await store.close();
          return store.storage;
        }, ({ code }) => code);
        const events = [];
        const store = await openStore({ fallback: 'memory', onEvent: ({ type }) => events.push(type) });
        const db = await store.sqlite.open('private.db');
        await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)');
        return { isGiven, plain, storage: store.storage, hasEvent: events.includes('fallback'), rows: await db.all('SELECT a FROM t') };
      });
      const { isGiven, ...rest } = found;
      assert.deepEqual(rest, isGiven
        ? { plain: 'opfs', storage: 'opfs', hasEvent: false, rows: [{ a: 1 }] }
        : { plain: 'Unsupported', storage: 'memory', hasEvent: true, rows: [{ a: 1 }] });
      await place.closeTabs();
    }
  });
});
