/**
 * Values that structured clone takes, as JSON and back: one form for backups, for sealed values and for SQL columns.
 *
 * Plain data is its own JSON. What JSON lacks is an object with a tag under the key `$` (`{"$":"Date","ms":0}`); a plain
 * object that has such a key is written by its entries, under a tag of its own. An object that was met before is
 * `{"$":"ref","to":n}`: the n-th object of the value, from 0, counted in the order in which they begin. The whole table
 * is in docs/backup-format.md.
 *
 * Invariants:
 * - What comes back is what `structuredClone` gives: equal, with the same identities and cycles; a class instance has
 *   become a plain object, and an error of a class of its own an `Error`. Two exceptions: views keep only their own
 *   bytes, each for itself, and a resizable buffer comes back fixed.
 * - What cannot be written is `Unsupported`, and the message says where in the value it is. Nothing is left out silently.
 * - Reading is total: any text gives a value or a StatikError, sets no prototype, and allocates no more than in
 *   proportion to its length.
 */
import { fromBase64, toBase64 } from './base64.js';
import { StatikError } from './errors.js';
import type { ErrorCode } from './types.js';

/** Objects within objects, which both directions walk by recursion: more is `Unsupported`. */
export const DEPTH_LIMIT = 512;

/** What `JSON.stringify` writes as it is. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const TAG = '$';

/** The value as JSON text. `Unsupported` for what JSON cannot carry, and for Blob and File, which only `encodeAsync` reads. */
export function encode(value: unknown): string {
  return JSON.stringify(encodeTree(value));
}

/** As `encode`; the bytes of Blobs and Files are read first, and held in memory. */
export async function encodeAsync(value: unknown): Promise<string> {
  return JSON.stringify(await encodeTreeSoon(value));
}

/** The value of a text that `encode` wrote. `Corrupt` for any other, `Unsupported` for what only other engines know. */
export function decode(text: string): unknown {
  let tree: unknown;
  try {
    tree = JSON.parse(text);
  } catch (cause) {
    throw new StatikError({ code: 'Corrupt', message: `decode: the text is not JSON: ${String(cause)}` }, { cause });
  }
  return decodeTree(tree);
}

/** `encode` in UTF-8. */
export function encodeBytes(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(encode(value));
}

/** `decode` of UTF-8. */
export function decodeBytes(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new StatikError({ code: 'Corrupt', message: `decode: ${bytes.length} bytes are not UTF-8` }, { cause });
  }
  return decode(text);
}

/** `encode` before it becomes text. */
export function encodeTree(value: unknown): Json {
  return new Encoder().root(value);
}

/** `encodeAsync` before it becomes text: at once, unless there are Blobs. */
export function encodeTreeSoon(value: unknown): Json | Promise<Json> {
  const unread = new Set<Blob>();
  const tree = new Encoder((blob) => { unread.add(blob); return new Uint8Array(); }).root(value);
  return unread.size === 0 ? tree : encodeWithBlobs(value, unread);
}

async function encodeWithBlobs(value: unknown, unread: ReadonlySet<Blob>): Promise<Json> {
  const bytes = new Map<Blob, Uint8Array>();
  for (const blob of unread) bytes.set(blob, new Uint8Array(await blob.arrayBuffer()));
  // A Blob that was not read is one that has come meanwhile.
  return new Encoder((blob) => bytes.get(blob)).root(value);
}

/** `decode` after JSON. The tree becomes part of the value, and is no longer the caller's. */
export function decodeTree(tree: unknown): unknown {
  return new Decoder().root(tree);
}

/** Where in a value one is: property names, and indices of arrays and of the entries of Maps and Sets. */
class Path {
  readonly #action: 'encode' | 'decode';
  readonly #steps: (string | number)[] = [];

  constructor(action: 'encode' | 'decode') {
    this.#action = action;
  }

