/**
 * Makes target/demo/sample.db, the database that the demo offers on a first visit, from what Debian's `iso-codes` and
 * `unicode-data` ship, with the `sqlite3` shell: countries, their parts, languages, scripts and currencies with their
 * names in many languages, and Unicode's characters with a full-text index of their names.
 *
 * Where those texts or the shell are missing (macOS has no such packages) it says so and makes nothing: the demo then
 * offers no sample. The examples that the demo shows lie in the database itself, in the table `example`.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ask, command, Failure } from './process.mjs';

const CHECKOUT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const ISO = '/usr/share/iso-codes/json';
const LOCALES = '/usr/share/locale';
const UNICODE = '/usr/share/unicode';

/** Where the sample lies, if it could be made. */
export const SAMPLE = path.join(CHECKOUT, 'target/demo/sample.db');

/** @typedef {string | number | null} Value */

const SCHEMA = `
CREATE TABLE country (
  code TEXT PRIMARY KEY, alpha3 TEXT NOT NULL UNIQUE, numeric TEXT NOT NULL, name TEXT NOT NULL,
  official_name TEXT, flag TEXT) WITHOUT ROWID;
CREATE TABLE subdivision (
  code TEXT PRIMARY KEY, country TEXT NOT NULL REFERENCES country, name TEXT NOT NULL, type TEXT NOT NULL,
  parent TEXT REFERENCES subdivision DEFERRABLE INITIALLY DEFERRED) WITHOUT ROWID;
CREATE TABLE language (
  code TEXT PRIMARY KEY, alpha2 TEXT UNIQUE, name TEXT NOT NULL,
  scope TEXT NOT NULL CHECK (scope IN ('individual', 'macrolanguage', 'special')), type TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE script (code TEXT PRIMARY KEY, numeric TEXT NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE currency (code TEXT PRIMARY KEY, numeric TEXT NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE translation (
  kind TEXT NOT NULL, code TEXT NOT NULL, locale TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (kind, code, locale)) WITHOUT ROWID;
CREATE TABLE category (code TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE block (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, name TEXT NOT NULL UNIQUE);
CREATE TABLE character (
  codepoint INTEGER PRIMARY KEY, glyph TEXT, name TEXT NOT NULL, category TEXT NOT NULL REFERENCES category,
  block INTEGER REFERENCES block, bidi TEXT NOT NULL, decomposition TEXT, numeric TEXT,
  upper INTEGER, lower INTEGER);
CREATE TABLE example (title TEXT PRIMARY KEY, sql TEXT NOT NULL);
`;

/** After the rows: an index on full tables is built at once. */
const INDEXES = `
CREATE INDEX subdivision_country ON subdivision (country, type);
CREATE INDEX translation_locale ON translation (locale, kind);
CREATE INDEX character_category ON character (category);
CREATE INDEX character_block ON character (block);
CREATE VIEW character_listing AS
  SELECT printf('U+%04X', c.codepoint) AS code, c.glyph, c.name, category.name AS category, block.name AS block
  FROM character c JOIN category ON category.code = c.category LEFT JOIN block ON block.first = c.block;
CREATE VIRTUAL TABLE character_search USING fts5(name, content='character', content_rowid='codepoint');
INSERT INTO character_search (character_search) VALUES ('rebuild');
ANALYZE;
`;

