/**
 * The keyfile: the data keys of sealed databases, each wrapped by a key that the app or a person has. It is kept in the
 * clear, beside what it locks.
 *
 * A data key is 256 random bits, wrapped by AES-KW (RFC 3394). What wraps is an AES-KW CryptoKey of the app's, which
 * need not be extractable, or is derived from a passphrase by PBKDF2-HMAC-SHA-256. A second sort of key, of which there
 * is one and for ever, hides the names of records. What is derived from both is in crates/store/docs/sealed-format.md.
 *
 * Invariants:
 * - A keyfile that is read is hostile: each field is checked before anything is done with it, and what it costs to
 *   unlock is bounded.
 * - A wrong secret is `Permission`, a damaged keyfile `Corrupt`: its digest tells what no secret has to do with. Who
 *   damages it on purpose can make it look as if the secret were wrong, and gets nothing else from it.
 * - No function changes the keyfile that it was given.
 *
 * It does not store keyfiles, and it cannot take back an earlier one: who has that and its secret has its keys.
 */
import { failure } from '../errors.js';

type Bytes = Uint8Array<ArrayBuffer>;

/** A passphrase, or a CryptoKey of algorithm AES-KW that may wrap and unwrap. */
export type Secret = string | CryptoKey;

/** A random key, wrapped, with a value that tells whether what was unwrapped is the key. */
export interface WrappedKey {
  wrapped: Uint8Array;
  check: Uint8Array;
}

export interface WrappedDataKey extends WrappedKey {
  /** By which sealed bytes name it: the first 4 bytes of the check, in little-endian order. */
  id: number;
  /** When it was made, in milliseconds since 1970. */
  createdMs: number;
}

/** How a passphrase becomes the key that wraps. */
export interface KeyDerivation {
  name: 'PBKDF2-HMAC-SHA-256';
  salt: Uint8Array;
  iterations: number;
}

/** What structured clone takes, so that IndexedDB keeps it as it is. */
export interface Keyfile {
  version: 1;
  /** Absent where the secret is a CryptoKey. */
  kdf?: KeyDerivation;
  keys: WrappedDataKey[];
  /** The id of the data key that seals. */
  current: number;
  /** The key that hides names. */
  names: WrappedKey;
  /** SHA-256 of all that. */
  digest: Uint8Array;
}

/** The keys themselves, 32 bytes each. Whoever has them overwrites them when done. */
export interface Unlocked {
  /** Data keys by id. */
  keys: Map<number, Bytes>;
  /** The id of the one that seals. */
  current: number;
  names: Bytes;
}

export interface PassphraseOptions {
  /** Rounds of PBKDF2, from 600000 (the default) to 10000000. Of no effect on a CryptoKey. */
  iterations?: number;
}

export interface CreatedOptions {
  /** The time now, in milliseconds since 1970. */
  nowMs?: number;
}

const KEY_BYTES = 32;
/** AES-KW adds 8 bytes. */
const WRAPPED_BYTES = 40;
const CHECK_BYTES = 16;
const SALT_BYTES = 16;
const DIGEST_BYTES = 32;
/** What OWASP's Password Storage Cheat Sheet asks for, and what a slow device does in some seconds. */
const ITERATIONS = { least: 600_000, most: 10_000_000 };
const MAX_KEYS = 1000;
/** A data key as WebCrypto has it: it is used for nothing but to derive others from it. */
const DATA_KEY = { name: 'HMAC', hash: 'SHA-256', length: KEY_BYTES * 8 };
const utf8 = new TextEncoder();

/**
 * A keyfile with one data key.
 * @throws `Invalid` for what is no secret, `Unsupported` where there is no WebCrypto.
 */
export async function createKeyfile(
  secret: Secret, { iterations, nowMs = Date.now() }: PassphraseOptions & CreatedOptions = {},
): Promise<Keyfile> {
  const kdf = newDerivation(secret, iterations);
  const wrapping = await wrappingKey(secret, kdf);
  const key = await newKey(wrapping);
  const id = idOf(key.check);
  return complete({
    version: 1, ...(kdf && { kdf }), keys: [{ id, ...key, createdMs: time(nowMs) }], current: id, names: await newKey(wrapping),
  });
}

