/**
 * The page: looks at what the last kill has left, tells it, and commits for ever.
 *
 *   /told/found          a `Found`, see ../ledger.mjs, before anything is written
 *   /told/acknowledged   { writer, numbers }: transactions whose commit has returned
 *   /told/failed         an error: nothing here may fail
 *
 * Several connections write, each its transactions one after another, and one reads all the while. Both files are
 * databases of one store, the second attached to the first. See ../transactions.mjs for what a transaction is.
 */
import { open } from '/dist/index.js';
import { KEPT, PARTS } from '../transactions.mjs';

/** So small that the larger transactions do not fit. */
const CACHE_KIB = 64;
const CONNECTION = { cacheKib: CACHE_KIB, busyTimeoutMs: 30_000 };
const ARRAYS = { rows: 'array' };
const WRITERS = 3;
const FILES = ['main', 'other'];

/** The content of an entry, which nothing but its place decides. */
const CONTENT = "printf('%08d', number * 31 + part) || replace(hex(zeroblob(20)), '00', char(97 + number % 26))";

const tell = (topic, data) => fetch(`/told/${topic}`, { method: 'POST', body: JSON.stringify(data) });

async function connect(statik) {
  const db = await statik.sqlite.open('soak.db', CONNECTION);
  await db.exec("PRAGMA synchronous = FULL; ATTACH 'other.db' AS other; PRAGMA other.synchronous = FULL");
  return db;
}

async function create(db) {
  const tables = FILES.map((file) => `
    CREATE TABLE IF NOT EXISTS ${file}.head(id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS ${file}.entry(number INTEGER, part INTEGER, writer TEXT, content TEXT, PRIMARY KEY (number, part)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS ${file}.entry_content ON entry(content);
    CREATE TABLE IF NOT EXISTS ${file}.filler(id INTEGER PRIMARY KEY, bytes BLOB);
    INSERT OR IGNORE INTO ${file}.head VALUES (1, 0);`);
  await db.transaction((tx) => tx.exec(tables.join('')));
}

async function look(db) {
  const found = { integrity: [], heads: [], entries: [] };
  for (const file of FILES) {
    found.integrity.push((await db.get(`PRAGMA ${file}.integrity_check`, [], ARRAYS))[0]);
    found.heads.push((await db.get(`SELECT number FROM ${file}.head`, [], ARRAYS))[0]);
    found.entries.push(await db.all(`SELECT number, writer, count(*), sum(content = ${CONTENT}) FROM ${file}.entry GROUP BY number, writer`, [], ARRAYS));
  }
  return found;
}

/** Tells what was acknowledged, one message at a time: while one is on its way, the next ones wait and go together. */
function teller(writer) {
  let waiting = [];
  let busy = false;
  const send = async () => {
    busy = true;
    while (waiting.length > 0) {
      const numbers = waiting;
      waiting = [];
      await tell('acknowledged', { writer, numbers });
    }
    busy = false;
  };
  return (number) => {
    waiting.push(number);
    if (!busy) send().catch(failed);
  };
}

async function write(statik, writer) {
  const db = await connect(statik);
  const acknowledged = teller(writer);
  for (;;) acknowledged(await db.transaction((tx) => commitOne(tx, writer)));
}

async function commitOne(tx, writer) {
  const number = (await tx.get('SELECT number FROM main.head', [], ARRAYS))[0] + 1;
  for (const file of FILES) {
    await tx.run(`INSERT INTO ${file}.entry
      WITH this(number, writer) AS (VALUES (:number, :writer)),
        parts(part) AS (SELECT 1 UNION ALL SELECT part + 1 FROM parts, this WHERE part < ${PARTS})
      SELECT number, part, writer, ${CONTENT} FROM this, parts`, { number, writer });
    await tx.run(`UPDATE ${file}.head SET number = ?`, [number]);
    await tx.run(`DELETE FROM ${file}.entry WHERE number <= ?`, [number - KEPT]);
    // Now and then a blob much larger than the cache, which makes the file longer or takes pages that were freed.
    if (number % 5 === 0) await tx.run(`INSERT OR REPLACE INTO ${file}.filler VALUES (?, randomblob(?))`, [number % 20, number % 25 === 0 ? 400_000 : 5_000]);
  }
  return number;
}

/** Reads beside the writers: no snapshot may show a part of a transaction. */
async function read(statik) {
  const db = await connect(statik);
  for (;;) {
    const torn = await db.all(`SELECT number, count(*) FROM entry GROUP BY number HAVING count(*) <> ${PARTS}`, [], ARRAYS);
    if (torn.length > 0) throw new Error(`a reader saw a part of transactions: ${JSON.stringify(torn)}`);
  }
}

function failed(error) {
  console.error(error);
  return tell('failed', `${error?.stack ?? error}`);
}

/** Runs until the browser is killed; with `writes` false, only looks. */
globalThis.soak = async ({ mode, round, writes }) => {
  try {
    const statik = await open({ name: 'soak', mode, waitMs: 20_000 });
    // Kept open: direct mode attaches only what is.
    await statik.sqlite.open('other.db', CONNECTION);
    const db = await connect(statik);
    await create(db);
    await tell('found', await look(db));
    if (!writes) return;
    await db.close();
    const writers = Array.from({ length: WRITERS }, (_, i) => write(statik, `round ${round}, writer ${i + 1}`));
    await Promise.all([...writers, read(statik)]);
  } catch (error) {
    await failed(error);
  }
};
