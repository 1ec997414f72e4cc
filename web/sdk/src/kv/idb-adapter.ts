/**
 * Key-value records and their op-log in IndexedDB: stores data_store, op_log and meta_store, which `KV_MIGRATIONS` makes.
 *
 * Values lie there as structured clones. Operations get their numbers from this code, not from the store's generator, so
 * that a copy of the database goes on where the original was.
 *
 * Invariant: what decides about a write is read in the transaction that writes it. Does not close what it reads and writes:
 * other adapters of this context may use the same connection.
 */
import { encode } from '../codec.js';
import { failure, StatikError } from '../errors.js';
import type { Idb } from '../idb/types.js';
import type { IndexedDbMigration } from '../migrations/indexeddb.js';
import type { DatabaseShape } from '../migrations/schema.js';
import type { ErrorCode } from '../types.js';
import { StorageAdapter, type KeyPage, type MetaName, type Steps, type Unit } from './adapter.js';
import type { HeldOp, HeldRecord } from './checks.js';
import type { ClockOptions } from './clock.js';
import { compareRecords, compareText } from './merge.js';
import type { Codec, KvRecord, OpLogEntry, Peer } from './types.js';

/** What makes the stores of a database for an adapter. */
export const KV_MIGRATIONS: readonly IndexedDbMigration[] = [
  {
    version: 1,
    name: 'stores',
    checksum: 'kv 1',
    upgrade: (db) => {
      db.createObjectStore('data_store', { keyPath: 'key' }).createIndex('expiresMs', 'expiresMs');
      db.createObjectStore('op_log', { keyPath: 'id', autoIncrement: true });
      db.createObjectStore('meta_store');
    },
    down: (db) => {
      for (const store of STORES) db.deleteObjectStore(store);
    },
  },
];

export const KV_SHAPE: DatabaseShape = {
  stores: {
    data_store: { keyPath: 'key', indexes: { expiresMs: { keyPath: 'expiresMs' } } },
    op_log: { keyPath: 'id', autoIncrement: true },
    meta_store: {},
  },
};

export interface IdbAdapterOptions extends ClockOptions {
  /** From `initializeDatabases` of `statik-storage/databases`: opens the database, and closes it in the end. */
  databases: { database(name: string, migrations: readonly IndexedDbMigration[], shape?: DatabaseShape): Promise<Idb> };
  /** Decides between two values with one stamp. Default: the package's own. */
  codec?: Pick<Codec, 'encode'>;
  /** 'strict' waits until a commit is on the disk. Default 'relaxed'. */
  durability?: 'relaxed' | 'strict';
}

/** Requests made together; the answers are their results. */
type Requests = readonly IDBRequest[];

type StoredRecord = KvRecord & { key: string };

const STORES = ['data_store', 'op_log', 'meta_store'];
/** Records read by one request. */
const PAGE = 256;
/** The most that `getAll` takes for a limit. */
const MOST = 0xffffffff;

/**
 * Records in an IndexedDB database, in any context; `initialize` takes its name.
 *
 * ```ts
 * const adapter = new IdbStorageAdapter({ databases: await initializeDatabases() });
 * await adapter.initialize('replica');
 * ```
 */
export class IdbStorageAdapter extends StorageAdapter<Requests> {
  readonly #options: IdbAdapterOptions;
  #idb: Idb | undefined;

  /** `Invalid` if an option is not what it should be. */
  constructor(options: IdbAdapterOptions) {
    super(options);
    if (typeof options?.databases?.database !== 'function') throw failure('Invalid', 'making an adapter: databases must be what initializeDatabases gives');
    this.#options = options;
  }

  protected override async connect(dbName: string): Promise<void> {
    this.#idb = await this.#options.databases.database(dbName, KV_MIGRATIONS, KV_SHAPE);
  }

  protected override async disconnect(): Promise<void> {
    this.#idb = undefined;
  }

