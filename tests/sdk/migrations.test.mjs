/** Migration plans: what is refused before anything is touched, and that every plan leads where it should. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { mulberry32 } from '../e2e/random.mjs';
import { load } from './load.mjs';

const { entryOf, historyOf, migrateOptions, plan, prepare, progressOf, stepFailure, versionOf, StatikError } = await load(
  "export * from './migrations/plan.js'; export { migrateOptions } from './options.js'; export { StatikError } from './errors.js'",
);

const SEED = 20260207;

/** A list of `count` migrations; those whose version is in `oneWay` have no way back. */
function list(count, oneWay = new Set()) {
  return Array.from({ length: count }, (_, index) => ({
    version: index + 1, name: `step ${index + 1}`, upgrade: () => {}, ...(!oneWay.has(index + 1) && { down: () => {} }),
  }));
}

/** The history of going to each of the targets in turn. */
function walk(prepared, ...targets) {
  return targets.reduce((history, target) => [...history, ...plan(prepared, history, target).steps.map(entryOf)], []);
}

test('a list that is wrong is refused, naming the entry and what is wrong with it', async () => {
  const good = { version: 1, upgrade: () => {} };
  const cases = [
    ['migrations must be an array', { version: 1 }],
    ['migrations[1] must be an object', [good, null]],
    ['migrations[0] must be an object', [,]],
    ['migrations[0].version must be 1', [{ version: 0, upgrade: () => {} }]],
    ['migrations[0].version must be 1', [{ version: '1', upgrade: () => {} }]],
    ['migrations[1].version must be 2', [good, good]],
    ['migrations[1].version must be 2', [good, { version: 3, upgrade: () => {} }]],
    ['migrations[0].name must be a string', [{ ...good, name: 7 }]],
    ['migrations[0].checksum must be a string', [{ ...good, checksum: 7 }]],
    ['migrations[0].checksum must be a string that is not empty', [{ ...good, checksum: '' }]],
    ['migrations[0].upgrade must be a function', [{ version: 1 }]],
    ['migrations[0].upgrade must be a function; it is string', [{ version: 1, upgrade: 'CREATE TABLE t(a)' }]],
    ['migrations[0].down must be a function', [{ ...good, down: null }]],
    ['migrations[0] has both upgrade and up', [{ ...good, up: () => {} }]],
  ];
  for (const [message, migrations] of cases) {
    await assert.rejects(prepare(migrations), (error) => {
      assert.ok(error instanceof StatikError);
      assert.equal(error.code, 'Invalid');
      assert.ok(error.message.startsWith(`migrate: ${message}`), error.message);
      return true;
    }, message);
  }
  await assert.rejects(prepare([{ version: 1, upgrade: 7 }], ['function', 'string']), { message: /must be a function or SQL text; it is number/ });
  assert.deepEqual(await prepare([]), []);
  assert.equal((await prepare([{ version: 1, up: 'SELECT 1', down: '' }], ['function', 'string']))[0].down, '');
});

test('a checksum is of version, name and what is run, and stays what it is from release to release', async () => {
  const base = { version: 1, name: 'notes', up: 'CREATE TABLE note(id)', down: 'DROP TABLE note' };
  const of = async (migration) => (await prepare([migration], ['function', 'string']))[0].checksum;
  const text = JSON.stringify([1, 'notes', 'CREATE TABLE note(id)', 'DROP TABLE note']);
  assert.equal(await of(base), createHash('sha256').update(text).digest('hex'));
  assert.equal(await of(base), '245d9c986d5a573118527cd830e162d7363363ca84941ee53e99472558ce6119');
  const others = [
    { ...base, name: 'note' }, { ...base, up: `${base.up} ` }, { ...base, down: '' }, { ...base, down: undefined },
    { ...base, up: () => 1 }, { ...base, up: () => 2 },
  ];
  const sums = await Promise.all([base, ...others].map(of));
  assert.equal(new Set(sums).size, sums.length);
  const { up, ...rest } = base;
  assert.equal(await of({ ...rest, upgrade: up }), await of(base));
  assert.equal(await of({ ...base, up: () => 1, checksum: 'mine' }), 'mine');
});

test('every plan leads from where the history stands to its target, step by step, and then there is nothing to do', async () => {
  const random = mulberry32(SEED);
  const below = (limit) => Math.floor(random() * limit);
  for (let round = 0; round < 500; round++) {
    const prepared = await prepare(list(below(9)));
    let history = [];
    let stands = 0;
    for (let turn = 0; turn < 6; turn++) {
      const target = below(prepared.length + 1);
      const { from, to, steps } = plan(prepared, history, target);
      const what = `seed ${SEED}, round ${round}, turn ${turn}: ${stands} to ${target}`;
      assert.deepEqual([from, to], [stands, target], what);
      const expected = [];
      for (let at = stands; at < target; at++) expected.push([at + 1, 'up', prepared[at].up]);
      for (let at = stands; at > target; at--) expected.push([at, 'down', prepared[at - 1].down]);
      assert.deepEqual(steps.map(({ version, direction, run }) => [version, direction, run]), expected, what);
      history = [...history, ...steps.map(entryOf)];
      assert.equal(versionOf(history), target, what);
      assert.deepEqual(historyOf(structuredClone(history)), history, what);
      assert.deepEqual(plan(prepared, history, target).steps, [], what);
      stands = target;
    }
    assert.equal(plan(prepared, history).to, prepared.length);
  }
});