/** What a visitor may try, in this order. @type {[title: string, sql: string][]} */
const EXAMPLES = [
  ['Find characters by name (full text)', `SELECT printf('U+%04X', c.codepoint) AS code, c.glyph,
       highlight(character_search, 0, '[', ']') AS name
FROM character_search
JOIN character c ON c.codepoint = character_search.rowid
WHERE character_search MATCH 'cat OR dog OR arrow*'
ORDER BY rank
LIMIT 200;`],
  ['Countries with the most subdivisions', `SELECT c.flag, c.name, count(*) AS parts,
       group_concat(DISTINCT s.type) AS kinds
FROM country c
JOIN subdivision s ON s.country = c.code
GROUP BY c.code
ORDER BY parts DESC
LIMIT 25;`],
  ['One country, many languages', `SELECT locale, name
FROM translation
WHERE kind = 'country' AND code = 'DE'
ORDER BY locale;`],
  ['Every name there is: over 100,000 rows', `SELECT 'character' AS kind, printf('U+%04X', codepoint) AS code, NULL AS locale, name FROM character
UNION ALL
SELECT 'subdivision', code, NULL, name FROM subdivision
UNION ALL
SELECT 'language', code, NULL, name FROM language
UNION ALL
SELECT kind, code, locale, name FROM translation;`],
  ['The largest Unicode blocks', `SELECT b.name, count(*) AS characters,
       min(c.glyph) AS first, max(c.glyph) AS last
FROM character c
JOIN block b ON b.first = c.block
GROUP BY b.first
ORDER BY characters DESC
LIMIT 50;`],
  ['A family tree of subdivisions (recursive)', `WITH RECURSIVE tree (code, name, path, depth) AS (
  SELECT code, name, name, 0 FROM subdivision WHERE country = 'FR' AND parent IS NULL
  UNION ALL
  SELECT s.code, s.name, tree.path || ' › ' || s.name, depth + 1
  FROM subdivision s JOIN tree ON s.parent = tree.code
)
SELECT depth, code, path FROM tree ORDER BY path;`],
  ['A long query, to cancel', `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)
SELECT count(*) AS numbers, sum(i % 7) AS total FROM n;`],
];

/** Makes the sample, unless it is there and newer than what it is made from. */
export function makeSample() {
  const sources = [fileURLToPath(import.meta.url), path.join(ISO, 'iso_3166-1.json'), path.join(UNICODE, 'UnicodeData.txt')];
  const missing = sources.filter((file) => !existsSync(file));
  if (!ask('sqlite3', ['--version']).ok) missing.push('sqlite3');
  if (missing.length > 0) {
    console.log(`sample: no ${missing.join(', ')} here, so the demo offers no sample database`);
    return;
  }
  const newest = Math.max(...sources.map((file) => statSync(file).mtimeMs));
  if (existsSync(SAMPLE) && statSync(SAMPLE).mtimeMs > newest) return;
  mkdirSync(path.dirname(SAMPLE), { recursive: true });
  const unfinished = `${SAMPLE}.new`;
  rmSync(unfinished, { force: true });
  const input = ['PRAGMA page_size = 4096;', 'PRAGMA foreign_keys = on;', 'BEGIN;', SCHEMA, ...inserts(), INDEXES, 'COMMIT;', 'VACUUM;', 'PRAGMA foreign_key_check;', 'PRAGMA integrity_check;'].join('\n');
  const { ok, output, problem } = ask('sqlite3', ['-bail', '-batch', unfinished], { input });
  if (!ok || output !== 'ok') throw new Failure(`The sample database could not be made: ${problem || output}`);
  renameSync(unfinished, SAMPLE);
  console.log(`sample: ${path.relative(CHECKOUT, SAMPLE)}, ${(statSync(SAMPLE).size / 1e6).toFixed(1)} MB`);
}

/** Every table's rows as SQL, referenced tables first. */
function inserts() {
  /** @type {[table: string, rows: Value[][]][]} */
  const tables = [...Object.entries(isoTables()), ['translation', translations()], ...Object.entries(unicodeTables()), ['example', EXAMPLES]];
  return tables.flatMap(([table, rows]) => insert(table, rows));
}

/** @returns {Record<string, Value[][]>} */
function isoTables() {
  /** @type {Record<string, string>} */
  const SCOPES = { I: 'individual', M: 'macrolanguage', S: 'special' };
  /** @type {Record<string, string>} */
  const TYPES = { A: 'ancient', C: 'constructed', E: 'extinct', H: 'historical', L: 'living', S: 'special' };
  const countries = isoList('3166-1');
  const known = new Set(countries.map(({ alpha_2 }) => alpha_2));
  const countryOf = (/** @type {string} */ code) => code.slice(0, 2);
  return {
    country: countries.map((c) => [c.alpha_2, c.alpha_3, c.numeric, c.common_name ?? c.name, c.official_name ?? null, c.flag]),
    subdivision: isoList('3166-2').filter(({ code }) => known.has(countryOf(code))).map((s) => [s.code, countryOf(s.code), s.name, s.type, parentOf(s)]),
    language: isoList('639-3').map((l) => [l.alpha_3, l.alpha_2 ?? null, l.name, SCOPES[l.scope] ?? null, TYPES[l.type] ?? null]),
    script: isoList('15924').map((s) => [s.alpha_4, s.numeric, s.name]),
    currency: isoList('4217').map((c) => [c.alpha_3, c.numeric, c.name]),
  };
}

