/**
 * The key-value adapters' contract under Node, over SQLite in a file and in memory and over IndexedDB in memory; and what
 * only the adapter for Node has: its errors, other processes, and being killed.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import Connection from 'better-sqlite3';
import { IDBFactory, IDBKeyRange, IDBObjectStore } from 'fake-indexeddb';
import { mulberry32 } from '../e2e/random.mjs';
import { stamp } from '../kv/bench.mjs';
import { contract } from '../kv/contract.mjs';
import { openIdb } from '../kv/idb.mjs';
import { loadNode } from './load.mjs';

const { NodeStorageAdapter, IdbStorageAdapter, fromBetterSqlite3 } = await loadNode();
const SEED = Number(process.env.STATIK_SEED ?? 20_251_128);
const KILLS = Number(process.env.STATIK_ROUNDS ?? 3);
const folder = mkdtempSync(path.join(tmpdir(), 'statik-kv-'));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
const newFile = () => path.join(folder, `${++files}.db`);
const code = (expected) => (error) => {
  assert.equal(error.name, 'StatikError', error.stack);
  assert.equal(error.code, expected, error.message);
  return true;
};

/** Adapters on one open database `path`, closed behind the body. */
async function opened(file, body, options) {
  const adapter = new NodeStorageAdapter(options);
  await adapter.initialize(file);
  try {
    return await body(adapter);
  } finally {
    await adapter.close();
  }
}

const platform = { indexedDB: new IDBFactory(), IDBKeyRange };
const subjects = {
  'a SQLite file': {
    create: (options) => new NodeStorageAdapter(options),
    database: (label) => path.join(folder, `${label}.db`),
  },
  IndexedDB: {
    create: (options) => new IdbStorageAdapter({ databases: { database: (name, migrations) => openIdb(platform, name, migrations) }, ...options }),
    database: (label) => label,
  },
};
for (const [name, subject] of Object.entries(subjects)) {
  for (const { name: title, run } of contract(name, subject)) test(title, run);
}

test('SQLite in memory is one, too', () => opened(':memory:', async (adapter) => {
  await adapter.put('k', { value: 1, hlc: adapter.clock.tick() });
  assert.equal((await adapter.get('k')).value, 1);
}));

test('its file is a SQLite database, with the tables that are promised', async () => {
  const file = newFile();
  await opened(file, (adapter) => adapter.commit(new Map([['k', { value: 'v', hlc: stamp(1) }]]), [{ key: 'k', opType: 'put', value: 'v', hlc: stamp(1) }]), { now: () => 1_700_000_000_000 });
  const connection = new Connection(file);
  assert.deepEqual(connection.prepare('SELECT key, value, hlc, is_deleted, expires_ms FROM kv_store').all(), [{ key: 'k', value: '"v"', hlc: stamp(1), is_deleted: 0, expires_ms: null }]);
  assert.deepEqual(connection.prepare('SELECT id, key, op_type, value, hlc FROM op_log').all(), [{ id: 1, key: 'k', op_type: 'put', value: '"v"', hlc: stamp(1) }]);
  assert.deepEqual(connection.prepare('PRAGMA journal_mode').pluck().get(), 'wal');
  connection.close();
});

test('a file that the first layout was written to is read, and goes on', async () => {
  const file = newFile();
  const connection = new Connection(file);
  connection.exec(readFileSync(new URL('samples/kv-1.sql', import.meta.url), 'utf8'));
  connection.close();
  await opened(file, async (adapter) => {
    assert.deepEqual(await adapter.get('text'), { value: 'ä', hlc: stamp(1), expiresMs: 4_000_000_000_000 });
    assert.deepEqual(await adapter.get('gone'), { value: undefined, hlc: stamp(2), isDeleted: true });
    assert.deepEqual(await adapter.peers(), [{ peer: 'p', acknowledged: 2, seenMs: 1_700_000_000_000 }]);
    assert.deepEqual(await adapter.getPendingOps(), [{ id: 3, key: 'text', opType: 'put', value: 'ä', hlc: stamp(1) }, { id: 4, key: 'gone', opType: 'remove', hlc: stamp(2) }]);
    assert.ok(adapter.clock.tick() > stamp(7));
    assert.equal(await adapter.appendOpLog({ key: 'k', opType: 'remove', hlc: stamp(1) }), 8);
    await adapter.registerPeer('new');
    assert.equal((await adapter.peers()).find(({ peer }) => peer === 'new').acknowledged, 2);
  }, { now: () => 1_700_000_000_000 });
});

