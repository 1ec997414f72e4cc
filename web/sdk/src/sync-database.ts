/**
 * A database connection in the thread of its engine: every verb, once. `statik-storage/sync` hands it out as it is; the
 * engine worker serves the page with it.
 *
 * Invariants: a prepared statement is used by one cursor at a time; one that failed is not used again; inside a
 * transaction nothing runs after SQLite has rolled it back by itself (it would commit on its own).
 */
import { dispose } from './dispose.js';
import { failure, StatikError } from './errors.js';
import { cacheMetrics, queryMetrics } from './metrics.js';
import { healthOptions, queryOptions, transactionMode, transferOptions } from './options.js';
import type { ConnectionCounters } from './protocol.js';
import { shape, type Batch } from './rows.js';
import { enter, type Backup, type Connection, type Stmt } from './wasm.js';
import type {
  ColumnInfo, DatabaseInfo, DatabaseMetrics, Health, PlanRow, Row, RunResult, SlowQuery, SqlParams, SyncDatabase, SyncQueries,
  SyncStatement, TransactionOptions, TransferOptions, VacuumResult,
} from './types.js';

/** Prepared statements kept for each connection. */
const CACHED_STATEMENTS = 64;
/** Rows taken out of SQLite at once where the caller sees single rows, or all. Rust stops earlier at about a MiB. */
const BATCH_ROWS = 256;
const ALL_ROWS = 0x7fffffff;
const EXPLAIN = 'EXPLAIN QUERY PLAN ';
/** Slow queries that are kept for `metrics`. */
const SLOW_QUERIES = 32;
/** Pages that a backup copies between two reports of its progress. */
const BACKUP_PAGES = 256;

/** What a connection's thread wants to know of it. */
export interface Hooks {
  onClose?: () => void;
  /** A statement has run; something may have been committed. */
  onRun?: () => void;
  /** A statement took longer than the connection's `slowQueryMs`. */
  onSlow?: (slow: SlowQuery) => void;
}

type RowsOption = { rows?: 'object' | 'array' };

/** A connection. `close` finalizes everything and ends open cursors. */
export class LocalDatabase implements SyncDatabase {
  readonly name: string;
  readonly #connection: Connection;
  readonly #hooks: Hooks;
  /** The latest. */
  readonly #slow: SlowQuery[] = [];
  /** Idle statements by SQL; the least recently used first. */
  readonly #idle = new Map<string, Stmt>();
  readonly #cursors = new Set<Cursor>();
  /** Open transactions from the outside in: '' for BEGIN, else the savepoint's name. */
  readonly #transactions: string[] = [];
  #closed = false;

  constructor(name: string, connection: Connection, hooks: Hooks = {}) {
    this.name = name;
    this.#connection = connection;
    this.#hooks = hooks;
  }

  /** Whether SQLite has a transaction open, by whatever means. */
  get inTransaction(): boolean {
    return enter(() => this.#connection.inTransaction);
  }

  exec(sql: string): void {
    this.#check(sql);
    this.#checkTransaction(sql);
    enter(() => this.#connection.exec(sql));
    this.#ran();
  }

  run(sql: string, params?: SqlParams): RunResult {
    return this.#use(sql, (stmt) => ({ changes: stmt.run(params), lastInsertRowid: this.#connection.lastInsertRowid }));
  }

  all<T = Row>(sql: string, params?: SqlParams, options?: RowsOption): T[] {
    const { rows } = queryOptions(options);
    const cursor = this.open(sql, params);
    const result = shape<T>(cursor.next(ALL_ROWS), rows);
    while (!cursor.done) for (const row of shape<T>(cursor.next(ALL_ROWS), rows)) result.push(row);
    return result;
  }

  get<T = Row>(sql: string, params?: SqlParams, options?: RowsOption): T | undefined {
    const { rows } = queryOptions(options);
    return shape<T>(this.first(sql, params), rows)[0];
  }

  /** The first row, if any, in the form that travels. */
  first(sql: string, params?: SqlParams): Batch {
    return this.#use(sql, (stmt) => {
      stmt.bind(params);
      const values = stmt.step(1);
      const { columnNames } = stmt;
      stmt.reset();
      return { columnNames, values, done: true };
    });
  }

  /** The statement starts with the first row that is asked for, and stops when the loop is left. */
  * iterate<T = Row>(sql: string, params?: SqlParams, options?: RowsOption): IterableIterator<T> {
    const { rows } = queryOptions(options);
    const cursor = this.open(sql, params);
    try {
      while (!cursor.done) yield* shape<T>(cursor.next(BATCH_ROWS), rows);
    } finally {
      cursor.close();
    }
  }

  /** Starts a query whose rows are fetched in batches. */
  open(sql: string, params: SqlParams | undefined): Cursor {
    const stmt = this.#take(sql);
    const cursor = new Cursor(stmt, (reusable) => {
      this.#cursors.delete(cursor);
      if (reusable) this.#give(sql, stmt);
      else enter(() => stmt.finalize());
      this.#ran();
    });
    this.#cursors.add(cursor);
    cursor.bind(params);
    return cursor;
  }

