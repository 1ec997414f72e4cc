/**
 * The three databases of an app, `statik_memory`, `statik_state` and `statik_logs`, on IndexedDB: in windows, workers and
 * service workers. Each is opened, and brought to today's schema, when it is first needed.
 *
 * ```ts
 * const databases = await initializeDatabases();
 * await databases.memory.storeEpisode({ salience: 0.8, tags: ['work'], text: 'shipped' });
 * const { items } = await databases.memory.queryEpisodes({ tags: ['work'], from: Date.now() - 86_400_000 });
 * ```
 */
import { failure } from '../errors.js';
import { environment, type Environment } from '../idb/environment.js';
import { estimate } from '../idb/room.js';
import type { Idb, IdbEvent } from '../idb/types.js';
import type { IndexedDbMigration } from '../migrations/indexeddb.js';
import type { DatabaseShape, Difference } from '../migrations/schema.js';
import { logPruner } from '../quota/pruners.js';
import { Quota } from '../quota/quota.js';
import type { MigrationResult } from '../types.js';
import { Backup } from './backup.js';
import { TIMERS } from './backup-schedule.js';
import { Catalog } from './catalog.js';
import { Encryption, keyfileSetting } from './encryption.js';
import * as field from './fields.js';
import { LogicalDatabase } from './logical.js';
import { LOGS_MIGRATIONS, LOGS_SHAPE, LogDatabase } from './logs.js';
import { type Guard, MEMORY_MIGRATIONS, MEMORY_SHAPE, MemoryDatabase } from './memory.js';
import { copy, replace } from './replace.js';
import { sizeOf } from './size.js';
import { KEPT_STATES, STATE_MIGRATIONS, STATE_SHAPE, StateDatabase } from './state.js';
import type { DatabasesOptions, DatabasesStatus, DatabaseUsage, StorageUsage, VacuumReport } from './types.js';

const DEADLINE_MS = 30_000;
/** How many records are measured together. */
const MEASURED = 500;

/** Opens the databases. Where IndexedDB cannot be used they are in memory: an event `fallback` and `status()` say so. */
export async function initializeDatabases(options: DatabasesOptions = {}): Promise<Databases> {
  const doing = 'initializeDatabases';
  field.record(doing, options);
  const { name, deadlineMs = DEADLINE_MS, fallback = 'memory', keepStates = KEPT_STATES, wasm } = options;
  if (name !== undefined && !(typeof name === 'string' && /^[\w.-]{1,64}$/.test(name))) throw field.wrong(doing, 'name', name, 'of [A-Za-z0-9._-], up to 64');
  field.count(doing, 'deadlineMs', deadlineMs);
  field.count(doing, 'keepStates', keepStates);
  field.oneOf(doing, 'fallback', fallback, ['memory', 'error']);
  let reason: string | undefined;
  const onEvent = (event: IdbEvent) => {
    if (event.type === 'fallback') reason = event.reason;
    options.onEvent?.(event);
  };
  let catalog: Catalog | undefined;
  const found = await environment({ deadlineMs, onEvent, wasm: wasmOf(wasm), fallback, factory: options.factory }, (found) => {
    catalog = new Catalog(found);
    return catalog.probe();
  });
  const encryption = await Encryption.open(found.records, catalog!, suffixOf(name), options).catch(async (error: unknown) => {
    await catalog!.close();
    throw error;
  });
  const databases = new Databases(found, catalog!, encryption, () => reason, options);
  try {
    await databases.open();
    await databases.backup.resume();
  } catch (error) {
    // The keys' locks are let go of.
    await databases.close();
    throw error;
  }
  if (databases.storage === 'indexeddb') databases.quota.watch();
  return databases;
}

export class Databases {
  readonly memory: MemoryDatabase;
  readonly state: StateDatabase;
  readonly logs: LogDatabase;
  /** Export, import and automatic backups. */
  readonly backup: Backup;
  /** How full the origin is, and room for more. Its pruner `logs` is there if the option `quota` has a retention. */
  readonly quota: Quota;
  readonly encryption: Encryption;
  readonly #environment: Environment;
  readonly #catalog: Catalog;
  readonly #reason: () => string | undefined;
  readonly #suffix: string;
  readonly #onMigration: DatabasesOptions['onMigration'];
  /** By the name that the app uses. */
  readonly #logical = new Map<string, LogicalDatabase>();

