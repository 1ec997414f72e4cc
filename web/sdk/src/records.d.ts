/**
 * What the small WebAssembly module exports (crates/runtime, feature `records`): the types of `dist/records.js`. Every
 * method that fails throws an `ErrorShape`, or what a function that it was given has thrown. No code lives here.
 */
import type { IdbEvent, KeyRange, Position, Write } from './idb/types.js';

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
  write(writes: readonly Write[], isStrict: boolean, isCareful: boolean): Promise<IDBValidKey[]>;
  /** Undefined where there is no connection. */
  put(store: string, value: unknown, key: IDBValidKey | undefined, isAdd: boolean): number | undefined;
  /** What the group comes to that the last `put` went to. */
  group(): Promise<{ requests: IDBRequest<IDBValidKey>[]; failures: Map<number, unknown> }>;
  transaction(stores: readonly string[], mode: 'readonly' | 'readwrite', body: (transaction: IDBTransaction) => unknown, isStrict: boolean): Promise<unknown>;
  close(): void;
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
