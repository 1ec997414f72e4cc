/**
 * Migrations of SQLite databases, on the page and in a worker: the steps of a plan, and the history, in one transaction.
 *
 * SQLite cannot switch foreign keys inside a transaction, and with them on `DROP TABLE`, which every rebuild of a table
 * needs, deletes the rows that refer to it where they cascade. So enforcement is off around the transaction, and the whole
 * database is checked inside it instead (https://sqlite.org/lang_altertable.html#otheralter).
 *
 * Invariants: the plan that is carried out was made from the history as it is under the write lock; no other call of the
 * connection runs while its foreign keys are off.
 */
import type { RemoteDatabase } from '../database.js';
import { failure, ignoreClosed, StatikError } from '../errors.js';
import { migrateOptions } from '../options.js';
import type { LocalDatabase } from '../sync-database.js';
import type {
  ForeignKeyViolation, Migration, MigrateOptions, MigrationEntry, MigrationResult, SqliteMigration, SyncSqliteMigration,
} from '../types.js';
import { entryOf, historyOf, plan, prepare, progressOf, stepFailure, type Plan, type PlannedStep, type Prepared } from './plan.js';

const TABLE = `CREATE TABLE IF NOT EXISTS statik_migrations(
  id INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  checksum TEXT NOT NULL,
  applied_ms INTEGER NOT NULL,
  direction TEXT NOT NULL CHECK (direction IN ('up', 'down'))
)`;
const INSERT = 'INSERT INTO statik_migrations(version, name, checksum, applied_ms, direction) VALUES (?, ?, ?, ?, ?)';
const HISTORY = 'SELECT version, name, checksum, applied_ms AS appliedMs, direction FROM statik_migrations ORDER BY id';
const FOUND = `SELECT
  (SELECT count(*) FROM sqlite_schema WHERE name = 'statik_migrations') AS tables,
  (SELECT user_version FROM pragma_user_version) AS userVersion`;

type Step = string | ((tx: never) => unknown);

/** The verbs that are needed of a database or a transaction, whether they return promises or values. */
interface Verbs {
  exec(sql: string, options?: { signal?: AbortSignal }): unknown;
  run(sql: string, params: (string | number)[]): unknown;
  get(sql: string): unknown;
  all(sql: string): unknown;
}

/** What is to be done, to which database. */
interface Job extends ReturnType<typeof migrateOptions> {
  database: string;
  migrations: Prepared<Step>[];
  /** Whether the connection enforces foreign keys. */
  enforced: boolean;
}

/** Written once for promises and for values: it yields what a verb returned, and is given what came of it. */
type Work<T> = Generator<unknown, T, unknown>;

/** `Sqlite.migrate`, on one connection. */
export async function migrate(db: RemoteDatabase, migrations: readonly SqliteMigration[], options?: MigrateOptions): Promise<MigrationResult> {
  const job = await jobOf(db.name, migrations, options);
  const { steps, ...range } = await awaited(look(db, job));
  job.signal?.throwIfAborted();
  if (steps.length === 0) return { ...range, applied: [] };
  job.enforced = await awaited(enforces(db));
  const transaction = () => db.transaction((tx) => awaited(carryOut(tx, job)));
  if (!job.enforced) return transaction();
  // Called at once, so that nothing else of this connection gets in between.
  const around = [db.exec('PRAGMA foreign_keys = OFF'), transaction(), db.exec('PRAGMA foreign_keys = ON').catch(ignoreClosed)] as const;
  await Promise.allSettled(around);
  const [, result] = await Promise.all(around);
  return result;
}

/** `SyncSqlite.migrate`. */
export async function migrateSync(
  db: LocalDatabase, migrations: readonly SyncSqliteMigration[], options?: Omit<MigrateOptions, 'signal'>,
): Promise<MigrationResult> {
  const job = await jobOf(db.name, migrations, options);
  const { steps, ...range } = atOnce(look(db, job));
  if (steps.length === 0) return { ...range, applied: [] };
  job.enforced = atOnce(enforces(db));
  const transaction = () => db.transaction((tx) => atOnce(carryOut(tx, job)));
  if (!job.enforced) return transaction();
  db.exec('PRAGMA foreign_keys = OFF');
  try {
    return transaction();
  } finally {
    db.exec('PRAGMA foreign_keys = ON');
  }
}

