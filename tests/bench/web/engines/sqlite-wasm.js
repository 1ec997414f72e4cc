/**
 * The official SQLite build, `@sqlite.org/sqlite-wasm`, through its object-oriented API in a dedicated worker.
 */
import sqlite3InitModule from '/node_modules/@sqlite.org/sqlite-wasm/dist/index.mjs';

/**
 * @param {'opfs' | 'opfs-sahpool' | 'memory'} vfs
 * @param {{ pragmas?: string, shared?: boolean }} [options] `pragmas` are run after each open; `shared`: other
 *   connections want the database, too
 */
export async function open(vfs, { pragmas, shared = false } = {}) {
  const sqlite3 = await sqlite3InitModule();
  const opener = await openers[vfs](sqlite3, shared);
  const connect = () => {
    const opened = opener.open();
    if (pragmas) opened.exec(pragmas);
    return opened;
  };
  let db = connect();
  return {
    version: sqlite3.version.libVersion,
    exec: (sql) => void db.exec(sql),
    runEach(sql, paramRows) {
      const statement = db.prepare(sql);
      try {
        for (const params of paramRows) statement.bind(params).stepReset();
      } finally {
        statement.finalize();
      }
    },
    queryEach(sql, paramRows) {
      const rows = [];
      const statement = db.prepare(sql);
      try {
        for (const params of paramRows) {
          if (params.length > 0) statement.bind(params);
          while (statement.step()) rows.push(statement.get([]));
          statement.reset();
        }
      } finally {
        statement.finalize();
      }
      return rows;
    },
    all: (sql) => db.selectArrays(sql),
    reopen: opener.persistent
      ? () => {
          db.close();
          db = connect();
        }
      : undefined,
    isBusy: (error) => error.resultCode === sqlite3.capi.SQLITE_BUSY,
    close() {
      db.close();
      opener.release?.();
    },
  };
}

const openers = {
  opfs(sqlite3, shared) {
    if (!sqlite3.oo1.OpfsDb) throw new Error('the opfs VFS did not install; it needs SharedArrayBuffer and OPFS');
    return { persistent: true, open: () => new sqlite3.oo1.OpfsDb(shared ? 'file:/bench.db?opfs-unlock-asap=1' : '/bench.db') };
  },
  async 'opfs-sahpool'(sqlite3) {
    const pool = await sqlite3.installOpfsSAHPoolVfs({});
    return { persistent: true, open: () => new pool.OpfsSAHPoolDb('/bench.db'), release: () => pool.pauseVfs() };
  },
  memory: (sqlite3) => ({ persistent: false, open: () => new sqlite3.oo1.DB(':memory:') }),
};
