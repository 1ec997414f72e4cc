/**
 * What the Rust side exports (crates/runtime, by wasm-bindgen, `--target web`): the types of `dist/statik.js`, which
 * lies beside the bundles and is never bundled itself. wasm-bindgen writes options and results as `any`; here they have
 * their shapes. Every method that fails throws an `ErrorShape`. No code lives here.
 */
import type { ColumnInfo, DatabaseInfo, Metrics, RunResult, SqlParams, SqlValue, Storage } from './types.js';

export default function init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;

/** What the owner of a store's files needs to know. */
export interface StoreConfig {
  name: string;
  idleMs: number;
  verbosity: number;
  sanityCheck: boolean;
  opfs: boolean;
  fallback?: 'memory' | undefined;
}

/** Owns the files of a store and answers its clients' rings. The caller holds the store's Web Lock. */
export class IoServer {
  private constructor();
  static open(options: StoreConfig & { doorbell: SharedArrayBuffer }): Promise<IoServer>;
  readonly storage: Storage;
  /** Why memory, if it is. */
  readonly reason: string | undefined;
  addClient(id: number, ring: SharedArrayBuffer): void;
  /** The client's worker is gone: release its locks and files. */
  removeClient(id: number): void;
  /** Serves until stop(); resolves then. */
  serve(): Promise<void>;
  /** Answers what is queued, flushes, closes every handle. */
  stop(): void;
  metrics(): Metrics;
}

/** SQLite over a ring (`bridge`) or over handles of its own (`direct`). */
export class Engine {
  private constructor();
  static bridge(options: { ring: SharedArrayBuffer; doorbell: SharedArrayBuffer; deadlineMs: number; verbosity: number }): Engine;
  static direct(options: StoreConfig): Promise<Engine>;
  /** Bridge: always 'opfs'; the I/O server knows better. */
  readonly storage: Storage;
  readonly reason: string | undefined;
  /** Called from inside running statements, at most every ~20 ms; true stops the statement with code 'Aborted'. */
  setInterrupt(poll: () => boolean): void;
  /** Direct: opens the handles that these databases need; `create` (default true) makes missing ones. Bridge: nothing to do. */
  prepare(names: string[], create?: boolean): Promise<void>;
  /** Direct: lets the database's handles be closed once nobody used them for a while; prepare it again before `open`. */
  release(name: string): void;
  /** Direct: fails with Unsupported if not prepared. */
  open(name: string, options: {
    mustExist?: boolean | undefined;
    readOnly?: boolean | undefined;
    busyTimeoutMs?: number | undefined;
    cacheKib?: number | undefined;
    foreignKeys?: boolean | undefined;
  }): Connection;
  list(): Promise<DatabaseInfo[]>;
  exists(name: string): Promise<boolean>;
  remove(name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Direct: of what is prepared. */
  listSync(): DatabaseInfo[];
  existsSync(name: string): boolean;
  // Bridge only (Unsupported in direct mode).
  removeSync(name: string): void;
  renameSync(from: string, to: string): void;
  importBegin(name: string): Promise<Import>;
  exportBegin(name: string): Promise<Export>;
  /** Direct: the storage's counters. Bridge: this client's waits. */
  metrics(): Metrics;
  /** Direct: flush and close all handles. All connections must be closed before. */
  close(): void;
}

export class Import {
  private constructor();
  write(chunk: Uint8Array): void;
  /** Validates, then replaces. On error the old database stays and the temporary file is gone. */
  finish(): Promise<DatabaseInfo>;
  abort(): Promise<void>;
}

export class Export {
  private constructor();
  readonly sizeBytes: number;
  /** undefined at the end. Holds a read lock on the database until close(). */
  read(maxBytes: number): Uint8Array | undefined;
  close(): void;
}

export class Connection {
  private constructor();
  exec(sql: string): void;
  /** Exactly one statement; Invalid if there are none or more. */
  prepare(sql: string): Stmt;
  readonly inTransaction: boolean;
  /** Finalizes what is still open. Idempotent. */
  close(): void;
}

export class Stmt {
  private constructor();
  readonly readOnly: boolean;
  readonly columnNames: string[];
  columns(): ColumnInfo[];
  /** Resets, clears, binds. */
  bind(params: SqlParams | undefined): void;
  /** Up to maxRows rows (less if they add up to ~1 MiB), flat: values of row 0, then row 1 … Resets by itself at the end. */
  step(maxRows: number): SqlValue[];
  /** True once the last step() reached the end. */
  readonly done: boolean;
  /** Steps to the end, dropping rows. */
  run(): RunResult;
  reset(): void;
  finalize(): void;
}
