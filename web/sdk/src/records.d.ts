/**
 * What the small WebAssembly module exports (crates/runtime, feature `records`): the types of `dist/records.js`. Every
 * method that fails throws an `ErrorShape`, or what a function that it was given has thrown. No code lives here.
 */
import type { IdbEvent, KeyRange, Position } from './idb/types.js';

export default function init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;

/** Where databases lie, and who hears of them. */
export interface IdbEnvironment {
  factory: IDBFactory;
  /** The class that goes with the factory. */
  keyRanges: typeof IDBKeyRange;
  onEvent: (event: IdbEvent) => void;
  /** How long a call may take, in milliseconds. */
  deadlineMs: number;
}

/** One attempt to open. `upgrade` may answer a promise; its transaction is kept alive. */
export function openDatabase(
  name: string, version: number | undefined,
  upgrade: (database: IDBDatabase, transaction: IDBTransaction, oldVersion: number) => unknown, environment: IdbEnvironment,
): Promise<IDBDatabase>;
export function deleteDatabase(name: string, environment: IdbEnvironment): Promise<void>;

/** Writes of one kind to one store, one after another. `values` are keys or ranges where they are to be deleted. */
export interface Run {
  store: string;
  verb: 'put' | 'add' | 'delete' | 'clear';
  values: unknown[];
  keys: (IDBValidKey | undefined)[];
}

/** See `Idb` in idb/types.ts. */
export class IdbDatabase {
  constructor(name: string, opener: () => Promise<IDBDatabase>, environment: IdbEnvironment);
  connect(): Promise<void>;
  get(store: string, key: IDBValidKey): Promise<unknown>;
  getMany(store: string, keys: readonly IDBValidKey[]): Promise<unknown[]>;
  count(store: string, index: string | undefined, range: IDBValidKey | KeyRange | undefined): Promise<number>;
  query(store: string, query: {
    index?: string | undefined;
    range?: IDBValidKey | KeyRange | undefined;
    direction?: 'next' | 'prev' | undefined;
    limit?: number | undefined;
    after?: Position | undefined;
    keysOnly?: boolean;
  }): Promise<{ items: unknown[]; last?: Position }>;
  write(runs: readonly Run[], isStrict: boolean, isCareful: boolean): Promise<IDBValidKey[]>;
  /** Undefined where there is no connection. */
  put(store: string, value: unknown, key: IDBValidKey | undefined, isAdd: boolean): number | undefined;
  /** What the group comes to that the last `put` went to. */
  group(): Promise<{ requests: IDBRequest<IDBValidKey>[]; failures: Map<number, unknown> }>;
  transaction(stores: readonly string[], mode: 'readonly' | 'readwrite', body: (transaction: IDBTransaction) => unknown, isStrict: boolean): Promise<unknown>;
  close(): void;
}

/** Data keys of 32 bytes: one seals, all open. `store` tells databases apart too; a nonce is drawn for each call. */
export class Keyring {
  constructor(current: Uint8Array, older: readonly Uint8Array[]);
  /** The id of the key that seals. */
  readonly current: number;
  seal(store: string, key: string, version: number, plain: Uint8Array): Uint8Array<ArrayBuffer>;
  open(store: string, key: string, version: number, sealed: Uint8Array): Uint8Array<ArrayBuffer>;
  /** Undefined for what the current key has sealed. */
  reseal(store: string, key: string, version: number, sealed: Uint8Array): Uint8Array<ArrayBuffer> | undefined;
  free(): void;
}

/** Names under a key of 32 bytes, which stays as long as they do. */
export class BlindNames {
  constructor(names: Uint8Array);
  /** The 32 bytes that stand for a name of this store. */
  blind(store: string, name: string): Uint8Array<ArrayBuffer>;
  free(): void;
}

/** One side of a reconciliation, see crates/sync/src/reconcile.rs. */
export class Reconciler {
  constructor(keys: readonly string[], stamps: readonly string[]);
  initiate(): Uint8Array<ArrayBuffer>;
  respond(question: Uint8Array): Uint8Array<ArrayBuffer>;
  finish(answer: Uint8Array): { have: string[]; need: Uint8Array<ArrayBuffer>[]; next?: Uint8Array<ArrayBuffer> };
  key(id: Uint8Array): string | undefined;
  free(): void;
}
