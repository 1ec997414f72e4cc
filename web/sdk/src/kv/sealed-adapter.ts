/**
 * Any key-value adapter, with its values sealed by the keys of the databases' encryption, and its keys hidden if asked for.
 *
 * A value lies as `{ rank, sealed }`, bound to the adapter's name, its key, its stamp and its expiry. Two records with one
 * stamp are told apart by what they say in clear, as always: the one that wins is stored with a higher rank, since of the
 * sealed bytes the adapter below could only make chance. With `blindKeys` a key's HMAC stands for it; the name is sealed with
 * the value, and a tombstone, which has no value, has it in a record of its own beside it.
 *
 * In clear: stamps, expiry, which records are deleted, the names of peers, and, without `blindKeys`, keys and whether an
 * operation puts or removes. Of two writers who put one key with one stamp in the same moment, chance decides.
 */
import { encode } from '../codec.js';
import type { Encryption } from '../databases/encryption.js';
import type { Place, Sealing } from '../databases/record-form.js';
import { failure } from '../errors.js';
import { checkedKey, checkedOps, checkedPuts, type HeldOp, type HeldRecord } from './checks.js';
import type { Clock } from './clock.js';
import { compareRecords, compareText } from './merge.js';
import type { IStorageAdapter, KeyMetadata, KvRecord, OpLogEntry, Peer } from './types.js';

export interface SealedAdapterOptions {
  /** Hides keys as well. `iterateKeys` then holds all of them in memory, since they have no order. Default false. */
  blindKeys?: boolean;
  /** By which its values are bound to this database: it must stay, where the `dbName` may not. Default: the `dbName`. */
  name?: string;
}

/** The adapters of this package. */
export type ClockedAdapter = IStorageAdapter & { readonly clock: Clock };

interface SealedValue {
  rank: string;
  sealed: Uint8Array;
}

/** Of names that lie beside tombstones. */
const NEVER = '000000000000-0000-0000000000000000';
/** What a first value has. */
const FIRST = rankOf(0);

/**
 * ```ts
 * const adapter = new SealedStorageAdapter(new IdbStorageAdapter({ databases }), databases.encryption, { blindKeys: true });
 * ```
 * A rotation has to be told of it: `databases.encryption.rotate({ adapters: [adapter] })`.
 */
export class SealedStorageAdapter implements IStorageAdapter {
  readonly #adapter: ClockedAdapter;
  readonly #encryption: Encryption;
  readonly #sealing: Sealing;
  readonly #options: SealedAdapterOptions;
  /** As long as it is open. */
  #name: string | undefined;
  #isClosing = false;
  /** Calls that have begun. */
  readonly #running = new Set<Promise<unknown>>();

  /** `Permission` if the databases were opened without encryption. */
  constructor(adapter: ClockedAdapter, encryption: Encryption, options: SealedAdapterOptions = {}) {
    const { sealing } = encryption;
    if (sealing === undefined) throw failure('Permission', 'making a sealed adapter: the databases were opened without encryption, so there is no key');
    this.#adapter = adapter;
    this.#encryption = encryption;
    this.#sealing = sealing;
    this.#options = options;
  }

  /** Of the adapter below: stamps are in clear. */
  get clock(): Clock {
    return this.#adapter.clock;
  }

  /** By which a rotation knows it; undefined while it is closed. */
  get name(): string | undefined {
    return this.#name;
  }

  async initialize(dbName: string): Promise<void> {
    await this.#adapter.initialize(dbName);
    const name = this.#options.name ?? dbName;
    try {
      // Before anything is sealed: from now on no rotation drops keys without it.
      await this.#encryption.enlist(name);
    } catch (error) {
      await this.#adapter.close();
      throw error;
    }
    this.#name = name;
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.allSettled(this.#running);
    await this.#adapter.close();
    this.#name = undefined;
    this.#isClosing = false;
  }

  async get(key: string): Promise<KvRecord | undefined> {
    const physical = this.#physical(key, 'get');
    return this.#run(async () => this.#opened(physical, await this.#adapter.get(physical)));
  }

  async put(key: string, record: KvRecord): Promise<void> {
    await this.#commit('put', new Map([[key, record]]), []);
  }

  async remove(key: string): Promise<void> {
    const physical = this.#physical(key, 'remove');
    await this.#run(async () => {
      if (this.#options.blindKeys) await this.#adapter.put(`n${physical}`, this.#nameRecord(physical, key));
      await this.#adapter.remove(physical);
    });
  }