/**
 * The keys in a keyfile, whatever that really is.
 * @throws `Permission` if the secret is not this keyfile's, `Corrupt` if it is no keyfile or a damaged one; the message
 * names the field. `Unsupported` for a later version.
 */
export async function unlock(keyfile: unknown, secret: Secret): Promise<Unlocked> {
  return (await open(keyfile, secret)).unlocked;
}

/**
 * The same keys under another secret. Copies of the old keyfile still open by the old one: where that has become known,
 * seal anew under a new data key.
 * @throws as `unlock` and `createKeyfile`.
 */
export async function changeSecret(
  keyfile: unknown, old: Secret, next: Secret, { iterations }: PassphraseOptions = {},
): Promise<Keyfile> {
  const kdf = newDerivation(next, iterations);
  const { file: { kdf: _, ...file }, unlocked } = await open(keyfile, old);
  const wrapping = await wrappingKey(next, kdf);
  const rewrap = async <K extends WrappedKey>(key: K, raw: Bytes): Promise<K> => ({ ...key, wrapped: await wrap(raw, wrapping) });
  const keys = await Promise.all(file.keys.map((key) => rewrap(key, unlocked.keys.get(key.id)!)));
  return complete({ ...file, ...(kdf && { kdf }), keys, names: await rewrap(file.names, unlocked.names) });
}

/**
 * The keyfile with one more data key, which seals from now on. The others stay, for what they sealed.
 * @throws as `unlock`; `Invalid` if it has as many keys as one may have (1000).
 */
export async function addDataKey(
  keyfile: unknown, secret: Secret, { nowMs = Date.now() }: CreatedOptions = {},
): Promise<Keyfile> {
  const { file, wrapping } = await open(keyfile, secret);
  if (file.keys.length >= MAX_KEYS) throw failure('Invalid', `a keyfile has at most ${MAX_KEYS} data keys; this one has as many`);
  // Of 4 billion ids one may be taken.
  let key = await newKey(wrapping);
  while (file.keys.some(({ id }) => id === idOf(key.check))) key = await newKey(wrapping);
  const id = idOf(key.check);
  return complete({ ...file, keys: [...file.keys, { id, ...key, createdMs: time(nowMs) }], current: id });
}

/**
 * The keyfile without a data key. What that sealed and nobody sealed anew is lost.
 * @throws `NotFound` if it has no such key, `Invalid` if it is the one that seals, `Corrupt` as `unlock`.
 */
export async function dropDataKey(keyfile: unknown, id: number): Promise<Keyfile> {
  const file = await checked(keyfile);
  if (!file.keys.some((key) => key.id === id)) throw failure('NotFound', `dropping data key ${id}: the keyfile has none with that id`);
  if (file.current === id) throw failure('Invalid', `dropping data key ${id}: it is the one that seals`);
  return complete({ ...file, keys: file.keys.filter((key) => key.id !== id) });
}

async function open(keyfile: unknown, secret: Secret): Promise<{ file: Keyfile; wrapping: CryptoKey; unlocked: Unlocked }> {
  const file = await checked(keyfile);
  if ((typeof secret === 'string') !== (file.kdf !== undefined)) {
    const takes = file.kdf ? 'a passphrase, not a CryptoKey' : 'a CryptoKey, not a passphrase';
    throw failure('Permission', `unlocking: this keyfile is locked by ${takes}`);
  }
  const wrapping = await wrappingKey(secret, file.kdf);
  const fields: [string, WrappedKey][] = [...file.keys.map((key, at): [string, WrappedKey] => [`keys[${at}]`, key]), ['names', file.names]];
  const raw = await Promise.all(fields.map(([, key]) => unwrap(key.wrapped, wrapping)));
  if (raw.every((key) => key === undefined)) throw failure('Permission', 'unlocking: the secret opens none of the keyfile\'s keys');
  const opened: Bytes[] = [];
  // One after another, so that of several wrong fields always the first one is told.
  for (const [at, [field, { check }]] of fields.entries()) {
    const key = raw[at];
    if (key === undefined) throw corrupt(`${field}.wrapped`, 'a key that this secret wrapped', 'another');
    if (!same(await checkOf(key), check)) throw corrupt(`${field}.check`, 'the check of the key beside it', 'another');
    opened.push(key);
  }
  const names = opened.pop()!;
  const keys = new Map(file.keys.map(({ id }, at) => [id, opened[at]!]));
  return { file, wrapping, unlocked: { keys, current: file.current, names } };
}

