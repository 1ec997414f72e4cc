/**
 * How much an origin may store, and room for more: usage is told as it rises, and when it is too high, or a write has
 * failed for it, what the app can do without is freed.
 *
 * ```ts
 * const quota = new Quota({ onEvent: console.warn });
 * quota.register(opLogPruner('op-log', adapter));
 * if (await quota.persist() !== 'granted') askThePersonToInstallTheApp();
 * await quota.ensureRoom(blob.size);
 * await quota.guard(() => adapter.batchPut(entries));
 * ```
 *
 * Invariants:
 * - Nothing is freed but by pruners that were registered, and one context of the origin runs them at a time.
 * - A pruner that fails or hangs is told, and keeps no other from running.
 * - Nothing waits for ever: not for a prompt, not for the browser, not for another tab. After `close` there are no timers.
 * - Estimates are the browser's, and may lag behind what was freed: so a write that failed is tried again, whatever they say.
 */
import * as field from '../databases/fields.js';
import { failure, StatikError } from '../errors.js';
import { hold, type Release } from '../locks.js';
import { bounded, CLOCK } from './clock.js';
import { StorageQuotaExceeded } from './exceeded.js';
import type { Clock, Freed, Persistence, Pruned, Pruner, PruneStage, QuotaEstimate, QuotaEvent, QuotaSettings, StorageSource, Timer } from './types.js';

export interface QuotaOptions extends QuotaSettings {
  onEvent?: (event: QuotaEvent) => void;
  /** Default `navigator.storage`, where there is one. */
  storage?: StorageSource;
  clock?: Clock;
  /** Default: whether the page is, and true where there is none. */
  isVisible?: () => boolean;
}

const THRESHOLDS = [0.6, 0.8, 0.95];
const LIMIT_SHARE = 0.8;
const CHECK_MS = 60_000;
/** A write that is worth a question to the browser. */
export const LARGE_BYTES = 8 * 1024 * 1024;
const CHECK_BYTES = LARGE_BYTES;
const STAGES: readonly PruneStage[] = ['synced', 'expired'];
/** Held by who prunes. */
const LOCK = 'statik:quota';
const ESTIMATE_MS = 10_000;
const PRUNER_MS = 60_000;
/** For somebody else who prunes. */
const WAIT_MS = 120_000;
/** After pruning that did not get below the limit, it is not done again for so long, unless there is no room at all. */
const REST_MS = 60_000;

export class Quota {
  readonly #storage: StorageSource | undefined;
  readonly #clock: Clock;
  readonly #isVisible: () => boolean;
  readonly #onEvent: (event: QuotaEvent) => void;
  readonly #thresholds: readonly number[];
  readonly #limitShare: number;
  readonly #budgetBytes: number;
  readonly #checkMs: number;
  readonly #checkBytes: number;
  readonly #pruners = new Map<string, Pruner>();
  readonly #closing = new AbortController();
  /** The thresholds that usage is above. */
  readonly #crossed = new Set<number>();
  #timer: Timer | undefined;
  #writtenBytes = 0;
  #restsUntilMs = -Infinity;
  /** The browser's answer that is still to come, and whether it is too late for somebody. */
  #asked: Promise<boolean> | undefined;
  #isLate = false;
  /** The pruning that all writes wait for that failed meanwhile. */
  #pruning: Promise<Freed> | undefined;

  constructor(options: QuotaOptions = {}) {
    const doing = 'Quota';
    const { thresholds = THRESHOLDS, limitShare = LIMIT_SHARE, budgetBytes, checkMs = CHECK_MS, checkBytes = CHECK_BYTES } = options;
    if (!Array.isArray(thresholds)) throw field.wrong(doing, 'thresholds', thresholds, 'an array of numbers from 0 to 1');
    this.#thresholds = [...new Set(thresholds.map((each) => field.share(doing, 'thresholds', each)))].sort((a, b) => a - b);
    this.#limitShare = field.share(doing, 'limitShare', limitShare);
    this.#budgetBytes = budgetBytes === undefined ? Infinity : field.count(doing, 'budgetBytes', budgetBytes);
    this.#checkMs = field.count(doing, 'checkMs', checkMs, 0);
    this.#checkBytes = field.count(doing, 'checkBytes', checkBytes);
    this.#storage = options.storage ?? globalThis.navigator?.storage;
    this.#clock = options.clock ?? CLOCK;
    this.#isVisible = options.isVisible ?? (() => globalThis.document?.visibilityState !== 'hidden');
    this.#onEvent = options.onEvent ?? (() => {});
  }

