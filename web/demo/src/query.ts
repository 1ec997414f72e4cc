/**
 * Running a script: statement after statement, rows as they come.
 *
 * Rows are fetched in batches, so that the first appear at once, memory grows with what is shown, and a cancelled
 * query stops. A script stops at its first failure, which says where in the script it lies.
 */
import { StatikError, type Database, type RowArray } from 'statik-storage';
import { statements, type StatementRange } from './sql.js';

/** More rows than anybody scrolls through, and than browsers can lay out as one tall element. */
export const MAX_ROWS = 500_000;
const BATCH_ROWS = 1000;

/** The rows of one statement. They grow while it runs. */
export interface ResultSet {
  sql: string;
  columns: readonly string[];
  rows: RowArray[];
  /** True if there were more than MAX_ROWS. */
  truncated: boolean;
}

export interface Outcome {
  statements: number;
  /** Rows changed by statements that return none. */
  changes: number;
  /** True if something may have been written. */
  wrote: boolean;
}

/** A failure, and the part of the script that SQLite blames. */
export class ScriptError extends Error {
  readonly range: StatementRange;

  constructor(cause: unknown, range: StatementRange) {
    super('The script failed', { cause });
    this.range = range;
  }
}

export interface ScriptOptions {
  signal: AbortSignal;
  /** A statement that returns rows was begun. */
  onResult: (result: ResultSet) => void;
  /** Rows were added to the last result. */
  onRows: () => void;
}

export async function runScript(db: Database, sql: string, options: ScriptOptions): Promise<Outcome> {
  const outcome: Outcome = { statements: 0, changes: 0, wrote: false };
  for (const range of statements(sql)) {
    try {
      options.signal.throwIfAborted();
      await runStatement(db, sql.slice(range.start, range.end), outcome, options);
    } catch (error) {
      const offset = error instanceof StatikError ? error.offset : undefined;
      throw new ScriptError(error, offset === undefined ? range : { start: range.start + offset, end: range.start + offset + 1 });
    }
    outcome.statements += 1;
  }
  return outcome;
}

async function runStatement(db: Database, sql: string, outcome: Outcome, options: ScriptOptions): Promise<void> {
  const statement = await db.prepare(sql);
  try {
    outcome.wrote ||= !statement.readOnly;
    if (statement.columns.length === 0) {
      outcome.changes += (await statement.run(undefined, { signal: options.signal })).changes;
      return;
    }
    const result: ResultSet = { sql, columns: statement.columns.map(({ name }) => name), rows: [], truncated: false };
    options.onResult(result);
    for await (const row of statement.iterate<RowArray>(undefined, { rows: 'array', batchRows: BATCH_ROWS, signal: options.signal })) {
      if (result.rows.length === MAX_ROWS) {
        result.truncated = true;
        break;
      }
      if (result.rows.push(row) % BATCH_ROWS === 0) options.onRows();
    }
    options.onRows();
  } finally {
    await statement.finalize();
  }
}
