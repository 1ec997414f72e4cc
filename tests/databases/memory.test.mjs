/** `statik_memory`: every verb, and every query against a model that has no index. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../e2e/random.mjs';
import { failing, IDBFactory, open, pages, SEED } from './place.mjs';

const TAGS = ['home', 'work', 'trip', 'a', 'b'];

/** What a query finds, by looking at every episode. */
function expected(episodes, { from = -Infinity, to = Infinity, tags = [], salience: { min = 0, max = 1 } = {}, by = 'timestamp', order = 'desc' }) {
  const found = episodes.filter((each) => each.timestamp >= from && each.timestamp <= to && each.salience >= min && each.salience <= max && tags.every((tag) => each.tags.includes(tag)));
  const sorted = found.sort((a, b) => a[by] - b[by] || (a.id < b.id ? -1 : 1));
  return (order === 'asc' ? sorted : sorted.reverse()).map(({ id }) => id);
}

function generator(seed) {
  const random = mulberry32(seed);
  const below = (limit) => Math.floor(random() * limit);
  const some = (share) => random() < share;
  const subset = (share) => TAGS.filter(() => some(share));
  // Few different times and saliences, so that many records have the same.
  const episode = (number) => ({ id: `e${number}`, timestamp: below(40), salience: below(11) / 10, tags: subset(0.4), text: `episode ${number}` });
  const query = () => {
    const [one, two, low, high] = [below(44) - 2, below(44) - 2, below(11) / 10, below(11) / 10];
    return {
      ...(some(0.5) && { from: Math.min(one, two) }),
      ...(some(0.5) && { to: Math.max(one, two) }),
      ...(some(0.6) && { tags: subset(0.3) }),
      ...(some(0.5) && { salience: { ...(some(0.7) && { min: Math.min(low, high) }), ...(some(0.7) && { max: Math.max(low, high) }) } }),
      ...(some(0.7) && { by: some(0.5) ? 'salience' : 'timestamp' }),
      ...(some(0.7) && { order: some(0.5) ? 'asc' : 'desc' }),
    };
  };
  return { random, below, some, episode, query };
}

test('every query finds what a look at all episodes finds, in pages of any size', async (context) => {
  const { memory } = await open(context);
  const { below, episode, query } = generator(SEED);
  const episodes = Array.from({ length: 160 }, (_, number) => episode(number));
  await memory.storeEpisodes(episodes);
  for (let round = 0; round < 150; round++) {
    const asked = query();
    const limit = 1 + below(round % 3 === 0 ? 6 : 200);
    const found = await pages((cursor) => memory.queryEpisodes({ ...asked, limit, ...(cursor && { cursor }) }));
    const what = `seed ${SEED}, round ${round}: ${JSON.stringify({ ...asked, limit })}`;
    assert.deepEqual(found.flat().map(({ id }) => id), expected(episodes, asked), what);
    assert.ok(found.slice(0, -1).every(({ length }) => length === limit), `${what}: a page that is not the last is full`);
    for (const each of found.flat()) assert.deepEqual(each, episodes.find(({ id }) => id === each.id), what);
  }
});

test('between two pages records may come and go: each that stays is found once, in order', async (context) => {
  for (let round = 0; round < 40; round++) {
    const seed = SEED + round;
    const { below, some, episode, query } = generator(seed);
    const { memory } = await open(context);
    const first = Array.from({ length: 120 }, (_, number) => episode(number));
    await memory.storeEpisodes(first);
    const [asked, limit, gone, come] = [query(), 1 + below(12), new Set(), []];
    const found = (await pages((cursor) => memory.queryEpisodes({ ...asked, limit, ...(cursor && { cursor }) }), async (items) => {
      // The one that the cursor names is the most likely to be missed.
      const doomed = [...(some(0.5) ? items.slice(-1) : []), ...Array.from({ length: 3 }, () => first[below(first.length)])];
      for (const { id } of doomed) {
        gone.add(id);
        await memory.deleteEpisode(id);
      }
      come.push(episode(1000 + come.length));
      await memory.storeEpisode(come.at(-1));
    })).flat();
    const what = `seed ${seed}: ${JSON.stringify({ ...asked, limit })}`;
    const ids = found.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, `${what}: twice`);
    assert.deepEqual(ids, expected(found, asked), `${what}: order`);
    const missed = expected(first, asked).filter((id) => !gone.has(id) && !ids.includes(id));
    assert.deepEqual(missed, [], `${what}: missed`);
  }
});

