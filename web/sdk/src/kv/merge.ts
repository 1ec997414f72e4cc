/**
 * Which of two records for one key stays: the last writer's. The Rust room `sync` has the same order, and SQL says it
 * once more, in sql-adapter.ts.
 *
 * Invariant: records are totally ordered, and `merge` takes the greater one. So it commutes, associates and is idempotent,
 * and replicas that have seen the same records, in whatever order, hold the same one. All but the stamp matter only if two
 * changes carry one stamp, which two nodes with one id may bring about.
 */
import type { KvRecord } from './types.js';

/** A value as text that is the same for the same value, wherever it is made. */
export type Canonical = (value: unknown) => string;

/**
 * Negative if `b` is above `a`, positive if `a` is above `b`, 0 if they say the same. What weighs, from most to least: the
 * stamp; a tombstone is above a value, so that what was deleted does not come back; the value's canonical bytes; what
 * expires later is above what expires sooner, and what never expires above both.
 */
export function compareRecords(a: KvRecord, b: KvRecord, canonical: Canonical): number {
  if (a.hlc !== b.hlc) return a.hlc < b.hlc ? -1 : 1;
  const deleted = Number(a.isDeleted ?? false) - Number(b.isDeleted ?? false);
  if (deleted !== 0) return deleted;
  const content = a.isDeleted ? 0 : compareText(canonical(a.value), canonical(b.value));
  if (content !== 0) return content;
  const [expiresA, expiresB] = [a.expiresMs ?? Infinity, b.expiresMs ?? Infinity];
  return expiresA === expiresB ? 0 : expiresA < expiresB ? -1 : 1;
}

/** The one of two records for the same key that stays. */
export function merge(a: KvRecord, b: KvRecord, canonical: Canonical): KvRecord {
  return compareRecords(a, b, canonical) < 0 ? b : a;
}

/**
 * The order of the texts' UTF-8 bytes, which is that of their code points, and SQLite's and Rust's. JavaScript and
 * IndexedDB order by UTF-16 units: there, what lies above U+FFFF comes before U+E000 to U+FFFF.
 */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const [unitA, unitB] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (unitA !== unitB) return rank(unitA) - rank(unitB);
  }
  return a.length - b.length;
}

/** Where the order of a UTF-16 unit lies among code points: surrogates stand for what comes last. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
