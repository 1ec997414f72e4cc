/**
 * The databases as the source of a backup.
 *
 * All are opened before the first byte, so that what the backup says of their schemas stays true: whoever changes one's
 * schema meanwhile makes its connection close, and the backup fail. Each is then read when it is its turn, as of one
 * moment (see backup-view.ts); different databases are of different moments.
 */
import { failure } from '../errors.js';
import type { Environment } from '../idb/environment.js';
import { META, request, SCHEMA, translated } from '../migrations/indexeddb.js';
import type { BackupMetadata, BackupSource, Bytes, DatabaseSource, FileSource, StoreSource } from './backup-format.js';
import type { Selected } from './backup-selection.js';
import { View } from './backup-view.js';
import { writeBackup } from './backup-writer.js';
import type { Catalog } from './catalog.js';
import * as field from './fields.js';
import type { LogicalDatabase } from './logical.js';

/** The catalog's setting that tells this instance of the app from others. */
const INSTANCE = 'instance_id';
/** How long an export keeps writers waiting: less than they wait before they fail. */
export const HOLD_MS = 15_000;

/** What a file of the app's is exported as: either of the two. */
export interface BackupFile {
  name: string;
  stream?: Bytes;
  bytes?: Uint8Array;
}

/** Whatever has an `export()`: a database that `statik.sqlite.open` answered. */
export interface ExportableSqlite {
  export(): ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>;
}

export interface ExportOptions {
  /** Goes into the metadata as `export_reason`. Default `manual`. */
  reason?: string;
  /** False: bare JSON. Default true: gzip. */
  compress?: boolean;
  /** SQLite databases that go in, by the name under which they shall be restored. */
  sqlite?: Readonly<Record<string, ExportableSqlite>>;
  /** Files that go in. */
  files?: Iterable<BackupFile> | AsyncIterable<BackupFile>;
  /**
   * How long writers of a database, and whoever comes after one that waits, may have to wait for its export, in
   * milliseconds. Default 15000. Within that time it is
   * read as of one moment; what takes longer is read page by page, with an event `backup` that says so. Infinity: always as
   * of one moment, whatever fails with `Timeout` meanwhile.
   */
  holdMs?: number;
  signal?: AbortSignal;
  /** `totalRecords` is as of the start. `doneBytes` are of text, before compression. */
  onProgress?: (progress: { doneRecords: number; totalRecords?: number; doneBytes: number }) => void;
}

/** Where databases are. */
export interface BackupContext {
  environment: Environment;
  catalog: Catalog;
  /** By the names that the app uses, which are those in a backup. */
  databases: ReadonlyMap<string, LogicalDatabase>;
  /** The catalog's setting that holds the keys of encrypted databases, wrapped. A backup carries it as `metadata.keyfile`. */
  keyfile: string;
}

/** What tells this instance of the app from others, as text that is there from the first time it is asked for. */
export function instanceOf(catalog: Catalog): Promise<string> {
  return catalog.settle(INSTANCE, crypto.randomUUID());
}

