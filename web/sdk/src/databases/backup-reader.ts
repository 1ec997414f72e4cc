/**
 * Reads a backup (web/sdk/docs/backup-format.md): first to inspect all of it before anything is touched, then again for
 * what is in it.
 *
 * Invariants:
 * - Constant memory: what is held is one line, one batch of records, and the names.
 * - A backup is sound, or refused: by its beginning (`Invalid`: of something else), by its version (`Unsupported`), or as
 *   `Corrupt`. The message says where and why.
 * - Nothing of a backup is to be relied on before it was read to its end: the hash is behind everything else.
 */
import { decodeTree } from '../codec.js';
import { failure, StatikError } from '../errors.js';
import { fromBase64 } from '../base64.js';
import { Counts, FILE_SECTIONS, FORMAT_VERSION, OPENING } from './backup-format.js';
import type { BackupItem, BackupMetadata, BackupRecord, BackupSummary, FileSection } from './backup-format.js';
import { Lines } from './backup-lines.js';
import type { ReadBackupOptions } from './backup-lines.js';

export type { ReadBackupOptions } from './backup-lines.js';

/** Records come in batches of at most so many, or of so many characters of JSON. */
const BATCH_RECORDS = 512;
const BATCH_CHARACTERS = 1024 * 1024;

/** Reads all of `blob`, and says what is in it. Fails if anything is wrong with it: then nothing of it can be used. */
export async function inspectBackup(blob: Blob, options: ReadBackupOptions = {}): Promise<BackupSummary> {
  const items = new Reader(await Lines.of(blob, options)).items();
  for (;;) {
    const { value, done } = await items.next();
    if (done) return value;
  }
}

/**
 * What is in `blob`, which was inspected before: each time anew, and verified again. `Conflict` if it is no longer what
 * `inspected` tells. Only when the iteration has ended without an error is what it gave known to be whole.
 */
export async function* readBackup(blob: Blob, inspected: BackupSummary, options: ReadBackupOptions = {}): AsyncGenerator<BackupItem, void, undefined> {
  const lines = await Lines.of(blob, options);
  const { sha256 } = yield* new Reader(lines).items();
  if (sha256 !== inspected.sha256) {
    throw failure('Conflict', `${lines.name}: is not what was inspected: its SHA-256 is ${sha256}; it was ${inspected.sha256}`);
  }
}

class Reader {
  readonly #lines: Lines;
  readonly #counts: Counts;
  readonly #databases: BackupSummary['databases'] = [];
  #records = 0;

  constructor(lines: Lines) {
    this.#lines = lines;
    this.#counts = new Counts((what) => this.#corrupt(what));
  }

  async *items(): AsyncGenerator<BackupItem, BackupSummary, undefined> {
    try {
      const timestampMs = await this.#header();
      const metadata = this.#metadata(await this.#value('metadata'));
      const schemas = await this.#schemas();
      yield* this.#sections(schemas);
      await this.#total();
      const sha256 = await this.#hash();
      await this.#lines.end();
      const files = (section: FileSection) => Array.from(this.#counts[section], ([name, sizeBytes]) => ({ name, sizeBytes }));
      return {
        version: FORMAT_VERSION, timestampMs, metadata, databases: this.#databases, sqlite: files('sqlite'), files: files('files'),
        records: this.#records, sizeBytes: this.#lines.sizeBytes, sha256,
      };
    } finally {
      await this.#lines.close();
    }
  }

  /** The first line, whose beginning is the same in every version. */
  async #header(): Promise<number> {
    const start = await this.#lines.start(OPENING.length + 16);
    if (!start.startsWith(OPENING)) {
      if (OPENING.startsWith(start) && start !== '') throw this.#corrupt('it was cut short within its first line');
      throw failure('Invalid', `${this.#lines.name}: is not a Statik backup: expected ${OPENING}…; it begins with ${JSON.stringify(start.slice(0, 40))}`);
    }
    const version = Number(/^(\d{1,9})[^\d]/.exec(start.slice(OPENING.length))?.[1]);
    if (version > FORMAT_VERSION) {
      throw failure('Unsupported', `${this.#lines.name}: is of format version ${version}, which a newer Statik has written; this one reads up to ${FORMAT_VERSION}`);
    }
    const line = await this.#lines.next();
    const timestamp = /^1,"timestamp":(0|[1-9]\d{0,15}),$/.exec(line.slice(OPENING.length))?.[1];
    if (timestamp === undefined || !Number.isSafeInteger(Number(timestamp))) throw this.#corrupt(`expected version and timestamp; it is ${shown(line)}`);
    return Number(timestamp);
  }

