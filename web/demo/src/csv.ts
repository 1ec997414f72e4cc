/**
 * Comma-separated values, RFC 4180, read as they stream in and written.
 *
 * Quoted fields may hold delimiters, quotes and line ends; lines end in LF, CRLF or CR. An empty field is null, a quoted
 * empty one is the empty string. A line with more or fewer fields than the header is an error that names the line, as
 * is a quote that is never closed. Text is UTF-8, with or without a byte order mark; other bytes are an error.
 */
import type { RowArray } from 'statik-storage';

/** What is wrong with a file, and in which line. */
export class CsvError extends Error {
  constructor(line: number, problem: string) {
    super(`Line ${line.toLocaleString()}: ${problem}`);
    this.name = 'CsvError';
  }
}

export type Field = string | null;

export interface CsvRecord {
  /** The line, from 1, that it begins in. */
  line: number;
  fields: Field[];
}

const QUOTE = 34;
const CR = 13;
const LF = 10;

/** Cuts text into records. What a chunk leaves unfinished waits for the next. */
export class CsvParser {
  readonly #delimiter: number;
  #state: 'start' | 'plain' | 'quoted' | 'closing' = 'start';
  #text = '';
  #fields: Field[] = [];
  #line = 1;
  #recordLine = 1;
  #quoteLine = 1;
  #afterCr = false;

  constructor(delimiter: string) {
    this.#delimiter = delimiter.charCodeAt(0);
  }

  /** The records that this chunk completes. */
  push(chunk: string): CsvRecord[] {
    const records: CsvRecord[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'quoted') {
        at = this.#quoted(chunk, at);
        continue;
      }
      const code = chunk.charCodeAt(at);
      if (code === LF && this.#afterCr) at += 1;
      else if (code === CR || code === LF) {
        at += 1;
        records.push(this.#endRecord());
      } else if (code === this.#delimiter) {
        at += 1;
        this.#endField();
      } else if (code === QUOTE && this.#state !== 'plain') {
        at += 1;
        this.#quote();
      } else at = this.#plain(chunk, at);
      this.#afterCr = code === CR;
    }
    return records;
  }

  /** The last record, if the file does not end with a line end. */
  end(): CsvRecord[] {
    if (this.#state === 'quoted') throw new CsvError(this.#quoteLine, 'a quote is opened here and never closed');
    return this.#state === 'start' && this.#fields.length === 0 ? [] : [this.#endRecord()];
  }

  /** Takes what is within quotes, up to the next quote. */
  #quoted(chunk: string, at: number): number {
    const found = chunk.indexOf('"', at);
    const end = found < 0 ? chunk.length : found;
    const taken = chunk.slice(at, end);
    this.#text += taken;
    for (let next = taken.indexOf('\n'); next >= 0; next = taken.indexOf('\n', next + 1)) this.#line += 1;
    if (found >= 0) this.#state = 'closing';
    return end + 1;
  }

  /** A quote outside of quotes: it opens a field, or, right behind one that seemed to close, it stands for itself. */
  #quote(): void {
    if (this.#state === 'closing') this.#text += '"';
    else this.#quoteLine = this.#line;
    this.#state = 'quoted';
  }

  #plain(chunk: string, at: number): number {
    if (this.#state === 'closing') throw new CsvError(this.#line, `text follows a closing quote: ${JSON.stringify(chunk.slice(at, at + 20))}`);
    let end = at + 1;
    for (; end < chunk.length; end += 1) {
      const code = chunk.charCodeAt(end);
      if (code === this.#delimiter || code === LF || code === CR) break;
    }
    this.#text += chunk.slice(at, end);
    this.#state = 'plain';
    return end;
  }

  #endField(): void {
    this.#fields.push(this.#state === 'start' ? null : this.#text);
    this.#text = '';
    this.#state = 'start';
  }

  #endRecord(): CsvRecord {
    this.#endField();
    const record = { line: this.#recordLine, fields: this.#fields };
    this.#fields = [];
    this.#line += 1;
    this.#recordLine = this.#line;
    return record;
  }
}

export interface ReadOptions {
  delimiter: string;
  signal: AbortSignal;
  /** Called with the length of each chunk that has been read. */
  onBytes: (length: number) => void;
}

/** The records of a file, as many at a time as a chunk of it holds. All have as many fields as the first. */
export async function* readCsv(file: Blob, { delimiter, signal, onBytes }: ReadOptions): AsyncGenerator<CsvRecord[]> {
  const parser = new CsvParser(delimiter);
  let columns: number | undefined;
  const checked = (records: CsvRecord[]): CsvRecord[] => records.filter(({ line, fields }) => {
    columns ??= fields.length;
    // A blank line is a record of one empty field; only in a file of one column may it mean something.
    if (columns > 1 && fields.length === 1 && fields[0] === null) return false;
    if (fields.length === columns) return true;
    throw new CsvError(line, `${fields.length} field${fields.length === 1 ? '' : 's'}, where the first line has ${columns}`);
  });
  for await (const text of readText(file, signal, onBytes)) yield checked(parser.push(text));
  yield checked(parser.end());
}

async function* readText(file: Blob, signal: AbortSignal, onBytes: (length: number) => void): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let lines = 1;
  const decode = (chunk?: Uint8Array): string => {
    try {
      const text = decoder.decode(chunk, { stream: chunk !== undefined });
      lines += text.split('\n').length - 1;
      return text;
    } catch (cause) {
      throw new Error(`Not UTF-8 text, somewhere after line ${lines.toLocaleString()}. Save the file as UTF-8 and try again.`, { cause });
    }
  };
  const reader = file.stream().getReader();
  try {
    for (;;) {
      signal.throwIfAborted();
      const { value, done } = await reader.read();
      if (done) break;
      yield decode(value);
      onBytes(value.length);
    }
    yield decode();
  } finally {
    await reader.cancel();
  }
}

/** The delimiter that the first line has most of outside of quotes, and a comma if it has none. */
export async function detectDelimiter(file: Blob): Promise<string> {
  const [head = ''] = (await file.slice(0, 65_536).text()).replaceAll(/"[^"]*"/g, '').split(/[\r\n]/, 1);
  const counted = [',', ';', '\t', '|'].map((delimiter) => ({ delimiter, count: head.split(delimiter).length }));
  return counted.reduce((best, next) => (next.count > best.count ? next : best)).delimiter;
}

/** A result as CSV, in pieces. Blobs are written in hexadecimal, as SQL writes them. */
export function* writeCsv(columns: readonly string[], rows: readonly RowArray[]): Generator<string> {
  yield `${columns.map(quote).join(',')}\r\n`;
  for (const row of rows) {
    yield `${row.map((value) => (value === null ? '' : quote(value instanceof Uint8Array ? blobLiteral(value) : String(value)))).join(',')}\r\n`;
  }
}

function quote(text: string): string {
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Bytes as SQL's `x'…'`. */
export function blobLiteral(value: Uint8Array): string {
  return `x'${Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('')}'`;
}
