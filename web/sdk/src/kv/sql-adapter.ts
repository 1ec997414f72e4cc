/**
 * Key-value records and their op-log in SQLite, over any driver of it.
 *
 * Invariants: which record stays is decided by SQL itself, in the statement that writes it, by the order of merge.ts:
 * stamps and values are text, which SQLite compares by its UTF-8 bytes; a tombstone's value is the empty text. A record's
 * value stands last in its row, so that nobody who wants the stamp reads through a large value.
 *
 * `kv_store` has row ids: WITHOUT ROWID, a tree that holds values of 2,000 bytes among its keys was three times as slow to
 * fill and to read by key, and only `iterateKeys` was faster; with values of 200 bytes reading was faster, filling slower.
 */
import { decode, encode } from '../codec.js';
import { failure, StatikError } from '../errors.js';
import type { Row, SqlValue } from '../types.js';
import { StorageAdapter, type KeyPage, type MetaName, type Steps, type Unit } from './adapter.js';
import { quoted, type HeldOp, type HeldRecord } from './checks.js';
import type { ClockOptions } from './clock.js';
import type { Codec, KvRecord, OpLogEntry, OpType, Peer } from './types.js';

/** One statement of a program; the answer is its rows. */
export interface Sql {
  sql: string;
  params: readonly SqlValue[];
}

/** A connection. Results may be promises or not. */
export interface SqlDriver {
  /** Runs statements that only read, each for itself. */
  read<T>(program: Steps<Sql, T>): T | Promise<T>;
  /** Runs statements in one transaction that has the write lock from its beginning; whatever fails rolls all of it back. */
  write<T>(program: Steps<Sql, T>): T | Promise<T>;
  close(): void | Promise<void>;
}

export interface SqlAdapterOptions extends ClockOptions {
  /** What values are stored as. Default: the package's own, typed JSON, which takes what structured clone takes. */
  codec?: Codec;
}

const SCHEMA = [
  'CREATE TABLE IF NOT EXISTS kv_store(key TEXT PRIMARY KEY NOT NULL, hlc TEXT NOT NULL, is_deleted INTEGER NOT NULL, expires_ms INTEGER, value BLOB NOT NULL)',
  'CREATE INDEX IF NOT EXISTS kv_store_expires ON kv_store(expires_ms) WHERE expires_ms IS NOT NULL',
  'CREATE TABLE IF NOT EXISTS op_log(id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, op_type TEXT NOT NULL, value BLOB, hlc TEXT NOT NULL)',
  'CREATE TABLE IF NOT EXISTS peers(peer TEXT PRIMARY KEY NOT NULL, acknowledged INTEGER NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID',
  'CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID',
];

/** Rows written by one statement, so that a large batch is not a round trip for each. */
const ROWS = 50;
/** Keys read by one statement. */
const PAGE = 1000;
/** Above every expiry: a record without one lasts longest. */
const NEVER = Number.MAX_SAFE_INTEGER + 1;

/** An adapter over SQLite, which `open` connects to. */
export abstract class SqlStorageAdapter extends StorageAdapter<Sql> {
  readonly #codec: Codec;
  readonly #unit: SqlUnit;
  #driver: SqlDriver | undefined;

  constructor({ codec = { encode, decode }, ...clock }: SqlAdapterOptions) {
    super(clock);
    if (typeof codec?.encode !== 'function' || typeof codec.decode !== 'function') throw failure('Invalid', 'making an adapter: codec must have encode and decode');
    this.#codec = codec;
    this.#unit = new SqlUnit(codec);
  }

  /** A connection to the database, which is created if there is none. */
  protected abstract open(dbName: string): Promise<SqlDriver>;

  protected override async connect(dbName: string): Promise<void> {
    const driver = await this.open(dbName);
    try {
      await driver.write(schema());
    } catch (error) {
      await driver.close();
      throw error;
    }
    this.#driver = driver;
  }

  protected override async disconnect(): Promise<void> {
    await this.#driver?.close();
  }

  protected override hold(value: unknown): unknown {
    return this.#codec.encode(value);
  }

