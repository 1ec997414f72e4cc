/**
 * Records as they lie in a store. Fields that keys and indexes are made of stay in clear; with encryption, the rest is
 * sealed under the record's store and key, so that it can be read nowhere else. The fields in clear are bound to it: who
 * changes them makes the record `Corrupt`.
 *
 * Names that indexes are made of may be blind: then what stands for them is in clear, and they are sealed.
 */
import { failure } from '../errors.js';
import type { Idb } from '../idb/types.js';

export type Stored = Record<string, unknown>;

/** Seals and opens values. `place` is bound to what is sealed. Synchronous, so that it can be done within a transaction. */
export interface Sealing {
  /** Whether names that indexes are made of are hidden. */
  readonly blindTags: boolean;
  seal(place: Place, value: unknown): Uint8Array<ArrayBuffer>;
  /** `Corrupt` for what was changed, or moved here from another place; `Permission` for what another key has sealed. */
  open(place: Place, sealed: Uint8Array): unknown;
  /** The same under the key that seals now; undefined if it is. As `open` otherwise. */
  reseal(place: Place, sealed: Uint8Array): Uint8Array<ArrayBuffer> | undefined;
  /** What stands for a name, in one store and for ever. */
  blind(database: string, store: string, name: string): string;
}

/** By the names that the app uses, whatever they end in: where a record is does not change when its database is compacted or restored. */
export interface Place {
  database: string;
  store: string;
  key: string;
  /** What lies beside it in clear, and must not change either. */
  clear?: readonly unknown[];
}

/** What of the records of a store is not sealed. */
export interface Clear {
  /** Fields that keys and indexes are made of. */
  fields: readonly string[];
  /** Those of them, and of `blind`, that must stay what they were when the record was sealed. */
  bound: readonly string[];
  /** Fields of ours that follow from the others, for an index. */
  derived?: (fields: Stored) => Stored;
  /** All that is in clear where names are blind: in place of a name, or in a field of ours, what stands for it. */
  blind?: (fields: Stored, blind: (name: string) => string) => Stored;
}

/** The field of a record that holds what is sealed. */
const SEALED = '_sealed';
/** The field of a record whose names are blind. */
const BLIND = '_blind';

/** A store whose records are kept in a form. */
export interface SealedStore {
  idb: Idb;
  /** The field that is the primary key. */
  primary: string;
  form: RecordForm;
  /** The key that a record is sealed under. */
  keyOf: (stored: Stored) => string;
}

/** The sealed part of whatever was stored, if it has one. */
export function sealedPart(stored: unknown): unknown {
  return typeof stored === 'object' && stored !== null ? (stored as Stored)[SEALED] : undefined;
}

/** How the records of one store are kept. */
export class RecordForm {
  readonly database: string;
  readonly store: string;
  readonly #clear: Clear;
  readonly #sealing: Sealing | undefined;

  constructor(database: string, store: string, clear: Clear, sealing: Sealing | undefined) {
    this.database = database;
    this.store = store;
    this.#clear = clear;
    this.#sealing = sealing;
  }

  /** What is stored of a record whose fields with a leading `_` are ours. `key` tells records apart. */
  toStored(fields: Stored, key: string): Stored {
    const all = { ...fields, ...this.#clear.derived?.(fields) };
    if (this.#sealing === undefined) return all;
    const clear = this.#isBlind() ? { ...this.#clear.blind!(fields, (name) => this.blind(name)), [BLIND]: true } : this.#clearOf(all);
    const sealed: Stored = {};
    for (const [name, value] of Object.entries(fields)) if (!name.startsWith('_') && clear[name] !== value) sealed[name] = value;
    return { ...clear, [SEALED]: this.#sealing.seal(this.#place(clear, key), sealed) };
  }

  /** What the caller gets. */
  fromStored<T>(stored: Stored, key: string): T {
    const fields: Stored = {};
    for (const name of Object.keys(stored)) if (!name.startsWith('_')) fields[name] = stored[name];
    const sealed = this.#sealedBytes(stored, key);
    if (sealed === undefined) return fields as T;
    return { ...fields, ...this.#opener(key).open(this.#place(stored, key), sealed) as Stored } as T;
  }

  /** A record as it would be stored today; undefined if it is that already. */
  renewed(stored: Stored, key: string): Stored | undefined {
    const sealed = this.#sealedBytes(stored, key);
    if (sealed !== undefined && (stored[BLIND] === true) === this.#isBlind()) {
      const bytes = this.#opener(key).reseal(this.#place(stored, key), sealed);
      return bytes && { ...stored, [SEALED]: bytes };
    }
    return this.toStored(this.fromStored<Stored>(stored, key), key);
  }

  /** The ways in which a name may be stored: as it is, and blind where there is a key. */
  spellings(name: string): string[] {
    return this.#sealing === undefined ? [name] : [name, this.blind(name)];
  }

  blind(name: string): string {
    return this.#opener(name).blind(this.database, this.store, name);
  }

  #isBlind(): boolean {
    return this.#clear.blind !== undefined && this.#sealing?.blindTags === true;
  }

  #clearOf(fields: Stored): Stored {
    return Object.fromEntries(this.#clear.fields.filter((name) => name in fields).map((name) => [name, fields[name]]));
  }

  #sealedBytes(stored: Stored, key: string): Uint8Array | undefined {
    const sealed = stored[SEALED];
    if (sealed === undefined || sealed instanceof Uint8Array) return sealed;
    throw failure('Corrupt', `${this.#told(key)} has a sealed part that is no bytes`);
  }

  #opener(key: string): Sealing {
    if (this.#sealing === undefined) throw failure('Permission', `${this.#told(key)} is encrypted, and no key was given`);
    return this.#sealing;
  }

  #place(stored: Stored, key: string): Place {
    return { database: this.database, store: this.store, key, clear: this.#clear.bound.map((name) => stored[name]) };
  }

  #told(key: string): string {
    return `record ${JSON.stringify(key)} of store ${this.store} of "${this.database}"`;
  }
}

/** The fields of a caller's record. Those with a leading `_` are ours. */
export function ownFields(doing: string, fields: Readonly<Stored>): Stored {
  const reserved = Object.keys(fields).find((name) => name.startsWith('_'));
  if (reserved !== undefined) throw failure('Invalid', `${doing}: field ${reserved} begins with "_", which is reserved`);
  return { ...fields };
}
