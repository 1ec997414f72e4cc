/** The calls between the page and its workers, as interfaces: the workers implement them, rpc.ts carries them. No code. */
import type { Batch } from './rows.js';
import type { StoreConfig, Timings, Usage } from './statik.js';
import type {
  ColumnInfo, Damage, DatabaseInfo, DatabaseOptions, Health, JournalDamage, JournalFrame, JournalOptions, Operations, PlanRow,
  RunResult, SlowQuery, SqlParams, Storage, TransactionOptions, VacuumResult,
} from './types.js';

/** Where the data lies, and why, if that is not OPFS; what of its log is damaged. */
export interface StorageFound {
  storage: Storage;
  reason?: string | undefined;
  damage?: Damage | undefined;
}

/** What the owner of a store counts. */
export interface Counters {
  operations: Operations;
  usage: Usage;
}

/** What a connection counts. */
export interface ConnectionCounters {
  timings: Timings;
  /** The latest. */
  slowQueries: SlowQuery[];
}

/** Options of a database as an engine gets them. */
export type ConnectionOptions = Omit<DatabaseOptions, 'pool'> & { slowQueryMs?: number };

/** Every worker can be asked to hold a Web Lock for life, by which its death is noticed. It is the first call. */
export interface Mortal {
  hold(lock: string): Promise<void>;
}

/** worker/io.ts. */
export interface IoMethods extends Mortal {
  start(
    module: WebAssembly.Module, config: StoreConfig, doorbell: SharedArrayBuffer, cacheBytes: number, waitMs: number,
  ): Promise<StorageFound & { board: SharedArrayBuffer }>;
  /** `lock`: held by the client already; the client is removed when it is free. */
  addClient(id: number, ring: SharedArrayBuffer, lock: string): void;
  removeClient(id: number): void;
  metrics(): Counters;
  durable(): void;
  stop(): Promise<void>;
}

/** What an engine in bridge mode needs. */
export interface BridgeConfig {
  ring: SharedArrayBuffer;
  doorbell: SharedArrayBuffer;
  board: SharedArrayBuffer;
  client: number;
  deadlineMs: number;
  verbosity: number;
}

/** worker/engine.ts. `db`, `cursor` and `id` are numbers that its own answers gave. */
export interface EngineMethods extends Mortal {
  startBridge(module: WebAssembly.Module, config: BridgeConfig): Promise<void>;
  startDirect(module: WebAssembly.Module, config: StoreConfig, waitMs: number): Promise<StorageFound>;
  openDatabase(name: string, options: ConnectionOptions): Promise<number>;
  closeDatabase(db: number): void;
  exec(db: number, sql: string): Promise<void>;
  run(db: number, sql: string, params: SqlParams | undefined): Promise<RunResult>;
  first(db: number, sql: string, params: SqlParams | undefined): Promise<Batch>;
  /** Starts a query under an id that the caller chose, and gives the first rows. Done or failed, it is closed already. */
  open(db: number, cursor: number, sql: string, params: SqlParams | undefined, maxRows: number): Promise<Batch>;
  next(db: number, cursor: number, maxRows: number): Batch;
  /** Ends a query early; a query that has ended is no error. */
  closeCursor(db: number, cursor: number): void;
  describe(db: number, sql: string): Promise<{ columns: ColumnInfo[]; readOnly: boolean }>;
  explain(db: number, sql: string, params: SqlParams | undefined): Promise<PlanRow[]>;
  begin(db: number, mode: NonNullable<TransactionOptions['mode']>): Promise<void>;
  commit(db: number): Promise<void>;
  rollback(db: number): void;
  health(db: number, full: boolean): Promise<Health>;
  vacuum(db: number): Promise<VacuumResult>;
  checkpoint(db: number): Promise<void>;
  counters(db: number): ConnectionCounters;
  backupBegin(db: number, to: string): Promise<number>;
  /** Copies so many pages. */
  backupStep(id: number, pages: number): Promise<{ doneBytes: number; totalBytes: number; done: boolean }>;
  /** Before it is done, it leaves no trace. */
  backupClose(id: number): Promise<void>;
  list(): Promise<DatabaseInfo[]>;
  exists(name: string): Promise<boolean>;
  remove(name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  openJournal(name: string, options: JournalOptions): Promise<{ id: number; damage: JournalDamage | undefined }>;
  appendJournal(id: number, frame: Uint8Array): number;
  flushJournal(id: number): number;
  snapshotJournal(id: number, state: Uint8Array): number;
  readSnapshot(id: number): JournalFrame | undefined;
  /** A number for `readFrames`. */
  openFrames(id: number, from: number): number;
  /** Some frames; none at the end, which closes it. */
  readFrames(cursor: number): JournalFrame[];
  closeFrames(cursor: number): void;
  closeJournal(id: number): void;
  importBegin(name: string): Promise<number>;
  importWrite(id: number, chunk: Uint8Array): void;
  importFinish(id: number): Promise<DatabaseInfo>;
  importAbort(id: number): Promise<void>;
  exportBegin(name: string): Promise<{ id: number; sizeBytes: number }>;
  exportRead(id: number, maxBytes: number): Uint8Array | undefined;
  exportClose(id: number): void;
  metrics(): Counters;
  durable(): void;
  /** Closes all that is open. Nothing may follow. */
  close(): Promise<void>;
}

/** What the page tells a worker of the app that joins its store over a port. */
export interface Invitation extends StorageFound {
  name: string;
  module: WebAssembly.Module;
  bridge: BridgeConfig;
  /** The worker holds this Web Lock from before `join` until it leaves. */
  lock: string;
}

/** The page, at its end of `statik.port()`. */
export interface PortMethods {
  invite(): Invitation;
  join(): Promise<void>;
  leave(): Promise<void>;
}
