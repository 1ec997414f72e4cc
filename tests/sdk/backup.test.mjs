/** The backup file: what goes in comes out, in constant memory; whatever was done to it is found before it is used. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { mulberry32 } from '../e2e/random.mjs';
import { load } from './load.mjs';
import { values } from './values.mjs';

const { Sha256, StatikError, inspectBackup, readBackup, writeBackup } = await load(
  "export * from './databases/backup-writer.js'; export * from './databases/backup-reader.js'; export * from './errors.js'; export * from './sha256.js'",
);

const SEED = 4;
const METADATA = { instance_id: 'one', export_reason: 'manual' };

async function* each(items) { yield* items; }

/** A source of arrays: `{ database: { store: records } }`, `{ name: chunks }`. */
function source(databases, { sqlite = {}, files = {}, ...rest } = {}) {
  const opened = (sections) => Object.entries(sections).map(([name, chunks]) => ({ name, open: () => each(chunks) }));
  return {
    timestampMs: 1_700_000_000_000,
    metadata: METADATA,
    databases: Object.entries(databases).map(([name, stores]) => ({
      name,
      schema: { version: 2, history: [{ version: 1, name: 'first', appliedMs: 5 }] },
      stores: Object.entries(stores).map(([store, records]) => ({ name: store, totalRecords: records.length, records: () => each([records.slice(0, 1), [], records.slice(1)]) })),
    })),
    sqlite: opened(sqlite),
    files: opened(files),
    ...rest,
  };
}

/** A small one that has everything. */
const SMALL = () => source({
  statik_memory: {
    episodes: [{ value: { id: 'a', at: new Date(7), tags: ['x'] } }, { value: { id: 'b', bytes: Uint8Array.of(1, 2), n: 5n } }],
    concepts: [],
  },
  statik_state: { statik_meta: [{ key: 'schema', value: { version: 2 } }, { key: [1, new Date(3)], value: undefined }] },
  statik_empty: {},
}, { sqlite: { 'app.db': [Uint8Array.of(1, 2, 3), Uint8Array.of(), Uint8Array.of(4)] }, files: { 'a/b.txt': [Uint8Array.of(104, 105)], empty: [] } });

/** The whole stream as a Blob. */
const blobOf = async (stream) => new Response(stream).blob();
const backupOf = (of, options) => blobOf(writeBackup(of, options));
const textOf = async (of) => (await backupOf(of, { compress: false })).text();

/** All that a backup has, in the form of `source`. */
async function contents(blob) {
  const found = { databases: {}, sqlite: {}, files: {} };
  for await (const item of readBackup(blob, await inspectBackup(blob))) {
    if (item.type === 'database') found.databases[item.database] = {};
    if (item.type === 'store') found.databases[item.database][item.store] = [];
    if (item.type === 'records') found.databases[item.database][item.store].push(...item.records);
    if (item.type === 'file') found[item.section][item.name] = [];
    if (item.type === 'bytes') found[item.section][item.name].push(...item.bytes);
  }
  return found;
}

/** Asserts that inspection refuses it, with a StatikError that says why. */
async function refuses(bytes, message = /./, code = undefined) {
  await assert.rejects(inspectBackup(bytes instanceof Blob ? bytes : new Blob([bytes])), (error) => {
    assert.ok(error instanceof StatikError, String(error?.stack));
    if (code === undefined) assert.ok(['Invalid', 'Corrupt', 'Unsupported'].includes(error.code), error.code);
    else assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.match(error.message, /^backup/);
    return true;
  });
}

/** The text with its counts as they are and its hash made anew: only what is between is wrong. */
function resealed(text) {
  const lines = text.split('\n').slice(0, -2).map((line) => `${line}\n`).join('');
  return `${lines}"sha256":"${createHash('sha256').update(lines).digest('hex')}"}\n`;
}

