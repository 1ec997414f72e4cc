/**
 * What really comes out has the shapes that web/sdk/src/types.d.ts promises: values from the SDK, and those that Rust
 * hands to it, are written down as TypeScript literals of those types, and the compiler judges them. A key too many, one
 * missing and a wrong type are errors there.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from './browsers.mjs';
import { CHECKOUT, matrix } from './matrix.mjs';

/** In the page: one value of each type, from the SDK. */
async function fromSdk() {
  const events = [];
  // A log that is none, for the event that tells so.
  let folder = await navigator.storage.getDirectory();
  for (const name of ['statik', new URL(location.href).searchParams.get('store'), '.statik']) folder = await folder.getDirectoryHandle(name, { create: true });
  const log = await (await folder.getFileHandle('log-a', { create: true })).createWritable();
  await log.write(new Uint8Array(5000).fill(120));
  await log.close();
  const store = await openStore({ recover: 'truncate', slowQueryMs: 0, onEvent: (event) => events.push(event) });
  const db = await store.sqlite.open('shapes.db', { foreignKeys: false });
  await db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE)');
  const run = await db.run("INSERT INTO t(a) VALUES ('x')");
  const far = await db.run("INSERT INTO t VALUES (9223372036854775807, 'y')");
  const statement = await db.prepare('SELECT id, a, 1 + 1 FROM t');
  const progress = [];
  const bytes = await bytesOf(await db.export({ onProgress: (each) => progress.push(each) }));
  await (await statik.open({ name: 'memory', opfs: false, fallback: 'memory', onEvent: (event) => events.push(event) })).close();
  await db.exec('CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES t); INSERT INTO child VALUES (1, 99)');
  // Slow enough for any clock.
  await db.all('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT count(*) FROM n, t');
  const health = [await db.health(), await db.health({ full: true })];
  const steps = [];
  const migrate = (options) => store.sqlite.migrate(db, [{ version: 1, upgrade: 'CREATE TABLE m(a)', down: 'DROP TABLE m' }], { onProgress: (each) => steps.push(each), ...options });
  const migrated = [await migrate(), await migrate(), await migrate({ target: 0 })];
  const pooled = await store.sqlite.open('shapes.db', { pool: true });
  await pooled.all('SELECT a FROM t');
  return {
    'Status': await store.status(),
    'DatabaseMetrics': [await db.metrics(), await pooled.metrics()],
    'Health': health,
    'ForeignKeyViolation': health[1].foreignKeys,
    'VacuumResult': await db.vacuum(),
    'SlowQuery': (await db.metrics()).slowQueries,
    'Metrics': await store.metrics(),
    'RunResult': [run, far],
    'ColumnInfo': statement.columns,
    'PlanRow': await db.explain('SELECT * FROM t'),
    'DatabaseInfo': [...await store.sqlite.list(), await db.backup('backup.db', { onProgress: (each) => progress.push(each) }), await store.sqlite.import('copy.db', bytes, { onProgress: (each) => progress.push(each) })],
    'StatikEvent': events,
    'Progress': [progress[0], progress.at(-1)],
    'MigrationResult': migrated,
    'MigrationProgress': steps,
    'Row': await db.all('SELECT id, a, NULL, x\'00ff\', 1.5 FROM t'),
    'RowArray': await db.all('SELECT id, a, NULL, x\'00ff\', 1.5 FROM t', [], { rows: 'array' }),
  };
}

/** In a worker: one value of each type, straight from the WebAssembly exports. */
async function fromRust() {
  const wasm = await import('/statik/statik.js');
  await wasm.default({ module_or_path: '/statik/statik_bg.wasm' });
  const engine = await wasm.Engine.direct({ name: 'shapes', idleMs: 30_000, verbosity: 0, sanityCheck: true, opfs: true });
  await engine.prepare(['raw/shapes.db', 'raw/backup.db']);
  const connection = engine.open('raw/shapes.db', { slowQueryMs: 0 });
  connection.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE)');
  const thrown = (work) => {
    try {
      work();
    } catch (error) {
      // Its prototype would not survive the way here, and is none of a plain object's anyway.
      return Object.getPrototypeOf(error) === Object.prototype ? error : { notPlain: String(error) };
    }
    return { notThrown: true };
  };
  const run = (sql, params) => {
    const statement = connection.prepare(sql);
    const changes = statement.run(params);
    statement.finalize();
    return { changes, lastInsertRowid: connection.lastInsertRowid };
  };
  run('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT count(*) FROM n', []);
  const runs = [run('INSERT INTO t(a) VALUES (:a)', { a: 'x' }), run('INSERT INTO t VALUES (?, ?)', [9223372036854775807n, 'y'])];
  const select = connection.prepare('SELECT id, a, 1 + 1 FROM t');
  const columns = select.columns();
  select.finalize();
  const errors = [
    thrown(() => connection.prepare('SELECT missing FROM t')),
    thrown(() => run('INSERT INTO t(a) VALUES (:a)', { a: 'x' })),
    thrown(() => engine.open('raw/missing.db', { mustExist: true })),
    thrown(() => connection.prepare('')),
  ];
  const health = [connection.health(false), connection.health(true)];
  const backup = connection.backup('raw/backup.db');
  while (!backup.step(1)) continue;
  const progress = [{ doneBytes: backup.doneBytes, totalBytes: backup.totalBytes }];
  backup.close();
  const vacuumed = connection.vacuum();
  const slow = connection.takeSlowQueries();
  const timings = connection.timings();
  connection.checkpoint();
  engine.durable();
  const usage = engine.usage();
  const due = engine.tend();
  if (due !== undefined && typeof due !== 'number') throw new Error(`tend answered ${due}`);
  connection.close();
  const listed = await engine.list();
  const importing = await engine.importBegin('raw/copy.db');
  importing.write(new Uint8Array(4096));
  const refused = await importing.finish().then(() => ({ notThrown: true }), (error) => error);
  const metrics = engine.metrics();
  await engine.remove('raw/shapes.db');
  await engine.close();
  return {
    RunResult: runs, ColumnInfo: columns, ErrorShape: [...errors, refused], DatabaseInfo: listed, Operations: metrics,
    Health: health, Progress: progress, VacuumResult: vacuumed, SlowQuery: slow, Timings: timings, Usage: usage,
  };
}

