/**
 * IndexedDB databases as JSON: what a database of some past version is, to the last index, frozen in samples/.
 *
 *   { name, version, stores: [{ name, keyPath, autoIncrement, indexes: [{ name, keyPath, multiEntry, unique }], keys, values }] }
 *
 * Keys and values are in the codec's form. Invariant: what is restored is what was taken, number for number.
 */
import { readFileSync } from 'node:fs';
import { decodeTree, encodeTree, openRaw, request } from './place.mjs';

/** A database as it is now, to be frozen. */
export async function take(factory, name) {
  const database = await openRaw(factory, name);
  const stores = [];
  for (const each of database.objectStoreNames) {
    const store = database.transaction(each).objectStore(each);
    const indexes = [...store.indexNames].map((index) => store.index(index)).map(({ name, keyPath, multiEntry, unique }) => ({ name, keyPath, multiEntry, unique }));
    const [keys, values] = await Promise.all([request(store.getAllKeys()), request(store.getAll())]);
    stores.push({ name: each, keyPath: store.keyPath, autoIncrement: store.autoIncrement, indexes, keys: encodeTree(keys), values: encodeTree(values) });
  }
  const { version } = database;
  database.close();
  return JSON.parse(JSON.stringify({ name, version, stores }));
}

/** A frozen database, as in samples/<file>.json. */
export function sample(file) {
  return JSON.parse(readFileSync(new URL(`samples/${file}.json`, import.meta.url), 'utf8'));
}

/** Puts a frozen database into a factory, which must not have it. */
export async function restore(factory, frozen) {
  // Decoding makes values of the very tree.
  const { name, version, stores } = structuredClone(frozen);
  const database = await openRaw(factory, name, version, (created) => {
    for (const { name, keyPath, autoIncrement, indexes, keys, values } of stores) {
      const store = created.createObjectStore(name, { keyPath, autoIncrement });
      for (const { name, keyPath, multiEntry, unique } of indexes) store.createIndex(name, keyPath, { multiEntry, unique });
      const places = decodeTree(keys);
      for (const [at, value] of decodeTree(values).entries()) store.put(value, ...(keyPath === null ? [places[at]] : []));
    }
  });
  database.close();
}