function newDerivation(secret: Secret, iterations: number = ITERATIONS.least): KeyDerivation | undefined {
  if (!isCount(iterations)) {
    throw failure('Invalid', `option iterations must be a whole number from ${ITERATIONS.least} to ${ITERATIONS.most}; it is ${String(iterations)}`);
  }
  if (typeof secret !== 'string') return undefined;
  return { name: 'PBKDF2-HMAC-SHA-256', salt: crypto.getRandomValues(new Uint8Array(SALT_BYTES)), iterations };
}

function isCount(iterations: unknown): iterations is number {
  return Number.isInteger(iterations) && (iterations as number) >= ITERATIONS.least && (iterations as number) <= ITERATIONS.most;
}

/** `kdf` is there exactly if the secret is a passphrase. */
async function wrappingKey(secret: Secret, kdf: KeyDerivation | undefined): Promise<CryptoKey> {
  subtle(); // Without it there is no CryptoKey to compare with either.
  if (secret instanceof CryptoKey) {
    const { algorithm: { name }, usages } = secret;
    if (name === 'AES-KW' && usages.includes('wrapKey') && usages.includes('unwrapKey')) return secret;
    throw failure('Invalid', `a secret that is a CryptoKey must be of algorithm AES-KW with usages wrapKey and unwrapKey; it is of ${name} with ${usages.join(', ') || 'none'}`);
  }
  if (typeof secret !== 'string' || secret === '' || kdf === undefined) {
    throw failure('Invalid', `a secret must be a CryptoKey or a passphrase that is not empty; it is ${secret === '' ? 'empty' : typeof secret}`);
  }
  // The same text may be typed as other code points elsewhere.
  const passphrase = await subtle().importKey('raw', utf8.encode(secret.normalize('NFC')), 'PBKDF2', false, ['deriveKey']);
  const { salt, iterations } = kdf;
  return subtle().deriveKey(
    { name: 'PBKDF2', hash: 'SHA-256', salt: new Uint8Array(salt), iterations },
    passphrase, { name: 'AES-KW', length: 256 }, false, ['wrapKey', 'unwrapKey'],
  );
}

async function newKey(wrapping: CryptoKey): Promise<{ wrapped: Bytes; check: Bytes }> {
  const raw = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  const key = { wrapped: await wrap(raw, wrapping), check: await checkOf(raw) };
  raw.fill(0);
  return key;
}

function time(nowMs: number): number {
  if (!Number.isFinite(nowMs)) throw failure('Invalid', `option nowMs must be a number of milliseconds; it is ${String(nowMs)}`);
  return nowMs;
}

async function wrap(raw: Bytes, wrapping: CryptoKey): Promise<Bytes> {
  const key = await subtle().importKey('raw', raw, DATA_KEY, true, ['sign']);
  return new Uint8Array(await subtle().wrapKey('raw', key, wrapping, 'AES-KW'));
}

/** Undefined if another key wrapped it. */
async function unwrap(wrapped: Uint8Array, wrapping: CryptoKey): Promise<Bytes | undefined> {
  try {
    const key = await subtle().unwrapKey('raw', new Uint8Array(wrapped), wrapping, 'AES-KW', DATA_KEY, true, ['sign']);
    return new Uint8Array(await subtle().exportKey('raw', key));
  } catch (error) {
    if (error instanceof DOMException && error.name === 'OperationError') return undefined;
    throw error;
  }
}

async function checkOf(raw: Bytes): Promise<Bytes> {
  const key = await subtle().importKey('raw', raw, DATA_KEY, false, ['sign']);
  return new Uint8Array(await subtle().sign('HMAC', key, utf8.encode('statik sealed v1 check')), 0, CHECK_BYTES);
}

function idOf(check: Uint8Array): number {
  return new DataView(check.buffer, check.byteOffset).getUint32(0, true);
}

