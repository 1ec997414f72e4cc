/**
 * Rotation: wherever it is stopped, and whatever is written meanwhile, in the end everything opens under the new key,
 * nothing is lost, and the old key was dropped only when nothing needed it.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { numbersBelow } from '../e2e/random.mjs';
import { load } from './load.mjs';

const { rotate, StatikError } = await load("export * from './databases/rotation.js'; export { StatikError } from './errors.js'");

const [OLD, NEW] = [1, 2];

/** Sealed as far as a rotation sees it: the key's id, then what it says. @param {number} id @param {number} text */
const sealed = (id, text) => Uint8Array.of(id, text);

/**
 * A database in memory, whose calls are the steps of a rotation. `before` and `after` each step something can happen.
 * @param {number} count of records @param {number} [batch] records in a batch
 */
function database(count, batch = 3) {
  const records = new Map(Array.from({ length: count }, (_, key) => [key, sealed(OLD, key)]));
  const held = new Set([OLD, NEW]);
  /** What must be there in the end. */
  const expected = new Map(Array.from(records, ([key, [, text]]) => [key, text]));
  const log = /** @type {string[]} */ ([]);
  const db = {
    records, held, expected, log,
    position: /** @type {any} */ (undefined),
    isSettled: false,
    before: (/** @type {number} */ _step) => {},
    after: (/** @type {number} */ _step) => {},
    /** @param {number} key @param {number} text @param {number} id */
    write(key, text, id) {
      assert.ok(id === NEW || !db.isSettled, 'the test writes with a key that nobody uses any more');
      records.set(key, sealed(id, text));
      expected.set(key, text);
    },
    /** @param {number} key */
    remove(key) {
      records.delete(key);
      expected.delete(key);
    },
    /** @param {any} record @returns {Uint8Array | undefined} */
    reseal({ sealed: [id, text] }) {
      if (!held.has(id)) throw new StatikError({ code: 'Permission', message: `there is no key ${id}` });
      if (text === 255) throw new StatikError({ code: 'Corrupt', message: 'the bytes were changed' });
      return id === NEW ? undefined : sealed(NEW, text);
    },
    assertDone() {
      assert.deepEqual(new Map(Array.from(records, ([key, [, text]]) => [key, text])), expected, 'every record says what was last written');
      for (const [key, [id]] of records) assert.equal(id, NEW, `record ${key}`);
      assert.deepEqual([...held], [NEW], 'the old key is dropped');
      assert.equal(db.position, undefined);
    },
  };
  /** @param {string} name @param {() => any} body */
  const step = async (name, body) => {
    const at = log.push(name);
    db.before(at);
    const result = await body();
    db.after(at);
    return result;
  };
  const source = {
    nextBatch: (/** @type {number | undefined} */ cursor) => step('nextBatch', () => {
      const keys = [...records.keys()].sort((a, b) => a - b).filter((key) => cursor === undefined || key > cursor);
      const found = keys.slice(0, batch).map((key) => ({ key, sealed: records.get(key) }));
      return { records: found, ...(keys.length > batch && { cursor: keys[batch - 1] }) };
    }),
    replace: (/** @type {any[]} */ replacements) => step('replace', () => {
      for (const { record, sealed: bytes } of replacements) {
        if (records.get(record.key) === record.sealed) records.set(record.key, bytes);
      }
    }),
    loadPosition: () => step('loadPosition', () => structuredClone(db.position)),
    savePosition: (/** @type {any} */ position) => step('savePosition', () => { db.position = structuredClone(position); }),
    settle: () => step('settle', () => { db.isSettled = true; }),
    dropOlderKeys: () => step('dropOlderKeys', () => {
      for (const [key, [id]] of records) assert.equal(id, NEW, `record ${key} still needs the key that is dropped`);
      held.delete(OLD);
    }),
  };
  return Object.assign(db, {
    /** @param {object} [options] */
    rotate: (options) => rotate(source, NEW, db.reseal, options),
  });
}

test('all is sealed anew, and then the old key is dropped', async () => {
  const db = database(10);
  const progress = /** @type {any[]} */ ([]);
  await db.rotate({ onProgress: (/** @type {any} */ at) => progress.push(`${at.pass}: ${at.resealed}`) });
  db.assertDone();
  assert.deepEqual(progress, ['0: 3', '0: 6', '0: 9', '0: 10', '1: 0', '1: 0', '1: 0', '1: 0']);
  assert.deepEqual(db.log.slice(-2), ['savePosition', 'dropOlderKeys']);
});

test('an empty database, and one with nothing to do', async () => {
  const empty = database(0);
  await empty.rotate();
  empty.assertDone();
  const current = database(5);
  for (const key of current.records.keys()) current.write(key, key, NEW);
  await current.rotate();
  current.assertDone();
  assert.equal(current.log.includes('replace'), false);
});

