/**
 * Deadlines, so that nothing waits for ever.
 *
 * Invariant: what is late fails with `Timeout`; the work itself is not stopped, that is for who began it.
 */
import { failure } from './errors.js';

/** What starting a worker may take, however busy the machine is. */
export const START_MS = 30_000;

/** The most that setTimeout takes. */
const MAX_MS = 0x7fffffff;

/** Settles as `work` does, or fails with `Timeout` after `ms`. */
export async function within<T>(ms: number, work: Promise<T>, message: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(failure('Timeout', message)), Math.min(ms, MAX_MS));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
