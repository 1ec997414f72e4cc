/**
 * The engine worker: runs the page's calls on SQLite. Over the bridge it has one user at a time; in direct mode it owns
 * the store's files and has them all.
 *
 * In direct mode nobody can wait for a lock synchronously, since the connection that holds it lives in this thread. So a
 * single statement that finds the database busy is tried again, asynchronously, until the connection's timeout; inside a
 * transaction only COMMIT is, because there waiting may be a deadlock.
 */
import { StatikError, failure } from '../web/sdk/src/errors.js';
import { Interrupts } from '../web/sdk/src/interrupts.js';
import { hold, holdStore } from '../web/sdk/src/locks.js';
import type {
  BridgeConfig, ConnectionCounters, ConnectionOptions, Counters, EngineMethods, StorageFound,
} from '../web/sdk/src/protocol.js';
import { Ring } from '../web/sdk/src/ring.js';
import { buffersOf, type Batch } from '../web/sdk/src/rows.js';
import { invoke, serve, tell, type Port, type Request } from '../web/sdk/src/rpc.js';
import { LocalDatabase, type Cursor } from '../web/sdk/src/sync-database.js';
import { Tender } from '../web/sdk/src/tend.js';
import {
  Engine, enter, enterAsync, instantiate, isTrapped, type Backup, type Export, type Import, type Journal, type JournalCursor,
  type StoreConfig,
} from '../web/sdk/src/wasm.js';
import type {
  ColumnInfo, DatabaseInfo, Health, JournalDamage, JournalFrame, JournalOptions, PlanRow, RunResult, SqlParams,
  TransactionOptions, VacuumResult,
} from '../web/sdk/src/types.js';

const DEFAULT_BUSY_TIMEOUT_MS = 5000;
/** Frames of a journal that go in one message have about so many bytes. */
const FRAMES_BYTES = 1024 * 1024;
/** Between two attempts at a busy database, the first and the longest time. */
const RETRY_MS = { first: 1, longest: 50 };

interface Opened {
  database: LocalDatabase;
  cursors: Map<number, Cursor>;
  busyTimeoutMs: number;
}

interface RunningBackup {
  backup: Backup;
  /** The database that it is of, and the one that it becomes. */
  db: number;
  to: string;
  /** Whether there was such a database before. */
  existed: boolean;
}

interface OpenJournal {
  journal: Journal;
  /** Numbers of its cursors. */
  cursors: Set<number>;
}

class EngineHost implements EngineMethods {
  readonly #databases = new Map<number, Opened>();
  readonly #journals = new Map<number, OpenJournal>();
  readonly #frames = new Map<number, JournalCursor>();
  readonly #imports = new Map<number, Import>();
  readonly #exports = new Map<number, Export>();
  readonly #backups = new Map<number, RunningBackup>();
  readonly #interrupts = new Interrupts();
  readonly #tender = new Tender(() => enter(() => this.#engine.tend()));
  #engine!: Engine;
  #direct = false;
  #lastId = 0;
  /** The request being served; read before the first await of a method. */
  #request!: Request;

  serve(request: Request): unknown {
    this.#request = request;
    return this.#interrupts.during(request, () => invoke(this, request));
  }

  async hold(lock: string): Promise<void> {
    await hold(lock);
  }

  async startBridge(module: WebAssembly.Module, config: BridgeConfig): Promise<void> {
    await instantiate(module);
    this.#interrupts.watch(new Ring(config.ring));
    this.#begin(enter(() => Engine.bridge(config)));
  }

  async startDirect(module: WebAssembly.Module, config: StoreConfig, waitMs: number): Promise<StorageFound> {
    const [release] = await Promise.all([holdStore(config.name, waitMs), instantiate(module)]);
    this.#direct = true;
    this.#begin(await enterAsync(() => Engine.direct(config)));
    const { storage, reason, damage } = this.#engine;
    // Memory is this tab's alone.
    if (storage === 'memory') release();
    return { storage, reason, damage };
  }

