/**
 * What all key-value adapters have in common: checking what comes in, the clock, the rules of the op-log. A storage brings
 * a `Unit`, what can be done inside one of its transactions, and runs programs of it.
 *
 * A program is a generator that yields what is to be asked of the storage and is given the answers. So one text serves a
 * storage that answers at once, where nothing else may run inside a transaction, and those that are asynchronous.
 *
 * Invariants: everything that a call writes, the clock included, is one transaction, and what decides about it is read
 * inside; what is handed in is copied before the first await; a call on a closed adapter fails with `Closed`.
 */
import { failure, StatikError } from '../errors.js';
import { checkedCount, checkedKey, checkedOps, checkedPeer, checkedPuts, type HeldOp, type HeldRecord } from './checks.js';
import { Clock, type ClockOptions } from './clock.js';
import type { IStorageAdapter, KeyMetadata, KvRecord, OpLogEntry, Peer } from './types.js';

/** A program: yields what a storage is asked, is given what it answers, and ends with a result. */
export type Steps<Step, Result> = Generator<Step, Result, unknown>;

/** What is kept beside records and operations: how this database is laid out, the newest stamp, how far the log was pruned. */
export type MetaName = 'format' | 'clock' | 'pruned';

/** What can be done inside a transaction of a storage. Nothing here checks or decides. */
export interface Unit<Step> {
  record(key: string): Steps<Step, KvRecord | undefined>;
  /** The stamp of a record, a tombstone's too. */
  stamp(key: string): Steps<Step, string | undefined>;
  /** For each key, the greater of what is there and what comes stays. */
  merge(records: ReadonlyMap<string, HeldRecord>): Steps<Step, void>;
  dropExpired(nowMs: number): Steps<Step, number>;
  /** The newest one's number. */
  append(ops: readonly HeldOp[]): Steps<Step, number>;
  ops(after: number, limit: number): Steps<Step, OpLogEntry[]>;
  /** The number of the newest operation that is kept, or 0. */
  newestOp(): Steps<Step, number>;
  dropOps(upTo: number): Steps<Step, number>;
  peers(): Steps<Step, Peer[]>;
  putPeer(peer: Peer): Steps<Step, void>;
  dropPeer(peer: string): Steps<Step, void>;
  meta(name: MetaName): Steps<Step, string | number | undefined>;
  /** Sets it, unless what is there is as great. */
  raise(name: MetaName, value: string | number): Steps<Step, void>;
}

/** A page of `iterateKeys`. */
export type KeyPage = (KeyMetadata & { key: string; expiresMs?: number })[];

/** The layout that this code writes. */
const FORMAT = 1;

/** An adapter over a storage whose transactions take programs of `Step`s. */
export abstract class StorageAdapter<Step> implements IStorageAdapter {
  /** Makes stamps for records: `adapter.clock.tick()`. Raised by what is read and written. */
  readonly clock: Clock;
  #state: 'closed' | 'opening' | 'open' | 'closing' = 'closed';
  #changing: Promise<void> = Promise.resolve();
  /** Calls that have begun. */
  readonly #running = new Set<Promise<unknown>>();

  constructor(options?: ClockOptions) {
    this.clock = new Clock(options);
  }

  /** Opens the storage; its tables are there afterwards. What it throws leaves nothing open. */
  protected abstract connect(dbName: string): Promise<void>;
  protected abstract disconnect(): Promise<void>;
  /** Copies a value into the form in which it is kept. */
  protected abstract hold(value: unknown): unknown;
  /** Statements that only read. */
  protected abstract read<T>(program: (unit: Unit<Step>) => Steps<Step, T>): Promise<T>;
  /** One transaction, all or nothing, that nobody else writes in between. */
  protected abstract write<T>(program: (unit: Unit<Step>) => Steps<Step, T>): Promise<T>;
  /** All keys, in the order of code points. */
  protected abstract pages(): AsyncIterable<KeyPage>;