test('bounds that enclose nothing find nothing, whatever the query goes by', async (context) => {
  const { memory } = await open(context);
  await memory.storeEpisode({ id: 'one', timestamp: 5, salience: 0.5, tags: ['a'] });
  for (const by of ['timestamp', 'salience']) {
    for (const empty of [{ from: 6, to: 4 }, { from: 6, to: 4, tags: ['a'] }, { salience: { min: 0.6, max: 0.4 } }, { salience: { min: 0.6, max: 0.4 }, tags: ['a'] }]) {
      assert.deepEqual(await memory.queryEpisodes({ ...empty, by }), { items: [] }, JSON.stringify({ ...empty, by }));
    }
  }
  assert.equal(await memory.countEpisodes({ from: 6, to: 4 }), 0);
  assert.equal(await memory.countEpisodes({ from: 5, to: 5 }), 1);
});

test('an episode is stored, read, changed, counted and deleted', async (context) => {
  const { memory } = await open(context);
  const before = Date.now();
  const id = await memory.storeEpisode({ salience: 1 });
  const bare = await memory.getEpisode(id);
  assert.deepEqual({ ...bare, timestamp: 0 }, { id, timestamp: 0, salience: 1, tags: [] });
  assert.ok(bare.timestamp >= before && bare.timestamp <= Date.now());
  assert.match(id, /^[0-9a-f-]{36}$/);
  const whole = { id: 'whole', timestamp: -5.5, salience: 0, tags: ['x', 'y'], text: 'ü', nested: { at: new Date(1), set: new Set([1n]) } };
  assert.equal(await memory.storeEpisode({ ...whole, tags: ['x', 'y', 'x'] }), 'whole');
  assert.deepEqual(await memory.getEpisode('whole'), whole);
  assert.equal(await memory.countEpisodes(), 2);
  assert.deepEqual([await memory.countEpisodes({ from: 0 }), await memory.countEpisodes({ to: 0 })], [1, 1]);

  const changed = await memory.updateEpisode('whole', { tags: ['z'], timestamp: 7, salience: 0.25 });
  assert.deepEqual(changed, { ...whole, tags: ['z'], timestamp: 7, salience: 0.25 });
  assert.deepEqual(await memory.getEpisode('whole'), changed);
  const ids = async (query) => (await memory.queryEpisodes(query)).items.map((each) => each.id);
  assert.deepEqual([await ids({ tags: ['x'] }), await ids({ tags: ['z'] }), await ids({ to: 7, from: 7 }), await ids({ salience: { max: 0.5 }, by: 'salience' })], [[], ['whole'], ['whole'], ['whole']]);
  assert.deepEqual(await memory.updateEpisode('whole', { timestamp: undefined, tags: undefined, salience: undefined, text: 'new' }), { ...changed, text: 'new' }, 'undefined changes nothing');
  await memory.storeEpisode({ id: 'whole', salience: 0.5, timestamp: 1 });
  assert.deepEqual(await memory.getEpisode('whole'), { id: 'whole', salience: 0.5, timestamp: 1, tags: [] }, 'in place of the one before');

  assert.equal(await memory.deleteEpisode('whole'), true);
  assert.equal(await memory.deleteEpisode('whole'), false);
  assert.equal(await memory.getEpisode('whole'), undefined);
  assert.deepEqual(await ids({ tags: ['z'] }), []);
  const missing = await failing(memory.updateEpisode('whole', { salience: 1 }));
  assert.deepEqual([missing.code, /"whole"/.test(missing.message)], ['NotFound', true]);
});