test('a database of a newer app is refused, whatever the target', async () => {
  const newer = walk(await prepare(list(5)), 5);
  const mine = await prepare(list(3));
  for (const target of [undefined, 0, 3, 5, 9]) {
    assert.throws(() => plan(mine, newer, target, 'app.db'), {
      code: 'Unsupported', path: 'app.db', message: /"app\.db" is at schema version 5, .*knows versions up to 3/,
    });
  }
  // Once it was taken back, it is ours again.
  assert.deepEqual(plan(mine, [...newer, ...plan(await prepare(list(5)), newer, 3).steps.map(entryOf)]).steps, []);
});

test('a target that is none is refused', async () => {
  const prepared = await prepare(list(3));
  for (const target of [4, -1, 1.5, NaN, '2', null]) {
    assert.throws(() => plan(prepared, [], target), { code: 'Invalid', message: /^option target must be a version from 0 to 3/ });
  }
});

test('a migration that stands and was changed is refused by its version; one that was taken back may change', async () => {
  const before = await prepare(list(4));
  const random = mulberry32(SEED);
  for (let round = 0; round < 100; round++) {
    const history = walk(before, 4, 1 + Math.floor(random() * 4));
    const stands = versionOf(history);
    const changed = 1 + Math.floor(random() * 4);
    const after = await prepare(list(4).map((each) => (each.version === changed ? { ...each, checksum: 'changed' } : each)));
    const target = Math.floor(random() * 5);
    if (changed > stands) {
      assert.equal(plan(after, history, target).to, target);
    } else {
      assert.throws(() => plan(after, history, target), { code: 'Conflict', message: new RegExp(`^migration ${changed} \\(step ${changed}\\) was changed`) });
    }
  }
});

test('a step without a way back is in nobody\'s way but of who would go back over it', async () => {
  const prepared = await prepare(list(5, new Set([3])));
  const history = walk(prepared, 5);
  assert.equal(plan(prepared, history, 3).steps.length, 2);
  for (const target of [2, 1, 0]) {
    assert.throws(() => plan(prepared, history, target), { code: 'Unsupported', message: /^migration 3 \(step 3\) has no down step/ });
  }
});

test('a history that contradicts itself is damage', async () => {
  const prepared = await prepare(list(4));
  const good = walk(prepared, 4, 2, 3);
  const random = mulberry32(SEED);
  for (let round = 0; round < 200; round++) {
    const cut = Math.floor(random() * good.length);
    const broken = good.slice();
    // What a lost or a doubled entry leaves is no walk, but at the end.
    if (random() < 0.5) broken.splice(cut, 1);
    else broken.splice(cut, 0, good[cut]);
    if (cut === good.length - 1 && broken.length < good.length) assert.equal(versionOf(broken), 2);
    else assert.throws(() => versionOf(broken), { code: 'Corrupt' }, `seed ${SEED}, round ${round}`);
  }
  const [entry] = good;
  const cases = [
    undefined, null, 7, 'x', {}, { length: 1e9 }, [null], [7], [[]], [{}], [{ ...entry, version: 1.5 }], [{ ...entry, version: 1n }], [{ ...entry, name: 7 }],
    [{ ...entry, checksum: undefined }], [{ ...entry, appliedMs: NaN }], [{ ...entry, direction: 'sideways' }],
  ];
  for (const stored of cases) assert.throws(() => historyOf(stored, 'app.db'), { code: 'Corrupt', message: /"app\.db" is damaged/ });
  assert.throws(() => plan(prepared, [{ ...entry, version: 2 }]), { code: 'Corrupt', message: /entry 0 says version 2 up, where version 0 stood/ });
  assert.throws(() => plan(prepared, [{ ...entry, version: 0, direction: 'down' }]), { code: 'Corrupt' });
});

test('progress counts the steps, and a failure says which one it was and keeps what it knew', async () => {
  const planned = plan(await prepare(list(3)), [], 2);
  assert.deepEqual(progressOf(planned, 1), { step: 2, of: 2, version: 2, name: 'step 2', direction: 'up' });
  const cause = new StatikError({ code: 'Conflict', message: 'UNIQUE', sqliteCode: 'SQLITE_CONSTRAINT_UNIQUE' });
  const failed = stepFailure(planned.steps[1], 'app.db', cause);
  assert.deepEqual([failed.code, failed.sqliteCode, failed.cause], ['Conflict', 'SQLITE_CONSTRAINT_UNIQUE', cause]);
  assert.match(failed.message, /^migration 2 \(step 2\), up, of database "app\.db" failed, and nothing was changed: UNIQUE$/);
  assert.equal(stepFailure({ ...planned.steps[0], name: '' }, 'app.db', new RangeError('x')).message, 'migration 1, up, of database "app.db" failed, and nothing was changed: RangeError: x');
});

test('the options of migrate', () => {
  const { onProgress, ...rest } = migrateOptions();
  assert.equal(typeof onProgress, 'function');
  assert.deepEqual(rest, { target: undefined, signal: undefined });
  for (const options of [{ target: -1 }, { target: '1' }, { onProgress: 1 }, { signal: {} }]) {
    assert.throws(() => migrateOptions(options), { code: 'Invalid', message: new RegExp(`^option ${Object.keys(options)[0]} `) });
  }
  assert.throws(() => migrateOptions(null), { code: 'Invalid' });
});
