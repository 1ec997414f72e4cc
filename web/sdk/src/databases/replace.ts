/**
 * Putting a new database in another one's place.
 *
 * The new one is filled beside the old one, which nobody can change meanwhile: its lock is held, and its version was
 * raised, which made all others let go of it. One transaction of the catalog then decides for all that are replaced
 * together. What a crash leaves is the old one, or the new one, whole and on the disk; the other is deleted by whoever
 * replaces it next, at the latest.
 */
import { StatikError } from '../errors.js';
import { bindings, type Environment } from '../idb/environment.js';
import { translated } from '../records-wasm.js';
import { META, request, SCHEMA, translated as translatedFailure } from '../migrations/indexeddb.js';
import { physicalOf, type Catalog, type Entry } from './catalog.js';
import type { LogicalDatabase } from './logical.js';

/** A database and its successor, both open. Who fills the successor may close it and open it anew. */
export interface Replacement {
  name: string;
  old: IDBDatabase;
  fresh: IDBDatabase;
  /** What the catalog will say of the successor. */
  entry: Entry;
}

export interface ReplaceOptions {
  /** At which schema versions the new databases begin, by name. Default: those that the app wants. */
  versions?: ReadonlyMap<string, number>;
  /** The catalog's settings that change with the databases. */
  settings?: ReadonlyMap<string, unknown>;
}

/** How many records are copied together. */
const BATCH = 500;

/** Replaces databases by what `fill` makes of new ones, all at once; if it fails, none. Answers the new generations. */
export async function replace(
  environment: Environment, catalog: Catalog, databases: readonly LogicalDatabase[],
  fill: (replacements: ReadonlyMap<string, Replacement>) => Promise<void>, { versions, settings }: ReplaceOptions = {},
): Promise<Map<string, number>> {
  // In one order, so that two who replace the same ones cannot wait for each other.
  const ordered = [...databases].sort((a, b) => a.name < b.name ? -1 : 1);
  const replacements = new Map<string, Replacement>();
  const entries = new Map<string, Entry>();
  const old: string[] = [];
  const job = async (): Promise<void> => {
    try {
      for (const database of ordered) {
        const entry = await catalog.entry(database.name);
        const next = { physical: physicalOf(database.name, entry.generation + 1), generation: entry.generation + 1 };
        // What a crash has left of a replacement that was not finished, or of one that was.
        await remove(environment, next.physical);
        if (entry.generation > 1) await drop(environment, physicalOf(database.name, entry.generation - 1));
        old.push(entry.physical);
        entries.set(database.name, next);
        const seized = await seize(environment, database, entry);
        try {
          const fresh = await database.openApart(next, versions?.get(database.name));
          replacements.set(database.name, { name: database.name, old: seized, fresh, entry: next });
        } catch (error) {
          seized.close();
          throw error;
        }
      }
      await fill(replacements);
      for (const { fresh } of replacements.values()) await flush(fresh);
    } catch (error) {
      for (const { fresh } of replacements.values()) fresh.close();
      // It frees what may be needed for the next attempt. If it fails, the next attempt does it, and tells why it cannot.
      for (const { physical } of entries.values()) await drop(environment, physical);
      throw error;
    } finally {
      for (const { old, fresh } of replacements.values()) {
        old.close();
        fresh.close();
      }
    }
    // If this fails, it may have come through all the same: nothing is deleted then.
    await catalog.replace(entries, settings);
    for (const physical of old) await drop(environment, physical);
  };
  await ordered.reduceRight((inner, { name }) => () => catalog.locked(name, 'exclusive', inner), job)();
  return new Map([...entries].map(([name, { generation }]) => [name, generation]));
}

/** Copies all records of all stores, as they are, page by page. */
export async function copy({ old, fresh }: Replacement, environment: Environment, onCopied: (count: number) => void = () => {}): Promise<number> {
  let total = 0;
  for (const store of old.objectStoreNames) {
    for await (const { keys, values } of pages(old, store, environment)) {
      await putAll(fresh, store, keys, values);
      onCopied(total += keys.length);
    }
    if (old.transaction(store).objectStore(store).autoIncrement) await carryNumbers(old, fresh, store);
  }
  return total;
}

