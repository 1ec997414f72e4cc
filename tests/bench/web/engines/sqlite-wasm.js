/**
 * The official SQLite build, `@sqlite.org/sqlite-wasm`, through its object-oriented API in a dedicated worker.
 */
import sqlite3InitModule from '/node_modules/@sqlite.org/sqlite-wasm/dist/index.mjs';

/** @param {'opfs' | 'opfs-sahpool' | 'memory'} vfs */
export async function open(vfs) {
  const sqlite3 = await sqlite3InitModule();
  const opener = await openers[vfs](sqlite3);
  let db = opener.open();
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
          db = opener.open();
        }
      : undefined,
    close: () => db.close(),
  };
}

const openers = {
  opfs(sqlite3) {
    if (!sqlite3.oo1.OpfsDb) throw new Error('the opfs VFS did not install; it needs SharedArrayBuffer and OPFS');
    return { persistent: true, open: () => new sqlite3.oo1.OpfsDb('/bench.db') };
  },
  async 'opfs-sahpool'(sqlite3) {
    const pool = await sqlite3.installOpfsSAHPoolVfs({});
    return { persistent: true, open: () => new pool.OpfsSAHPoolDb('/bench.db') };
  },
  memory: (sqlite3) => ({ persistent: false, open: () => new sqlite3.oo1.DB(':memory:') }),
};
