/**
 * Merging two databases of the same schema: what is current goes into what was restored from a backup.
 *
 * What is the same record in both depends on the store:
 * - where the app chooses the keys: what has the same key. `overwrite` keeps the backup's, `keep` the current one.
 * - where the store numbers its records (logs): what has the same number and the same content. The current ones keep their
 *   numbers; what the backup has under a number that is taken by another gets a new one.
 * - in `statik_state`: all states of a unit, and all of the kernel, are one. `overwrite` keeps the backup's, `keep` the
 *   current ones; those of the two are never mixed, since the number says which is the newest.
 */
import { encodeAsync } from '../codec.js';
import type { Environment } from '../idb/environment.js';
import { request } from '../migrations/indexeddb.js';
import { changed, pages, putAll, type RecordPage } from './replace.js';

export type OnConflict = 'keep' | 'overwrite';

/** Two databases of one logical name. */
export interface Merging {
  /** The logical name. */
  name: string;
  current: IDBDatabase;
  /** What the backup has, and at the end all. Nobody else has it open. */
  merged: IDBDatabase;
  onConflict: OnConflict;
}

/** Where the records of a group lie: in the store or in an index of it, by their keys up to a number. */
type Group = (record: Readonly<Record<string, unknown>>, most: number, keyRanges: typeof IDBKeyRange) => { index?: string; range: IDBKeyRange };

/** By logical name and store. */
const GROUPS: Readonly<Record<string, Readonly<Record<string, Group>>>> = {
  statik_state: {
    unit_states: ({ unitId }, most, keyRanges) => ({ index: 'unit', range: keyRanges.bound([unitId, -Infinity], [unitId, most]) }),
    kernel_state: (_, most, keyRanges) => ({ range: keyRanges.upperBound(most) }),
  },
};

export async function mergeStore(environment: Environment, merging: Merging, store: string): Promise<void> {
  const { name, current, merged, onConflict } = merging;
  const group = GROUPS[name]?.[store];
  if (group !== undefined) return mergeGroups(environment, merging, store, group);
  if (merged.transaction(store).objectStore(store).autoIncrement) return mergeNumbered(environment, merging, store);
  for await (const page of pages(current, store, environment)) {
    if (onConflict === 'keep') await putAll(merged, store, page.keys, page.values);
    else await putMissing(merged, store, page);
  }
}

async function putMissing(merged: IDBDatabase, store: string, { keys, values }: RecordPage): Promise<void> {
  await changed(merged, store, async (target) => {
    const isThere = await Promise.all(keys.map((key) => request(target.count(key))));
    for (const [index, value] of values.entries()) if (isThere[index] === 0) target.put(value, ...(target.keyPath === null ? [keys[index]!] : []));
  });
}

async function mergeNumbered(environment: Environment, { current, merged }: Merging, store: string): Promise<void> {
  let number = Math.max(await greatest(environment, current, store), await greatest(environment, merged, store), 0);
  for await (const { keys, values } of pages(current, store, environment)) {
    const source = merged.transaction(store).objectStore(store);
    const there = await Promise.all(keys.map(async (key) => ({ count: await request(source.count(key)), value: await request<unknown>(source.get(key)) })));
    const isDisplaced = await Promise.all(there.map(async ({ count, value }, index) => count > 0 && !await isSame(value, values[index])));
    await changed(merged, store, (target) => {
      const put = (value: unknown, key: IDBValidKey) => target.put(value, ...(target.keyPath === null ? [key] : []));
      for (const [index, value] of values.entries()) {
        put(value, keys[index]!);
        if (isDisplaced[index]) put(numbered(there[index]!.value, target.keyPath, ++number), number);
      }
    });
  }
}

async function mergeGroups(environment: Environment, { current, merged, onConflict }: Merging, store: string, group: Group): Promise<void> {
  const most = await greatest(environment, merged, store);
  let number = Math.max(await greatest(environment, current, store), most, 0);
  for await (const { values } of pages(current, store, environment)) {
    await changed(merged, store, async (target) => {
      for (const value of values as Record<string, unknown>[]) {
        const { index, range } = group(value, most, environment.keyRanges);
        const source = index === undefined ? target : target.index(index);
        const isThere = await request(source.count(range)) > 0;
        if (isThere && onConflict === 'overwrite') continue;
        if (isThere) await deleteAll(source, target, range);
        target.put(numbered(value, target.keyPath, ++number));
      }
    });
  }
}

async function deleteAll(source: IDBObjectStore | IDBIndex, target: IDBObjectStore, range: IDBKeyRange): Promise<void> {
  const opened = source.openKeyCursor(range);
  for (let cursor = await request(opened); cursor !== null; cursor = await request(opened)) {
    target.delete(cursor.primaryKey);
    cursor.continue();
  }
}

/** The greatest number among a store's keys. */
async function greatest({ keyRanges }: Environment, database: IDBDatabase, store: string): Promise<number> {
  const cursor = await request(database.transaction(store).objectStore(store).openKeyCursor(keyRanges.upperBound(Infinity), 'prev'));
  return cursor === null ? -Infinity : Math.floor(cursor.key as number);
}

/** The record under another number; it is ours to change. */
function numbered(record: unknown, keyPath: string | string[] | null, number: number): unknown {
  // A store that numbers has one path, or none.
  const path = typeof keyPath === 'string' ? keyPath.split('.') : [];
  const last = path.pop();
  if (last === undefined) return record;
  const holder = path.reduce((value, name) => value[name] as Record<string, unknown>, record as Record<string, unknown>);
  holder[last] = number;
  return record;
}

async function isSame(one: unknown, other: unknown): Promise<boolean> {
  return await encodeAsync(one) === await encodeAsync(other);
}
