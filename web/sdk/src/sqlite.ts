/**
 * `statik.sqlite` on the page: connections and whole databases, each in an engine of the store.
 *
 * Invariant: every engine taken is given back.
 */
import { RemoteDatabase } from './database.js';
import { failure, type StatikError } from './errors.js';
import { migrate } from './migrations/sqlite.js';
import { databaseOptions, poolOptions } from './options.js';
import { PooledDatabase } from './pooled-database.js';
import type { ConnectionOptions, EngineMethods } from './protocol.js';
import { Queue } from './queue.js';
import type { Remote } from './rpc.js';
import { Session, type Fuse } from './session.js';
import { exportFrom, importInto } from './transfer.js';
import type {
  Database, DatabaseInfo, DatabaseOptions, ImportSource, MigrateOptions, MigrationResult, PoolMetrics, Sqlite, SqliteMigration,
  TransferOptions,
} from './types.js';

/** An engine that can be used. */
export interface Engine {
  readonly remote: Remote<EngineMethods>;
  newFuse(): Fuse;
  /** Databases to tell when the engine dies. */
  readonly databases: Set<RemoteDatabase>;
}

/** Where engines come from: one for each user (bridge), or the same one for all (direct). Fails when the store is closed. */
export interface Engines {
  take(): Promise<Engine>;
  give(engine: Engine): void;
  /** Whether each user has an engine of its own. */
  readonly parallel: boolean;
}

/** The databases of a store. */
export class RemoteSqlite implements Sqlite {
  readonly #engines: Engines;
  readonly #slowQueryMs: number | undefined;
  readonly #open = new Set<RemoteDatabase | PooledDatabase>();
  /** Short questions share one engine. */
  readonly #questions = new Queue();
  #closed: StatikError | undefined;

  constructor(engines: Engines, slowQueryMs: number | undefined) {
    this.#engines = engines;
    this.#slowQueryMs = slowQueryMs;
  }

  async open(name: string, options?: DatabaseOptions): Promise<Database> {
    const pool = poolOptions(options, navigator.hardwareConcurrency);
    const checked: ConnectionOptions = { ...databaseOptions(options), ...(this.#slowQueryMs !== undefined && { slowQueryMs: this.#slowQueryMs }) };
    const first = await this.#connect(name, checked, (database) => this.#open.delete(database));
    if (pool === undefined || !this.#engines.parallel || name === ':memory:') {
      this.#open.add(first);
      return first;
    }
    const another = () => this.#connect(name, { ...checked, mustExist: true });
    const pooled = new PooledDatabase(first, another, pool, (transfer) => this.export(name, transfer), () => this.#open.delete(pooled));
    this.#open.add(pooled);
    return pooled;
  }

  /** How the pools are used. */
  get pools(): PoolMetrics[] {
    return [...this.#open].flatMap((database) => (database instanceof PooledDatabase ? [database.pool] : []));
  }

  list(): Promise<DatabaseInfo[]> {
    return this.#ask((remote) => remote.call('list'));
  }

  exists(name: string): Promise<boolean> {
    return this.#ask((remote) => remote.call('exists', name));
  }

  delete(name: string): Promise<void> {
    return this.#ask((remote) => remote.call('remove', name));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#ask((remote) => remote.call('rename', from, to));
  }

  async import(name: string, source: ImportSource, options?: TransferOptions): Promise<DatabaseInfo> {
    const engine = await this.#take();
    try {
      return await importInto(engine.remote, name, source, options);
    } finally {
      this.#engines.give(engine);
    }
  }

  async export(name: string, options?: TransferOptions): Promise<ReadableStream<Uint8Array>> {
    const engine = await this.#take();
    try {
      return await exportFrom(engine.remote, name, options, () => this.#engines.give(engine));
    } catch (error) {
      this.#engines.give(engine);
      throw error;
    }
  }

  async migrate(db: Database, migrations: readonly SqliteMigration[], options?: MigrateOptions): Promise<MigrationResult> {
    if (db instanceof PooledDatabase) return db.onWriter((writer) => migrate(writer, migrations, options));
    if (db instanceof RemoteDatabase) return migrate(db, migrations, options);
    throw failure('Invalid', 'migrate: db must be a database, as sqlite.open gives it');
  }

  /** Opens nothing more, and closes every database. */
  async close(error: StatikError): Promise<void> {
    this.#closed = error;
    await Promise.all([...this.#open].map((database) => database.close()));
  }

  async #take(): Promise<Engine> {
    if (this.#closed) throw this.#closed;
    return this.#engines.take();
  }

  /** A connection in an engine. */
  async #connect(name: string, options: ConnectionOptions, onClose: (database: RemoteDatabase) => void = () => {}): Promise<RemoteDatabase> {
    const engine = await this.#take();
    let db: number;
    try {
      db = await engine.remote.call('openDatabase', name, options);
    } catch (error) {
      this.#engines.give(engine);
      throw error;
    }
    const connected = { session: new Session(engine.remote, engine.newFuse()), db, lastCursor: 0 };
    const database = new RemoteDatabase(name, connected, (transfer) => this.export(name, transfer), () => {
      onClose(database);
      engine.databases.delete(database);
      this.#engines.give(engine);
    });
    engine.databases.add(database);
    return database;
  }

  #ask<T>(question: (remote: Remote<EngineMethods>) => Promise<T>): Promise<T> {
    return this.#questions.run(async () => {
      const engine = await this.#take();
      try {
        return await question(engine.remote);
      } finally {
        this.#engines.give(engine);
      }
    });
  }
}
