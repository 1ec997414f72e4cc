/**
 * Restores databases and files from a backup.
 *
 * Invariants:
 * - Nothing is touched before all of the backup was read and found sound, its schemas were found to be such as this app
 *   knows, and `confirm` has said yes.
 * - The databases are all restored or none of them: new ones are built beside them, and one transaction decides. Files are
 *   given out before that, each for itself; if one fails, no database was touched.
 * - Constant memory.
 */
import { encode } from '../codec.js';
import { failure, StatikError } from '../errors.js';
import { META, request, SCHEMA, translated } from '../migrations/indexeddb.js';
import { historyOf, plan, prepare, versionOf } from '../migrations/plan.js';
import type { ImportSource, MigrationEntry } from '../types.js';
import { checkRecords } from './backup-check.js';
import type { BackupContext } from './backup-export.js';
import { giveFiles, type TakeFile } from './backup-files.js';
import type { BackupSummary, FileSection } from './backup-format.js';
import { mergeStore, type OnConflict } from './backup-merge.js';
import { inspectBackup, readBackup, type ReadBackupOptions } from './backup-reader.js';
import * as field from './fields.js';
import type { LogicalDatabase } from './logical.js';
import { changed, pages, putAll, replace, type Replacement } from './replace.js';

export interface ImportOptions {
  /** Asked once, when all of the backup was checked. Unless it answers true, nothing is touched. */
  confirm: (summary: BackupSummary) => boolean | Promise<boolean>;
  /** `replace` (default): stores become what the backup has of them. `merge`: what only the databases have stays too. */
  mode?: 'replace' | 'merge';
  /** With `merge`: which record stays if both have one of that key. Default `overwrite`: the backup's. */
  onConflict?: OnConflict;
  /** Of the backup's databases only these. Default: all. */
  databases?: readonly string[];
  /** Restores a SQLite database; false leaves them all out. Needed if the backup has any, unless `statik` is given. */
  onSqlite?: TakeFile | false;
  /** Restores a file; false leaves them all out. Needed if the backup has any. */
  onFile?: TakeFile | false;
  /** A store whose `sqlite.import` restores SQLite databases. None of those may be open. */
  statik?: { sqlite: { import(name: string, source: ImportSource): Promise<unknown> } };
  signal?: AbortSignal;
  /** `doneBytes` of the file's `totalBytes`, which is read once to be inspected, and again to be restored. */
  onProgress?: (progress: { phase: 'inspect' | 'files' | 'databases'; doneBytes: number; totalBytes: number }) => void;
}

/** What was restored. */
export interface ImportReport {
  /** False: `confirm` did not agree, and nothing was touched. */
  imported: boolean;
  databases: { name: string; records: number; generation: number }[];
  sqlite: string[];
  files: string[];
}

/** A database to be restored. */
interface Target {
  database: LogicalDatabase;
  /** At which schema version the backup's records are. */
  version: number;
  history: MigrationEntry[];
  /** By store. */
  records: Map<string, number>;
}

type Checked = ImportOptions & { mode: 'replace' | 'merge'; onConflict: OnConflict };

/**
 * Restores what is in `blob`. Refused with nothing touched: what is no sound backup (as `inspectBackup`), a database of a
 * newer schema (`Unsupported`) or of a changed one (`Conflict`), of a name that this app has not defined (`NotFound`), of
 * records that other keys have sealed (`Conflict`).
 */
export async function importBackup(context: BackupContext, doing: string, blob: Blob, options: ImportOptions): Promise<ImportReport> {
  const checked = checkedOptions(doing, blob, options);
  const { confirm, signal, mode } = checked;
  const reading = (phase: 'inspect' | 'files' | 'databases'): ReadBackupOptions => ({
    ...(signal && { signal }),
    ...(checked.onProgress && { onProgress: (progress) => checked.onProgress!({ phase, ...progress }) }),
  });
  const summary = await inspectBackup(blob, reading('inspect'));
  const takers = takersOf(doing, summary, checked);
  const targets = await targetsOf(context, doing, summary, checked);
  if (mode === 'replace' && summary.metadata.selection !== undefined && targets.size > 0) {
    throw failure('Invalid', `${doing}: the backup has only records of some time, which cannot replace a store; use mode "merge"`);
  }
  const settings = await keyfileOf(context, doing, summary, targets);
  if (await confirm(summary) !== true) return { imported: false, databases: [], sqlite: [], files: [] };
  signal?.throwIfAborted();
  const given = Object.keys(takers).length > 0
    ? await giveFiles(readBackup(blob, summary, reading('files')), takers) : { sqlite: [], files: [] };
  const databases = targets.size > 0 ? await restore(context, targets, checked, settings, () => readBackup(blob, summary, reading('databases'))) : [];
  return { imported: true, databases, ...given };
}

