/** `statik_state`: the newest state is loaded, and the last few are kept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../e2e/random.mjs';
import { contents, failing, IDBFactory, open, SEED } from './place.mjs';

test('of each unit and of the kernel the last states are kept, newest first', async (context) => {
  const factory = new IDBFactory();
  const { state } = await open(context, { factory, keepStates: 4 });
  const random = mulberry32(SEED);
  const units = ['a', 'b', 'a\u0000', '', 'ab', '\uffff'].filter((unit) => unit !== '');
  const saved = new Map([...units, 'kernel'].map((unit) => [unit, []]));
  for (let round = 0; round < 120; round++) {
    const unit = [...saved.keys()][Math.floor(random() * saved.size)];
    const value = { round, at: new Date(round), set: new Set([round]) };
    saved.set(unit, [value, ...saved.get(unit)].slice(0, 4));
    if (unit === 'kernel') await state.saveKernelState(value);
    else if (random() < 0.1) {
      await state.deleteUnitState(unit);
      saved.set(unit, []);
    } else await state.saveUnitState(unit, value);
    for (const each of units) {
      assert.deepEqual((await state.unitStateHistory(each)).map((entry) => entry.state), saved.get(each), `seed ${SEED}, round ${round}, unit ${JSON.stringify(each)}`);
      assert.deepEqual(await state.loadUnitState(each), saved.get(each)[0]);
    }
    assert.deepEqual((await state.kernelStateHistory()).map((entry) => entry.state), saved.get('kernel'));
    assert.deepEqual(await state.loadKernelState(), saved.get('kernel')[0]);
  }
  const { unit_states: stored, kernel_state: kernel } = await contents(factory, 'statik_state');
  assert.equal(stored.keys.length + kernel.keys.length, [...saved.values()].flat().length, 'nothing else is stored');
  assert.ok((await state.unitStateHistory('ab', 1)).length <= 1);
});

test('who keeps fewer trims what another has kept; who keeps more, does not bring it back', async (context) => {
  const factory = new IDBFactory();
  const many = await open(context, { factory, keepStates: 50 });
  for (let n = 0; n < 30; n++) await many.state.saveUnitState('unit', n);
  assert.equal((await many.state.unitStateHistory('unit')).length, 30);
  const few = await open(context, { factory, keepStates: 2 });
  await few.state.saveUnitState('unit', 'last');
  assert.deepEqual((await many.state.unitStateHistory('unit', 100)).map(({ state }) => state), ['last', 29]);
});

test('saves at once are all counted, and the last one made is the newest', async (context) => {
  const { state } = await open(context, { keepStates: 3 });
  await Promise.all(Array.from({ length: 20 }, (_, n) => state.saveUnitState('unit', n)));
  assert.deepEqual((await state.unitStateHistory('unit')).map((each) => each.state), [19, 18, 17]);
});

test('every value but undefined is a state; what is wrong is refused, and the field is named', async (context) => {
  const { state } = await open(context);
  for (const value of [null, 0, '', false, NaN, [], new Uint8Array(0), -0n]) {
    await state.saveUnitState('unit', value);
    await state.saveKernelState(value);
    assert.deepEqual([await state.loadUnitState('unit'), await state.loadKernelState()], [value, value]);
  }
  assert.deepEqual([await state.loadUnitState('none'), await state.unitStateHistory('none')], [undefined, []]);
  const before = await state.unitStateHistory('unit');
  for (const [work, named] of [
    [() => state.saveUnitState('', 1), 'field unitId is ""'], [() => state.saveUnitState(7, 1), 'field unitId is 7'], [() => state.saveUnitState('unit', undefined), 'field state is undefined'],
    [() => state.saveUnitState('unit', () => {}), 'field state'], [() => state.saveKernelState({ deep: [Symbol('no')] }), 'field state'], [() => state.saveKernelState(), 'field state'],
    [() => state.loadUnitState(), 'field unitId'], [() => state.deleteUnitState(null), 'field unitId'], [() => state.unitStateHistory('unit', 0), 'field limit'], [() => state.kernelStateHistory(-1), 'field limit'],
  ]) {
    const error = await failing(work);
    assert.ok(error.code === 'Invalid' && error.message.includes(named), `${work}: ${error.code} ${error.message}`);
  }
  assert.deepEqual(await state.unitStateHistory('unit'), before);
});