test('a backup is one JSON document in the structure that is promised', async () => {
  const text = await textOf(SMALL());
  const document = JSON.parse(text);
  assert.deepEqual(Object.keys(document), ['format', 'version', 'timestamp', 'metadata', 'schemas', 'databases', 'sqlite', 'files', 'counts', 'sha256']);
  assert.equal(document.format, 'statik-backup');
  assert.equal(document.version, 1);
  assert.equal(document.timestamp, 1_700_000_000_000);
  assert.deepEqual(document.metadata, METADATA);
  assert.deepEqual(document.databases.statik_memory.episodes[0], { id: 'a', at: { $: 'Date', ms: 7 }, tags: ['x'] });
  assert.deepEqual(document.databases.statik_state.statik_meta[0], { $: 'record', key: 'schema', value: { version: 2 } });
  assert.deepEqual(document.sqlite, { 'app.db': ['AQID', 'BA=='] });
  assert.deepEqual(document.counts, {
    databases: { statik_memory: { episodes: 2, concepts: 0 }, statik_state: { statik_meta: 2 }, statik_empty: {} },
    sqlite: { 'app.db': 4 }, files: { 'a/b.txt': 2, empty: 0 },
  });
  const hashed = text.split('\n').slice(0, -2).map((line) => `${line}\n`).join('');
  assert.equal(document.sha256, createHash('sha256').update(hashed).digest('hex'));
  assert.equal(gunzipSync(await (await backupOf(SMALL())).arrayBuffer()).toString(), text);
});

test('what went in comes out, compressed or not', async () => {
  for (const compress of [true, false]) {
    const blob = await backupOf(SMALL(), { compress });
    const summary = await inspectBackup(blob);
    const schema = { version: 2, history: [{ version: 1, name: 'first', appliedMs: 5 }] };
    assert.deepEqual(summary, {
      version: 1, timestampMs: 1_700_000_000_000, metadata: METADATA, records: 4,
      databases: [
        { name: 'statik_memory', schema, stores: [{ name: 'episodes', records: 2 }, { name: 'concepts', records: 0 }] },
        { name: 'statik_state', schema, stores: [{ name: 'statik_meta', records: 2 }] },
        { name: 'statik_empty', schema, stores: [] },
      ],
      sqlite: [{ name: 'app.db', sizeBytes: 4 }], files: [{ name: 'a/b.txt', sizeBytes: 2 }, { name: 'empty', sizeBytes: 0 }],
      sizeBytes: (await textOf(SMALL())).length, sha256: JSON.parse(await textOf(SMALL())).sha256,
    });
    assert.deepEqual(await contents(blob), {
      databases: {
        statik_memory: { episodes: [{ value: { id: 'a', at: new Date(7), tags: ['x'] } }, { value: { id: 'b', bytes: Uint8Array.of(1, 2), n: 5n } }], concepts: [] },
        statik_state: { statik_meta: [{ key: 'schema', value: { version: 2 } }, { key: [1, new Date(3)], value: undefined }] },
        statik_empty: {},
      },
      sqlite: { 'app.db': [1, 2, 3, 4] }, files: { 'a/b.txt': [104, 105], empty: [] },
    });
  }
});

test('any values in any stores come back as structuredClone gives them', async () => {
  const next = values(SEED);
  const random = mulberry32(SEED);
  const below = (limit) => Math.floor(random() * limit);
  const key = () => [below(1e6), 'key', new Date(below(1e6)), Uint8Array.of(below(9)).buffer, [1, ['x']]][below(5)];
  const names = ['episodes', '__proto__', 'a"b\\\n', '7', '1', 'constructor', '\u2028', 'ü'];
  for (let round = 0; round < 30; round++) {
    const records = () => Array.from({ length: below(40) }, () => ({ ...(random() < 0.3 && { key: key() }), value: next() }));
    const databases = new Map(names.slice(0, below(9)).map((name) => [name, new Map(names.slice(below(4), below(9)).map((store) => [store, records()]))]));
    const files = new Map(names.slice(0, below(5)).map((name) => [name, Array.from({ length: below(4) }, () => Uint8Array.from({ length: below(100_000) }, (_, i) => i * round))]));
    const given = {
      timestampMs: round, metadata: { ...METADATA, when: new Date(round) },
      databases: Array.from(databases, ([name, stores]) => ({
        name, schema: { round: BigInt(round) }, stores: Array.from(stores, ([store, list]) => ({ name: store, records: () => each(list.map((record) => [record])) })),
      })),
      files: Array.from(files, ([name, chunks]) => ({ name, open: async () => new Blob(chunks).stream() })),
    };
    const blob = await backupOf(given, { compress: round % 2 === 0 });
    const summary = await inspectBackup(blob);
    assert.deepEqual(summary.metadata, { ...METADATA, when: new Date(round) });
    assert.deepEqual(summary.databases.map(({ name, schema, stores }) => [name, schema.round, stores]),
      Array.from(databases, ([name, stores]) => [name, BigInt(round), Array.from(stores, ([store, list]) => ({ name: store, records: list.length }))]));
    const found = new Map();
    const bytes = new Map();
    for await (const item of readBackup(blob, summary)) {
      if (item.type === 'records') found.set(item.database + '/' + item.store, [...found.get(item.database + '/' + item.store) ?? [], ...item.records]);
      if (item.type === 'bytes') bytes.set(item.name, [...bytes.get(item.name) ?? [], item.bytes]);
    }
    for (const [name, stores] of databases) {
      for (const [store, list] of stores) assert.deepEqual(found.get(name + '/' + store) ?? [], structuredClone(list), `seed ${SEED}, round ${round}`);
    }
    for (const [name, chunks] of files) assert.deepEqual(Buffer.concat(bytes.get(name) ?? []), Buffer.concat(chunks));
  }
});