test('what cannot be opened says why', async () => {
  const create = () => new NodeStorageAdapter();
  await assert.rejects(create().initialize(path.join(folder, 'missing/a.db')), code('NotFound'));
  await assert.rejects(create().initialize(folder), code('Permission'));
  await assert.rejects(create().initialize(`${newFile()}\0`), code('Invalid'));
  const garbage = newFile();
  writeFileSync(garbage, 'no database '.repeat(1000));
  await assert.rejects(create().initialize(garbage), code('Corrupt'));
  const newer = newFile();
  await opened(newer, async () => {});
  const connection = new Connection(newer);
  connection.exec("UPDATE meta SET value = 2 WHERE name = 'format'");
  const adapter = create();
  await assert.rejects(adapter.initialize(newer), code('Unsupported'));
  assert.equal(connection.prepare("SELECT value FROM meta WHERE name = 'format'").pluck().get(), 2, 'it was left alone');
  connection.exec("UPDATE meta SET value = 1 WHERE name = 'format'; INSERT OR REPLACE INTO meta VALUES ('clock', 'noon')");
  await assert.rejects(adapter.initialize(newer), code('Corrupt'));
  connection.exec("DELETE FROM meta WHERE name = 'clock'");
  connection.close();
  await adapter.initialize(newer);
  await adapter.close();
});

test('options name the field', () => {
  for (const [field, options] of Object.entries({ codec: { codec: {} }, busyTimeoutMs: { busyTimeoutMs: -1 }, node: { node: 'x' } })) {
    assert.throws(() => new NodeStorageAdapter(options), (error) => error.code === 'Invalid' && error.message.includes(field));
  }
  assert.throws(() => new IdbStorageAdapter({}), (error) => error.code === 'Invalid' && error.message.includes('databases'));
});

test("better-sqlite3's errors have our codes", () => {
  const codes = {
    SQLITE_FULL: 'Quota', SQLITE_BUSY: 'Busy', SQLITE_BUSY_SNAPSHOT: 'Conflict', SQLITE_LOCKED_SHAREDCACHE: 'Busy', SQLITE_CORRUPT_INDEX: 'Corrupt', SQLITE_NOTADB: 'Corrupt',
    SQLITE_CANTOPEN: 'Permission', SQLITE_CANTOPEN_ISDIR: 'Invalid', SQLITE_READONLY_DIRECTORY: 'ReadOnly', SQLITE_CONSTRAINT_NOTNULL: 'Conflict',
    SQLITE_IOERR_WRITE: 'Io', SQLITE_NOMEM: 'Io', SQLITE_TOOBIG: 'Invalid', UNKNOWN_SQLITE_ERROR_9: 'Io',
  };
  for (const [sqliteCode, expected] of Object.entries(codes)) {
    const error = fromBetterSqlite3(Object.assign(new Error('words'), { code: sqliteCode }), 'a.db');
    assert.equal(error.code, expected, sqliteCode);
    assert.equal(error.path, 'a.db');
    assert.equal(error.sqliteCode, sqliteCode.startsWith('SQLITE_') ? sqliteCode : undefined);
  }
});

test('while another process writes it is Busy, and goes on afterwards', async () => {
  const file = newFile();
  await opened(file, async (adapter) => {
    await adapter.put('k', { value: 1, hlc: stamp(1) });
    const other = new Connection(file);
    other.exec('BEGIN IMMEDIATE');
    await assert.rejects(adapter.put('k', { value: 2, hlc: stamp(2) }), code('Busy'));
    assert.equal((await adapter.get('k')).value, 1, 'readers are not held up');
    other.exec('COMMIT');
    other.close();
    await adapter.put('k', { value: 3, hlc: stamp(3) });
    assert.equal((await adapter.get('k')).value, 3);
  }, { busyTimeoutMs: 1 });
});

test('two processes write to one file, and neither fails or loses anything', async () => {
  const file = newFile();
  await opened(file, async () => {});
  const script = fileURLToPath(new URL('../kv/contend.mjs', import.meta.url));
  const ends = ['a', 'b'].map((name) => new Promise((resolve) => {
    spawn(process.execPath, [script, file, name, '2'], { stdio: ['ignore', 'ignore', 'inherit'] }).once('exit', resolve);
  }));
  assert.deepEqual(await Promise.all(ends), [0, 0]);
  await opened(file, async (adapter) => {
    const ops = await adapter.getPendingOps();
    assert.deepEqual(ops.map(({ id }) => id), Array.from({ length: 300 }, (_, at) => at + 1));
    for (const name of ['a', 'b']) assert.deepEqual(ops.filter(({ key }) => key === name).map(({ value }) => value), Array.from({ length: 150 }, (_, at) => at));
    assert.equal((await adapter.get('shared')).isDeleted, true);
  });
});

