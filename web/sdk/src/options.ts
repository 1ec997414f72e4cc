/**
 * Options as callers write them, checked, and with their defaults filled in. Every error names the option.
 *
 * Database names are checked in Rust, where files are made of them; only the store's name is checked here, because Web
 * Locks are named after it before any Rust runs.
 */
import { failure } from './errors.js';
import type { StoreConfig } from './statik.js';
import type {
  DatabaseOptions, HealthOptions, IterateOptions, JournalOptions, Metrics, MigrateOptions, Mode, OpenOptions, PoolOptions,
  QueryOptions, StatikEvent, TransactionOptions, TransferOptions,
} from './types.js';

/** OpenOptions without gaps. */
export interface Settings {
  name: string;
  fallback: 'memory' | undefined;
  waitMs: number;
  deadlineMs: number;
  idleMs: number;
  sanityCheck: boolean;
  verbosity: 0 | 1 | 2;
  mode: Mode | undefined;
  opfs: boolean;
  recover: 'truncate' | 'refuse' | undefined;
  cacheBytes: number;
  slowQueryMs: number | undefined;
  onMetrics: ((metrics: Metrics) => void) | undefined;
  metricsIntervalMs: number;
  workersUrl: URL | undefined;
  wasmUrl: URL | undefined;
  onEvent: (event: StatikEvent) => void;
}

/** The options of `open`, with those of the page's URL over them if `urlOptions` says so. */
export function settings(options: OpenOptions, location: { href: string; origin: string }): Settings {
  object('options', options);
  const given: OpenOptions = options.urlOptions === true
    ? { ...options, ...fromUrl(new URL(location.href).searchParams) }
    : options;
  boolean('urlOptions', options.urlOptions);
  if (typeof given.name !== 'string' || !/^[A-Za-z0-9._-]{1,64}$/.test(given.name) || /^\.\.?$/.test(given.name)) {
    throw invalid('name', 'one to 64 letters, digits, dots, underscores and hyphens, and not "." or ".."', given.name);
  }
  return {
    name: given.name,
    fallback: oneOf('fallback', given.fallback, ['memory']),
    waitMs: milliseconds('waitMs', given.waitMs) ?? 5000,
    deadlineMs: milliseconds('deadlineMs', given.deadlineMs) ?? 30000,
    idleMs: milliseconds('idleMs', given.idleMs) ?? 30000,
    sanityCheck: boolean('sanityCheck', given.sanityCheck) ?? false,
    verbosity: oneOf('verbosity', given.verbosity, [0, 1, 2]) ?? 0,
    mode: oneOf('mode', given.mode, ['bridge', 'direct']),
    opfs: boolean('opfs', given.opfs) ?? true,
    recover: oneOf('recover', given.recover, ['truncate', 'refuse']),
    cacheBytes: integer('cacheBytes', given.cacheBytes, 1 << 20) ?? 64 << 20,
    slowQueryMs: milliseconds('slowQueryMs', given.slowQueryMs),
    onMetrics: callback('onMetrics', given.onMetrics),
    metricsIntervalMs: integer('metricsIntervalMs', given.metricsIntervalMs, 1) ?? 10_000,
    workersUrl: folder('workersUrl', given.workersUrl, location),
    wasmUrl: url('wasmUrl', given.wasmUrl, location),
    onEvent: callback('onEvent', given.onEvent) ?? (() => {}),
  };
}

/** What goes to the owner of the files. */
export function storeConfig({ name, idleMs, verbosity, sanityCheck, opfs, fallback, recover }: Settings): StoreConfig {
  return { name, idleMs, verbosity, sanityCheck, opfs, fallback, recover };
}

/** Tells the app, and the console if it listens. What the app's listener throws is the app's. */
export function emit({ name, verbosity, onEvent }: Settings, event: StatikEvent): void {
  if (verbosity >= 1) console.info(`[statik ${name}]`, event);
  queueMicrotask(() => onEvent(event));
}

