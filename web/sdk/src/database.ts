/**
 * A database on the page: every verb is a call to the engine worker that has the connection.
 *
 * Invariants: the calls of a scope (a database, or a transaction on it) run one after another, in the order in which they
 * were made; a transaction occupies the scope it was begun in until it has ended; after a scope has ended its calls fail
 * with `Closed`, and none hangs.
 */
import { asyncDispose } from './dispose.js';
import { failure, ignoreClosed, StatikError } from './errors.js';
import { cacheMetrics, queryMetrics } from './metrics.js';
import { healthOptions, iterateOptions, queryOptions, signalIn, transactionMode, transferOptions } from './options.js';
import type { ConnectionCounters } from './protocol.js';
import { Queue } from './queue.js';
import { portable, shape, type Batch } from './rows.js';
import type { Call, Session } from './session.js';
import type {
  ColumnInfo, Database, DatabaseInfo, DatabaseMetrics, Health, HealthOptions, IterateOptions, PlanRow, Queries, QueryOptions,
  Row, RunResult, SqlParams, Statement, Transaction, TransactionOptions, TransferOptions, VacuumResult,
} from './types.js';

/** Rows fetched at once where the caller wants all. Rust stops earlier at about a MiB. */
const ALL_ROWS = 0x7fffffff;
/** Pages that a backup copies before other calls get a turn. */
const BACKUP_PAGES = 256;

/** The connection that a database and its transactions share. */
export interface Connected {
  readonly session: Session;
  /** The engine's number for the connection. */
  readonly db: number;
  /** Numbers the connection's cursors. */
  lastCursor: number;
}

type Signal = { signal?: AbortSignal };

/** What a database and a transaction have in common. */
abstract class Scope implements Queries {
  protected readonly connected: Connected;
  protected readonly queue = new Queue();
  /** Queries that are not done, by the engine's number. */
  readonly #cursors = new Set<number>();
  /** Why no more calls are taken. */
  #ended: StatikError | undefined;
  /** Why even what is queued does not run. */
  #cut: StatikError | undefined;
  #onCut: (error: StatikError) => void = () => {};
  #transaction: RemoteTransaction | undefined;
  /** True while the body of a transaction is being entered: what calls this scope then is that body. */
  #entering = false;

  constructor(connected: Connected) {
    this.connected = connected;
  }

  async exec(sql: string, options?: Signal): Promise<void> {
    return this.enqueue((call) => call('exec', this.connected.db, sql), signalIn(options));
  }

  async run(sql: string, params?: SqlParams, options?: Signal): Promise<RunResult> {
    const bound = portable(params);
    return this.enqueue((call) => call('run', this.connected.db, sql, bound), signalIn(options));
  }

  async all<T = Row>(sql: string, params?: SqlParams, options?: QueryOptions): Promise<T[]> {
    const { rows, signal } = queryOptions(options);
    const bound = portable(params);
    return this.enqueue(async (call) => {
      const cursor = ++this.connected.lastCursor;
      const { db } = this.connected;
      let batch = await call('open', db, cursor, sql, bound, ALL_ROWS);
      const result = shape<T>(batch, rows);
      try {
        while (!batch.done) {
          batch = await call('next', db, cursor, ALL_ROWS);
          for (const row of shape<T>(batch, rows)) result.push(row);
        }
      } catch (error) {
        // Stopped between two batches, the query is still open.
        await this.connected.session.operate((closing) => closing('closeCursor', db, cursor)).catch(ignoreClosed);
        throw error;
      }
      return result;
    }, signal);
  }

  async get<T = Row>(sql: string, params?: SqlParams, options?: QueryOptions): Promise<T | undefined> {
    const { rows, signal } = queryOptions(options);
    const bound = portable(params);
    const batch = await this.enqueue((call) => call('first', this.connected.db, sql, bound), signal);
    return shape<T>(batch, rows)[0];
  }

