/**
 * Writes a backup (web/sdk/docs/backup-format.md) as a stream.
 *
 * Invariants:
 * - Constant memory: nothing is asked of the source before it is read from the stream, but what fills one chunk.
 * - However the stream ends, the source's iterators have been ended too.
 * - What the reader would refuse fails here: two stores of one name, a record that is too large or that JSON cannot carry.
 */
import { encodeTree, encodeTreeSoon } from '../codec.js';
import type { Json } from '../codec.js';
import { failure, StatikError } from '../errors.js';
import { toBase64 } from '../base64.js';
import { Sha256 } from '../sha256.js';
import { Counts, FILE_SECTIONS, FORMAT_VERSION, LINE_LIMIT_BYTES, OPENING } from './backup-format.js';
import { passed } from './gzip.js';
import type { BackupRecord, BackupSource, Bytes, DatabaseSource, FileSection, FileSource } from './backup-format.js';

/** Text is hashed and passed on when there is this much of it. */
const CHUNK_CHARACTERS = 64 * 1024;
/** Bytes of a file in one line: a multiple of 3, so that only its last line is padded. */
const PIECE_BYTES = 48 * 1024;

export interface WriteBackupOptions {
  /** Ends the stream with the signal's reason. */
  signal?: AbortSignal;
  /** `doneBytes` of text, before compression. `totalRecords` is missing if a store does not tell. */
  onProgress?: (progress: { doneRecords: number; totalRecords?: number; doneBytes: number }) => void;
  /** False: the bare text. Default true: gzip. */
  compress?: boolean;
}

/**
 * The backup of `source`, as it is read. The stream fails with what the source fails with, `Unsupported` for a value that
 * cannot be written, `Invalid` for a name that is there twice; the message says where.
 */
export function writeBackup(source: BackupSource, options: WriteBackupOptions = {}): ReadableStream<Uint8Array> {
  const { signal, compress = true } = options;
  const text = new Writer(source, options).chunks();
  const chunks = compress ? passed(text, new CompressionStream('gzip'), StatikError.from) : text;
  let onAbort = () => {};
  const end = () => {
    signal?.removeEventListener('abort', onAbort);
    // Whoever ended the stream does not wait for the source, nor for what it says to being ended.
    chunks.return(undefined).catch(() => {});
  };
  return new ReadableStream<Uint8Array>({
    start(controller) {
      onAbort = () => {
        controller.error(signal?.reason);
        end();
      };
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted) onAbort();
    },
    async pull(controller) {
      const { value, done } = await chunks.next().catch((error: unknown) => {
        end();
        throw error;
      });
      if (signal?.aborted) return;
      if (!done) return controller.enqueue(value);
      end();
      controller.close();
    },
    cancel: end,
  }, { highWaterMark: 0 });
}

class Writer {
  readonly #source: BackupSource;
  readonly #options: WriteBackupOptions;
  readonly #counts = new Counts((what) => failure('Invalid', `backup: ${what}`));
  readonly #hash = new Sha256();
  readonly #totalRecords: number | undefined;
  #text: string[] = [];
  #characters = 0;
  #doneRecords = 0;
  #doneBytes = 0;

  constructor(source: BackupSource, options: WriteBackupOptions) {
    this.#source = source;
    this.#options = options;
    const totals = source.databases.flatMap(({ stores }) => stores.map(({ totalRecords }) => totalRecords));
    this.#totalRecords = totals.reduce((sum, total) => sum === undefined || total === undefined ? undefined : sum + total, 0);
  }

