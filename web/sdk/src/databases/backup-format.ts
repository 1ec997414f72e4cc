/**
 * A backup as its file has it (web/sdk/docs/backup-format.md), and as its writer and its readers share it: what goes in,
 * what comes out, its limits, its counts.
 *
 * The file is one JSON document, cut into lines so that it can be written and read in constant memory: each line is a
 * record, or a piece of a file, or opens or closes what holds them. Its last line is the SHA-256 of all lines before.
 */
import type { StatikError } from '../errors.js';

/** Rises whenever a reader of the version before could misunderstand a file. */
export const FORMAT_VERSION = 1;

/** What every file begins with, whatever its version. */
export const OPENING = '{"format":"statik-backup","version":';

/** Bytes of a line, and so of a record in JSON. */
export const LINE_LIMIT_BYTES = 64 * 1024 * 1024;

/** Characters that all names together may take in the counts, which both sides hold in memory, and which are one line. */
const NAMES_LIMIT = 16 * 1024 * 1024;

/** The sections that hold whole files. */
export type FileSection = 'sqlite' | 'files';
export const FILE_SECTIONS: readonly FileSection[] = ['sqlite', 'files'];

/** One record of an IndexedDB store. */
export interface BackupRecord {
  /** Only where the store's keys lie outside its values. */
  key?: IDBValidKey;
  value: unknown;
}

/** Who made a backup, and why. */
export interface BackupMetadata {
  instance_id: string;
  export_reason: string;
  /** Whatever else the app notes down, of the types that the codec takes. */
  [name: string]: unknown;
}

/** What goes into a backup. Everything is asked for only when it is its turn, in the order given. */
export interface BackupSource {
  timestampMs: number;
  metadata: BackupMetadata;
  databases: readonly DatabaseSource[];
  /** SQLite databases, as their files. */
  sqlite?: Iterable<FileSource> | AsyncIterable<FileSource>;
  files?: Iterable<FileSource> | AsyncIterable<FileSource>;
}

export interface DatabaseSource {
  name: string;
  /** What the schema store says: version and history. Anything that the codec takes. */
  schema: unknown;
  stores: readonly StoreSource[];
}

export interface StoreSource {
  name: string;
  /** How many records there will be, for the progress, if that is known. */
  totalRecords?: number;
  /** In batches of whatever size it reads at once: to wait for each record would cost more than to write it. */
  records(): AsyncIterable<readonly BackupRecord[]>;
}

export interface FileSource {
  name: string;
  open(): Bytes | Promise<Bytes>;
}

/** Bytes as they come. */
export type Bytes = AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>;

/** What is in a backup, once it was read from its first to its last byte and found sound. */
export interface BackupSummary {
  version: number;
  timestampMs: number;
  metadata: BackupMetadata;
  databases: { name: string; schema: unknown; stores: { name: string; records: number }[] }[];
  sqlite: { name: string; sizeBytes: number }[];
  files: { name: string; sizeBytes: number }[];
  /** Of all stores together. */
  records: number;
  /** Of the text, uncompressed. */
  sizeBytes: number;
  /** Tells backups apart: the SHA-256 of all but the text's last line. */
  sha256: string;
}

/** What a backup is read as, in its order. A store without records is told by `store` alone, an empty file by `file`. */
export type BackupItem =
  | { type: 'database'; database: string; schema: unknown }
  | { type: 'store'; database: string; store: string }
  | { type: 'records'; database: string; store: string; records: BackupRecord[] }
  | { type: 'file'; section: FileSection; name: string }
  | { type: 'bytes'; section: FileSection; name: string; bytes: Uint8Array<ArrayBuffer> };

/**
 * What there is so far: records by database and store, bytes by file.
 *
 * Invariants: no name twice; the names stay within their limit.
 */
export class Counts {
  readonly databases = new Map<string, Map<string, number>>();
  readonly sqlite = new Map<string, number>();
  readonly files = new Map<string, number>();
  readonly #failure: (what: string) => StatikError;
  #names = 0;

  /** `failure` makes the error for a name that is refused. */
  constructor(failure: (what: string) => StatikError) {
    this.#failure = failure;
  }

  /** Starts a database; the answer takes its stores. */
  database(name: string): Map<string, number> {
    const stores = new Map<string, number>();
    this.add(this.databases, 'database', name, stores);
    return stores;
  }

  /** Starts a store or a file, of a kind that the message tells. */
  add<T>(counts: Map<string, T>, kind: string, name: string, start: T): void {
    if (counts.has(name)) throw this.#failure(`the ${kind} ${JSON.stringify(name)} is there twice`);
    this.#names += JSON.stringify(name).length + 24;
    if (this.#names > NAMES_LIMIT) throw this.#failure(`the names of databases, stores and files are longer than ${NAMES_LIMIT} characters together`);
    counts.set(name, start);
  }

  /** As they are written, so that equal counts have equal texts. Not by JSON.stringify: objects would reorder names. */
  toString(): string {
    const object = (entries: Iterable<[string, unknown]>) =>
      `{${Array.from(entries, ([name, value]) => `${JSON.stringify(name)}:${String(value)}`).join(',')}}`;
    const stores = Array.from(this.databases, ([name, counts]): [string, string] => [name, object(counts)]);
    return object([['databases', object(stores)], ['sqlite', object(this.sqlite)], ['files', object(this.files)]]);
  }
}
