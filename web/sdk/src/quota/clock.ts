/** Time as the platform has it, and bounds on what is waited for. */
import type { Clock } from './types.js';

/** The most that setTimeout takes. */
const MAX_MS = 0x7fffffff;

export const CLOCK: Clock = {
  nowMs: () => performance.now(),
  after(ms, job) {
    // In Node an object, in browsers a number.
    const timer: unknown = setTimeout(job, Math.min(ms, MAX_MS));
    return {
      cancel: () => clearTimeout(timer as number),
      unref: () => (timer as { unref?(): void }).unref?.(),
    };
  },
};

export interface Bounds<T> {
  clock: Clock;
  ms: number;
  /** What comes of it when the time is over. */
  late: () => T;
  /** Its reason is thrown as soon as it aborts. */
  signal: AbortSignal;
}

/** Settles as `work` does, or as the bounds say. */
export async function bounded<T>(work: Promise<T>, { clock, ms, late, signal }: Bounds<T>): Promise<T> {
  let end = () => {};
  try {
    return await new Promise<T>((resolve, reject) => {
      const onAbort = () => reject(signal.reason);
      if (signal.aborted) onAbort();
      signal.addEventListener('abort', onAbort);
      const timer = clock.after(ms, () => {
        try {
          resolve(late());
        } catch (error) {
          reject(error);
        }
      });
      end = () => {
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
      };
      work.then(resolve, reject);
    });
  } finally {
    end();
  }
}
