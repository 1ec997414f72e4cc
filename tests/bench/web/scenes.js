/**
 * What one worker alone cannot show: several workers on one database, and a database opened by a worker that has just
 * started. Runs in the page; the workers' part is scene-worker.js.
 *
 * Each scene resolves to numbers by name, which tests/bench/report.mjs takes the medians of, and throws if an engine's
 * answer is wrong: an increment that was lost, money that a reader saw missing. Engines that report "busy" are asked
 * again until it goes through, for that is what their users have to do.
 */
import { engines } from './engines.js';
import { startAgainIfItHangs, unlessHangs } from './tasks.js';

const INCREMENTING = 4;
const INCREMENTS = 25;

const READERS = 3;
const READ_MS = 2_000;
const COMMIT_EVERY_MS = 4;
const ACCOUNTS = 10_000;
const BALANCE = 100;

const COMMITTING = 8;
const COMMITS_EACH = 100;
const COMMITS_ALONE = 400;

const OPENINGS = 3;
const STORED_ROWS = 20_000;

/** A worker with a connection of its own. */
class Connection {
  #worker = new Worker(new URL('scene-worker.js', import.meta.url), { type: 'module' });
  #engine;

  constructor(engine) {
    this.#engine = engine;
  }

  /** Calls what scene-worker.js has of this name. */
  call(name, args = [], transfer = []) {
    const { port1, port2 } = new MessageChannel();
    return new Promise((resolve, reject) => {
      this.#worker.onerror = (event) => reject(new Error(`a worker of ${this.#engine} failed: ${event.message}`));
      port1.onmessage = ({ data: { value, error } }) => {
        port1.close();
        if (error) reject(new Error(error));
        else resolve(value);
      };
      this.#worker.postMessage({ name, args, port: port2 }, [port2, ...transfer]);
    });
  }

  terminate() {
    this.#worker.terminate();
  }
}

/** A worker that has the database open, or joins what the page has of it. */
async function connected(engine, options, host) {
  const connection = new Connection(engine);
  try {
    const port = await host?.port();
    await unlessHangs(connection.call('open', [engine, { ...options, port }], port ? [port] : []));
    return connection;
  } catch (error) {
    connection.terminate();
    throw error;
  }
}

/** Runs `body` with so many workers that have the same database open, and with what the page itself holds for them. */
async function withConnections(engine, count, body) {
  const host = await engines[engine].host?.();
  const connections = [];
  try {
    while (connections.length < count) connections.push(await startAgainIfItHangs(() => connected(engine, { shared: true }, host)));
    const result = await body(connections);
    for (const connection of connections) await connection.call('close');
    await host?.close();
    return result;
  } finally {
    for (const connection of connections) connection.terminate();
  }
}

