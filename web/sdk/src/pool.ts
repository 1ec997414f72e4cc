/**
 * Connections that calls take turns with.
 *
 * Invariants: a member serves one call at a time; who waits is served first come, first served, and nobody overtakes; there
 * are never more than `max` members, those that are starting included; a dead member is never handed out; whoever waits is
 * served, or fails: after `acquireTimeoutMs`, by its signal, or with the pool.
 */
import { failure, StatikError } from './errors.js';
import type { PoolMetrics, PoolOptions } from './types.js';

/** Something to take turns with. */
export interface Member {
  /** Its engine is gone. */
  readonly dead: boolean;
}

/** How a pool makes its members, and ends them. */
export interface Making<M> {
  open(): Promise<M>;
  end(member: M): Promise<void>;
}

interface Waiter<M> {
  serve(member: M): void;
  fail(error: unknown): void;
}

/** A bounded number of members, made when they are needed. */
export class Pool<M extends Member> {
  readonly #name: string;
  readonly #making: Making<M>;
  readonly #options: Required<PoolOptions>;
  readonly #members = new Set<M>();
  /** Those that nobody uses; the one used last is used next, so that the others can be let go. */
  readonly #free: { member: M; sinceMs: number }[] = [];
  readonly #waiting: Waiter<M>[] = [];
  readonly #opening = new Set<Promise<void>>();
  #sweeping: ReturnType<typeof setTimeout> | undefined;
  #ended: StatikError | undefined;
  #counts = { waited: 0, maxWaitMs: 0, timeouts: 0, started: 0, released: 0, died: 0 };

  constructor(name: string, making: Making<M>, options: Required<PoolOptions>) {
    this.#name = name;
    this.#making = making;
    this.#options = options;
  }

  get members(): readonly M[] {
    return [...this.#members];
  }

  get metrics(): Omit<PoolMetrics, 'database'> {
    const size = this.#members.size;
    return { size, busy: size - this.#free.length, waiting: this.#waiting.length, ...this.#counts };
  }

  /** Starts the members that are kept, for who comes first. One that cannot be is told to nobody: the next call tries again. */
  warm(): void {
    while (this.#members.size + this.#opening.size < this.#options.min) this.#open();
  }

  /** Puts in a member that was made elsewhere. */
  add(member: M): void {
    this.#counts.started++;
    this.#members.add(member);
    this.#offer(member);
  }

  /** Runs `job` with a member of its own. */
  async use<T>(job: (member: M) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const member = await this.acquire(signal);
    try {
      return await job(member);
    } finally {
      this.release(member);
    }
  }

  /** Hands out a member, to be given back by `release`. */
  async acquire(signal?: AbortSignal): Promise<M> {
    if (this.#ended) throw this.#ended;
    signal?.throwIfAborted();
    return (this.#waiting.length === 0 ? this.#takeFree() : undefined) ?? this.#wait(signal);
  }

  release(member: M): void {
    if (member.dead) this.#bury(member);
    else this.#offer(member);
    this.#grow();
  }

  /** Fails who waits, and ends all members. */
  async close(error: StatikError): Promise<void> {
    this.#ended = error;
    clearTimeout(this.#sweeping);
    for (const waiter of this.#waiting.splice(0)) waiter.fail(error);
    await Promise.all([...this.#members].map((member) => this.#making.end(member)));
    await Promise.all(this.#opening);
  }

  #wait(signal: AbortSignal | undefined): Promise<M> {
    const { acquireTimeoutMs } = this.#options;
    const sinceMs = performance.now();
    this.#counts.waited++;
    return new Promise<M>((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        const place = this.#waiting.indexOf(waiter);
        if (place !== -1) this.#waiting.splice(place, 1);
        this.#counts.maxWaitMs = Math.max(this.#counts.maxWaitMs, performance.now() - sinceMs);
      };
      const waiter: Waiter<M> = {
        serve: (member) => {
          leave();
          resolve(member);
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const onAbort = () => waiter.fail(signal?.reason);
      const timer = setTimeout(() => {
        this.#counts.timeouts++;
        const { size, busy } = this.metrics;
        waiter.fail(failure('Timeout', `database "${this.#name}": no connection was free within ${acquireTimeoutMs} ms; ${busy} of ${size} are in use`, this.#name));
      }, acquireTimeoutMs);
      signal?.addEventListener('abort', onAbort);
      this.#waiting.push(waiter);
      this.#grow();
    });
  }

  /** Starts as many members as are waited for. */
  #grow(): void {
    while (this.#opening.size < this.#waiting.length && this.#members.size + this.#opening.size < this.#options.max) this.#open();
  }

  #open(): void {
    const opening = this.#making.open().then(
      async (member) => {
        this.#opening.delete(opening);
        if (this.#ended) return this.#making.end(member);
        this.add(member);
      },
      (error: unknown) => {
        this.#opening.delete(opening);
        this.#waiting[0]?.fail(error);
        if (!this.#ended) this.#grow();
      },
    );
    this.#opening.add(opening);
  }

  #offer(member: M): void {
    // The pool was closed, and ends it.
    if (this.#ended) return;
    const [waiter] = this.#waiting;
    if (waiter) return waiter.serve(member);
    this.#free.push({ member, sinceMs: performance.now() });
    this.#sweepLater();
  }

  #takeFree(): M | undefined {
    for (;;) {
      const free = this.#free.pop();
      if (free === undefined || !free.member.dead) return free?.member;
      this.#bury(free.member);
    }
  }

  #bury(member: M): void {
    if (!this.#members.delete(member)) return;
    this.#counts.died++;
    this.#end(member);
  }

  /** What was told to who used it need not be told again. */
  #end(member: M): void {
    this.#making.end(member).catch((error: unknown) => console.error(`statik: closing a connection to "${this.#name}" failed:`, error));
  }

  #sweepLater(): void {
    clearTimeout(this.#sweeping);
    const [oldest] = this.#free;
    if (oldest === undefined || this.#members.size <= this.#options.min) return;
    this.#sweeping = setTimeout(() => this.#sweep(), Math.max(0, oldest.sinceMs + this.#options.idleMs - performance.now()));
  }

  #sweep(): void {
    const idleSinceMs = performance.now() - this.#options.idleMs;
    while (this.#members.size > this.#options.min && this.#free[0] !== undefined && this.#free[0].sinceMs <= idleSinceMs) {
      const { member } = this.#free.shift()!;
      if (member.dead) {
        this.#bury(member);
        continue;
      }
      this.#members.delete(member);
      this.#counts.released++;
      this.#end(member);
    }
    this.#sweepLater();
  }
}
