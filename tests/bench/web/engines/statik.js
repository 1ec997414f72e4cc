/**
 * Statik itself: `statik-storage/sync` in a dedicated worker, for like with like, and the promise API on the page.
 */
const STORE = 'bench';
const DATABASE = 'bench.db';
const ARRAYS = { rows: 'array' };

/** Whether to try again: another connection was in the way. */
const isBusy = (error) => error.code === 'Busy';

/** The page's store, for workers to join by ports. */
export async function openHost() {
  const { open } = await import('/dist/index.js');
  return open({ name: STORE });
}

/**
 * @param {'bridge' | 'direct'} mode
 * @param {{ database?: string, port?: MessagePort }} [options] `port`: of the page's store, instead of one of its own
 */
export async function openSync(mode, { database = DATABASE, port } = {}) {
  const { open } = await import('/dist/sync.js');
  const statik = await open(port ? { port } : { name: STORE, mode, databases: [DATABASE] });
  if (statik.mode !== mode) throw new Error(`asked for ${mode} mode, got ${statik.mode}`);
  if (statik.storage !== 'opfs') throw new Error(`not on OPFS but in ${statik.storage}`);
  let db = statik.sqlite.open(database);
  return {
    version: db.get('SELECT sqlite_version()', [], ARRAYS)[0],
    exec: (sql) => db.exec(sql),
    runEach(sql, paramRows) {
      const statement = db.prepare(sql);
      try {
        for (const params of paramRows) statement.run(params);
      } finally {
        statement.finalize();
      }
    },
    queryEach(sql, paramRows) {
      const rows = [];
      const statement = db.prepare(sql);
      try {
        for (const params of paramRows) for (const row of statement.all(params, ARRAYS)) rows.push(row);
      } finally {
        statement.finalize();
      }
      return rows;
    },
    all: (sql) => db.all(sql, [], ARRAYS),
    reopen:
      database === ':memory:'
        ? undefined
        : () => {
            db.close();
            db = statik.sqlite.open(database);
          },
    isBusy,
    metrics: () => statik.metrics(),
    async close() {
      db.close();
      await statik.close();
    },
  };
}

/** What an app on the main thread has: every call goes to the engine worker and back. */
export async function openPromises() {
  const { open } = await import('/dist/index.js');
  const statik = await open({ name: STORE });
  if (statik.storage !== 'opfs') throw new Error(`not on OPFS but in ${statik.storage}`);
  let db = await statik.sqlite.open(DATABASE);
  return {
    version: (await db.get('SELECT sqlite_version()', [], ARRAYS))[0],
    exec: (sql) => db.exec(sql),
    async runEach(sql, paramRows) {
      const statement = await db.prepare(sql);
      for (const params of paramRows) await statement.run(params);
      await statement.finalize();
    },
    async queryEach(sql, paramRows) {
      const rows = [];
      const statement = await db.prepare(sql);
      for (const params of paramRows) rows.push(...(await statement.all(params, ARRAYS)));
      await statement.finalize();
      return rows;
    },
    all: (sql) => db.all(sql, [], ARRAYS),
    async reopen() {
      await db.close();
      db = await statik.sqlite.open(DATABASE);
    },
    metrics: () => statik.metrics(),
    async close() {
      await db.close();
      await statik.close();
    },
  };
}
