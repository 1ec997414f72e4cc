/**
 * What the Rust side exports (crates/runtime, by wasm-bindgen, `--target web`): the types of `dist/statik.js`, which
 * lies beside the bundles and is never bundled itself. wasm-bindgen writes options and results as `any`; here they have
 * their shapes. Every method that fails throws an `ErrorShape`. No code lives here.
 */
import type {
  ColumnInfo, DatabaseInfo, Damage, Health, JournalDamage, JournalFrame, JournalOptions, Operations, RunResult, SlowQuery, SqlParams, SqlValue, Storage, Synchronous, VacuumResult,
} from './types.js';

export default function init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;

/** What the owner of a store's files needs to know. */
export interface StoreConfig {
  name: string;
  idleMs: number;
  verbosity: number;
  sanityCheck: boolean;
  opfs: boolean;
  fallback?: 'memory' | undefined;
  /** What to do with a log that is damaged: without it, serve what lies before the damage, read-only. */
  recover?: 'truncate' | 'refuse' | undefined;
}

/** What a store tells of itself; see `Usage` in crates/bridge/src/pages.rs. Commits are numbered from 1. */
export interface Usage {
  /** Bytes of commits that were not yet copied to their files. */
  logBytes: number;
  newest: number;
  durable: number;
  checkpointed: number;
  /** Since the store was opened, as are flushes, hits and misses. */
  commits: number;
  flushes: number;
  /** Missing where nobody holds a view. */
  oldestView?: number;
  /** Pages found in the shared cache, by all clients together; 0 in direct mode, which has none. */
  cacheHits: number;
  /** Pages that had to be asked for. */
  cacheMisses: number;
}

/** What one connection did so far. */
export interface Timings {
  /** Statements that were run, to their end or not. */
  count: number;
  totalMs: number;
  maxMs: number;
  /**
   * Statements by duration, from the first step to the reset, without what the caller did in between. Bucket `i` counts
   * those that took from 2^(i/4) to less than 2^((i+1)/4) microseconds (bucket 0: all that took less); zeros at the end
   * may be missing.
   */
  buckets: number[];
  /** Of SQLite's own cache. */
  cacheHits: number;
  cacheMisses: number;
}

/** Owns the files of a store and answers its clients' rings. The caller holds the store's Web Lock. */
export class IoServer {
  private constructor();
  /** The size of a board whose cache has about `cacheBytes`. */
  static boardBytes(cacheBytes: number): number;
  /** `board`: zeros, of the size that `boardBytes` told. */
  static open(options: StoreConfig & { doorbell: SharedArrayBuffer; board: SharedArrayBuffer }): Promise<IoServer>;
  readonly storage: Storage;
  /** Why memory, if it is. */
  readonly reason: string | undefined;
  /** What was found damaged when the store was opened. */
  readonly damage: Damage | undefined;
  /** Ids are small: callers use the smallest free one from 1 on, and one again only after `removeClient`. */
  addClient(id: number, ring: SharedArrayBuffer): void;
  /** The client's worker is gone: release its locks and files. */
  removeClient(id: number): void;
  /** Serves until stop(); resolves then. */
  serve(): Promise<void>;
  /** Answers what is queued, flushes, closes every handle. */
  stop(): void;
  metrics(): Operations;
  usage(): Usage;
  /** Makes every commit acknowledged so far durable. */
  durable(): void;
}