function checkedOptions(doing: string, blob: Blob, options: ImportOptions): Checked {
  field.record(doing, options);
  if (!(blob instanceof Blob)) throw field.wrong(doing, 'blob', blob, 'a Blob');
  const { confirm, mode = 'replace', onConflict = 'overwrite', databases, onSqlite, onFile } = options;
  if (typeof confirm !== 'function') throw field.wrong(doing, 'confirm', confirm, 'a function');
  for (const [name, taker] of Object.entries({ onSqlite, onFile })) {
    if (taker !== undefined && taker !== false && typeof taker !== 'function') throw field.wrong(doing, name, taker, 'a function or false');
  }
  if (databases !== undefined) field.texts(doing, 'databases', databases);
  field.oneOf(doing, 'mode', mode, ['replace', 'merge']);
  field.oneOf(doing, 'onConflict', onConflict, ['keep', 'overwrite']);
  return { ...options, mode, onConflict };
}

/** Who takes what the backup has of files. */
function takersOf(doing: string, summary: BackupSummary, { onSqlite, onFile, statik }: Checked): Partial<Record<FileSection, TakeFile>> {
  const takers: Partial<Record<FileSection, TakeFile>> = {};
  const take = (section: FileSection, taker: TakeFile | false | undefined, option: string) => {
    const [first] = summary[section];
    if (first === undefined || taker === false) return;
    if (taker === undefined) throw failure('Invalid', `${doing}: the backup has ${section} (${first.name} …): option ${option} is needed, or false to leave them out`);
    takers[section] = taker;
  };
  take('sqlite', onSqlite ?? (statik && ((name, stream) => statik.sqlite.import(name, stream))), 'onSqlite or statik');
  take('files', onFile, 'onFile');
  return takers;
}

/** What is to be restored, by the name in the backup, if it can be. */
async function targetsOf({ databases }: BackupContext, doing: string, summary: BackupSummary, { databases: wanted }: Checked): Promise<Map<string, Target>> {
  const targets = new Map<string, Target>();
  const missing = wanted?.find((name) => !summary.databases.some((each) => each.name === name));
  if (missing !== undefined) throw failure('NotFound', `${doing}: the backup has no database ${JSON.stringify(missing)}`);
  for (const { name, schema, stores } of summary.databases) {
    if (wanted !== undefined && !wanted.includes(name)) continue;
    const database = databases.get(name);
    if (database === undefined) {
      throw failure('NotFound', `${doing}: the backup has a database ${JSON.stringify(name)}, which this app has not defined; define it first, or name in option databases those that shall be restored`);
    }
    const { version, history: told } = Object(schema) as { version?: unknown; history?: unknown };
    const history = historyOf(told, name);
    if (versionOf(history, name) !== version) throw failure('Corrupt', `${doing}: database "${name}" is said to be at schema version ${String(version)}, and its history leads elsewhere`);
    plan(await prepare(database.definition.migrations), history, undefined, name);
    if (stores.some((store) => store.name === META)) throw failure('Corrupt', `${doing}: database "${name}" has the store ${META}, which no backup has`);
    targets.set(name, { database, version: version as number, history, records: new Map(stores.map((store) => [store.name, store.records])) });
  }
  return targets;
}

/** The keys that the backup's sealed records need, if this instance lacks them. */
async function keyfileOf({ catalog, keyfile: setting }: BackupContext, doing: string, { metadata }: BackupSummary, targets: ReadonlyMap<string, Target>): Promise<Map<string, unknown>> {
  const { keyfile } = metadata;
  if (keyfile === undefined || targets.size === 0) return new Map();
  const current = await catalog.setting(setting);
  if (current === undefined) return new Map([[setting, keyfile]]);
  if (encode(current) === encode(keyfile)) return new Map();
  const has = idsOf(current);
  if (idsOf(keyfile).every((id) => has.includes(id))) return new Map();
  throw failure('Conflict', `${doing}: the backup is encrypted under keys that this instance, which has others, could not open`);
}