  /** What throws leaves its steps standing, so that it can still be told where it was. */
  enter(step: string | number): void {
    if (this.#steps.push(step) > DEPTH_LIMIT) this.fail('Unsupported', `nests deeper than ${DEPTH_LIMIT} levels`);
  }

  leave(): void {
    this.#steps.pop();
  }

  fail(code: ErrorCode, what: string, cause?: unknown): never {
    throw new StatikError({ code, message: `${this.#action}: ${this.#told()} ${what}` }, cause === undefined ? {} : { cause });
  }

  #told(): string {
    if (this.#steps.length === 0) return 'the value';
    const shown = this.#steps.slice(0, 64).map((step) =>
      typeof step === 'number' ? `[${step}]` : /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`);
    return shown.join('') + (this.#steps.length > 64 ? '…' : '');
  }
}

/** Bytes of a Blob, where somebody has read them. */
type BlobBytes = (blob: Blob) => Uint8Array | undefined;

class Encoder {
  readonly #path: Path = new Path('encode');
  /** The objects so far, by their number. */
  readonly #numbers = new Map<object, number>();
  readonly #blobBytes: BlobBytes;

  constructor(blobBytes: BlobBytes = () => undefined) {
    this.#blobBytes = blobBytes;
  }

  root(value: unknown): Json {
    try {
      return this.#value(value);
    } catch (error) {
      if (error instanceof StatikError) throw error;
      // A getter, a revoked proxy, a detached buffer, or an object that is not what it calls itself.
      return this.#path.fail('Invalid', `could not be read: ${String(error)}`, error);
    }
  }

  #value(value: unknown): Json {
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return value;
      case 'number':
        if (Number.isFinite(value) && !Object.is(value, -0)) return value;
        return { [TAG]: 'number', value: Object.is(value, -0) ? '-0' : String(value) };
      case 'undefined':
        return { [TAG]: 'undefined' };
      case 'bigint':
        return { [TAG]: 'bigint', value: String(value) };
      case 'object':
        return value === null ? null : this.#object(value);
      default:
        return this.#path.fail('Unsupported', `is a ${typeof value}, which cannot be stored`);
    }
  }

  #child(step: string | number, value: unknown): Json {
    this.#path.enter(step);
    const json = this.#value(value);
    this.#path.leave();
    return json;
  }

  /** A property's, whose getter may throw. */
  #part(object: object, key: string | number): Json {
    this.#path.enter(key);
    const json = this.#value((object as Record<string | number, unknown>)[key]);
    this.#path.leave();
    return json;
  }

  #object(object: object): Json {
    const number = this.#numbers.get(object);
    if (number !== undefined) return { [TAG]: 'ref', to: number };
    this.#numbers.set(object, this.#numbers.size);
    if (Array.isArray(object)) return this.#array(object);
    if (ArrayBuffer.isView(object)) {
      return { [TAG]: typeName(object), base64: toBase64(new Uint8Array(object.buffer, object.byteOffset, object.byteLength)) };
    }
    // Platform objects and what the language builds in say what they are; instances of an app's class are 'Object'.
    const type = typeName(object);
    switch (type) {
      case 'Object':
        return this.#plain(object);
      case 'Date': {
        const ms = Date.prototype.getTime.call(object);
        return { [TAG]: type, ms: Number.isNaN(ms) ? null : ms };
      }
      case 'RegExp': {
        const { source, flags } = object as RegExp;
        return { [TAG]: type, source, flags };
      }
      case 'Map':
        return { [TAG]: type, entries: Array.from(Map.prototype.entries.call(object), (entry, i) => entry.map((part) => this.#child(i, part))) };
      case 'Set':
        return { [TAG]: type, values: Array.from(Set.prototype.values.call(object), (value, i) => this.#child(i, value)) };
      case 'ArrayBuffer':
        return { [TAG]: type, base64: toBase64(new Uint8Array(object as ArrayBuffer)) };
      case 'Boolean':
      case 'Number':
      case 'String':
      case 'BigInt':
        return { [TAG]: type, value: this.#value(BOXES[type].prototype.valueOf.call(object)) };
      case 'Error':
        return this.#error(object as Error);
      case 'DOMException': {
        const { name, message } = object as DOMException;
        return { [TAG]: type, name, message };
      }
      case 'Blob':
      case 'File':
        return this.#blob(object as Blob | File);
      default:
        return this.#path.fail('Unsupported', `is of type ${type}, which JSON cannot carry`);
    }
  }

  #plain(object: object): Json {
    if (Object.hasOwn(object, TAG)) return { [TAG]: 'Object', entries: this.#entries(object) };
    const json: Record<string, Json> = {};
    for (const key of Object.keys(object)) set(json, key, this.#part(object, key));
    return json;
  }

  #array(array: unknown[]): Json {
    // Indices come first and in order, so that the last key tells whether there are holes or names.
    const keys = Object.keys(array);
    if (keys.length === array.length && (keys.length === 0 || keys.at(-1) === String(array.length - 1))) {
      return array.map((_, i) => this.#part(array, i));
    }
    return { [TAG]: 'Array', length: array.length, entries: this.#entries(array) };
  }

  #entries(object: object): Json[] {
    return Object.keys(object).map((key) => [key, this.#part(object, key)]);
  }

  #error(error: Error): Json {
    const { name, message, stack } = error;
    return {
      [TAG]: 'Error',
      name: ERRORS.has(name) ? name : 'Error',
      ...(Object.hasOwn(error, 'message') && { message: String(message) }),
      ...(typeof stack === 'string' && { stack }),
      ...(Object.hasOwn(error, 'cause') && { cause: this.#part(error, 'cause') }),
    };
  }

  #blob(blob: Blob | File): Json {
    const bytes = this.#blobBytes(blob);
    if (bytes === undefined) this.#path.fail('Unsupported', `is a ${typeName(blob)}, whose bytes cannot be had at once`);
    const json = { [TAG]: typeName(blob), type: blob.type, base64: toBase64(bytes) };
    return 'lastModified' in blob ? { ...json, name: blob.name, lastModifiedMs: blob.lastModified } : json;
  }
}

type Tagged = Record<string, unknown>;

class Decoder {
  readonly #path: Path = new Path('decode');
  /** The objects so far, by their number. */
  readonly #objects: object[] = [];

  root(tree: unknown): unknown {
    return this.#value(tree);
  }

  #value(json: unknown): unknown {
    if (typeof json !== 'object' || json === null) return json;
    if (Array.isArray(json)) {
      this.#keep(json);
      for (let i = 0; i < json.length; i++) json[i] = this.#child(i, json[i]);
      return json;
    }
    const object = json as Tagged;
    if (Object.hasOwn(object, TAG)) return this.#tagged(object);
    this.#keep(object);
    // JSON.parse made every key, `__proto__` too, a property of its own; to set what is there already reaches no setter.
    for (const key of Object.keys(object)) object[key] = this.#child(key, object[key]);
    return object;
  }

  #child(step: string | number, json: unknown): unknown {
    if (typeof json !== 'object' || json === null) return json;
    this.#path.enter(step);
    const value = this.#value(json);
    this.#path.leave();
    return value;
  }

  /** Objects are numbered when they begin, as they were in writing. */
  #keep<T extends object>(object: T): T {
    this.#objects.push(object);
    return object;
  }

  #tagged(json: Tagged): unknown {
    const tag = this.#text(json, TAG);
    switch (tag) {
      case 'undefined':
        return undefined;
      case 'number':
        return this.#number(json);
      case 'bigint':
        return this.#bigint(json);
      case 'ref':
        return this.#ref(json);
      case 'Object': {
        const object = this.#keep({});
        this.#define(object, json);
        return object;
      }
      case 'Array':
        return this.#array(json);
      case 'Date':
        return this.#keep(new Date(json['ms'] === null ? NaN : this.#ms(json, 'ms')));
      case 'RegExp':
        return this.#regExp(json);
      case 'Map': {
        const map = this.#keep(new Map());
        for (const [i, [key, value]] of this.#pairs(json).entries()) map.set(this.#child(i, key), this.#child(i, value));
        return map;
      }
      case 'Set': {
        const set = this.#keep(new Set());
        for (const [i, value] of this.#list(json, 'values').entries()) set.add(this.#child(i, value));
        return set;
      }
      case 'Error':
        return this.#error(json);
      case 'DOMException':
        return this.#keep(new DOMException(this.#text(json, 'message'), this.#text(json, 'name')));
      case 'Boolean':
      case 'Number':
      case 'String':
      case 'BigInt':
        return this.#boxed(json, tag);
      case 'Blob':
        return this.#keep(new Blob([this.#bytes(json)], { type: this.#text(json, 'type') }));
      case 'File':
        return this.#keep(new File([this.#bytes(json)], this.#text(json, 'name'), {
          type: this.#text(json, 'type'), lastModified: this.#integer(json, 'lastModifiedMs'),
        }));
      case 'ArrayBuffer':
        return this.#keep(this.#bytes(json).buffer);
      default:
        return this.#view(json, tag);
    }
  }

  #number(json: Tagged): number {
    const text = this.#text(json, 'value');
    if (!['NaN', 'Infinity', '-Infinity', '-0'].includes(text)) this.#corrupt(json, 'value', "'NaN', 'Infinity', '-Infinity' or '-0'");
    return Number(text);
  }

  #bigint(json: Tagged): bigint {
    const text = this.#text(json, 'value');
    if (!/^(0|-?[1-9][0-9]*)$/.test(text)) this.#corrupt(json, 'value', 'a decimal integer');
    try {
      return BigInt(text);
    } catch (cause) {
      return this.#path.fail('Unsupported', `is a bigint of ${text.length} digits, more than this engine takes`, cause);
    }
  }

  #ref(json: Tagged): object {
    return this.#objects[this.#integer(json, 'to')] ?? this.#corrupt(json, 'to', `the number of one of the ${this.#objects.length} objects before it`);
  }

  #array(json: Tagged): unknown[] {
    const length = this.#integer(json, 'length');
    if (length >= 2 ** 32) this.#corrupt(json, 'length', 'below 2^32');
    const array: unknown[] = this.#keep([]);
    // Engines allocate a moderate length at once, but not the greatest; and having made the array sparse they leave it so.
    if (length > 1024) array.length = 2 ** 32 - 1;
    array.length = length;
    this.#define(array, json);
    if (array.length !== length) this.#corrupt(json, 'length', 'above every index');
    return array;
  }

  #regExp(json: Tagged): RegExp {
    const [source, flags] = [this.#text(json, 'source'), this.#text(json, 'flags')];
    try {
      return this.#keep(new RegExp(source, flags));
    } catch (cause) {
      return this.#path.fail('Unsupported', `is not a RegExp that this engine takes: ${String(cause)}`, cause);
    }
  }

  #error(json: Tagged): Error {
    const type = ERRORS.get(this.#text(json, 'name')) ?? this.#corrupt(json, 'name', `one of ${[...ERRORS.keys()].join(', ')}`);
    const has = (field: string) => Object.hasOwn(json, field);
    const error = this.#keep(has('message') ? new type(this.#text(json, 'message')) : new type());
    const hidden = (value: unknown) => ({ value, configurable: true, writable: true });
    // Not the stack of this reader.
    Object.defineProperty(error, 'stack', hidden(has('stack') ? this.#text(json, 'stack') : String(error)));
    if (has('cause')) Object.defineProperty(error, 'cause', hidden(this.#child('cause', json['cause'])));
    return error;
  }

  #boxed(json: Tagged, tag: string): object {
    const place = this.#objects.length;
    const value = this.#child('value', own(json, 'value'));
    if (typeof value !== tag.toLowerCase()) this.#corrupt(json, 'value', `a ${tag.toLowerCase()}`);
    return this.#objects[place] = Object(value) as object;
  }

  #view(json: Tagged, tag: string): ArrayBufferView {
    const type = VIEWS.get(tag);
    if (type === undefined) this.#path.fail('Corrupt', `has the tag ${JSON.stringify(tag.slice(0, 64))}, which is not known`);
    const bytes = this.#bytes(json);
    const unit = type.BYTES_PER_ELEMENT ?? 1;
    if (bytes.length % unit !== 0) this.#corrupt(json, 'base64', `a multiple of ${unit} bytes`);
    return this.#keep(new type(bytes.buffer));
  }

  /** Sets what was written by its entries. */
  #define(object: object, json: Tagged): void {
    for (const [key, value] of this.#pairs(json)) {
      if (typeof key !== 'string') this.#corrupt(json, 'entries', 'pairs of a name and a value');
      if (Array.isArray(object) && key === 'length') this.#corrupt(json, 'entries', 'without a length');
      set(object, key, this.#child(key, value));
    }
  }

  #pairs(json: Tagged): [unknown, unknown][] {
    const pairs = this.#list(json, 'entries');
    const isPair = (pair: unknown): pair is [unknown, unknown] => Array.isArray(pair) && pair.length === 2;
    return pairs.every(isPair) ? pairs : this.#corrupt(json, 'entries', 'pairs');
  }

  #text(json: Tagged, field: string): string {
    const value = own(json, field);
    return typeof value === 'string' ? value : this.#corrupt(json, field, 'text');
  }

  #integer(json: Tagged, field: string): number {
    const value = own(json, field);
    return Number.isSafeInteger(value) && (value as number) >= 0 ? value as number : this.#corrupt(json, field, 'an integer from 0');
  }

