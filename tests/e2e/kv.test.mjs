/**
 * The key-value adapters' contract in real browsers: SQLite on OPFS from the page and from a worker of the app's own, and
 * IndexedDB.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

/** The contract has not become empty unseen. */
const CASES = 38;

matrix('key-value adapters', (place) => {
  const judge = (t, { passed, failed }) => {
    t.diagnostic(`${passed} cases`);
    assert.deepEqual(failed, []);
    assert.ok(passed >= CASES, `${passed} cases ran, of ${CASES}`);
  };

  test('SQLite on OPFS, from the page', async (t) => judge(t, await place.run(async () => {
    const { SqliteStorageAdapter } = await import('/statik/kv.js');
    const { runContract } = await import('/kv/contract.mjs');
    const { sqlite } = await openStore();
    return runContract('page', { create: (options) => new SqliteStorageAdapter({ sqlite, ...options }), database: (label) => `${label}.db` });
  })));

  test('SQLite on OPFS, from a worker', async (t) => judge(t, await place.run(() => inWorker(async () => {
    const { SqliteStorageAdapter } = await import('/statik/kv.js');
    const { labels, runContract } = await import('/kv/contract.mjs');
    const database = (label) => `${label}.db`;
    // In direct mode databases are named when the store is opened.
    const { sqlite } = await openStore({ databases: labels(['', 'a', 'b', 'c']).map(database) });
    return runContract('worker', { create: (options) => new SqliteStorageAdapter({ sqlite, ...options }), database });
  }))));

  test('IndexedDB', async (t) => judge(t, await place.run(inIndexedDb)));

  test('IndexedDB, from a worker', async (t) => judge(t, await place.run((source) => inWorker(source), inIndexedDb.toString())));
});

/** In a page or worker. Databases are named by chance: those of a page before may lie there still. */
async function inIndexedDb() {
  const { IdbStorageAdapter } = await import('/statik/kv.js');
  const { initializeDatabases } = await import('/statik/databases.js');
  const { runContract } = await import('/kv/contract.mjs');
  const databases = await initializeDatabases({ name: crypto.randomUUID(), fallback: 'error' });
  return runContract('IndexedDB', { create: (options) => new IdbStorageAdapter({ databases, ...options }), database: (label) => label });
}
