/**
 * A database by its logical name: found in the catalog, brought to the app's schema when it is opened, found again when
 * another tab has replaced it.
 */
import { failure, StatikError } from '../errors.js';
import { Database } from '../idb/database.js';
import { bindings, type Environment } from '../idb/environment.js';
import { translated } from '../records-wasm.js';
import type { Idb } from '../idb/types.js';
import { migrate, META, SCHEMA, type IndexedDbMigration, type Upgrading } from '../migrations/indexeddb.js';
import { historyOf } from '../migrations/plan.js';
import { validateSchema, type DatabaseShape, type Difference } from '../migrations/schema.js';
import type { MigrationEntry, MigrationProgress, MigrationResult } from '../types.js';
import type { Catalog, Entry } from './catalog.js';

/** What a database is to be. */
export interface Definition {
  /** The name that the app uses. */
  name: string;
  migrations: readonly IndexedDbMigration[];
  /** What the last migration leaves. */
  shape?: DatabaseShape;
  onProgress?: ((progress: MigrationProgress & { database: string }) => void) | undefined;
}

export class LogicalDatabase {
  readonly definition: Definition;
  readonly idb: Idb;
  readonly #environment: Environment;
  readonly #catalog: Catalog;
  readonly #database: Database;
  #target: number | undefined;
  #last: MigrationResult | undefined;

  constructor(environment: Environment, catalog: Catalog, definition: Definition) {
    this.definition = definition;
    this.#environment = environment;
    this.#catalog = catalog;
    this.#database = new Database(environment, definition.name, () => this.#open());
    this.idb = this.#database;
  }

  get name(): string {
    return this.definition.name;
  }

  /** Opens it now, and says what that migrated. */
  async open(): Promise<MigrationResult | undefined> {
    await this.#database.connect();
    return this.#last;
  }

  /** What was done to its schema, oldest first. */
  async history(): Promise<MigrationEntry[]> {
    return historyOf((await this.idb.get<{ history: unknown }>(META, SCHEMA))?.history ?? [], this.name);
  }

  /** In what the database differs from what the app expects. */
  async validate(): Promise<Difference[]> {
    const { shape } = this.definition;
    if (shape === undefined) throw failure('Unsupported', `database "${this.name}" was defined without a shape`);
    return this.idb.transaction([META], 'readonly', (tx) => validateSchema(tx.db, shape));
  }

  /** Brings the schema to another version, data included: up, or down again. Other tabs that need the newer one fail then. */
  async migrateTo(target: number): Promise<MigrationResult> {
    const before = this.#target;
    // Connections end before a version change begins, this one too: whoever opens it again meanwhile wants the same.
    this.#target = target;
    try {
      const opened = await this.#catalog.locked(this.name, 'shared', async () => this.#migrated(await this.#catalog.entry(this.name)));
      opened.database.close();
      return { from: opened.from, to: opened.to, applied: opened.applied };
    } catch (error) {
      this.#target = before;
      throw error;
    }
  }

  /** The physical database that `entry` means, migrated, apart from the connection that is used. */
  async openApart(entry: Entry): Promise<IDBDatabase> {
    return (await this.#migrated(entry)).database;
  }

  async close(): Promise<void> {
    await this.#database.close();
  }

  async #open(): Promise<IDBDatabase> {
    return this.#catalog.locked(this.name, 'shared', async () => {
      const { database, ...result } = await this.#migrated(await this.#catalog.entry(this.name));
      this.#last = result;
      return database;
    });
  }

  #migrated({ physical }: Entry): Promise<MigrationResult & { database: IDBDatabase }> {
    const { migrations, onProgress } = this.definition;
    return migrate((version, upgrade) => this.#attempt(physical, version, upgrade), migrations, {
      ...(this.#target !== undefined && { target: this.#target }),
      ...(onProgress && { onProgress: (progress) => onProgress({ ...progress, database: this.name }) }),
    });
  }

  async #attempt(physical: string, version: number | undefined, upgrade: Upgrading): Promise<IDBDatabase> {
    try {
      const opened = await this.#environment.records.openDatabase(physical, version, upgrade, bindings(this.#environment));
      // Until it is in use, and has a better handler: whoever wants to upgrade shall not wait for it.
      opened.onversionchange = () => opened.close();
      return opened;
    } catch (error) {
      const known = translated(error);
      // The runner looks again when somebody else was faster; this is how it is told.
      const isPassed = known instanceof StatikError && known.code === 'Conflict';
      throw isPassed ? new StatikError(known.toJSON(), { cause: new DOMException(known.message, 'VersionError') }) : known;
    }
  }
}
