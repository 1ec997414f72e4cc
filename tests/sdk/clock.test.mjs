/** Hybrid logical clocks, and which record stays: against the answers that Rust has to give too, and as properties. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { mulberry32 } from '../e2e/random.mjs';
import { load } from './load.mjs';

const { Clock, formatTimestamp, parseTimestamp, compareRecords, compareText, encode, merge } = await load("export * from './kv/clock.js'; export * from './kv/merge.js'; export { encode } from './codec.js'");
const samples = JSON.parse(readFileSync(new URL('samples/hlc.json', import.meta.url), 'utf8'));
const SEED = Number(process.env.STATIK_SEED ?? 20_251_128);
const invalid = { name: 'StatikError', code: 'Invalid' };

test('stamps are written and read as the samples say', () => {
  for (const { text, ...parts } of samples.format) {
    assert.equal(formatTimestamp(parts), text);
    assert.deepEqual(parseTimestamp(text), parts);
  }
  for (const text of samples.refused) assert.throws(() => parseTimestamp(text), invalid, JSON.stringify(text));
  for (const other of [undefined, null, 5, {}]) assert.throws(() => parseTimestamp(other), invalid);
  assert.deepEqual([...samples.order].sort(), samples.order);
  assert.deepEqual([...samples.order].reverse().sort(compareText), samples.order);
});

test("Rust's frozen stamps are read and written", () => {
  const lines = readFileSync(new URL('../../crates/sync/tests/hlc-v1.txt', import.meta.url), 'utf8').trim().split('\n');
  assert.equal(lines.length, 8);
  for (const line of lines) {
    const [text, wallMs, counter, node] = line.split(' ');
    const parts = { wallMs: Number(wallMs), counter: Number(counter), node: BigInt(node).toString(16).padStart(16, '0') };
    assert.deepEqual(parseTimestamp(text), parts);
    assert.equal(formatTimestamp(parts), text);
  }
});

for (const { name, node, maxDriftMs, steps } of samples.clocks) {
  test(`a clock: ${name}`, () => {
    let now = 0;
    const clock = new Clock({ node, now: () => now, ...(maxDriftMs !== undefined && { maxDriftMs }) });
    for (const step of steps) {
      const before = clock.last;
      now = step.tick ?? step.now ?? now;
      const act = () => ('tick' in step ? clock.tick() : 'receive' in step ? clock.receive(step.receive) : clock.restore(step.restore));
      if (step.fails) {
        assert.throws(act, { name: 'StatikError', code: step.fails }, JSON.stringify(step));
        assert.equal(clock.last, before, `${JSON.stringify(step)} leaves the clock as it was`);
      } else {
        assert.equal(act(), step.gives, JSON.stringify(step));
        assert.equal(clock.last, step.last ?? step.gives);
      }
    }
  });
}

test(`stamps rise whatever time does and peers send (seed ${SEED})`, () => {
  const random = mulberry32(SEED);
  let now = 1_000_000;
  const clock = new Clock({ node: '00000000000000aa', now: () => now, maxDriftMs: 5000 });
  let last = clock.tick();
  for (let step = 0; step < 20_000; step += 1) {
    now = Math.max(0, now + Math.floor((random() - 0.45) * 100));
    const remote = formatTimestamp({ wallMs: Math.max(0, now + Math.floor((random() - 0.5) * 14_000)), counter: Math.floor(random() * 65_536), node: '00000000000000bb' });
    let stamp;
    try {
      stamp = random() < 0.5 ? clock.tick() : clock.receive(remote);
      if (stamp === undefined) assert.fail('no stamp');
    } catch (error) {
      assert.equal(error.code, 'Invalid', error.message);
      assert.ok(remote > last && parseTimestamp(remote).wallMs - now > 5000);
      continue;
    }
    assert.ok(stamp > last, `${stamp} > ${last}`);
    last = stamp;
  }
});

test('options of a clock name the field', () => {
  for (const [field, options] of Object.entries({ node: { node: 'AA' }, maxDriftMs: { maxDriftMs: -1 }, now: { now: 5 } })) {
    assert.throws(() => new Clock(options), (error) => error.code === 'Invalid' && error.message.includes(field));
  }
  assert.throws(() => new Clock({ now: () => NaN }).tick(), invalid);
  assert.notEqual(new Clock().node, new Clock().node);
});

test('text is ordered by its UTF-8 bytes', () => {
  const random = mulberry32(SEED);
  const points = [0, 0x41, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfffd, 0xffff, 0x10000, 0x1f600, 0x10ffff];
  const text = () => Array.from({ length: Math.floor(random() * 4) }, () => String.fromCodePoint(points[Math.floor(random() * points.length)])).join('');
  for (let round = 0; round < 20_000; round += 1) {
    const [a, b] = [text(), text()];
    assert.equal(Math.sign(compareText(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)), JSON.stringify([a, b]));
  }
});

/** Records that often differ in one thing only. */
function records(random) {
  const among = (...all) => all[Math.floor(random() * all.length)];
  const isDeleted = random() < 0.3;
  const expiresMs = among(undefined, 0, 1000, 2000);
  return () => ({
    value: isDeleted ? undefined : among(null, 1, '1', '\uffff', '😀', ['a'], undefined, new Map([[1, 2]])),
    hlc: formatTimestamp({ wallMs: among(1, 2), counter: 0, node: '00000000000000aa' }),
    ...(isDeleted && { isDeleted }),
    ...(expiresMs !== undefined && { expiresMs }),
  });
}

test(`merging commutes, associates and is idempotent (seed ${SEED})`, () => {
  const random = mulberry32(SEED);
  const both = (a, b) => merge(a, b, encode);
  for (let round = 0; round < 20_000; round += 1) {
    const [a, b, c] = [records(random)(), records(random)(), records(random)()];
    assert.deepEqual(both(a, b), both(b, a));
    assert.deepEqual(both(both(a, b), c), both(a, both(b, c)));
    assert.deepEqual(both(a, a), a);
    assert.ok([a, b].includes(both(a, b)));
    assert.equal(Math.sign(compareRecords(a, b, encode)), -Math.sign(compareRecords(b, a, encode)) + 0);
    if (compareRecords(a, b, encode) === 0) assert.deepEqual(a, b);
  }
});

test('the last writer stays; a tombstone beats a value; what lasts longer stays', () => {
  const hlc = samples.format[2].text;
  const order = [
    { value: 'zz', hlc: samples.order[4], isDeleted: false }, { value: 'a', hlc, expiresMs: 5 }, { value: 'a', hlc, expiresMs: 6 }, { value: 'a', hlc },
    { value: 'b', hlc, expiresMs: 5 }, { value: undefined, hlc, isDeleted: true, expiresMs: 1 }, { value: undefined, hlc, isDeleted: true },
  ];
  assert.deepEqual([...order].reverse().sort((a, b) => compareRecords(a, b, encode)), order);
});
