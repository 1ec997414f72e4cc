/**
 * Backups that make themselves.
 *
 * The schedule lies in the catalog, so that it survives and all tabs know of it. All of them ask for one lock; who has it
 * looks at the schedule from time to time, and makes a backup when one is due. When that tab goes, another has the lock.
 *
 * Invariants: nothing is backed up without a consent that is in the catalog; what fails is told as an event, and tried
 * again; where there is no Web Lock nothing is shared, and nothing locked.
 */
import { failure, StatikError } from '../errors.js';
import { hold, type Release } from '../locks.js';
import type { IdbEvent } from '../idb/types.js';
import type { Catalog } from './catalog.js';
import * as field from './fields.js';

/** Where automatic backups go: files of the origin private file system, or the person's downloads. */
export type BackupTarget = 'opfs' | 'download';

export interface AutoBackupOptions {
  /** So many backups are kept in the origin private file system. Default 3. */
  keep?: number;
  /** Default `opfs`. `download` needs a window. */
  target?: BackupTarget;
  /** That the person has agreed. Once it was given it is remembered, until `cancelAutoBackup`. */
  consent?: true;
}

/** The schedule, as it is told. */
export interface AutoBackup {
  intervalHours: number;
  keep: number;
  target: BackupTarget;
  /** When the last backup was made, in milliseconds since 1970. */
  lastMs?: number;
}

/** The schedule, as the catalog keeps it. */
export interface Schedule {
  intervalMs: number;
  keep: number;
  target: BackupTarget;
  /** When the schedule was made, the last backup was, and the last attempt, in milliseconds since 1970. */
  sinceMs: number;
  lastMs?: number;
  triedMs?: number;
}

/** The time, and calls at a later one. */
export interface Timers {
  now(): number;
  /** Answers what `clear` takes. */
  set(call: () => void, delayMs: number): unknown;
  clear(timer: unknown): void;
}