  async batchPut(entries: ReadonlyMap<string, KvRecord>): Promise<void> {
    await this.#commit('batchPut', entries, []);
  }

  async iterateKeys(callback: (key: string, metadata: KeyMetadata) => void): Promise<void> {
    if (!this.#options.blindKeys || typeof callback !== 'function') return this.#adapter.iterateKeys(callback);
    this.#open('iterateKeys');
    const told = await this.#run(() => this.#names());
    for (const [key, metadata] of told) callback(key, metadata);
  }

  async appendOpLog(entry: OpLogEntry): Promise<number> {
    this.#open('appendOpLog');
    const [op] = checkedOps([entry], 'appendOpLog', structuredClone);
    return this.#run(() => this.#adapter.appendOpLog(this.#sealedOp(op!)));
  }

  async getPendingOps(peer?: string, limit?: number): Promise<OpLogEntry[]> {
    this.#open('getPendingOps');
    return this.#run(async () => (await this.#adapter.getPendingOps(peer, limit)).map((op) => this.#openedOp(op)));
  }

  async pruneOpLog(lastSyncedId: number): Promise<number> {
    return this.#adapter.pruneOpLog(lastSyncedId);
  }

  async commit(puts: ReadonlyMap<string, KvRecord>, ops: readonly OpLogEntry[]): Promise<void> {
    await this.#commit('commit', puts, ops);
  }

  async pruneExpired(): Promise<number> {
    return this.#adapter.pruneExpired();
  }

  async registerPeer(peer: string): Promise<void> {
    return this.#adapter.registerPeer(peer);
  }

  async acknowledge(peer: string, id: number): Promise<void> {
    return this.#adapter.acknowledge(peer, id);
  }

  async forgetPeer(peer: string): Promise<void> {
    return this.#adapter.forgetPeer(peer);
  }

  async peers(): Promise<Peer[]> {
    return this.#adapter.peers();
  }

  /** Seals all values by the current key. Operations stay as they were written: answers how many are under an older key. @internal */
  async reseal(signal?: AbortSignal): Promise<number> {
    const keys: string[] = [];
    await this.#adapter.iterateKeys((key) => keys.push(key));
    for (const key of keys) {
      signal?.throwIfAborted();
      const record = await this.#adapter.get(key);
      if (record === undefined || record.isDeleted) continue;
      const { rank, sealed } = checkedValue(record.value, key);
      const renewed = this.#sealing.reseal(this.#place('data', key, record), sealed);
      if (renewed !== undefined) await this.#adapter.put(key, { ...record, value: { rank: above(rank), sealed: renewed } });
    }
    const ops = await this.#adapter.getPendingOps();
    return ops.filter(({ key, hlc, value }) => value !== undefined
      && this.#sealing.reseal(this.#place('ops', key, { hlc }), checkedValue(value, key).sealed) !== undefined).length;
  }

  async #commit(doing: string, puts: unknown, ops: unknown): Promise<void> {
    this.#open(doing);
    const records = checkedPuts(puts, doing, structuredClone);
    const entries = checkedOps(ops, doing, structuredClone);
    await this.#run(async () => {
      const sealed = new Map<string, KvRecord>();
      for (const [key, record] of records) await this.#sealInto(sealed, key, record);
      await this.#adapter.commit(sealed, entries.map((op) => this.#sealedOp(op)));
    });
  }

  /** Adds what is to be stored of a record; nothing if one with the same stamp says more. */
  async #sealInto(puts: Map<string, KvRecord>, key: string, { held, hlc, isDeleted, expiresMs }: HeldRecord): Promise<void> {
    const physical = this.#stand(key);
    const record: KvRecord = { value: held, hlc, ...(isDeleted && { isDeleted }), ...(expiresMs !== undefined && { expiresMs }) };
    if (isDeleted) {
      if (this.#options.blindKeys) puts.set(`n${physical}`, this.#nameRecord(physical, key));
      puts.set(physical, record);
      return;
    }
    const there = await this.#adapter.get(physical);
    const isTied = there !== undefined && there.hlc === hlc && !there.isDeleted;
    if (isTied && compareRecords(this.#opened(physical, there)!, record, encode) >= 0) return;
    const rank = isTied ? above(checkedValue(there.value, physical).rank) : FIRST;
    puts.set(physical, { ...record, value: this.#sealed(this.#place('data', physical, record), rank, { key, value: held }) });
  }

  #sealed(place: Place, rank: string, content: unknown): SealedValue {
    return { rank, sealed: this.#sealing.seal(place, content) };
  }

  #opened(physical: string, record: KvRecord | undefined): KvRecord | undefined {
    if (record === undefined || record.isDeleted) return record;
    const { value } = this.#sealing.open(this.#place('data', physical, record), checkedValue(record.value, physical).sealed) as { value: unknown };
    return { ...record, value };
  }

  #nameRecord(physical: string, key: string): KvRecord {
    const record = { hlc: NEVER };
    return { ...record, value: this.#sealed(this.#place('data', `n${physical}`, record), FIRST, { key }) };
  }

  /** All keys by name, in the order of code points. */
  async #names(): Promise<[string, KeyMetadata][]> {
    const found: [string, KeyMetadata][] = [];
    await this.#adapter.iterateKeys((physical, metadata) => {
      if (!physical.startsWith('n')) found.push([physical, metadata]);
    });
    const named: [string, KeyMetadata][] = [];
    for (const [physical, metadata] of found) {
      const at = metadata.isDeleted ? `n${physical}` : physical;
      const record = await this.#adapter.get(at);
      // It has expired, or was deleted, just now.
      if (record === undefined || record.isDeleted) continue;
      const { key } = this.#sealing.open(this.#place('data', at, record), checkedValue(record.value, at).sealed) as { key: string };
      named.push([key, metadata]);
    }
    return named.sort(([a], [b]) => compareText(a, b));
  }

  #sealedOp({ key, opType, held, hlc }: HeldOp): OpLogEntry {
    const physical = this.#stand(key);
    // A removal has no value, and so no place for its name.
    if (opType === 'remove' && !this.#options.blindKeys) return { key: physical, opType, hlc };
    return { key: physical, opType: 'put', hlc, value: this.#sealed(this.#place('ops', physical, { hlc }), FIRST, { key, opType, value: held }) };
  }

  #openedOp(op: OpLogEntry): OpLogEntry {
    if (op.value === undefined) return op;
    const content = this.#sealing.open(this.#place('ops', op.key, op), checkedValue(op.value, op.key).sealed) as Pick<OpLogEntry, 'key' | 'opType' | 'value'>;
    const { key, opType, value } = content;
    const { value: _, ...rest } = op;
    return { ...rest, key, opType, ...(opType === 'put' && { value }) };
  }

  #physical(key: unknown, doing: string): string {
    this.#open(doing);
    return this.#stand(checkedKey(key, doing));
  }

  /** What stands for a key. */
  #stand(key: string): string {
    return this.#options.blindKeys ? `d${this.#sealing.blind(`kv:${this.#name}`, 'data', key)}` : key;
  }

  #place(store: string, key: string, { hlc, expiresMs }: { hlc: string; expiresMs?: number }): Place {
    return { database: `kv:${this.#name}`, store, key, clear: [hlc, expiresMs] };
  }

  #open(doing: string): void {
    if (this.#name === undefined || this.#isClosing) throw failure('Closed', `${doing}: the adapter is not open`);
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    const running = this.#encryption.retried(work);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }
}

function checkedValue(value: unknown, key: string): SealedValue {
  const { rank, sealed } = (typeof value === 'object' && value !== null ? value : {}) as Partial<SealedValue>;
  if (typeof rank === 'string' && /^[0-9]{10}$/.test(rank) && sealed instanceof Uint8Array) return { rank, sealed };
  throw failure('Corrupt', `the value of key ${JSON.stringify(key)} is not a sealed one`);
}

/** In such a form that text orders as numbers do. */
function rankOf(rank: number): string {
  return String(rank).padStart(10, '0');
}

function above(rank: string): string {
  return rankOf(Number(rank) + 1);
}