/** The ids of the data keys in a keyfile, whatever that really is. */
function idsOf(keyfile: unknown): unknown[] {
  const { keys } = Object(keyfile) as { keys?: unknown };
  return Array.isArray(keys) ? keys.map((key) => (Object(key) as { id?: unknown }).id) : [undefined];
}

async function restore(
  { environment, catalog }: BackupContext, targets: ReadonlyMap<string, Target>, options: Checked,
  settings: ReadonlyMap<string, unknown>, read: () => ReturnType<typeof readBackup>,
): Promise<ImportReport['databases']> {
  const all = [...targets.values()];
  const versions = new Map(all.map(({ database, version }) => [database.name, version]));
  const generations = await replace(environment, catalog, all.map(({ database }) => database), async (replacements) => {
    const of = (name: string) => replacements.get(targets.get(name)!.database.name)!;
    for (const [name, target] of targets) await rewriteHistory(of(name), target);
    await fill(targets, of, read());
    for (const [name, target] of targets) await complete({ environment, name, target, replacement: of(name) }, options);
  }, { versions, settings });
  return Array.from(targets, ([name, { database, records }]) => ({
    name, generation: generations.get(database.name)!, records: [...records.values()].reduce((sum, count) => sum + count, 0),
  }));
}

/** The new database says what was done to the one that was backed up, not how the new one was made. */
async function rewriteHistory({ fresh }: Replacement, { version, history }: Target): Promise<void> {
  await changed(fresh, META, (meta) => void meta.put({ version, history }, SCHEMA));
}

async function fill(targets: ReadonlyMap<string, Target>, of: (name: string) => Replacement, items: ReturnType<typeof readBackup>): Promise<void> {
  for await (const item of items) {
    if (item.type !== 'store' && item.type !== 'records') continue;
    if (!targets.has(item.database)) continue;
    const { fresh, name } = of(item.database);
    if (item.type === 'records') {
      checkRecords('importData', item.database, item.store, item.records);
      await putAll(fresh, item.store, item.records.map(({ key }) => key), item.records.map(({ value }) => value));
    } else if (!fresh.objectStoreNames.contains(item.store)) {
      throw failure('Invalid', `importData: the backup has a store ${JSON.stringify(item.store)}, which database "${name}" does not have at schema version ${targets.get(item.database)!.version}`);
    }
  }
}

/** Brings what was restored to today's schema, and adds what is to stay of what is there. */
async function complete(
  { environment, name, target, replacement }: { environment: BackupContext['environment']; name: string; target: Target; replacement: Replacement }, { mode, onConflict, signal }: Checked,
): Promise<void> {
  const { database, records } = target;
  const stores = (of: IDBDatabase) => Array.from(of.objectStoreNames).filter((store) => store !== META);
  for (const [store, count] of records) await recount(replacement.fresh, store, count);
  // Of a partial backup; by the names of its own schema, since a migration may make one store of another.
  const missing = stores(replacement.fresh).filter((store) => !records.has(store));
  replacement.fresh.close();
  replacement.fresh = await database.openApart(replacement.entry);
  const { old, fresh } = replacement;
  for (const store of stores(fresh).filter((store) => old.objectStoreNames.contains(store))) {
    signal?.throwIfAborted();
    if (mode === 'merge') {
      await mergeStore(environment, { name, current: old, merged: fresh, onConflict }, store);
    } else if (missing.includes(store)) {
      for await (const { keys, values } of pages(old, store, environment)) await putAll(fresh, store, keys, values);
    }
  }
}

/** Two records of one key would have become one. */
async function recount(fresh: IDBDatabase, store: string, expected: number): Promise<void> {
  let found: number;
  try {
    found = await request(fresh.transaction(store).objectStore(store).count());
  } catch (error) {
    throw StatikError.from(translated(error));
  }
  if (found !== expected) throw failure('Corrupt', `importData: store ${store} of the backup has ${expected} records, but only ${found} different keys`);
}
