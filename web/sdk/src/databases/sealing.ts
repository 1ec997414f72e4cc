/**
 * Sealing by the keys of a keyfile, in WebAssembly. What is sealed is the value in the package's codec, so it takes what
 * that takes: a Blob, whose bytes cannot be had at once, is `Unsupported`.
 *
 * Invariant: a record's place is bound to it as text that no other place has.
 */
import { decodeBytes, encode, encodeBytes } from '../codec.js';
import { failure, StatikError } from '../errors.js';
import type { BlindNames, Keyring } from '../records.js';
import { translated, type Records } from '../records-wasm.js';
import { toBase64 } from '../base64.js';
import type { Unlocked } from './keys.js';
import type { Place, Sealing } from './record-form.js';

/** Of the form of records: what is in clear and bound, and the codec. */
const FORM_VERSION = 1;
/** Where sealed bytes name their key. */
const ID_AT = 4;

export class KeyringSealing implements Sealing {
  readonly blindTags: boolean;
  readonly #records: Records;
  readonly #suffix: string;
  #keyring: Keyring | undefined;
  #names: BlindNames | undefined;
  #ids: ReadonlySet<number> = new Set();
  /** Why nothing is to be sealed any more. */
  #stopped: StatikError | undefined;

  /** `suffix` is what the names of the app's databases end in: it is not bound, so that a backup can be restored under another. */
  constructor(records: Records, suffix: string, blindTags: boolean) {
    this.#records = records;
    this.#suffix = suffix;
    this.blindTags = blindTags;
  }

  /** Seals and opens by these keys from now on. They are overwritten. */
  use({ keys, current, names }: Unlocked): void {
    const older = [...keys].filter(([id]) => id !== current).map(([, key]) => key);
    const keyring = new this.#records.Keyring(keys.get(current)!, older);
    this.#names ??= new this.#records.BlindNames(names);
    this.#keyring?.free();
    this.#keyring = keyring;
    this.#ids = new Set(keys.keys());
    for (const key of [...keys.values(), names]) key.fill(0);
  }

  /** Opens still, but seals nothing any more. */
  stop(reason: StatikError): void {
    this.#stopped = reason;
  }

  /** Forgets the keys. */
  end(): void {
    this.#keyring?.free();
    this.#names?.free();
    this.#keyring = this.#names = undefined;
    this.#ids = new Set();
  }

  get isReady(): boolean {
    return this.#keyring !== undefined;
  }

  /** The id of the key that seals. */
  get current(): number {
    return this.#keys().current;
  }

  /** Whether the key that these bytes name is here. */
  knows(sealed: Uint8Array): boolean {
    const id = sealed.length < ID_AT + 4 ? undefined : new DataView(sealed.buffer, sealed.byteOffset).getUint32(ID_AT, true);
    // What names no key is for `open` to refuse.
    return id === undefined || this.#ids.has(id);
  }

  has(id: number): boolean {
    return this.#ids.has(id);
  }

  seal(place: Place, value: unknown): Uint8Array<ArrayBuffer> {
    if (this.#stopped !== undefined) throw new StatikError(this.#stopped.toJSON(), { cause: this.#stopped });
    return this.#told(place, () => this.#keys().seal(this.#storeOf(place), keyOf(place), FORM_VERSION, encodeBytes(value)));
  }

  open(place: Place, sealed: Uint8Array): unknown {
    return this.#told(place, () => decodeBytes(this.#keys().open(this.#storeOf(place), keyOf(place), FORM_VERSION, sealed)));
  }

  reseal(place: Place, sealed: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
    return this.#told(place, () => this.#keys().reseal(this.#storeOf(place), keyOf(place), FORM_VERSION, sealed));
  }

  blind(database: string, store: string, name: string): string {
    if (this.#names === undefined) throw closed();
    // As JSON, since UTF-8 has no lone surrogates.
    return toBase64(this.#names.blind(this.#storeOf({ database, store }), JSON.stringify(name)));
  }

  #storeOf({ database, store }: Pick<Place, 'database' | 'store'>): string {
    const name = this.#suffix !== '' && database.endsWith(this.#suffix) ? database.slice(0, -this.#suffix.length) : database;
    return JSON.stringify([name, store]);
  }

  #keys(): Keyring {
    if (this.#keyring === undefined) throw closed();
    return this.#keyring;
  }

  #told<T>({ database, store, key }: Place, work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      const error = StatikError.from(translated(thrown));
      throw new StatikError({ code: error.code, message: `record ${JSON.stringify(key)} of store ${store} of "${database}": ${error.message}` }, { cause: error });
    }
  }
}

function closed(): StatikError {
  return failure('Closed', 'the databases are closed, and their keys forgotten');
}

function keyOf({ key, clear = [] }: Place): string {
  return encode([key, ...clear]);
}