test('stopped before or after any step, or all of them, it goes on', async () => {
  const whole = database(7);
  await whole.rotate();
  for (const when of /** @type {const} */ (['before', 'after'])) {
    for (let stop = 1; stop <= whole.log.length; stop += 1) {
      const db = database(7);
      db[when] = (step) => { if (step === stop) throw new Error('stopped'); };
      await assert.rejects(db.rotate(), /stopped/);
      db[when] = () => {};
      await db.rotate();
      db.assertDone();
    }
  }
});

test('each run gets one step further than what it must do again', async () => {
  const db = database(30, 1);
  let [runs, done] = [0, false];
  while (!done) {
    // Load, settle, one batch, replace, save: a run that is stopped after five steps always gets on.
    let steps = 0;
    db.before = () => { if ((steps += 1) > 5) throw new Error('stopped'); };
    done = await db.rotate().then(() => true, (/** @type {Error} */ error) => { assert.equal(error.message, 'stopped'); return false; });
    assert.ok((runs += 1) < 200, 'it does not end');
  }
  db.assertDone();
});

test('what is written meanwhile stays, with whichever key, and wherever it is stopped besides', async () => {
  const seed = Number(process.env.STATIK_SEED ?? 20_251_128);
  console.log(`STATIK_SEED=${seed}`);
  const below = numbersBelow(seed);
  for (let turn = 0; turn < 500; turn += 1) {
    const db = database(below(15), 1 + below(4));
    let changes = 40;
    const disturb = () => {
      if (below(8) === 0) throw new Error('stopped');
      if (changes === 0 || below(2) === 0) return;
      changes -= 1;
      const key = below(20);
      if (below(4) === 0) db.remove(key);
      else db.write(key, 100 + below(100), db.isSettled ? NEW : 1 + below(2));
    };
    db.before = disturb;
    db.after = disturb;
    for (let done = false, runs = 0; !done; runs += 1) {
      assert.ok(runs < 1000, 'it does not end');
      done = await db.rotate().then(() => true, (/** @type {Error} */ error) => { assert.equal(error.message, 'stopped'); return false; });
    }
    db.assertDone();
  }
});

test('a position of another rotation does not count', async () => {
  const db = database(10);
  db.position = { target: 9, pass: 3, resealed: 0, unreadable: 0, cursor: 9 };
  await db.rotate();
  db.assertDone();
});

test('a record that cannot be opened stops no other, and keeps the old key', async () => {
  const db = database(10);
  db.write(4, 255, OLD);
  for (const _ of [1, 2]) {
    await assert.rejects(db.rotate(), { code: 'Corrupt', message: 'sealing anew: 1 records cannot be opened, and the older data keys are kept; one of them: the bytes were changed' });
    assert.deepEqual([...db.held], [OLD, NEW]);
    assert.deepEqual(Array.from(db.records.values(), ([id]) => id).filter((id) => id === OLD), [OLD]);
  }
  db.remove(4);
  await db.rotate();
  db.assertDone();
});

test('a record that cannot be opened is remembered where it was stopped', async () => {
  const db = database(10);
  db.write(0, 255, OLD);
  db.after = () => { if (db.position?.pass === 1 && db.position.cursor !== undefined) throw new Error('stopped'); };
  await assert.rejects(db.rotate(), /stopped/);
  db.after = () => {};
  await assert.rejects(db.rotate(), { code: 'Corrupt', message: 'sealing anew: 1 records cannot be opened, and the older data keys are kept' });
  assert.deepEqual([...db.held], [OLD, NEW]);
});

test('what fails for another reason fails the rotation', async () => {
  const db = database(10);
  db.reseal = () => { throw new StatikError({ code: 'Io', message: 'no random bytes' }); };
  await assert.rejects(db.rotate(), { code: 'Io' });
  assert.equal(db.log.includes('savePosition'), false);
});

test('somebody who goes on with the old key is told, and keeps it', async () => {
  const db = database(4);
  db.after = () => db.records.set(0, sealed(OLD, 0));
  await assert.rejects(db.rotate(), { code: 'Conflict', message: /after 8 passes/ });
  assert.deepEqual([...db.held], [OLD, NEW]);
  db.after = () => {};
  await db.rotate();
  db.assertDone();
});

test('a signal stops it between batches, with its own reason', async () => {
  const db = database(10);
  const controller = new AbortController();
  const reason = new Error('enough');
  await assert.rejects(db.rotate({ signal: controller.signal, onProgress: () => controller.abort(reason) }), reason);
  assert.equal(db.log.filter((name) => name === 'nextBatch').length, 1);
  assert.equal(db.position.resealed, 3);
  await db.rotate();
  db.assertDone();
});