test('a backup of version 1 is read by every later version', async () => {
  const sample = readFileSync(new URL('samples/backup-v1.json.gz', import.meta.url));
  const found = await contents(new Blob([sample]));
  const { databases: { statik_memory: { episodes }, statik_state: { statik_meta } }, sqlite, files } = found;
  const [{ value }] = episodes;
  assert.deepEqual(Object.keys(value), ['id', '$', 'types']);
  assert.equal(value.$, 'not a tag');
  const [none, nan, inf, zero, date, never, regExp, big, map, set, buffer, floats, view, boxed, error, holes, again, blob] = value.types;
  assert.deepEqual([none, nan, inf, zero, date, regExp, big], [undefined, NaN, -Infinity, -0, new Date(86_400_000), /a\/b/gi, 2n ** 70n]);
  assert.equal(never.getTime(), NaN);
  assert.deepEqual(map, new Map([['key', set]]));
  assert.deepEqual(set, new Set([1, 'two']));
  assert.deepEqual([buffer, floats, view, boxed], [Uint8Array.of(1, 2, 3).buffer, Float32Array.of(1.5), new DataView(Uint8Array.of(9).buffer), Object('boxed')]);
  assert.deepEqual([error.name, error.message, error.stack, error.cause], ['TypeError', 'failed', 'TypeError: failed', 'a cause']);
  assert.deepEqual(holes, [, 1, ,]);
  assert.equal(again, value);
  assert.deepEqual([blob.type, await blob.text()], ['text/plain', 'blob']);
  assert.deepEqual(statik_meta, [{ key: 'schema', value: { version: 1 } }]);
  assert.deepEqual([sqlite, files], [{ 'app.db': [83, 81] }, { 'notes/a.txt': [104, 105] }]);
});

test('cut short at any byte, it is refused', async () => {
  for (const compress of [true, false]) {
    const bytes = new Uint8Array(await (await backupOf(SMALL(), { compress })).arrayBuffer());
    await inspectBackup(new Blob([bytes]));
    for (let length = 0; length < bytes.length; length++) await refuses(bytes.subarray(0, length), /./, length > 2 ? 'Corrupt' : undefined);
  }
});

test('with any byte of the text changed, it is refused', async () => {
  const text = new Uint8Array(await (await backupOf(SMALL(), { compress: false })).arrayBuffer());
  for (let at = 0; at < text.length; at++) {
    for (const change of [1 << (at % 8), 0xff]) {
      const changed = text.slice();
      changed[at] ^= change;
      await refuses(changed);
    }
  }
});

test('with any byte of the compressed file changed, it is refused, or its contents are what they were', async () => {
  const bytes = new Uint8Array(await (await backupOf(SMALL())).arrayBuffer());
  const { sha256 } = await inspectBackup(new Blob([bytes]));
  const harmless = new Set();
  for (let at = 0; at < bytes.length; at++) {
    for (const change of [1 << (at % 8), 0xff]) {
      const changed = bytes.slice();
      changed[at] ^= change;
      const inspected = await inspectBackup(new Blob([changed])).catch((error) => error);
      if (inspected.sha256 === sha256) harmless.add(at);
      else assert.ok(inspected instanceof StatikError, String(inspected));
    }
  }
  // The flags, time and system that gzip notes down of a file; the bits that fill the last byte before the checksum.
  const allowed = [3, 4, 5, 6, 7, 8, 9, bytes.length - 9];
  assert.deepEqual([...harmless].filter((at) => !allowed.includes(at)), []);
});

