/**
 * `statik-storage/node`: the key-value adapter under Node, in a SQLite file, by better-sqlite3 (an optional peer: install
 * better-sqlite3 12 beside this package).
 *
 * Invariant: a call that has resolved is on the disk (WAL, synchronous=FULL), and survives the process being killed.
 */
import { failure, StatikError } from './errors.js';
import { BetterSqlite3Driver, translated } from './kv/better-sqlite3.js';
import { SqlStorageAdapter, type SqlAdapterOptions, type SqlDriver } from './kv/sql-adapter.js';

export * from './kv.js';

export interface NodeAdapterOptions extends SqlAdapterOptions {
  /** How long to wait for another process's write, in milliseconds; the thread is blocked meanwhile. Default 5000, then `Busy`. */
  busyTimeoutMs?: number;
}

/**
 * Records in a SQLite file; `initialize` takes its path (or `:memory:`), in a folder that exists.
 *
 * ```ts
 * const adapter = new NodeStorageAdapter();
 * await adapter.initialize('./replica.db');
 * ```
 */
export class NodeStorageAdapter extends SqlStorageAdapter {
  readonly #busyTimeoutMs: number;

  /** `Invalid` if an option is not what it should be. */
  constructor({ busyTimeoutMs = 5000, ...options }: NodeAdapterOptions = {}) {
    super(options);
    if (!Number.isInteger(busyTimeoutMs) || busyTimeoutMs < 0 || busyTimeoutMs > 0x7fffffff) {
      throw failure('Invalid', `making an adapter: busyTimeoutMs must be a whole number from 0 to ${0x7fffffff}, and is ${String(busyTimeoutMs)}`);
    }
    this.#busyTimeoutMs = busyTimeoutMs;
  }

  protected override async open(dbName: string): Promise<SqlDriver> {
    // SQLite would take what stands before it for the path.
    if (dbName.includes('\0')) throw failure('Invalid', `initialize: dbName must have no NUL character, and is ${JSON.stringify(dbName)}`);
    const { default: Connection } = await import('better-sqlite3').catch((error: unknown) => {
      throw new StatikError({ code: 'Unsupported', message: `opening ${dbName}: better-sqlite3 cannot be loaded, which is to be installed beside statik-storage: ${String(error)}` }, { cause: error });
    });
    return translated(dbName, () => {
      const connection = new Connection(dbName, { timeout: this.#busyTimeoutMs });
      try {
        connection.pragma('journal_mode = WAL');
        connection.pragma('synchronous = FULL');
      } catch (error) {
        connection.close();
        throw error;
      }
      return new BetterSqlite3Driver(dbName, connection);
    });
  }
}
