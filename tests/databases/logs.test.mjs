/** `statik_logs`: entries in order, by time, and retention by age and number. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../e2e/random.mjs';
import { failing, IDBFactory, open, pages, SEED } from './place.mjs';

test('entries are found by time in pages of any size, and go by age and number, as a model says', async (context) => {
  const { logs } = await open(context);
  const random = mulberry32(SEED);
  const below = (limit) => Math.floor(random() * limit);
  let model = [];
  for (let round = 0; round < 60; round++) {
    const what = `seed ${SEED}, round ${round}`;
    const given = Array.from({ length: below(12) }, () => ({ timestamp: Date.now() - below(20) * 100_000, n: below(1000) }));
    const ids = await Promise.all(given.map((entry) => logs.logDelta(entry)));
    assert.deepEqual(ids, ids.slice().sort((a, b) => a - b), `${what}: numbers rise`);
    assert.ok(ids.every((id) => !model.some((entry) => entry.id === id)));
    model.push(...given.map((entry, index) => ({ ...entry, id: ids[index] })));
    model.sort((a, b) => a.timestamp - b.timestamp || a.id - b.id);
    const [order, limit] = [random() < 0.5 ? 'asc' : 'desc', 1 + below(10)];
    const times = [below(20), below(20)].sort((a, b) => b - a).map((ago) => Date.now() - ago * 100_000 - 50_000);
    const [from, to] = [random() < 0.5 ? times[0] : undefined, random() < 0.5 ? times[1] : undefined];
    const found = await pages((cursor) => logs.queryLogs('deltas', { order, limit, ...(from && { from }), ...(to && { to }), ...(cursor && { cursor }) }));
    const expected = model.filter(({ timestamp }) => timestamp >= (from ?? -Infinity) && timestamp <= (to ?? Infinity));
    assert.deepEqual(found.flat(), order === 'asc' ? expected : expected.reverse(), what);
    if (random() < 0.4) {
      // Half-way between two ages, so that the time that passes meanwhile changes nothing.
      const maxAgeMs = below(25) * 100_000 + 50_000;
      const maxCount = below(30);
      const [byAge, byCount] = [random() < 0.7, random() < 0.5];
      const oldest = byAge ? Date.now() - maxAgeMs : -Infinity;
      const kept = model.filter(({ timestamp }) => timestamp >= oldest).slice(byCount ? -maxCount || Infinity : 0);
      const pruned = await logs.pruneLogs({ ...(byAge && { maxAgeMs }), ...(byCount && { maxCount }) });
      assert.deepEqual(pruned, { deltas: model.length - kept.length, errors: 0, actions: 0 }, what);
      model = kept;
    }
    assert.equal(await logs.countLogs('deltas'), model.length, what);
  }
});

test('retention is of the stores that are named, and of more than one transaction takes', async (context) => {
  const { logs } = await open(context);
  await Promise.all(Array.from({ length: 4100 }, (_, n) => logs.logDelta({ timestamp: n })));
  await logs.logAction({ type: 'kept' });
  await logs.logError({ message: 'kept' });
  const wrong = await failing(logs.pruneLogs({ maxCount: 0, stores: ['deltas', 'none'] }));
  assert.deepEqual([wrong.code, await logs.countLogs('deltas')], ['Invalid', 4100], 'nothing goes where something is wrong');
  assert.deepEqual(await logs.pruneLogs({ maxCount: 50, stores: ['deltas'] }), { deltas: 4050, errors: 0, actions: 0 });
  assert.deepEqual((await logs.queryLogs('deltas', { order: 'asc', limit: 1 })).items.map(({ timestamp }) => timestamp), [4050]);
  assert.deepEqual(await logs.pruneLogs({}), { deltas: 0, errors: 0, actions: 0 });
  assert.deepEqual(await logs.pruneLogs({ maxCount: 0 }), { deltas: 50, errors: 1, actions: 1 });
  assert.equal(await logs.logDelta({}), 4101, 'numbers go on');
});

test('an error is logged whatever a library has hung on it', async (context) => {
  const { logs } = await open(context);
  const cause = new Error('cause');
  const error = Object.assign(new TypeError('no', { cause }), {
    code: 'E1', id: 7, timestamp: 'yesterday', _private: 1, response: { json: () => {} }, retries: new Map([[1, 2]]),
  });
  await logs.logError(error);
  await logs.logError({ message: 'plain', extra: 1, timestamp: 5 });
  await logs.logError(new DOMException('gone', 'AbortError'));
  const [gone, first, plain] = (await logs.queryLogs('errors')).items.sort((a, b) => b.timestamp - a.timestamp || b.id - a.id);
  assert.deepEqual({ ...first, timestamp: 0, stack: '' }, { id: 1, timestamp: 0, stack: '', name: 'TypeError', message: 'no', code: 'E1', retries: new Map([[1, 2]]) });
  assert.match(first.stack, /logs\.test\.mjs/);
  assert.deepEqual(plain, { id: 2, message: 'plain', extra: 1, timestamp: 5 });
  assert.deepEqual([gone.name, gone.message], ['AbortError', 'gone']);
});

test('what is wrong is refused, and the field is named', async (context) => {
  const { logs } = await open(context);
  for (const [work, named] of [
    [() => logs.logDelta(null), 'null'], [() => logs.logDelta({ id: 3 }), 'field id is 3'], [() => logs.logDelta({ timestamp: 'x' }), 'field timestamp is "x"'], [() => logs.logDelta({ _a: 1 }), 'field _a'],
    [() => logs.logError({}), 'field message'], [() => logs.logError('text'), 'string'], [() => logs.logAction({}), 'field type is undefined'], [() => logs.logAction({ type: '' }), 'field type'],
    [() => logs.logDelta({ run: () => {} }), 'store deltas'],
    [() => logs.queryLogs('episodes'), 'field store is "episodes"'], [() => logs.countLogs(), 'field store'], [() => logs.queryLogs('deltas', null), 'null'],
    [() => logs.queryLogs('deltas', { from: '1' }), 'field from'], [() => logs.queryLogs('deltas', { order: 'x' }), 'field order'], [() => logs.queryLogs('deltas', { limit: -1 }), 'field limit'],
    [() => logs.queryLogs('deltas', { cursor: 'x' }), 'cursor'],
    [() => logs.pruneLogs({ maxAgeMs: -1 }), 'field maxAgeMs'], [() => logs.pruneLogs({ maxCount: 1.5 }), 'field maxCount'], [() => logs.pruneLogs({ stores: 'deltas' }), 'field stores'], [() => logs.pruneLogs(null), 'null'],
  ]) {
    const error = await failing(work).catch((other) => assert.fail(`${work}: ${other.message}`));
    assert.ok(error.code === 'Invalid' && error.message.includes(named), `${work}: ${error.code} ${error.message}`);
  }
  assert.deepEqual(await logs.queryLogs('deltas', { from: 2, to: 1 }), { items: [] });
});

test('a number that was given to an entry is never given again, not after a vacuum either', async (context) => {
  const factory = new IDBFactory();
  const databases = await open(context, { factory });
  for (let n = 0; n < 5; n++) await databases.logs.logAction({ type: 'a' });
  await databases.logs.logDelta({});
  await databases.logs.pruneLogs({ maxCount: 0 });
  await databases.vacuumDatabase('statik_logs');
  assert.deepEqual([await databases.logs.logAction({ type: 'b' }), await databases.logs.logDelta({}), await databases.logs.logError({ message: '' })], [6, 2, 1]);
  assert.deepEqual([await databases.logs.countLogs('actions'), await databases.logs.countLogs('errors')], [1, 1]);
});
