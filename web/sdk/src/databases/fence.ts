/**
 * A database whose records are sealed by keys that may change while it is in use.
 *
 * Invariants: what was sealed with older keys is written before `drained` resolves; a record under a key that is not here
 * makes the keys be read again, once, before anybody refuses it.
 */
import { StatikError } from '../errors.js';
import type { Idb, Key, KeyRange, Page, Query, Write, WriteOptions } from '../idb/types.js';
import { sealedPart } from './record-form.js';

export class Fence {
  readonly #pending = new Set<Promise<unknown>>();
  readonly #knows: (sealed: Uint8Array) => boolean;
  readonly #refresh: () => Promise<boolean>;

  /** `refresh` reads the keys again, and tells whether there are others now. */
  constructor(knows: (sealed: Uint8Array) => boolean, refresh: () => Promise<boolean>) {
    this.#knows = knows;
    this.#refresh = refresh;
  }

  /** Work that writes what was sealed in the same tick, or will be sealed by itself. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const running = work();
    this.#pending.add(running);
    try {
      return await running;
    } finally {
      this.#pending.delete(running);
    }
  }

  /** As `during`; a second time if it failed for want of a key that is here now. */
  async retried<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.during(work);
    } catch (error) {
      if (!(error instanceof StatikError && error.code === 'Permission' && await this.#refresh())) throw error;
      return this.during(work);
    }
  }

  /** Has the keys read again if there is a record whose key is not here. */
  async known(records: readonly unknown[]): Promise<void> {
    const isKnown = (record: unknown) => {
      const sealed = sealedPart(record);
      return !(sealed instanceof Uint8Array) || this.#knows(sealed);
    };
    if (!records.every(isKnown)) await this.#refresh();
  }

  /** Resolves once all that runs now has ended. */
  async drained(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }
}

/** A database behind a fence. */
export class FencedDatabase implements Idb {
  readonly #idb: Idb;
  readonly #fence: Fence;

  constructor(idb: Idb, fence: Fence) {
    this.#idb = idb;
    this.#fence = fence;
  }

  get name(): string {
    return this.#idb.name;
  }

  async get<T>(store: string, key: Key): Promise<T | undefined> {
    const found = await this.#idb.get<T>(store, key);
    await this.#fence.known([found]);
    return found;
  }

  async getMany<T>(store: string, keys: readonly Key[]): Promise<(T | undefined)[]> {
    const found = await this.#idb.getMany<T>(store, keys);
    await this.#fence.known(found);
    return found;
  }

  async query<T>(store: string, query?: Query): Promise<Page<T>> {
    const page = await this.#idb.query<T>(store, query);
    await this.#fence.known(page.items);
    return page;
  }

  async keys(store: string, query?: Query): Promise<Page<Key>> {
    return this.#idb.keys(store, query);
  }

  async count(store: string, query?: Pick<Query, 'index' | 'range'>): Promise<number> {
    return this.#idb.count(store, query);
  }

  async write(writes: readonly Write[], options?: WriteOptions): Promise<Key[]> {
    return this.#fence.during(() => this.#idb.write(writes, options));
  }

  async put(store: string, value: unknown, key?: Key): Promise<Key> {
    return this.#fence.during(() => this.#idb.put(store, value, key));
  }

  async add(store: string, value: unknown, key?: Key): Promise<Key> {
    return this.#fence.during(() => this.#idb.add(store, value, key));
  }

  async delete(store: string, key: Key | KeyRange): Promise<void> {
    return this.#idb.delete(store, key);
  }

  async transaction<T>(
    stores: readonly string[], mode: 'readonly' | 'readwrite', body: (tx: IDBTransaction) => T | Promise<T>, options?: WriteOptions,
  ): Promise<T> {
    return this.#fence.retried(() => this.#idb.transaction(stores, mode, body, options));
  }

  range(bounds: KeyRange): IDBKeyRange {
    return this.#idb.range(bounds);
  }

  async close(): Promise<void> {
    return this.#idb.close();
  }
}