  protected override hold(value: unknown): unknown {
    return structuredClone(value);
  }

  protected override read<T>(program: (unit: Unit<Requests>) => Steps<Requests, T>): Promise<T> {
    return this.#transaction('readonly', program);
  }

  protected override write<T>(program: (unit: Unit<Requests>) => Steps<Requests, T>): Promise<T> {
    return this.#transaction('readwrite', program);
  }

  /**
   * IndexedDB orders keys by UTF-16 units. That differs from the order of code points only between two keys that both have
   * units from U+D800 on, and no other key lies between such two if they stand in the wrong order: so it is enough to sort
   * each run of them.
   */
  protected override async* pages(): AsyncIterable<KeyPage> {
    let cursor: string | undefined;
    let run: KeyPage = [];
    do {
      const { items, cursor: next } = await this.#connected.query<StoredRecord>('data_store', { limit: PAGE, ...(cursor !== undefined && { cursor }) });
      const page: KeyPage = [];
      for (const { key, hlc, isDeleted = false, expiresMs } of items) {
        const told = { key, hlc, isDeleted, ...(expiresMs !== undefined && { expiresMs }) };
        if (/[\ud800-\uffff]/.test(key)) {
          run.push(told);
        } else {
          page.push(...sorted(run), told);
          run = [];
        }
      }
      yield page;
      cursor = next;
    } while (cursor !== undefined);
    yield sorted(run);
  }

  async #transaction<T>(mode: 'readonly' | 'readwrite', program: (unit: Unit<Requests>) => Steps<Requests, T>): Promise<T> {
    const { codec = { encode }, durability = 'relaxed' } = this.#options;
    const idb = this.#connected;
    const options = mode === 'readwrite' ? { durability } : {};
    try {
      return await idb.transaction(STORES, mode, (tx) => run(program(new IdbUnit(tx, idb, codec))), options);
    } catch (error) {
      throw fromRequest(error, idb.name);
    }
  }

  get #connected(): Idb {
    if (!this.#idb) throw failure('Closed', 'the adapter has no database');
    return this.#idb;
  }
}

function sorted(run: KeyPage): KeyPage {
  return run.sort((a, b) => compareText(a.key, b.key));
}

/** What IndexedDB can do inside a transaction. */
class IdbUnit implements Unit<Requests> {
  readonly #data: IDBObjectStore;
  readonly #log: IDBObjectStore;
  readonly #meta: IDBObjectStore;
  readonly #codec: Pick<Codec, 'encode'>;
  readonly #idb: Idb;

  constructor(tx: IDBTransaction, idb: Idb, codec: Pick<Codec, 'encode'>) {
    this.#data = tx.objectStore('data_store');
    this.#log = tx.objectStore('op_log');
    this.#meta = tx.objectStore('meta_store');
    this.#codec = codec;
    this.#idb = idb;
  }

