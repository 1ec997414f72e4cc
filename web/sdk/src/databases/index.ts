/** `statik-storage/databases`: structured databases on IndexedDB, for every context of an origin. */
export { StatikError } from '../errors.js';
export { Databases, initializeDatabases } from './databases.js';
export type { Encryption } from './encryption.js';
export type { LogDatabase } from './logs.js';
export type { MemoryDatabase } from './memory.js';
export type { StateDatabase } from './state.js';
export { request } from '../migrations/indexeddb.js';
export type { IndexedDbMigration, UpgradingDatabase } from '../migrations/indexeddb.js';
export { validateSchema } from '../migrations/schema.js';
export type { DatabaseShape, Difference, IndexShape, StoreShape } from '../migrations/schema.js';
export type { Idb, IdbEvent, Key, KeyRange, Page, Query, Write, WriteOptions } from '../idb/types.js';
export type * from './types.js';
