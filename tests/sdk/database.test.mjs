/** A database on the page, over an engine that only writes down what it is asked: order, transactions, streams, ends. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { RemoteDatabase, Session, StatikError } = await load(
  "export * from './database.js'; export * from './session.js'; export * from './errors.js'",
);

/** An engine whose answers tests give: `answers[method]` is called with the arguments; without one the answer is undefined. */
function engine(answers = {}) {
  const log = [];
  const blown = [];
  let lastId = 0;
  const remote = {
    send(method, [, ...args]) {
      log.push([method, ...args.filter((arg) => arg !== undefined)].join(' '));
      return { id: ++lastId, result: Promise.resolve().then(() => answers[method]?.(...args)) };
    },
  };
  const fuse = { token: undefined, blow: (id) => blown.push(id), dispose() {} };
  let released = 0;
  const connected = { session: new Session(remote, fuse), db: 1, lastCursor: 0 };
  const db = new RemoteDatabase('a.db', connected, async () => new ReadableStream(), () => { released++; });
  return { db, log, blown, released: () => released };
}

const closed = { name: 'StatikError', code: 'Closed' };

/** A promise and its end. */
function gate() {
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  return { opened, open };
}

test('calls run in the order they were made, and what is outside a transaction waits for it', async () => {
  const { db, log } = engine();
  const inside = gate();
  const transaction = db.transaction(async (tx) => {
    await tx.run('one');
    await inside.opened;
    await tx.exec('two');
    return 'done';
  });
  const outside = db.exec('after');
  inside.open();
  assert.equal(await transaction, 'done');
  await outside;
  assert.deepEqual(log, ['begin immediate', 'run one', 'exec two', 'commit', 'exec after']);
});

test('a body that throws is rolled back, and its error is what is thrown', async () => {
  const { db, log } = engine({ rollback: () => { throw new StatikError({ code: 'Io', message: 'and this too' }); } });
  const cause = new Error('mine');
  await assert.rejects(db.transaction(async (tx) => { await tx.run('one'); throw cause; }, { mode: 'deferred' }), (error) => error === cause);
  assert.deepEqual(log, ['begin deferred', 'run one', 'rollback']);
});

test('a commit that fails is rolled back, a begin that fails is not', async () => {
  const busy = new StatikError({ code: 'Busy', message: 'busy' });
  const commit = engine({ commit: () => { throw busy; } });
  await assert.rejects(commit.db.transaction(async () => {}), (error) => error === busy);
  assert.deepEqual(commit.log, ['begin immediate', 'commit', 'rollback']);
  const begin = engine({ begin: () => { throw busy; } });
  await assert.rejects(begin.db.transaction(async () => assert.fail('entered')), (error) => error === busy);
  assert.deepEqual(begin.log, ['begin immediate']);
});

test('nested transactions nest; what was not awaited still belongs to its transaction', async () => {
  const { db, log } = engine();
  await db.transaction(async (tx) => {
    await tx.transaction(async (inner) => { inner.run('inner'); });
    tx.run('outer');
  });
  assert.deepEqual(log, ['begin immediate', 'begin immediate', 'run inner', 'commit', 'run outer', 'commit']);
});

test('a transaction that has ended takes no more calls', async () => {
  const { db, log } = engine();
  let kept;
  await db.transaction(async (tx) => { kept = tx; });
  await assert.rejects(kept.run('late'), closed);
  await assert.rejects(kept.transaction(async () => {}), closed);
  assert.deepEqual(log, ['begin immediate', 'commit']);
});

test('a body that begins by calling the database it has locked is told so', async () => {
  const { db, log } = engine();
  await assert.rejects(db.transaction(async () => { await db.run('stuck'); }), { code: 'Invalid', message: /call tx/ });
  assert.deepEqual(log, ['begin immediate', 'rollback']);
});

test('close lets queued calls finish, takes no more, and is idempotent', async () => {
  const { db, log, released } = engine();
  const queued = db.run('queued');
  const closing = db.close();
  await assert.rejects(db.run('late'), closed);
  await assert.rejects(db.export(), closed);
  await Promise.all([queued, closing, db.close()]);
  assert.deepEqual(log, ['run queued', 'closeDatabase']);
  assert.equal(released(), 1);
});

test('close rolls a transaction back whose body never ends', async () => {
  const { db, log } = engine();
  const entered = gate();
  const transaction = db.transaction(async (tx) => {
    await tx.run('one');
    entered.open();
    await new Promise(() => {});
  });
  await entered.opened;
  const closing = db.close();
  await assert.rejects(transaction, closed);
  await closing;
  assert.deepEqual(log, ['begin immediate', 'run one', 'rollback', 'closeDatabase']);
});

