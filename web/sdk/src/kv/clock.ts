/**
 * Hybrid logical clock: stamps that are near the time of day, and yet rise with every change, whatever the clock on the
 * wall does. After Kulkarni, Demirbas et al., "Logical Physical Clocks" (2014). The Rust room `sync` has the same clock;
 * tests/sdk/samples/hlc.json holds what both have to answer.
 *
 * Invariants: a clock's stamps rise strictly, also when the time goes back, and across restarts if `restore` is told of
 * what is stored; no remote stamp moves a clock further ahead of its time than its bound on drift; what fails leaves the
 * clock as it was. Node ids are to be different for each replica and each tab that writes: nothing here can check that.
 */
import { failure } from '../errors.js';
import { toHex } from '../hex.js';

/** The last millisecond that a stamp can hold, in the year 10889. */
export const MAX_WALL_MS = 2 ** 48 - 1;

/** How far ahead of the time here a remote stamp may be if nothing else is said. */
export const MAX_DRIFT_MS = 60_000;

const MAX_COUNTER = 0xffff;

/** A stamp in its parts, ordered by time, then counter, then node. */
export interface Timestamp {
  /** Milliseconds since 1970, below 2^48. */
  wallMs: number;
  /** Which one of the stamps with the same milliseconds: 16 bits. */
  counter: number;
  /** Who made the stamp: 16 lower-case hexadecimal digits. */
  node: string;
}

export interface ClockOptions {
  /** 16 lower-case hexadecimal digits, of nobody else who writes. Default: random for each clock. */
  node?: string;
  /** The time in milliseconds since 1970. Default `Date.now`. */
  now?: () => number;
  /** How far ahead of the time here a remote stamp may be. Default 60,000. */
  maxDriftMs?: number;
}

/** The stamp as text, `wwwwwwwwwwww-cccc-nnnnnnnnnnnnnnnn`, whose order as text is the order in time. */
export function formatTimestamp({ wallMs, counter, node }: Timestamp): string {
  return `${wallMs.toString(16).padStart(12, '0')}-${counter.toString(16).padStart(4, '0')}-${node}`;
}

/** Reads what `formatTimestamp` writes and nothing else: `Invalid` with what came, `what` naming where it stood. */
export function parseTimestamp(text: unknown, what = 'reading a timestamp'): Timestamp {
  const parts = typeof text === 'string' ? /^([0-9a-f]{12})-([0-9a-f]{4})-([0-9a-f]{16})$/.exec(text) : null;
  if (!parts || text !== parts[0]) {
    const came = typeof text === 'string' ? `${text.length} characters that begin ${JSON.stringify(text.slice(0, 40))}` : `a ${typeof text}`;
    throw failure('Invalid', `${what}: hlc must be wwwwwwwwwwww-cccc-nnnnnnnnnnnnnnnn in lower-case hexadecimal digits, and is ${came}`);
  }
  const [, wall = '', counter = '', node = ''] = parts;
  return { wallMs: parseInt(wall, 16), counter: parseInt(counter, 16), node };
}

/** The clock of one node. */
export class Clock {
  /** Who this clock stamps for. */
  readonly node: string;
  readonly #now: () => number;
  readonly #maxDriftMs: number;
  /** The newest stamp given or seen, under this clock's node. */
  #last: Timestamp;

  /** `Invalid` if an option is not what `ClockOptions` says. */
  constructor({ node = randomNode(), now = Date.now, maxDriftMs = MAX_DRIFT_MS }: ClockOptions = {}) {
    if (!/^[0-9a-f]{16}$/.test(node)) throw failure('Invalid', `making a clock: node must be 16 lower-case hexadecimal digits, and is ${JSON.stringify(node)}`);
    if (!Number.isSafeInteger(maxDriftMs) || maxDriftMs < 0) throw failure('Invalid', `making a clock: maxDriftMs must be a whole number from 0, and is ${String(maxDriftMs)}`);
    if (typeof now !== 'function') throw failure('Invalid', `making a clock: now must be a function, and is a ${typeof now}`);
    this.node = node;
    this.#now = now;
    this.#maxDriftMs = maxDriftMs;
    this.#last = { wallMs: 0, counter: 0, node };
  }

  /** The newest stamp given, or the time of the newest one seen: what to keep for `restore`. */
  get last(): string {
    return formatTimestamp(this.#last);
  }

  /**
   * Raises the clock above a stamp out of its own storage, without a bound: what is stored was accepted before. To be
   * called after a start with each stored stamp, or with the greatest.
   */
  restore(stored: string): void {
    const stamp = parseTimestamp(stored, 'restoring a clock');
    if (isLater(stamp, this.#last)) this.#last = { ...stamp, node: this.node };
  }

  /** A stamp for a change made here, above all that were given or seen. `Invalid` if the time needs more than 48 bits. */
  tick(): string {
    this.#last = this.#above(this.nowMs(), this.#last);
    return this.last;
  }

  /**
   * Takes note of a stamp from elsewhere and gives one above it. `Invalid` if it is further ahead of the time here than
   * the bound: then somebody's clock is wrong, and following it would make every later change wrong, too. A stamp that
   * is not above the clock is taken however far ahead it is, since it moves nothing: it may be an echo of this node's
   * own, after its time was set back.
   */
  receive(remote: string): string {
    const stamp = parseTimestamp(remote, 'receiving a timestamp');
    const nowMs = this.nowMs();
    const moves = isLater(stamp, this.#last);
    if (moves && stamp.wallMs - nowMs > this.#maxDriftMs) {
      throw failure('Invalid', `receiving the timestamp ${remote}: hlc may be at most ${this.#maxDriftMs} ms ahead of the time here, and is ${stamp.wallMs - nowMs} ms`);
    }
    this.#last = this.#above(nowMs, moves ? stamp : this.#last);
    return this.last;
  }

  /** What the clock on the wall says, in whole milliseconds. */
  nowMs(): number {
    const nowMs = Math.floor(this.#now());
    if (!(nowMs >= 0 && nowMs <= MAX_WALL_MS)) throw failure('Invalid', `stamping a change: now() must be from 0 to ${MAX_WALL_MS} ms, and is ${nowMs} ms`);
    return nowMs;
  }

  /** The least stamp of this node that is above `newest` and not before `nowMs`. */
  #above(nowMs: number, newest: Timestamp): Timestamp {
    const { node } = this;
    if (nowMs > newest.wallMs) return { wallMs: nowMs, counter: 0, node };
    if (newest.counter < MAX_COUNTER) return { wallMs: newest.wallMs, counter: newest.counter + 1, node };
    if (newest.wallMs === MAX_WALL_MS) throw failure('Invalid', `stamping a change: the time must be at most ${MAX_WALL_MS} ms, and there is no stamp left`);
    return { wallMs: newest.wallMs + 1, counter: 0, node };
  }
}

function isLater(a: Timestamp, b: Timestamp): boolean {
  return a.wallMs > b.wallMs || (a.wallMs === b.wallMs && a.counter > b.counter);
}

function randomNode(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(8)));
}
