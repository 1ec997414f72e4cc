/**
 * `statik-storage/kv`: records by key with a hybrid logical clock, tombstones and an op-log for peers, over the storage
 * that there is: IndexedDB in any context, SQLite on OPFS in pages and workers. `statik-storage/node` adds SQLite in a
 * file.
 */
export { StatikError } from './errors.js';
export { Clock, formatTimestamp, MAX_DRIFT_MS, MAX_WALL_MS, parseTimestamp, type ClockOptions, type Timestamp } from './kv/clock.js';
export { IdbStorageAdapter, KV_MIGRATIONS, KV_SHAPE, type IdbAdapterOptions } from './kv/idb-adapter.js';
export { compareRecords, merge, type Canonical } from './kv/merge.js';
export { SealedStorageAdapter, type SealedAdapterOptions } from './kv/sealed-adapter.js';
export { SqliteStorageAdapter, type SqliteAdapterOptions } from './kv/sqlite-adapter.js';
export type { SqlAdapterOptions } from './kv/sql-adapter.js';
export type * from './kv/types.js';
export { reconcile, Replica } from './kv/replica.js';
export type { Reconciled, ReplicaPeer } from './kv/replica.js';
