/**
 * What every key-value adapter promises. tests/kv/contract.mjs holds each implementation to it: IndexedDB, SQLite on OPFS,
 * and SQLite on a file under Node.
 *
 * All methods fail with `StatikError`: `Closed` before `initialize` and after `close`, `Invalid` (the message names the
 * field) for what is not of the shape said here, and whatever the storage says (`Quota`, `Busy`, `Corrupt` …).
 */

/** What a value is kept as, where the storage takes no structured clones. */
export interface Codec {
  /** The same text for the same value, always: it also decides between two records with one stamp. */
  encode(value: unknown): string;
  decode(text: string): unknown;
}

/** What is known of a key. */
export interface KvRecord {
  /** What structured clone takes; undefined if deleted. It is copied when it is handed over. */
  value: unknown;
  /** When and where it was written, see clock.ts. */
  hlc: string;
  /** A tombstone: the key was removed at `hlc`. */
  isDeleted?: boolean;
  /**
   * Milliseconds since 1970. From then on the record reads as missing, and `pruneExpired` may drop it. Until it is
   * dropped it still takes part in merges.
   */
  expiresMs?: number;
}

/** What `iterateKeys` tells of each key. */
export interface KeyMetadata {
  hlc: string;
  isDeleted: boolean;
}

export type OpType = 'put' | 'remove';

/** A change that peers have to get. */
export interface OpLogEntry {
  /** Its number in this log, from 1. Given by the log: an entry that is handed in has none. */
  id?: number;
  key: string;
  opType: OpType;
  /** Missing for 'remove'. */
  value?: unknown;
  hlc: string;
}

/** A replica that the op-log is kept for. */
export interface Peer {
  peer: string;
  /** It has all operations up to this number. */
  acknowledged: number;
  /** When it last registered or acknowledged, in milliseconds since 1970. */
  seenMs: number;
}

/**
 * Records by key, and a log of changes for peers.
 *
 * Keys and peers' names are strings without lone surrogates, of up to 65,536 UTF-16 units; a key may be empty, a name may
 * not. Everything that one call writes is committed together or not at all.
 */
export interface IStorageAdapter {
  /** Opens the database, creating it if there is none. `Invalid` if the adapter is open already. */
  initialize(dbName: string): Promise<void>;
  /** Lets calls that have begun finish. Closing what is closed does nothing; `initialize` opens it again. */
  close(): Promise<void>;

  /** The record, a tombstone too; undefined for what was never there, was dropped, or has expired. */
  get(key: string): Promise<KvRecord | undefined>;
  /**
   * Merges: of what is stored and `record`, the last writer's stays (see merge.ts). `Invalid` also if `record.hlc` is
   * further ahead of the time here than the clock's bound on drift.
   */
  put(key: string, record: KvRecord): Promise<void>;
  /** Writes a tombstone with a fresh stamp, above the record that is there. */
  remove(key: string): Promise<void>;
  /** As many `put`s, all or nothing. */
  batchPut(entries: ReadonlyMap<string, KvRecord>): Promise<void>;
  /**
   * Tells every key, tombstones included and expired records not, in the order of code points (of the UTF-8 bytes), which
   * is the same for every adapter. A key that was there all the time is told once; one that came or went meanwhile may be
   * missed. If `callback` throws, it ends there, with what was thrown.
   */
  iterateKeys(callback: (key: string, metadata: KeyMetadata) => void): Promise<void>;

  /** Appends to the op-log; the entry's number. Numbers rise and are never given twice, also when all was pruned. */
  appendOpLog(entry: OpLogEntry): Promise<number>;
  /** What `peer` has not acknowledged (all that is kept, without one), from the oldest, at most `limit`. `NotFound` if nobody knows the peer. */
  getPendingOps(peer?: string, limit?: number): Promise<OpLogEntry[]>;
  /**
   * Drops operations up to `lastSyncedId`, but none that a known peer has not acknowledged; how many were dropped. Without
   * known peers nothing is dropped, as nobody has said that they have it. So no caller, however stale, can make the log
   * forget what a known peer needs.
   */
  pruneOpLog(lastSyncedId: number): Promise<number>;
  /** Merges records and appends operations, all or nothing. */
  commit(puts: ReadonlyMap<string, KvRecord>, ops: readonly OpLogEntry[]): Promise<void>;
  /** Drops records, tombstones too, that have expired; how many. Operations that tell of them stay. */
  pruneExpired(): Promise<number>;

  /**
   * Makes a peer known. A new one starts where the log does: what was pruned before cannot be given to it, so if it starts
   * above 0, it has to be reconciled first. One that is known stays where it is.
   */
  registerPeer(peer: string): Promise<void>;
  /**
   * Takes note that a peer has all operations up to `id`; less than it had before changes nothing. `NotFound` if nobody
   * knows the peer, `Invalid` if the log does not go that far.
   */
  acknowledge(peer: string, id: number): Promise<void>;
  /** Makes a peer unknown, so that it holds the log no longer. `NotFound` if nobody knows it. */
  forgetPeer(peer: string): Promise<void>;
  /** All known peers, by name. */
  peers(): Promise<Peer[]>;
}