  /** A line that is a member of the document: its value. */
  async #value(name: string): Promise<unknown> {
    const line = await this.#lines.next();
    const start = `${JSON.stringify(name)}:`;
    if (!line.startsWith(start) || !line.endsWith(',')) throw this.#corrupt(`expected ${start}…,; it is ${shown(line)}`);
    return this.#json(line.slice(start.length, -1), name);
  }

  #metadata(tree: unknown): BackupMetadata {
    const metadata = this.#decoded(tree, 'the metadata') as BackupMetadata;
    for (const field of ['instance_id', 'export_reason'] as const) {
      if (typeof metadata !== 'object' || metadata === null || typeof metadata[field] !== 'string') throw this.#corrupt(`the metadata has no ${field}`);
    }
    return metadata;
  }

  /** By database. */
  async #schemas(): Promise<Map<string, unknown>> {
    const schemas = await this.#value('schemas');
    if (typeof schemas !== 'object' || schemas === null || Array.isArray(schemas)) throw this.#corrupt('the schemas are not an object');
    return new Map(Object.entries(schemas).map(([name, schema]) => [name, this.#decoded(schema, `the schema of ${name}`)]));
  }

  async *#sections(schemas: Map<string, unknown>): AsyncGenerator<BackupItem, void, undefined> {
    await this.#expect('"databases":{');
    const databases = new List(this.#lines, '}');
    for (let name; (name = this.#opened(await databases.next(), '{')) !== undefined;) {
      const counts = this.#counts.database(name);
      if (!schemas.has(name)) throw this.#corrupt(`the database ${JSON.stringify(name)} has no schema`);
      const schema = schemas.get(name);
      yield { type: 'database', database: name, schema };
      databases.isFollowed = yield* this.#stores(name, counts);
      this.#databases.push({ name, schema, stores: Array.from(counts, ([store, records]) => ({ name: store, records })) });
    }
    for (const name of schemas.keys()) if (!this.#counts.databases.has(name)) throw this.#corrupt(`the database ${JSON.stringify(name)} is missing`);
    this.#continued(databases);
    for (const section of FILE_SECTIONS) {
      await this.#expect(`${JSON.stringify(section)}:{`);
      const files = new List(this.#lines, '}');
      for (let name; (name = this.#opened(await files.next(), '[')) !== undefined;) {
        this.#counts.add(this.#counts[section], 'file', name, 0);
        yield { type: 'file', section, name };
        files.isFollowed = yield* this.#pieces(section, name);
      }
      this.#continued(files);
    }
  }

  /** The stores of a database. Answers whether a comma follows. */
  async *#stores(database: string, counts: Map<string, number>): AsyncGenerator<BackupItem, boolean, undefined> {
    const stores = new List(this.#lines, '}');
    for (let name; (name = this.#opened(await stores.next(), '[')) !== undefined;) {
      this.#counts.add(counts, `store of ${database}`, name, 0);
      yield { type: 'store', database, store: name };
      const records = new List(this.#lines, ']');
      let batch: BackupRecord[] = [];
      let characters = 0;
      let count = 0;
      for (;; count++) {
        const next = records.item();
        const line = next instanceof Promise ? await next : next;
        if (line === undefined) break;
        batch.push(this.#record(line, `${database}.${name}, record ${count}`));
        characters += line.length;
        if (batch.length < BATCH_RECORDS && characters < BATCH_CHARACTERS) continue;
        yield { type: 'records', database, store: name, records: batch };
        batch = [];
        characters = 0;
      }
      if (batch.length > 0) yield { type: 'records', database, store: name, records: batch };
      counts.set(name, count);
      this.#records += count;
      stores.isFollowed = records.isContinued;
    }
    return stores.isContinued;
  }

  /** The bytes of a file. Answers whether a comma follows. */
  async *#pieces(section: FileSection, name: string): AsyncGenerator<BackupItem, boolean, undefined> {
    const pieces = new List(this.#lines, ']');
    let sizeBytes = 0;
    for (let line; (line = await pieces.item()) !== undefined;) {
      const text = this.#json(line, name);
      const bytes = typeof text === 'string' ? fromBase64(text) : undefined;
      if (bytes === undefined) throw this.#corrupt(`${name}, byte ${sizeBytes}: expected base64; it is ${shown(line)}`);
      sizeBytes += bytes.length;
      yield { type: 'bytes', section, name, bytes };
    }
    this.#counts[section].set(name, sizeBytes);
    return pieces.isContinued;
  }

  #record(line: string, what: string): BackupRecord {
    const tree = this.#json(line, what);
    if (typeof tree !== 'object' || tree === null || !Object.hasOwn(tree, '$')) return { value: this.#decoded(tree, what) };
    const { $: tag, key: keyTree, value } = tree as Record<string, unknown>;
    if (tag !== 'record') return { value: this.#decoded(tree, what) };
    if (!Object.hasOwn(tree, 'value')) throw this.#corrupt(`${what}: has no value`);
    const key = this.#decoded(keyTree, `the key of ${what}`);
    if (!isKey(key, new Set())) throw this.#corrupt(`the key of ${what}: is not a key that IndexedDB takes`);
    return { key, value: this.#decoded(value, what) };
  }

  async #total(): Promise<void> {
    const line = await this.#lines.next();
    const counted = `"counts":${String(this.#counts)},`;
    if (line === counted) return;
    let same = 0;
    while (same < line.length && line[same] === counted[same]) same++;
    const from = Math.max(0, same - 40);
    throw this.#corrupt(`the counts are wrong: counted ${shown(counted.slice(from))}; they are ${shown(line.slice(from))}`);
  }

  async #hash(): Promise<string> {
    const digest = this.#lines.digest();
    const told = /^"sha256":"([0-9a-f]{64})"\}$/.exec(await this.#lines.next())?.[1];
    if (told === undefined) throw this.#corrupt('expected the SHA-256 and the end');
    if (told !== digest) throw this.#corrupt(`the contents are not those that were written: their SHA-256 is ${digest}; it should be ${told}`);
    return digest;
  }

  async #expect(expected: string): Promise<void> {
    const line = await this.#lines.next();
    if (line !== expected) throw this.#corrupt(`expected ${expected}; it is ${shown(line)}`);
  }

  /** Behind a section comes another. */
  #continued(list: List): void {
    if (!list.isContinued) throw this.#corrupt('a comma is missing');
  }

  /** The name in a line that opens something; nothing if the list has ended instead. */
  #opened(line: string | undefined, bracket: '{' | '['): string | undefined {
    if (line === undefined) return undefined;
    const name = line.endsWith(`":${bracket}`) ? this.#json(line.slice(0, -2), 'a name') : undefined;
    if (typeof name !== 'string') throw this.#corrupt(`expected a name and ${bracket}; it is ${shown(line)}`);
    return name;
  }

  #json(text: string, what: string): unknown {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw this.#corrupt(`${what}: is not JSON: ${String(cause)}`, cause);
    }
  }

  #decoded(tree: unknown, what: string): unknown {
    try {
      return decodeTree(tree);
    } catch (error) {
      const { code, message } = StatikError.from(error);
      throw new StatikError({ code, message: `${this.#lines.name}: line ${this.#lines.number}: ${what}: ${message}` }, { cause: error });
    }
  }

  #corrupt(what: string, cause?: unknown): StatikError {
    return this.#lines.corrupt(`line ${this.#lines.number}: ${what}`, cause);
  }
}

/** The items of a list, until the line that closes it. Between items stands a comma, at the end of the item's last line. */
class List {
  readonly #lines: Lines;
  readonly #close: '}' | ']';
  #isEmpty = true;
  /** Whether a comma stands behind the item; set by whoever reads its last line. */
  isFollowed = false;
  /** Whether a comma stands behind the list. */
  isContinued = false;

  constructor(lines: Lines, close: '}' | ']') {
    this.#lines = lines;
    this.#close = close;
  }

  /** An item's first line, or nothing. */
  async next(): Promise<string | undefined> {
    return this.#opens(await this.#lines.next());
  }

  /** An item of one line, without its comma. */
  item(): string | undefined | Promise<string | undefined> {
    const line = this.#lines.next();
    return typeof line === 'string' ? this.#whole(line) : line.then((line) => this.#whole(line));
  }

  #whole(first: string): string | undefined {
    const line = this.#opens(first);
    if (line === undefined) return undefined;
    this.isFollowed = line.endsWith(',');
    return this.isFollowed ? line.slice(0, -1) : line;
  }

  #opens(line: string): string | undefined {
    const { number } = this.#lines;
    if (line === this.#close || line === `${this.#close},`) {
      if (this.isFollowed) throw this.#lines.corrupt(`line ${number}: nothing follows the comma before it`);
      this.isContinued = line.length > 1;
      return undefined;
    }
    if (!this.#isEmpty && !this.isFollowed) throw this.#lines.corrupt(`line ${number}: expected ${this.#close}; it is ${shown(line)}`);
    this.#isEmpty = false;
    return line;
  }
}

/** Whether IndexedDB takes it for a key. `seen` are the arrays so far: a key that came from IndexedDB has none twice. */
function isKey(key: unknown, seen: Set<unknown>): key is IDBValidKey {
  if (typeof key === 'string' || typeof key === 'number') return !Number.isNaN(key);
  if (key instanceof Date) return !Number.isNaN(key.getTime());
  if (!Array.isArray(key)) return key instanceof ArrayBuffer || ArrayBuffer.isView(key);
  if (seen.has(key)) return false;
  seen.add(key);
  // A hole is not a key either, and `every` would pass over it.
  return Object.keys(key).length === key.length && key.every((part) => isKey(part, seen));
}

/** As much of a line as a message takes. */
function shown(line: string): string {
  return line.length > 80 ? `${JSON.stringify(line.slice(0, 80))}…` : JSON.stringify(line);
}
