/**
 * A worker of a scene: one connection, and what scenes.js tells it to do with it, one call at a time. Each call brings the
 * port for its answer, `{ value }` or `{ error }`.
 */
import { engines } from './engines.js';
import { nextTask } from './tasks.js';

/** No engine may take longer to show a commit to another connection. */
const NEWS_LIMIT_MS = 10_000;

let db;

/** Asks again while another connection is in the way, and lets the event loop turn, for some give way only there. */
async function insist(work) {
  for (let busy = 0; ; busy += 1) {
    try {
      await work();
      return busy;
    } catch (error) {
      if (!db.isBusy(error)) throw error;
      await nextTask();
    }
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const calls = {
  async open(engine, options) {
    db = await engines[engine].open(options);
  },
  exec: (sql) => insist(() => db.exec(sql)),
  async all(sql) {
    let rows;
    await insist(async () => {
      rows = await db.all(sql);
    });
    return rows;
  },
  close: () => db.close(),

  /** Reads and writes a counter in transactions; tells how often it was turned away. */
  async increment(times) {
    let busy = 0;
    for (let i = 0; i < times; i += 1) {
      busy += await insist(() => db.exec('BEGIN IMMEDIATE'));
      const [[n]] = await db.all('SELECT n FROM counter');
      await db.exec(`UPDATE counter SET n = ${Number(n) + 1}`);
      busy += await insist(() => db.exec('COMMIT'));
      await nextTask();
    }
    return busy;
  },

  /** Commits single rows, one after another. */
  async commit(times) {
    for (let i = 0; i < times; i += 1) {
      await insist(() => db.exec('BEGIN IMMEDIATE'));
      await db.exec(`INSERT INTO event(body) VALUES ('event ${i}')`);
      await insist(() => db.exec('COMMIT'));
      await nextTask();
    }
  },

  /** Moves money between accounts, a transaction each `everyMs`, for so long. */
  async transfer(accounts, everyMs, forMs) {
    const startedAt = performance.now();
    let commits = 0;
    for (; performance.now() - startedAt < forMs; commits += 1) {
      const [from, to] = [1 + ((commits * 7919) % accounts), 1 + ((commits * 104_729 + 1) % accounts)];
      await insist(() => db.exec('BEGIN IMMEDIATE'));
      await db.exec(`UPDATE account SET balance = balance - 1 WHERE id = ${from}`);
      await db.exec(`UPDATE account SET balance = balance + 1 WHERE id = ${to}`);
      await db.exec(`UPDATE news SET number = ${commits + 1}`);
      await insist(() => db.exec('COMMIT'));
      await sleep(Math.max(0, startedAt + (commits + 1) * everyMs - performance.now()));
    }
    return { commits, ms: performance.now() - startedAt };
  },

  /** Waits until this connection sees what others have committed: to some engines that is news, which takes a while. */
  async awaitValue(sql, expected) {
    const startedAt = performance.now();
    for (;;) {
      const [[value]] = await calls.all(sql);
      if (Number(value) === expected) return;
      if (performance.now() - startedAt > NEWS_LIMIT_MS) throw new Error(`wrong result: after ${NEWS_LIMIT_MS} ms ${sql} gives ${value} instead of ${expected}`);
      await nextTask();
    }
  },

  /** Counts accounts and money, over and over, for so long; `views` is how many different states it saw. */
  async scan(accounts, money, forMs) {
    const startedAt = performance.now();
    const views = new Set();
    let scans = 0;
    for (; performance.now() - startedAt < forMs; scans += 1) {
      const [row] = await calls.all('SELECT count(*), sum(balance), (SELECT number FROM news) FROM account');
      const [count, total, number] = row.map(Number);
      if (count !== accounts || total !== money) throw new Error(`wrong result: a reader saw ${total} of ${money} in ${count} of ${accounts} accounts`);
      views.add(number);
      await nextTask();
    }
    return { scans, views: views.size, ms: performance.now() - startedAt };
  },
};

self.onmessage = async ({ data: { name, args, port } }) => {
  try {
    port.postMessage({ value: await calls[name](...args) });
  } catch (error) {
    console.error(error);
    port.postMessage({ error: `${name}: ${error?.name ?? 'Error'}: ${error?.message ?? String(error)}` });
  }
};