test('more behind the end is refused', async () => {
  const text = await textOf(SMALL());
  const packed = Buffer.from(await (await backupOf(SMALL())).arrayBuffer());
  for (const more of [' ', '\n', '{}', text, '\0'.repeat(100_000)]) {
    await refuses(text + more, /more behind the end/);
    await refuses(gzipSync(text + more), /more behind the end/);
    await refuses(Buffer.concat([packed, Buffer.from(more)]));
    await refuses(Buffer.concat([packed, gzipSync(more)]), /more behind the end|damaged/);
  }
});

test('what is no backup, or a newer one, is told as such', async () => {
  for (const foreign of ['', '{}', '\u0000', '{"format":"other","version":1}', 'PK\u0003\u0004', 'x'.repeat(1e6), '\n\n', gzipSync('{"a":1}'), '{"format":"statik-backup", "version":1']) {
    await refuses(foreign, /is not a Statik backup/, 'Invalid');
  }
  await refuses('{"form', /cut short/, 'Corrupt');
  for (const version of ['2', '17', '123456789']) {
    await refuses(`{"format":"statik-backup","version":${version},"anything":[`, new RegExp(`of format version ${version}, which a newer Statik`), 'Unsupported');
  }
  for (const version of ['0', '-1', '"1"', '1.5', '1e9', '01', '1234567890123', '']) await refuses(`{"format":"statik-backup","version":${version},"timestamp":1,\n`, /./, 'Corrupt');
  await assert.rejects(inspectBackup(new File(['nothing'], 'holiday.jpg')), { message: /^backup holiday\.jpg: is not a Statik backup: .*"nothing"/ });
});

test('one that is sealed but wrong is refused, and the message says where', async () => {
  const text = await textOf(SMALL());
  await inspectBackup(new Blob([resealed(text)]));
  for (const [from, to, message] of [
    ['"concepts":[', '"episodes":[', /the store of statik_memory "episodes" is there twice/],
    ['"statik_empty":{\n', '"statik_state":{\n', /the database "statik_state" is there twice/],
    ['"statik_empty":{\n', '"statik_other":{\n', /the database "statik_other" has no schema/],
    [',\n"statik_empty":{\n}', '', /the database "statik_empty" is missing/],
    ['"empty":[', '"a/b.txt":[', /the file "a\/b\.txt" is there twice/],
    ['"episodes":2', '"episodes":3', /the counts are wrong: .*"episodes\\":2.*; they are .*"episodes\\":3/],
    ['"app.db":4}', '"app.db":5}', /the counts are wrong/],
    ['{"id":"a",', '{"id":"a"', /line 7: statik_memory\.episodes, record 0: is not JSON/],
    ['{"$":"Date","ms":7}', '{"$":"Date","ms":"7"}', /line 7: statik_memory\.episodes, record 0: decode: \.at \("Date"\) has a bad ms/],
    ['{"$":"Date","ms":3}', '{"$":"Date","ms":null}', /line 16: the key of statik_state\.statik_meta, record 1: is not a key/],
    ['"key":"schema"', '"key":[{"$":"ref","to":0}]', /is not a key/],
    ['"key":"schema"', '"key":{"$":"Array","length":9,"entries":[]}', /is not a key/],
    ['"key":"schema"', '"nokey":"schema"', /is not a key/],
    ['"value":{"version":2}', '"other":{"version":2}', /record 0: has no value/],
    ['"AQID"', '"AQI"', /app\.db, byte 0: expected base64/],
    ['"AQID"', '17', /app\.db, byte 0: expected base64/],
    ['"AQID",', '"AQID"', /line \d+: expected \]; it is "\\"BA==\\""/],
    ['"BA=="', '"BA==",', /nothing follows the comma/],
    ['],\n"concepts"', ']\n"concepts"', /expected \}; it is "\\"concepts/],
    ['},\n"sqlite"', '}\n"sqlite"', /a comma is missing/],
    ['"sqlite":{', '"sqlight":{', /expected "sqlite":\{; it is/],
    ['"instance_id":"one"', '"instance_id":1', /the metadata has no instance_id/],
    ['"export_reason"', '"exported"', /the metadata has no export_reason/],
    ['"schemas":{', '"schemas":[{', /is not JSON/],
    [/"schemas":\{.*\},\n/, '"schemas":[],\n', /the schemas are not an object/],
    ['"timestamp":17', '"timestamp":99917', /expected version and timestamp/],
    ['"tags":["x"]', '"tags":["x" ]', undefined],
  ]) {
    const changed = text.replace(from, to);
    assert.notEqual(changed, text, String(from));
    if (message === undefined) await inspectBackup(new Blob([resealed(changed)]));
    else await refuses(resealed(changed), message, 'Corrupt');
  }
});

