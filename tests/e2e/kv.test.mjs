/**
 * The key-value adapters' contract in real browsers: SQLite on OPFS from the page and from a worker of the app's own, and
 * IndexedDB from there and from a service worker.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build } from 'esbuild';
import { CHECKOUT, matrix } from './matrix.mjs';

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

  test('IndexedDB, from a service worker', async (t) => {
    place.server.files.set('kv-worker.js', await serviceWorker());
    judge(t, await place.run(async () => {
      const registration = await navigator.serviceWorker.register('/files/kv-worker.js');
      const worker = registration.installing ?? registration.waiting ?? registration.active;
      const { port1, port2 } = new MessageChannel();
      const answer = new Promise((resolve) => {
        port1.onmessage = ({ data }) => resolve(data);
      });
      worker.postMessage(null, [port2]);
      const { value, error } = await answer;
      await registration.unregister();
      if (error) throw Object.assign(new Error(error.message), error);
      return value;
    }));
  });

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

/** A service worker as one script that is no module, since not every browser takes those; it runs the contract once. */
async function serviceWorker() {
  const contents = `
    import { IdbStorageAdapter } from './dist/kv.js';
    import { initializeDatabases } from './dist/databases.js';
    import { runContract } from './tests/kv/contract.mjs';
    import { settle } from './tests/e2e/web/settle.js';
    const run = async () => {
      const databases = await initializeDatabases({ name: crypto.randomUUID(), fallback: 'error', wasm: new URL('/statik/records_bg.wasm', location.origin) });
      return runContract('service worker', { create: (options) => new IdbStorageAdapter({ databases, ...options }), database: (label) => label });
    };
    addEventListener('message', (event) => event.waitUntil(settle(run).then((ended) => event.ports[0].postMessage(ended))));
  `;
  // Without a module there is no import.meta, and the WebAssembly is named instead.
  const { outputFiles: [output] } = await build({ stdin: { contents, resolveDir: CHECKOUT }, bundle: true, format: 'iife', target: 'es2022', write: false, logOverride: { 'empty-import-meta': 'silent' } });
  return Buffer.from(output.contents);
}
