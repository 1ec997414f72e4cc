/**
 * Migrations of IndexedDB databases: schema, data and history change in one version-change transaction, or nothing does.
 *
 * The schema's version is ours, and kept with its history in the store `statik_meta`, key `schema`. IndexedDB's own number
 * only says that there was a change: it rises by one with each, down steps included. How a database is opened (`blocked`,
 * deadlines, what to do when another tab wants to upgrade) is the business of the `Open` that is passed in.
 *
 * Invariants: the plan that is carried out was made from the history as it is inside the version-change transaction; that
 * transaction never commits while a step is unfinished; a database that is refused keeps its number.
 */
import { failure, StatikError } from '../errors.js';
import { migrateOptions } from '../options.js';
import type { ErrorCode, Migration, MigrateOptions, MigrationEntry, MigrationResult } from '../types.js';
import { entryOf, historyOf, plan, prepare, progressOf, stepFailure, versionOf, type PlannedStep, type Prepared } from './plan.js';

/** The store that every database has for what concerns itself; its keys are out of line. */
export const META = 'statik_meta';
/** Its key for the schema's version and history. */
export const SCHEMA = 'schema';
/** How often a database is opened again because others changed it in between. */
const ATTEMPTS = 10;

/**
 * One step. It may await only requests of the transaction (see `request`): after it awaited anything else, its next request
 * fails, and with it the migration. `db.transaction` is `tx`.
 */
export type Upgrade = (db: UpgradingDatabase, tx: IDBTransaction) => void | Promise<void>;
export type IndexedDbMigration = Migration<Upgrade>;

/** What happens inside a version-change transaction. It never rejects: where it fails it aborts the transaction. */
export type Upgrading = (db: IDBDatabase, tx: IDBTransaction) => Promise<void>;

/**
 * Opens the database; without `version`, as it is, or new. `upgrade` is to be called at once when `upgradeneeded` fires.
 * Rejects when that transaction was aborted, and for a version below the database's with a DOMException named
 * `VersionError`, or an error whose `cause` is one.
 */
export type Open = (version: number | undefined, upgrade: Upgrading) => Promise<IDBDatabase>;

/** A database during its version change: what a step may do to its schema. */
export class UpgradingDatabase {
  readonly transaction: IDBTransaction;

  constructor(transaction: IDBTransaction) {
    this.transaction = transaction;
  }

  get name(): string {
    return this.transaction.db.name;
  }

  get objectStoreNames(): DOMStringList {
    return this.transaction.objectStoreNames;
  }

  createObjectStore(name: string, options?: IDBObjectStoreParameters): IDBObjectStore {
    return this.transaction.db.createObjectStore(name, options);
  }

  deleteObjectStore(name: string): void {
    if (name === META) throw failure('Invalid', `the store ${META} holds the history of migrations, and cannot be deleted`);
    this.transaction.db.deleteObjectStore(name);
  }

  objectStore(name: string): IDBObjectStore {
    return this.transaction.objectStore(name);
  }
}

/**
 * The result of a request. A request that fails does not abort its transaction by itself then: whoever awaits it decides.
 * A cursor's request can be awaited again after each `continue()`.
 */
export function request<T>(pending: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    pending.onsuccess = () => resolve(pending.result);
    pending.onerror = (event) => {
      event.preventDefault();
      reject(translated(pending.error));
    };
  });
}

/**
 * Opens a database at the newest version of the list, or at `target`. What is refused, and how, is as with
 * `Sqlite.migrate`. `Busy`: others changed the database each time between our looking and our upgrading.
 */
export async function migrate(
  open: Open, migrations: readonly IndexedDbMigration[], options?: MigrateOptions,
): Promise<MigrationResult & { database: IDBDatabase }> {
  const job = { ...migrateOptions(options), migrations: await prepare<Upgrade>(migrations) };
  let version: number | undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    job.signal?.throwIfAborted();
    const opened = await openWith(open, version, job);
    version = undefined;
    if (opened === undefined) continue;
    const { database, result } = opened;
    try {
      const { steps, ...range } = result ? { ...result, steps: [] } : await look(database, job);
      if (steps.length === 0) return { applied: [], ...range, database };
    } catch (error) {
      database.close();
      throw error;
    }
    version = database.version + 1;
    database.close();
  }
  throw failure('Busy', `a database to be migrated was changed by others ${ATTEMPTS} times in between`);
}

/** What is to be done. */
interface Job extends ReturnType<typeof migrateOptions> {
  migrations: readonly Prepared<Upgrade>[];
}