function subtle(): SubtleCrypto {
  // Absent in pages that are not secure contexts.
  if (globalThis.crypto?.subtle === undefined) throw failure('Unsupported', 'encryption needs WebCrypto, which pages have only by HTTPS or from localhost');
  return crypto.subtle;
}

async function digestOf({ version, kdf, keys, current, names }: Omit<Keyfile, 'digest'>): Promise<Bytes> {
  const both = ({ wrapped, check }: WrappedKey): unknown[] => [[...wrapped], [...check]];
  const text = JSON.stringify([
    version, kdf ? [kdf.name, [...kdf.salt], kdf.iterations] : null,
    keys.map((key) => [key.id, ...both(key), key.createdMs]), current, both(names),
  ]);
  return new Uint8Array(await subtle().digest('SHA-256', utf8.encode(text)));
}

async function complete(file: Omit<Keyfile, 'digest'>): Promise<Keyfile> {
  return { ...file, digest: await digestOf(file) };
}

/** A copy of what is a keyfile in every field. */
async function checked(keyfile: unknown): Promise<Keyfile> {
  const { version, kdf, keys, current, names, digest } = record('', keyfile);
  if (version !== 1) {
    if (Number.isInteger(version) && (version as number) > 1) {
      throw failure('Unsupported', `the keyfile is of version ${version as number}; this code reads version 1`);
    }
    throw corrupt('version', '1', version);
  }
  if (!Array.isArray(keys) || keys.length < 1 || keys.length > MAX_KEYS) throw corrupt('keys', `an array of 1 to ${MAX_KEYS} keys`, keys);
  const file: Keyfile = {
    version,
    ...(kdf !== undefined && { kdf: derivation(kdf) }),
    keys: keys.map((key, at) => dataKey(`keys[${at}]`, key)),
    current: current as number,
    names: wrappedKey('names', names),
    digest: bytes('digest', digest, DIGEST_BYTES),
  };
  const ids = new Set(file.keys.map(({ id }) => id));
  if (ids.size < keys.length) throw corrupt('keys', 'keys with ids that differ', [...ids].join(', '));
  if (!ids.has(file.current)) throw corrupt('current', 'the id of one of its keys', current);
  if (!same(await digestOf(file), file.digest)) throw corrupt('digest', 'the SHA-256 of all its other fields', 'another');
  return file;
}

function derivation(value: unknown): KeyDerivation {
  const { name, salt, iterations } = record('kdf', value);
  if (name !== 'PBKDF2-HMAC-SHA-256') throw corrupt('kdf.name', '"PBKDF2-HMAC-SHA-256"', name);
  if (!isCount(iterations)) throw corrupt('kdf.iterations', `a whole number from ${ITERATIONS.least} to ${ITERATIONS.most}`, iterations);
  return { name, salt: bytes('kdf.salt', salt, SALT_BYTES), iterations };
}

function dataKey(field: string, value: unknown): WrappedDataKey {
  const { id, createdMs } = record(field, value);
  const key = wrappedKey(field, value);
  if (id !== idOf(key.check)) throw corrupt(`${field}.id`, `what its check begins with (${idOf(key.check)})`, id);
  if (!Number.isFinite(createdMs)) throw corrupt(`${field}.createdMs`, 'a number of milliseconds', createdMs);
  return { id, ...key, createdMs: createdMs as number };
}

function wrappedKey(field: string, value: unknown): WrappedKey {
  const key = record(field, value);
  return { wrapped: bytes(`${field}.wrapped`, key.wrapped, WRAPPED_BYTES), check: bytes(`${field}.check`, key.check, CHECK_BYTES) };
}

function record(field: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw corrupt(field, 'an object', value);
  return value as Record<string, unknown>;
}

function bytes(field: string, value: unknown, length: number): Bytes {
  if (!(value instanceof Uint8Array) || value.length !== length) throw corrupt(field, `a Uint8Array of ${length} bytes`, value);
  return new Uint8Array(value);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function corrupt(field: string, expected: string, came: unknown): Error {
  return failure('Corrupt', `the keyfile${field && `'s ${field}`} must be ${expected}; it is ${told(came)}`);
}

/** What came, in a few words: it may be large, and may be of anybody's making. */
function told(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}
