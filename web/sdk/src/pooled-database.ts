/**
 * A database with several connections: what only reads goes to whichever reader is free, all else to one writer.
 *
 * A reader takes the newest snapshot when a call begins, so what was committed before is seen. Whether SQL only reads is
 * SQLite's to say, once for each text. What a connection keeps to itself (temporary tables, attached databases, pragmas) is
 * the writer's, and so is SQL that a reader finds to be wrong; a transaction stays on one connection from begin to end.
 *
 * Invariant: every connection taken from a pool is given back.
 */
import { asyncDispose } from './dispose.js';
import { RemoteStatement, type RemoteDatabase } from './database.js';
import { failure, ignoreClosed, StatikError } from './errors.js';
import { cacheMetrics, NO_TIMINGS, queryMetrics, sum } from './metrics.js';
import { healthOptions, iterateOptions, queryOptions, signalIn, transactionMode, transferOptions } from './options.js';
import { Pool, type Making } from './pool.js';
import { portable } from './rows.js';
import type { Timings } from './statik.js';
import type {
  Database, DatabaseInfo, DatabaseMetrics, Health, HealthOptions, IterateOptions, PlanRow, PoolMetrics, PoolOptions, QueryOptions,
  Row, RunResult, SlowQuery, SqlParams, Statement, Transaction, TransactionOptions, TransferOptions, VacuumResult,
} from './types.js';

/** SQL texts of which it is remembered whether they only read. */
const REMEMBERED = 1000;
/** Slow queries that are told, of all connections together. */
const SLOW_QUERIES = 32;

