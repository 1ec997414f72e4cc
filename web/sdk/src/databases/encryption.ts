/**
 * Encryption of the databases: whose keys they are sealed by, and how these change.
 *
 * The keyfile lies in the catalog. Every context that has the databases open holds a Web Lock of the data key that it seals
 * with, shared with the others: who has waited for such a lock alone knows that nobody seals with that key any more. A
 * context hears of new keys over a BroadcastChannel, or finds a record under a key that it does not have.
 *
 * Invariants:
 * - The keyfile is flushed before anything is sealed by it, and changed only from what it was when it was read.
 * - A context seals with a key only while it holds that key's lock, and it looked at the keyfile after it had got it. It
 *   lets go of an older one when all that it sealed with that is written.
 * - A wrong secret changes nothing.
 *
 * Not protected: times, salience, ids, names and tags that are not blind, the number and the size of records; that a record
 * was deleted, or is back to what it once was. Records that were there before stay as they are until they are written, or
 * `rotate()` comes by.
 */
import { failure, StatikError } from '../errors.js';
import { toHex } from '../hex.js';
import type { Idb } from '../idb/types.js';
import { hold, type Release } from '../locks.js';
import type { Records } from '../records-wasm.js';
import type { Catalog } from './catalog.js';
import { Fence, FencedDatabase } from './fence.js';
import * as field from './fields.js';
import { addDataKey, changeSecret, createKeyfile, dropDataKey, unlock, type Keyfile, type Secret } from './keys.js';
import type { SealedStore } from './record-form.js';
import { rotate, type Position } from './rotation.js';
import { StoredRecords, type Cursor } from './reseal.js';
import { KeyringSealing } from './sealing.js';
import type { EncryptionOptions, EncryptionSecret, EncryptionStatus, RotateOptions, RotationReport, SealedAdapter } from './types.js';

/** How long other contexts may take to let go of an older key, in milliseconds. */
const SETTLING_MS = 60_000;

/** What contexts tell each other. */
const CHANGED = 'changed';

export class Encryption {
  readonly #keys: Keys | undefined;
  #stores: readonly SealedStore[] = [];

  private constructor(keys: Keys | undefined) {
    this.#keys = keys;
  }

  /** `Permission` if the secret is wrong. @internal */
  static async open(records: Records, catalog: Catalog, suffix: string, { encryption, blindTags = false }: EncryptionOptions): Promise<Encryption> {
    if (encryption === undefined) {
      if (blindTags) throw field.wrong('initializeDatabases', 'blindTags', blindTags, 'left out where there is no encryption');
      return new Encryption(undefined);
    }
    const secret = secretOf('initializeDatabases', 'encryption', encryption);
    if (typeof blindTags !== 'boolean') throw field.wrong('initializeDatabases', 'blindTags', blindTags, 'true or false');
    return new Encryption(await Keys.open(records, catalog, suffix, secret, blindTags));
  }

  /** Undefined where encryption is off. @internal */
  get sealing(): KeyringSealing | undefined {
    return this.#keys?.sealing;
  }

  /** A database whose records are sealed. @internal */
  fenced(idb: Idb): Idb {
    return this.#keys === undefined ? idb : new FencedDatabase(idb, this.#keys.fence);
  }

  /** Work on sealed values: a second time if it lacked a key that is here now. @internal */
  async retried<T>(work: () => Promise<T>): Promise<T> {
    return this.#enabled('sealing').fence.retried(work);
  }

  /** From now on keys are dropped only where what is sealed under this name was sealed anew. @internal */
  async enlist(name: string): Promise<void> {
    return this.#enabled('sealing').enlist(name);
  }

  /** What rotation goes over. @internal */
  attach(stores: readonly SealedStore[]): void {
    this.#stores = stores;
  }