/** The options of `sqlite.open` that concern each connection; what is missing stays missing, the defaults are Rust's. */
export function databaseOptions(options: DatabaseOptions = {}): Omit<DatabaseOptions, 'pool'> {
  object('options', options);
  boolean('mustExist', options.mustExist);
  boolean('readOnly', options.readOnly);
  milliseconds('busyTimeoutMs', options.busyTimeoutMs);
  integer('cacheKib', options.cacheKib, 0);
  boolean('foreignKeys', options.foreignKeys);
  oneOf('synchronous', options.synchronous, ['off', 'normal', 'full']);
  const { mustExist, readOnly, busyTimeoutMs, cacheKib, foreignKeys, synchronous } = options;
  return {
    ...(synchronous !== undefined && { synchronous }),
    ...(mustExist !== undefined && { mustExist }),
    ...(readOnly !== undefined && { readOnly }),
    ...(busyTimeoutMs !== undefined && { busyTimeoutMs }),
    ...(cacheKib !== undefined && { cacheKib }),
    ...(foreignKeys !== undefined && { foreignKeys }),
  };
}

/** The options of `journal.open`. */
export function journalOptions(options: JournalOptions = {}): JournalOptions {
  object('options', options);
  const durability = oneOf('durability', options.durability, ['full', 'normal']);
  const recover = oneOf('recover', options.recover, ['truncate', 'refuse']);
  return { ...(durability !== undefined && { durability }), ...(recover !== undefined && { recover }) };
}

/** What a journal keeps, as bytes that the caller does not see changed. */
export function frameBytes(verb: string, frame: Uint8Array | string): Uint8Array<ArrayBuffer> {
  if (typeof frame === 'string') return new TextEncoder().encode(frame);
  if (frame instanceof Uint8Array) return new Uint8Array(frame);
  throw failure('Invalid', `${verb}: a journal keeps Uint8Arrays and strings, not ${frame === null ? 'null' : typeof frame}`);
}

/** The number of a frame where a cursor begins; 0 stands for the oldest. */
export function frameNumber(from: number | undefined): number {
  return integer('from', from, 0) ?? 0;
}

/** The option `pool` of `sqlite.open`, undefined for none. `cores`: how many the machine has. */
export function poolOptions({ pool }: DatabaseOptions = {}, cores: number): Required<PoolOptions> | undefined {
  if (pool === undefined || pool === false) return undefined;
  const given = pool === true ? {} : pool;
  object('pool', given);
  const max = integer('pool.max', given.max, 1) ?? Math.max(Math.min(Math.max(cores, 2), 8), given.min ?? 0);
  const min = integer('pool.min', given.min, 1) ?? Math.min(max, 2);
  if (min > max) throw invalid('pool.min', `at most pool.max (${max})`, min);
  return {
    min,
    max,
    acquireTimeoutMs: milliseconds('pool.acquireTimeoutMs', given.acquireTimeoutMs) ?? 30_000,
    idleMs: milliseconds('pool.idleMs', given.idleMs) ?? 10_000,
  };
}

/** The options of `health`. */
export function healthOptions(options: HealthOptions = {}): { full: boolean; signal: AbortSignal | undefined } {
  return { signal: signalIn(options), full: boolean('full', options.full) ?? false };
}

/** The options of a query. */
export function queryOptions(options: QueryOptions = {}): { rows: 'object' | 'array'; signal: AbortSignal | undefined } {
  object('options', options);
  return { rows: oneOf('rows', options.rows, ['object', 'array']) ?? 'object', signal: signalOption(options.signal) };
}

/** The options of `iterate`. */
export function iterateOptions(options: IterateOptions = {}): ReturnType<typeof queryOptions> & { batchRows: number } {
  return { ...queryOptions(options), batchRows: integer('batchRows', options.batchRows, 1) ?? 1000 };
}