for (const [kind, plural] of [['Concept', 'concepts'], ['Skill', 'skills']]) {
  test(`a ${kind.toLowerCase()} is stored, read, changed, counted, found by name and deleted`, async (context) => {
    const { memory } = await open(context);
    const [store, get, update, remove] = ['store', 'get', 'update', 'delete'].map((verb) => (...args) => memory[`${verb}${kind}`](...args));
    const [count, query] = [() => memory[`count${kind}s`](), (asked) => memory[`query${kind}s`](asked)];
    const all = [];
    for (let number = 0; number < 25; number++) {
      const record = { id: `id${String(number).padStart(2, '0')}`, name: `name ${number % 3}`, level: number };
      all.push(record);
      assert.equal(await store(record), record.id);
    }
    assert.match(await store({ name: 'another' }), /^[0-9a-f-]{36}$/);
    assert.equal(await count(), 26);
    assert.deepEqual(await get('id07'), all[7]);
    for (const limit of [1, 4, 9, 100]) {
      const found = (await pages((cursor) => query({ name: 'name 1', limit, ...(cursor && { cursor }) }))).flat();
      assert.deepEqual(found, all.filter(({ name }) => name === 'name 1'));
      assert.equal((await pages((cursor) => query({ limit, ...(cursor && { cursor }) }))).flat().length, 26);
    }
    assert.deepEqual(await update('id07', { name: 'renamed', extra: [1] }), { ...all[7], name: 'renamed', extra: [1] });
    assert.deepEqual((await query({ name: 'renamed' })).items, [{ ...all[7], name: 'renamed', extra: [1] }]);
    assert.deepEqual([await remove('id07'), await remove('id07'), await get('id07')], [true, false, undefined]);
    assert.equal((await failing(update('id07', {}))).code, 'NotFound');
    assert.ok((await failing(store({ name: '' }))).message.startsWith(`store${kind}: field name`));
    assert.match((await failing(query({ limit: 0 }))).message, new RegExp(`querying ${plural}: field limit is 0`));
  });
}

test('a batch is stored as a whole or not at all', async (context) => {
  const { memory } = await open(context);
  assert.deepEqual(await memory.storeEpisodes([]), []);
  const good = { id: 'good', salience: 0.5 };
  const bad = await failing(memory.storeEpisodes([good, { id: 'bad', salience: 2 }]));
  assert.match(bad.message, /^storeEpisodes, episode 1: field salience is 2, not a number from 0 to 1$/);
  const uncloneable = await failing(memory.storeEpisodes([good, { id: 'bad', salience: 1, run: () => {} }]));
  assert.equal(uncloneable.code, 'Invalid');
  assert.equal(await memory.countEpisodes(), 0);
  assert.equal((await failing(memory.storeEpisodes('no'))).code, 'Invalid');
});

