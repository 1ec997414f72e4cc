/**
 * The machine's own `sqlite3`: it makes the databases that are imported, and judges those that were exported.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from './browsers.mjs';

const folder = temporaryFolder('sqlite3');
let files = 0;

/** Runs SQL on a file, and gives its output by lines. */
export function sqlite3(file, sql) {
  return execFileSync('sqlite3', ['-batch', '-bail', file], { input: sql, encoding: 'utf8', maxBuffer: 1 << 28 }).split('\n').slice(0, -1);
}

/** A path for a database that does not exist yet. */
export function newFile() {
  return path.join(folder, `${++files}.db`);
}

/** A database made by this SQL. @returns {Buffer} */
export function makeDatabase(sql) {
  const file = newFile();
  sqlite3(file, sql);
  return readFileSync(file);
}

/** Writes bytes down, to be looked at by `sqlite3`. @param {Uint8Array} bytes */
export function saveDatabase(bytes) {
  const file = newFile();
  writeFileSync(file, bytes);
  return file;
}

/** Everything in a database, as SQL: equal for equal contents. */
export function dump(file) {
  return sqlite3(file, '.dump');
}
