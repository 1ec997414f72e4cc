/**
 * Direct mode: has the store do in idle time what is due, such as the flush after a commit that did not wait for one.
 * Over the bridge the I/O worker's server does that by itself.
 */

/** After the last use, the first look: what must follow a commit must do so within 50 ms. */
const FIRST_LOOK_MS = 20;

/** Calls `tend` when it is due, and not while there is nothing to do. */
export class Tender {
  readonly #tend: () => number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueMs = Infinity;
  /** A look within `FIRST_LOOK_MS` is to come: the clock, which is dear, need not be asked. */
  #soon = false;

  /** `tend` answers in how many milliseconds to call it again, undefined for not before the next `touch`. */
  constructor(tend: () => number | undefined) {
    this.#tend = tend;
  }

  /** Something may have been committed. */
  touch(): void {
    if (this.#soon) return;
    this.#schedule(FIRST_LOOK_MS);
    this.#soon = true;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#dueMs = Infinity;
    this.#soon = false;
  }

  #schedule(ms: number): void {
    const dueMs = performance.now() + ms;
    if (dueMs >= this.#dueMs) return;
    this.stop();
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    this.#dueMs = Infinity;
    this.#soon = false;
    try {
      const ms = this.#tend();
      if (ms !== undefined) this.#schedule(ms);
    } catch (error) {
      // The store changes nothing any more, and says so to every later commit; nobody waits for this one.
      console.error('statik: what was due after a commit failed:', error);
    }
  }
}
