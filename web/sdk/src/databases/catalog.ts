/**
 * Which IndexedDB database a name means.
 *
 * IndexedDB cannot rename, so what replaces a database (restored, compacted) is built beside it, and one transaction here
 * makes it the one that is meant. The catalog is a database of its own, `statik_catalog`:
 *
 *   databases   logical name → { physical, generation }       no entry: the physical name is the logical one
 *   settings    what the app has decided: its instance's id, the schedule of backups …
 *
 * Invariants: who opens a database holds its lock shared meanwhile, who replaces one holds it exclusively, so nobody opens
 * what is about to be replaced; the replaced one is deleted after the new one is meant, and what a crash left over by the
 * next who replaces it.
 */
import { encode } from '../codec.js';
import { failure, StatikError } from '../errors.js';
import { Database } from '../idb/database.js';
import { bindings, type Environment } from '../idb/environment.js';
import { request } from '../migrations/indexeddb.js';
import { translated } from '../records-wasm.js';
import { hold, type Release } from '../locks.js';

const CATALOG = 'statik_catalog';

/** What a logical name means. */
export interface Entry {
  physical: string;
  /** How often it was replaced. */
  generation: number;
}

/** How long somebody may take to replace a database, before who waits for it gives up, in milliseconds. */
const REPLACING_MS = 60_000;

/** The name of the IndexedDB database that is a logical one's n-th, from 1. */
export function physicalOf(logical: string, generation: number): string {
  return generation === 1 ? logical : `${logical}#${generation}`;
}

export class Catalog {
  readonly #environment: Environment;
  readonly #database: Database;
  /** All databases of one origin share it, those in memory are this thread's own. */
  readonly #isShared: boolean;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#isShared = environment.storage === 'indexeddb';
    this.#database = new Database(environment, CATALOG, () => this.#open());
  }

  /** Whether there can be a catalog at all: the test of an environment. */
  async probe(): Promise<void> {
    await this.#database.connect();
  }

  async entry(logical: string): Promise<Entry> {
    const stored = await this.#database.get<unknown>('databases', logical);
    if (stored === undefined) return { physical: logical, generation: 1 };
    const { physical, generation } = Object(stored) as Partial<Entry>;
    const isEntry = Number.isSafeInteger(generation) && generation! > 0 && physical === physicalOf(logical, generation!);
    if (!isEntry) throw failure('Corrupt', `the catalog's entry of database "${logical}" is ${encode(stored)}; nothing was opened`);
    return { physical: physical!, generation: generation! };
  }

  /** Makes other databases the ones that are meant, and sets settings, all at once. */
  async replace(entries: ReadonlyMap<string, Entry>, settings: ReadonlyMap<string, unknown> = new Map()): Promise<void> {
    const puts = (store: string, values: ReadonlyMap<string, unknown>) => [...values].map(([key, put]) => ({ store, put, key }));
    await this.#database.write([...puts('databases', entries), ...puts('settings', settings)], { durability: 'strict' });
  }

  async setting<T>(key: string): Promise<T | undefined> {
    return this.#database.get<T>('settings', key);
  }

  async set(key: string, value: unknown): Promise<void> {
    await this.#database.write([value === undefined ? { store: 'settings', delete: key } : { store: 'settings', put: value, key }], { durability: 'strict' });
  }

  /** As `set`, unless there is a value: then that is answered. One of several who do this at once is first. */
  async settle<T>(key: string, value: T): Promise<T> {
    return this.#database.transaction(['settings'], 'readwrite', (tx) => new Promise<T>((resolve, reject) => {
      const store = tx.objectStore('settings');
      const found = store.get(key);
      found.onerror = () => reject(found.error);
      found.onsuccess = () => {
        if (found.result === undefined) store.put(value, key);
        resolve(found.result ?? value);
      };
    }), { durability: 'strict' });
  }

  /** As `set`, if what is there is what is expected. Answers whether it was. */
  async exchange<T>(key: string, isExpected: (found: T | undefined) => boolean, value: T): Promise<boolean> {
    return this.#database.transaction(['settings'], 'readwrite', async (tx) => {
      const store = tx.objectStore('settings');
      const isMet = isExpected(await request<T | undefined>(store.get(key)));
      if (isMet) await request(store.put(value, key));
      return isMet;
    }, { durability: 'strict' });
  }

  /** Runs `job` while nobody replaces the database; or, `exclusive`, while nobody opens it. */
  async locked<T>(logical: string, mode: LockMode, job: () => Promise<T>): Promise<T> {
    const release = this.#isShared ? await this.#lock(logical, mode) : () => {};
    try {
      return await job();
    } finally {
      release();
    }
  }

  async close(): Promise<void> {
    await this.#database.close();
  }

  async #lock(logical: string, mode: LockMode): Promise<Release> {
    try {
      return await hold(`statik:databases:${logical}`, { mode, signal: AbortSignal.timeout(REPLACING_MS) });
    } catch (error) {
      const isLate = error instanceof DOMException && error.name === 'TimeoutError';
      if (isLate) throw failure('Busy', `database "${logical}" is being replaced or opened by another tab; waited ${REPLACING_MS} ms`);
      throw error;
    }
  }

  async #open(): Promise<IDBDatabase> {
    const create = (database: IDBDatabase) => {
      database.createObjectStore('databases');
      database.createObjectStore('settings');
    };
    try {
      return await this.#environment.records.openDatabase(CATALOG, 1, create, bindings(this.#environment));
    } catch (error) {
      const known = translated(error);
      if (known instanceof StatikError && known.code === 'Conflict') {
        throw new StatikError({ code: 'Unsupported', message: `${CATALOG} is of a newer version of Statik: ${known.message}` }, { cause: known });
      }
      throw known;
    }
  }
}
