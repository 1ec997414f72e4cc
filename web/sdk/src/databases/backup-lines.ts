/**
 * The lines of a backup's text, from a Blob that may be compressed and may be anything.
 *
 * Invariants:
 * - Memory is bounded whatever the Blob holds: by one line, which has a limit, and by what one small piece of compressed
 *   input can become (deflate makes at most 1032 bytes of one).
 * - Whatever is wrong with the bytes is a StatikError that tells where.
 */
import { StatikError } from '../errors.js';
import { Sha256 } from '../sha256.js';
import { LINE_LIMIT_BYTES } from './backup-format.js';
import { passed } from './gzip.js';

/** Bytes of the Blob that are read at once. */
const READ_BYTES = 256 * 1024;
/** Bytes that decompression gets at once; browsers give back at once all that comes of them. */
const PIECE_BYTES = 16 * 1024;
const NEWLINE = 0x0a;

export interface ReadBackupOptions {
  /** Ends the reading with the signal's reason. */
  signal?: AbortSignal;
  /** `doneBytes` of the Blob's `totalBytes`, still compressed. */
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
}

export class Lines {
  /** The number of the line that was read last, from 1. */
  number = 0;
  /** Bytes of text so far. */
  sizeBytes = 0;
  readonly #blob: Blob;
  readonly #options: ReadBackupOptions;
  readonly #isCompressed: boolean;
  readonly #chunks: AsyncGenerator<Uint8Array, void, undefined>;
  readonly #hash = new Sha256();
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** What was got and not yet dropped. It lies in the room, where that has any. */
  #chunk: Uint8Array = new Uint8Array();
  #room = new Uint8Array();
  /** Where the next line begins in the chunk. */
  #at = 0;
  /** How far the chunk has been hashed. */
  #hashed = 0;
  #isDigested = false;

  static async of(blob: Blob, options: ReadBackupOptions): Promise<Lines> {
    const magic = await slice(blob, 0, 2);
    return new Lines(blob, options, magic[0] === 0x1f && magic[1] === 0x8b);
  }

  private constructor(blob: Blob, options: ReadBackupOptions, isCompressed: boolean) {
    this.#blob = blob;
    this.#options = options;
    this.#isCompressed = isCompressed;
    const bytes = this.#bytes();
    this.#chunks = !isCompressed ? bytes : passed(bytes, new DecompressionStream('gzip'), (error) =>
      this.corrupt(`the compressed text is damaged or cut short, after ${this.sizeBytes} bytes of text: ${String(error)}`, error));
  }

  /** The text's first characters, as far as there are any; before any line is read. */
  async start(characters: number): Promise<string> {
    while (this.#chunk.length < characters && await this.#more()) { /* Until there are enough. */ }
    return String.fromCharCode(...this.#chunk.subarray(0, characters));
  }

  /**
   * The next line, without its end. `Corrupt` if there is none. A promise only where bytes have to be got first: to wait
   * for each line costs more than all else in some browsers.
   */
  next(): string | Promise<string> {
    this.#options.signal?.throwIfAborted();
    return this.#ready(this.#at) ?? this.#awaited();
  }

  async #awaited(): Promise<string> {
    let searched = this.#at;
    for (;;) {
      const line = this.#ready(searched);
      if (line !== undefined) return line;
      const length = this.#chunk.length - this.#at;
      if (!await this.#more()) throw this.corrupt(`the text ends within line ${this.number + 1}, after ${this.sizeBytes} bytes: the file was cut short`);
      searched = this.#at + length;
    }
  }

  /** The SHA-256 of all lines so far, with their ends. The last of it: what comes later is not hashed. */
  digest(): string {
    this.#hashLines();
    this.#isDigested = true;
    return this.#hash.hex();
  }

  /** Asserts that nothing follows. */
  async end(): Promise<void> {
    if (this.#at < this.#chunk.length || await this.#more()) throw this.corrupt(`there is more behind the end, line ${this.number}`);
    if (!this.#isCompressed) return;
    // Some decompressors pass over what follows. The last of a gzip file is the length of its text.
    const tail = await slice(this.#blob, -4);
    if (new DataView(tail.buffer).getUint32(0, true) !== this.sizeBytes % 2 ** 32) throw this.corrupt('there is more behind the end of the compressed text');
  }

  async close(): Promise<void> {
    await this.#chunks.return();
  }

  corrupt(what: string, cause?: unknown): StatikError {
    return new StatikError({ code: 'Corrupt', message: `${this.name}: ${what}` }, cause === undefined ? {} : { cause });
  }

  /** What messages call the backup. */
  get name(): string {
    return nameOf(this.#blob);
  }

  /** The next line, if its end is there; not before `searched`. */
  #ready(searched: number): string | undefined {
    const end = this.#chunk.indexOf(NEWLINE, searched);
    if ((end < 0 ? this.#chunk.length : end) - this.#at > LINE_LIMIT_BYTES) {
      throw this.corrupt(`line ${this.number + 1} is longer than ${LINE_LIMIT_BYTES} bytes`);
    }
    return end < 0 ? undefined : this.#line(end);
  }

  #line(end: number): string {
    const bytes = this.#chunk.subarray(this.#at, end);
    this.number++;
    this.sizeBytes += bytes.length + 1;
    this.#at = end + 1;
    try {
      return this.#decoder.decode(bytes);
    } catch (cause) {
      throw this.corrupt(`line ${this.number} is not UTF-8`, cause);
    }
  }

  /** Gets the next bytes behind those that no line has taken; false at the end. */
  async #more(): Promise<boolean> {
    const { value, done } = await this.#chunks.next();
    if (done) return false;
    this.#hashLines();
    this.#append(value);
    return true;
  }

  #append(bytes: Uint8Array): void {
    const rest = this.#chunk.subarray(this.#at);
    const end = this.#chunk.length + bytes.length;
    if (rest.length > 0 && end <= this.#room.length) {
      this.#room.set(bytes, this.#chunk.length);
      this.#chunk = this.#room.subarray(0, end);
      return;
    }
    this.#at = 0;
    this.#hashed = 0;
    this.#chunk = bytes;
    this.#room = new Uint8Array();
    if (rest.length === 0) return;
    // Twice the room: a line that comes in many pieces is not copied for each.
    this.#room = new Uint8Array(2 * rest.length + bytes.length);
    this.#room.set(rest);
    this.#room.set(bytes, rest.length);
    this.#chunk = this.#room.subarray(0, rest.length + bytes.length);
  }

  #hashLines(): void {
    if (!this.#isDigested) this.#hash.update(this.#chunk.subarray(this.#hashed, this.#at));
    this.#hashed = this.#at;
  }

  /** The Blob as it lies. */
  async *#bytes(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const { signal, onProgress } = this.#options;
    const { size: totalBytes } = this.#blob;
    for (let at = 0; at < totalBytes; at += READ_BYTES) {
      const bytes = await slice(this.#blob, at, at + READ_BYTES);
      for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
        signal?.throwIfAborted();
        const end = Math.min(start + PIECE_BYTES, bytes.length);
        onProgress?.({ doneBytes: at + end, totalBytes });
        // A copy: a stream may keep what it is given.
        yield bytes.slice(start, end);
      }
    }
  }
}

async function slice(blob: Blob, start: number, end?: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await blob.slice(start, end).arrayBuffer());
  } catch (cause) {
    throw new StatikError({ code: 'Io', message: `${nameOf(blob)}: reading it at byte ${start} failed: ${String(cause)}` }, { cause });
  }
}

function nameOf(blob: Blob): string {
  return 'name' in blob && typeof blob.name === 'string' ? `backup ${blob.name}` : 'backup';
}
