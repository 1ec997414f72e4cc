/** The typed codec: what it keeps, against structuredClone; what it refuses, and where; that no text can hurt it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../e2e/random.mjs';
import { load } from './load.mjs';
import { sameIdentities, values } from './values.mjs';

const { DEPTH_LIMIT, StatikError, decode, decodeBytes, encode, encodeAsync, encodeBytes, fromBase64, toBase64 } = await load(
  "export * from './codec.js'; export * from './errors.js'; export * from './base64.js'",
);

const SEED = 20;

/** Round trips a value, which must come back as structuredClone gives it. */
function keeps(value) {
  const back = decode(encode(value));
  const expected = structuredClone(value);
  assert.deepEqual(back, expected);
  sameIdentities(back, expected);
  return back;
}

/** Asserts that decoding fails as it should: with this code, and a message that matches. */
function refuses(text, message, code = 'Corrupt') {
  assert.throws(() => decode(text), (error) => {
    assert.ok(error instanceof StatikError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

test('plain data is its own JSON', () => {
  const value = { id: 7, tags: ['a', 'b'], at: { deep: null, yes: true, text: 'ü\u{1f980}' }, none: [] };
  assert.equal(encode(value), JSON.stringify(value));
});

test('each type that JSON lacks has its form, which later versions read too', () => {
  for (const [value, text] of [
    [undefined, '{"$":"undefined"}'],
    [NaN, '{"$":"number","value":"NaN"}'],
    [-Infinity, '{"$":"number","value":"-Infinity"}'],
    [-0, '{"$":"number","value":"-0"}'],
    [-(2n ** 64n), '{"$":"bigint","value":"-18446744073709551616"}'],
    [new Date(5), '{"$":"Date","ms":5}'],
    [/a\/b/gi, '{"$":"RegExp","source":"a\\\\/b","flags":"gi"}'],
    [new Map([['k', new Set([1])]]), '{"$":"Map","entries":[["k",{"$":"Set","values":[1]}]]}'],
    [Uint8Array.of(1, 2, 255).buffer, '{"$":"ArrayBuffer","base64":"AQL/"}'],
    [Float64Array.of(1.5), '{"$":"Float64Array","base64":"AAAAAAAA+D8="}'],
    [new DataView(Uint8Array.of(9, 1, 2).buffer, 1, 1), '{"$":"DataView","base64":"AQ=="}'],
    [Object('x'), '{"$":"String","value":"x"}'],
    [Object(NaN), '{"$":"Number","value":{"$":"number","value":"NaN"}}'],
    [{ $: 'Date', ms: 1 }, '{"$":"Object","entries":[["$","Date"],["ms",1]]}'],
    [[, 1], '{"$":"Array","length":2,"entries":[["1",1]]}'],
    [Object.assign([1], { name: 'x' }), '{"$":"Array","length":1,"entries":[["0",1],["name","x"]]}'],
  ]) {
    assert.equal(encode(value), text);
    keeps(value);
  }
  assert.equal(encode(new Date(NaN)), '{"$":"Date","ms":null}');
  assert.equal(decode('{"$":"Date","ms":null}').getTime(), NaN);
  const error = Object.assign(new TypeError('no', { cause: 1 }), { stack: 'here' });
  assert.equal(encode(error), '{"$":"Error","name":"TypeError","message":"no","stack":"here","cause":1}');
  assert.equal(decode(encode(error)).stack, 'here');
  assert.equal(decode('{"$":"Error","name":"Error"}').stack, 'Error');
  const exception = decode(encode(new DOMException('full', 'QuotaExceededError')));
  assert.ok(exception instanceof DOMException);
  assert.deepEqual([exception.name, exception.message], ['QuotaExceededError', 'full']);
  assert.deepEqual(decode(encode(Object(5n))), Object(5n));
});

test('what structured clone makes of classes, errors and keys, the codec does too', () => {
  class Point { x = 1; #y = 2; get y() { return this.#y; } [Symbol('s')] = 3; }
  keeps(new Point());
  class Custom extends Error { name = 'Custom'; code = 7; }
  assert.equal(Object.getPrototypeOf(keeps(new Custom('mine'))), Error.prototype);
  keeps(Object.create(null, { a: { value: 1, enumerable: true }, hidden: { value: 2 } }));
  keeps(JSON.parse('{"__proto__":{"a":1},"$":{"__proto__":null}}'));
  const long = [];
  long[4_000_000_000] = 'far';
  assert.equal(keeps(long).length, 4_000_000_001);
});

test('shared objects stay one, cycles close, and a view keeps only its own bytes', () => {
  const shared = new Date(1);
  const value = { list: [shared, shared], map: new Map([[shared, shared]]), error: new Error('x') };
  value.self = value;
  value.list.push(value.list);
  value.error.cause = value.map;
  value.map.set('set', new Set([value.map]));
  const back = keeps(value);
  assert.equal(back.list[0], back.map.keys().next().value);
  assert.equal(back.self, back);
  value.error.cause = value.error;
  const { error } = decode(encode(value));
  assert.equal(error.cause, error);
  const view = new Uint16Array(new ArrayBuffer(1000), 100, 2);
  assert.equal(decode(encode(view)).buffer.byteLength, 4);
});

test('any value comes back as structuredClone gives it', () => {
  const next = values(SEED);
  for (let i = 0; i < 5000; i++) {
    const value = next();
    try {
      keeps(value);
      assert.deepEqual(decodeBytes(encodeBytes(value)), structuredClone(value));
    } catch (error) {
      error.message = `value ${i} of seed ${SEED}: ${encode(value)}: ${error.message}`;
      throw error;
    }
  }
});

test('what cannot be written is refused with its place', () => {
  const unsupported = (value, message) => assert.throws(() => encode(value), (error) => {
    assert.ok(error instanceof StatikError);
    assert.equal(error.code, 'Unsupported');
    assert.match(error.message, message);
    return true;
  });
  unsupported({ payload: { image: () => {} } }, /^encode: \.payload\.image is a function/);
  unsupported(Symbol('s'), /^encode: the value is a symbol/);
  unsupported([[], { 'odd key': [1, new WeakMap()] }], /^encode: \[1\]\["odd key"\]\[1\] is of type WeakMap/);
  unsupported(new Map([[1, 2], [3, Promise.resolve()]]), /^encode: \[1\] is of type Promise/);
  unsupported({ key: globalThis.crypto.subtle }, /^encode: \.key is of type SubtleCrypto/);
  unsupported({ shared: new SharedArrayBuffer(1) }, /^encode: \.shared is of type SharedArrayBuffer/);
  unsupported({ file: new Blob(['x']) }, /^encode: \.file is a Blob, whose bytes cannot be had at once/);
  const invalid = { code: 'Invalid', message: /^encode: \.bad could not be read: / };
  assert.throws(() => encode({ get bad() { throw new Error('mine'); } }), invalid);
  assert.throws(() => encode({ bad: { [Symbol.toStringTag]: 'Date' } }), invalid);
});

test('Blobs and Files are read where that may take its time', async () => {
  const blob = new Blob([Uint8Array.of(0, 255)], { type: 'image/png' });
  const file = new File(['text'], 'a.txt', { type: 'text/plain', lastModified: 7 });
  const back = decode(await encodeAsync({ blob, again: blob, file, when: new Date(3) }));
  assert.equal(back.blob, back.again);
  assert.equal(back.blob.type, 'image/png');
  assert.deepEqual(new Uint8Array(await back.blob.arrayBuffer()), Uint8Array.of(0, 255));
  assert.ok(back.file instanceof File);
  assert.deepEqual([back.file.name, back.file.type, back.file.lastModified, await back.file.text()], ['a.txt', 'text/plain', 7, 'text']);
  assert.deepEqual(back.when, new Date(3));
  await assert.rejects(encodeAsync({ blob, fn: [() => {}] }), { code: 'Unsupported', message: /\.fn\[0\]/ });
});

/** JSON that nests `levels` deep: `open` and `close` around each level. */
const nested = (open, close, levels) => `${open.repeat(levels)}1${close.repeat(levels)}`;

test('depth is bounded in both directions, for every holder', () => {
  for (const wrap of [
    (value) => [value], (value) => ({ a: value }), (value) => ({ $: value }), (value) => new Map([[value, 1]]),
    (value) => new Map([[1, value]]), (value) => new Set([value]), (value) => [, value],
    (value) => Object.assign(new Error('e', { cause: value }), { stack: '' }),
  ]) {
    let value = 1;
    for (let i = 0; i < DEPTH_LIMIT; i++) value = wrap(value);
    const text = encode(value);
    assert.equal(encode(decode(text)), text);
    assert.throws(() => encode(wrap(value)), { code: 'Unsupported', message: /nests deeper than 512/ });
  }
  for (const [open, close] of [
    ['[', ']'], ['{"a":', '}'], ['{"$":"Set","values":[', ']}'], ['{"$":"Map","entries":[[', ',1]]}'], ['{"$":"Map","entries":[[1,', ']]}'],
    ['{"$":"Object","entries":[["a",', ']]}'], ['{"$":"Array","length":1,"entries":[["0",', ']]}'], ['{"$":"Error","name":"Error","cause":', '}'],
    ['{"$":"Number","value":', '}'],
  ]) {
    refuses(nested(open, close, DEPTH_LIMIT + 2), /nests deeper than 512/, 'Unsupported');
    assert.throws(() => decode(nested(open, close, 20_000)), StatikError);
  }
});

test('bad text is refused with its place', () => {
  refuses('', /the text is not JSON/);
  refuses('{"a":1', /the text is not JSON/);
  refuses('{"a":[1,{"$":"Data","ms":1}]}', /^decode: \.a\[1\] has the tag "Data", which is not known/);
  refuses('{"$":"constructor"}', /the value has the tag "constructor"/);
  refuses('{"$":7}', /the value \(7\) has a bad \$: expected text; it is 7/);
  for (const [json, message] of [
    ['{"$":"Date","ms":"1"}', /\.x \("Date"\) has a bad ms: expected the milliseconds of a date; it is "1"/],
    ['{"$":"Date"}', /bad ms: .*; it is missing/],
    ['{"$":"Date","ms":8640000000000001}', /bad ms/],
    ['{"$":"Date","ms":1.5}', /bad ms/],
    ['{"$":"number","value":"1"}', /bad value/],
    ['{"$":"bigint","value":"1e3"}', /bad value/],
    ['{"$":"bigint","value":"-0"}', /bad value/],
    ['{"$":"bigint","value":1}', /bad value/],
    ['{"$":"Uint8Array","base64":"A"}', /bad base64: expected base64/],
    ['{"$":"Uint8Array","base64":"AA=\\n"}', /bad base64/],
    ['{"$":"Uint8Array","base64":"A A="}', /bad base64/],
    ['{"$":"Uint16Array","base64":"AA=="}', /bad base64: expected a multiple of 2 bytes/],
    ['{"$":"ArrayBuffer"}', /bad base64/],
    ['{"$":"Map","entries":[1]}', /bad entries: expected pairs/],
    ['{"$":"Map","entries":[[1]]}', /bad entries/],
    ['{"$":"Map","entries":{}}', /bad entries: expected a list/],
    ['{"$":"Set","values":null}', /bad values/],
    ['{"$":"Object","entries":[[1,2]]}', /bad entries/],
    ['{"$":"Array","length":-1,"entries":[]}', /bad length/],
    ['{"$":"Array","length":4294967296,"entries":[]}', /bad length/],
    ['{"$":"Array","length":1,"entries":[["1",1]]}', /bad length: expected above every index/],
    ['{"$":"Array","length":1,"entries":[["length",1000000]]}', /bad entries/],
    ['{"$":"Error","name":"Custom"}', /bad name: expected one of Error, /],
    ['{"$":"Error","name":"Error","message":1}', /bad message/],
    ['{"$":"Boolean","value":1}', /bad value: expected a boolean/],
    ['{"$":"String","value":{"$":"ref","to":0}}', /bad value|bad to/],
    ['{"$":"ref","to":1}', /bad to: expected the number of one of the 1 objects before it/],
    ['{"$":"ref","to":-1}', /bad to/],
    ['{"$":"ref","to":"length"}', /bad to/],
    ['{"$":"File","type":"","name":"a","base64":""}', /bad lastModifiedMs/],
    ['{"$":"Blob","base64":""}', /bad type/],
  ]) refuses(`{"x":${json}}`, message);
  refuses('[{"$":"RegExp","source":"(","flags":""}]', /^decode: \[0\] is not a RegExp that this engine takes/, 'Unsupported');
  refuses('[{"$":"RegExp","source":"a","flags":"?"}]', /not a RegExp/, 'Unsupported');
  assert.throws(() => decodeBytes(Uint8Array.of(0x22, 0xff, 0x22)), { code: 'Corrupt', message: /not UTF-8/ });
  assert.throws(() => decodeBytes(Uint8Array.of(0xef, 0xbb, 0xbf, 0x31)), { code: 'Corrupt' });
});

test('no text sets a prototype', () => {
  for (const text of [
    '{"__proto__":{"polluted":1}}', '{"a":{"__proto__":{"__proto__":{"polluted":1}}}}', '{"constructor":{"prototype":{"polluted":1}}}',
    '{"$":"Object","entries":[["__proto__",{"polluted":1}]]}', '{"$":"Array","length":0,"entries":[["__proto__",{"polluted":1}]]}',
  ]) {
    const value = decode(text);
    assert.equal({}.polluted, undefined);
    assert.ok([Object.prototype, Array.prototype].includes(Object.getPrototypeOf(value)));
    assert.equal(value.polluted, undefined);
  }
});

test('a claimed length allocates nothing', () => {
  // Each would be hundreds of megabytes.
  const arrays = Array.from({ length: 200 }, () => decode('{"$":"Array","length":33000000,"entries":[["1","x"]]}'));
  assert.ok(arrays.every((array) => array.length === 33_000_000 && array[1] === 'x'));
});

test('text with anything changed gives a value or a StatikError', () => {
  const next = values(SEED + 1);
  const random = mulberry32(SEED + 2);
  const pieces = ['{', '}', '[', ']', '"', ',', ':', '0', '-', '$', 'ref', 'Map', '"$":"Array",', '"__proto__":', 'e9', '\\u0000', '9'.repeat(20)];
  const at = (text) => Math.floor(random() * (text.length + 1));
  let read = 0;
  for (let i = 0; i < 20_000; i++) {
    let text = encode(next());
    for (let changes = 1 + Math.floor(random() * 2); changes > 0; changes--) {
      const [start, piece] = [at(text), pieces[Math.floor(random() * pieces.length)]];
      text = text.slice(0, start) + piece + text.slice(start + Math.floor(random() * 3));
    }
    try {
      // What was read can be written again.
      encode(decode(text));
      read++;
    } catch (error) {
      if (!(error instanceof StatikError) || !/^decode: /.test(error.message)) throw new Error(`${text} (seed ${SEED})`, { cause: error });
    }
  }
  assert.ok(read > 100, `${read} texts were values`);
  assert.equal({}.polluted, undefined);
});

test('base64 is what others write, for every length', () => {
  const random = mulberry32(SEED + 3);
  for (const length of [0, 1, 2, 3, 4, 5, 63, 64, 8191, 8192, 8193, 100_000]) {
    const bytes = Uint8Array.from({ length }, () => random() * 256);
    assert.equal(toBase64(bytes), Buffer.from(bytes).toString('base64'));
    assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
  }
  for (const text of ['A', 'AA', 'AAA', 'AA=', '====', 'AAAA=', 'AA==AA==', ' AAAA', 'AAA\u0100', 'AA-_']) assert.equal(fromBase64(text), undefined, text);
});
