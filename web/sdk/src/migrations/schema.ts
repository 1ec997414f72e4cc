/**
 * What an IndexedDB database looks like, and in what it differs from what an app expects. Reads no records, changes nothing.
 */
import { META } from './indexeddb.js';

/** An index as it was, or is to be, made. */
export interface IndexShape {
  keyPath: string | readonly string[];
  /** Default false. */
  unique?: boolean;
  /** Default false. */
  multiEntry?: boolean;
}

/** A store as it was, or is to be, made. */
export interface StoreShape {
  /** Default null: keys are out of line. */
  keyPath?: string | readonly string[] | null;
  /** Default false. */
  autoIncrement?: boolean;
  /** By name. Default: none. */
  indexes?: Readonly<Record<string, IndexShape>>;
}

/** A database's stores by name. */
export interface DatabaseShape {
  stores: Readonly<Record<string, StoreShape>>;
}

/** `path` is like `stores.episodes.indexes.timestamp.unique`. What is missing is undefined. */
export interface Difference {
  path: string;
  expected: unknown;
  found: unknown;
}

/** How a database is, with every default spelled out; without the store that Statik itself keeps in it. */
export function schemaOf(db: IDBDatabase): DatabaseShape {
  const names = Array.from(db.objectStoreNames).filter((name) => name !== META);
  if (names.length === 0) return { stores: {} };
  const tx = db.transaction(names);
  return { stores: Object.fromEntries(names.map((name) => [name, storeShape(tx.objectStore(name))])) };
}

/** All differences between a database and what is expected of it: what is missing, what is too much, what is other. */
export function validateSchema(db: IDBDatabase, expected: DatabaseShape): Difference[] {
  const stores = Object.entries(expected.stores).map(([name, { keyPath = null, autoIncrement = false, indexes = {} }]) => {
    const spelledOut = Object.entries(indexes).map(([index, { keyPath, unique = false, multiEntry = false }]) => [index, { keyPath, unique, multiEntry }]);
    return [name, { keyPath, autoIncrement, indexes: Object.fromEntries(spelledOut) }];
  });
  return differences('stores', Object.fromEntries(stores), schemaOf(db).stores);
}

function storeShape(store: IDBObjectStore): StoreShape {
  const indexes = Array.from(store.indexNames, (name) => {
    const { keyPath, unique, multiEntry } = store.index(name);
    return [name, { keyPath, unique, multiEntry }];
  });
  return { keyPath: store.keyPath, autoIncrement: store.autoIncrement, indexes: Object.fromEntries(indexes) };
}

function differences(path: string, expected: unknown, found: unknown): Difference[] {
  if (!isRecord(expected) || !isRecord(found)) {
    return JSON.stringify(expected) === JSON.stringify(found) ? [] : [{ path, expected, found }];
  }
  const names = new Set([...Object.keys(expected), ...Object.keys(found)]);
  return [...names].flatMap((name) => differences(`${path}.${name}`, own(expected, name), own(found, name)));
}

function own(record: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