export const TIMERS: Timers = {
  now: () => Date.now(),
  set: (call, delayMs) => setTimeout(call, delayMs),
  clear: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

const HOUR_MS = 3_600_000;
/** How often the schedule is looked at: another tab may have changed it, and a sleeping computer stops timers. */
const LOOK_MS = 60_000;
/** How long after a failure there is another attempt, at most. */
const RETRY_MS = HOUR_MS;

export interface ScheduleContext {
  catalog: Catalog;
  timers: Timers;
  onEvent: (event: IdbEvent) => void;
  /** Tells the app's schedule from those of others of the origin. */
  suffix: string;
  /** Whether other tabs have the same schedule. */
  isShared: boolean;
  /** Makes a backup, and answers its name. */
  run(target: BackupTarget, keep: number, signal: AbortSignal): Promise<string>;
}

export class BackupSchedule {
  readonly #context: ScheduleContext;
  /** Ends waiting for the lock, or having it. */
  #end: AbortController | undefined;
  #timer: unknown;
  /** The look that is under way, if one is. */
  #looking: Promise<void> = Promise.resolve();

  constructor(context: ScheduleContext) {
    this.#context = context;
  }

  /** Goes on with the schedule that there is, if there is one. */
  async resume(): Promise<void> {
    if (await this.#schedule() !== undefined) this.#start();
  }

  async schedule(intervalHours: number, options: AutoBackupOptions): Promise<void> {
    const doing = 'scheduleAutoBackup';
    field.record(doing, options);
    const { keep = 3, target = 'opfs', consent } = options;
    if (typeof intervalHours !== 'number' || !(intervalHours > 0 && intervalHours < Infinity)) throw field.wrong(doing, 'intervalHours', intervalHours, 'a number of hours above 0');
    field.count(doing, 'keep', keep);
    field.oneOf(doing, 'target', target, ['opfs', 'download']);
    if (consent !== undefined && consent !== true) throw field.wrong(doing, 'consent', consent, 'true, or left out');
    if (!canRun(target)) throw failure('Unsupported', `${doing}: target "${target}" is not to be had in this context`);
    const { catalog, timers } = this.#context;
    if (consent) await catalog.set(this.#key('backup_consent'), { givenMs: timers.now() });
    else if (await catalog.setting(this.#key('backup_consent')) === undefined) {
      throw failure('Permission', `${doing}: nobody has agreed to automatic backups; call it with consent: true when somebody has`);
    }
    const before = await this.#schedule();
    const schedule: Schedule = { intervalMs: intervalHours * HOUR_MS, keep, target, sinceMs: timers.now(), ...(before?.lastMs !== undefined && { lastMs: before.lastMs }) };
    await this.stop();
    await catalog.set(this.#key('backup_schedule'), schedule);
    this.#start();
  }

  async arranged(): Promise<AutoBackup | undefined> {
    const schedule = await this.#schedule();
    if (schedule === undefined) return undefined;
    const { intervalMs, keep, target, lastMs } = schedule;
    return { intervalHours: intervalMs / HOUR_MS, keep, target, ...(lastMs !== undefined && { lastMs }) };
  }

  /** Ends the schedule in all tabs, and takes the consent back. */
  async cancel(): Promise<void> {
    await this.stop();
    await this.#context.catalog.set(this.#key('backup_schedule'), undefined);
    await this.#context.catalog.set(this.#key('backup_consent'), undefined);
  }

  /** Leaves the schedule to other tabs, and ends the backup that is being made. */
  async stop(): Promise<void> {
    this.#end?.abort();
    this.#end = undefined;
    this.#context.timers.clear(this.#timer);
    await this.#looking;
  }

  #key(name: string): string {
    return `${name}${this.#context.suffix}`;
  }

  #schedule(): Promise<Schedule | undefined> {
    return this.#context.catalog.setting<Schedule>(this.#key('backup_schedule'));
  }

  #start(): void {
    const end = new AbortController();
    this.#end = end;
    const waiting = this.#context.isShared ? hold(`statik:auto-backup${this.#context.suffix}`, { signal: end.signal }) : Promise.resolve(() => {});
    waiting.then((release) => this.#look(end.signal, release)).catch((error: unknown) => {
      if (!end.signal.aborted) this.#tell('waiting to make automatic backups failed', error);
    });
  }

  /** Whoever has the lock does what is due, and looks again later. */
  #look(signal: AbortSignal, release: Release): void {
    this.#looking = this.#looked(signal).then((delayMs) => {
      if (delayMs === undefined || signal.aborted) return release();
      signal.addEventListener('abort', release, { once: true });
      this.#timer = this.#context.timers.set(() => {
        signal.removeEventListener('abort', release);
        this.#look(signal, release);
      }, delayMs);
    });
  }

  /** Does what is due. Answers when to look again, if at all. */
  async #looked(signal: AbortSignal): Promise<number | undefined> {
    const { timers, catalog } = this.#context;
    if (signal.aborted) return undefined;
    try {
      const schedule = await this.#schedule();
      const isAgreed = await catalog.setting(this.#key('backup_consent')) !== undefined;
      // Another tab has ended it, or made it such as this context cannot do.
      if (schedule === undefined || !isAgreed || !canRun(schedule.target)) return undefined;
      if (dueMs(schedule) <= timers.now() && !signal.aborted) await this.#run(schedule, signal);
      return Math.min(LOOK_MS, Math.max(1, dueMs(await this.#schedule() ?? schedule) - timers.now()));
    } catch (error) {
      if (!signal.aborted) this.#tell('the schedule of automatic backups', error);
      return LOOK_MS;
    }
  }

  async #run({ target, keep }: Schedule, signal: AbortSignal): Promise<void> {
    const { catalog, timers, run, onEvent } = this.#context;
    const atMs = timers.now();
    let file: string | undefined;
    try {
      file = await run(target, keep, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#tell('an automatic backup failed', error);
    }
    // It may have been changed, or ended, meanwhile.
    const schedule = await this.#schedule();
    if (schedule !== undefined) {
      const { triedMs: _, ...rest } = schedule;
      await catalog.set(this.#key('backup_schedule'), file === undefined ? { ...schedule, triedMs: atMs } : { ...rest, lastMs: atMs });
    }
    if (file !== undefined) onEvent({ type: 'backup', database: '', file, reason: `made an automatic backup, ${file}` });
  }

  #tell(doing: string, error: unknown): void {
    const known = StatikError.from(error);
    this.#context.onEvent({ type: 'backup', database: '', reason: `${doing}: ${known.message}`, error: known.toJSON() });
  }
}

/** When the next backup is to be made. */
function dueMs({ intervalMs, sinceMs, lastMs, triedMs }: Schedule): number {
  const due = (lastMs ?? sinceMs - intervalMs) + intervalMs;
  return triedMs === undefined ? due : Math.max(due, triedMs + Math.min(intervalMs, RETRY_MS));
}

function canRun(target: BackupTarget): boolean {
  return target === 'download' ? globalThis.document !== undefined : typeof globalThis.navigator?.storage?.getDirectory === 'function';
}
