/**
 * The key-value adapter over Statik's own SQLite, in the page (`statik-storage`) or in a worker (`statik-storage/sync`).
 *
 * Invariant: the connection is the adapter's alone, so that no statement of anybody else falls into its transactions.
 */
import { failure } from '../errors.js';
import type { Database, DatabaseOptions, Queries, Row, Sqlite, SyncDatabase, SyncQueries, SyncSqlite } from '../types.js';
import { runAsync, runSync, SqlStorageAdapter, type Sql, type SqlAdapterOptions, type SqlDriver } from './sql-adapter.js';

export interface SqliteAdapterOptions extends SqlAdapterOptions {
  /** `statik.sqlite` of the store that the database lies in. */
  sqlite: Sqlite | SyncSqlite;
  /** How it is opened. */
  database?: Omit<DatabaseOptions, 'pool' | 'readOnly'>;
}

/**
 * Records in a SQLite database of a Statik store; `initialize` takes the database's name.
 *
 * ```ts
 * const statik = await open({ name: 'app' });
 * const adapter = new SqliteStorageAdapter({ sqlite: statik.sqlite });
 * await adapter.initialize('replica.db');
 * await adapter.put('greeting', { value: 'hello', hlc: adapter.clock.tick() });
 * ```
 */
export class SqliteStorageAdapter extends SqlStorageAdapter {
  readonly #sqlite: Sqlite | SyncSqlite;
  readonly #database: SqliteAdapterOptions['database'];

  /** `Invalid` if an option is not what it should be. */
  constructor({ sqlite, database, ...options }: SqliteAdapterOptions) {
    super(options);
    if (typeof sqlite?.open !== 'function') throw failure('Invalid', 'making an adapter: sqlite must be the `sqlite` of a Statik store');
    this.#sqlite = sqlite;
    this.#database = database;
  }

  protected override async open(dbName: string): Promise<SqlDriver> {
    const database: Database | SyncDatabase = await this.#sqlite.open(dbName, this.#database);
    return 'interrupt' in database ? new PageDriver(database) : new WorkerDriver(database);
  }
}

/** On the page every statement is a message. */
class PageDriver implements SqlDriver {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  read<T>(program: Generator<Sql, T, unknown>): Promise<T> {
    return runAsync(program, (statement) => askQueries(this.#database, statement));
  }

  write<T>(program: Generator<Sql, T, unknown>): Promise<T> {
    return this.#database.transaction((tx) => runAsync(program, (statement) => askQueries(tx, statement)));
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

/** In a worker statements answer at once. */
class WorkerDriver implements SqlDriver {
  readonly #database: SyncDatabase;

  constructor(database: SyncDatabase) {
    this.#database = database;
  }

  read<T>(program: Generator<Sql, T, unknown>): T {
    return runSync(program, askSync(this.#database));
  }

  write<T>(program: Generator<Sql, T, unknown>): T {
    return this.#database.transaction((tx) => runSync(program, askSync(tx)));
  }

  close(): void {
    this.#database.close();
  }
}

function askQueries(queries: Queries, { sql, params }: Sql): Promise<Row[]> {
  return queries.all(sql, params);
}

function askSync(queries: SyncQueries): (statement: Sql) => Row[] {
  return ({ sql, params }) => queries.all(sql, params);
}
