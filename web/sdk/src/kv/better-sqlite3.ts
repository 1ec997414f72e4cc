/**
 * better-sqlite3 as a driver of sql-adapter.ts.
 *
 * Invariants: a program of statements runs without a pause, so nothing of this process falls into its transaction, and two
 * adapters on one file cannot wait for each other; errors of better-sqlite3 are `StatikError`s.
 */
import type Database from 'better-sqlite3';
import type { Statement } from 'better-sqlite3';
import { StatikError } from '../errors.js';
import type { ErrorCode, Row } from '../types.js';
import { runSync, type Sql, type SqlDriver } from './sql-adapter.js';

/** A connection of better-sqlite3 as what sql-adapter.ts drives. */
export class BetterSqlite3Driver implements SqlDriver {
  readonly #path: string;
  readonly #connection: Database;
  /** Statements by their text, of which sql-adapter.ts makes some hundred at most. */
  readonly #statements = new Map<string, Statement>();

  constructor(path: string, connection: Database) {
    this.#path = path;
    this.#connection = connection;
  }

  read<T>(program: Generator<Sql, T, unknown>): T {
    return translated(this.#path, () => runSync(program, this.#execute));
  }

  write<T>(program: Generator<Sql, T, unknown>): T {
    return translated(this.#path, () => {
      this.#connection.exec('BEGIN IMMEDIATE');
      try {
        const result = runSync(program, this.#execute);
        this.#connection.exec('COMMIT');
        return result;
      } catch (error) {
        // SQLite has rolled back by itself where the error was grave enough.
        if (this.#connection.inTransaction) this.#connection.exec('ROLLBACK');
        throw error;
      }
    });
  }

  close(): void {
    this.#statements.clear();
    translated(this.#path, () => this.#connection.close());
  }

  readonly #execute = ({ sql, params }: Sql): Row[] => {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, (statement = this.#connection.prepare(sql)));
    if (statement.reader) return statement.all(params) as Row[];
    statement.run(params);
    return [];
  };
}

/** Runs what may fail with an error of better-sqlite3. */
export function translated<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw fromBetterSqlite3(error, path);
  }
}

/** An error of better-sqlite3 as ours. What is ours already stays. */
export function fromBetterSqlite3(error: unknown, path: string): StatikError {
  if (error instanceof StatikError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  const sqliteCode = typeof code === 'string' && code.startsWith('SQLITE_') ? code : undefined;
  // What better-sqlite3 refuses before SQLite sees it has no code, and these words.
  const isMissing = sqliteCode === undefined && String(message).includes('directory does not exist');
  return new StatikError({
    code: isMissing ? 'NotFound' : errorCode(sqliteCode ?? ''),
    message: `${path}: ${String(message)}`,
    path,
    ...(sqliteCode !== undefined && { sqliteCode }),
  }, { cause: error });
}

/** As the Rust room `sqlite` has it, but for CANTOPEN: a file that is missing is created here, so this one is withheld. */
function errorCode(sqliteCode: string): ErrorCode {
  if (sqliteCode === 'SQLITE_BUSY_SNAPSHOT') return 'Conflict';
  if (sqliteCode === 'SQLITE_CANTOPEN_ISDIR' || sqliteCode === 'SQLITE_CANTOPEN_FULLPATH') return 'Invalid';
  const [, primary = ''] = /^SQLITE_([A-Z]+)/.exec(sqliteCode) ?? [];
  return CODES[primary] ?? 'Io';
}

/** By primary result code. */
const CODES: Partial<Record<string, ErrorCode>> = {
  PERM: 'Permission', AUTH: 'Permission', CANTOPEN: 'Permission',
  BUSY: 'Busy', LOCKED: 'Busy',
  READONLY: 'ReadOnly',
  INTERRUPT: 'Aborted', ABORT: 'Aborted',
  CORRUPT: 'Corrupt', NOTADB: 'Corrupt', FORMAT: 'Corrupt',
  NOTFOUND: 'NotFound',
  FULL: 'Quota',
  CONSTRAINT: 'Conflict', SCHEMA: 'Conflict',
  ERROR: 'Invalid', TOOBIG: 'Invalid', MISMATCH: 'Invalid', MISUSE: 'Invalid', RANGE: 'Invalid',
  NOLFS: 'Unsupported',
};
