/**
 * In the engine's thread: is the running call to stop? Asked by SQLite from inside a statement, so the answer must come
 * synchronously; see session.ts for how the page says it.
 *
 * Invariant: only what names the running call stops it.
 */
import type { Request } from './rpc.js';
import type { Ring } from './ring.js';

/** Synchronous requests cost too much to make for short statements, or often. */
const FIRST_LOOK_MS = 100;
const LOOK_EVERY_MS = 100;

/** A request, and when it is to look at its fuse next. */
type Running = Request & { nextLook?: number };

/** What is running, and whether it may go on. */
export class Interrupts {
  #ring: Ring | undefined;
  #running: Running | undefined;
  #works: boolean | undefined;

  /** Over the bridge: look here. */
  watch(ring: Ring): void {
    this.#ring = ring;
  }

  /** Runs the synchronous `job` as part of the request. */
  during<T>(request: Running, job: () => T): T {
    request.nextLook ??= performance.now() + FIRST_LOOK_MS;
    const outer = this.#running;
    this.#running = request;
    try {
      return job();
    } finally {
      this.#running = outer;
    }
  }

  /** Whether the running call is to stop. */
  poll(): boolean {
    const running = this.#running;
    if (running === undefined) return false;
    if (this.#ring) return this.#ring.isInterrupted(running.id);
    const now = performance.now();
    if (running.fuse === undefined || now < running.nextLook!) return false;
    running.nextLook = now + LOOK_EVERY_MS;
    return this.#canLook() && !exists(running.fuse);
  }

  /** A content security policy may forbid what would then look like an interrupt. */
  #canLook(): boolean {
    if (this.#works !== undefined) return this.#works;
    const url = URL.createObjectURL(new Blob());
    this.#works = exists(url);
    URL.revokeObjectURL(url);
    if (!this.#works) console.warn('statik: running statements cannot be interrupted here: blob: URLs cannot be fetched');
    return this.#works;
  }
}

function exists(url: string): boolean {
  const request = new XMLHttpRequest();
  try {
    request.open('GET', url, false);
    request.send();
    return true;
  } catch {
    // Synchronous requests fail by throwing; there is no other way in which a blob: URL fails.
    return false;
  }
}