  #ms(json: Tagged, field: string): number {
    const value = own(json, field);
    return Number.isInteger(value) && Math.abs(value as number) <= 8.64e15 ? value as number : this.#corrupt(json, field, 'the milliseconds of a date');
  }

  #list(json: Tagged, field: string): unknown[] {
    const value = own(json, field);
    return Array.isArray(value) ? value : this.#corrupt(json, field, 'a list');
  }

  #bytes(json: Tagged): Uint8Array<ArrayBuffer> {
    return fromBase64(this.#text(json, 'base64')) ?? this.#corrupt(json, 'base64', 'base64');
  }

  #corrupt(json: Tagged, field: string, expected: string): never {
    const came = JSON.stringify(own(json, field))?.slice(0, 64) ?? 'missing';
    return this.#path.fail('Corrupt', `(${JSON.stringify(own(json, TAG))?.slice(0, 64)}) has a bad ${field}: expected ${expected}; it is ${came}`);
  }
}

/** The names that structured clone keeps; any other error becomes an `Error`. */
const ERRORS: ReadonlyMap<string, ErrorConstructor> = new Map(
  [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((type) => [type.name, type as ErrorConstructor]),
);

const BOXES: Record<'Boolean' | 'Number' | 'String' | 'BigInt', { readonly prototype: object }> = { Boolean, Number, String, BigInt };

interface View {
  new (buffer: ArrayBuffer): ArrayBufferView;
  /** Missing in DataView. */
  readonly BYTES_PER_ELEMENT?: number;
}

/** DataView and the typed arrays that this engine has: Float16Array is missing in some. */
const VIEWS: ReadonlyMap<string, View> = new Map(
  [
    'DataView', 'Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array',
    'Float16Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array',
  ].flatMap((name) => {
    const type = (globalThis as unknown as Record<string, View | undefined>)[name];
    return type === undefined ? [] : [[name, type]];
  }),
);

/** What an object calls itself; `instanceof` would not know one of another realm. */
function typeName(object: object): string {
  return Object.prototype.toString.call(object).slice('[object '.length, -1);
}

function own(object: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** `object[key] = value`, also where the key is `__proto__`. */
function set(object: object, key: string, value: unknown): void {
  if (key === '__proto__') Object.defineProperty(object, key, { value, configurable: true, enumerable: true, writable: true });
  else (object as Record<string, unknown>)[key] = value;
}