test('a bomb is read piece by piece and refused at the limit of a line', async () => {
  // 80 MB of one record, from 80 kB.
  const opening = '{"format":"statik-backup","version":1,"timestamp":1,\n"metadata":"';
  await refuses(gzipSync(opening + 'x'.repeat(80_000_000)), /line 2 is longer than 67108864 bytes/, 'Corrupt');
  await refuses(opening + 'x'.repeat(80_000_000), /line 2 is longer than 67108864 bytes/, 'Corrupt');
});

test('a Blob that changed between inspection and reading is found', async () => {
  const inspected = await inspectBackup(await backupOf(SMALL()));
  const other = await backupOf({ ...SMALL(), timestampMs: 1 });
  await assert.rejects(async () => { for await (const _ of readBackup(other, inspected)); }, { code: 'Conflict', message: /is not what was inspected/ });
  const broken = Object.assign(new Blob(['x'.repeat(1000)]), { slice: () => ({ arrayBuffer: async () => { throw new DOMException('changed', 'NotReadableError'); } }) });
  await assert.rejects(inspectBackup(broken), { code: 'Io', message: /^backup: reading it at byte 0 failed: NotReadableError: changed/ });
});

/** Records that do not compress, counted as they are taken. */
function counted(total) {
  const random = mulberry32(SEED + 1);
  const noise = Array.from({ length: 100_000 }, () => random().toString(36).slice(2)).join('');
  const state = { pulled: 0, ended: false };
  async function* records() {
    try {
      const record = () => ({ value: { id: state.pulled++, text: noise.substr(random() * 1e6, 180) } });
      while (state.pulled < total) yield Array.from({ length: 10 }, record);
    } finally {
      state.ended = true;
    }
  }
  return { state, given: { ...source({}), databases: [{ name: 'db', schema: {}, stores: [{ name: 'records', totalRecords: total, records }] }] } };
}