/** How long it takes until all of them have done it. */
async function timed(connections, name, args) {
  const startedAt = performance.now();
  const answers = await Promise.all(connections.map((connection) => connection.call(name, args)));
  return { ms: performance.now() - startedAt, answers };
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function contended(engine) {
  return withConnections(engine, INCREMENTING, async (connections) => {
    const [first] = connections;
    await first.call('exec', ['CREATE TABLE counter(n INTEGER NOT NULL); INSERT INTO counter VALUES (0)']);
    const { ms, answers } = await timed(connections, 'increment', [INCREMENTS]);
    await first.call('awaitValue', ['SELECT n FROM counter', INCREMENTING * INCREMENTS]);
    return { ms, busy: sum(answers) };
  });
}

function readers(engine) {
  return withConnections(engine, 1 + READERS, async ([writer, ...reading]) => {
    await writer.call('exec', [`BEGIN IMMEDIATE;
      CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, note TEXT NOT NULL);
      INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ${ACCOUNTS})
        SELECT i, ${BALANCE}, hex(zeroblob(200)) FROM n;
      CREATE TABLE news(number INTEGER NOT NULL);
      INSERT INTO news VALUES (0);
      COMMIT`]);
    for (const reader of reading) {
      await reader.call('awaitValue', ["SELECT count(*) FROM sqlite_schema WHERE name = 'news'", 1]);
    }
    const [written, { answers }] = await Promise.all([
      writer.call('transfer', [ACCOUNTS, COMMIT_EVERY_MS, READ_MS]),
      timed(reading, 'scan', [ACCOUNTS, ACCOUNTS * BALANCE, READ_MS]),
    ]);
    for (const reader of reading) await reader.call('awaitValue', ['SELECT number FROM news', written.commits]);
    return {
      rowsPerSecond: sum(answers.map(({ scans, ms }) => (scans * ACCOUNTS * 1000) / ms)),
      commitsPerSecond: (written.commits * 1000) / written.ms,
      views: sum(answers.map(({ views }) => views)),
    };
  });
}

function group(engine) {
  return withConnections(engine, COMMITTING, async (connections) => {
    const [first] = connections;
    await first.call('exec', ['CREATE TABLE event(id INTEGER PRIMARY KEY, body TEXT NOT NULL)']);
    const one = await timed([first], 'commit', [COMMITS_ALONE]);
    const all = await timed(connections, 'commit', [COMMITS_EACH]);
    await first.call('awaitValue', ['SELECT count(*) FROM event', COMMITS_ALONE + COMMITTING * COMMITS_EACH]);
    return { one: (COMMITS_ALONE * 1000) / one.ms, all: (COMMITTING * COMMITS_EACH * 1000) / all.ms };
  });
}

/** From nothing, not even a worker, to the first row of a database that exists. */
async function opening(engine) {
  const script = `CREATE TABLE item(id INTEGER PRIMARY KEY, body TEXT NOT NULL);
    INSERT INTO item WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ${STORED_ROWS})
      SELECT i, hex(zeroblob(100)) FROM n`;
  const start = engines[engine].context === 'page' ? inPage : inWorker;
  await start(engine, (db) => db.exec(script));
  const openings = [];
  for (let i = 0; i < OPENINGS; i += 1) {
    await start(engine, async (db, startedAt) => {
      const [[id]] = await db.all(`SELECT id FROM item WHERE id = ${STORED_ROWS}`);
      openings.push(performance.now() - startedAt);
      if (Number(id) !== STORED_ROWS) throw new Error(`wrong result: row ${STORED_ROWS} is ${id}`);
    });
  }
  return { ms: openings.sort((a, b) => a - b)[OPENINGS >> 1] };
}

async function inPage(engine, body) {
  const startedAt = performance.now();
  const db = await engines[engine].open({});
  await body(db, startedAt);
  await db.close();
}

async function inWorker(engine, body) {
  let startedAt;
  const connection = await startAgainIfItHangs(() => {
    startedAt = performance.now();
    return connected(engine, {});
  });
  try {
    await body({ exec: (sql) => connection.call('exec', [sql]), all: (sql) => connection.call('all', [sql]) }, startedAt);
    await connection.call('close');
  } finally {
    connection.terminate();
  }
}

const isPersistent = ({ durability }) => durability !== 'none';
const isShared = ({ shared }) => shared === true;

/** By name. `value` is what the table shows of its numbers; more is better where `perSecond` says so. */
export const scenes = {
  open: {
    title: `opening an existing database, from the start of its worker to the first row, the middle of ${OPENINGS}`,
    run: opening,
    takes: isPersistent,
    value: ({ ms }) => ms,
    unit: 'ms',
  },
  contended: {
    title: `${INCREMENTING} workers, ${INCREMENTS} read-modify-write transactions each on the same row; none may be lost`,
    run: contended,
    takes: isShared,
    value: ({ ms }) => ms,
    unit: 'ms',
  },
  readers: {
    title: `${READERS} workers scan ${ACCOUNTS.toLocaleString('en')} rows of 400 bytes for ${READ_MS / 1000} s, while one commits every ${COMMIT_EVERY_MS} ms if it can; every scan must see all the money`,
    run: readers,
    takes: isShared,
    value: ({ rowsPerSecond }) => rowsPerSecond,
    unit: 'rows/s',
  },
  group: {
    title: `${COMMITTING} workers, ${COMMITS_EACH} commits of one row each on the same database, all together; beside it, for its target, one worker alone`,
    run: group,
    // The official one takes a minute for it in some browsers, and no target asks for it.
    takes: (engine) => isShared(engine) && engine.title !== engines.opfs.title,
    value: ({ all }) => all,
    unit: 'commits/s',
  },
};
