/**
 * One user of an engine: at most one call at a time, which can be stopped from outside.
 *
 * Stopping must not hit the call after the one that was meant. Over the bridge the page stores the id of the call in the
 * ring, and ids differ. Without shared memory the running call looks, by a synchronous request, whether a `blob:` URL
 * still exists; the page revokes it, and gives the next call another one.
 */
import { StatikError, failure } from './errors.js';
import type { EngineMethods } from './protocol.js';
import type { Remote } from './rpc.js';
import type { Ring } from './ring.js';

/** How calls of a session are stopped. */
export interface Fuse {
  /** Sent with each call, if the engine needs something to look at. */
  readonly token: string | undefined;
  /** Stops the call with this id, which is the one in flight. */
  blow(id: number): void;
  dispose(): void;
}

/** A fuse in shared memory. */
export class RingFuse implements Fuse {
  readonly token = undefined;
  readonly #ring: Ring;

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  blow(id: number): void {
    this.#ring.interrupt(id);
  }

  dispose(): void {}
}

/** A fuse for threads that share nothing: a URL that exists, or does not any more. */
export class UrlFuse implements Fuse {
  #token = newUrl();

  get token(): string {
    return this.#token;
  }

  blow(): void {
    this.dispose();
    this.#token = newUrl();
  }

  dispose(): void {
    URL.revokeObjectURL(this.#token);
  }
}

/** Calls the engine, as part of one operation. */
export type Call = <K extends keyof EngineMethods>(
  method: K, ...args: Parameters<EngineMethods[K]>
) => Promise<Awaited<ReturnType<EngineMethods[K]>>>;

/** A connection's way to its engine. Operations must not overlap: whoever owns it queues them. */
export class Session {
  readonly #remote: Remote<EngineMethods>;
  readonly #fuse: Fuse;
  #stop: ((reason: unknown) => void) | undefined;

  constructor(remote: Remote<EngineMethods>, fuse: Fuse) {
    this.#remote = remote;
    this.#fuse = fuse;
  }

  /**
   * Runs `body`, whose calls are one operation: stopped, the call in flight is interrupted and none follows. What
   * finishes in spite of that has happened, and is not called a failure.
   */
  async operate<T>(body: (call: Call) => Promise<T>, signal?: AbortSignal): Promise<T> {
    let flying = 0;
    let stopped: { reason: unknown } | undefined;
    const stop = (reason: unknown) => {
      stopped ??= { reason };
      if (flying !== 0) this.#fuse.blow(flying);
    };
    const onAbort = () => stop(signal?.reason);
    const call: Call = async (method, ...args) => {
      if (stopped) throw stopped.reason;
      const { id, result } = this.#remote.send(method, args as never, { fuse: this.#fuse.token });
      flying = id;
      try {
        return await result as never;
      } finally {
        flying = 0;
      }
    };
    signal?.throwIfAborted();
    signal?.addEventListener('abort', onAbort);
    this.#stop = stop;
    try {
      return await body(call);
    } catch (error) {
      // One that waited for a lock ends as Busy.
      const interrupted = error instanceof StatikError && (error.code === 'Aborted' || error.code === 'Busy');
      throw stopped && interrupted ? stopped.reason : error;
    } finally {
      this.#stop = undefined;
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Calls the engine beside whatever runs. It cannot be stopped. */
  ask: Call = (method, ...args) => this.#remote.call(method, ...args as never) as never;

  /** Stops what runs now, if anything does; it fails with `Aborted`. */
  interrupt(): void {
    this.#stop?.(failure('Aborted', 'interrupted'));
  }

  dispose(): void {
    this.#fuse.dispose();
  }
}

function newUrl(): string {
  return URL.createObjectURL(new Blob());
}
