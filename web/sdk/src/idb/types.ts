/** The shapes of IndexedDB as Statik uses it. No code lives here. */

export type Key = IDBValidKey;

/** Bounds of keys; a missing one is none. An `IDBKeyRange` is one, too. */
export interface KeyRange {
  readonly lower?: unknown;
  readonly upper?: unknown;
  /** The bound itself does not count. */
  readonly lowerOpen?: boolean;
  readonly upperOpen?: boolean;
}

/** What is asked of a store. */
export interface Query {
  /** By an index rather than by the store's own keys. */
  index?: string;
  /** One key, or bounds. Default: all. */
  range?: Key | KeyRange;
  direction?: 'next' | 'prev';
  /** At most so many, from 1. Default: all. */
  limit?: number;
  /** Where the page before has ended: its `cursor`. */
  cursor?: string;
  /** The same as keys. */
  after?: Position;
}

/** A record's place: its key in what is read, and its primary key. */
export interface Position {
  key: Key;
  primary: Key;
}

export interface Page<T> {
  items: T[];
  /** For the next page; missing where there is none. A page that ends with the last record has one, too: the next is empty. */
  cursor?: string;
  last?: Position;
}

/** One thing to do to a store. A key goes with stores whose keys are out of line. */
export type Write =
  | { store: string; put: unknown; key?: Key }
  | { store: string; add: unknown; key?: Key }
  | { store: string; delete: Key | KeyRange }
  | { store: string; clear: true };

export interface WriteOptions {
  /**
   * `relaxed` (default): done when the browser has it, which a crash of the system may take. `strict`: done when it is
   * flushed.
   */
  durability?: 'relaxed' | 'strict';
}

/** What happens to databases without anybody's asking. */
export interface IdbEvent {
  /**
   * - `blocked`: another tab has the database open, and does not let go of it yet.
   * - `versionchange`: it was let go of, because another tab upgrades, restores or deletes it.
   * - `lost`: the browser has closed it, or did not answer. The next call opens it again.
   * - `reopened`: it was.
   * - `fallback`: IndexedDB cannot be used; everything is in memory, and gone with the page.
   */
  type: 'blocked' | 'versionchange' | 'lost' | 'reopened' | 'fallback';
  database: string;
  reason: string;
}

/**
 * One IndexedDB database, opened when it is first needed, and again when its connection was lost.
 *
 * Every call is over within the deadline (`Timeout`), but for the opening, which takes as long as migrations take, and as
 * another tab may be waited for. Calls take effect in the order in which they are made. A write is told as done when its
 * transaction has completed; what fails was not done at all, unless it is a `Timeout` while it was being committed. Errors name the database, the store and what was being done.
 */
export interface Idb {
  readonly name: string;
  /** Undefined if there is none. */
  get<T>(store: string, key: Key): Promise<T | undefined>;
  getMany<T>(store: string, keys: readonly Key[]): Promise<(T | undefined)[]>;
  query<T>(store: string, query?: Query): Promise<Page<T>>;
  /** As `query`, the primary keys alone. */
  keys(store: string, query?: Query): Promise<Page<Key>>;
  count(store: string, query?: Pick<Query, 'index' | 'range'>): Promise<number>;
  /**
   * All of it or nothing. Answers the keys. The values must stay what they are until it is done: if the connection is lost
   * meanwhile, it is done again over another.
   */
  write(writes: readonly Write[], options?: WriteOptions): Promise<Key[]>;
  /**
   * One record. Those of the same tick share a transaction, and yet each fails for itself alone. The value is copied
   * before this returns; `Closed` if the connection was lost before it was stored.
   */
  put(store: string, value: unknown, key?: Key): Promise<Key>;
  /** As `put`; `Conflict` if the key is taken. */
  add(store: string, value: unknown, key?: Key): Promise<Key>;
  delete(store: string, key: Key | KeyRange): Promise<void>;
  /**
   * Reads and writes in one transaction. `body` may await requests of the transaction alone; what it throws aborts all of
   * it. It may be called a second time, if the connection was lost before anything was done.
   */
  transaction<T>(stores: readonly string[], mode: 'readonly' | 'readwrite', body: (tx: IDBTransaction) => T | Promise<T>, options?: WriteOptions): Promise<T>;
  /** Bounds as an `IDBKeyRange` for the body of a transaction: of the database's own kind. */
  range(bounds: KeyRange): IDBKeyRange;
  /** Later calls fail with `Closed`. */
  close(): Promise<void>;
}