test('what fails for want of space is Quota, and leaves nothing behind', async () => {
  const file = newFile();
  await opened(file, async (adapter) => {
    await adapter.put('k', { value: 1, hlc: stamp(1) });
    const other = new Connection(file);
    // A log without a number left: SQLite fails with SQLITE_FULL, as on a full disk, when the records are written already.
    other.exec("INSERT INTO sqlite_sequence(name, seq) VALUES ('op_log', 9223372036854775807)");
    const puts = new Map([['k', { value: 2, hlc: stamp(2) }], ['l', { value: 2, hlc: stamp(2) }]]);
    await assert.rejects(adapter.commit(puts, [{ key: 'k', opType: 'put', value: 2, hlc: stamp(2) }]), (error) => code('Quota')(error) && error.sqliteCode === 'SQLITE_FULL' && error.path === file);
    other.exec("DELETE FROM sqlite_sequence WHERE name = 'op_log'");
    other.close();
    assert.deepEqual([(await adapter.get('k')).value, await adapter.get('l')], [1, undefined]);
    await adapter.commit(puts, []);
    assert.equal((await adapter.get('l')).value, 2);
  });
});

test('what IndexedDB refuses half-way is told by its code, and leaves nothing behind', async (t) => {
  const adapter = subjects.IndexedDB.create();
  await adapter.initialize('half-way');
  await adapter.put('k', { value: 1, hlc: stamp(1) });
  for (const [name, expected] of Object.entries({ QuotaExceededError: 'Quota', ConstraintError: 'Conflict', AbortError: 'Aborted' })) {
    const { mock } = t.mock.method(IDBObjectStore.prototype, 'add', () => { throw new DOMException('no', name); });
    const puts = new Map([['k', { value: 2, hlc: stamp(2) }], ['l', { value: 2, hlc: stamp(2) }]]);
    await assert.rejects(adapter.commit(puts, [{ key: 'k', opType: 'put', value: 2, hlc: stamp(2) }]), code(expected));
    mock.restore();
    assert.deepEqual([(await adapter.get('k')).value, await adapter.get('l'), await adapter.getPendingOps()], [1, undefined, []]);
  }
  assert.equal(await adapter.appendOpLog({ key: 'k', opType: 'remove', hlc: stamp(1) }), 1);
  await adapter.close();
});

test('a value that is no text of the codec is Corrupt, and only that one', async () => {
  const file = newFile();
  await opened(file, async (adapter) => {
    await adapter.batchPut(new Map(['good', 'bad', 'blob'].map((key) => [key, { value: key, hlc: stamp(1) }])));
    const other = new Connection(file);
    other.exec("UPDATE kv_store SET value = '{' WHERE key = 'bad'; UPDATE kv_store SET value = x'22' WHERE key = 'blob'");
    other.close();
    for (const key of ['bad', 'blob']) await assert.rejects(adapter.get(key), (error) => code('Corrupt')(error) && error.message.includes(key));
    assert.equal((await adapter.get('good')).value, 'good');
  });
});

/** Kills a process amid commits; the last one that it was heard to acknowledge. */
async function killAmidCommits(file, random) {
  const child = spawn(process.execPath, [fileURLToPath(new URL('../kv/commit-for-ever.mjs', import.meta.url)), file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise((resolve) => child.once('exit', (status, signal) => resolve(signal ?? status)));
  const enough = 20 + Math.floor(random() * 200);
  let last = 0;
  let heard = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    last = Number(line);
    heard += 1;
    // What it has written until then is read to the end: all of it was acknowledged.
    if (heard === enough) child.kill('SIGKILL');
  }
  assert.equal(await exited, 'SIGKILL');
  assert.ok(heard >= enough, `${heard} commits were acknowledged`);
  return last;
}

test(`killed ${KILLS} times amid commits, it has every one that was acknowledged, with its operation (seed ${SEED})`, async () => {
  const random = mulberry32(SEED);
  const file = newFile();
  for (let round = 1; round <= KILLS; round += 1) {
    const last = await killAmidCommits(file, random);
    await opened(file, async (adapter) => {
      const ops = await adapter.getPendingOps();
      assert.ok(ops.length >= last, `round ${round}: ${last} were acknowledged, ${ops.length} are there`);
      for (const [at, { id, key, value, hlc }] of ops.entries()) {
        assert.deepEqual([id, key], [at + 1, `k${at + 1}`]);
        assert.deepEqual(await adapter.get(key), { value, hlc }, `round ${round}: ${key}`);
      }
      assert.equal(await adapter.get(`k${ops.length + 1}`), undefined, 'no record without its operation');
    });
    const connection = new Connection(file);
    assert.equal(connection.pragma('integrity_check', { simple: true }), 'ok');
    connection.close();
  }
});