  async status(): Promise<EncryptionStatus> {
    if (this.#keys === undefined) return { enabled: false };
    const { keys, current } = await this.#keys.stored();
    return {
      enabled: true, keyIds: keys.map(({ id }) => hex(id)), current: hex(current),
      rotating: keys.length > 1 || await this.#keys.loadPosition() !== undefined, blindTags: this.#keys.sealing.blindTags,
    };
  }

  /**
   * The same keys under another secret, for all contexts. Those that are open go on; until they are opened anew, they cannot
   * follow a rotation, and seal nothing after one. Who has a copy of the keyfile from before opens it with the old secret: if
   * that has become known, rotate.
   * @throws `Permission` if `old` is not the secret.
   */
  async changeSecret(old: EncryptionSecret, next: EncryptionSecret): Promise<void> {
    const [was, will] = [secretOf('changeSecret', 'old', old), secretOf('changeSecret', 'next', next)];
    const keys = this.#enabled('changeSecret');
    await keys.change((file) => changeSecret(file, was, will));
    keys.secret = will;
    keys.announce();
  }

  /**
   * Makes a new data key, seals all records by it, those too that were not sealed before, and drops the older keys. If an
   * earlier rotation was stopped, by the signal, a reload or a crash, it goes on with that instead. Reads and writes go on
   * meanwhile, in all tabs.
   * @throws `Busy` if another tab is rotating, or does not let go of an older key; `Corrupt` if there are records that cannot
   * be opened, and `Conflict` if there are sealed adapters that are not among `adapters`, or have operations in their log
   * under older keys: the older keys are kept then, and the next call goes on. The signal's reason.
   */
  async rotate({ signal, onProgress, adapters = [] }: RotateOptions = {}): Promise<RotationReport> {
    const keys = this.#enabled('rotate');
    signal?.throwIfAborted();
    const release = await keys.holdRotation();
    try {
      const target = await keys.begin();
      const records = new StoredRecords(this.#stores, keys, () => keys.resealAdapters(adapters, signal), signal);
      await rotate(records, target, (record) => records.renew(record), {
        ...(signal && { signal }),
        ...(onProgress && { onProgress: ({ pass, resealed, unreadable }: Position<Cursor>) => onProgress({ pass, resealed, unreadable }) }),
      });
      return { current: hex(target), resealed: records.resealed, leftPlain: records.leftPlain };
    } finally {
      release();
    }
  }

  /** @internal */
  async close(): Promise<void> {
    await this.#keys?.close();
  }

  #enabled(doing: string): Keys {
    if (this.#keys === undefined) throw failure('Unsupported', `${doing}: encryption is off, since initializeDatabases was given no secret`);
    return this.#keys;
  }
}

/** The keys of one context. */
export class Keys {
  readonly sealing: KeyringSealing;
  readonly fence: Fence;
  secret: Secret;
  readonly #catalog: Catalog;
  readonly #suffix: string;
  readonly #channel: BroadcastChannel;
  /** Of the lock of the key that seals. */
  #release: Release = () => {};
  #refreshing: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  private constructor(records: Records, catalog: Catalog, suffix: string, secret: Secret, blindTags: boolean) {
    this.secret = secret;
    this.#catalog = catalog;
    this.#suffix = suffix;
    this.sealing = new KeyringSealing(records, suffix, blindTags);
    this.fence = new Fence((sealed) => this.sealing.knows(sealed), () => this.refresh());
    this.#channel = new BroadcastChannel(`statik:encryption${suffix}`);
    // Under Node it would keep the process alive.
    (this.#channel as { unref?: () => void }).unref?.();
    this.#channel.onmessage = ({ data }) => {
      // What fails stops this context's sealing, or shows with the next call that needs the catalog.
      if (data === CHANGED && !this.#isClosed) void this.refresh().catch(() => undefined);
    };
  }

  static async open(records: Records, catalog: Catalog, suffix: string, secret: Secret, blindTags: boolean): Promise<Keys> {
    const name = keyfileSetting(suffix);
    if (await catalog.setting(name) === undefined) await catalog.settle(name, await createKeyfile(secret));
    const keys = new Keys(records, catalog, suffix, secret, blindTags);
    try {
      await keys.#follow();
    } catch (error) {
      await keys.close();
      throw error;
    }
    return keys;
  }

  /** The keyfile. Only `unlock` knows whether it is one. */
  async stored(): Promise<Keyfile> {
    const file = await this.#catalog.setting<Keyfile>(keyfileSetting(this.#suffix));
    if (file === undefined) throw failure('NotFound', `the keyfile of the databases${this.#suffix && ` ${this.#suffix}`} is gone from the catalog`);
    return file;
  }

  /** Changes the keyfile from what it is. */
  async change(make: (file: Keyfile) => Promise<Keyfile>): Promise<Keyfile> {
    for (;;) {
      const file = await this.stored();
      const next = await make(file);
      if (next === file || await this.#catalog.exchange<Keyfile>(keyfileSetting(this.#suffix), (found) => isSame(found, file), next)) return next;
    }
  }

  /** Lets the other contexts know that the keyfile has changed. */
  announce(): void {
    this.#channel.postMessage(CHANGED);
  }

  /** Follows the keyfile, and tells whether there are other keys than before. */
  async refresh(): Promise<boolean> {
    const follow = () => this.#follow().catch((error: unknown) => this.#stop(StatikError.from(error)));
    const refreshed = this.#refreshing.then(follow, follow);
    this.#refreshing = refreshed;
    return refreshed;
  }

  /** A data key under which all shall be: the one of a rotation that was stopped, or a new one. */
  async begin(): Promise<number> {
    const { current } = await this.change(async (file) =>
      file.keys.length > 1 || await this.loadPosition() !== undefined ? file : addDataKey(file, this.secret));
    await this.refresh();
    if (this.sealing.current !== current) throw stopped();
    this.announce();
    return current;
  }

  async loadPosition(): Promise<Position<Cursor> | undefined> {
    return this.#catalog.setting(`rotation${this.#suffix}`);
  }

  async savePosition(position: Position<Cursor> | undefined): Promise<void> {
    await this.#catalog.set(`rotation${this.#suffix}`, position);
  }

  /** Waits until no context seals with an older key. */
  async settle(signal: AbortSignal | undefined): Promise<void> {
    this.announce();
    const { keys, current } = await this.stored();
    for (const { id } of keys) if (id !== current) (await this.#alone(id, signal))();
  }

  async enlist(name: string): Promise<void> {
    const at = `sealed${this.#suffix}`;
    for (;;) {
      const names = await this.#catalog.setting<string[]>(at) ?? [];
      if (names.includes(name)) return;
      if (await this.#catalog.exchange<string[]>(at, (found = []) => found.join('\0') === names.join('\0'), [...names, name])) return;
    }
  }

  /** Seals the values of all adapters that were ever enlisted by the current key. */
  async resealAdapters(adapters: readonly SealedAdapter[], signal: AbortSignal | undefined): Promise<void> {
    for (const name of await this.#catalog.setting<string[]>(`sealed${this.#suffix}`) ?? []) {
      const adapter = adapters.find((each) => each.name === name);
      if (adapter === undefined) throw failure('Conflict', `rotate: "${name}" is sealed with these keys too, and its adapter was not given, or is closed; the older keys are kept`);
      const left = await adapter.reseal(signal);
      if (left > 0) throw failure('Conflict', `rotate: ${left} operations in the log of "${name}" are under older keys, which are kept until the log is pruned`);
    }
  }

  async dropOlderKeys(): Promise<void> {
    await this.change(async (file) => {
      let next = file;
      for (const { id } of file.keys) if (id !== file.current) next = await dropDataKey(next, id);
      return next;
    });
    await this.refresh();
    this.announce();
  }

  async holdRotation(): Promise<Release> {
    try {
      return await hold(`statik:rotation${this.#suffix}`, { ifAvailable: true });
    } catch (error) {
      if (error instanceof DOMException && error.name === 'TimeoutError') throw failure('Busy', 'rotate: another tab is rotating the keys');
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#channel.close();
    await this.#refreshing.catch(() => undefined);
    await this.fence.drained();
    this.sealing.end();
    this.#release();
  }

  /** Takes over the keyfile's keys, if there are others than those that are here. */
  async #follow(): Promise<boolean> {
    for (;;) {
      const file = await this.stored();
      if (this.#isFollowed(file)) return false;
      const unlocked = await unlock(file, this.secret);
      const release = await hold(this.#lock(file.current), { mode: 'shared' });
      // A rotation that did not see this lock has made another key current before.
      if (!isSame(await this.stored(), file)) {
        release();
        continue;
      }
      this.sealing.use(unlocked);
      const before = this.#release;
      this.#release = release;
      await this.fence.drained();
      before();
      return true;
    }
  }

  #isFollowed({ keys, current }: Keyfile): boolean {
    // Keys that were dropped do no harm.
    return this.sealing.isReady && this.sealing.current === current && keys.every(({ id }) => this.sealing.has(id));
  }

  /** Where the secret is another one now, the key that is to seal cannot be had. What can be opened still is. */
  async #stop(error: StatikError): Promise<boolean> {
    if (error.code !== 'Permission') throw error;
    this.sealing.stop(stopped());
    await this.fence.drained();
    this.#release();
    this.#release = () => {};
    return false;
  }

  async #alone(id: number, signal: AbortSignal | undefined): Promise<Release> {
    const waiting = new AbortController();
    const stop = () => waiting.abort(signal!.reason);
    const timer = setTimeout(() => waiting.abort(failure('Busy', `rotate: another tab still seals with data key ${hex(id)}; waited ${SETTLING_MS} ms`)), SETTLING_MS);
    signal?.addEventListener('abort', stop);
    try {
      return await hold(this.#lock(id), { mode: 'exclusive', signal: waiting.signal });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    }
  }

  #lock(id: number): string {
    return `statik:sealing${this.#suffix}:${hex(id)}`;
  }
}

/** Where the catalog has the keyfile of an app's databases. */
export function keyfileSetting(suffix: string): string {
  return `keyfile${suffix}`;
}

function secretOf(doing: string, name: string, given: EncryptionSecret): Secret {
  if (typeof given !== 'object' || given === null || ('passphrase' in given) === ('key' in given)) {
    throw field.wrong(doing, name, given, 'an object with a passphrase or a key');
  }
  if ('passphrase' in given) return field.text(doing, `${name}.passphrase`, given.passphrase);
  if (!(given.key instanceof CryptoKey)) throw field.wrong(doing, `${name}.key`, given.key, 'a CryptoKey');
  return given.key;
}

function stopped(): StatikError {
  return failure('Permission', 'the secret was changed, and the keys were rotated, since the databases were opened here: open them anew with the new secret');
}

/** Keyfiles that say the same have one digest. */
function isSame(a: Keyfile | undefined, b: Keyfile | undefined): boolean {
  const [digestA, digestB] = [a?.digest, b?.digest];
  return digestA === digestB || (digestA instanceof Uint8Array && digestB instanceof Uint8Array && toHex(digestA) === toHex(digestB));
}

/** A data key's id, as errors tell it. */
function hex(id: number): string {
  return id.toString(16).padStart(8, '0');
}