  async initialize(dbName: string): Promise<void> {
    if (typeof dbName !== 'string' || dbName === '') throw failure('Invalid', `initialize: dbName must be a string that is not empty, and is ${JSON.stringify(dbName)}`);
    if (this.#state !== 'closed') throw failure('Invalid', `initialize ${dbName}: the adapter is ${this.#state} already`);
    this.#state = 'opening';
    const opening = this.#open(dbName);
    // For `close`, which waits for it however it ends.
    this.#changing = opening.catch(() => {});
    return opening;
  }

  async close(): Promise<void> {
    if (this.#state === 'opening') await this.#changing;
    if (this.#state === 'open') {
      this.#state = 'closing';
      this.#changing = this.#shut();
    }
    return this.#changing;
  }

  async get(key: string): Promise<KvRecord | undefined> {
    const checked = checkedKey(key, 'get');
    const record = await this.#run(() => this.read((unit) => unit.record(checked)), 'get');
    if (!record || isExpired(record, this.clock.nowMs())) return undefined;
    // What is written after it was read comes after it.
    this.clock.restore(record.hlc);
    return record;
  }

  async put(key: string, record: KvRecord): Promise<void> {
    await this.#commit('put', new Map([[key, record]]), []);
  }

  async remove(key: string): Promise<void> {
    const checked = checkedKey(key, 'remove');
    const { clock } = this;
    await this.#run(() => this.write(function* (unit) {
      const stored = yield* unit.stamp(checked);
      if (stored !== undefined) clock.restore(stored);
      yield* unit.merge(new Map([[checked, { held: undefined, hlc: clock.tick(), isDeleted: true }]]));
      yield* unit.raise('clock', clock.last);
    }), 'remove');
  }

  async batchPut(entries: ReadonlyMap<string, KvRecord>): Promise<void> {
    await this.#commit('batchPut', entries, []);
  }

  async iterateKeys(callback: (key: string, metadata: KeyMetadata) => void): Promise<void> {
    if (typeof callback !== 'function') throw failure('Invalid', `iterateKeys: callback must be a function, and is a ${typeof callback}`);
    await this.#run(async () => {
      for await (const page of this.pages()) {
        const nowMs = this.clock.nowMs();
        for (const { key, hlc, isDeleted, expiresMs } of page) {
          if (!isExpired({ expiresMs }, nowMs)) callback(key, { hlc, isDeleted });
        }
      }
    }, 'iterateKeys');
  }

  async appendOpLog(entry: OpLogEntry): Promise<number> {
    return this.#commit('appendOpLog', new Map(), [entry]);
  }

  async getPendingOps(peer?: string, limit?: number): Promise<OpLogEntry[]> {
    const name = peer === undefined ? undefined : checkedPeer(peer, 'getPendingOps');
    const most = limit === undefined ? Number.MAX_SAFE_INTEGER : checkedCount(limit, 1, 'getPendingOps', 'limit');
    return this.#run(() => this.read(function* (unit) {
      const after = name === undefined ? 0 : (yield* knownPeer(unit, name, 'getPendingOps')).acknowledged;
      return yield* unit.ops(after, most);
    }), 'getPendingOps');
  }

  async pruneOpLog(lastSyncedId: number): Promise<number> {
    const upTo = checkedCount(lastSyncedId, 0, 'pruneOpLog', 'lastSyncedId');
    return this.#run(() => this.write(function* (unit) {
      const peers = yield* unit.peers();
      const allowed = peers.length === 0 ? 0 : peers.reduce((least, { acknowledged }) => Math.min(least, acknowledged), upTo);
      if (allowed === 0) return 0;
      yield* unit.raise('pruned', allowed);
      return yield* unit.dropOps(allowed);
    }), 'pruneOpLog');
  }

  async commit(puts: ReadonlyMap<string, KvRecord>, ops: readonly OpLogEntry[]): Promise<void> {
    await this.#commit('commit', puts, ops);
  }

  async pruneExpired(): Promise<number> {
    const nowMs = this.clock.nowMs();
    return this.#run(() => this.write((unit) => unit.dropExpired(nowMs)), 'pruneExpired');
  }

  async registerPeer(peer: string): Promise<void> {
    const name = checkedPeer(peer, 'registerPeer');
    const nowMs = this.clock.nowMs();
    await this.#run(() => this.write(function* (unit) {
      const known = (yield* unit.peers()).find((each) => each.peer === name);
      const acknowledged = known?.acknowledged ?? (yield* pruned(unit));
      yield* unit.putPeer({ peer: name, acknowledged, seenMs: Math.max(known?.seenMs ?? 0, nowMs) });
    }), 'registerPeer');
  }

  async acknowledge(peer: string, id: number): Promise<void> {
    const name = checkedPeer(peer, 'acknowledge');
    const upTo = checkedCount(id, 0, 'acknowledge', 'id');
    const nowMs = this.clock.nowMs();
    await this.#run(() => this.write(function* (unit) {
      const known = yield* knownPeer(unit, name, 'acknowledge');
      const last = Math.max(yield* unit.newestOp(), yield* pruned(unit));
      if (upTo > last) throw failure('Invalid', `acknowledge: id must be at most ${last}, where the log ends, and is ${upTo}`);
      yield* unit.putPeer({ peer: name, acknowledged: Math.max(known.acknowledged, upTo), seenMs: Math.max(known.seenMs, nowMs) });
    }), 'acknowledge');
  }

  async forgetPeer(peer: string): Promise<void> {
    const name = checkedPeer(peer, 'forgetPeer');
    await this.#run(() => this.write(function* (unit) {
      yield* knownPeer(unit, name, 'forgetPeer');
      yield* unit.dropPeer(name);
    }), 'forgetPeer');
  }

  async peers(): Promise<Peer[]> {
    return this.#run(() => this.read((unit) => unit.peers()), 'peers');
  }

  /** Merges and appends; the newest operation's number, 0 without one. */
  async #commit(doing: string, puts: unknown, ops: unknown): Promise<number> {
    // A closed adapter says so before it looks at anything.
    this.#checkOpen(doing);
    const hold = (value: unknown) => this.hold(value);
    const records = checkedPuts(puts, doing, hold);
    const entries = checkedOps(ops, doing, hold);
    this.#receive([...records.values(), ...entries]);
    const { last } = this.clock;
    return this.#run(() => this.write(function* (unit) {
      yield* unit.merge(records);
      const newest = entries.length > 0 ? yield* unit.append(entries) : 0;
      yield* unit.raise('clock', last);
      return newest;
    }), doing);
  }

  /** Raises the clock above the newest stamp that came in, which all others are below. */
  #receive(stamped: readonly { hlc: string }[]): void {
    const newest = stamped.reduce((newest, { hlc }) => (hlc > newest ? hlc : newest), '');
    if (newest > this.clock.last) this.clock.receive(newest);
  }

  async #open(dbName: string): Promise<void> {
    try {
      await this.connect(dbName);
      try {
        await this.#begin(dbName);
      } catch (error) {
        await this.disconnect();
        throw error;
      }
      this.#state = 'open';
    } catch (error) {
      this.#state = 'closed';
      throw error;
    }
  }

  async #begin(dbName: string): Promise<void> {
    const [format, stored] = await this.write(function* (unit) {
      yield* unit.raise('format', FORMAT);
      return [yield* unit.meta('format'), yield* unit.meta('clock')];
    });
    if (format !== FORMAT) throw failure('Unsupported', `initialize ${dbName}: its layout must be ${FORMAT}, and is ${String(format)}, of a newer version`, dbName);
    if (stored === undefined) return;
    try {
      this.clock.restore(stored as string);
    } catch (error) {
      throw new StatikError({ code: 'Corrupt', message: `initialize ${dbName}: the stored clock is none: ${StatikError.from(error).message}`, path: dbName }, { cause: error });
    }
  }

  async #shut(): Promise<void> {
    await Promise.allSettled(this.#running);
    try {
      await this.disconnect();
    } finally {
      this.#state = 'closed';
    }
  }

  async #run<T>(work: () => Promise<T>, doing: string): Promise<T> {
    this.#checkOpen(doing);
    const running = work();
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  #checkOpen(doing: string): void {
    if (this.#state !== 'open') throw failure('Closed', `${doing}: the adapter is ${this.#state === 'opening' ? 'not open yet' : 'closed'}`);
  }
}

function isExpired({ expiresMs }: { expiresMs?: number | undefined }, nowMs: number): boolean {
  return expiresMs !== undefined && nowMs >= expiresMs;
}

function* knownPeer<Step>(unit: Unit<Step>, name: string, doing: string): Steps<Step, Peer> {
  const known = (yield* unit.peers()).find(({ peer }) => peer === name);
  if (!known) throw failure('NotFound', `${doing}: no peer ${JSON.stringify(name)} is known; it has to be registered first`);
  return known;
}

/** Up to this number operations are gone. */
function* pruned<Step>(unit: Unit<Step>): Steps<Step, number> {
  return ((yield* unit.meta('pruned')) ?? 0) as number;
}