  protected override async read<T>(program: (unit: Unit<Sql>) => Steps<Sql, T>): Promise<T> {
    return this.#connected.read(program(this.#unit));
  }

  protected override async write<T>(program: (unit: Unit<Sql>) => Steps<Sql, T>): Promise<T> {
    return this.#connected.write(program(this.#unit));
  }

  protected override async* pages(): AsyncIterable<KeyPage> {
    let after: string | undefined;
    for (;;) {
      const page: KeyPage = await this.#connected.read(keysAfter(after));
      yield page;
      if (page.length < PAGE) return;
      after = page.at(-1)?.key;
    }
  }

  get #connected(): SqlDriver {
    if (!this.#driver) throw failure('Closed', 'the adapter has no connection');
    return this.#driver;
  }
}

function* schema(): Steps<Sql, void> {
  for (const sql of SCHEMA) yield { sql, params: [] };
}

function* keysAfter(after: string | undefined): Steps<Sql, KeyPage> {
  const [where, params] = after === undefined ? ['', []] : ['WHERE key > ?', [after]];
  const rows = yield* ask(`SELECT key, hlc, is_deleted, expires_ms FROM kv_store ${where} ORDER BY key LIMIT ${PAGE}`, params);
  return rows.map((row) => ({ key: row.key as string, ...metadata(row) }));
}

/** What SQL can do inside a transaction. */
class SqlUnit implements Unit<Sql> {
  readonly #codec: Codec;

  constructor(codec: Codec) {
    this.#codec = codec;
  }

  *record(key: string): Steps<Sql, KvRecord | undefined> {
    const [row] = yield* ask('SELECT hlc, is_deleted, expires_ms, value FROM kv_store WHERE key = ?', [key]);
    if (!row) return undefined;
    const { hlc, isDeleted, expiresMs } = metadata(row);
    return {
      value: isDeleted ? undefined : this.#decode(row.value, `the value of ${quoted(key)}`),
      hlc,
      ...(isDeleted && { isDeleted }),
      ...(expiresMs !== undefined && { expiresMs }),
    };
  }

  *stamp(key: string): Steps<Sql, string | undefined> {
    const [row] = yield* ask('SELECT hlc FROM kv_store WHERE key = ?', [key]);
    return row?.hlc as string | undefined;
  }

  *merge(records: ReadonlyMap<string, HeldRecord>): Steps<Sql, void> {
    const rows = Array.from(records, ([key, { held, hlc, isDeleted, expiresMs = null }]): SqlValue[] => [key, hlc, Number(isDeleted), expiresMs, isDeleted ? '' : held as string]);
    for (const some of chunks(rows)) yield* ask(`INSERT INTO kv_store(key, hlc, is_deleted, expires_ms, value) VALUES ${places(some, 5)} ${STAYS}`, some.flat());
  }

  *dropExpired(nowMs: number): Steps<Sql, number> {
    return yield* changes('DELETE FROM kv_store WHERE expires_ms <= ?', [nowMs]);
  }

  *append(ops: readonly HeldOp[]): Steps<Sql, number> {
    const rows = ops.map(({ key, opType, held = null, hlc }): SqlValue[] => [key, opType, held as string | null, hlc]);
    for (const some of chunks(rows)) yield* ask(`INSERT INTO op_log(key, op_type, value, hlc) VALUES ${places(some, 4)}`, some.flat());
    return yield* this.newestOp();
  }

