/**
 * The shapes that cross Statik's public surface. One file, no code: `tsc` checks the SDK, the workers and the demo
 * against it, and tests/e2e compares it with what the WebAssembly side really produces.
 */

/** What SQLite can store. `boolean` goes in as 0 or 1 and comes back as a number. */
export type SqlValue = null | number | bigint | string | boolean | Uint8Array;

/** Positional (`[1, 'a']`) or named (`{ id: 1 }` binds `:id`, `@id` and `$id`). */
export type SqlParams = readonly SqlValue[] | Readonly<Record<string, SqlValue>>;

/** A row as an object keyed by column name (the default) … */
export type Row = Record<string, SqlValue>;
/** … or, with `{ rows: 'array' }`, as an array in column order. */
export type RowArray = SqlValue[];

/** What a caller can act on. The message says what was being done, to what, and what came. */
export type ErrorCode =
  | 'NotFound' | 'Exists' | 'Busy' | 'Conflict' | 'Quota' | 'Permission' | 'ReadOnly' | 'Corrupt'
  | 'Unsupported' | 'Closed' | 'Invalid' | 'Timeout' | 'Aborted' | 'Io';

/** An error on its way between threads. */
export interface ErrorShape {
  code: ErrorCode;
  message: string;
  /** The file concerned, relative to the store. */
  path?: string;
  /** SQLite's extended result code by name, for instance `SQLITE_CONSTRAINT_UNIQUE`. */
  sqliteCode?: string;
  /** UTF-16 offset into the SQL at which SQLite found the error. */
  offset?: number;
}

/** `bridge`: engine workers share one I/O worker over a SharedArrayBuffer. `direct`: one worker does both. */
export type Mode = 'bridge' | 'direct';
export type Storage = 'opfs' | 'memory';

export interface OpenOptions {
  /** The store's name: a directory in OPFS, shared by everything of this origin that names it. `[A-Za-z0-9._-]{1,64}`. */
  name: string;
  /** What to do when OPFS is refused. Without it, `open` fails with `Unsupported`. */
  fallback?: 'memory';
  /** How long to wait for another tab to let go of the store, in milliseconds. Default 5000, then `Busy`. */
  waitMs?: number;
  /** How long one storage request may take before it fails with `Timeout`, in milliseconds. Default 30000. */
  deadlineMs?: number;
  /** Handles of files that nobody uses are closed after this many milliseconds. Default 30000. */
  idleMs?: number;
  /** Open, write, read back, truncate and delete a scratch file before anything else. Default false. */
  sanityCheck?: boolean;
  /** 0 silent (default), 1 lifecycle, 2 every request, on the console. */
  verbosity?: 0 | 1 | 2;
  /** `direct` even where SharedArrayBuffer exists. Default: `bridge` where it can be had. */
  mode?: Mode;
  /** False: behave as if the browser had no OPFS. */
  opfs?: boolean;
  /** What to do when the log was damaged (not by a crash: that it survives). Without it the store is read-only, as of before the damage. */
  recover?: 'truncate' | 'refuse';
  /** Bytes of the page cache that the engines share. Bridge mode only. Default 64 MiB. */
  cacheBytes?: number;
  /** Statements that take longer than this many milliseconds are told as events, with their plan. Default: none are. */
  slowQueryMs?: number;
  /** Called with the store's metrics every `metricsIntervalMs`. */
  onMetrics?: (metrics: Metrics) => void;
  /** Default 10000. */
  metricsIntervalMs?: number;
  /** Where the package's worker scripts lie, if not beside the module. Must be of this origin. */
  workersUrl?: string | URL;
  /** Where the `.wasm` lies, if not beside the module. */
  wasmUrl?: string | URL;
  /**
   * Let `?statik.mode=direct&statik.opfs=off&statik.verbosity=2&statik.sanityCheck=on&statik.workersUrl=…` of the
   * page's URL override these options. Off by default, because a link is not the app's to trust.
   */
  urlOptions?: boolean;
  /** Called for every event from the first moment of opening. */
  onEvent?: (event: StatikEvent) => void;
}