  prepare(sql: string): SyncStatement {
    return new LocalStatement(this, sql, this.describe(sql));
  }

  /** What can be known of a statement without running it. */
  describe(sql: string): { columns: ColumnInfo[]; readOnly: boolean } {
    return this.#use(sql, (stmt) => ({ columns: stmt.columns(), readOnly: stmt.readOnly }));
  }

  /** Whether `sql` is known to be exactly one statement; one that cannot be prepared is not. */
  isSingle(sql: string): boolean {
    try {
      this.describe(sql);
      return true;
    } catch {
      return false;
    }
  }

  explain(sql: string, params?: SqlParams): PlanRow[] {
    this.#check(sql);
    try {
      return this.all<PlanRow & Row>(EXPLAIN + sql, params).map(({ id, parent, detail }) => ({ id, parent, detail }));
    } catch (error) {
      if (!(error instanceof StatikError) || error.offset === undefined) throw error;
      throw new StatikError({ ...error.toJSON(), offset: Math.max(0, error.offset - EXPLAIN.length) }, { cause: error });
    }
  }

  /** `tx` is this database: whatever it is asked during `body` is part of the transaction. */
  transaction<T>(body: (tx: SyncQueries) => T, options?: TransactionOptions): T {
    if (typeof body !== 'function') throw failure('Invalid', 'transaction: body must be a function');
    this.begin(transactionMode(options));
    try {
      const result = body(this);
      if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
        throw failure('Invalid', 'transaction: body returned a promise; in the synchronous API it must finish before it returns');
      }
      this.commit();
      return result;
    } catch (error) {
      try {
        this.rollback();
      } catch {
        // The connection is beyond use, and every later call will say so; the caller needs to know what came first.
      }
      throw error;
    }
  }

  /** Begins a transaction, or a savepoint inside the one that is open. */
  begin(mode: NonNullable<TransactionOptions['mode']>): void {
    const savepoint = this.inTransaction ? `statik_${this.#transactions.length}` : '';
    this.run(savepoint ? `SAVEPOINT ${savepoint}` : `BEGIN ${mode}`);
    this.#transactions.push(savepoint);
  }

  /** Commits the innermost transaction. If that fails it is still open, and wants `rollback`. */
  commit(): void {
    const savepoint = this.#transactions.at(-1);
    this.run(savepoint ? `RELEASE ${savepoint}` : 'COMMIT');
    this.#transactions.pop();
  }

  /** Rolls the innermost transaction back, unless SQLite has done that already (as it does when the disk is full). */
  rollback(): void {
    const savepoint = this.#transactions.at(-1);
    try {
      if (!this.inTransaction) return;
      if (savepoint) this.run(`ROLLBACK TO ${savepoint}`);
      this.run(savepoint ? `RELEASE ${savepoint}` : 'ROLLBACK');
    } finally {
      this.#transactions.pop();
    }
  }

  health(options?: { full?: boolean }): Health {
    const { full } = healthOptions(options);
    this.#checkOpen();
    return enter(() => this.#connection.health(full));
  }

  backup(to: string, options?: { onProgress?: TransferOptions['onProgress'] }): DatabaseInfo {
    const { onProgress } = transferOptions(options as TransferOptions);
    const backup = this.beginBackup(to);
    try {
      for (let done = false; !done;) {
        done = enter(() => backup.step(BACKUP_PAGES));
        onProgress({ doneBytes: backup.doneBytes, totalBytes: backup.totalBytes });
      }
      return { name: to, sizeBytes: backup.totalBytes };
    } finally {
      enter(() => backup.close());
      this.#ran();
    }
  }

  /** A copy to be made step by step. */
  beginBackup(to: string): Backup {
    this.#checkOpen();
    return enter(() => this.#connection.backup(to));
  }

  vacuum(): VacuumResult {
    this.#checkOpen();
    const result = enter(() => this.#connection.vacuum());
    this.#ran();
    return result;
  }

  checkpoint(): void {
    this.#checkOpen();
    enter(() => this.#connection.checkpoint());
  }

  metrics(): DatabaseMetrics {
    const { timings, slowQueries } = this.counters();
    return { queries: queryMetrics(timings), cache: cacheMetrics(timings.cacheHits, timings.cacheMisses), slowQueries };
  }

  /** What `metrics` is made of. */
  counters(): ConnectionCounters {
    this.#checkOpen();
    return { timings: enter(() => this.#connection.timings()), slowQueries: [...this.#slow] };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const cursor of this.#cursors) cursor.abandon();
    this.#idle.clear();
    enter(() => this.#connection.close());
    this.#hooks.onClose?.();
  }

  [dispose](): void {
    this.close();
  }

  #check(sql: string): void {
    this.#checkOpen();
    if (typeof sql !== 'string') throw failure('Invalid', `sql must be a string; it is ${typeof sql}`);
  }

  #checkOpen(): void {
    if (this.#closed) throw failure('Closed', `database "${this.name}" is closed`, this.name);
  }

  /** To be called when a statement has ended. */
  #ran(): void {
    const { onRun, onSlow } = this.#hooks;
    onRun?.();
    if (onSlow === undefined) return;
    for (const slow of enter(() => this.#connection.takeSlowQueries())) {
      this.#slow.push(slow);
      if (this.#slow.length > SLOW_QUERIES) this.#slow.shift();
      onSlow(slow);
    }
  }

  #checkTransaction(sql: string): void {
    // Only `rollback` may go on, and it asks before it runs anything.
    if (this.#transactions.length > 0 && !this.inTransaction) {
      throw failure('Aborted', `SQLite has already rolled this transaction back; not run: ${sql.slice(0, 80)}`);
    }
  }

  #use<T>(sql: string, job: (stmt: Stmt) => T): T {
    const stmt = this.#take(sql);
    let result: T;
    try {
      result = enter(() => job(stmt));
    } catch (error) {
      enter(() => stmt.finalize());
      throw error;
    }
    this.#give(sql, stmt);
    this.#ran();
    return result;
  }

  #take(sql: string): Stmt {
    this.#check(sql);
    this.#checkTransaction(sql);
    const stmt = this.#idle.get(sql);
    if (stmt === undefined) return enter(() => this.#connection.prepare(sql));
    this.#idle.delete(sql);
    return stmt;
  }

  /** Takes back a statement that is reset. */
  #give(sql: string, stmt: Stmt): void {
    const twin = this.#idle.get(sql);
    if (twin !== undefined) {
      enter(() => twin.finalize());
      this.#idle.delete(sql);
    }
    this.#idle.set(sql, stmt);
    if (this.#idle.size <= CACHED_STATEMENTS) return;
    const [oldest, victim] = this.#idle.entries().next().value!;
    this.#idle.delete(oldest);
    enter(() => victim.finalize());
  }
}

/** A running query. Whoever opens one fetches until `done`, or closes it; a `next` that fails has closed it. */
export class Cursor {
  readonly #stmt: Stmt;
  #release: ((reusable: boolean) => void) | undefined;
  #columnNames: string[] | undefined;
  #abandoned = false;

  /** `release` gets the statement back, and is told whether it may be used again. */
  constructor(stmt: Stmt, release: (reusable: boolean) => void) {
    this.#stmt = stmt;
    this.#release = release;
  }

  /** To be called once, before the first `next`. */
  bind(params: SqlParams | undefined): void {
    this.#guard(() => this.#stmt.bind(params));
  }

  /** No rows are left, or nobody wants them. */
  get done(): boolean {
    return this.#release === undefined && !this.#abandoned;
  }

  /** Up to `maxRows` rows; fewer say nothing, only `done` does. */
  next(maxRows: number): Batch {
    if (this.#abandoned) throw failure('Closed', 'the database was closed while this query ran');
    const batch = this.#guard(() => {
      const values = this.#stmt.step(maxRows);
      // Asked for after the first step, because SQLite may compile the statement again in it, for a changed schema.
      this.#columnNames ??= this.#stmt.columnNames;
      return { columnNames: this.#columnNames, values, done: this.#stmt.done };
    });
    if (batch.done) this.close();
    return batch;
  }

  /** Ends the query. Idempotent. */
  close(reusable = true): void {
    const release = this.#release;
    this.#release = undefined;
    if (release === undefined) return;
    if (reusable) enter(() => this.#stmt.reset());
    release(reusable);
  }

  /** The connection is closing and takes the statement with it. */
  abandon(): void {
    this.#release = undefined;
    this.#abandoned = true;
  }

  #guard<T>(job: () => T): T {
    try {
      return enter(job);
    } catch (error) {
      this.close(false);
      throw error;
    }
  }
}

/** SQL that was found good. It stays prepared by staying among the connection's latest statements. */
class LocalStatement implements SyncStatement {
  readonly sql: string;
  readonly columns: readonly ColumnInfo[];
  readonly readOnly: boolean;
  readonly #database: LocalDatabase;
  #finalized = false;

  constructor(database: LocalDatabase, sql: string, { columns, readOnly }: { columns: ColumnInfo[]; readOnly: boolean }) {
    this.sql = sql;
    this.columns = columns;
    this.readOnly = readOnly;
    this.#database = database;
  }

  run(params?: SqlParams): RunResult {
    return this.#open.run(this.sql, params);
  }

  all<T = Row>(params?: SqlParams, options?: RowsOption): T[] {
    return this.#open.all(this.sql, params, options);
  }

  get<T = Row>(params?: SqlParams, options?: RowsOption): T | undefined {
    return this.#open.get(this.sql, params, options);
  }

  iterate<T = Row>(params?: SqlParams, options?: RowsOption): IterableIterator<T> {
    return this.#open.iterate(this.sql, params, options);
  }

  finalize(): void {
    this.#finalized = true;
  }

  [dispose](): void {
    this.finalize();
  }

  get #open(): LocalDatabase {
    if (this.#finalized) throw failure('Closed', `this statement is finalized: ${this.sql.slice(0, 80)}`);
    return this.#database;
  }
}