  *ops(after: number, limit: number): Steps<Sql, OpLogEntry[]> {
    const rows = yield* ask('SELECT id, key, op_type, value, hlc FROM op_log WHERE id > ? ORDER BY id LIMIT ?', [after, limit]);
    return rows.map(({ id, key, op_type: opType, value, hlc }) => ({
      id: id as number,
      key: key as string,
      opType: opType as OpType,
      ...(opType === 'put' && { value: this.#decode(value, `the value of operation ${id}`) }),
      hlc: hlc as string,
    }));
  }

  *newestOp(): Steps<Sql, number> {
    const [row] = yield* ask('SELECT max(id) AS newest FROM op_log', []);
    return (row?.newest ?? 0) as number;
  }

  *dropOps(upTo: number): Steps<Sql, number> {
    return yield* changes('DELETE FROM op_log WHERE id <= ?', [upTo]);
  }

  *peers(): Steps<Sql, Peer[]> {
    const rows = yield* ask('SELECT peer, acknowledged, seen_ms FROM peers ORDER BY peer', []);
    return rows.map((row) => ({ peer: row.peer as string, acknowledged: row.acknowledged as number, seenMs: row.seen_ms as number }));
  }

  *putPeer({ peer, acknowledged, seenMs }: Peer): Steps<Sql, void> {
    yield* ask('INSERT OR REPLACE INTO peers(peer, acknowledged, seen_ms) VALUES (?, ?, ?)', [peer, acknowledged, seenMs]);
  }

  *dropPeer(peer: string): Steps<Sql, void> {
    yield* ask('DELETE FROM peers WHERE peer = ?', [peer]);
  }

  *meta(name: MetaName): Steps<Sql, string | number | undefined> {
    const [row] = yield* ask('SELECT value FROM meta WHERE name = ?', [name]);
    return row?.value as string | number | undefined;
  }

  *raise(name: MetaName, value: string | number): Steps<Sql, void> {
    yield* ask('INSERT INTO meta(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value WHERE excluded.value > meta.value', [name, value]);
  }

  #decode(text: SqlValue | undefined, what: string): unknown {
    try {
      if (typeof text !== 'string') throw new Error(`it is a ${text === null ? 'NULL' : typeof text}, not text`);
      return this.#codec.decode(text);
    } catch (error) {
      throw new StatikError({ code: 'Corrupt', message: `reading ${what}: ${error instanceof Error ? error.message : String(error)}` }, { cause: error });
    }
  }
}

/** The order of records, as merge.ts has it: what is there gives way to what is greater. */
const STAYS = `ON CONFLICT(key) DO UPDATE SET hlc = excluded.hlc, is_deleted = excluded.is_deleted, expires_ms = excluded.expires_ms, value = excluded.value
  WHERE (excluded.hlc, excluded.is_deleted, excluded.value, coalesce(excluded.expires_ms, ${NEVER}))
    > (kv_store.hlc, kv_store.is_deleted, kv_store.value, coalesce(kv_store.expires_ms, ${NEVER}))`;

function* ask(sql: string, params: readonly SqlValue[]): Steps<Sql, Row[]> {
  return (yield { sql, params }) as Row[];
}

function* changes(sql: string, params: readonly SqlValue[]): Steps<Sql, number> {
  yield* ask(sql, params);
  const [row] = yield* ask('SELECT changes() AS changes', []);
  return row?.changes as number;
}

function metadata(row: Row): { hlc: string; isDeleted: boolean; expiresMs?: number } {
  return {
    hlc: row.hlc as string,
    isDeleted: row.is_deleted !== 0,
    ...(row.expires_ms !== null && { expiresMs: row.expires_ms as number }),
  };
}

function* chunks<T>(all: readonly T[]): Generator<readonly T[], void, void> {
  for (let at = 0; at < all.length; at += ROWS) yield all.slice(at, at + ROWS);
}

/** `(?, ?), (?, ?)` for two rows of two columns. */
function places(rows: readonly unknown[], columns: number): string {
  return Array(rows.length).fill(`(${Array(columns).fill('?').join(', ')})`).join(', ');
}

/** Runs a program on a connection that answers at once. */
export function runSync<T>(program: Steps<Sql, T>, execute: (statement: Sql) => Row[]): T {
  let step = program.next();
  while (!step.done) step = program.next(execute(step.value));
  return step.value;
}

/** Runs a program on a connection that answers later. */
export async function runAsync<T>(program: Steps<Sql, T>, execute: (statement: Sql) => Promise<Row[]>): Promise<T> {
  let step = program.next();
  while (!step.done) step = program.next(await execute(step.value));
  return step.value;
}