export type StatikEvent =
  /** OPFS was refused and the app asked for memory: nothing will survive the tab. */
  | { type: 'fallback'; storage: 'memory'; reason: string }
  /** SharedArrayBuffer is missing (the page is not cross-origin isolated): direct mode. */
  | { type: 'mode'; mode: Mode; reason: string }
  /** A worker died. Calls in flight have failed with `Closed`. */
  | { type: 'died'; worker: 'io' | 'engine'; reason: string }
  /** The log was damaged. Without option `recover` the store is read-only; with 'truncate', what came later is set aside. */
  | ({ type: 'damaged' } & Damage)
  /** A statement took longer than `slowQueryMs`. */
  | ({ type: 'slowQuery'; database: string } & SlowQuery);

/** Where the log is not what was written, though it was durable. */
export interface Damage {
  /** The log's file, relative to the store. */
  file: string;
  offset: number;
  /** The number of the first record that is lost. */
  sequence: number;
  /**
   * Whether database files may hold changes that come after the damage: a checkpoint may have copied some. What is served,
   * or is gone on from with `truncate`, may then be a mix of states; `health({ full: true })` tells what SQLite makes of it.
   */
  filesAhead: boolean;
  reason: string;
}

export interface SlowQuery {
  sql: string;
  ms: number;
  rows: number;
  plan: PlanRow[];
}

export interface Status {
  mode: Mode;
  storage: Storage;
  /** Bytes used and allowed for the whole origin, as the browser estimates them. */
  usageBytes?: number;
  quotaBytes?: number;
  /** True if the browser promised not to evict. */
  persisted?: boolean;
}

/** Totals since the store was opened. What nobody waits for is counted, and takes no time. */
export interface OperationMetrics {
  count: number;
  errors: number;
  bytes: number;
  totalMs: number;
  maxMs: number;
}
/** Keyed by operation: open, read, write, flush, remove, rename, list, begin, commit … */
export type Operations = Record<string, OperationMetrics>;

/** What a store did since it was opened, and how it is now. */
export interface Metrics {
  operations: Operations;
  log: LogMetrics;
  /** The page cache that engines share (bridge mode), as the engines of this page found it. */
  cache: CacheMetrics;
  /** One for each database that is open with a pool. */
  pools: PoolMetrics[];
}

/** Commits are numbered from 1. */
export interface LogMetrics {
  /** What waits to be copied to the database files. */
  bytes: number;
  newest: number;
  durable: number;
  checkpointed: number;
  commits: number;
  flushes: number;
  /** Missing before the first flush. */
  commitsPerFlush?: number;
}

export interface CacheMetrics {
  hits: number;
  misses: number;
  /** From 0 to 1; missing before the first read. */
  hitRate?: number;
}

export interface PoolMetrics {
  database: string;
  /** Connections, each in an engine worker of its own. */
  size: number;
  busy: number;
  /** Calls that wait for a connection now, and how many ever did. */
  waiting: number;
  waited: number;
  maxWaitMs: number;
  timeouts: number;
  /** Engines that were started, let go because they were idle, and replaced because they died. */
  started: number;
  released: number;
  died: number;
}

/** What a database's connections did since it was opened. */
export interface DatabaseMetrics {
  queries: QueryMetrics;
  /** SQLite's own caches. */
  cache: CacheMetrics;
  /** The latest, if `slowQueryMs` is set. */
  slowQueries: SlowQuery[];
  pool?: PoolMetrics;
}

/**
 * Time in SQLite, waiting for locks and storage included, in milliseconds; percentiles to about 20 %. Of a statement that
 * is run again and again in less than 50 µs, one run in eight is timed and stands for the others, unless the store was
 * opened with `slowQueryMs`.
 */
export interface QueryMetrics {
  count: number;
  totalMs: number;
  maxMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
}

export interface Health {
  /** Nothing was found: `integrity` and `foreignKeys` are empty. */
  ok: boolean;
  full: boolean;
  /** What SQLite's quick_check, or integrity_check if full, found: at most 100 lines. */
  integrity: string[];
  /** At most 100. Looked for only if full. */
  foreignKeys: ForeignKeyViolation[];
  sizeBytes: number;
  /** In pages that hold nothing; `vacuum()` gives them back. */
  freeBytes: number;
  /** The share of pages that do not follow the one read before them, from 0 to 1. Looked for only if full, and all is well. */
  fragmentation?: number;
  log: Omit<LogMetrics, 'commits' | 'flushes' | 'commitsPerFlush'>;
}

export interface ForeignKeyViolation {
  table: string;
  /** null in a table without row ids. */
  rowid: number | bigint | null;
  /** The table that lacks the row. */
  parent: string;
}

