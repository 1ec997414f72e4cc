/** The IndexedDB access layer that everything structured stands on. Shapes only. */

export type Key = IDBValidKey;

export interface Query {
  index?: string;
  range?: IDBKeyRange;
  direction?: 'next' | 'prev';
  limit?: number;
  /** Opaque, from a page before. */
  cursor?: string;
}

export interface Page<T> {
  items: T[];
  /** Absent at the end. */
  cursor?: string;
}

export type Write =
  | { store: string; put: unknown; key?: Key }
  | { store: string; add: unknown; key?: Key }
  | { store: string; delete: Key | IDBKeyRange }
  | { store: string; clear: true };

export interface WriteOptions {
  durability?: 'relaxed' | 'strict';
}

/** One physical IndexedDB database: opened once, lazily; reopened when the connection was lost. */
export interface Idb {
  readonly name: string;
  get<T>(store: string, key: Key): Promise<T | undefined>;
  getMany<T>(store: string, keys: readonly Key[]): Promise<(T | undefined)[]>;
  query<T>(store: string, query?: Query): Promise<Page<T>>;
  /** Keys and primary keys only. */
  keys(store: string, query?: Query): Promise<Page<Key>>;
  count(store: string, query?: { index?: string; range?: IDBKeyRange }): Promise<number>;
  /** All or nothing. Single writes of one tick share one transaction and fail each for itself; answers the keys. */
  write(writes: readonly Write[], options?: WriteOptions): Promise<Key[]>;
  put(store: string, value: unknown, key?: Key): Promise<Key>;
  add(store: string, value: unknown, key?: Key): Promise<Key>;
  delete(store: string, key: Key | IDBKeyRange): Promise<void>;
  /** Read-modify-write in one transaction. `body` may await only requests of `tx`. */
  transaction<T>(stores: readonly string[], mode: 'readonly' | 'readwrite', body: (tx: IDBTransaction) => T | Promise<T>, options?: WriteOptions): Promise<T>;
  close(): Promise<void>;
}
