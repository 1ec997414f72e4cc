/**
 * wa-sqlite, as packaged by `@journeyapps/wa-sqlite`: its synchronous build, in a dedicated worker, with two of its
 * VFSes. Its API returns promises because a call may have to be repeated after waiting for a lock.
 */
import SQLiteESMFactory from '/node_modules/@journeyapps/wa-sqlite/dist/wa-sqlite.mjs';
import * as SQLite from '/node_modules/@journeyapps/wa-sqlite/src/sqlite-api.js';

const DATABASE = 'bench.db';

/**
 * @param {'OPFSWriteAheadVFS' | 'OPFSCoopSyncVFS'} vfsName
 * @param {string} [pragmas] run after each open
 */
export async function open(vfsName, pragmas) {
  const { [vfsName]: Vfs } = await import(`/node_modules/@journeyapps/wa-sqlite/src/examples/${vfsName}.js`);
  const module = await SQLiteESMFactory();
  const sqlite3 = SQLite.Factory(module);
  sqlite3.vfs_register(await Vfs.create(vfsName, module), true);

  let db;
  async function openDatabase() {
    db = await sqlite3.open_v2(DATABASE);
    if (pragmas) await sqlite3.exec(db, pragmas);
  }
  await openDatabase();

  async function queryEach(sql, paramRows) {
    const rows = [];
    for await (const statement of sqlite3.statements(db, sql)) {
      for (const params of paramRows) {
        sqlite3.bind_collection(statement, params);
        while ((await sqlite3.step(statement)) === SQLite.SQLITE_ROW) rows.push(sqlite3.row(statement));
        await sqlite3.reset(statement);
      }
    }
    return rows;
  }
  return {
    version: sqlite3.libversion(),
    notes: vfsName === 'OPFSWriteAheadVFS' ? await unsafeModeNotes() : [],
    exec: (sql) => sqlite3.exec(db, sql),
    async runEach(sql, paramRows) {
      await queryEach(sql, paramRows);
    },
    queryEach,
    all: (sql) => queryEach(sql, [[]]),
    async reopen() {
      await sqlite3.close(db);
      await openDatabase();
    },
    isBusy: (error) => error.code === SQLite.SQLITE_BUSY,
    close: () => sqlite3.close(db),
  };
}

/** OPFSWriteAheadVFS asks for `readwrite-unsafe` handles; a browser that ignores that lets it have one connection. */
async function unsafeModeNotes() {
  const root = await navigator.storage.getDirectory();
  const file = await root.getFileHandle('probe-readwrite-unsafe', { create: true });
  const first = await file.createSyncAccessHandle({ mode: 'readwrite-unsafe' });
  try {
    (await file.createSyncAccessHandle({ mode: 'readwrite-unsafe' })).close();
    return [];
  } catch (error) {
    if (error.name !== 'NoModificationAllowedError') throw error;
    return ['this browser ignores readwrite-unsafe: one connection only, not the mode it is made for'];
  } finally {
    first.close();
    await root.removeEntry('probe-readwrite-unsafe');
  }
}