export interface VacuumResult {
  beforeBytes: number;
  afterBytes: number;
}

/** As SQLite's pragma: when a commit returns. */
export type Synchronous = 'off' | 'normal' | 'full';

export interface DatabaseOptions {
  /** Fail with `NotFound` instead of creating. Default false. */
  mustExist?: boolean;
  readOnly?: boolean;
  /** How long a statement waits for another connection's lock, in milliseconds. Default 5000. */
  busyTimeoutMs?: number;
  /** SQLite's page cache for this connection, in KiB. Default 65536. */
  cacheKib?: number;
  /** Enforce foreign keys. Default true. */
  foreignKeys?: boolean;
  /** When a commit returns: `full` (the default) once it is flushed, `normal` at once, with a flush within 50 ms. */
  synchronous?: Synchronous;
  /**
   * Several connections, each in a worker of its own: what only reads (`all`, `get`, `iterate`, deferred transactions) goes
   * to a free reader, all else to one writer. Default: one connection. In direct mode, and for `:memory:`, it is one anyway.
   */
  pool?: boolean | PoolOptions;
}

export interface PoolOptions {
  /** Connections that are kept, the writer among them. Default 2, or `max` if that is less. */
  min?: number;
  /** Default: as many as the machine has cores, but 2 at least and 8 at most. */
  max?: number;
  /** How long a call waits for a connection before it fails with `Timeout`, in milliseconds. Default 30000. */
  acquireTimeoutMs?: number;
  /** Connections above `min` are closed when nobody used them for this long, in milliseconds. Default 10000. */
  idleMs?: number;
}

export interface QueryOptions {
  /** Default 'object'. */
  rows?: 'object' | 'array';
  signal?: AbortSignal;
}

export interface IterateOptions extends QueryOptions {
  /** Rows fetched at a time. Default 1000. */
  batchRows?: number;
}

export interface RunResult {
  /** Rows changed by this statement alone. */
  changes: number;
  lastInsertRowid: number | bigint;
}

export interface ColumnInfo {
  name: string;
  /** As declared in the schema, or null for an expression. */
  declaredType: string | null;
  table: string | null;
  database: string | null;
}

export interface DatabaseInfo {
  name: string;
  sizeBytes: number;
}

export interface TransferOptions {
  signal?: AbortSignal;
  /** `totalBytes` is missing where the source does not tell. */
  onProgress?: (progress: { doneBytes: number; totalBytes?: number }) => void;
}

export interface TransactionOptions {
  /** `immediate` (the default) takes the write lock first, so that nothing fails half-way with `Busy`. */
  mode?: 'deferred' | 'immediate' | 'exclusive';
}

export interface PlanRow {
  id: number;
  parent: number;
  detail: string;
}

export type ImportSource = ReadableStream<Uint8Array> | Blob | Uint8Array;

