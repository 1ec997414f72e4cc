/** What a dropped file is, and what its database is called. */

const EXTENSION = /\.(db|db3|sqlite|sqlite3|s3db|sl3)$/i;
const CSV_EXTENSION = /\.(csv|tsv|tab|txt)$/i;

/** A database by its first bytes, or by its name, so that a damaged one gets SQLite's own verdict; else CSV. */
export async function kindOfFile(file: File): Promise<'database' | 'csv'> {
  const head = await file.slice(0, 16).text();
  if (head === 'SQLite format 3\0' || EXTENSION.test(file.name)) return 'database';
  if (CSV_EXTENSION.test(file.name) || file.type === 'text/csv') return 'csv';
  throw new Error('this is neither a SQLite database nor a CSV file');
}

/** A file name as the name of a database: letters, digits and `. _ -`, with a database's extension. */
export function databaseName(fileName: string): string {
  const name = fileName.normalize('NFC').replace(CSV_EXTENSION, '').replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[.-]+|[.-]+$/g, '').slice(-60);
  return EXTENSION.test(name) ? name : `${name || 'untitled'}.db`;
}

/** The name itself, or with a number before its extension if it is taken. */
export function freeName(wanted: string, taken: ReadonlySet<string>): string {
  const dot = wanted.lastIndexOf('.');
  let name = wanted;
  for (let number = 2; taken.has(name); number += 1) name = `${wanted.slice(0, dot)}-${number}${wanted.slice(dot)}`;
  return name;
}