  *record(key: string): Steps<Requests, KvRecord | undefined> {
    const found = yield* ask<StoredRecord | undefined>(this.#data.get(key));
    if (!found) return undefined;
    const { key: _, ...record } = found;
    return record;
  }

  *stamp(key: string): Steps<Requests, string | undefined> {
    return (yield* this.record(key))?.hlc;
  }

  *merge(records: ReadonlyMap<string, HeldRecord>): Steps<Requests, void> {
    if (records.size === 0) return;
    const stored = (yield Array.from(records.keys(), (key) => this.#data.get(key))) as (StoredRecord | undefined)[];
    const writes: IDBRequest[] = [];
    for (const [at, [key, { held, hlc, isDeleted, expiresMs }]] of Array.from(records).entries()) {
      const record: StoredRecord = { key, value: held, hlc, ...(isDeleted && { isDeleted }), ...(expiresMs !== undefined && { expiresMs }) };
      const before = stored[at];
      if (!before || compareRecords(before, record, this.#codec.encode) < 0) writes.push(this.#data.put(record));
    }
    if (writes.length > 0) yield writes;
  }

  *dropExpired(nowMs: number): Steps<Requests, number> {
    const keys = yield* ask<IDBValidKey[]>(this.#data.index('expiresMs').getAllKeys(this.#idb.range({ upper: nowMs })));
    if (keys.length > 0) yield keys.map((key) => this.#data.delete(key));
    return keys.length;
  }

  *append(ops: readonly HeldOp[]): Steps<Requests, number> {
    const pruned = (yield* this.meta('pruned')) ?? 0;
    let id = Math.max(yield* this.newestOp(), pruned as number);
    yield ops.map(({ key, opType, held, hlc }) => this.#log.add({ id: (id += 1), key, opType, ...(opType === 'put' && { value: held }), hlc }));
    return id;
  }

  *ops(after: number, limit: number): Steps<Requests, OpLogEntry[]> {
    return yield* ask<OpLogEntry[]>(this.#log.getAll(this.#idb.range({ lower: after, lowerOpen: true }), Math.min(limit, MOST)));
  }

  *newestOp(): Steps<Requests, number> {
    const cursor = yield* ask<IDBCursor | null>(this.#log.openKeyCursor(null, 'prev'));
    return (cursor?.key ?? 0) as number;
  }

  *dropOps(upTo: number): Steps<Requests, number> {
    const range = this.#idb.range({ upper: upTo });
    const [count] = (yield [this.#log.count(range), this.#log.delete(range)]) as [number];
    return count;
  }

  *peers(): Steps<Requests, Peer[]> {
    return (yield* ask<Peer[] | undefined>(this.#meta.get('peers'))) ?? [];
  }

  *putPeer(peer: Peer): Steps<Requests, void> {
    const others = (yield* this.peers()).filter((each) => each.peer !== peer.peer);
    yield [this.#meta.put([...others, peer].sort((a, b) => compareText(a.peer, b.peer)), 'peers')];
  }

  *dropPeer(peer: string): Steps<Requests, void> {
    const others = (yield* this.peers()).filter((each) => each.peer !== peer);
    yield [this.#meta.put(others, 'peers')];
  }

  *meta(name: MetaName): Steps<Requests, string | number | undefined> {
    return yield* ask<string | number | undefined>(this.#meta.get(name));
  }

  *raise(name: MetaName, value: string | number): Steps<Requests, void> {
    const before = yield* this.meta(name);
    if (before === undefined || before < value) yield [this.#meta.put(value, name)];
  }
}

function* ask<T>(request: IDBRequest): Steps<Requests, T> {
  const [result] = (yield [request]) as [T];
  return result;
}

/** Runs a program in a transaction, which stays active since nothing but its requests is awaited. */
async function run<T>(program: Steps<Requests, T>): Promise<T> {
  let step = program.next();
  while (!step.done) step = program.next(await Promise.all(step.value.map(answer)));
  return step.value;
}

function answer(request: IDBRequest): Promise<unknown> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** What a request failed with: the layer below has translated what it saw itself. */
function fromRequest(error: unknown, database: string): StatikError {
  if (!(error instanceof DOMException)) return StatikError.from(error);
  const code = CODES[error.name] ?? 'Io';
  return new StatikError({ code, message: `database ${database}: ${error.name}: ${error.message}`, path: database }, { cause: error });
}

/** By the name of a DOMException. */
const CODES: Partial<Record<string, ErrorCode>> = {
  QuotaExceededError: 'Quota',
  DataCloneError: 'Invalid', DataError: 'Invalid',
  ConstraintError: 'Conflict', ReadOnlyError: 'ReadOnly',
  InvalidStateError: 'Closed', TransactionInactiveError: 'Closed',
  NotFoundError: 'NotFound', NotReadableError: 'Corrupt',
  AbortError: 'Aborted', TimeoutError: 'Timeout', VersionError: 'Unsupported',
};