test('when the engine dies a transaction ends, and so does what comes after', async () => {
  const { db } = engine();
  const entered = gate();
  const transaction = db.transaction(async () => {
    entered.open();
    await new Promise(() => {});
  });
  const queued = db.transaction(async () => assert.fail('entered'));
  await entered.opened;
  db.die(new StatikError({ code: 'Closed', message: 'the engine worker died' }));
  await assert.rejects(transaction, { code: 'Closed', message: 'the engine worker died' });
  await assert.rejects(queued, { code: 'Closed', message: 'the engine worker died' });
});

test('a call that is aborted while it runs blows the fuse of that very call', async () => {
  const abort = new AbortController();
  const reason = new Error('enough');
  const { db, blown } = engine({
    run: async (sql) => {
      if (sql !== 'long') return sql;
      abort.abort(reason);
      throw new StatikError({ code: 'Aborted', message: 'interrupted' });
    },
  });
  await db.run('short');
  await assert.rejects(db.run('long', undefined, { signal: abort.signal }), (error) => error === reason);
  assert.deepEqual(blown, [2]);
  assert.equal(await db.run('short'), 'short');
});

test('what finished in spite of being aborted has happened', async () => {
  const abort = new AbortController();
  const { db } = engine({ run: async () => { abort.abort(); return { changes: 1 }; } });
  assert.deepEqual(await db.run('quick', undefined, { signal: abort.signal }), { changes: 1 });
});

test('an aborted signal keeps a call from being made', async () => {
  const { db, log } = engine();
  await assert.rejects(db.all('x', [], { signal: AbortSignal.abort('no') }), (error) => error === 'no');
  await assert.rejects(db.iterate('x', [], { signal: AbortSignal.abort('no') }).next(), (error) => error === 'no');
  assert.deepEqual(log, []);
});

test('interrupt stops a long result between two of its batches', async () => {
  let fetched = 0;
  const { db, log } = engine({
    open: async () => ({ columnNames: ['n'], values: [0], done: false }),
    next: async () => {
      if (++fetched === 2) db.interrupt();
      return { columnNames: ['n'], values: [fetched], done: false };
    },
  });
  await assert.rejects(db.all('endless'), { code: 'Aborted' });
  assert.equal(fetched, 2);
  assert.match(log.at(-1), /^closeCursor/);
});

/** Answers for a result of `count` rows. */
function rows(count) {
  let next = 0;
  const batch = (maxRows) => {
    const values = [];
    while (values.length < maxRows && next < count) values.push(next++);
    return { columnNames: ['n'], values, done: next === count && values.length < maxRows };
  };
  return { open: async (_cursor, _sql, _params, maxRows) => batch(maxRows), next: async (_cursor, maxRows) => batch(maxRows) };
}

test('iterate fetches one batch ahead and ends by itself', async () => {
  const { db, log } = engine(rows(5));
  const seen = [];
  for await (const { n } of db.iterate('numbers', [], { batchRows: 2 })) seen.push(n);
  assert.deepEqual(seen, [0, 1, 2, 3, 4]);
  assert.deepEqual(log, ['open 1 numbers  2', 'next 1 2', 'next 1 2']);
});

test('leaving a loop early closes the query, once', async () => {
  const { db, log } = engine(rows(100));
  for await (const [n] of db.iterate('numbers', [], { batchRows: 10, rows: 'array' })) if (n === 3) break;
  assert.deepEqual(log, ['open 1 numbers  10', 'next 1 10', 'closeCursor 1']);
});

test('a query left open in a transaction is closed before the commit', async () => {
  const { db, log } = engine(rows(100));
  let iterator;
  await db.transaction(async (tx) => {
    iterator = tx.iterate('numbers', [], { batchRows: 10 });
    await iterator.next();
  });
  assert.deepEqual(log, ['begin immediate', 'open 1 numbers  10', 'next 1 10', 'closeCursor 1', 'commit']);
  // What had been fetched is still there; no more can be.
  for (let n = 1; n < 20; n++) assert.equal((await iterator.next()).value.n, n);
  await assert.rejects(iterator.next(), closed);
});

test('a finalized statement is Closed', async () => {
  const { db } = engine({ describe: () => ({ columns: [], readOnly: true }), first: () => ({ columnNames: ['n'], values: [1], done: true }) });
  const statement = await db.prepare('SELECT 1 AS n');
  assert.deepEqual(await statement.get(), { n: 1 });
  await statement.finalize();
  await assert.rejects(statement.get(), closed);
  await assert.rejects(statement.iterate().next(), closed);
});
