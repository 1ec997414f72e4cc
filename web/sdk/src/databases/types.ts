/** The shapes of the three databases. No code lives here. */
import type { Timers } from './backup-schedule.js';
import type { IdbEvent } from '../idb/types.js';
import type { DatabasesQuota, QuotaEvent } from '../quota/types.js';
import type { MigrationEntry, MigrationProgress } from '../types.js';

/** What opens the keys: a passphrase, or the app's own CryptoKey of algorithm AES-KW, which need not be extractable. */
export type EncryptionSecret = { passphrase: string } | { key: CryptoKey };

export interface EncryptionOptions {
  /**
   * Seals records. The first who opens the databases with a secret makes their keys; later it must be the same. What was
   * stored before is read as it is, and sealed when it is written again, or by `encryption.rotate()`. Values must be such
   * as JSON can carry with types: no Blobs, no CryptoKeys.
   */
  encryption?: EncryptionSecret;
  /** Also hides tags and the names of concepts and skills, which are in clear otherwise, and found as before. Default false. */
  blindTags?: boolean;
}

export type EncryptionStatus =
  | { enabled: false }
  | {
    enabled: true;
    /** Of the data keys, 8 hexadecimal digits each. */
    keyIds: string[];
    /** Of the one that seals. */
    current: string;
    /** A rotation is under way, or was stopped: `rotate()` goes on with it. */
    rotating: boolean;
    blindTags: boolean;
  };

/** A `SealedStorageAdapter` of `statik-storage/kv`, open. */
export interface SealedAdapter {
  readonly name: string | undefined;
  /** @internal */
  reseal(signal?: AbortSignal): Promise<number>;
}

export interface RotateOptions {
  /** The key-value adapters that are sealed with these keys: all of them, or the older keys are kept. */
  adapters?: readonly SealedAdapter[];
  /** Stops between two batches of records; the next `rotate()` goes on there. */
  signal?: AbortSignal;
  /** Passes count from 0: the first does the work, the others make sure. */
  onProgress?: (progress: { pass: number; resealed: number; unreadable: number }) => void;
}

export interface RotationReport {
  /** The id of the data key that all is sealed by now. */
  current: string;
  /** How many records this call has sealed. */
  resealed: number;
  /** How many stay in clear, since they were, and have values that cannot be sealed. */
  leftPlain: number;
}

export interface DatabasesOptions extends EncryptionOptions {
  /** Tells an app's databases from those of others of the origin: `statik_memory@name`. Default: none, `statik_memory`. */
  name?: string;
  /** How long one call may take, in milliseconds; then it fails with `Timeout`, or `Busy` if another tab is in the way. Default 30000. */
  deadlineMs?: number;
  /** What to do where IndexedDB cannot be used: keep all in memory, with an event `fallback` (default), or fail. */
  fallback?: 'memory' | 'error';
  /** Of each unit, and of the kernel, so many states are kept. Default 10. */
  keepStates?: number;
  /** Where `records_bg.wasm` lies, if not beside the module; or the module itself. */
  wasm?: string | URL | WebAssembly.Module;
  onEvent?: (event: IdbEvent | QuotaEvent) => void;
  /** When usage is told, when what can be pruned is, and which logs may go. */
  quota?: DatabasesQuota;
  /** Called before each step of a migration. */
  onMigration?: (progress: MigrationProgress & { database: string }) => void;
  /** In place of the browser's: for tests. */
  factory?: IDBFactory;
  /** In place of the clock that automatic backups go by: for tests. */
  timers?: Timers;
}

/** Where the databases are, and what has become of them. */
export interface DatabasesStatus {
  storage: 'indexeddb' | 'memory';
  /** Why it is memory. */
  reason?: string;
  databases: { name: string; version: number; generation: number; history: MigrationEntry[] }[];
}

export interface NewEpisode {
  /** Default: a random UUID. */
  id?: string;
  /** When it happened, in milliseconds. Default: now. */
  timestamp?: number;
  /** How much it matters, from 0 to 1. */
  salience: number;
  /** Default: none. */
  tags?: readonly string[];
  /** Whatever structured clone takes. Names with a leading `_` are reserved. */
  [field: string]: unknown;
}

export interface Episode extends NewEpisode {
  id: string;
  timestamp: number;
  tags: string[];
}

export interface EpisodeQuery {
  /** From this time on, in milliseconds. */
  from?: number;
  /** Up to this time, which counts. */
  to?: number;
  /** Episodes that have all of these. */
  tags?: readonly string[];
  /** Bounds count. */
  salience?: { min?: number; max?: number };
  /** Default `timestamp`. */
  by?: 'timestamp' | 'salience';
  /** Default `desc`: the newest, or the most salient, first. */
  order?: 'asc' | 'desc';
  /** Default 100. */
  limit?: number;
  /** Of the page before; the rest of the query must be the same. */
  cursor?: string;
}

export interface EpisodePage {
  items: Episode[];
  /** For the next page; missing at the end. */
  cursor?: string;
}

export interface NewConcept {
  /** Default: a random UUID. */
  id?: string;
  name: string;
  [field: string]: unknown;
}

export interface Concept extends NewConcept {
  id: string;
}

export type NewSkill = NewConcept;
export type Skill = Concept;

export interface RecordQuery {
  /** Records of this name. Default: all, by id. */
  name?: string;
  /** Default 100. */
  limit?: number;
  cursor?: string;
}

export interface RecordPage<T> {
  items: T[];
  cursor?: string;
}

export interface SavedState<T> {
  state: T;
  /** Milliseconds since 1970. */
  savedMs: number;
}

export type LogStore = 'deltas' | 'errors' | 'actions';

export interface NewLogEntry {
  /** Milliseconds. Default: now. */
  timestamp?: number;
  [field: string]: unknown;
}

export interface LogEntry extends NewLogEntry {
  /** Rises with every entry of its store. */
  id: number;
  timestamp: number;
}

export interface LogQuery {
  from?: number;
  to?: number;
  /** Default `desc`: the newest first. */
  order?: 'asc' | 'desc';
  /** Default 100. */
  limit?: number;
  cursor?: string;
}

export interface LogPage {
  items: LogEntry[];
  cursor?: string;
}

/** Either bound, or both. */
export interface LogRetention {
  maxAgeMs?: number;
  maxCount?: number;
  /** Default: all three. */
  stores?: readonly LogStore[];
}

/** What a database takes, by our own measure: the browser tells only the total of the origin. */
export interface DatabaseUsage {
  name: string;
  records: number;
  /** Of the values of records: text in UTF-8, numbers in 8 bytes, bytes as they are. Keys, indexes and the browser's own overhead do not count. */
  bytes: number;
  stores: Record<string, { records: number; bytes: number }>;
}

export interface StorageUsage {
  /** Of the whole origin, as the browser estimates it. */
  usageBytes?: number;
  quotaBytes?: number;
  databases: DatabaseUsage[];
}

/** What `vacuumDatabase` did. IndexedDB cannot compact: all is copied into a new database, which takes the old one's place. */
export interface VacuumReport {
  name: string;
  records: number;
  generation: number;
  /** Of the whole origin, as the browser estimates it; it may give space back later. Missing where it does not tell. */
  beforeBytes?: number;
  afterBytes?: number;
}
