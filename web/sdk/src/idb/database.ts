/** A database over the WebAssembly module. It only converts: what can be lost is decided there. */
import { decode, encode } from '../codec.js';
import { failure, StatikError } from '../errors.js';
import type { IdbDatabase, Run } from '../records.js';
import { bindings, type Environment } from './environment.js';
import { translated } from '../records-wasm.js';
import { isRoomShort } from './room.js';
import type { Idb, Key, KeyRange, Page, Position, Query, Write, WriteOptions } from './types.js';

const VERBS = ['put', 'add', 'delete', 'clear'] as const;

export class Database implements Idb {
  readonly name: string;
  readonly #core: IdbDatabase;
  readonly #keyRanges: typeof IDBKeyRange;
  readonly #isShort: () => boolean;

  /** `opener` answers an open connection, whenever there is none. */
  constructor(environment: Environment, name: string, opener: () => Promise<IDBDatabase>) {
    this.name = name;
    this.#keyRanges = environment.keyRanges;
    this.#isShort = () => environment.storage === 'indexeddb' && isRoomShort();
    this.#core = new environment.records.IdbDatabase(name, opener, bindings(environment));
  }

  /** Opens it now. */
  async connect(): Promise<void> {
    return settled(this.#core.connect());
  }

  async get<T>(store: string, key: Key): Promise<T | undefined> {
    return settled(this.#core.get(store, key)) as Promise<T | undefined>;
  }

  async getMany<T>(store: string, keys: readonly Key[]): Promise<(T | undefined)[]> {
    return settled(this.#core.getMany(store, keys)) as Promise<(T | undefined)[]>;
  }

  async query<T>(store: string, query: Query = {}): Promise<Page<T>> {
    return this.#page<T>(store, query, false);
  }

  async keys(store: string, query: Query = {}): Promise<Page<Key>> {
    return this.#page<Key>(store, query, true);
  }

  async count(store: string, { index, range }: Pick<Query, 'index' | 'range'> = {}): Promise<number> {
    return settled(this.#core.count(store, index, range));
  }

  async write(writes: readonly Write[], { durability = 'relaxed' }: WriteOptions = {}): Promise<Key[]> {
    if (writes.length === 0) return [];
    return settled(this.#core.write(this.#runs(writes), durability === 'strict', this.#isShort()));
  }

  async put(store: string, value: unknown, key?: Key): Promise<Key> {
    return this.#single(store, value, key, false);
  }

  async add(store: string, value: unknown, key?: Key): Promise<Key> {
    return this.#single(store, value, key, true);
  }

  async delete(store: string, key: Key | KeyRange): Promise<void> {
    await this.write([{ store, delete: key }]);
  }

  async transaction<T>(
    stores: readonly string[], mode: 'readonly' | 'readwrite', body: (tx: IDBTransaction) => T | Promise<T>,
    { durability = 'relaxed' }: WriteOptions = {},
  ): Promise<T> {
    return settled(this.#core.transaction(stores, mode, body, durability === 'strict')) as Promise<T>;
  }

  range({ lower, upper, lowerOpen = false, upperOpen = false }: KeyRange): IDBKeyRange {
    const ranges = this.#keyRanges;
    if (upper === undefined) return ranges.lowerBound(lower, lowerOpen);
    return lower === undefined ? ranges.upperBound(upper, upperOpen) : ranges.bound(lower, upper, lowerOpen, upperOpen);
  }

  async close(): Promise<void> {
    this.#core.close();
  }

  async #single(store: string, value: unknown, key: Key | undefined, isAdd: boolean): Promise<Key> {
    const core = this.#core;
    let place: number | undefined;
    try {
      // A group that finds no room would be told as failed, and in Firefox some of it be there all the same.
      if (!this.#isShort()) place = core.put(store, value, key, isAdd);
    } catch (error) {
      throw translated(error);
    }
    if (place === undefined) {
      const write: Write = { store, ...(isAdd ? { add: value } : { put: value }), ...(key !== undefined && { key }) };
      return (await this.write([write]))[0]!;
    }
    // Where the connection was lost meanwhile, nothing of the group was done. It is not tried again: the value may have changed.
    const group = await settled(core.group());
    if (group.failures.size > 0 && group.failures.has(place)) throw translated(group.failures.get(place));
    return group.requests[place]!.result;
  }

  /** Writes as the module takes them: many together. */
  #runs(writes: readonly Write[]): Run[] {
    const runs: Run[] = [];
    let run: Run | undefined;
    for (const [index, write] of writes.entries()) {
      const verb = VERBS.find((each) => each in Object(write));
      if (verb === undefined) throw failure('Invalid', `writing to "${this.name}": write ${index} has none of ${VERBS.join(', ')}`);
      const { store, key, [verb]: value } = write as { store: string; key?: Key } & Record<string, unknown>;
      if (run?.store !== store || run.verb !== verb) runs.push(run = { store, verb, values: [], keys: [] });
      run.values.push(value);
      run.keys.push(key);
    }
    return runs;
  }

  async #page<T>(store: string, { index, range, direction, limit, cursor, after }: Query, keysOnly: boolean): Promise<Page<T>> {
    if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) {
      throw failure('Invalid', `query of store ${store} of "${this.name}": limit is ${limit}, not an integer from 1`);
    }
    const from = after ?? (cursor === undefined ? undefined : positionOf(cursor, `query of store ${store} of "${this.name}"`));
    const { items, last } = await settled(this.#core.query(store, { index, range, direction, limit, after: from, keysOnly }));
    return { items: items as T[], ...(last && { last, cursor: cursorOf(last) }) };
  }
}

/** A position as text that callers keep. */
export function cursorOf({ key, primary }: Position): string {
  return encode([key, primary]);
}

/** `Invalid` for what is no cursor. */
export function positionOf(cursor: string, doing: string): Position {
  try {
    const position = decode(cursor);
    if (Array.isArray(position) && position.length === 2) return { key: position[0], primary: position[1] };
  } catch (error) {
    throw new StatikError({ code: 'Invalid', message: `${doing}: the cursor ${JSON.stringify(cursor)} is none` }, { cause: error });
  }
  throw failure('Invalid', `${doing}: the cursor ${JSON.stringify(cursor)} is none`);
}

async function settled<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw translated(error);
  }
}