/** Lets everything happen that needs no more reading. */
async function settled() {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

test('the source is asked only for what is read', async () => {
  for (const [compress, total, ahead] of [[false, 40_000, 400], [true, 200_000, 2000]]) {
    const { state, given } = counted(total);
    const reader = writeBackup(given, { compress }).getReader();
    await settled();
    assert.equal(state.pulled, 0);
    const samples = [];
    let readBytes = 0;
    for (let next; !(next = await reader.read()).done;) {
      readBytes += next.value.length;
      if (samples.length % 50 === 0) await settled();
      samples.push([state.pulled, readBytes]);
    }
    assert.equal(state.pulled, total);
    assert.ok(state.ended);
    // All records have about the same size: what was read, in records.
    const most = Math.max(...samples.map(([pulled, bytes]) => pulled - (bytes / readBytes) * total));
    assert.ok(most < ahead, `${most} records were ahead of the reader`);
  }
});

test('records pass through in batches, with progress that only grows', async () => {
  const { given } = counted(40_000);
  const written = [];
  const blob = await backupOf(given, { onProgress: (progress) => written.push(progress) });
  const grows = (list, field) => list.every((progress, i) => i === 0 || progress[field] >= list[i - 1][field]);
  assert.ok(written.length > 50 && grows(written, 'doneBytes') && grows(written, 'doneRecords'));
  assert.deepEqual([written.at(-1).doneRecords, written.at(-1).totalRecords], [40_000, 40_000]);
  const read = [];
  const summary = await inspectBackup(blob, { onProgress: (progress) => read.push(progress) });
  assert.equal(summary.records, 40_000);
  assert.equal(written.at(-1).doneBytes, summary.sizeBytes);
  assert.ok(read.length > 50 && grows(read, 'doneBytes'));
  assert.deepEqual(read.at(-1), { doneBytes: blob.size, totalBytes: blob.size });
  let expected = 0;
  for await (const item of readBackup(blob, summary)) {
    if (item.type !== 'records') continue;
    assert.ok(item.records.length <= 512);
    for (const { value } of item.records) assert.equal(value.id, expected++);
  }
  assert.equal(expected, 40_000);
});

test('reading does not run ahead of who reads', async () => {
  const { given } = counted(40_000);
  const blob = await backupOf(given);
  const summary = await inspectBackup(blob);
  let done = 0;
  const items = readBackup(blob, summary, { onProgress: ({ doneBytes }) => { done = doneBytes; } });
  for (let i = 0; i < 3; i++) await items.next();
  await settled();
  assert.ok(done < 512 * 1024, `${done} of ${blob.size} bytes were read for 512 records`);
  await items.return();
  assert.deepEqual(await items.next(), { value: undefined, done: true });
});

test('an AbortSignal stops writing and reading with its reason, and the source is ended', async () => {
  for (const compress of [true, false]) {
    const { state, given } = counted(200_000);
    const abort = new AbortController();
    const reader = writeBackup(given, { compress, signal: abort.signal }).getReader();
    await reader.read();
    const reason = new Error('enough');
    abort.abort(reason);
    await assert.rejects(reader.read(), (error) => error === reason);
    await settled();
    assert.ok(state.ended);
    await assert.rejects(writeBackup(given, { compress, signal: abort.signal }).getReader().read(), (error) => error === reason);
  }
  const { given } = counted(10_000);
  const blob = await backupOf(given);
  const abort = new AbortController();
  const onProgress = ({ doneBytes }) => { if (doneBytes > 100_000) abort.abort(new Error('enough')); };
  await assert.rejects(inspectBackup(blob, { signal: abort.signal, onProgress }), { message: 'enough' });
  await assert.rejects(inspectBackup(blob, { signal: AbortSignal.abort(new Error('never')) }), { message: 'never' });
});

test('whoever cancels the stream ends the source; a source that fails ends the stream', async () => {
  for (const compress of [true, false]) {
    const { state, given } = counted(200_000);
    const reader = writeBackup(given, { compress }).getReader();
    await reader.read();
    await reader.cancel();
    await settled();
    assert.ok(state.ended);
    const reason = new Error('mine');
    const failing = source({});
    failing.databases = [{ name: 'db', schema: 1, stores: [{ name: 's', async *records() { yield [{ value: 1 }]; throw reason; } }] }];
    await assert.rejects(writeBackup(failing, { compress }).getReader().read(), (error) => error === reason);
  }
});

test('what cannot be backed up fails with its place', async () => {
  const fails = (given, code, message) => assert.rejects(textOf(given), { name: 'StatikError', code, message });
  await fails(source({ db: { images: [{ value: 1 }, { value: { payload: { image: () => {} } } }] } }), 'Unsupported', /^backup: db\.images, record 1: encode: \.payload\.image is a function/);
  await fails(source({ db: { big: [{ value: 'x'.repeat(70_000_000) }] } }), 'Unsupported', /^backup: db\.big, record 0: takes 70000002 bytes of JSON/);
  await fails(source({ db: { a: [{ key: Symbol('s'), value: 1 }] } }), 'Unsupported', /^backup: db\.a, record 0/);
  await fails({ ...source({}), metadata: { ...METADATA, f() {} } }, 'Unsupported', /^backup: the metadata: encode: \.f is a function/);
  const twice = source({ db: { a: [] } });
  twice.databases.push(twice.databases[0]);
  await fails(twice, 'Invalid', /^backup: the database "db" is there twice/);
  const blob = await backupOf(source({ db: { files: [{ value: new Blob(['x'], { type: 'a/b' }) }] } }));
  const { databases: { db: { files: [{ value }] } } } = await contents(blob);
  assert.deepEqual([value.type, await value.text()], ['a/b', 'x']);
});

test('a record of many pieces is put together', async () => {
  const long = 'ü'.repeat(5_000_000);
  const blob = await backupOf(source({ db: { a: [{ value: long }, { value: 1 }] } }));
  assert.deepEqual(await contents(blob), { databases: { db: { a: [{ value: long }, { value: 1 }] } }, sqlite: {}, files: {} });
});

test('SHA-256 is what others compute, however the bytes are cut', () => {
  const random = mulberry32(SEED + 2);
  for (let length = 0; length < 300; length++) {
    const bytes = Uint8Array.from({ length }, () => random() * 256);
    const hash = new Sha256();
    for (let at = 0; at < length;) {
      const count = Math.floor(random() * 150);
      hash.update(bytes.subarray(at, at + count));
      at += count;
    }
    assert.equal(hash.hex(), createHash('sha256').update(bytes).digest('hex'));
  }
});
