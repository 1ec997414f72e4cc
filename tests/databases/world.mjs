/**
 * An origin under Node, for tests of the structured databases: IndexedDB in memory, which several openings share as tabs
 * would, and Web Locks. The WebAssembly and the SDK are those of dist/.
 */

import { readFileSync } from 'node:fs';
import { after } from 'node:test';
import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { Locks } from './locks.mjs';

Object.defineProperty(globalThis, 'navigator', { value: { locks: new Locks() }, configurable: true });
globalThis.IDBKeyRange = IDBKeyRange;

const dist = new URL('../../dist/', import.meta.url);
const wasm = new WebAssembly.Module(readFileSync(new URL('records_bg.wasm', dist)));

/** @type {any} */
export const { initializeDatabases, StatikError } = await import(new URL('databases.js', dist).href);

let worlds = 0;

/** @type {World[]} */
const all = [];
after(async () => { for (const world of all) await world.close(); });

/** A world that is closed when all tests of the file have ended. */
export function newWorld() {
  const world = new World();
  all.push(world);
  return world;
}

/** Databases nobody else has: locks and channels are everybody's, so their name is one of its own. */
export class World {
  factory = new IDBFactory();
  name = `world-${worlds += 1}`;
  /** @type {any[]} */
  #opened = [];

  /** Another tab. @param {object} [options] @returns {Promise<any>} */
  async open(options = {}) {
    const databases = await initializeDatabases({ wasm, factory: this.factory, name: this.name, fallback: 'error', ...options });
    this.#opened.push(databases);
    return databases;
  }

  async close() {
    for (const databases of this.#opened) await databases.close();
  }

  /** Runs `body` on the raw database. @template T @param {string} database without the world's name @param {(db: IDBDatabase) => Promise<T>} body @returns {Promise<T>} */
  async raw(database, body) {
    const opening = this.factory.open(database === 'statik_catalog' ? database : `${database}@${this.name}`);
    opening.onupgradeneeded = () => opening.transaction?.abort();
    /** @type {IDBDatabase} */
    const db = await result(opening);
    try {
      return await body(db);
    } finally {
      db.close();
    }
  }

  /** All values of a store with their keys, as they lie there. @param {string} database @param {string} store @returns {Promise<[IDBValidKey, any][]>} */
  async dump(database, store) {
    return this.raw(database, async (db) => {
      const source = db.transaction(store).objectStore(store);
      const [keys, values] = await Promise.all([result(source.getAllKeys()), result(source.getAll())]);
      return keys.map((key, at) => [key, values[at]]);
    });
  }

  /** Puts a value where somebody without a key could. @param {string} database @param {string} store @param {any} value @param {IDBValidKey} [key] */
  async tamper(database, store, value, key) {
    await this.raw(database, async (db) => result(db.transaction(store, 'readwrite').objectStore(store).put(value, key)));
  }

  /** The names of a database's stores. @param {string} database */
  async stores(database) {
    return this.raw(database, async (db) => Array.from(db.objectStoreNames));
  }
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
export function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** A secret of the app's. */
export function newKey() {
  return crypto.subtle.generateKey({ name: 'AES-KW', length: 256 }, false, ['wrapKey', 'unwrapKey']);
}
