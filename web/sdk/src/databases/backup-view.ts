/**
 * One database for reading, as of one moment: all its stores in one readonly transaction.
 *
 * IndexedDB ends a transaction that has nothing to do, and who reads a backup may be slow. So there is always a small
 * request under way, until all was read. Writers of the database wait meanwhile, and whoever comes after a writer that
 * waits, which is why it has an end: after `holdMs` what is left is read page by page, each page in a transaction of its
 * own, and that is told.
 *
 * Invariants: constant memory, one page; no connection and no transaction outlives `close`.
 */
import type { Environment } from '../idb/environment.js';
import { failure } from '../errors.js';
import { META, translated } from '../migrations/indexeddb.js';
import { sizeOf } from './size.js';
import type { RecordPage } from './replace.js';

/** What a page should take; the number of records follows from those of the page before. */
const PAGE_BYTES = 1024 * 1024;
const PAGE_RECORDS = { first: 32, most: 512 };

export interface ViewOptions {
  /** How long writers may have to wait, in milliseconds. */
  holdMs: number;
  /** Called if that was not enough, before the first page that is of a later moment. */
  onPaged: () => void;
}

type Job = (transaction: IDBTransaction) => void;

export class View {
  readonly #database: IDBDatabase;
  readonly #environment: Environment;
  readonly #options: ViewOptions;
  #state: 'new' | 'held' | 'paged' | 'closed' = 'new';
  /** What the next beat is to do. */
  #job: Job | undefined;
  #fail: (error: unknown) => void = () => {};
  #isTold = false;

  /** `database` is the view's own connection, which `close` closes. */
  constructor(database: IDBDatabase, environment: Environment, options: ViewOptions) {
    this.#database = database;
    this.#environment = environment;
    this.#options = options;
  }

  /** All records of a store. */
  async *pages(store: string): AsyncGenerator<RecordPage, void, undefined> {
    let range: IDBKeyRange | undefined;
    let limit = PAGE_RECORDS.first;
    for (;;) {
      const page = await this.#page(store, range, limit);
      if (page.keys.length > 0) yield page;
      if (page.keys.length < limit) return;
      range = this.#environment.keyRanges.lowerBound(page.keys.at(-1), true);
      const each = page.values.reduce((sum: number, value) => sum + sizeOf(value), 0) / page.values.length;
      limit = Math.max(1, Math.min(PAGE_RECORDS.most, Math.floor(PAGE_BYTES / each)));
    }
  }

  /** Lets writers go on: all was read that had to be of the same moment. */
  release(): void {
    if (this.#state === 'held') this.#state = 'paged';
  }

  close(): void {
    this.#state = 'closed';
    this.#database.close();
  }

  #page(store: string, range: IDBKeyRange | undefined, limit: number): Promise<RecordPage> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => reject(this.#failure(error));
      const ask: Job = (transaction) => {
        const source = transaction.objectStore(store);
        const keys = source.getAllKeys(range, limit);
        const values = source.getAll(range, limit);
        keys.onerror = values.onerror = () => fail(values.error ?? keys.error);
        values.onsuccess = () => resolve({ keys: keys.result, values: values.result });
      };
      try {
        if (this.#state === 'new') this.#hold();
        if (this.#state === 'held') {
          this.#job = ask;
          this.#fail = fail;
        } else {
          this.#tell();
          ask(this.#database.transaction(store));
        }
      } catch (error) {
        fail(error);
      }
    });
  }

  #hold(): void {
    const transaction = this.#database.transaction(Array.from(this.#database.objectStoreNames));
    this.#state = 'held';
    transaction.onabort = () => {
      this.release();
      this.#fail(transaction.error);
    };
    const end = performance.now() + this.#options.holdMs;
    const beat = () => {
      const job = this.#job;
      this.#job = undefined;
      job?.(transaction);
      if (this.#state !== 'held') return;
      if (performance.now() >= end) this.release();
      else transaction.objectStore(META).count().onsuccess = beat;
    };
    transaction.objectStore(META).count().onsuccess = beat;
  }

  #tell(): void {
    if (!this.#isTold) this.#options.onPaged();
    this.#isTold = true;
  }

  #failure(error: unknown): unknown {
    const isClosed = error instanceof DOMException && error.name === 'InvalidStateError';
    if (!isClosed) return translated(error);
    return failure('Conflict', `backup: database "${this.#database.name}" was upgraded, replaced or closed while it was being read`);
  }
}
