/**
 * Calls between threads over postMessage: `{ id, method, args }` one way, `{ id, result }` or `{ id, error }` back, and
 * `{ event }` where the callee has something to tell unasked.
 *
 * Invariants: every call settles, by its answer or by `fail`; a call made after `fail` is never posted; ids are positive,
 * fit an Int32 and are not used again for two thousand million calls, so that an interrupt that names one hits no other.
 * It knows nothing of what the methods do.
 */
import { failure, StatikError } from './errors.js';
import type { ErrorShape, StatikEvent } from './types.js';

/** A Worker, a MessagePort, or a worker's own global scope. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
  /** MessagePorts hold their messages until it is called. */
  start?(): void;
}

export interface Request {
  id: number;
  method: string;
  args: unknown[];
  /** Where the callee looks whether this call is to be stopped; see session.ts. */
  fuse?: string | undefined;
}

/** `fatal`: the thread that sent it will answer nothing more. Id 0 belongs to no call. */
export type Response = { id: number } & ({ result: unknown } | { error: ErrorShape; fatal: boolean }) | { event: StatikEvent };

type Args<M, K extends keyof M> = M[K] extends (...args: infer A) => unknown ? A : never;
type Result<M, K extends keyof M> = M[K] extends (...args: never[]) => infer R ? Awaited<R> : never;

/** The caller of the methods `M` at the other end of a port. */
export class Remote<M> {
  readonly #port: Port;
  readonly #pending = new Map<number, { resolve: (result: never) => void; reject: (error: StatikError) => void }>();
  readonly #onFatal: (error: StatikError) => void;
  readonly #onEvent: (event: StatikEvent) => void;
  readonly #end = new AbortController();
  #lastId = 0;

  /** `onFatal`: the other end has said that it can go on no longer. */
  constructor(port: Port, onFatal: (error: StatikError) => void, onEvent: (event: StatikEvent) => void = () => {}) {
    this.#port = port;
    this.#onFatal = onFatal;
    this.#onEvent = onEvent;
    port.addEventListener('message', (event) => this.#receive(event.data as Response));
    port.start?.();
  }

  /** Aborted, with the reason, by `fail`: for who waits for something else than an answer. */
  get ended(): AbortSignal {
    return this.#end.signal;
  }

  /** Calls `method` and returns its result. */
  call<K extends keyof M & string>(method: K, ...args: Args<M, K>): Promise<Result<M, K>> {
    return this.send(method, args).result;
  }

  /** The same, for callers that transfer, or that must know the call's id to stop it. */
  send<K extends keyof M & string>(
    method: K,
    args: Args<M, K>,
    { transfer = [], fuse }: { transfer?: Transferable[]; fuse?: string | undefined } = {},
  ): { id: number; result: Promise<Result<M, K>> } {
    const id = this.#lastId = this.#lastId % 0x7fffffff + 1;
    const result = new Promise<Result<M, K>>((resolve, reject) => {
      if (this.ended.aborted) return reject(this.ended.reason);
      try {
        this.#port.postMessage({ id, method, args, fuse } satisfies Request, transfer);
      } catch (error) {
        return reject(new StatikError({ code: 'Invalid', message: `${method}: an argument cannot be sent to a worker: ${error}` }));
      }
      this.#pending.set(id, { resolve, reject });
    });
    return { id, result };
  }

  /** Fails every call in flight and every later one. The first failure stays. */
  fail(error: StatikError): void {
    this.#end.abort(error);
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #receive(response: Response): void {
    if ('event' in response) {
      this.#onEvent(response.event);
      return;
    }
    const call = this.#pending.get(response.id);
    this.#pending.delete(response.id);
    if ('result' in response) {
      call?.resolve(response.result as never);
      return;
    }
    const error = new StatikError(response.error);
    call?.reject(error);
    if (response.fatal) this.#onFatal(error);
  }
}

/**
 * Answers the requests that come in at `port` with what `dispatch` returns or throws. `isFatal` is asked after an error;
 * `transferOf` names what of a result need not be copied.
 */
export function serve(
  port: Port,
  dispatch: (request: Request) => unknown,
  { isFatal = () => false, transferOf = () => [] }: {
    isFatal?: () => boolean;
    transferOf?: (result: unknown) => Transferable[];
  } = {},
): void {
  port.addEventListener('message', async (event) => {
    const request = event.data as Request;
    let response: Response;
    let transfer: Transferable[] = [];
    try {
      const result = await dispatch(request);
      response = { id: request.id, result };
      transfer = transferOf(result);
    } catch (error) {
      response = { id: request.id, error: StatikError.from(error).toJSON(), fatal: isFatal() };
    }
    port.postMessage(response, transfer);
  });
  port.start?.();
}

/** Tells the other end of an event. */
export function tell(port: Port, event: StatikEvent): void {
  port.postMessage({ event } satisfies Response, []);
}

/** Tells the other end, unasked, that this thread can go on no longer. */
export function failFatally(port: Port, error: unknown): void {
  port.postMessage({ id: 0, error: StatikError.from(error).toJSON(), fatal: true } satisfies Response, []);
}

/** Calls the method of `target` that a request names. */
export function invoke(target: object, { method, args }: Request): unknown {
  const callee: unknown = Reflect.get(target, method);
  if (typeof callee !== 'function') throw failure('Invalid', `no such call: ${method}`);
  return Reflect.apply(callee, target, args);
}
