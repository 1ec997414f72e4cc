/**
 * What the demo does with text, apart from any page: cutting SQL into statements, reading and writing CSV, and telling
 * what type a column is.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { statements, tokens, identifier, readCsv, detectDelimiter, writeCsv, importCsv, tableName, databaseName, freeName } = await load(`
  export * from '../../demo/src/sql.js';
  export * from '../../demo/src/csv.js';
  export * from '../../demo/src/csv-import.js';
  export * from '../../demo/src/files.js';
`);

/** @param {string} sql @returns {string[]} */
const split = (sql) => statements(sql).map((/** @type {any} */ { start, end }) => sql.slice(start, end));

test('a script is split where statements end, and nowhere else', () => {
  assert.deepEqual(split("SELECT ';' AS \"a;b\", [c;d], `e;f` -- g;h\n/* i;j */ ;  SELECT 2"), ["SELECT ';' AS \"a;b\", [c;d], `e;f` -- g;h\n/* i;j */ ;", 'SELECT 2']);
  assert.deepEqual(split(" ; ;\n-- nothing\n;"), []);
  assert.deepEqual(split("SELECT 'it''s; fine'; SELECT 'never closed; "), ["SELECT 'it''s; fine';", "SELECT 'never closed; "]);
});

test('a trigger ends with END after a semicolon, not with the END of a CASE', () => {
  const trigger = 'CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; UPDATE a SET b = 1; END;';
  assert.deepEqual(split(`${trigger} SELECT 1;`), [trigger, 'SELECT 1;']);
  assert.deepEqual(split(`EXPLAIN QUERY PLAN ${trigger} BEGIN; END;`), [`EXPLAIN QUERY PLAN ${trigger}`, 'BEGIN;', 'END;']);
});

test('tokens cover the text without gaps, whatever it is', () => {
  for (const sql of ["SELECT x'ff', 1.5e-3, .5, 0xAF, :a, ?1, größe FROM \"t", "/* open", "a\u0000b 😀 'x"]) {
    assert.equal([...tokens(sql)].map(({ start, end }) => sql.slice(start, end)).join(''), sql);
  }
});

test('names are quoted where SQL needs it', () => {
  assert.deepEqual(['plain', 'two words', 'select', 'a"b', '1st', 'größe'].map(identifier), ['plain', '"two words"', '"select"', '"a""b"', '"1st"', '"größe"']);
});

/** Reads CSV whose stream breaks it into chunks of a few bytes. @param {string | Uint8Array} text @param {number} chunkBytes */
async function read(text, chunkBytes, delimiter = ',') {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  let at = 0;
  const stream = () => new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.slice(at, (at += chunkBytes)));
    },
  });
  let seen = 0;
  const records = [];
  const options = { delimiter, signal: new AbortController().signal, onBytes: (/** @type {number} */ length) => (seen += length) };
  for await (const chunk of readCsv({ stream }, options)) records.push(...chunk);
  assert.equal(seen, bytes.length);
  return records;
}

test('CSV comes out the same however its chunks fall', async () => {
  const text = '\ufeffa,b,c\r\n1,"x ""y"", z","line 1\r\nline 2"\r\n\r\n"",,é😀\r"q""",5" pipe,\n';
  const expected = [
    { line: 1, fields: ['a', 'b', 'c'] },
    { line: 2, fields: ['1', 'x "y", z', 'line 1\r\nline 2'] },
    { line: 5, fields: ['', null, 'é😀'] },
    { line: 6, fields: ['q"', '5" pipe', null] },
  ];
  for (const chunkBytes of [1, 2, 3, 7, 1000]) assert.deepEqual(await read(text, chunkBytes), expected, `${chunkBytes} bytes at a time`);
});