  /** Asks the browser how full the origin is. What it does not tell is missing. `Unsupported` or `Permission` if it refuses. */
  async estimate(): Promise<QuotaEstimate> {
    const told = await this.#ask('the estimate of usage and quota', async () => this.#storage?.estimate?.()) ?? {};
    const usageBytes = bytesOf(told.usage);
    const allowed = Math.min(bytesOf(told.quota) ?? Infinity, this.#budgetBytes);
    const quotaBytes = allowed === Infinity ? undefined : allowed;
    const isShare = usageBytes !== undefined && quotaBytes !== undefined && quotaBytes > 0;
    return {
      ...(usageBytes !== undefined && { usageBytes }),
      ...(quotaBytes !== undefined && { quotaBytes }),
      ...(isShare && { share: usageBytes / quotaBytes }),
    };
  }

  /**
   * Asks the browser not to delete what is stored when disk space runs low; some ask the person. If the answer comes after
   * the deadline, an event `persistence` tells it. Whoever calls meanwhile waits for the same answer.
   */
  async persist({ deadlineMs = 5000 }: { deadlineMs?: number } = {}): Promise<Persistence> {
    const ms = field.count('persist', 'deadlineMs', deadlineMs);
    this.#mustBeOpen();
    if (this.#storage?.persist === undefined) {
      const isPersisted = await this.#ask('whether storage persists', async () => this.#storage?.persisted?.());
      return isPersisted ? 'granted' : 'unsupported';
    }
    this.#asked ??= this.#askToPersist(this.#storage as Required<StorageSource>);
    const late = (): Persistence => {
      this.#isLate = true;
      return 'unanswered';
    };
    const answer = this.#asked.then((isGranted): Persistence => isGranted ? 'granted' : 'denied');
    try {
      return await bounded(answer, { clock: this.#clock, ms, late, signal: this.#closing.signal });
    } catch (error) {
      throw refused('the persistence of storage', error);
    }
  }

  /** Reads the estimate and tells the thresholds that usage has crossed since the last time. */
  async check(): Promise<QuotaEstimate> {
    const estimate = await this.estimate();
    this.#tellThresholds(estimate);
    return estimate;
  }

  /** Checks now and then while the page is visible, and prunes above the limit. Until `close`. */
  watch(): void {
    this.#mustBeOpen();
    if (this.#timer === undefined && this.#checkMs > 0) this.#schedule();
  }

  /** Takes note that so many bytes were written, so that usage is checked, and pruned above the limit, when it was much. */
  wrote(bytes: number): void {
    this.#writtenBytes += bytes;
    if (this.#writtenBytes < this.#checkBytes || this.#closing.signal.aborted) return;
    this.#writtenBytes = 0;
    void this.#tend();
  }

  /** Has this called when room is needed. Answers what undoes it. `Exists` if there is a pruner of that name. */
  register(pruner: Pruner): () => void {
    const doing = 'registering a pruner';
    const name = field.text(doing, 'name', pruner.name);
    field.oneOf(doing, 'stage', pruner.stage, STAGES);
    if (typeof pruner.prune !== 'function') throw field.wrong(doing, 'prune', pruner.prune, 'a function');
    if (this.#pruners.has(name)) throw failure('Exists', `${doing}: there is one named ${JSON.stringify(name)}`);
    this.#pruners.set(name, pruner);
    return () => {
      if (this.#pruners.get(name) === pruner) this.#pruners.delete(name);
    };
  }

  /**
   * Before a large write. If usage would rise above the limit by it, pruners run one after another until it would not;
   * the write may go on as long as it fits the quota. Where the browser tells no numbers, it may go on.
   *
   * @throws `StorageQuotaExceeded` if it does not fit. `Timeout` if it does not, and somebody else who prunes does not end.
   */
  async ensureRoom(bytes: number): Promise<Freed> {
    field.count('ensureRoom', 'bytes', bytes, 0);
    this.#mustBeOpen();
    const { freed, estimate } = await this.#makeRoom(bytes);
    if (!fits(estimate, bytes, 1)) throw this.#exceeded(`no room for ${bytes} bytes`, freed, estimate);
    return freed;
  }

  /**
   * Runs a write. If it fails with `Quota`, all pruners run, and it is run a second time: it must not have done anything
   * when it failed. `bytes` is what it writes, for `wrote`; from `LARGE_BYTES` on, `ensureRoom` comes first.
   *
   * @throws `StorageQuotaExceeded` if it does not fit, or fails with `Quota` again, and whatever else it fails with.
   */
  async guard<T>(job: () => Promise<T>, bytes = 0): Promise<T> {
    field.count('guard', 'bytes', bytes, 0);
    if (bytes >= LARGE_BYTES) await this.ensureRoom(bytes);
    const done = await this.#attempt(job);
    this.wrote(bytes);
    return done;
  }

  /** Stops the checks and whatever waits; pruners that run are told by their signal. */
  close(): void {
    this.#timer?.cancel();
    this.#closing.abort(failure('Closed', 'the quota was closed'));
  }

  async #attempt<T>(job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } catch (error) {
      // One that tells what was freed has been through this.
      if (!isQuota(error) || error instanceof StorageQuotaExceeded) throw error;
    }
    this.#mustBeOpen();
    const freed = await (this.#pruning ??= this.#pruneAll().finally(() => this.#pruning = undefined));
    try {
      return await job();
    } catch (error) {
      if (!isQuota(error) || error instanceof StorageQuotaExceeded) throw error;
      throw this.#exceeded(`a write failed twice, before and after pruning (${messageOf(error)})`, freed, await this.#told(), { cause: error });
    }
  }

  /** If that cannot be, because somebody else is at it and does not end, nothing was freed here. */
  async #pruneAll(): Promise<Freed> {
    try {
      return await this.#alone(true, () => this.#prune(async () => false)) ?? {};
    } catch (error) {
      this.#mustBeOpen();
      this.#emit({ type: 'pruningFailed', error: StatikError.from(error) });
      return {};
    }
  }

  async #makeRoom(bytes: number): Promise<{ freed: Freed; estimate: QuotaEstimate }> {
    const known = await this.#told();
    const asItIs = { freed: {}, estimate: known };
    if (fits(known, bytes, this.#limitShare)) return asItIs;
    const mayGoOn = fits(known, bytes, 1);
    if (mayGoOn && this.#clock.nowMs() < this.#restsUntilMs) return asItIs;
    const made = await this.#alone(!mayGoOn, async () => {
      // Whoever pruned meanwhile may have made the room.
      let estimate = await this.#told();
      const isEnough = () => fits(estimate, bytes, this.#limitShare);
      if (isEnough()) return { freed: {}, estimate };
      const freed = await this.#prune(async () => {
        estimate = await this.#told();
        return isEnough();
      });
      if (!isEnough()) this.#restsUntilMs = this.#clock.nowMs() + REST_MS;
      return { freed, estimate };
    });
    return made ?? asItIs;
  }

  /**
   * Runs pruners until there is enough, which is asked after each that has freed something. Deleting takes room, too: one
   * that found none is run again when the others have. (Firefox has made it a transaction for deleting alone by then.)
   */
  async #prune(isEnough: () => Promise<boolean>): Promise<Freed> {
    const freed = new Map<string, Pruned>();
    const again = new Set<Pruner>();
    const queue = STAGES.flatMap((stage) => [...this.#pruners.values()].filter((pruner) => pruner.stage === stage));
    for (const pruner of queue) {
      let pruned: Pruned;
      try {
        pruned = await this.#run(pruner);
      } catch (error) {
        this.#mustBeOpen();
        this.#emit({ type: 'prunerFailed', pruner: pruner.name, error: StatikError.from(error) });
        if (isQuota(error) && !again.has(pruner)) queue.push(pruner);
        again.add(pruner);
        continue;
      }
      freed.set(pruner.name, pruned);
      if (pruned.records === 0) continue;
      this.#emit({ type: 'pruned', pruner: pruner.name, ...pruned });
      if (await isEnough()) break;
    }
    return Object.fromEntries(freed);
  }

  async #run(pruner: Pruner): Promise<Pruned> {
    const doing = `pruner "${pruner.name}"`;
    const stopping = new AbortController();
    const late = (): never => {
      throw failure('Timeout', `${doing} did not end within ${PRUNER_MS} ms`);
    };
    try {
      const work = (async () => pruner.prune(stopping.signal))();
      const { records, bytes } = await bounded(work, { clock: this.#clock, ms: PRUNER_MS, late, signal: this.#closing.signal });
      field.count(doing, 'records', records, 0);
      return { records, ...(bytes !== undefined && { bytes: field.count(doing, 'bytes', bytes, 0) }) };
    } catch (error) {
      stopping.abort(error);
      throw error;
    }
  }

  /** Runs `job` while nobody else of the origin prunes. If somebody does, and it need not wait, it answers undefined. */
  async #alone<T>(mustWait: boolean, job: () => Promise<T>): Promise<T | undefined> {
    const waiting = new AbortController();
    const late = (): never => {
      throw failure('Timeout', `pruning: another tab or worker did not end its own within ${WAIT_MS} ms`);
    };
    const held = hold(LOCK, mustWait ? { signal: waiting.signal } : { ifAvailable: true });
    let release: Release;
    try {
      release = await bounded(held, { clock: this.#clock, ms: WAIT_MS, late, signal: this.#closing.signal });
    } catch (error) {
      waiting.abort(error);
      // It may have been on its way when nobody wanted it any more; if it was refused, that is what was thrown.
      held.then((release) => release(), () => {});
      if (error instanceof DOMException && error.name === 'TimeoutError') return undefined;
      throw error;
    }
    try {
      return await job();
    } finally {
      release();
    }
  }

  /** The estimate on the way to something else, which does not fail with it. */
  async #told(): Promise<QuotaEstimate> {
    try {
      return await this.check();
    } catch (error) {
      this.#mustBeOpen();
      this.#emit({ type: 'estimateFailed', error: StatikError.from(error) });
      return {};
    }
  }

  #tellThresholds({ usageBytes, quotaBytes, share }: QuotaEstimate): void {
    if (share === undefined) return;
    for (const threshold of this.#thresholds) {
      if (share < threshold) {
        this.#crossed.delete(threshold);
      } else if (!this.#crossed.has(threshold)) {
        this.#crossed.add(threshold);
        this.#emit({ type: 'threshold', threshold, usageBytes: usageBytes!, quotaBytes: quotaBytes!, share });
      }
    }
  }

  #schedule(): void {
    this.#timer = this.#clock.after(this.#checkMs, async () => {
      if (this.#isVisible()) await this.#tend();
      if (!this.#closing.signal.aborted) this.#schedule();
    });
    this.#timer.unref();
  }

  /** Checks and makes room, for nobody in particular. */
  async #tend(): Promise<void> {
    try {
      await this.#makeRoom(0);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#emit({ type: 'pruningFailed', error: StatikError.from(error) });
    }
  }

  #askToPersist(storage: Required<StorageSource>): Promise<boolean> {
    const answered = (persistence: 'granted' | 'denied', reason?: string) => {
      if (this.#isLate) this.#emit({ type: 'persistence', persistence, ...(reason !== undefined && { reason }) });
      this.#asked = undefined;
      this.#isLate = false;
    };
    const asked = (async () => storage.persist())();
    asked.then((isGranted) => answered(isGranted ? 'granted' : 'denied'), (error: unknown) => answered('denied', messageOf(error)));
    return asked;
  }

  /** A question to the browser, and what it refuses as a StatikError. */
  async #ask<T>(what: string, question: () => Promise<T>): Promise<T> {
    const late = (): never => {
      throw failure('Timeout', `${what}: the browser did not answer within ${ESTIMATE_MS} ms`);
    };
    try {
      return await bounded(question(), { clock: this.#clock, ms: ESTIMATE_MS, late, signal: this.#closing.signal });
    } catch (error) {
      throw refused(what, error);
    }
  }

  #exceeded(what: string, freed: Freed, estimate: QuotaEstimate, options?: ErrorOptions): StorageQuotaExceeded {
    const { usageBytes = 'unknown', quotaBytes = 'unknown' } = estimate;
    const pruned = Object.entries(freed).map(([name, { records }]) => `${name} ${records}`).join(', ');
    const message = `${what}: usage is ${usageBytes} of ${quotaBytes} bytes; records freed: ${pruned || 'none, as there is nothing to prune'}`;
    const error = new StorageQuotaExceeded(message, freed, estimate, options);
    this.#emit({ type: 'quotaExceeded', error });
    return error;
  }

  #mustBeOpen(): void {
    this.#closing.signal.throwIfAborted();
  }

  /** What a listener throws is the app's. */
  #emit(event: QuotaEvent): void {
    if (!this.#closing.signal.aborted) queueMicrotask(() => this.#onEvent(event));
  }
}

/** What is not told is no obstacle. */
function fits({ usageBytes, quotaBytes }: QuotaEstimate, bytes: number, share: number): boolean {
  return usageBytes === undefined || quotaBytes === undefined || usageBytes + bytes <= quotaBytes * share;
}

function bytesOf(told: number | undefined): number | undefined {
  return typeof told === 'number' && told >= 0 ? told : undefined;
}

/** By its code, whichever bundle its class is from, or as the browser throws it. */
function isQuota(error: unknown): boolean {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  return code === 'Quota' || name === 'QuotaExceededError';
}

function refused(what: string, error: unknown): StatikError {
  if (error instanceof StatikError) return error;
  const isForbidden = error instanceof DOMException && error.name === 'SecurityError';
  const code = isForbidden ? 'Permission' : error instanceof TypeError ? 'Unsupported' : 'Io';
  return new StatikError({ code, message: `${what}: the browser refuses: ${messageOf(error)}` }, { cause: error });
}

function messageOf(error: unknown): string {
  return error instanceof Error || error instanceof DOMException ? error.message : String(error);
}