  async* iterate<T = Row>(sql: string, params?: SqlParams, options?: IterateOptions): AsyncIterableIterator<T> {
    const { rows, signal, batchRows } = iterateOptions(options);
    const { db } = this.connected;
    const cursor = ++this.connected.lastCursor;
    const bound = portable(params);
    const fetch = (first: boolean) => this.enqueue(async (call) => {
      const batch = await (first
        ? call('open', db, cursor, sql, bound, batchRows)
        : call('next', db, cursor, batchRows)
      ).catch((error: unknown) => {
        this.#cursors.delete(cursor);
        throw error;
      });
      if (batch.done) this.#cursors.delete(cursor);
      else this.#cursors.add(cursor);
      return batch;
    }, signal);
    let ahead: Promise<Batch> | undefined = fetch(true);
    try {
      while (ahead !== undefined) {
        const batch: Batch = await ahead;
        ahead = batch.done ? undefined : fetch(false);
        // Whoever leaves the loop early does not care how the batch after went; the others await it.
        ahead?.catch(() => {});
        for (const row of shape<T>(batch, rows)) {
          signal?.throwIfAborted();
          yield row;
        }
      }
    } finally {
      await ahead?.catch(() => {});
      if (this.#cursors.delete(cursor)) await this.enqueue((call) => call('closeCursor', db, cursor)).catch(ignoreClosed);
    }
  }

  async prepare(sql: string): Promise<Statement> {
    return new RemoteStatement(this, sql, await this.enqueue((call) => call('describe', this.connected.db, sql)));
  }

  async explain(sql: string, params?: SqlParams): Promise<PlanRow[]> {
    const bound = portable(params);
    return this.enqueue((call) => call('explain', this.connected.db, sql, bound));
  }

  /**
   * Inside `body` use `tx`: a call on the outer scope waits for the transaction to end, so a body that awaits one waits
   * for ever. Where `body` makes such a call before its first `await` it fails with `Invalid`; later ones cannot be told
   * from calls of others.
   */
  async transaction<T>(body: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T> {
    const mode = transactionMode(options);
    if (typeof body !== 'function') throw failure('Invalid', 'transaction: body must be a function');
    this.#checkOpen();
    return this.queue.run(async () => {
      this.#checkOpen();
      const { session, db } = this.connected;
      await session.operate((call) => call('begin', db, mode));
      const tx = new RemoteTransaction(this.connected);
      this.#transaction = tx;
      try {
        const result = await Promise.race([this.#enter(body, tx), tx.cut]);
        await tx.finish();
        await session.operate((call) => call('commit', db));
        return result;
      } catch (error) {
        await tx.cancel();
        // A rollback fails only if the connection is beyond use. Every later call will say so; this one says what came first.
        await session.operate((call) => call('rollback', db)).catch(() => {});
        throw error;
      } finally {
        this.#transaction = undefined;
      }
    });
  }

  /** Takes no more calls. What is queued still runs; a transaction does not, it is rolled back. */
  protected end(error: StatikError): void {
    this.#ended ??= error;
    this.#transaction?.abandon(error);
  }

  /** Nothing that is queued runs either. */
  protected abandonQueue(error: StatikError): void {
    this.#cut ??= error;
    this.end(error);
    this.#onCut(error);
  }

  /** Resolves never; rejects when the scope is abandoned. */
  protected untilCut(): Promise<never> {
    const cut = new Promise<never>((_, reject) => {
      this.#onCut = reject;
    });
    // Nobody may be racing it yet, or any more; that is no unhandled rejection.
    cut.catch(() => {});
    return cut;
  }

  /** Closes what iterators have left open. To be called when the queue is idle. */
  protected async closeCursors(): Promise<void> {
    const { session, db } = this.connected;
    for (const cursor of this.#cursors) await session.operate((call) => call('closeCursor', db, cursor));
    this.#cursors.clear();
  }

  protected async enqueue<T>(body: (call: Call) => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#checkOpen();
    return this.queue.run(() => {
      if (this.#cut) throw this.#cut;
      return this.connected.session.operate(body, signal);
    }, signal);
  }

  #checkOpen(): void {
    if (this.#ended) throw this.#ended;
    if (this.#entering) throw failure('Invalid', 'called on the outside of a transaction from its body, which would wait for itself; call tx');
  }

  #enter<T>(body: (tx: Transaction) => Promise<T>, tx: RemoteTransaction): Promise<T> {
    this.#entering = true;
    try {
      return body(tx);
    } finally {
      this.#entering = false;
    }
  }
}

class RemoteTransaction extends Scope implements Transaction {
  /** Rejects when the database is closed, or dies, under the transaction. */
  readonly cut: Promise<never> = this.untilCut();

  /** Lets what was called, but not awaited, finish. */
  async finish(): Promise<void> {
    this.end(failure('Closed', 'this transaction has ended'));
    await this.queue.idle();
    await this.closeCursors();
  }

  /** Lets only what is running finish. */
  async cancel(): Promise<void> {
    this.abandon(failure('Closed', 'this transaction was rolled back'));
    await this.queue.idle();
    await this.closeCursors().catch(ignoreClosed);
  }

  abandon(error: StatikError): void {
    this.abandonQueue(error);
  }
}

/** A connection, as `sqlite.open` gives it. */
export class RemoteDatabase extends Scope implements Database {
  readonly name: string;
  readonly #export: (options?: TransferOptions) => Promise<ReadableStream<Uint8Array>>;
  readonly #release: () => void;
  #closing: Promise<void> | undefined;
  #dead = false;

  /** `release` is called when the connection is closed or dead. */
  constructor(name: string, connected: Connected, exported: RemoteDatabase['export'], release: () => void) {
    super(connected);
    this.name = name;
    this.#export = exported;
    this.#release = release;
  }

  interrupt(): void {
    this.connected.session.interrupt();
  }

  async export(options?: TransferOptions): Promise<ReadableStream<Uint8Array>> {
    if (this.#closing) throw this.#closedError();
    return this.#export(options);
  }

  async health(options?: HealthOptions): Promise<Health> {
    const { full, signal } = healthOptions(options);
    return this.enqueue((call) => call('health', this.connected.db, full), signal);
  }

  async backup(to: string, options?: TransferOptions): Promise<DatabaseInfo> {
    const { signal, onProgress } = transferOptions(options);
    const id = await this.enqueue((call) => call('backupBegin', this.connected.db, to), signal);
    try {
      for (;;) {
        const { doneBytes, totalBytes, done } = await this.enqueue((call) => call('backupStep', id, BACKUP_PAGES), signal);
        onProgress({ doneBytes, totalBytes });
        if (done) return { name: to, sizeBytes: totalBytes };
      }
    } finally {
      // Even while the database is being closed.
      await this.connected.session.ask('backupClose', id).catch(ignoreClosed);
    }
  }

  async vacuum(): Promise<VacuumResult> {
    return this.enqueue((call) => call('vacuum', this.connected.db));
  }

  async checkpoint(): Promise<void> {
    return this.enqueue((call) => call('checkpoint', this.connected.db));
  }

  async metrics(): Promise<DatabaseMetrics> {
    const { timings, slowQueries } = await this.counters();
    return { queries: queryMetrics(timings), cache: cacheMetrics(timings.cacheHits, timings.cacheMisses), slowQueries };
  }

  /** What `metrics` is made of. It waits for the statement that runs, not for what is queued. */
  async counters(): Promise<ConnectionCounters> {
    if (this.#closing) throw this.#closedError();
    return this.connected.session.ask('counters', this.connected.db);
  }

  /** Its engine is gone. */
  get dead(): boolean {
    return this.#dead;
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The engine worker is gone. */
  die(error: StatikError): void {
    this.#dead = true;
    this.end(error);
  }

  async #close(): Promise<void> {
    this.end(this.#closedError());
    const { session, db } = this.connected;
    await this.queue.run(() => session.operate((call) => call('closeDatabase', db))).catch(ignoreClosed);
    session.dispose();
    this.#release();
  }

  #closedError(): StatikError {
    return failure('Closed', `database "${this.name}" is closed`, this.name);
  }
}

/** SQL that was found good. The engine keeps a connection's latest statements prepared, by their SQL. */
export class RemoteStatement implements Statement {
  readonly sql: string;
  readonly columns: readonly ColumnInfo[];
  readonly readOnly: boolean;
  readonly #scope: Queries;
  #finalized = false;

  constructor(scope: Queries, sql: string, { columns, readOnly }: Pick<Statement, 'columns' | 'readOnly'>) {
    this.sql = sql;
    this.columns = columns;
    this.readOnly = readOnly;
    this.#scope = scope;
  }

  async run(params?: SqlParams, options?: Signal): Promise<RunResult> {
    return this.#open.run(this.sql, params, options);
  }

  async all<T = Row>(params?: SqlParams, options?: QueryOptions): Promise<T[]> {
    return this.#open.all<T>(this.sql, params, options);
  }

  async get<T = Row>(params?: SqlParams, options?: QueryOptions): Promise<T | undefined> {
    return this.#open.get<T>(this.sql, params, options);
  }

  async* iterate<T = Row>(params?: SqlParams, options?: IterateOptions): AsyncIterableIterator<T> {
    yield* this.#open.iterate<T>(this.sql, params, options);
  }

  async finalize(): Promise<void> {
    this.#finalized = true;
  }

  [asyncDispose](): Promise<void> {
    return this.finalize();
  }

  get #open(): Queries {
    if (this.#finalized) throw failure('Closed', `this statement is finalized: ${this.sql.slice(0, 80)}`);
    return this.#scope;
  }
}
