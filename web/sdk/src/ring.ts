/**
 * What JavaScript touches of a bridge ring: three words of its header (crates/bridge/docs/ring-format.md). All else is
 * Rust's.
 */

/** The bytes of one client's ring: its header and 2 MiB of requests and answers. */
const RING_BYTES = 4096 + 2 * 1024 * 1024;
/** Clients ring here; one for each I/O worker. */
const DOORBELL_BYTES = 64;

/** The client waits on this word. */
const WAKE = 0;
/** 1: the server has died. */
const DEAD = 1;
/** The id of the call that is to stop. */
const INTERRUPT = 2;

/** Makes an I/O worker's doorbell. */
export function newDoorbell(): SharedArrayBuffer {
  return new SharedArrayBuffer(DOORBELL_BYTES);
}

/** The ring of one client. */
export class Ring {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer(RING_BYTES)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, INTERRUPT + 1);
  }

  /** Tells the client that nobody answers any more. One that waits wakes up and fails with `Closed`. */
  markDead(): void {
    Atomics.store(this.#words, DEAD, 1);
    Atomics.add(this.#words, WAKE, 1);
    Atomics.notify(this.#words, WAKE);
  }

  /** Asks the client to stop the call with this id. It wakes nobody: what waits for storage is not interrupted. */
  interrupt(id: number): void {
    Atomics.store(this.#words, INTERRUPT, id);
  }

  /** Whether the call with this id is to stop. */
  isInterrupted(id: number): boolean {
    return Atomics.load(this.#words, INTERRUPT) === id;
  }
}
