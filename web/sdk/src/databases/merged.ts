/**
 * Ranges of one index that hold the same name in different spellings, read as if they were one: where names are blind, some
 * records may still have theirs in clear.
 *
 * Invariant: records come in the order in which one range would have them, and pages are cut there.
 */
import type { Idb, Key, KeyRange, Page, Position } from '../idb/types.js';

/** A range, and how the name is spelled that its keys are, or begin with. */
export interface Spelling {
  head?: string;
  range: Key | KeyRange;
}

/** What is asked of all of the ranges. */
interface Asked {
  index: string;
  direction: 'next' | 'prev';
  limit: number;
  /** With the name in clear. */
  after?: Position;
}

/** A page of several ranges. `place` tells where a record is, with the name in clear. No record is in two of the ranges. */
export async function merged<T>(idb: Idb, store: string, { after, ...asked }: Asked, ranges: readonly Spelling[], place: (record: T) => Position): Promise<Page<T>> {
  const pages = await Promise.all(ranges.map(({ head, range }) =>
    idb.query<T>(store, { ...asked, range, ...(after && { after: head === undefined ? after : spelled(after, head) }) })));
  const found = pages.flatMap(({ items }) => items.map((item) => ({ item, place: place(item) })));
  if (pages.length > 1) found.sort((a, b) => asked.direction === 'next' ? compare(a.place, b.place) : compare(b.place, a.place));
  const taken = found.slice(0, asked.limit);
  const isMore = found.length > taken.length || pages.some(({ last }) => last !== undefined);
  return { items: taken.map(({ item }) => item), ...(isMore && { last: taken.at(-1)!.place }) };
}

function spelled({ key, primary }: Position, head: string): Position {
  return { key: Array.isArray(key) ? [head, ...key.slice(1)] : head, primary };
}

/** By time, where that is part of the key, then by primary key: both as IndexedDB orders them. */
function compare(a: Position, b: Position): number {
  const [timeA, timeB] = [timeOf(a), timeOf(b)];
  if (timeA !== timeB) return timeA - timeB;
  return a.primary < b.primary ? -1 : 1;
}

function timeOf({ key }: Position): number {
  return Array.isArray(key) ? key[1] as number : 0;
}