/** The options of `exec` and `run`. */
export function signalIn(options: { signal?: AbortSignal } = {}): AbortSignal | undefined {
  object('options', options);
  return signalOption(options.signal);
}

/** The options of imports and exports. */
export function transferOptions(
  options: TransferOptions = {},
): { signal: AbortSignal | undefined; onProgress: NonNullable<TransferOptions['onProgress']> } {
  return { signal: signalIn(options), onProgress: callback('onProgress', options.onProgress) ?? (() => {}) };
}

/** The options of `migrate`. Whether there is such a target only the list of migrations can say. */
export function migrateOptions(
  options: MigrateOptions = {},
): { target: number | undefined; signal: AbortSignal | undefined; onProgress: NonNullable<MigrateOptions['onProgress']> } {
  return {
    signal: signalIn(options),
    target: integer('target', options.target, 0),
    onProgress: callback('onProgress', options.onProgress) ?? (() => {}),
  };
}

/** The mode of a transaction. */
export function transactionMode(options: TransactionOptions = {}): NonNullable<TransactionOptions['mode']> {
  object('options', options);
  return oneOf('mode', options.mode, ['deferred', 'immediate', 'exclusive']) ?? 'immediate';
}

/** `statik.*` of a query string; which values are allowed is checked with all the others. */
function fromUrl(query: URLSearchParams): Partial<OpenOptions> {
  const found: Record<string, unknown> = {};
  for (const [key, value] of query) {
    const option = key.startsWith('statik.') ? key.slice('statik.'.length) : '';
    if (option === 'mode' || option === 'workersUrl') found[option] = value;
    if (option === 'verbosity') found[option] = Number(value);
    if (option === 'opfs' || option === 'sanityCheck') found[option] = value === 'on' ? true : value === 'off' ? false : value;
  }
  return found;
}

function invalid(option: string, expected: string, came: unknown): Error {
  return failure('Invalid', `option ${option} must be ${expected}; it is ${typeof came === 'string' ? JSON.stringify(came) : String(came)}`);
}

function object(option: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw invalid(option, 'an object', value);
}

function boolean(option: string, value: boolean | undefined): boolean | undefined {
  if (value !== undefined && typeof value !== 'boolean') throw invalid(option, 'true or false', value);
  return value;
}

function integer(option: string, value: number | undefined, least: number): number | undefined {
  // 2^31 - 1: the most that SQLite and setTimeout take.
  if (value !== undefined && !(Number.isInteger(value) && value >= least && value <= 0x7fffffff)) {
    throw invalid(option, `a whole number from ${least} to 2147483647`, value);
  }
  return value;
}

function milliseconds(option: string, value: number | undefined): number | undefined {
  return integer(option, value, 0);
}

function oneOf<T extends string | number>(option: string, value: T | undefined, allowed: readonly T[]): T | undefined {
  if (value !== undefined && !allowed.includes(value)) {
    throw invalid(option, allowed.map((each) => JSON.stringify(each)).join(' or '), value);
  }
  return value;
}

function callback<F>(option: string, value: F | undefined): F | undefined {
  if (value !== undefined && typeof value !== 'function') throw invalid(option, 'a function', value);
  return value;
}

function signalOption(value: AbortSignal | undefined): AbortSignal | undefined {
  if (value !== undefined && !(value instanceof AbortSignal)) throw invalid('signal', 'an AbortSignal', value);
  return value;
}

function url(option: string, value: string | URL | undefined, base: { href: string }): URL | undefined {
  if (value === undefined) return undefined;
  try {
    return new URL(value, base.href);
  } catch {
    throw invalid(option, 'a URL', value);
  }
}

function folder(option: string, value: string | URL | undefined, base: { href: string; origin: string }): URL | undefined {
  const found = url(option, value, base);
  if (found === undefined) return undefined;
  if (found.origin !== base.origin) throw invalid(option, `a URL of this origin (${base.origin})`, found.href);
  if (!found.pathname.endsWith('/')) found.pathname += '/';
  return found;
}
