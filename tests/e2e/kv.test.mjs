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
    const { codec } = await import('/kv/codec.mjs');
    const { runContract } = await import('/kv/contract.mjs');
    const { sqlite } = await openStore();
    return runContract('page', { create: (options) => new SqliteStorageAdapter({ sqlite, codec, ...options }), database: (label) => `${label}.db` });
  })));

  test('SQLite on OPFS, from a worker', async (t) => judge(t, await place.run(() => inWorker(async () => {
    const { SqliteStorageAdapter } = await import('/statik/kv.js');
    const { codec } = await import('/kv/codec.mjs');
    const { labels, runContract } = await import('/kv/contract.mjs');
    const database = (label) => `${label}.db`;
    // In direct mode databases are named when the store is opened.
    const { sqlite } = await openStore({ databases: labels(['', 'a', 'b', 'c']).map(database) });
    return runContract('worker', { create: (options) => new SqliteStorageAdapter({ sqlite, codec, ...options }), database });
  }))));

  test('IndexedDB', async (t) => judge(t, await place.run(async () => {
    const { IdbStorageAdapter, KV_STORES } = await import('/statik/kv.js');
    const { codec } = await import('/kv/codec.mjs');
    const { runContract } = await import('/kv/contract.mjs');
    const { openIdb } = await import('/kv/idb.mjs');
    const prefix = new URL(location.href).searchParams.get('store');
    return runContract('IndexedDB', { create: (options) => new IdbStorageAdapter({ codec, open: (name) => openIdb(globalThis, name, KV_STORES), ...options }), database: (label) => `${prefix} ${label}` });
  })));
});
