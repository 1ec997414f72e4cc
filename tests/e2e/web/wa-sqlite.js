/**
 * Runs wa-sqlite's SQL tests on Statik: the few words of Jasmine that they use, and the few calls of their API.
 *
 * Their context makes one worker with a SQLite each time; here that is one database handle of one store. A context that is
 * destroyed with a transaction open is one whose worker was terminated: so is ours, with the whole store.
 */
import '/page.js';

const FILE = 'demo';

/** Runs the tests of one file; gives each spec's name, its failure and how many expectations it had. */
globalThis.runSpecs = async (file) => {
  const suite = new Suite();
  Object.assign(globalThis, suite.words());
  const { [file]: define } = await import(`/wa-sqlite/test/${file}.js`);
  define(new Context());
  return suite.run();
};

/** Jasmine's, as far as it goes: one level of hooks is enough, since each file is a suite of its own. */
class Suite {
  #hooks = { beforeAll: [], beforeEach: [], afterEach: [], afterAll: [] };
  #specs = [];
  #expectations = 0;

  words() {
    const adding = (list) => (hook) => list.push(hook);
    return {
      ...Object.fromEntries(Object.entries(this.#hooks).map(([name, list]) => [name, adding(list)])),
      describe: (_name, define) => define(),
      it: (name, body) => this.#specs.push({ name, body }),
      expect: (actual) => this.#expect(actual),
    };
  }

  async run() {
    const results = [];
    for (const hook of this.#hooks.beforeAll) await hook();
    for (const { name, body } of this.#specs) {
      this.#expectations = 0;
      let failure;
      try {
        for (const hook of this.#hooks.beforeEach) await hook();
        await body();
        for (const hook of this.#hooks.afterEach) await hook();
      } catch (error) {
        failure = error.stack;
      }
      results.push({ name, failure, expectations: this.#expectations });
    }
    for (const hook of this.#hooks.afterAll) await hook();
    return results;
  }

  #expect(actual) {
    this.#expectations += 1;
    const hold = (holds, what) => {
      if (!holds) throw new Error(`expected ${String(actual)} ${what}`);
    };
    return {
      toBe: (expected) => hold(Object.is(actual, expected), `to be ${String(expected)}`),
      toBeLessThan: (expected) => hold(actual < expected, `to be less than ${String(expected)}`),
    };
  }
}

/** All handles of a file are of one store, opened with the first and closed with the last. */
class Context {
  #store;
  #died;
  #handles = 0;

  async create({ reset = true } = {}) {
    this.#store ??= new Promise((resolve) => {
      // The worker that has the files: by its death the store knows that it is gone.
      const owner = crossOriginIsolated ? 'io' : 'engine';
      this.#died = new Promise((die) => resolve(openStore({ waitMs: 20_000, onEvent: (event) => event.worker === owner && die() })));
    });
    const { sqlite } = await this.#store;
    this.#handles += 1;
    if (reset && await sqlite.exists(FILE)) await sqlite.delete(FILE);
    return { sqlite3: new Api(sqlite) };
  }

  async destroy({ sqlite3 }) {
    this.#handles -= 1;
    const store = await this.#store;
    if (sqlite3.isInTransaction()) {
      for (const { worker } of workers.splice(0)) worker.terminate();
      await this.#died;
      this.#handles = 0;
    } else await sqlite3.closeAll();
    if (this.#handles > 0) return;
    this.#store = undefined;
    await store.close();
  }
}

/** wa-sqlite's API on a connection of ours. */
class Api {
  #sqlite;
  #open = new Set();
  #transactions = new Set();

  constructor(sqlite) {
    this.#sqlite = sqlite;
  }

  async open_v2(name) {
    const db = await this.#sqlite.open(name);
    this.#open.add(db);
    return db;
  }

  async close(db) {
    this.#open.delete(db);
    await db.close();
  }

  async closeAll() {
    for (const db of this.#open) await this.close(db);
  }

  isInTransaction() {
    return this.#transactions.size > 0;
  }

  /** Their scripts have no semicolon but between statements. */
  async exec(db, sql, onRow = () => {}) {
    for (const statement of sql.split(';').map((each) => each.trim()).filter(Boolean)) {
      const rows = await db.all(statement, [], { rows: 'array' }).catch((error) => {
        throw error.code === 'Busy' ? new Error('database is locked') : error;
      });
      if (/^BEGIN/.test(statement)) this.#transactions.add(db);
      if (/^(COMMIT|ROLLBACK)/.test(statement)) this.#transactions.delete(db);
      for (const row of rows) onRow(row);
    }
  }
}