  async openDatabase(name: string, options: ConnectionOptions): Promise<number> {
    const { busyTimeoutMs = DEFAULT_BUSY_TIMEOUT_MS } = options;
    const request = this.#request;
    if (this.#direct && name !== ':memory:') {
      const create = !options.mustExist && !options.readOnly;
      await enterAsync(() => this.#engine.prepare([name], create));
    }
    const waiting = this.#direct ? { ...options, busyTimeoutMs: 0 } : options;
    const open = () => enter(() => this.#engine.open(name, waiting));
    // Once it is open the connection itself keeps its handles open.
    const connection = await this.#patiently(busyTimeoutMs, open, undefined, request)
      .finally(() => enter(() => this.#engine.release(name)));
    const database = new LocalDatabase(name, connection, {
      ...(options.slowQueryMs !== undefined && { onSlow: (slow) => tell(port, { type: 'slowQuery', database: name, ...slow }) }),
      ...(this.#direct && { onRun: () => this.#tender.touch() }),
    });
    const id = ++this.#lastId;
    this.#databases.set(id, { database, cursors: new Map(), busyTimeoutMs });
    return id;
  }

  closeDatabase(db: number): void {
    const { database } = this.#opened(db);
    this.#databases.delete(db);
    database.close();
  }

  exec(db: number, sql: string): Promise<void> {
    const { database } = this.#opened(db);
    // Of several statements those before the busy one have run, and must not run again.
    return this.#statement(db, () => database.exec(sql), { again: () => database.isSingle(sql) });
  }

  run(db: number, sql: string, params: SqlParams | undefined): Promise<RunResult> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.run(sql, params));
  }

  first(db: number, sql: string, params: SqlParams | undefined): Promise<Batch> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.first(sql, params));
  }

  open(db: number, id: number, sql: string, params: SqlParams | undefined, maxRows: number): Promise<Batch> {
    const { database, cursors } = this.#opened(db);
    return this.#statement(db, () => {
      const cursor = database.open(sql, params);
      const batch = cursor.next(maxRows);
      if (!batch.done) cursors.set(id, cursor);
      return batch;
    });
  }

  next(db: number, id: number, maxRows: number): Batch {
    const { cursors } = this.#opened(db);
    const cursor = cursors.get(id);
    if (cursor === undefined) throw failure('Closed', 'this query was closed');
    try {
      const batch = cursor.next(maxRows);
      if (batch.done) cursors.delete(id);
      return batch;
    } catch (error) {
      cursors.delete(id);
      throw error;
    }
  }

  closeCursor(db: number, id: number): void {
    const { cursors } = this.#opened(db);
    cursors.get(id)?.close();
    cursors.delete(id);
  }

  describe(db: number, sql: string): Promise<{ columns: ColumnInfo[]; readOnly: boolean }> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.describe(sql));
  }

  explain(db: number, sql: string, params: SqlParams | undefined): Promise<PlanRow[]> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.explain(sql, params));
  }

  begin(db: number, mode: NonNullable<TransactionOptions['mode']>): Promise<void> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.begin(mode));
  }

  commit(db: number): Promise<void> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.commit(), { evenInTransaction: true });
  }

  rollback(db: number): void {
    this.#opened(db).database.rollback();
  }

  health(db: number, full: boolean): Promise<Health> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.health({ full }));
  }

  vacuum(db: number): Promise<VacuumResult> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.vacuum());
  }

  checkpoint(db: number): Promise<void> {
    const { database } = this.#opened(db);
    return this.#statement(db, () => database.checkpoint());
  }

  counters(db: number): ConnectionCounters {
    return this.#opened(db).database.counters();
  }

  async backupBegin(db: number, to: string): Promise<number> {
    const { database } = this.#opened(db);
    const existed = await enterAsync(() => this.#engine.exists(to));
    if (this.#direct) await enterAsync(() => this.#engine.prepare([to]));
    const id = ++this.#lastId;
    try {
      this.#backups.set(id, { backup: database.beginBackup(to), db, to, existed });
    } finally {
      enter(() => this.#engine.release(to));
    }
    return id;
  }

  async backupStep(id: number, pages: number): Promise<{ doneBytes: number; totalBytes: number; done: boolean }> {
    const { backup, db } = of(this.#backups, id, 'backup');
    const { busyTimeoutMs } = this.#opened(db);
    const done = await this.#patiently(busyTimeoutMs, () => enter(() => backup.step(pages)));
    const { doneBytes, totalBytes } = backup;
    // It is committed; what backupClose would undo is not there any more.
    if (done) of(this.#backups, id, 'backup').existed = true;
    this.#tender.touch();
    return { doneBytes, totalBytes, done };
  }

  async backupClose(id: number): Promise<void> {
    const { backup, to, existed } = of(this.#backups, id, 'backup');
    this.#backups.delete(id);
    enter(() => backup.close());
    if (!existed) await enterAsync(() => this.#engine.remove(to));
  }

  list(): Promise<DatabaseInfo[]> {
    return enterAsync(() => this.#engine.list());
  }

  exists(name: string): Promise<boolean> {
    return enterAsync(() => this.#engine.exists(name));
  }

  remove(name: string): Promise<void> {
    return enterAsync(() => this.#engine.remove(name));
  }

  rename(from: string, to: string): Promise<void> {
    return enterAsync(() => this.#engine.rename(from, to));
  }

  async openJournal(name: string, options: JournalOptions): Promise<{ id: number; damage: JournalDamage | undefined }> {
    await enterAsync(() => this.#engine.prepareJournal(name, options));
    try {
      const journal = enter(() => this.#engine.openJournal(name, options));
      const id = ++this.#lastId;
      this.#journals.set(id, { journal, cursors: new Set() });
      return { id, damage: enter(() => journal.damage) };
    } finally {
      // While it is open its own handles are.
      enter(() => this.#engine.releaseJournal(name));
    }
  }

  appendJournal(id: number, frame: Uint8Array): number {
    const { journal } = of(this.#journals, id, 'journal');
    return enter(() => journal.append(frame));
  }

  flushJournal(id: number): number {
    const { journal } = of(this.#journals, id, 'journal');
    return enter(() => journal.flush());
  }

  snapshotJournal(id: number, state: Uint8Array): number {
    const { journal } = of(this.#journals, id, 'journal');
    return enter(() => journal.snapshot(state));
  }

  readSnapshot(id: number): JournalFrame | undefined {
    const { journal } = of(this.#journals, id, 'journal');
    return enter(() => journal.readSnapshot());
  }

  openFrames(id: number, from: number): number {
    const { journal, cursors } = of(this.#journals, id, 'journal');
    const frames = enter(() => journal.cursor(from));
    const cursor = ++this.#lastId;
    this.#frames.set(cursor, frames);
    cursors.add(cursor);
    return cursor;
  }

  readFrames(cursor: number): JournalFrame[] {
    const reading = of(this.#frames, cursor, 'cursor');
    const frames = enter(() => reading.read(FRAMES_BYTES));
    if (frames.length === 0) this.closeFrames(cursor);
    return frames;
  }

  closeFrames(cursor: number): void {
    this.#frames.get(cursor)?.free();
    this.#frames.delete(cursor);
    for (const { cursors } of this.#journals.values()) cursors.delete(cursor);
  }

  closeJournal(id: number): void {
    const { journal, cursors } = of(this.#journals, id, 'journal');
    this.#journals.delete(id);
    // They, too, keep its files open.
    for (const cursor of cursors) this.closeFrames(cursor);
    enter(() => journal.close());
  }

  async importBegin(name: string): Promise<number> {
    const started = await enterAsync(() => this.#engine.importBegin(name));
    const id = ++this.#lastId;
    this.#imports.set(id, started);
    return id;
  }

  importWrite(id: number, chunk: Uint8Array): void {
    const running = of(this.#imports, id, 'import');
    enter(() => running.write(chunk));
  }

  importFinish(id: number): Promise<DatabaseInfo> {
    const running = of(this.#imports, id, 'import');
    this.#imports.delete(id);
    return enterAsync(() => running.finish());
  }

  importAbort(id: number): Promise<void> {
    const running = of(this.#imports, id, 'import');
    this.#imports.delete(id);
    return enterAsync(() => running.abort());
  }

  async exportBegin(name: string): Promise<{ id: number; sizeBytes: number }> {
    const started = await this.#patiently(DEFAULT_BUSY_TIMEOUT_MS, () => enterAsync(() => this.#engine.exportBegin(name)));
    const id = ++this.#lastId;
    this.#exports.set(id, started);
    return { id, sizeBytes: started.sizeBytes };
  }

  exportRead(id: number, maxBytes: number): Uint8Array | undefined {
    const running = of(this.#exports, id, 'export');
    return enter(() => running.read(maxBytes));
  }

  exportClose(id: number): void {
    const running = of(this.#exports, id, 'export');
    this.#exports.delete(id);
    enter(() => running.close());
  }

  metrics(): Counters {
    return enter(() => ({ operations: this.#engine.metrics(), usage: this.#engine.usage() }));
  }

  durable(): void {
    enter(() => this.#engine.durable());
  }

  async close(): Promise<void> {
    for (const id of [...this.#backups.keys()]) await this.backupClose(id);
    for (const { database } of this.#databases.values()) database.close();
    for (const id of [...this.#journals.keys()]) this.closeJournal(id);
    for (const running of this.#exports.values()) enter(() => running.close());
    for (const running of this.#imports.values()) await enterAsync(() => running.abort());
    // It may be closed before it has begun.
    this.#tender.stop();
    if (this.#engine !== undefined) enter(() => this.#engine.close());
  }

  #begin(engine: Engine): void {
    this.#engine = engine;
    enter(() => engine.setInterrupt(() => this.#interrupts.poll()));
  }

  #opened(db: number): Opened {
    return of(this.#databases, db, 'database');
  }

  /**
   * Runs one statement, and again while it is busy. `again` tells whether it may be; inside a transaction it may not,
   * `evenInTransaction` excepted.
   */
  #statement<T>(
    db: number, attempt: () => T,
    { evenInTransaction = false, again = () => true }: { evenInTransaction?: boolean; again?: () => boolean } = {},
  ): Promise<T> {
    const { database, busyTimeoutMs } = this.#opened(db);
    const patient = evenInTransaction || !database.inTransaction;
    return this.#patiently(patient ? busyTimeoutMs : 0, attempt, again);
  }

  /** Over the bridge SQLite waits by itself; in direct mode this does, and leaves the thread to others meanwhile. */
  async #patiently<T>(
    timeoutMs: number, attempt: () => T | Promise<T>, again = () => true, request = this.#request,
  ): Promise<T> {
    const deadline = performance.now() + (this.#direct ? timeoutMs : 0);
    for (let waitMs = RETRY_MS.first; ; waitMs = Math.min(waitMs * 2, RETRY_MS.longest)) {
      try {
        return await this.#interrupts.during(request, attempt);
      } catch (error) {
        const busy = error instanceof StatikError && error.code === 'Busy';
        if (!busy || performance.now() + waitMs > deadline || !again()) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      const stop = this.#interrupts.during(request, () => this.#interrupts.poll());
      if (stop) throw failure('Aborted', 'interrupted while waiting for a lock');
    }
  }
}

function of<T>(things: Map<number, T>, id: number, what: string): T {
  const found = things.get(id);
  if (found === undefined) throw failure('Closed', `this ${what} is closed`);
  return found;
}

function transferOf(result: unknown): Transferable[] {
  if (result instanceof Uint8Array) return buffersOf([result]);
  const frames = (Array.isArray(result) ? result : [result]) as Partial<JournalFrame | undefined>[];
  if (frames[0]?.bytes instanceof Uint8Array) return buffersOf(frames.map((frame) => frame?.bytes ?? null));
  // An array has a method of that name.
  const values = (result as Partial<Batch> | undefined)?.values;
  return Array.isArray(values) ? buffersOf(values) : [];
}

const port = globalThis as unknown as Port;
const host = new EngineHost();
serve(port, (request) => host.serve(request), { isFatal: isTrapped, transferOf });
