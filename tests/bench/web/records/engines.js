/**
 * What keeps records: Statik, Dexie, idb, and IndexedDB bare, to show what there is to lose. Each does a thing as its own
 * documentation would have it.
 *
 * `open(name, indexes)` makes a fresh database with a store of records by their `id`, and resolves to: `bulk(records)` adds
 * all of them together; `singles(records)` puts each by a call of its own, issued together; `between(index, lower, upper)`
 * and `all()` answer records; `count()`; `names()` are the databases that are its own; `close()`. Statik has `episodes` and
 * `recall`, for which the others have `bulk` and `between`. An index is a property, with `*` before it if each of its
 * elements is a key.
 */
import Dexie from '/node_modules/dexie/dist/modern/dexie.mjs';
import { openDB } from '/node_modules/idb/build/index.js';
import { initializeDatabases } from '/dist/databases.js';

const STORE = 'records';

function createStore(database, indexes) {
  const store = database.createObjectStore(STORE, { keyPath: 'id' });
  for (const index of indexes) {
    const path = index.replace('*', '');
    store.createIndex(path, path, { multiEntry: path !== index });
  }
}

async function openStatik(name, indexes, options = {}) {
  const databases = await initializeDatabases({ name, fallback: 'error', ...options });
  const idb = await databases.database('records', [{ version: 1, name: 'store', checksum: '1', upgrade: (database) => createStore(database, indexes) }]);
  return {
    bulk: (records) => idb.write(records.map((add) => ({ store: STORE, add }))),
    singles: (records) => Promise.all(records.map((record) => idb.put(STORE, record))),
    episodes: (records) => databases.memory.storeEpisodes(records),
    between: async (index, lower, upper) => (await idb.query(STORE, { index, range: { lower, upper } })).items,
    recall: async (from, to) => (await databases.memory.queryEpisodes({ from, to, order: 'asc', limit: to - from + 1 })).items,
    all: async () => (await idb.query(STORE)).items,
    count: async () => (await idb.count(STORE)) + (await databases.memory.countEpisodes()),
    names: () => ['records', 'statik_memory', 'statik_state', 'statik_logs'].map((each) => `${each}@${name}`),
    close: () => databases.close(),
  };
}

/** As an app with a key of its own has it: what a passphrase takes to become one is no part of reading and writing. */
async function openSealed(name, indexes) {
  const key = await crypto.subtle.generateKey({ name: 'AES-KW', length: 256 }, false, ['wrapKey', 'unwrapKey']);
  return openStatik(name, indexes, { encryption: { key } });
}

async function openDexie(name, indexes) {
  const db = new Dexie(name);
  db.version(1).stores({ [STORE]: ['id', ...indexes].join(', ') });
  await db.open();
  const table = db.table(STORE);
  return {
    bulk: (records) => table.bulkAdd(records),
    singles: (records) => Promise.all(records.map((record) => table.put(record))),
    between: (index, lower, upper) => table.where(index).between(lower, upper, true, true).toArray(),
    all: () => table.toArray(),
    count: () => table.count(),
    names: () => [name],
    close: () => db.close(),
  };
}

async function openIdb(name, indexes) {
  const db = await openDB(name, 1, { upgrade: (database) => createStore(database, indexes) });
  return {
    async bulk(records) {
      const tx = db.transaction(STORE, 'readwrite');
      for (const record of records) tx.store.add(record);
      await tx.done;
    },
    singles: (records) => Promise.all(records.map((record) => db.put(STORE, record))),
    between: (index, lower, upper) => db.getAllFromIndex(STORE, index, IDBKeyRange.bound(lower, upper)),
    all: () => db.getAll(STORE),
    count: () => db.count(STORE),
    names: () => [name],
    close: () => db.close(),
  };
}

const answered = (request) => new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));

async function openBare(name, indexes) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => createStore(opening.result, indexes);
  const db = await answered(opening);
  const read = (ask) => answered(ask(db.transaction(STORE).objectStore(STORE)));
  const written = (records, verb) =>
    new Promise((resolve, reject) => {
      const tx = db.transaction(STORE, 'readwrite', { durability: 'relaxed' });
      const store = tx.objectStore(STORE);
      for (const record of records) store[verb](record);
      tx.commit();
      Object.assign(tx, { oncomplete: resolve, onabort: () => reject(tx.error) });
    });
  return {
    bulk: (records) => written(records, 'add'),
    singles: (records) => Promise.all(records.map((record) => written([record], 'put'))),
    between: (index, lower, upper) => read((store) => store.index(index).getAll(IDBKeyRange.bound(lower, upper))),
    all: () => read((store) => store.getAll()),
    count: () => read((store) => store.count()),
    names: () => [name],
    close: () => db.close(),
  };
}

/** @type {Record<string, (name: string, indexes: string[]) => Promise<object>>} */
export const open = { statik: openStatik, sealed: openSealed, dexie: openDexie, idb: openIdb, bare: openBare };