  async *chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const { timestampMs, metadata, databases } = this.#source;
    this.#put(`${OPENING}${FORMAT_VERSION},"timestamp":${timestampMs},\n`);
    this.#put(`"metadata":${this.#line('the metadata', () => JSON.stringify(encodeTree(metadata)))},\n`);
    const schemas = databases.map(({ name, schema }) =>
      `${JSON.stringify(name)}:${this.#line(`the schema of ${name}`, () => JSON.stringify(encodeTree(schema)))}`);
    this.#put(`"schemas":${this.#line('the schemas', () => `{${schemas.join(',')}}`)},\n`);
    this.#put('"databases":{');
    for (const [i, database] of databases.entries()) {
      this.#put(i === 0 ? '\n' : ',\n');
      yield* this.#database(database);
    }
    this.#put('\n},\n');
    for (const section of FILE_SECTIONS) {
      this.#put(`${JSON.stringify(section)}:{`);
      let isFirst = true;
      for await (const file of this.#source[section] ?? []) {
        this.#put(isFirst ? '\n' : ',\n');
        isFirst = false;
        yield* this.#file(section, file);
      }
      this.#put('\n},\n');
    }
    this.#put(`"counts":${String(this.#counts)},\n`);
    yield this.#chunk();
    yield this.#counted(new TextEncoder().encode(`"sha256":"${this.#hash.hex()}"}\n`));
  }

  async *#database({ name, stores }: DatabaseSource): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const counts = this.#counts.database(name);
    this.#put(`${JSON.stringify(name)}:{`);
    for (const [i, store] of stores.entries()) {
      this.#counts.add(counts, `store of ${name}`, store.name, 0);
      this.#put(`${i === 0 ? '' : ','}\n${JSON.stringify(store.name)}:[`);
      let count = 0;
      for await (const batch of store.records()) {
        for (const record of batch) {
          this.#options.signal?.throwIfAborted();
          const what = `${name}.${store.name}, record ${count}`;
          const encoded = encodeRecord(record, what);
          const json = typeof encoded === 'string' ? encoded : await encoded;
          this.#put(count === 0 ? '\n' : ',\n');
          this.#put(this.#line(what, () => json));
          count++;
          this.#doneRecords++;
          if (this.#characters >= CHUNK_CHARACTERS) yield this.#chunk();
        }
      }
      counts.set(store.name, count);
      this.#put('\n]');
    }
    this.#put('\n}');
  }

  async *#file(section: FileSection, file: FileSource): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const counts = this.#counts[section];
    this.#counts.add(counts, 'file', file.name, 0);
    this.#put(`${JSON.stringify(file.name)}:[`);
    let sizeBytes = 0;
    for await (const bytes of iterated(await file.open())) {
      for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
        this.#options.signal?.throwIfAborted();
        const piece = bytes.subarray(start, start + PIECE_BYTES);
        this.#put(`${sizeBytes === 0 ? '' : ','}\n"${toBase64(piece)}"`);
        sizeBytes += piece.length;
        if (this.#characters >= CHUNK_CHARACTERS) yield this.#chunk();
      }
    }
    counts.set(file.name, sizeBytes);
    this.#put('\n]');
  }

  /** What `make` makes, if it fits in a line. */
  #line(what: string, make: () => string): string {
    let json: string;
    try {
      json = make();
    } catch (error) {
      throw told(what, error);
    }
    // A UTF-16 unit takes at most 3 bytes; what the line has around it is far below the rest.
    if (json.length * 3 < LINE_LIMIT_BYTES - 1024) return json;
    const { length } = new TextEncoder().encode(json);
    if (length < LINE_LIMIT_BYTES - 1024) return json;
    throw failure('Unsupported', `backup: ${what}: takes ${length} bytes of JSON; a backup holds at most ${LINE_LIMIT_BYTES - 1024} in one piece`);
  }

  #put(text: string): void {
    this.#text.push(text);
    this.#characters += text.length;
  }

  #chunk(): Uint8Array<ArrayBuffer> {
    const bytes = new TextEncoder().encode(this.#text.join(''));
    this.#text = [];
    this.#characters = 0;
    this.#hash.update(bytes);
    return this.#counted(bytes);
  }

  #counted(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    this.#doneBytes += bytes.length;
    this.#options.onProgress?.({
      doneRecords: this.#doneRecords,
      ...(this.#totalRecords !== undefined && { totalRecords: this.#totalRecords }),
      doneBytes: this.#doneBytes,
    });
    return bytes;
  }
}

/** Only a record with Blobs has to be waited for: to wait for each costs more than all else in some browsers. */
function encodeRecord({ key, value }: BackupRecord, what: string): string | Promise<string> {
  const line = (tree: Json) => key === undefined
    ? JSON.stringify(tree) : `{"$":"record","key":${JSON.stringify(encodeTree(key))},"value":${JSON.stringify(tree)}}`;
  try {
    const tree = encodeTreeSoon(value);
    return tree instanceof Promise ? tree.then(line).catch((error: unknown) => { throw told(what, error); }) : line(tree);
  } catch (error) {
    throw told(what, error);
  }
}

/** The same failure, saying where. */
function told(what: string, error: unknown): StatikError {
  const { code, message } = StatikError.from(error);
  return new StatikError({ code, message: `backup: ${what}: ${message}` }, { cause: error });
}

/** Safari cannot iterate streams. */
async function* iterated(bytes: Bytes): AsyncGenerator<Uint8Array, void, undefined> {
  if (!(bytes instanceof ReadableStream)) return yield* bytes;
  const reader = bytes.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // After the end it does nothing.
    await reader.cancel();
  }
}