test('what is wrong with CSV is said with its line', async () => {
  await assert.rejects(read('a,b\n"1\n2",3\n4,5,6\n', 4), /^CsvError: Line 4: 3 fields, where the first line has 2$/);
  await assert.rejects(read('a,b\n1\n', 4), /^CsvError: Line 2: 1 field, where/);
  await assert.rejects(read('a,b\n1,"2\n3\n', 4), /^CsvError: Line 2: a quote is opened here and never closed$/);
  await assert.rejects(read('a,b\n"1"x,2\n', 4), /^CsvError: Line 2: text follows a closing quote: "x/);
  await assert.rejects(read(new Uint8Array([97, 10, 0xff, 0xfe, 10]), 2), /Not UTF-8 text/);
});

test('the delimiter is what the first line has most of', async () => {
  const detect = (/** @type {string} */ text) => detectDelimiter(new Blob([text]));
  assert.deepEqual(await Promise.all(['a,b\n1;2;3', 'a;b;c\n', '"a,b,c"\tb\n', 'a|b', 'alone'].map(detect)), [',', ';', '\t', '|', ',']);
});

test('CSV that is written reads back', async () => {
  const text = [...writeCsv(['a', 'b,c'], [[null, ''], [1.5, 'x "y"\r\nz'], [9007199254740993n, new Uint8Array([0, 255])]])].join('');
  assert.deepEqual((await read(text, 3)).map(({ fields }) => fields), [['a', 'b,c'], [null, ''], ['1.5', 'x "y"\r\nz'], ['9007199254740993', "x'00ff'"]]);
});

/** Imports text into a database that only takes notes. @param {string} text */
async function imported(text, existing = ['taken']) {
  /** @type {string[]} */
  const executed = [];
  /** @type {any[]} */
  const values = [];
  const tx = {
    all: async () => existing.map((name) => [name]),
    exec: async (/** @type {string} */ sql) => void executed.push(sql),
    prepare: async () => ({ run: async (/** @type {any[]} */ bound) => void values.push(...bound), finalize: async () => {} }),
  };
  const db = { transaction: (/** @type {any} */ body) => body(tx) };
  const options = { signal: new AbortController().signal, onProgress: () => {} };
  const { table, rows } = await importCsv(db, new File([text], 'x.csv'), 'taken', options);
  return { table, rows, create: executed[0], values };
}

test('a column is a number only if every value survives that', async () => {
  const { create, values, table, rows } = await imported([
    'int,big,zero,real,mixed,long,exp,text,empty,Int,',
    '1,9007199254740993,007,1.5,1,1234567890123456,1e3,x,,1,',
    '-20,-9223372036854775808,12,-0.25,2.5,0.5,2,5,,2,',
    ',,,,,,,,,,',
  ].join('\n'));
  assert.equal(table, 'taken_2');
  assert.equal(rows, 3);
  assert.equal(create, 'CREATE TABLE taken_2 (int INTEGER, big INTEGER, zero TEXT, real REAL, mixed REAL, long TEXT, exp REAL, text TEXT, empty TEXT, Int_2 INTEGER, column_11 TEXT)');
  assert.deepEqual(values.slice(0, 10), [1, 9007199254740993n, '007', 1.5, 1, '1234567890123456', 1000, 'x', null, 1]);
  assert.deepEqual(values.slice(11, 15), [-20, -9223372036854775808n, '12', -0.25]);
  assert.deepEqual(values.slice(22), Array(11).fill(null));
  assert.match((await imported('a\n9223372036854775808\n')).create ?? '', /a TEXT/);
  await assert.rejects(imported(''), /the file is empty/);
});

test('more rows than one statement takes arrive, all of them and in order', async () => {
  const { rows, values } = await imported(`n\n${Array.from({ length: 1234 }, (_, n) => n).join('\n')}`);
  assert.equal(rows, 1234);
  assert.deepEqual(values, Array.from({ length: 1234 }, (_, n) => n));
});

test('files give sane names', () => {
  assert.deepEqual(['Über 2020 data.csv', '2020.csv', 'sqlite_x.csv', '?.csv'].map(tableName), ['Über_2020_data', 't_2020', 't_sqlite_x', 't_']);
  assert.deepEqual(['a b/c.sqlite', '..hidden', '', 'x.csv', 'Ü.DB'].map(databaseName), ['a-b-c.sqlite', 'hidden.db', 'untitled.db', 'x.db', 'Ü.DB']);
  assert.equal(freeName('a.db', new Set(['a.db', 'a-2.db'])), 'a-3.db');
});