async function jobOf(database: string, migrations: readonly Migration<Step>[], options: MigrateOptions | undefined): Promise<Job> {
  const checked = migrateOptions(options);
  return { ...checked, database, migrations: await prepare(migrations, ['function', 'string']), enforced: false };
}

/** What there is to do. Changes nothing. */
function* look(db: Verbs, { database, migrations, target }: Job): Work<Plan<Step>> {
  const { tables, userVersion } = (yield db.get(FOUND)) as { tables: number; userVersion: number };
  if (tables === 0 && userVersion !== 0) {
    throw failure('Conflict', `database "${database}" has PRAGMA user_version ${userVersion} and no history of migrations: something else versions it; set that to 0 if the migrations may begin at version 1`, database);
  }
  return plan(migrations, tables === 0 ? [] : yield* history(db, database), target, database);
}

function* history(db: Verbs, database: string): Work<MigrationEntry[]> {
  let rows: unknown;
  try {
    rows = yield db.all(HISTORY);
  } catch (error) {
    if (!(error instanceof StatikError) || error.code !== 'Invalid') throw error;
    throw new StatikError({ ...error.toJSON(), code: 'Corrupt', message: `the table statik_migrations of database "${database}" is not ours: ${error.message}` }, { cause: error });
  }
  return historyOf(rows, database);
}

function* enforces(db: Verbs): Work<boolean> {
  const { foreign_keys: enforced } = (yield db.get('PRAGMA foreign_keys')) as { foreign_keys: number };
  return enforced === 1;
}

/** Does what there is to do, inside a transaction that has the write lock. */
function* carryOut(tx: Verbs, job: Job): Work<MigrationResult> {
  if (yield* enforces(tx)) {
    throw failure('Invalid', `migrate: database "${job.database}" is inside a transaction already, where foreign keys cannot be switched off`);
  }
  const planned = yield* look(tx, job);
  const { from, to, steps } = planned;
  const applied: MigrationEntry[] = [];
  if (steps.length > 0) yield tx.exec(TABLE);
  for (const [index, step] of steps.entries()) {
    job.signal?.throwIfAborted();
    job.onProgress(progressOf(planned, index));
    yield* take(tx, step, job);
    const entry = entryOf(step);
    yield tx.run(INSERT, [entry.version, entry.name, entry.checksum, entry.appliedMs, entry.direction]);
    applied.push(entry);
  }
  if (steps.length > 0) yield tx.exec(`PRAGMA user_version = ${to}`);
  if (job.enforced && steps.length > 0) yield* checkForeignKeys(tx, job.database);
  job.signal?.throwIfAborted();
  return { from, to, applied };
}

function* take(tx: Verbs, step: PlannedStep<Step>, { database, signal }: Job): Work<void> {
  try {
    yield typeof step.run === 'string' ? tx.exec(step.run, { signal }) : step.run(tx as never);
  } catch (error) {
    if (signal?.aborted && error === signal.reason) throw error;
    throw stepFailure(step, database, error);
  }
}

function* checkForeignKeys(tx: Verbs, database: string): Work<void> {
  const violation = (yield tx.get('PRAGMA foreign_key_check')) as ForeignKeyViolation | undefined;
  if (violation === undefined) return;
  const { table, rowid, parent } = violation;
  const row = rowid === null ? 'a row' : `the row with rowid ${rowid}`;
  throw failure('Conflict', `the migrations of database "${database}" would leave ${row} of table ${table} without its parent in table ${parent}; nothing was changed`, database);
}

async function awaited<T>(work: Work<T>): Promise<T> {
  for (let state = work.next(); ;) {
    if (state.done) return state.value;
    let came: unknown;
    try {
      came = await state.value;
    } catch (error) {
      state = work.throw(error);
      continue;
    }
    state = work.next(came);
  }
}

function atOnce<T>(work: Work<T>): T {
  for (let state = work.next(); ;) {
    if (state.done) return state.value;
    const isPromise = typeof (state.value as { then?: unknown } | undefined)?.then === 'function';
    state = isPromise
      ? work.throw(failure('Invalid', 'it returned a promise; in the synchronous API it must finish before it returns'))
      : work.next(state.value);
  }
}
