/**
 * Records as they lie in a store. Fields that keys and indexes are made of stay in clear; with encryption, the rest is
 * sealed under the record's store and key, so that it can be read nowhere else.
 */
import { failure } from '../errors.js';

export type Stored = Record<string, unknown>;

/** Seals and opens values. `place` is bound to what is sealed. */
export interface Sealing {
  seal(place: Place, value: unknown): Uint8Array<ArrayBuffer>;
  /** `Corrupt` for what was changed, or moved here from another place; `Permission` for what another key has sealed. */
  open(place: Place, sealed: Uint8Array): unknown;
}

export interface Place {
  database: string;
  store: string;
  key: string;
}

/** The field of a record that holds what is sealed. */
const SEALED = '_sealed';

/** How the records of one store are kept. */
export class RecordForm {
  readonly #database: string;
  readonly #store: string;
  readonly #clear: readonly string[];
  readonly #sealing: Sealing | undefined;

  /** `clear` are the fields that keys and indexes are made of, `hidden` of them are ours, and not the caller's to see. */
  constructor(database: string, store: string, clear: readonly string[], sealing: Sealing | undefined) {
    this.#database = database;
    this.#store = store;
    this.#clear = clear;
    this.#sealing = sealing;
  }

  /** What is stored of a record whose fields with a leading `_` are ours. `key` tells records apart. */
  toStored(fields: Stored, key: string): Stored {
    if (this.#sealing === undefined) return fields;
    const clear: Stored = {};
    const sealed: Stored = {};
    for (const [name, value] of Object.entries(fields)) (this.#clear.includes(name) ? clear : sealed)[name] = value;
    return { ...clear, [SEALED]: this.#sealing.seal(this.#place(key), sealed) };
  }

  /** What the caller gets. */
  fromStored<T>(stored: Stored, key: string): T {
    const fields: Stored = {};
    for (const name of Object.keys(stored)) if (!name.startsWith('_')) fields[name] = stored[name];
    const sealed = stored[SEALED];
    if (sealed === undefined) return fields as T;
    if (!(sealed instanceof Uint8Array)) throw failure('Corrupt', `record ${key} of store ${this.#store} of "${this.#database}" has a sealed part that is no bytes`);
    if (this.#sealing === undefined) {
      throw failure('Permission', `record ${key} of store ${this.#store} of "${this.#database}" is encrypted, and no key was given`);
    }
    return { ...fields, ...this.#sealing.open(this.#place(key), sealed) as Stored } as T;
  }

  #place(key: string): Place {
    return { database: this.#database, store: this.#store, key };
  }
}

/** The fields of a caller's record. Those with a leading `_` are ours. */
export function ownFields(doing: string, fields: Readonly<Stored>): Stored {
  const reserved = Object.keys(fields).find((name) => name.startsWith('_'));
  if (reserved !== undefined) throw failure('Invalid', `${doing}: field ${reserved} begins with "_", which is reserved`);
  return { ...fields };
}