test('what is wrong is refused, and the field is named', async (context) => {
  const { memory } = await open(context);
  const good = { id: 'good', salience: 0.5 };
  await memory.storeEpisode(good);
  const wrong = [
    [() => memory.storeEpisode(null), 'null'], [() => memory.storeEpisode([]), 'array'], [() => memory.storeEpisode('text'), 'string'],
    [() => memory.storeEpisode({}), 'field salience is undefined'], [() => memory.storeEpisode({ salience: NaN }), 'field salience is NaN'],
    [() => memory.storeEpisode({ salience: '1' }), 'field salience is "1"'], [() => memory.storeEpisode({ salience: -0.1 }), 'field salience'],
    [() => memory.storeEpisode({ ...good, id: 7 }), 'field id is 7'], [() => memory.storeEpisode({ ...good, id: '' }), 'field id is ""'],
    [() => memory.storeEpisode({ ...good, timestamp: Infinity }), 'field timestamp'], [() => memory.storeEpisode({ ...good, timestamp: new Date() }), 'field timestamp is Date'],
    [() => memory.storeEpisode({ ...good, tags: 'work' }), 'field tags is "work"'], [() => memory.storeEpisode({ ...good, tags: ['', 'a'] }), 'field tags'],
    [() => memory.storeEpisode({ ...good, tags: Object.assign([], { 1: 'a' }) }), 'field tags'],
    [() => memory.storeEpisode({ ...good, _tagTimes: [] }), 'field _tagTimes'], [() => memory.updateEpisode('good', { _own: 1 }), 'field _own'],
    [() => memory.storeEpisode({ ...good, run: () => {} }), 'store episodes of "statik_memory"'],
    [() => memory.updateEpisode('good', { id: 'other' }), 'field id is "other"'], [() => memory.updateEpisode('good', { salience: 7 }), 'field salience is 7'],
    [() => memory.updateEpisode('good', { run: () => {} }), 'field run'], [() => memory.updateEpisode('good', null), 'null'],
    [() => memory.updateEpisode(1, {}), 'field id is 1'], [() => memory.getEpisode(''), 'field id is ""'], [() => memory.deleteEpisode(undefined), 'field id is undefined'],
    [() => memory.queryEpisodes(null), 'null'], [() => memory.queryEpisodes({ from: 'a' }), 'field from is "a"'], [() => memory.queryEpisodes({ to: NaN }), 'field to is NaN'],
    [() => memory.queryEpisodes({ tags: 'a' }), 'field tags'], [() => memory.queryEpisodes({ salience: { min: 2 } }), 'field salience.min is 2'],
    [() => memory.queryEpisodes({ salience: { max: '1' } }), 'field salience.max'], [() => memory.queryEpisodes({ salience: null }), 'field salience is null'],
    [() => memory.queryEpisodes({ by: 'id' }), 'field by is "id"'], [() => memory.queryEpisodes({ order: 'up' }), 'field order is "up"'],
    [() => memory.queryEpisodes({ limit: 1.5 }), 'field limit is 1.5'], [() => memory.queryEpisodes({ limit: 0 }), 'field limit is 0'],
    [() => memory.countEpisodes({ from: null }), 'field from is null'], [() => memory.countEpisodes(null), 'null'], [() => memory.queryConcepts(null), 'null'],
    ...['x', '[]', '{}', '[1,2,3]', '', '[{},{}]', 7].flatMap((cursor) => [[() => memory.queryEpisodes({ cursor }), ''], [() => memory.queryEpisodes({ cursor, tags: ['a', 'b'] }), ''], [() => memory.querySkills({ cursor }), '']]),
  ];
  for (const [work, named] of wrong) {
    const error = await failing(work).catch((other) => assert.fail(`${work}: ${other.message}`));
    assert.equal(error.code, 'Invalid', `${work}: ${error.message}`);
    assert.ok(error.message.includes(named), `${work}: ${error.message}`);
  }
  assert.deepEqual(await memory.queryEpisodes(), { items: [await memory.getEpisode('good')] });
  assert.equal((await memory.getEpisode('good')).salience, 0.5);
});

test('what a caller does to a value after the call does not reach the record, the first call included', async (context) => {
  const factory = new IDBFactory();
  const { memory, state } = await open(context, { factory });
  const nested = { words: ['then'] };
  const stored = memory.storeEpisode({ id: 'e', salience: 1, nested });
  const batch = memory.storeEpisodes([{ id: 'f', salience: 1, nested }]);
  const saved = state.saveUnitState('unit', nested);
  nested.words[0] = 'now';
  await Promise.all([stored, batch, saved]);
  assert.deepEqual([(await memory.getEpisode('e')).nested, (await memory.getEpisode('f')).nested, await state.loadUnitState('unit')], [{ words: ['then'] }, { words: ['then'] }, { words: ['then'] }]);
});

test('calls that are not awaited take effect in the order in which they were made', async (context) => {
  const { memory, ...databases } = await open(context);
  const store = (salience) => memory.storeEpisode({ id: 'e', salience });
  const results = await Promise.all([store(0.1), memory.getEpisode('e'), memory.deleteEpisode('e'), store(0.2), memory.getEpisode('e'), memory.updateEpisode('e', { more: 1 }), store(0.3), memory.deleteEpisode('e'), store(0.4)]);
  assert.deepEqual([results[1]?.salience, results[2], results[4]?.salience, results[5]?.more, results[7]], [0.1, true, 0.2, 1, true]);
  assert.equal((await memory.getEpisode('e'))?.salience, 0.4);
  assert.equal(databases.events.length, 0);
});