/** iso-codes names some parents without their country. @param {Record<string, any>} subdivision */
function parentOf({ code, parent }) {
  if (!parent) return null;
  return parent.includes('-') ? parent : `${code.slice(0, 2)}-${parent}`;
}

/** @param {string} standard @returns {Record<string, any>[]} */
function isoList(standard) {
  return JSON.parse(readFileSync(path.join(ISO, `iso_${standard}.json`), 'utf8'))[standard];
}

/** Names by locale, from the message catalogues, which are keyed by the English name. */
function translations() {
  const KINDS = [
    { kind: 'country', standard: '3166-1', code: 'alpha_2' },
    { kind: 'language', standard: '639-2', code: 'alpha_3' },
    { kind: 'script', standard: '15924', code: 'alpha_4' },
    { kind: 'currency', standard: '4217', code: 'alpha_3' },
  ];
  const named = KINDS.map(({ kind, standard, code }) => ({ kind, standard, names: isoList(standard).map((entry) => [entry[code], entry.name]) }));
  /** @type {Value[][]} */
  const rows = [];
  for (const locale of readdirSync(LOCALES).sort()) {
    for (const { kind, standard, names } of named) {
      const file = path.join(LOCALES, locale, 'LC_MESSAGES', `iso_${standard}.mo`);
      if (!existsSync(file)) continue;
      const messages = readCatalogue(readFileSync(file));
      for (const [code, english] of names) {
        const name = messages.get(english);
        if (name) rows.push([kind, code, locale, name]);
      }
    }
  }
  return rows;
}

/**
 * A GNU message catalogue: a header of 32-bit words (magic, revision, count, offset of the originals' table, offset of
 * the translations' table), each table an array of (length, offset).
 * @param {Buffer} bytes
 */
function readCatalogue(bytes) {
  const little = bytes.readUInt32LE(0) === 0x950412de;
  const word = (/** @type {number} */ at) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const text = (/** @type {number} */ entry) => bytes.toString('utf8', word(entry + 4), word(entry + 4) + word(entry));
  const [count, originals, translated] = [word(8), word(12), word(16)];
  return new Map(Array.from({ length: count }, (_, i) => [text(originals + 8 * i), text(translated + 8 * i)]));
}

/** @returns {Record<string, Value[][]>} */
function unicodeTables() {
  const category = unicodeFields('PropertyValueAliases.txt').filter(([property]) => property === 'gc').map(([, code, name]) => [code ?? '', (name ?? '').replaceAll('_', ' ')]);
  const block = unicodeFields('Blocks.txt').map(([range = '', name = '']) => {
    const [first = '', last = ''] = range.split('..');
    return [parseInt(first, 16), parseInt(last, 16), name];
  });
  const character = unicodeFields('UnicodeData.txt').map((fields) => {
    const [hex = '', name = '', gc = '', , bidi = '', decomposition, , , numeric, , alias, , upper, lower] = fields;
    const codepoint = parseInt(hex, 16);
    const within = block.find(([first, last]) => Number(first) <= codepoint && codepoint <= Number(last));
    return [codepoint, glyphOf(codepoint, gc), name === '<control>' && alias ? alias : name, gc, within?.[0] ?? null, bidi, decomposition || null, numeric || null, hexOrNull(upper), hexOrNull(lower)];
  });
  return { category, block, character };
}

/** Controls, surrogates, unassigned and private-use characters have no glyph to show. @param {number} codepoint @param {string} category */
function glyphOf(codepoint, category) {
  return category.startsWith('C') ? null : String.fromCodePoint(codepoint);
}

/** @param {string | undefined} hex */
function hexOrNull(hex) {
  return hex ? parseInt(hex, 16) : null;
}

/** A file of Unicode's: lines of fields between semicolons, comments after `#`. @param {string} name */
function unicodeFields(name) {
  const lines = readFileSync(path.join(UNICODE, name), 'utf8').split('\n').map((line) => line.replace(/#.*/, '').trim());
  return lines.filter((line) => line !== '').map((line) => line.split(';').map((field) => field.trim()));
}

/** @param {string} table @param {Value[][]} rows */
function insert(table, rows) {
  return rows.map((row) => `INSERT INTO ${table} VALUES (${row.map(literal).join(', ')});`);
}

/** @param {Value} value */
function literal(value) {
  return typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : String(value);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await command(async () => makeSample());
