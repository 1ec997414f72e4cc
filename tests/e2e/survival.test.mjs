/**
 * The browser killed in the middle of transactions, over and over: after each time the database is sound, and has every
 * commit that the page was told of, whole, and none in part. When each kill comes is drawn from a seed, which is printed;
 * `STATIK_SEED` sets it, `STATIK_ROUNDS` says how many kills.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Browser, temporaryFolder } from './browsers.mjs';
import { BROWSERS, MODES, Place, ROOTS } from './matrix.mjs';
import { mulberry32 } from './random.mjs';
import { Server } from './server.mjs';

const SEED = Number(process.env.STATIK_SEED ?? 20_251_121);
const ROUNDS = Number(process.env.STATIK_ROUNDS ?? 3);
const LIMIT_MS = 60_000 + ROUNDS * 60_000;

/** In the page: commits as fast as it can, for ever, and tells the server which commits were acknowledged. */
async function commitForEver() {
  const db = await openDatabase('ledger.db', { cacheKib: 16 });
  await db.exec(`CREATE TABLE IF NOT EXISTS head(id INTEGER PRIMARY KEY CHECK (id = 1), number INT, total INT);
    CREATE TABLE IF NOT EXISTS entry(number INT, part INT, text TEXT, PRIMARY KEY (number, part)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS entry_text ON entry(text);
    INSERT OR IGNORE INTO head VALUES (1, 0, 0)`);
  let { number } = await db.get('SELECT number FROM head');
  for (;;) {
    number += 1;
    // Few parts or many: some transactions fit in the cache, others spill into the file before they commit.
    const parts = number % 5 === 0 ? 200 : 3;
    await db.transaction(async (tx) => {
      await tx.run('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT :parts) INSERT INTO entry SELECT :number, i, hex(randomblob(60)) FROM n', { number, parts });
      await tx.run('UPDATE head SET number = :number, total = total + :parts', { number, parts });
      if (number % 7 === 0) await tx.run('UPDATE entry SET text = hex(randomblob(60)) WHERE number % 11 = 0');
    });
    tell('acknowledged', number);
  }
}

/** In the page: what is in the database. */
async function audit() {
  const db = await openDatabase('ledger.db', { mustExist: true });
  return {
    ...await db.get('SELECT number, total FROM head'),
    ...await db.get('SELECT count(*) AS entries, count(DISTINCT number) AS numbers, max(number) AS most FROM entry'),
    partial: await db.all('SELECT number FROM entry GROUP BY number HAVING count(*) <> CASE WHEN number % 5 = 0 THEN 200 ELSE 3 END', [], { rows: 'array' }),
    ...await db.get('PRAGMA integrity_check'),
  };
}

for (const browserName of BROWSERS) {
  describe(`survival, ${browserName}`, () => {
    for (const mode of MODES) {
      test(`${mode}: killed ${ROUNDS} times, it has every acknowledged commit`, { timeout: LIMIT_MS }, async (t) => {
        t.diagnostic(`STATIK_SEED=${SEED}`);
        const random = mulberry32(SEED);
        const profile = temporaryFolder('survivor');
        const server = await Server.start({ isolated: mode === 'bridge', roots: ROOTS });
        try {
          let before = 0;
          for (let round = 1; round <= ROUNDS; round += 1) {
            const acknowledged = await killAmidCommits({ browserName, mode, profile, server }, random);
            assert.ok(acknowledged > before, `round ${round}: commits were acknowledged`);
            const found = await inNewBrowser({ browserName, mode, profile, server }, (tab) => tab.run(audit));
            t.diagnostic(`round ${round}: ${acknowledged} acknowledged, ${found.number} found`);
            assert.equal(found.integrity_check, 'ok');
            assert.ok(found.number >= acknowledged, `round ${round}: ${acknowledged} were acknowledged, ${found.number} are there`);
            assert.deepEqual(found.partial, []);
            assert.deepEqual([found.numbers, found.most, found.entries], [found.number, found.number, found.total]);
            before = found.number;
          }
        } finally {
          await server.close();
        }
      });
    }
  });
}

/** Kills a browser while it commits; gives the last commit that it was told of. */
async function killAmidCommits({ browserName, mode, profile, server }, random) {
  const browser = await Browser.launch(browserName, { profile });
  let last = 0;
  const enough = 10 + Math.floor(random() * 40);
  try {
    const place = new Place(browser, mode);
    place.server = server;
    const tab = await place.tab({ store: 'survivor' });
    let heard = 0;
    const due = new Promise((resolve) => server.told.on('acknowledged', (number) => {
      last = Math.max(last, number);
      heard += 1;
      if (heard === enough) setTimeout(resolve, random() * 30);
    }));
    const died = tab.run(commitForEver).then(() => 'ended', (error) => error);
    const first = await Promise.race([due, died]);
    if (first !== undefined) throw first;
  } finally {
    await browser.kill();
    server.told.removeAllListeners('acknowledged');
  }
  return last;
}

async function inNewBrowser({ browserName, mode, profile, server }, body) {
  const browser = await Browser.launch(browserName, { profile });
  try {
    const place = new Place(browser, mode);
    place.server = server;
    return await body(await place.tab({ store: 'survivor' }));
  } finally {
    await browser.close();
  }
}