/** SQLite over a ring (`bridge`) or over handles of its own (`direct`). */
export class Engine {
  private constructor();
  /** `client`: the id under which the I/O server knows this client already. */
  static bridge(options: {
    ring: SharedArrayBuffer;
    doorbell: SharedArrayBuffer;
    board: SharedArrayBuffer;
    client: number;
    deadlineMs: number;
    verbosity: number;
  }): Engine;
  static direct(options: StoreConfig): Promise<Engine>;
  /** Bridge: always 'opfs'; the I/O server knows better. */
  readonly storage: Storage;
  readonly reason: string | undefined;
  /** Direct only, as IoServer's. */
  readonly damage: Damage | undefined;
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
    synchronous?: Synchronous | undefined;
    /** Statements that take longer are kept for `takeSlowQueries`. Without it none are. */
    slowQueryMs?: number | undefined;
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
  /** Direct: opens the handles that this journal needs. They stay open until `releaseJournal`. */
  prepareJournal(name: string, options: JournalOptions): Promise<void>;
  releaseJournal(name: string): void;
  /** Direct: fails with Unsupported if not prepared. */
  openJournal(name: string, options: JournalOptions): Journal;
  importBegin(name: string): Promise<Import>;
  exportBegin(name: string): Promise<Export>;
  /** Direct: the storage's counters. Bridge: this client's waits. */
  metrics(): Operations;
  usage(): Usage;
  /** Returns when every commit acknowledged so far is durable. */
  durable(): void;
  /**
   * Direct: does what is due (a flush, a slice of a checkpoint) and tells in how many milliseconds to call again; undefined
   * if nothing will be before the next commit. Bridge: the I/O server does that by itself; always undefined.
   */
  tend(): number | undefined;
  /** Direct: flush and close all handles. All connections must be closed before. */
  close(): void;
}

export class Journal {
  private constructor();
  readonly damage: JournalDamage | undefined;
  append(frame: Uint8Array): number;
  flush(): number;
  snapshot(state: Uint8Array): number;
  readSnapshot(): JournalFrame | undefined;
  /** 0: from the oldest that is kept. */
  cursor(from: number): JournalCursor;
  /** Idempotent. */
  close(): void;
}

export class JournalCursor {
  private constructor();
  /** Frames until they have so many bytes together; none at the end. */
  read(maxBytes: number): JournalFrame[];
  free(): void;
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
  /** undefined at the end. Holds its snapshot of the database until close(), or until it is too old: `Conflict`. */
  read(maxBytes: number): Uint8Array | undefined;
  close(): void;
}

/** A copy of a database into another, as of one moment, that is visible when it is complete. */
export class Backup {
  private constructor();
  readonly totalBytes: number;
  readonly doneBytes: number;
  /** Copies up to so many pages; true once all is copied, and committed. */
  step(pages: number): boolean;
  /** Ends it. Before the end, `to` is as it was (an empty file, if it was not there). Idempotent. */
  close(): void;
}

export class Connection {
  private constructor();
  exec(sql: string): void;
  /** Exactly one statement; Invalid if there are none or more. */
  prepare(sql: string): Stmt;
  readonly inTransaction: boolean;
  readonly lastInsertRowid: number | bigint;
  /** Quick: what can be told without reading everything. Full: SQLite's integrity_check and foreign_key_check. */
  health(full: boolean): Health;
  /** Direct: `to` must be prepared. Whatever `to` holds is replaced. */
  backup(to: string): Backup;
  vacuum(): VacuumResult;
  /** Copies all commits to their files. `Busy` while older views are held. */
  checkpoint(): void;
  timings(): Timings;
  /** Those since the last call, the oldest first; if nobody asks, only the latest few are kept. */
  takeSlowQueries(): SlowQuery[];
  /** Finalizes what is still open. Idempotent. */
  close(): void;
}

export class Stmt {
  private constructor();
  readonly readOnly: boolean;
  /** The same array for as long as the names are the same: not to be changed. */
  readonly columnNames: string[];
  columns(): ColumnInfo[];
  /** Resets and binds. */
  bind(params: SqlParams | undefined): void;
  /** Up to maxRows rows (less if they add up to ~1 MiB), flat: values of row 0, then row 1 … Resets by itself at the end. */
  step(maxRows: number): SqlValue[];
  /** True once the last step() reached the end. */
  readonly done: boolean;
  /** Binds and steps to the end, dropping rows; how many rows that changed. */
  run(params: SqlParams | undefined): number;
  reset(): void;
  finalize(): void;
}
