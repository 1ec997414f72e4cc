/**
 * A full disk, as the browser plays it: Chrome's debugging protocol sets a quota, Firefox has a preference. Writing on fails
 * with `Quota`, what was committed stays, and with room again writing goes on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix, MODES } from './matrix.mjs';

const QUOTA_BYTES = 10 * 1024 * 1024;

/** In KiB and for all sites; one may have a fifth of it, and at least 10 MiB. */
const FIREFOX_PREFERENCES = { 'dom.quotaManager.temporaryStorage.fixedLimit': QUOTA_BYTES / 1024 * 4 };

/** In the page: fills the store until it is full. */
async function fill() {
  const store = await openStore();
  const ballast = await store.sqlite.open('ballast.db');
  await ballast.exec('CREATE TABLE t(a); INSERT INTO t SELECT randomblob(3000000)');
  await ballast.close();
  const db = await store.sqlite.open('full.db', { cacheKib: 512 });
  await db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, a)');
  let committed = 0;
  let failed;
  while (!failed && committed < 200) {
    await db.transaction(async (tx) => {
      for (let index = 0; index < 4; index += 1) await tx.run('INSERT INTO t(a) VALUES (randomblob(65536))');
    }).then(() => committed += 4, async (error) => failed = await failure(Promise.reject(error)));
  }
  const large = await failure(db.run('INSERT INTO t(a) VALUES (randomblob(20000000))'));
  const importing = await failure(store.sqlite.import('import.db', new Blob([await bytesOf(await db.export()), new Uint8Array(20_000_000)])));
  const rows = await db.get('SELECT count(*) AS count, min(length(a)) AS least, max(length(a)) AS most FROM t');
  const integrity = await db.get('PRAGMA integrity_check');
  return { committed, failed, large, importing, rows, integrity, list: (await store.sqlite.list()).map(({ name }) => name).sort() };
}

function check(found) {
  assert.ok(found.committed > 0, 'something was committed before');
  for (const failure of [found.failed, found.large, found.importing]) {
    assert.equal(failure?.code, 'Quota', JSON.stringify(failure));
    assert.ok(failure.isStatikError && failure.message.length > 20, failure.message);
  }
  // A write that was posted is found to have failed by the flush behind it.
  assert.match(found.failed.sqliteCode, /^SQLITE_(FULL|IOERR_\w+)$/);
  assert.deepEqual(found.rows, { count: found.committed, least: 65_536, most: 65_536 });
  assert.deepEqual(found.integrity, { integrity_check: 'ok' });
  assert.deepEqual(found.list, ['ballast.db', 'full.db']);
}

/** In the page, on a new load: what was committed, and one more. */
async function goOn(isDeleting) {
  const store = await openStore();
  const db = await store.sqlite.open('full.db', { mustExist: true });
  const before = await db.get('SELECT count(*) AS count FROM t');
  if (isDeleting) await store.sqlite.delete('ballast.db');
  const { changes } = await db.run('INSERT INTO t(a) VALUES (randomblob(1000000))');
  return { before: before.count, changes, ...await db.get('PRAGMA integrity_check') };
}

matrix('quota', (place) => {
  test('a full store fails with Quota and loses nothing; with more room it goes on', async () => {
    const tab = await place.tab();
    const protocol = await tab.page.createCDPSession();
    const { origin } = place.server;
    await protocol.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: QUOTA_BYTES });
    const found = await tab.run(fill);
    check(found);
    await protocol.send('Storage.overrideQuotaForOrigin', { origin });
    await tab.reload();
    assert.deepEqual(await tab.run(goOn, false), { before: found.committed, changes: 1, integrity_check: 'ok' });
  });
}, { browsers: ['chrome'] });

// Firefox counts all ports of a host as one site, so each mode has a browser of its own.
for (const mode of MODES) {
  matrix('quota', (place) => {
    test('a full store fails with Quota and loses nothing; with something deleted it goes on', async () => {
      const tab = await place.tab();
      const found = await tab.run(fill);
      check(found);
      await tab.reload();
      assert.deepEqual(await tab.run(goOn, true), { before: found.committed, changes: 1, integrity_check: 'ok' });
    });
  }, { browsers: ['firefox'], modes: [mode], launch: { preferences: FIREFOX_PREFERENCES } });
}