/** The verbs shared by a database and a transaction. */
export interface Queries {
  /** Runs any number of statements; their rows are dropped. */
  exec(sql: string, options?: { signal?: AbortSignal }): Promise<void>;
  /** Runs one statement. */
  run(sql: string, params?: SqlParams, options?: { signal?: AbortSignal }): Promise<RunResult>;
  all<T = Row>(sql: string, params?: SqlParams, options?: QueryOptions): Promise<T[]>;
  /** The first row, or undefined. */
  get<T = Row>(sql: string, params?: SqlParams, options?: QueryOptions): Promise<T | undefined>;
  /** Rows in batches; leaving the loop early stops the query. */
  iterate<T = Row>(sql: string, params?: SqlParams, options?: IterateOptions): AsyncIterableIterator<T>;
  prepare(sql: string): Promise<Statement>;
  /** SQLite's EXPLAIN QUERY PLAN. */
  explain(sql: string, params?: SqlParams): Promise<PlanRow[]>;
  /** Commits when `body` resolves, rolls back when it throws; nested calls are savepoints. */
  transaction<T>(body: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>;
}

export interface Transaction extends Queries {}

export interface Database extends Queries, AsyncDisposable {
  readonly name: string;
  /** Stops what runs now; it fails with `Aborted`. */
  interrupt(): void;
  /** The database file, in chunks, as of one moment. */
  export(options?: TransferOptions): Promise<ReadableStream<Uint8Array>>;
  /** Quick: what can be told cheaply. Full: SQLite's integrity check and foreign key check too, which read everything. */
  health(options?: HealthOptions): Promise<Health>;
  /**
   * Copies the database, as of one moment and while others write, to the database `to` of this store, whose content is
   * replaced at once when the copy is complete.
   */
  backup(to: string, options?: TransferOptions): Promise<DatabaseInfo>;
  /** Rewrites the database without its free space. */
  vacuum(): Promise<VacuumResult>;
  /** Copies all commits from the log to the database files; any SQLite can open those then. `Busy` while older snapshots are read. */
  checkpoint(): Promise<void>;
  metrics(): Promise<DatabaseMetrics>;
  close(): Promise<void>;
}

export interface HealthOptions {
  /** Default false. */
  full?: boolean;
  signal?: AbortSignal;
}

export interface Statement extends AsyncDisposable {
  readonly sql: string;
  readonly columns: readonly ColumnInfo[];
  readonly readOnly: boolean;
  run(params?: SqlParams, options?: { signal?: AbortSignal }): Promise<RunResult>;
  all<T = Row>(params?: SqlParams, options?: QueryOptions): Promise<T[]>;
  get<T = Row>(params?: SqlParams, options?: QueryOptions): Promise<T | undefined>;
  iterate<T = Row>(params?: SqlParams, options?: IterateOptions): AsyncIterableIterator<T>;
  finalize(): Promise<void>;
}

export interface Sqlite {
  /** Opens, or creates, a database. The name may have slashes; `:memory:` is SQLite's own. */
  open(name: string, options?: DatabaseOptions): Promise<Database>;
  list(): Promise<DatabaseInfo[]>;
  exists(name: string): Promise<boolean>;
  /** `Busy` while a connection has it open, `NotFound` if there is none. */
  delete(name: string): Promise<void>;
  /** `Busy` while a connection has either open, `Exists` if `to` is taken. */
  rename(from: string, to: string): Promise<void>;
  /** Validates (header, page size, integrity), then replaces `name` at once. `Busy` while a connection has it open. */
  import(name: string, source: ImportSource, options?: TransferOptions): Promise<DatabaseInfo>;
  export(name: string, options?: TransferOptions): Promise<ReadableStream<Uint8Array>>;
  /**
   * Brings a database's schema to the newest version of the list, or to `target`, up or down, all in one transaction: it
   * ends there, or as it was. If it is there already nothing is done. Several connections may do this at once.
   *
   * The history is the table `statik_migrations`; `PRAGMA user_version` follows it, for other programs to read. While it runs
   * foreign keys are not enforced, so that a table can be rebuilt without the rows that refer to it being deleted. If the
   * connection enforces them, the whole database is checked before the commit, and a row without its parent fails with
   * `Conflict`.
   *
   * Refused, with nothing changed: a database that a newer app migrated (`Unsupported`), or somebody else (`Conflict`: it has
   * a `user_version` and no history); a migration that changed since it was applied (`Conflict`); one without `down` on the
   * way down (`Unsupported`); a history that contradicts itself (`Corrupt`).
   */
  migrate(db: Database, migrations: readonly SqliteMigration[], options?: MigrateOptions): Promise<MigrationResult>;
}

/**
 * One version of a schema: what leads to it from the version before, and back. `upgrade` and `up` are two names of one
 * thing. A list of them has the versions 1, 2, 3 … in order.
 *
 * A migration that was applied must not change after. That is found out by its checksum: SHA-256 over version, name and the
 * text of what is run. SQL is its own text. A function's text is what the engine has, which a minifier or a compiler may
 * change though the source did not: give functions a `checksum` of your own (any string; change it only with the meaning).
 */
export type Migration<Step> = {
  version: number;
  name?: string;
  checksum?: string;
  /** Without it the version cannot be gone back from. */
  down?: Step;
} & ({ upgrade: Step; up?: undefined } | { up: Step; upgrade?: undefined });

/**
 * Of an SQLite database: any number of statements, or a function. Neither may commit or roll back by itself (`BEGIN` fails,
 * savepoints are welcome). A function calls `tx` alone: a call on the database waits for the migration to end.
 */
export type SqliteMigration = Migration<string | ((tx: Transaction) => void | Promise<void>)>;
export type SyncSqliteMigration = Migration<string | ((tx: SyncQueries) => void)>;

/** A step that was taken, as the database's history keeps it. */
export interface MigrationEntry {
  version: number;
  /** Empty if it has none. */
  name: string;
  checksum: string;
  /** Milliseconds since 1970. */
  appliedMs: number;
  direction: 'up' | 'down';
}

export interface MigrationProgress {
  /** From 1. */
  step: number;
  of: number;
  version: number;
  name: string;
  direction: 'up' | 'down';
}

export interface MigrateOptions {
  /** The version to go to, up or down; 0 is before the first. Default: the newest in the list. */
  target?: number;
  /** Called before each step. What it throws stops the migration, as if it had never begun. */
  onProgress?: (progress: MigrationProgress) => void;
  /** Stops the migration, as if it had never begun, unless it is being committed already. */
  signal?: AbortSignal;
}

export interface MigrationResult {
  from: number;
  to: number;
  /** What was done, in order. Empty if there was nothing to do. */
  applied: MigrationEntry[];
}

/** Durability for state that an app keeps in memory; see `Journal`. */
export interface Journals {
  /**
   * Opens, or creates, a journal. `Busy` while it is open elsewhere in this store. The name has no slashes, and up to 100
   * bytes.
   */
  open(name: string, options?: JournalOptions): Promise<Journal>;
}

export interface JournalOptions {
  /** `full` (the default): an append resolves once it is durable. `normal`: once it is written; `flush()` makes it durable. */
  durability?: 'full' | 'normal';
  /**
   * What to do when the journal was damaged (not by a crash: that it survives). Without it, it is read-only, as of before
   * the damage. `truncate` cuts off what is damaged, after a copy of that was made; `refuse` does not open it: `Corrupt`.
   */
  recover?: 'truncate' | 'refuse';
}

/** A frame, or a snapshot with the number of the last frame in it. Frames are numbered from 1. */
export interface JournalFrame {
  seq: number;
  bytes: Uint8Array;
}

/** What is not as it was written, though it was durable. */
export interface JournalDamage {
  /** The file, relative to the store. */
  file: string;
  /** From which byte on it is not to be trusted. */
  offset: number;
  /** The first frame concerned; for a snapshot, the frame up to which it goes. */
  seq: number;
  reason: string;
  /** The file that has what was cut off. */
  aside?: string;
}

/**
 * An append-only log of frames with snapshots: an app appends what changes, now and then keeps a snapshot of all of its
 * state, and when it starts reads the newest snapshot and the frames after it.
 *
 * ```ts
 * const journal = await statik.journal.open('drawing');
 * const { snapshot, frames } = await journal.recover();
 * if (snapshot) drawing.load(snapshot.bytes);
 * for await (const { bytes } of frames) drawing.apply(bytes);
 * await journal.append(change);                  // durable when it resolves
 * await journal.snapshot(drawing.save());        // frames that are not needed any more are dropped
 * ```
 *
 * After a change has failed (for want of space, say) further ones fail with `Closed`: open it again to go on.
 */
export interface Journal extends AsyncDisposable {
  readonly name: string;
  /** What was found when it was opened. Unless it was cut off, the journal is read-only. */
  readonly damage: JournalDamage | undefined;
  /** Appends a frame of up to 64 MiB (a string as UTF-8); its number. Appends keep the order in which they were called. */
  append(frame: Uint8Array | string): Promise<number>;
  /** Makes all frames durable; the newest one's number. */
  flush(): Promise<number>;
  /**
   * Keeps the state, of up to 256 MiB, that all frames appended so far have led to, durably; the number of the last of
   * them. The frames after the snapshot before this one are kept, in case this one is ever damaged.
   */
  snapshot(state: Uint8Array | string): Promise<number>;
  /**
   * Frames from the number `from` on, by default from the oldest that is kept, up to the newest. `NotFound` if that one was
   * dropped already, `Conflict` if a snapshot drops it meanwhile.
   */
  cursor(from?: number): AsyncIterableIterator<JournalFrame>;
  /** The newest sound snapshot, if there is one, and the frames after it. */
  recover(): Promise<{ snapshot?: JournalFrame; frames: AsyncIterableIterator<JournalFrame>; damage?: JournalDamage }>;
  /** Does not flush. */
  close(): Promise<void>;
}

export interface Statik extends AsyncDisposable {
  readonly name: string;
  readonly mode: Mode;
  readonly storage: Storage;
  readonly sqlite: Sqlite;
  readonly journal: Journals;
  status(): Promise<Status>;
  /** Counts and timings of the storage, the log and the caches. */
  metrics(): Promise<Metrics>;
  /** Resolves when every commit acknowledged so far is durable. */
  durable(): Promise<void>;
  /** Ask the browser not to evict this origin. */
  persist(): Promise<boolean>;
  /** A port that a worker of this page hands to `open({ port })` of `statik-storage/sync`. Bridge mode only. */
  port(): Promise<MessagePort>;
  close(): Promise<void>;
}

/** What `statik-storage/sync` gives inside a dedicated worker: the same verbs, returning values. */
export interface SyncOpenOptions extends Omit<OpenOptions, 'name'> {
  /** Own this store in this worker … */
  name?: string;
  /** … or share the page's, by the port from `statik.port()`. */
  port?: MessagePort;
  /** Direct mode only: new databases that will be opened (existing ones always can be). */
  databases?: readonly string[];
  /** Direct mode only: journals that will be opened. With option `recover: 'truncate'` each of them can be opened so. */
  journals?: readonly string[];
}

export interface SyncQueries {
  exec(sql: string): void;
  run(sql: string, params?: SqlParams): RunResult;
  all<T = Row>(sql: string, params?: SqlParams, options?: { rows?: 'object' | 'array' }): T[];
  get<T = Row>(sql: string, params?: SqlParams, options?: { rows?: 'object' | 'array' }): T | undefined;
  iterate<T = Row>(sql: string, params?: SqlParams, options?: { rows?: 'object' | 'array' }): IterableIterator<T>;
  prepare(sql: string): SyncStatement;
  explain(sql: string, params?: SqlParams): PlanRow[];
  transaction<T>(body: (tx: SyncQueries) => T, options?: TransactionOptions): T;
}

export interface SyncDatabase extends SyncQueries, Disposable {
  readonly name: string;
  health(options?: { full?: boolean }): Health;
  /** In direct mode `to` must have been told to `open`. */
  backup(to: string, options?: { onProgress?: TransferOptions['onProgress'] }): DatabaseInfo;
  vacuum(): VacuumResult;
  checkpoint(): void;
  metrics(): DatabaseMetrics;
  close(): void;
}

export interface SyncStatement extends Disposable {
  readonly sql: string;
  readonly columns: readonly ColumnInfo[];
  readonly readOnly: boolean;
  run(params?: SqlParams): RunResult;
  all<T = Row>(params?: SqlParams, options?: { rows?: 'object' | 'array' }): T[];
  get<T = Row>(params?: SqlParams, options?: { rows?: 'object' | 'array' }): T | undefined;
  iterate<T = Row>(params?: SqlParams, options?: { rows?: 'object' | 'array' }): IterableIterator<T>;
  finalize(): void;
}

export interface SyncSqlite {
  open(name: string, options?: Omit<DatabaseOptions, 'pool'>): SyncDatabase;
  /** In direct mode, of the databases that were there at `open` and those told to it. */
  list(): DatabaseInfo[];
  exists(name: string): boolean;
  /** Bridge mode only, as are `rename` and, in direct mode, opening names not told to `open`. */
  delete(name: string): void;
  rename(from: string, to: string): void;
  /**
   * As `Sqlite.migrate`. It is a promise because checksums are; the migration itself is one synchronous call, and so is
   * each of its steps.
   */
  migrate(db: SyncDatabase, migrations: readonly SyncSqliteMigration[], options?: Omit<MigrateOptions, 'signal'>): Promise<MigrationResult>;
}

export interface SyncJournals {
  /** In direct mode, those told to `open`. */
  open(name: string, options?: JournalOptions): SyncJournal;
}

/** As `Journal`. */
export interface SyncJournal extends Disposable {
  readonly name: string;
  readonly damage: JournalDamage | undefined;
  append(frame: Uint8Array | string): number;
  flush(): number;
  snapshot(state: Uint8Array | string): number;
  cursor(from?: number): IterableIterator<JournalFrame>;
  recover(): { snapshot?: JournalFrame; frames: IterableIterator<JournalFrame>; damage?: JournalDamage };
  close(): void;
}

export interface SyncStatik extends AsyncDisposable {
  readonly name: string;
  readonly mode: Mode;
  readonly storage: Storage;
  readonly sqlite: SyncSqlite;
  readonly journal: SyncJournals;
  metrics(): Metrics;
  durable(): void;
  close(): Promise<void>;
}
