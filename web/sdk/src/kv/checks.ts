/**
 * What may be handed to a key-value adapter. Every refusal is `Invalid` and names what was called, for what, and the field.
 *
 * Invariant: what comes out is a copy, so that a caller who changes its object later changes nothing that is under way.
 */
import { failure, StatikError } from '../errors.js';
import { parseTimestamp } from './clock.js';
import type { KvRecord, OpLogEntry } from './types.js';

/** In UTF-16 units. */
const MAX_KEY_LENGTH = 65_536;

/** A record on its way into storage: `held` is its value as this storage keeps it. */
export interface HeldRecord {
  held: unknown;
  hlc: string;
  isDeleted: boolean;
  expiresMs?: number;
}

/** An operation on its way into storage. */
export interface HeldOp {
  key: string;
  opType: 'put' | 'remove';
  /** undefined for 'remove'. */
  held: unknown;
  hlc: string;
}

/** Copies a value into the form in which a storage keeps it, or fails. */
export type Hold = (value: unknown) => unknown;

/** Any string that every storage can tell from every other: SQLite and Rust have no lone surrogates. */
export function checkedKey(key: unknown, doing: string): string {
  if (typeof key !== 'string') throw failure('Invalid', `${doing}: key must be a string, and is ${kind(key)}`);
  if (key.length > MAX_KEY_LENGTH) throw failure('Invalid', `${doing}: key must have at most ${MAX_KEY_LENGTH} UTF-16 units, and has ${key.length}`);
  if (/\p{Surrogate}/u.test(key)) throw failure('Invalid', `${doing}: key must have no lone surrogates, and is ${JSON.stringify(key.slice(0, 80))}`);
  return key;
}

/** A peer's name: as a key, but not empty. */
export function checkedPeer(peer: unknown, doing: string): string {
  if (typeof peer !== 'string' || peer === '') throw failure('Invalid', `${doing}: peer must be a string that is not empty, and is ${kind(peer)}`);
  return checkedKey(peer, `${doing}: peer`);
}

/** A number that counts something. */
export function checkedCount(value: unknown, least: number, doing: string, field: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < least) {
    throw failure('Invalid', `${doing}: ${field} must be a whole number from ${least}, and is ${typeof value === 'number' ? value : kind(value)}`);
  }
  return value as number;
}

export function checkedPuts(puts: unknown, doing: string, hold: Hold): Map<string, HeldRecord> {
  if (!isMap(puts)) throw failure('Invalid', `${doing}: the entries must be a Map of records by key, and are ${kind(puts)}`);
  return new Map(Array.from(puts, ([key, record]) => {
    const checked = checkedKey(key, doing);
    return [checked, checkedRecord(record, `${doing}: the record of ${quoted(checked)}`, hold)];
  }));
}

export function checkedOps(ops: unknown, doing: string, hold: Hold): HeldOp[] {
  if (!Array.isArray(ops)) throw failure('Invalid', `${doing}: ops must be an array, and is ${kind(ops)}`);
  return ops.map((op, at) => checkedOp(op, `${doing}: operation ${at}`, hold));
}

function checkedRecord(record: unknown, doing: string, hold: Hold): HeldRecord {
  if (typeof record !== 'object' || record === null) throw failure('Invalid', `${doing} must be an object, and is ${kind(record)}`);
  const { value, hlc, isDeleted = false, expiresMs } = record as Partial<KvRecord>;
  parseTimestamp(hlc, doing);
  if (typeof isDeleted !== 'boolean') throw failure('Invalid', `${doing}: isDeleted must be a boolean, and is ${kind(isDeleted)}`);
  if (isDeleted && value !== undefined && value !== null) throw failure('Invalid', `${doing}: value must be missing where isDeleted is true, and is ${kind(value)}`);
  return {
    held: isDeleted ? undefined : held(value, doing, hold),
    hlc: hlc as string,
    isDeleted,
    ...(expiresMs !== undefined && { expiresMs: checkedCount(expiresMs, 0, doing, 'expiresMs') }),
  };
}

function checkedOp(op: unknown, doing: string, hold: Hold): HeldOp {
  if (typeof op !== 'object' || op === null) throw failure('Invalid', `${doing} must be an object, and is ${kind(op)}`);
  const { id, key, opType, value, hlc } = op as Partial<OpLogEntry>;
  if (id !== undefined) throw failure('Invalid', `${doing}: id must be missing, since the log gives it, and is ${kind(id)}`);
  const checked = checkedKey(key, doing);
  if (opType !== 'put' && opType !== 'remove') throw failure('Invalid', `${doing}: opType must be 'put' or 'remove', and is ${typeof opType === 'string' ? quoted(opType) : kind(opType)}`);
  parseTimestamp(hlc, doing);
  if (opType === 'remove' && value !== undefined && value !== null) throw failure('Invalid', `${doing}: value must be missing where opType is 'remove', and is ${kind(value)}`);
  return { key: checked, opType, held: opType === 'put' ? held(value, doing, hold) : undefined, hlc: hlc as string };
}

function held(value: unknown, doing: string, hold: Hold): unknown {
  try {
    return hold(value);
  } catch (error) {
    throw new StatikError({ code: 'Invalid', message: `${doing}: value cannot be kept: ${error instanceof Error ? error.message : String(error)}` }, { cause: error });
  }
}

/** A Map, of whatever realm. */
function isMap(value: unknown): value is ReadonlyMap<unknown, unknown> {
  return Object.prototype.toString.call(value) === '[object Map]';
}

/** What came, in words; not the thing itself, which may be large, or nobody's business. */
function kind(value: unknown): string {
  if (value === null) return 'null';
  return value === '' ? 'empty' : `a value of type ${typeof value}`;
}

/** A key in a message. */
export function quoted(key: string): string {
  return JSON.stringify(key.length > 80 ? `${key.slice(0, 80)}…` : key);
}