/** One opening. `result` is there if an upgrade was run; undefined comes if others were faster. */
async function openWith(open: Open, version: number | undefined, job: Job): Promise<{ database: IDBDatabase; result?: MigrationResult } | undefined> {
  const upgrade: { tx?: IDBTransaction; result?: MigrationResult; error?: unknown } = {};
  const upgrading: Upgrading = async (db, tx) => {
    upgrade.tx = tx;
    try {
      upgrade.result = await runMigrations(db, tx, job);
    } catch (error) {
      upgrade.error = error;
    }
  };
  let database: IDBDatabase;
  try {
    database = await open(version, upgrading);
  } catch (error) {
    // Of a failed upgrade the opening knows only that it was aborted. The transaction knows more if its commit failed.
    if (upgrade.error !== undefined) throw upgrade.error;
    if (upgrade.tx === undefined && version !== undefined && isVersionError(error)) return undefined;
    throw translated(upgrade.tx?.error ?? error);
  }
  if (upgrade.error === undefined) return { database, ...(upgrade.result && { result: upgrade.result }) };
  // The step that failed has committed by itself before.
  database.close();
  throw upgrade.error;
}

/** What there is to do, by the history as it is now. */
async function look(database: IDBDatabase, { migrations, target }: Job) {
  const { name } = database;
  const history = database.objectStoreNames.contains(META) ? await readHistory(database.transaction(META), name) : [];
  return plan(migrations, history, target, name);
}

/** Plans and migrates inside a version-change transaction, which is aborted if that fails. */
export async function runMigrations(db: IDBDatabase, tx: IDBTransaction, job: Job): Promise<MigrationResult> {
  try {
    if (!db.objectStoreNames.contains(META)) db.createObjectStore(META);
    const history = await readHistory(tx, db.name);
    const planned = plan(job.migrations, history, job.target, db.name);
    const { from, to, steps } = planned;
    const applied: MigrationEntry[] = [];
    for (const [index, step] of steps.entries()) {
      job.signal?.throwIfAborted();
      job.onProgress(progressOf(planned, index));
      await take(tx, step, job.signal);
      applied.push(entryOf(step));
    }
    if (steps.length > 0) await request(tx.objectStore(META).put({ version: to, history: [...history, ...applied] }, SCHEMA));
    return { from, to, applied };
  } catch (error) {
    abort(tx);
    throw error;
  }
}

/** Takes a step. When this resolves the transaction can take requests. */
async function take(tx: IDBTransaction, step: PlannedStep<Upgrade>, signal: AbortSignal | undefined): Promise<void> {
  const { name } = tx.db;
  const work = (async () => step.run(new UpgradingDatabase(tx), tx))();
  let pending = true;
  const end = () => {
    pending = false;
  };
  work.then(end, end);
  try {
    // With a request always under way the transaction does not commit, whatever the step awaits. So a step that awaited
    // something else fails at its next request, as a whole, instead of half of it being committed.
    do {
      await request(tx.objectStore(META).count());
      signal?.throwIfAborted();
    } while (pending);
    await work;
  } catch (error) {
    if (signal?.aborted && error === signal.reason) throw error;
    // A request that failed unheard has aborted the transaction: that is the cause of all that failed after.
    throw stepFailure(step, name, translated(tx.error ?? error));
  }
}

/** The history, as a transaction sees it. `Corrupt` if it is none. */
async function readHistory(tx: IDBTransaction, database: string): Promise<MigrationEntry[]> {
  const stored: unknown = await request(tx.objectStore(META).get(SCHEMA));
  if (stored === undefined) return [];
  const { version, history } = Object(stored) as { version?: unknown; history?: unknown };
  const checked = historyOf(history, database);
  const standing = versionOf(checked, database);
  if (version === standing) return checked;
  throw failure('Corrupt', `database "${database}" says it is at schema version ${String(version)}, and its history leads to ${standing}; nothing was changed`, database);
}

function abort(tx: IDBTransaction): void {
  try {
    tx.abort();
  } catch {
    // It was aborted already, by a request that failed unheard or by the step itself.
  }
}

function isVersionError(error: unknown): boolean {
  const { name, cause } = Object(error) as { name?: unknown; cause?: { name?: unknown } | null };
  return name === 'VersionError' || cause?.name === 'VersionError';
}

/** What IndexedDB throws, by name, where it is more than `Io`. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  AbortError: 'Aborted',
  ConstraintError: 'Conflict',
  DataCloneError: 'Invalid',
  DataError: 'Invalid',
  InvalidAccessError: 'Invalid',
  InvalidStateError: 'Closed',
  NotFoundError: 'NotFound',
  QuotaExceededError: 'Quota',
  ReadOnlyError: 'ReadOnly',
  SyntaxError: 'Invalid',
  TimeoutError: 'Timeout',
};

/** A DOMException as a StatikError; anything else as it is. */
export function translated(thrown: unknown): unknown {
  if (!(thrown instanceof DOMException)) return thrown;
  if (thrown.name === 'TransactionInactiveError') {
    return new StatikError({ code: 'Invalid', message: 'a migration may await nothing but requests of its transaction, and one did' }, { cause: thrown });
  }
  return new StatikError({ code: CODES[thrown.name] ?? 'Io', message: `${thrown.name}: ${thrown.message}` }, { cause: thrown });
}
