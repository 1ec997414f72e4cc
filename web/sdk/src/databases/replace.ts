/**
 * Putting a new database in another one's place.
 *
 * The new one is filled beside the old one, which nobody can change meanwhile: its lock is held, and its version was
 * raised, which made all others let go of it. One transaction of the catalog then decides for all that are replaced
 * together. What a crash leaves is the old one, or the new one; the other is deleted by whoever replaces it next, at the
 * latest.
 */
import { failure, StatikError } from '../errors.js';
import { bindings, type Environment } from '../idb/environment.js';
import { translated } from '../records-wasm.js';
import { request, translated as ofDomException } from '../migrations/indexeddb.js';
import { physicalOf, type Catalog, type Entry } from './catalog.js';
import type { LogicalDatabase } from './logical.js';

/** A database and its successor, both open. */
export interface Replacement {
  name: string;
  old: IDBDatabase;
  fresh: IDBDatabase;
}

/** How many records are copied together. */
const BATCH = 500;

/** Replaces databases by what `fill` makes of new ones, all at once; if it fails, none. Answers the new generations. */
export async function replace(
  environment: Environment, catalog: Catalog, databases: readonly LogicalDatabase[],
  fill: (replacements: ReadonlyMap<string, Replacement>) => Promise<void>,
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
        if (entry.generation > 1) await drop(environment, physicalOf(database.name, entry.generation - 1));
        await remove(environment, next.physical);
        old.push(entry.physical);
        entries.set(database.name, next);
        replacements.set(database.name, { name: database.name, old: await seize(environment, database, entry), fresh: await database.openApart(next) });
      }
      await fill(replacements);
    } catch (error) {
      close(replacements);
      // They take room, of which there may be too little.
      for (const { physical } of entries.values()) await drop(environment, physical);
      throw ofDomException(error);
    }
    close(replacements);
    // If this fails, it may have come through all the same: nothing is deleted then.
    await catalog.replace(entries);
    for (const physical of old) await drop(environment, physical);
  };
  await ordered.reduceRight((inner, { name }) => () => catalog.locked(name, 'exclusive', inner), job)();
  return new Map([...entries].map(([name, { generation }]) => [name, generation]));
}

/** Copies all records of all stores, as they are, page by page. */
export async function copy({ old, fresh }: Replacement, environment: Environment, onCopied: (count: number) => void = () => {}): Promise<number> {
  let total = 0;
  for (const store of old.objectStoreNames) {
    let range: IDBKeyRange | undefined;
    for (;;) {
      const source = old.transaction(store).objectStore(store);
      const [keys, values] = await Promise.all([request(source.getAllKeys(range, BATCH)), request(source.getAll(range, BATCH))]);
      if (keys.length === 0) break;
      await putAll(fresh, store, keys, values);
      onCopied(total += keys.length);
      range = environment.keyRanges.lowerBound(keys.at(-1), true);
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
  const writing = fresh.transaction(store, 'readwrite');
  const target = writing.objectStore(store);
  if (last > 0 && await request(target.count(last)) === 0) {
    const path = target.keyPath as string | null;
    if (path === null) await request(target.add({}, last));
    else await request(target.add(path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), last)));
    await request(target.delete(last));
  }
  await completed(writing);
}

/** Puts records into a store, in one transaction. */
export async function putAll(database: IDBDatabase, store: string, keys: readonly IDBValidKey[], values: readonly unknown[]): Promise<void> {
  const transaction = database.transaction(store, 'readwrite', { durability: 'relaxed' });
  const target = transaction.objectStore(store);
  const isInLine = target.keyPath !== null;
  for (const [index, value] of values.entries()) target.put(value, ...(isInLine ? [] : [keys[index]!]));
  await completed(transaction);
}

function completed(transaction: IDBTransaction): Promise<void> {
  transaction.commit();
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(ofDomException(transaction.error ?? failure('Aborted', 'the transaction was aborted')));
  });
}

function close(replacements: ReadonlyMap<string, Replacement>): void {
  for (const { old, fresh } of replacements.values()) {
    old.close();
    fresh.close();
  }
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
