/** What goes into a database comes back: every type of value, at its edges, in both directions and through a file. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

matrix('values', (place) => {
  test('each type of value comes back as it went in', async () => {
    const values = [
      null, 0, 1, -1, 1.5, -1e308, 5e-324, 2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 53 + 2,
      '', 'plain', 'a\0b', '\0', 'ä €, 日本語, 👩‍👩‍👧', '\ud83d\ude00'.repeat(1000), "it's \"quoted\"; --",
      new Uint8Array(0), new Uint8Array([0]), new Uint8Array([0, 255, 0, 1]),
    ];
    const { back, types, lengths } = await place.run(async (values) => {
      const db = await openDatabase('values.db');
      await db.exec('CREATE TABLE v(id INTEGER PRIMARY KEY, value)');
      for (const value of values) await db.run('INSERT INTO v(value) VALUES (?)', [value]);
      const column = async (sql) => (await db.all(`SELECT ${sql} FROM v ORDER BY id`, [], { rows: 'array' })).flat();
      return { back: await column('value'), types: await column('typeof(value)'), lengths: await column('octet_length(value)') };
    }, values);
    assert.deepEqual(back, values);
    const expected = (value) => (value === null ? 'null' : typeof value === 'string' ? 'text' : value instanceof Uint8Array ? 'blob' : Number.isSafeInteger(value) ? 'integer' : 'real');
    assert.deepEqual(types, values.map(expected));
    const size = (value) => (typeof value === 'string' ? Buffer.byteLength(value) : value instanceof Uint8Array ? value.length : undefined);
    values.forEach((value, index) => size(value) !== undefined && assert.equal(lengths[index], size(value), `the stored size of value ${index}`));
  });

  test('integers outside ±2^53 are bigint, others number', async () => {
    const back = await place.run(async () => {
      const db = await openDatabase('integers.db');
      const texts = ['9007199254740991', '9007199254740992', '9007199254740993', '-9007199254740991', '-9007199254740992', '-9007199254740993', '9223372036854775807', '-9223372036854775808'];
      return Promise.all(texts.map(async (text) => {
        const { bound } = await db.get('SELECT ? AS bound', [BigInt(text)]);
        const { literal } = await db.get(`SELECT ${text} AS literal`);
        const { stored } = await db.get('SELECT CAST(? AS TEXT) AS stored', [BigInt(text)]);
        return { text, bound, literal, stored };
      }));
    });
    assert.equal(back.length, 8);
    for (const { text, bound, literal, stored } of back) {
      const value = Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
      assert.equal(stored, text);
      assert.equal(bound, value, `${text} bound`);
      assert.equal(literal, value, `${text} as a literal`);
    }
  });

  test('rowids beyond 2^53 are bigint', async () => {
    const { far, near } = await place.run(async () => {
      const db = await openDatabase('rowids.db');
      await db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY)');
      const near = await db.run('INSERT INTO t VALUES (7)');
      return { near, far: await db.run('INSERT INTO t VALUES (9223372036854775807)') };
    });
    assert.deepEqual(near, { changes: 1, lastInsertRowid: 7 });
    assert.deepEqual(far, { changes: 1, lastInsertRowid: 9223372036854775807n });
  });

  test('true and false go in as 1 and 0', async () => {
    assert.deepEqual(await place.run(async () => (await openDatabase('b.db')).get('SELECT ? AS yes, ? AS no, typeof(?1) AS type', [true, false])), { yes: 1, no: 0, type: 'integer' });
  });

  test('what SQLite cannot store is refused, by name', async () => {
    const failures = await place.run(async () => {
      const db = await openDatabase('refused.db');
      const bad = { tooLarge: 2n ** 63n, tooSmall: -(2n ** 63n) - 1n, missing: undefined, date: new Date(0), symbol: Symbol('s'), function: () => 1, object: {}, array: [1] };
      const failures = {};
      for (const [name, value] of Object.entries(bad)) failures[name] = await failure(() => db.get('SELECT ?', [value]));
      return failures;
    });
    for (const [name, failure] of Object.entries(failures)) {
      assert.equal(failure.code, 'Invalid', `${name}: ${failure.message}`);
      assert.ok(failure.isStatikError && failure.message.length > 10, name);
    }
  });

  test('NaN is stored as NULL, infinity as itself', async () => {
    assert.deepEqual(await place.run(async () => (await openDatabase('f.db')).get('SELECT ? AS nan, ? AS inf', [NaN, -Infinity])), { nan: null, inf: -Infinity });
  });

  test('bytes are copies: of a view only what it shows, and never the caller\'s own memory', async () => {
    const { back, kept } = await place.run(async () => {
      const db = await openDatabase('views.db');
      const memory = new Uint8Array([1, 2, 3, 4, 5, 6]);
      const { value } = await db.get('SELECT ? AS value', [memory.subarray(2, 4)]);
      value[0] = 99;
      return { back: value.length, kept: memory };
    });
    assert.equal(back, 2);
    assert.deepEqual(kept, new Uint8Array([1, 2, 3, 4, 5, 6]));
  });

  test('blobs and texts of many megabytes', async () => {
    const result = await place.run(async () => {
      const db = await openDatabase('large.db');
      const blob = new Uint8Array(24 * 1024 * 1024);
      for (let index = 0; index < blob.length; index += 1) blob[index] = (index * 31 + (index >> 8)) & 255;
      const text = 'zwölf Boxkämpfer '.repeat(300_000);
      await db.exec('CREATE TABLE large(id INTEGER PRIMARY KEY, value)');
      await db.run('INSERT INTO large VALUES (1, ?), (2, ?)', [blob, text]);
      const rows = await db.all('SELECT value FROM large ORDER BY id');
      const isSame = rows[0].value.length === blob.length && rows[0].value.every((byte, index) => byte === blob[index]);
      return { isSame, isSameText: rows[1].value === text, integrity: await db.get('PRAGMA integrity_check') };
    });
    assert.deepEqual(result, { isSame: true, isSameText: true, integrity: { integrity_check: 'ok' } });
  });

  test('parameters: positional, named with any prefix, numbered, and too few or too many', async () => {
    const found = await place.run(async () => {
      const db = await openDatabase('parameters.db');
      const wrong = {};
      for (const [name, args] of Object.entries({
        few: ['SELECT ?, ?', [1]], many: ['SELECT ?', [1, 2]], unknown: ['SELECT :a', { b: 1 }], missing: ['SELECT :a, :b', { a: 1 }],
      })) wrong[name] = await failure(() => db.get(...args)).catch((error) => error.message);
      return {
        named: await db.get('SELECT :a AS a, @b AS b, $c AS c', { a: 1, b: 'two', c: null }),
        numbered: await db.get('SELECT ?2 AS second, ?1 AS first', ['one', 'two']),
        repeated: await db.get('SELECT :a + :a AS twice', { a: 21 }),
        none: await db.get('SELECT 1 AS one'),
        wrong,
      };
    });
    assert.deepEqual(found.named, { a: 1, b: 'two', c: null });
    assert.deepEqual(found.numbered, { second: 'two', first: 'one' });
    assert.deepEqual(found.repeated, { twice: 42 });
    assert.deepEqual(found.none, { one: 1 });
    for (const [name, failure] of Object.entries(found.wrong)) assert.equal(failure.code, 'Invalid', `${name}: ${JSON.stringify(failure)}`);
  });
});
