/**
 * Where the tests of the databases run: the built package, on an IndexedDB in memory that stands in for the browser's.
 *
 * Invariant: each factory is a world of its own; who opens databases closes them when the test ends.
 */
import { readFileSync } from 'node:fs';
import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { Databases, initializeDatabases, request, StatikError } from '../../dist/databases.js';
import { load } from '../sdk/load.mjs';

globalThis.IDBKeyRange = IDBKeyRange;

export { IDBFactory, IDBKeyRange, initializeDatabases, request, StatikError };

export const { encodeTree, decodeTree } = await load("export * from './codec.js'");

/** Printed with what fails, so that it can be had again. */
export const SEED = 20260401;

export const WASM = new WebAssembly.Module(readFileSync(new URL('../../dist/records_bg.wasm', import.meta.url)));

/**
 * The databases in a factory, as one tab has them. `events` is what the tab was told.
 * @param {import('node:test').TestContext} context
 * @param {object} [options]
 * @returns {Promise<Databases & { events: object[] }>}
 */
export async function open(context, { factory = new IDBFactory(), ...options } = {}) {
  const events = [];
  const databases = await initializeDatabases({ wasm: WASM, factory, onEvent: (event) => events.push(event), ...options });
  context.after(() => databases.close());
  return Object.assign(databases, { events });
}

/** Opens a database as anybody can, who lets go of it when another wants to upgrade. */
export async function openRaw(factory, name, version, upgrade = () => {}) {
  const opening = factory.open(name, version);
  opening.onupgradeneeded = () => upgrade(opening.result, opening.transaction);
  return new Promise((resolve, reject) => {
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      opening.result.onversionchange = () => opening.result.close();
      resolve(opening.result);
    };
  });
}

/** All that is in a database, by store: the keys and the values. */
export async function contents(factory, name) {
  const database = await openRaw(factory, name);
  const stores = {};
  for (const store of database.objectStoreNames) {
    const source = database.transaction(store).objectStore(store);
    const [keys, values] = await Promise.all([request(source.getAllKeys()), request(source.getAll())]);
    stores[store] = { keys, values: structuredClone(values) };
  }
  database.close();
  return stores;
}

/** The names of a factory's databases. */
export async function names(factory) {
  return (await factory.databases()).map(({ name }) => name).sort();
}

/** How a call failed; an error if it did not. */
export async function failing(work) {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    if (!(error instanceof StatikError)) throw new Error(`no StatikError: ${error?.name}: ${error?.message}`, { cause: error });
    return error;
  }
  throw new Error('expected a failure, and it went well');
}

/** All pages of a query, one after another. `between` runs after each. */
export async function pages(next, between = () => {}) {
  const found = [];
  let cursor;
  do {
    const page = await next(cursor);
    found.push(page.items);
    cursor = page.cursor;
    await between(page.items);
  } while (cursor !== undefined);
  return found;
}