/** What Rust tells the SDK alone. */
const INTERNAL = ['Timings', 'Usage'];

const LISTS = new Set(['DatabaseMetrics', 'Health', 'ForeignKeyViolation', 'SlowQuery', 'RunResult', 'ColumnInfo', 'PlanRow', 'DatabaseInfo', 'StatikEvent', 'Progress', 'MigrationResult', 'MigrationProgress', 'Row', 'RowArray', 'ErrorShape']);

matrix('shapes', (place) => {
  test('the SDK gives what the types say', async () => {
    const values = await place.run(fromSdk);
    assert.ok(values.RunResult.some(({ lastInsertRowid }) => typeof lastInsertRowid === 'bigint'));
    assert.ok(Object.keys(values.Metrics.operations).length >= 4, Object.keys(values.Metrics.operations).join());
    assert.ok(values.StatikEvent.some(({ type, filesAhead }) => type === 'damaged' && filesAhead));
    assert.ok(values.StatikEvent.some(({ type }) => type === 'slowQuery') && values.SlowQuery.some(({ plan }) => plan.length > 0));
    judge(values);
  });

  test('Rust gives what the types say', async () => {
    const values = await place.run(async (source) => inWorker(source), fromRust.toString());
    assert.ok(values.ErrorShape.some(({ offset }) => offset !== undefined) && values.ErrorShape.some(({ path }) => path !== undefined), JSON.stringify(values.ErrorShape));
    assert.ok(values.ErrorShape.some(({ sqliteCode }) => sqliteCode === 'SQLITE_CONSTRAINT_UNIQUE'));
    judge(values);
  });
});

test('the compiler rejects a key too many, one missing and a wrong type', () => {
  const right = { name: 'a.db', sizeBytes: 1 };
  const wrong = [{ ...right, extra: 1 }, { name: 'a.db' }, { ...right, sizeBytes: '1' }, { ...right, sizeBytes: undefined }];
  const status = { mode: 'bridge', storage: 'opfs' };
  const problems = compile({ DatabaseInfo: [right, ...wrong], Status: { ...status, usageBytes: undefined } });
  // Three lines of imports and types come first, then the right one.
  const lines = new Set(Array.from(problems.matchAll(/values\.ts\((\d+),\d+\): error TS/g), ([, line]) => Number(line)));
  assert.deepEqual([...lines].sort(), [5, 6, 7, 8, 9], problems);
});

/** Fails unless each value is of the type that it is named after, and there is one to judge. */
function judge(values) {
  for (const [type, value] of Object.entries(values)) if (LISTS.has(type)) assert.ok(value.length > 0, `there is a ${type}`);
  assert.equal(compile(values), '');
}

/** What the compiler has against these values. */
function compile(values) {
  const folder = temporaryFolder('shapes');
  const names = Object.keys(values).filter((name) => name !== 'Progress' && !INTERNAL.includes(name));
  const lines = [
    `import type { ${['TransferOptions', ...names].join(', ')} } from 'types';`,
    `import type { ${INTERNAL.join(', ')} } from 'statik';`,
    "export type Progress = Parameters<NonNullable<TransferOptions['onProgress']>>[0];",
    ...Object.entries(values).flatMap(([type, value]) => (LISTS.has(type) ? value : [value]).map((each, index) => `export const ${type}_${index}: ${type} = ${literal(each)};`)),
  ];
  writeFileSync(path.join(folder, 'values.ts'), lines.join('\n'));
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({
    compilerOptions: {
      strict: true, exactOptionalPropertyTypes: true, noEmit: true, target: 'ES2022', module: 'ESNext', moduleResolution: 'bundler',
      lib: ['ES2024', 'ESNext.Disposable', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'], types: [], paths: { types: [`${CHECKOUT}web/sdk/src/types.d.ts`], statik: [`${CHECKOUT}web/sdk/src/statik.d.ts`] },
    },
    files: ['values.ts'],
  }));
  const { stdout, stderr, error } = spawnSync(`${CHECKOUT}node_modules/.bin/tsc`, ['--project', folder, '--pretty', 'false'], { encoding: 'utf8' });
  if (error) throw error;
  return stdout + stderr;
}

/** A value as TypeScript source. */
function literal(value) {
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return `new Uint8Array([${[...value].join()}])`;
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value === 'object' && value !== null) return `{ ${Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${literal(each)}`).join(', ')} }`;
  return value === undefined ? 'undefined' : JSON.stringify(value);
}