/** The backup, as it is read. Nothing is opened before the first read. */
export function exportBackup(context: BackupContext, doing: string, selected: Selected, options: ExportOptions): ReadableStream<Uint8Array> {
  const checked = checkedOptions(doing, options);
  let opening: Promise<ReadableStreamDefaultReader<Uint8Array>> | undefined;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      opening ??= start(context, selected, checked);
      const { value, done } = await (await opening).read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel(reason) {
      await (await opening)?.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

function checkedOptions(doing: string, options: ExportOptions): ExportOptions & { reason: string; holdMs: number } {
  field.record(doing, options);
  const { reason = 'manual', holdMs = HOLD_MS } = options;
  field.text(doing, 'reason', reason);
  if (typeof holdMs !== 'number' || !(holdMs >= 0)) throw field.wrong(doing, 'holdMs', holdMs, 'a number of milliseconds from 0');
  return { ...options, reason, holdMs };
}

async function start(context: BackupContext, selected: Selected, options: ReturnType<typeof checkedOptions>): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const { signal, onProgress, compress } = options;
  const views: View[] = [];
  const close = () => views.forEach((view) => view.close());
  try {
    const databases: DatabaseSource[] = [];
    for (const [name, stores] of selected.stores) {
      signal?.throwIfAborted();
      databases.push(await databaseSource(context, name, stores, selected, options.holdMs, views));
    }
    const { sqlite = {}, files } = options;
    const source: BackupSource = {
      timestampMs: Date.now(),
      metadata: await metadataOf(context, selected, options.reason),
      databases,
      sqlite: Object.entries(sqlite).map(([name, database]) => ({ name, open: async () => database.export() })),
      ...(files && { files: fileSources(files) }),
    };
    const reader = writeBackup(source, { ...(signal && { signal }), ...(onProgress && { onProgress }), ...(compress !== undefined && { compress }) }).getReader();
    // However it ends; what it ends with, the reader is told.
    reader.closed.then(close, close);
    return reader;
  } catch (error) {
    close();
    throw error;
  }
}

async function metadataOf({ catalog, keyfile: setting }: BackupContext, { stores, times }: Selected, reason: string): Promise<BackupMetadata> {
  const keyfile = await catalog.setting(setting);
  const named = [...stores].flatMap(([database, names]) => names === 'all' ? [] : names.map((store) => `${database}.${store}`));
  return {
    instance_id: await instanceOf(catalog),
    export_reason: reason,
    ...(times && { selection: times }),
    ...(named.length > 0 && { stores: named }),
    ...(keyfile !== undefined && { keyfile }),
  };
}

async function databaseSource(
  { environment, databases }: BackupContext, name: string, wanted: readonly string[] | 'all', selected: Selected, holdMs: number, views: View[],
): Promise<DatabaseSource> {
  const connection = await databases.get(name)!.openApart();
  const view = new View(connection, environment, {
    holdMs,
    onPaged: () => environment.onEvent({ type: 'backup', database: name, reason: `reading it took longer than ${holdMs} ms: what follows in the backup is of later moments` }),
  });
  views.push(view);
  const stores = Array.from(connection.objectStoreNames).filter((store) => store !== META && (wanted === 'all' || wanted.includes(store)));
  let schema: unknown;
  const counts = new Map<string, number>();
  const inLine = new Set<string>();
  try {
    const transaction = connection.transaction(Array.from(connection.objectStoreNames));
    const counted = stores.map(async (name) => {
      const store = transaction.objectStore(name);
      if (store.keyPath !== null) inLine.add(name);
      counts.set(name, await request(store.count()));
    });
    [schema] = await Promise.all([request<unknown>(transaction.objectStore(META).get(SCHEMA)), ...counted]);
  } catch (error) {
    throw translated(error);
  }
  const source = (store: string, index: number): StoreSource => ({
    name: store,
    // With times, how many are taken is known only at the end.
    ...(selected.times === undefined && { totalRecords: counts.get(store)! }),
    async *records() {
      for await (const { keys, values } of view.pages(store)) {
        const records = values.map((value, at) => inLine.has(store) ? { value } : { key: keys[at]!, value });
        yield selected.times === undefined ? records : records.filter(({ value }) => selected.accepts(name, store, value));
      }
      if (index === stores.length - 1) view.release();
    },
  });
  return { name, schema: schema ?? { version: 0, history: [] }, stores: stores.map(source) };
}

async function* fileSources(files: Iterable<BackupFile> | AsyncIterable<BackupFile>): AsyncGenerator<FileSource, void, undefined> {
  for await (const { name, stream, bytes } of files) {
    if ((stream === undefined) === (bytes === undefined)) throw failure('Invalid', `backup: file ${JSON.stringify(name)}: either stream or bytes is to be given`);
    yield { name, open: () => stream ?? once(bytes!) };
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
