/**
 * A CSV file becomes a table, in one transaction: it is all there, or nothing is.
 *
 * The file is read twice: once to see what its columns hold, once to insert. A column is INTEGER or REAL only if
 * every value in it survives the conversion, so that leading zeros and long numbers stay text.
 */
import type { Database, SqlValue, Statement, Transaction } from 'statik-storage';
import { CsvError, detectDelimiter, readCsv, type CsvRecord, type Field } from './csv.js';
import { identifier } from './sql.js';

export interface ImportOptions {
  signal: AbortSignal;
  onProgress: (progress: { doneBytes: number; totalBytes: number }) => void;
}

/** What a column's values have been so far; `undefined` while it had none. */
type ColumnType = 'INTEGER' | 'REAL' | 'TEXT' | undefined;

interface Column {
  name: string;
  type: ColumnType;
}

/** Rows in one INSERT: a call costs more than a row. */
const BATCH_ROWS = 500;
/** SQLite's limit of parameters in one statement. */
const MAX_PARAMETERS = 32_766;
/** Decimal digits that a double keeps. */
const REAL_DIGITS = 15;

/** Makes the table that `wanted` names, or one numbered after it if that exists. */
export async function importCsv(db: Database, file: File, wanted: string, options: ImportOptions): Promise<{ table: string; rows: number }> {
  const delimiter = await detectDelimiter(file);
  let doneBytes = 0;
  const reading = {
    delimiter,
    signal: options.signal,
    onBytes: (length: number) => options.onProgress({ doneBytes: (doneBytes += length), totalBytes: 2 * file.size }),
  };
  const columns = await inspect(readCsv(file, reading));
  return db.transaction(async (tx) => {
    const table = await freeName(tx, wanted);
    await tx.exec(`CREATE TABLE ${identifier(table)} (${columns.map(({ name, type }) => `${identifier(name)} ${type ?? 'TEXT'}`).join(', ')})`);
    const rows = await insertRecords(tx, table, columns, readCsv(file, reading), options.signal);
    return { table, rows };
  });
}

/** The columns: their names from the first line, their types from all values. */
async function inspect(chunks: AsyncIterable<CsvRecord[]>): Promise<Column[]> {
  let columns: Column[] | undefined;
  let tests: TypeTest[] = [];
  for await (const records of chunks) {
    for (const { fields } of records) {
      if (columns) for (let index = 0; index < fields.length; index += 1) tests[index]?.see(fields[index] ?? null);
      else {
        columns = columnNames(fields).map((name) => ({ name, type: undefined }));
        tests = columns.map(() => new TypeTest());
      }
    }
  }
  if (!columns) throw new CsvError(1, 'the file is empty; its first line should name the columns');
  return columns.map(({ name }, index) => ({ name, type: tests[index]?.type }));
}

/** The narrowest type that keeps every value seen. */
class TypeTest {
  type: ColumnType;
  /** An integer too long for a double was seen. */
  #long = false;

  see(field: Field): void {
    if (field === null || this.type === 'TEXT') return;
    const type = typeOf(field);
    if (type === 'INTEGER' && digits(field) > REAL_DIGITS) this.#long = true;
    if (this.type === undefined || type === 'TEXT' || this.type === type) this.type = type;
    else this.type = 'REAL';
    if (this.type === 'REAL' && this.#long) this.type = 'TEXT';
  }
}

function typeOf(field: string): ColumnType {
  const match = /^-?(?:0|[1-9]\d*)(\.\d+)?(?:[eE][+-]?\d{1,2})?$/.exec(field);
  if (!match || field === '-0') return 'TEXT';
  if (/^-?\d+$/.test(field)) return BigInt.asIntN(64, BigInt(field)) === BigInt(field) ? 'INTEGER' : 'TEXT';
  return digits(field) > REAL_DIGITS ? 'TEXT' : 'REAL';
}

function digits(number: string): number {
  return number.replace(/[eE].*/, '').replace(/\D/g, '').length;
}

function convert(field: Field, type: ColumnType): SqlValue {
  if (field === null || type === 'TEXT' || type === undefined) return field;
  const number = Number(field);
  return type === 'INTEGER' && !Number.isSafeInteger(number) ? BigInt(field) : number;
}

/** Names that differ in more than case, as SQLite wants them, for a header that may leave some out. */
function columnNames(header: readonly Field[]): string[] {
  const taken = new Set<string>();
  return header.map((field, index) => {
    const wanted = field?.trim() || `column_${index + 1}`;
    const name = numbered(wanted, (candidate) => taken.has(candidate.toLowerCase()));
    taken.add(name.toLowerCase());
    return name;
  });
}

async function freeName(tx: Transaction, wanted: string): Promise<string> {
  const rows = await tx.all<[string]>('SELECT lower(name) FROM sqlite_schema', undefined, { rows: 'array' });
  const taken = new Set(rows.map(([name]) => name));
  return numbered(wanted, (candidate) => taken.has(candidate.toLowerCase()));
}

function numbered(wanted: string, isTaken: (name: string) => boolean): string {
  let name = wanted;
  for (let number = 2; isTaken(name); number += 1) name = `${wanted}_${number}`;
  return name;
}

/** Inserts all records but the first, by a statement for a full batch and one for the rest. */
async function insertRecords(tx: Transaction, table: string, columns: readonly Column[], chunks: AsyncIterable<CsvRecord[]>, signal: AbortSignal): Promise<number> {
  const batchRows = Math.max(1, Math.min(BATCH_ROWS, Math.floor(MAX_PARAMETERS / columns.length)));
  const row = `(${columns.map(() => '?').join(', ')})`;
  const prepare = (rows: number): Promise<Statement> => tx.prepare(`INSERT INTO ${identifier(table)} VALUES ${Array(rows).fill(row).join(', ')}`);
  const full = await prepare(batchRows);
  let values: SqlValue[] = [];
  let seen = 0;
  for await (const records of chunks) {
    for (const { fields } of records) {
      seen += 1;
      if (seen === 1) continue;
      for (let index = 0; index < fields.length; index += 1) values.push(convert(fields[index] ?? null, columns[index]?.type));
      if (values.length < batchRows * columns.length) continue;
      await full.run(values, { signal });
      values = [];
    }
  }
  await full.finalize();
  if (values.length > 0) {
    const rest = await prepare(values.length / columns.length);
    await rest.run(values, { signal });
    await rest.finalize();
  }
  return seen - 1;
}

/** A name for a table, from a file's: usable in SQL without quotes if it is in Latin letters. */
export function tableName(fileName: string): string {
  const name = fileName.replace(/\.[^.]*$/, '').normalize('NFC').replace(/[^\p{L}\p{N}]+/gu, '_').replace(/^_+|_+$/g, '').slice(0, 60);
  return /^\p{L}/u.test(name) && !/^sqlite_/i.test(name) ? name : `t_${name}`;
}
