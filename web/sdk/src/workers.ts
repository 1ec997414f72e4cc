/**
 * Threads: starting the package's workers, talking to them, and noticing that one has died.
 *
 * Invariant: a thread's death is told once, by `onDeath`, after every call in flight has failed with `Closed`; `stop` is
 * no death, and neither is a worker that could not be started: then `start` fails, after `START_MS` at the latest.
 */
import { START_MS, within } from './deadline.js';
import { failure, StatikError } from './errors.js';
import { lifeLock, watch, type Release } from './locks.js';
import type { EngineMethods, IoMethods, Mortal } from './protocol.js';
import { Remote } from './rpc.js';
import type { StatikEvent } from './types.js';

export type WorkerKind = 'io' | 'engine';

/** What a worker makes known of itself. */
export interface Listener {
  onDeath: (reason: string) => void;
  onEvent?: (event: StatikEvent) => void;
}

/** A worker of the package. */
export class Thread<M extends Mortal> {
  readonly remote: Remote<M>;
  /** The Web Lock that it holds while it lives. */
  readonly lock: string;
  readonly #worker: Worker;
  readonly #kind: WorkerKind;
  #onDeath: (reason: string) => void = () => {};
  #unwatch: Release = () => {};
  #ended = false;

  private constructor(worker: Worker, kind: WorkerKind, store: string, onEvent?: Listener['onEvent']) {
    this.#worker = worker;
    this.#kind = kind;
    this.lock = lifeLock(store, kind);
    this.remote = new Remote<M>(worker, (error) => this.die(error.message), onEvent);
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      // A script that cannot be loaded has no message.
      this.die(event.message || 'its script could not be loaded');
    });
    worker.addEventListener('messageerror', () => this.die('a message could not be read'));
  }

  /** Hands over the worker when it runs and is watched. */
  static async start<M extends Mortal>(
    worker: Worker, kind: WorkerKind, store: string, { onDeath, onEvent }: Listener,
  ): Promise<Thread<M>> {
    const thread = new Thread<M>(worker, kind, store, onEvent);
    const held = (thread.remote as Remote<Mortal>).call('hold', thread.lock);
    try {
      await within(START_MS, held, `the ${kind} worker did not start within ${START_MS} ms`);
    } catch (error) {
      thread.stop();
      const { code, message } = StatikError.from(error);
      throw code === 'Timeout' ? error : failure('Io', `cannot start a worker: ${message}`);
    }
    thread.#onDeath = onDeath;
    thread.#unwatch = watch(thread.lock, () => thread.die('it was terminated'));
    return thread;
  }

  /** It is dead, or as good as. */
  die(reason: string): void {
    if (this.#ended) return;
    this.#end(failure('Closed', `the ${this.#kind} worker died: ${reason}`));
    this.#onDeath(reason);
  }

  /** Ends it; what it was still asked, or is asked later, fails with `error`. */
  stop(error = failure('Closed', 'closed')): void {
    if (!this.#ended) this.#end(error);
  }

  /** Whether it can still be asked anything. */
  get ended(): boolean {
    return this.#ended;
  }

  #end(error: StatikError): void {
    this.#ended = true;
    this.#unwatch();
    this.#worker.terminate();
    this.remote.fail(error);
  }
}

/** Starts worker/io.ts. */
export function startIo(store: string, scripts: URL | undefined, listener: Listener): Promise<Thread<IoMethods>> {
  // Bundlers find the script by this very expression.
  const worker = scripts === undefined
    ? new Worker(new URL('./io.js', import.meta.url), { type: 'module' })
    : foreign('io.js', scripts);
  return Thread.start(worker, 'io', store, listener);
}

/** Starts worker/engine.ts. */
export function startEngine(store: string, scripts: URL | undefined, listener: Listener): Promise<Thread<EngineMethods>> {
  const worker = scripts === undefined
    ? new Worker(new URL('./engine.js', import.meta.url), { type: 'module' })
    : foreign('engine.js', scripts);
  return Thread.start(worker, 'engine', store, listener);
}

function foreign(script: string, scripts: URL): Worker {
  const url = new URL(script, scripts);
  return new Worker(url, { type: 'module' });
}