  /** For `initializeDatabases`. */
  constructor(environment: Environment, catalog: Catalog, encryption: Encryption, reason: () => string | undefined, options: DatabasesOptions) {
    const { name, keepStates = KEPT_STATES, onMigration, onEvent, timers = TIMERS, quota: { retention, ...quota } = {} } = options;
    this.#environment = environment;
    this.#catalog = catalog;
    this.#reason = reason;
    this.#suffix = suffixOf(name);
    this.#onMigration = onMigration;
    this.encryption = encryption;
    this.quota = new Quota({ ...quota, ...(onEvent && { onEvent }) });
    const { sealing } = encryption;
    const guard: Guard = (job, bytes) => this.quota.guard(job, bytes);
    this.memory = new MemoryDatabase(encryption.fenced(this.#define('statik_memory', MEMORY_MIGRATIONS, MEMORY_SHAPE).idb), sealing, guard);
    this.state = new StateDatabase(encryption.fenced(this.#define('statik_state', STATE_MIGRATIONS, STATE_SHAPE).idb), keepStates, sealing);
    this.logs = new LogDatabase(encryption.fenced(this.#define('statik_logs', LOGS_MIGRATIONS, LOGS_SHAPE).idb), sealing);
    encryption.attach([...this.memory.sealed, ...this.state.sealed, ...this.logs.sealed]);
    this.backup = new Backup({ environment, catalog, databases: this.#logical, keyfile: keyfileSetting(this.#suffix) }, this.#suffix, timers);
    if (retention !== undefined) this.quota.register(logPruner('logs', this.logs, retention));
  }

  /** Memory: nothing survives this page. */
  get storage(): 'indexeddb' | 'memory' {
    return this.#environment.storage;
  }

  /** Opens all now, and so brings them to today's schemas. Answers what that did, by name. */
  async open(): Promise<Record<string, MigrationResult | undefined>> {
    return Object.fromEntries(await Promise.all([...this.#logical].map(async ([name, database]) => [name, await database.open()])));
  }

  /** A database of the app's own: its stores are what the migrations make of them. */
  async database(name: string, migrations: readonly IndexedDbMigration[], shape?: DatabaseShape): Promise<Idb> {
    field.text('database', 'name', name);
    if (name.startsWith('statik_')) throw field.wrong('database', 'name', name, 'without the prefix "statik_", which is reserved');
    // These set suffix and generation off: another database could have the very name.
    if (/[@#]/.test(name)) throw field.wrong('database', 'name', name, 'without "@" and "#", which are reserved');
    const known = this.#logical.get(name);
    const database = known ?? this.#define(name, migrations, shape);
    try {
      await database.open();
    } catch (error) {
      // The next call may bring a better list.
      if (known === undefined) {
        this.#logical.delete(name);
        await database.close();
      }
      throw error;
    }
    return database.idb;
  }

  async status(): Promise<DatabasesStatus> {
    const reason = this.#reason();
    const databases = await Promise.all([...this.#logical.values()].map(async (database) => {
      const history = await database.history();
      const { generation } = await this.#catalog.entry(database.name);
      const last = history.at(-1);
      return { name: database.name, version: last === undefined ? 0 : last.direction === 'up' ? last.version : last.version - 1, generation, history };
    }));
    return { storage: this.storage, ...(reason !== undefined && { reason }), databases };
  }

  /** In what a database differs from what it should be; empty where it does not. */
  async validateSchema(name: string): Promise<Difference[]> {
    return this.#get('validateSchema', name).validate();
  }

  /** Brings a database's schema to a version, forth or back, its data included. */
  async migrateTo(name: string, version: number): Promise<MigrationResult> {
    return this.#get('migrateTo', name).migrateTo(field.count('migrateTo', 'version', version, 0));
  }

  /** What each database and store takes. Reads every record: a browser tells no more than the total. */
  async getStorageUsage(): Promise<StorageUsage> {
    const { usage, quota } = await estimate();
    const databases: DatabaseUsage[] = [];
    for (const database of this.#logical.values()) databases.push(await this.#measure(database));
    return { ...(usage !== undefined && { usageBytes: usage }), ...(quota !== undefined && { quotaBytes: quota }), databases };
  }

  /**
   * Copies a database into a new one, which takes its place. Other tabs wait meanwhile, 60 s at most. Whether and when the
   * browser then gives space back is its own affair; the report has its estimates from before and after.
   */
  async vacuumDatabase(name: string, { onProgress }: { onProgress?: (records: number) => void } = {}): Promise<VacuumReport> {
    const database = this.#get('vacuumDatabase', name);
    const before = await estimate();
    let records = 0;
    const generations = await replace(this.#environment, this.#catalog, [database], async (replacements) => {
      records = await copy(replacements.get(database.name)!, this.#environment, onProgress);
    });
    const after = await estimate();
    return {
      name: database.name, records, generation: generations.get(database.name)!,
      ...(before.usage !== undefined && { beforeBytes: before.usage }),
      ...(after.usage !== undefined && { afterBytes: after.usage }),
    };
  }

  async close(): Promise<void> {
    await this.backup.close();
    this.quota.close();
    await this.encryption.close();
    await Promise.all([...this.#logical.values()].map((database) => database.close()));
    await this.#catalog.close();
  }

  #define(name: string, migrations: readonly IndexedDbMigration[], shape?: DatabaseShape): LogicalDatabase {
    const definition = { name: `${name}${this.#suffix}`, migrations, ...(shape && { shape }), onProgress: this.#onMigration };
    const database = new LogicalDatabase(this.#environment, this.#catalog, definition);
    this.#logical.set(name, database);
    return database;
  }

  #get(doing: string, name: string): LogicalDatabase {
    const database = this.#logical.get(name);
    if (database === undefined) throw failure('NotFound', `${doing}: there is no database ${JSON.stringify(name)}; there are ${[...this.#logical.keys()].join(', ')}`);
    return database;
  }

  async #measure({ name, idb }: LogicalDatabase): Promise<DatabaseUsage> {
    const stores: DatabaseUsage['stores'] = {};
    const names = await idb.transaction(['statik_meta'], 'readonly', (tx) => Array.from(tx.db.objectStoreNames));
    for (const store of names) {
      const total = { records: 0, bytes: 0 };
      let cursor: string | undefined;
      do {
        const page = await idb.query<unknown>(store, { limit: MEASURED, ...(cursor !== undefined && { cursor }) });
        total.records += page.items.length;
        for (const value of page.items) total.bytes += sizeOf(value);
        cursor = page.cursor;
      } while (cursor !== undefined);
      stores[store] = total;
    }
    const all = Object.values(stores);
    return { name, records: all.reduce((sum, { records }) => sum + records, 0), bytes: all.reduce((sum, { bytes }) => sum + bytes, 0), stores };
  }
}

/** What an app's databases have behind their names. */
function suffixOf(name: string | undefined): string {
  return name === undefined ? '' : `@${name}`;
}

function wasmOf(given: DatabasesOptions['wasm']): URL | WebAssembly.Module | undefined {
  return typeof given === 'string' ? new URL(given, globalThis.location?.href) : given;
}
