/** The shapes of what an origin may store, and of making room. No code lives here. */
import type { StatikError } from '../errors.js';
import type { LogRetention } from '../databases/types.js';
import type { StorageQuotaExceeded } from './exceeded.js';

/**
 * What the browser tells of the whole origin. Its numbers are estimates; what it does not tell is missing. Chrome's quota
 * is not the one that it holds to: 10 GiB more than is used, whatever the disk has. A `budgetBytes` gives it a meaning.
 */
export interface QuotaEstimate {
  usageBytes?: number;
  quotaBytes?: number;
  /** Usage by quota. Missing without both, or where nothing at all may be stored. */
  share?: number;
}

/**
 * Whether the browser keeps its hands off what is stored when disk space runs low. `unanswered`: nobody has answered its
 * prompt within the deadline. `unsupported`: it cannot be asked here, as in workers.
 */
export type Persistence = 'granted' | 'denied' | 'unanswered' | 'unsupported';

/** What a pruner has freed. */
export interface Pruned {
  records: number;
  /** Where the pruner can tell. */
  bytes?: number;
}

/** By the name of the pruner. Those that found nothing to free are in it with 0 records, those that did not run or failed are not. */
export type Freed = Record<string, Pruned>;

/** In this order: what peers have already, then what has expired. */
export type PruneStage = 'synced' | 'expired';

/** Frees what the app can do without. */
export interface Pruner {
  /** Tells it from others. */
  readonly name: string;
  readonly stage: PruneStage;
  /** Frees all that may go. The signal aborts when it has taken too long, or nobody waits for it any more. */
  prune(signal?: AbortSignal): Promise<Pruned>;
}

export type QuotaEvent =
  /** Usage has come to be above this share of the quota. Told again only after it was below. */
  | { type: 'threshold'; threshold: number; usageBytes: number; quotaBytes: number; share: number }
  /** The answer to `persist`, after its deadline. */
  | { type: 'persistence'; persistence: 'granted' | 'denied'; reason?: string }
  /** A pruner has freed something. */
  | { type: 'pruned'; pruner: string; records: number; bytes?: number }
  /** A pruner failed. The others run, and then this one again, if it has failed with `Quota`. */
  | { type: 'prunerFailed'; pruner: string; error: StatikError }
  /** The browser did not tell an estimate that nobody waited for. */
  | { type: 'estimateFailed'; error: StatikError }
  /** No pruner could run: somebody else who does not end is at it. What needed the room was tried all the same. */
  | { type: 'pruningFailed'; error: StatikError }
  /** There is no room, and this is thrown at who asked for it. */
  | { type: 'quotaExceeded'; error: StorageQuotaExceeded };

export interface QuotaSettings {
  /** Shares of the quota that are told when usage rises above them. Default 0.6, 0.8 and 0.95. */
  thresholds?: readonly number[];
  /** Above this share of the quota, what can be pruned is. Default 0.8. */
  limitShare?: number;
  /** What the app allows itself: the quota, if the browser tells none or a larger one. Default: none. */
  budgetBytes?: number;
  /** How often usage is checked while the page is visible, in milliseconds; 0: not by time. Default 60000. */
  checkMs?: number;
  /** It is also checked when so many bytes were told to `wrote`. Default 8 MiB. */
  checkBytes?: number;
}

/** What the databases take. */
export interface DatabasesQuota extends QuotaSettings {
  /** The logs that may go when there is no room. Default: none. */
  retention?: LogRetention;
}

/** Of a `StorageManager`, what is used. */
export interface StorageSource {
  estimate?(): Promise<StorageEstimate>;
  persist?(): Promise<boolean>;
  persisted?(): Promise<boolean>;
}

export interface Timer {
  cancel(): void;
  /** The timer alone keeps no process alive. */
  unref(): void;
}

export interface Clock {
  nowMs(): number;
  after(ms: number, job: () => void): Timer;
}