/** New records are numbered on from where the old store's would be, though the last ones were deleted. */
async function carryNumbers(old: IDBDatabase, fresh: IDBDatabase, store: string): Promise<void> {
  const probing = old.transaction(store, 'readwrite');
  const next = await request(probing.objectStore(store).add({})) as number;
  probing.abort();
  const last = next - 1;
  await changed(fresh, store, async (target) => {
    if (last === 0 || await request(target.count(last)) > 0) return;
    const path = target.keyPath as string | null;
    if (path === null) await request(target.add({}, last));
    else await request(target.add(path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), last)));
    await request(target.delete(last));
  });
}

/** Some records of a store. */
export interface RecordPage {
  keys: IDBValidKey[];
  values: unknown[];
}

/** All records of a store, page by page, each page in a transaction of its own. */
export async function* pages(database: IDBDatabase, store: string, { keyRanges }: Environment): AsyncGenerator<RecordPage, void, undefined> {
  let range: IDBKeyRange | undefined;
  for (;;) {
    const source = database.transaction(store).objectStore(store);
    const [keys, values] = await Promise.all([request(source.getAllKeys(range, BATCH)), request(source.getAll(range, BATCH))]);
    if (keys.length === 0) return;
    yield { keys, values };
    range = keyRanges.lowerBound(keys.at(-1), true);
  }
}

/** Puts records into a store, in one transaction. A missing key is one that the store makes. */
export async function putAll(database: IDBDatabase, store: string, keys: readonly (IDBValidKey | undefined)[], values: readonly unknown[]): Promise<void> {
  await changed(database, store, (target) => {
    const isInLine = target.keyPath !== null;
    for (const [index, value] of values.entries()) target.put(value, ...(isInLine ? [] : [keys[index]]));
  });
}

/** Runs `body` in one transaction of a store; it may await requests of that alone. If it fails nothing was done. */
export async function changed<T>(database: IDBDatabase, store: string, body: (target: IDBObjectStore) => T | Promise<T>, durability: IDBTransactionDurability = 'relaxed'): Promise<T> {
  const transaction = database.transaction(store, 'readwrite', { durability });
  const ended = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new DOMException('the transaction was aborted', 'AbortError'));
  });
  // It is awaited only after the body.
  ended.catch(() => {});
  try {
    const answer = await body(transaction.objectStore(store));
    // It commits by itself. After a call of `commit`, Firefox commits what is left where some of it has failed.
    await ended;
    return answer;
  } catch (error) {
    try {
      transaction.abort();
    } catch {
      // It has ended by itself, which is the error.
    }
    const known = StatikError.from(translatedFailure(error));
    throw new StatikError({ ...known.toJSON(), message: `writing to store ${store} of "${database.name}": ${known.message}` }, { cause: error });
  }
}

/** Has all on the disk that was written before: the catalog must not be there earlier. */
async function flush(fresh: IDBDatabase): Promise<void> {
  await changed(fresh, META, async (meta) => {
    meta.put(await request<unknown>(meta.get(SCHEMA)), SCHEMA);
  }, 'strict');
}

/** Opens a database so that all others let go of it. */
async function seize(environment: Environment, database: LogicalDatabase, entry: Entry): Promise<IDBDatabase> {
  const current = await database.openApart(entry);
  const version = current.version + 1;
  current.close();
  return open(environment, entry.physical, version);
}

async function open(environment: Environment, physical: string, version: number): Promise<IDBDatabase> {
  try {
    return await environment.records.openDatabase(physical, version, () => {}, bindings(environment));
  } catch (error) {
    throw translated(error);
  }
}

async function remove(environment: Environment, physical: string): Promise<void> {
  try {
    await environment.records.deleteDatabase(physical, bindings(environment));
  } catch (error) {
    throw translated(error);
  }
}

/** Deletes what is meant no more. Who is in the way was told of by `blocked`; it goes when they do, or with the next replacement. */
async function drop(environment: Environment, physical: string): Promise<void> {
  try {
    await remove(environment, physical);
  } catch (error) {
    if (!(error instanceof StatikError)) throw error;
  }
}
