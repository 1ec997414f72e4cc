/**
 * One thing after another: what keeps the calls of a connection in order, and others out of its transactions.
 *
 * Invariant: a job begins only when every job queued before it has settled; a job whose signal aborts first never begins.
 */

/** A first-in, first-out queue of asynchronous jobs. */
export class Queue {
  #tail: Promise<void> = Promise.resolve();

  /** Runs `job` after all that was queued before. Aborting takes it out of the queue, but does not stop it once begun. */
  run<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => reject(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#tail = this.#tail.then(async () => {
        signal?.removeEventListener('abort', onAbort);
        if (signal?.aborted) return;
        try {
          resolve(await job());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** Resolves when all that is queued now has settled. */
  idle(): Promise<void> {
    return this.#tail;
  }
}
