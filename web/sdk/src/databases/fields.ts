/** Checks of what callers store: each failure names the field. */
import { failure, StatikError } from '../errors.js';

type Fields = Readonly<Record<string, unknown>>;

/** A record is an object of the caller's, which is not changed. */
export function record(doing: string, value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw failure('Invalid', `${doing}: a record is an object, not ${value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value}`);
  }
  return value as Fields;
}

export function text(doing: string, field: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw wrong(doing, field, value, 'a string that is not empty');
  return value;
}

/** Milliseconds since 1970, or whatever the app counts. */
export function time(doing: string, field: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(doing, field, value, 'a finite number of milliseconds');
  return value;
}

/** From 0 to 1. */
export function share(doing: string, field: string, value: unknown): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= 1)) throw wrong(doing, field, value, 'a number from 0 to 1');
  return value;
}

export function texts(doing: string, field: string, value: unknown): string[] {
  // A hole counts as undefined.
  if (!Array.isArray(value) || Array.from(value as unknown[]).some((each) => typeof each !== 'string' || each === '')) throw wrong(doing, field, value, 'an array of strings that are not empty');
  return [...new Set(value as string[])];
}

/** An integer from `least`. */
export function count(doing: string, field: string, value: unknown, least = 1): number {
  if (!Number.isInteger(value) || (value as number) < least) throw wrong(doing, field, value, `an integer from ${least}`);
  return value as number;
}

/** A copy that nobody else can change. */
export function cloned<T>(doing: string, field: string, value: T): T {
  try {
    return structuredClone(value);
  } catch (error) {
    const expected = `what structured clone takes: ${error instanceof Error ? error.message : String(error)}`;
    throw new StatikError(wrong(doing, field, value, expected).toJSON(), { cause: error });
  }
}

export function oneOf<T extends string>(doing: string, field: string, value: unknown, allowed: readonly T[]): T {
  if (!allowed.includes(value as T)) throw wrong(doing, field, value, allowed.map((each) => `"${each}"`).join(' or '));
  return value as T;
}

export function wrong(doing: string, field: string, value: unknown, expected: string): StatikError {
  return failure('Invalid', `${doing}: field ${field} is ${shown(value)}, not ${expected}`);
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  return typeof value === 'object' && value !== null ? Object.prototype.toString.call(value).slice(8, -1) : String(value);
}
