/**
 * The one error class of the package, and its plain form in which it crosses threads.
 *
 * Invariant: whatever is thrown at a caller is a `StatikError`, or the `reason` of the caller's own AbortSignal.
 */
import type { ErrorCode, ErrorShape } from './types.js';

/** Each of the package's scripts has this class once: this is by what an error of another one's is known. */
const BRAND = Symbol.for('statik-storage.StatikError');

/** What every call of Statik fails with. `code` says what a caller can do about it; the message is for people. */
export class StatikError extends Error implements ErrorShape {
  /** What kind of failure it is. */
  readonly code: ErrorCode;
  /** The file concerned, relative to the store. */
  declare readonly path?: string;
  /** SQLite's extended result code by name, for instance `SQLITE_CONSTRAINT_UNIQUE`. */
  declare readonly sqliteCode?: string;
  /** UTF-16 offset into the SQL at which SQLite found the error. */
  declare readonly offset?: number;

  static override [Symbol.hasInstance](value: unknown): boolean {
    const isStatikError = typeof value === 'object' && value !== null && BRAND in value;
    return this === StatikError ? isStatikError : isStatikError && Function.prototype[Symbol.hasInstance].call(this, value);
  }

  constructor(shape: ErrorShape, options?: ErrorOptions) {
    super(shape.message, options);
    this.name = 'StatikError';
    this.code = shape.code;
    if (shape.path !== undefined) this.path = shape.path;
    if (shape.sqliteCode !== undefined) this.sqliteCode = shape.sqliteCode;
    if (shape.offset !== undefined) this.offset = shape.offset;
  }

  get [BRAND](): boolean {
    return true;
  }

  /** The error in a form that postMessage keeps whole. Also what `JSON.stringify` writes. */
  toJSON(): ErrorShape {
    const { code, message, path, sqliteCode, offset } = this;
    return {
      code,
      message,
      ...(path !== undefined && { path }),
      ...(sqliteCode !== undefined && { sqliteCode }),
      ...(offset !== undefined && { offset }),
    };
  }

  /** Whatever was thrown, as a StatikError: an `ErrorShape` keeps its fields, anything else becomes `Io`. */
  static from(thrown: unknown): StatikError {
    if (thrown instanceof StatikError) return thrown;
    if (isShape(thrown)) return new StatikError(thrown);
    return new StatikError({ code: 'Io', message: String(thrown) }, { cause: thrown });
  }
}

/** `new StatikError` in the length that most places need. */
export function failure(code: ErrorCode, message: string, path?: string): StatikError {
  return new StatikError({ code, message, ...(path !== undefined && { path }) });
}

/** For what ends something: that it has ended already, with its engine, is no failure. */
export function ignoreClosed(error: unknown): undefined {
  if (!(error instanceof StatikError) || error.code !== 'Closed') throw error;
  return undefined;
}

function isShape(thrown: unknown): thrown is ErrorShape {
  // DOMException has a `code` too: a number.
  return typeof thrown === 'object' && thrown !== null
    && typeof (thrown as ErrorShape).code === 'string' && typeof (thrown as ErrorShape).message === 'string';
}