/** What may only read, by how it begins after spaces and comments; the rest, pragmas among it, is the writer's. */
const MAY_READ = /^(?:\s|;|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)*(?:SELECT|WITH|VALUES|EXPLAIN)\b/i;
/** Functions that answer for the connection's own last write. */
const OF_WRITER = /\b(?:last_insert_rowid|changes|total_changes)\s*\(/i;

type Signal = { signal?: AbortSignal };

export class PooledDatabase implements Database {
  readonly name: string;
  readonly #writers: Pool<RemoteDatabase>;
  /** None if the pool has room for one connection only. */
  readonly #readers: Pool<RemoteDatabase> | undefined;
  readonly #export: Database['export'];
  readonly #release: () => void;
  /** Whether SQL only reads, by its text; the oldest first. */
  readonly #reads = new Map<string, boolean>();
  /** What connections that are closed have counted. */
  #closedTimings: Timings = NO_TIMINGS;
  #closedSlow: SlowQuery[] = [];
  #closing: Promise<void> | undefined;
  /** True while the body of a transaction is being entered: what calls this database then is that body. */
  #entering = false;

  /** `first` is its writer. `release` is called when it is closed. */
  constructor(
    first: RemoteDatabase, open: () => Promise<RemoteDatabase>, options: Required<PoolOptions>, exported: Database['export'],
    release: () => void,
  ) {
    const { name } = first;
    this.name = name;
    this.#export = exported;
    this.#release = release;
    const making: Making<RemoteDatabase> = { open, end: (member) => this.#retire(member) };
    this.#writers = new Pool(name, making, { ...options, min: 1, max: 1 });
    this.#writers.add(first);
    if (options.max === 1) return;
    this.#readers = new Pool(name, making, { ...options, min: options.min - 1, max: options.max - 1 });
    this.#readers.warm();
  }

  async exec(sql: string, options?: Signal): Promise<void> {
    return this.#write((member) => member.exec(sql, options), signalIn(options));
  }

  async run(sql: string, params?: SqlParams, options?: Signal): Promise<RunResult> {
    const bound = portable(params);
    return this.#write((member) => member.run(sql, bound, options), signalIn(options));
  }

  async all<T = Row>(sql: string, params?: SqlParams, options?: QueryOptions): Promise<T[]> {
    const { signal } = queryOptions(options);
    const bound = portable(params);
    return this.#query(sql, (member) => member.all<T>(sql, bound, options), signal);
  }

  async get<T = Row>(sql: string, params?: SqlParams, options?: QueryOptions): Promise<T | undefined> {
    const { signal } = queryOptions(options);
    const bound = portable(params);
    return this.#query(sql, (member) => member.get<T>(sql, bound, options), signal);
  }

  /** It occupies its connection until the loop is left. */
  async* iterate<T = Row>(sql: string, params?: SqlParams, options?: IterateOptions): AsyncIterableIterator<T> {
    const { signal } = iterateOptions(options);
    const bound = portable(params);
    const { pool, member } = await this.#acquireFor(sql, signal);
    try {
      yield* member.iterate<T>(sql, bound, options);
    } finally {
      pool.release(member);
    }
  }

  async prepare(sql: string): Promise<Statement> {
    return new RemoteStatement(this, sql, await this.#query(sql, (member) => member.prepare(sql)));
  }

  async explain(sql: string, params?: SqlParams): Promise<PlanRow[]> {
    const bound = portable(params);
    return this.#query(sql, (member) => member.explain(sql, bound));
  }

  /** Immediate and exclusive ones are the writer's; a deferred one is a reader's, and may write all the same. */
  async transaction<T>(body: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T> {
    const deferred = transactionMode(options) === 'deferred';
    if (typeof body !== 'function') throw failure('Invalid', 'transaction: body must be a function');
    const run = (member: RemoteDatabase) => member.transaction((tx) => this.#enter(body, tx), options);
    this.#checkOpen();
    return deferred && this.#readers ? this.#readers.use(run) : this.#writers.use(run);
  }

  /** Runs a job that needs one connection for several calls, and that one must be able to write. */
  async onWriter<T>(job: (writer: RemoteDatabase) => Promise<T>): Promise<T> {
    return this.#write(job);
  }

  interrupt(): void {
    for (const member of this.#members) member.interrupt();
  }

  async export(options?: TransferOptions): Promise<ReadableStream<Uint8Array>> {
    this.#checkOpen();
    return this.#export(options);
  }

  async health(options?: HealthOptions): Promise<Health> {
    const { signal } = healthOptions(options);
    return this.#read((member) => member.health(options), signal);
  }

  async backup(to: string, options?: TransferOptions): Promise<DatabaseInfo> {
    const { signal } = transferOptions(options);
    return this.#read((member) => member.backup(to, options), signal);
  }

  async vacuum(): Promise<VacuumResult> {
    return this.#write((member) => member.vacuum());
  }

  async checkpoint(): Promise<void> {
    return this.#write((member) => member.checkpoint());
  }

  async metrics(): Promise<DatabaseMetrics> {
    this.#checkOpen();
    // One that dies, or is let go, meanwhile has no more to tell.
    const counters = await Promise.all(this.#members.map((member) => member.counters().catch(ignoreClosed)));
    const found = counters.filter((each) => each !== undefined);
    const timings = found.map((each) => each.timings).reduce(sum, this.#closedTimings);
    return {
      queries: queryMetrics(timings),
      cache: cacheMetrics(timings.cacheHits, timings.cacheMisses),
      slowQueries: [...this.#closedSlow, ...found.flatMap(({ slowQueries }) => slowQueries)].slice(-SLOW_QUERIES),
      pool: this.pool,
    };
  }

  /** How the pool is used. */
  get pool(): PoolMetrics {
    const { maxWaitMs, ...writer } = this.#writers.metrics;
    const readers = this.#readers?.metrics;
    if (readers === undefined) return { database: this.name, maxWaitMs, ...writer };
    return {
      database: this.name,
      size: writer.size + readers.size,
      busy: writer.busy + readers.busy,
      waiting: writer.waiting + readers.waiting,
      waited: writer.waited + readers.waited,
      maxWaitMs: Math.max(maxWaitMs, readers.maxWaitMs),
      timeouts: writer.timeouts + readers.timeouts,
      started: writer.started + readers.started,
      released: writer.released + readers.released,
      died: writer.died + readers.died,
    };
  }

  /** What runs finishes, but a transaction is rolled back; what waits for a connection fails with `Closed`. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const error = this.#closedError();
    try {
      await Promise.all([this.#readers?.close(error), this.#writers.close(error)]);
    } finally {
      this.#release();
    }
  }

  async #write<T>(job: (member: RemoteDatabase) => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#checkOpen();
    return this.#writers.use(job, signal);
  }

  async #read<T>(job: (member: RemoteDatabase) => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#checkOpen();
    return (this.#readers ?? this.#writers).use(job, signal);
  }

  async #query<T>(sql: string, job: (member: RemoteDatabase) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { pool, member } = await this.#acquireFor(sql, signal);
    try {
      return await job(member);
    } finally {
      pool.release(member);
    }
  }

  /** A connection for this SQL, which has to be given back. */
  async #acquireFor(sql: string, signal: AbortSignal | undefined): Promise<{ pool: Pool<RemoteDatabase>; member: RemoteDatabase }> {
    this.#checkOpen();
    const readers = this.#readers;
    if (readers && this.#reads.get(sql) !== false && MAY_READ.test(sql) && !OF_WRITER.test(sql)) {
      const member = await readers.acquire(signal);
      try {
        if (await this.#isRead(member, sql)) return { pool: readers, member };
      } catch (error) {
        readers.release(member);
        throw error;
      }
      readers.release(member);
    }
    return { pool: this.#writers, member: await this.#writers.acquire(signal) };
  }

  async #isRead(member: RemoteDatabase, sql: string): Promise<boolean> {
    const known = this.#reads.get(sql);
    if (known !== undefined) return known;
    let readOnly: boolean;
    try {
      ({ readOnly } = await member.prepare(sql));
    } catch (error) {
      if (!(error instanceof StatikError) || member.dead) throw error;
      // The writer may know what it is about, and if not, says it with the same words.
      return false;
    }
    this.#reads.set(sql, readOnly);
    if (this.#reads.size > REMEMBERED) this.#reads.delete(this.#reads.keys().next().value!);
    return readOnly;
  }

  /** Closes a connection, and keeps what it has counted. */
  async #retire(member: RemoteDatabase): Promise<void> {
    const counters = member.dead ? undefined : await member.counters().catch(ignoreClosed);
    if (counters) {
      this.#closedTimings = sum(this.#closedTimings, counters.timings);
      this.#closedSlow = [...this.#closedSlow, ...counters.slowQueries].slice(-SLOW_QUERIES);
    }
    await member.close();
  }

  get #members(): RemoteDatabase[] {
    return [...this.#writers.members, ...this.#readers?.members ?? []];
  }

  #enter<T>(body: (tx: Transaction) => Promise<T>, tx: Transaction): Promise<T> {
    this.#entering = true;
    try {
      return body(tx);
    } finally {
      this.#entering = false;
    }
  }

  #checkOpen(): void {
    if (this.#closing) throw this.#closedError();
    if (this.#entering) throw failure('Invalid', 'called on the outside of a transaction from its body, which might wait for itself; call tx');
  }

  #closedError(): StatikError {
    return failure('Closed', `database "${this.name}" is closed`, this.name);
  }
}
