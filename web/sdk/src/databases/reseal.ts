/**
 * The records of sealed stores as a rotation goes over them: store by store, in the order of primary keys.
 *
 * Invariant: a record is replaced in the transaction in which it was seen to be as it was read.
 */
import { encode } from '../codec.js';
import { StatikError } from '../errors.js';
import type { Key } from '../idb/types.js';
import { request } from '../migrations/indexeddb.js';
import { sealedPart, type SealedStore, type Stored } from './record-form.js';
import type { Position, Replacement, Source } from './rotation.js';

/** Where a batch has ended. */
export interface Cursor {
  /** By its place in the list. */
  store: number;
  /** The last primary key that was seen in it; absent at its start. */
  after?: Key;
}

export interface StoredRecord {
  at: SealedStore;
  stored: Stored;
  /** Empty if it is not sealed. */
  sealed: Uint8Array;
  /** What is to be stored in its place. */
  renewed?: Stored;
}

/** What changes keys, and remembers how far it has come. */
export interface RotatingKeys {
  loadPosition(): Promise<Position<Cursor> | undefined>;
  savePosition(position: Position<Cursor> | undefined): Promise<void>;
  settle(signal: AbortSignal | undefined): Promise<void>;
  dropOlderKeys(): Promise<void>;
}

/** How many records are sealed anew together. */
const BATCH = 200;

export class StoredRecords implements Source<StoredRecord, Cursor> {
  /** How many were written. */
  resealed = 0;
  /** How many of the last pass stay in clear, because of values that cannot be sealed. */
  leftPlain = 0;
  readonly #stores: readonly SealedStore[];
  readonly #keys: RotatingKeys;
  readonly #others: () => Promise<void>;
  readonly #signal: AbortSignal | undefined;

  /** `others` seals what else is under these keys, or fails. */
  constructor(stores: readonly SealedStore[], keys: RotatingKeys, others: () => Promise<void>, signal: AbortSignal | undefined) {
    this.#stores = stores;
    this.#keys = keys;
    this.#others = others;
    this.#signal = signal;
  }

  async nextBatch(cursor: Cursor = { store: 0 }): Promise<{ records: StoredRecord[]; cursor?: Cursor }> {
    if (cursor.store === 0 && cursor.after === undefined) this.leftPlain = 0;
    const at = this.#stores[cursor.store];
    if (at === undefined) return { records: [] };
    const { idb, form, primary } = at;
    const range = cursor.after === undefined ? undefined : { lower: cursor.after, lowerOpen: true };
    const { items } = await idb.query<Stored>(form.store, { limit: BATCH, ...(range && { range }) });
    const records = items.map((stored) => {
      const sealed = sealedPart(stored);
      return { at, stored, sealed: sealed instanceof Uint8Array ? sealed : new Uint8Array() };
    });
    if (items.length === BATCH) return { records, cursor: { store: cursor.store, after: items.at(-1)![primary] as Key } };
    return { records, ...(cursor.store + 1 < this.#stores.length && { cursor: { store: cursor.store + 1 } }) };
  }

  /** What to put in the place of a record's sealed bytes; undefined if it is as it should be. */
  renew(record: StoredRecord): Uint8Array | undefined {
    const { at: { form, keyOf }, stored, sealed } = record;
    try {
      const renewed = form.renewed(stored, keyOf(stored));
      if (renewed === undefined) return undefined;
      record.renewed = renewed;
      return sealedPart(renewed) as Uint8Array;
    } catch (error) {
      // In clear, and to stay so: such as a Blob, whose bytes cannot be had at once. It needs no key.
      if (sealed.length > 0 || !(error instanceof StatikError) || error.code !== 'Unsupported') throw error;
      this.leftPlain += 1;
      return undefined;
    }
  }

  async replace(replacements: readonly Replacement<StoredRecord>[]): Promise<void> {
    const { idb, form, primary } = replacements[0]!.record.at;
    this.resealed += await idb.transaction([form.store], 'readwrite', async (tx) => {
      const store = tx.objectStore(form.store);
      const written = await Promise.all(replacements.map(async ({ record: { stored, sealed, renewed } }) => {
        const found = await request<Stored | undefined>(store.get(stored[primary] as Key));
        if (found === undefined || !isUnchanged(found, stored, sealed)) return 0;
        await request(store.put(renewed));
        return 1;
      }));
      return written.reduce<number>((sum, each) => sum + each, 0);
    });
  }

  async loadPosition(): Promise<Position<Cursor> | undefined> {
    return this.#keys.loadPosition();
  }

  async savePosition(position: Position<Cursor> | undefined): Promise<void> {
    return this.#keys.savePosition(position);
  }

  async settle(): Promise<void> {
    return this.#keys.settle(this.#signal);
  }

  async dropOlderKeys(): Promise<void> {
    await this.#others();
    return this.#keys.dropOlderKeys();
  }
}

/** Sealed bytes tell by themselves, since their nonces differ; what is in clear is compared. */
function isUnchanged(found: Stored, stored: Stored, sealed: Uint8Array): boolean {
  const now = sealedPart(found);
  if (sealed.length > 0) return now instanceof Uint8Array && now.length === sealed.length && now.every((byte, at) => byte === sealed[at]);
  return now === undefined && encode(found) === encode(stored);
}
