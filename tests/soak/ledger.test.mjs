/** The oracle of the soak test: it passes what is right, and notices each way in which it can be wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ledger } from './ledger.mjs';
import { KEPT, partsOf } from './transactions.mjs';

const LAST = KEPT + 25;
const WRITERS = ['a', 'b', 'c'];
const writerOf = (number) => WRITERS[number % WRITERS.length];

/** Files as they must be after so many transactions. */
function sound(head) {
  const entries = () => Array.from({ length: Math.min(KEPT, head) }, (_, i) => head - i).map((number) => [number, writerOf(number), partsOf(number), partsOf(number)]);
  return { integrity: ['ok', 'ok'], heads: [head, head], entries: [entries(), entries()] };
}

/** A ledger to which all but the last two of them were acknowledged. */
function ledger() {
  const made = new Ledger();
  for (let number = 1; number <= LAST - 2; number += 1) made.acknowledge(writerOf(number), number);
  return made;
}

/** What the ledger says of files that are sound but for one change. @param {(found: ReturnType<typeof sound>) => void} change */
function judged(change) {
  const found = sound(LAST);
  change(found);
  return ledger().judge(found);
}

test('what was acknowledged, and what was not but is whole, passes', () => {
  for (const head of [LAST - 2, LAST - 1, LAST]) assert.deepEqual(ledger().judge(sound(head)), []);
  assert.deepEqual(new Ledger().judge(sound(0)), []);
});

test('an acknowledged transaction that is not there is noticed, at the end and in the middle', () => {
  assert.match(ledger().judge(sound(LAST - 3)).join(), new RegExp(`transaction ${LAST - 2} was acknowledged, and the last that is there is ${LAST - 3}`));
  const [problem] = judged(({ entries }) => entries[1].splice(100, 1));
  assert.equal(problem, `the second file: transaction ${LAST - 100} is missing, and was acknowledged`);
});

test('a gap before what was not acknowledged is noticed', () => {
  assert.deepEqual(judged(({ entries }) => entries[0].splice(1, 1)), [`the first file: transaction ${LAST - 1} is missing`]);
});

test('a transaction in one file alone is noticed', () => {
  assert.match(judged((found) => {
    found.heads[1] -= 1;
    found.entries[1].shift();
  }).join(), new RegExp(`the files end with transactions ${LAST} and ${LAST - 1}`));
});

test('a single row that is dropped, or has another content, is noticed', () => {
  assert.match(judged(({ entries }) => (entries[0][7][2] -= 1)).join(), /has 2 of its 3 entries/);
  assert.match(judged(({ entries }) => (entries[1][7][3] -= 1)).join(), /has 1 entries with another content/);
});

test('entries of a transaction that was deleted, or never was, are noticed', () => {
  for (const number of [LAST - KEPT, LAST + 1]) {
    assert.match(judged(({ entries }) => entries[0].push([number, 'a', partsOf(number), partsOf(number)])).join(), new RegExp(`transaction ${number} is there, which is not`));
  }
});

test('a number that two writers had is noticed, in the files and in what was acknowledged', () => {
  assert.match(judged(({ entries }) => (entries[0][9][1] = 'd')).join(), /is by d, and was acknowledged to/);
  const twice = ledger();
  twice.acknowledge('d', 5);
  assert.match(twice.judge(sound(LAST)).join(), /transaction 5 was acknowledged to c, and then to d/);
});

test('damage is noticed', () => {
  assert.deepEqual(judged(({ integrity }) => (integrity[1] = 'row 3 missing from index')), ['the second file is damaged: row 3 missing from index']);
});

test('what was seen after one kill must be there after the next', () => {
  const kept = ledger();
  assert.deepEqual(kept.judge(sound(LAST)), []);
  assert.match(kept.judge(sound(LAST - 1)).join(), new RegExp(`transaction ${LAST} was acknowledged`));
});
