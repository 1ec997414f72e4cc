/**
 * From the rounds of the records' benchmark to medians, ratios and verdicts. Pure: no clock, no files, no browser.
 *
 * Ratios are how many times as fast Statik is. Each is the median of what the rounds have: within a round the engines run
 * one right after the other, so that a slow minute of the machine is in both sides of it.
 */
import { median, shortly, table } from './report.mjs';
import { engines } from './web/records/engine-names.js';
import { scenes } from './web/records/scenes.js';

/**
 * @typedef {{ ms: number, cpuMs?: number }} Taken on the clock, and of the browser's processors, where that is known
 * @typedef {{ browser: string, rounds: number, taken: Record<string, Record<string, Taken[]>> }} Records `taken` by scene and engine, one for each round
 */

const BASELINE = 'statik';

/** What Statik, or `ours`, has to reach: at least so many times as fast as the peer. */
const TARGETS = [
  { what: 'bulk write of 10,000 records, against Dexie\'s bulkAdd', scene: 'bulk', peer: 'dexie', atLeast: 1.5 },
  { what: 'bulk write of 10,000 records, against idb in one transaction', scene: 'bulk', peer: 'idb', atLeast: 1 },
  { what: '1,000 single writes called together, against idb', scene: 'singles', peer: 'idb', atLeast: 5 },
  { what: '1,000 of 100,000 records by an index, against Dexie', scene: 'query', peer: 'dexie', atLeast: 1 },
  { what: '10,000 episodes written encrypted, against plain', ours: 'sealed', scene: 'episodes', peer: BASELINE, atLeast: 0.5 },
  { what: '10,000 episodes read that are encrypted, against plain', ours: 'sealed', scene: 'recall', peer: BASELINE, atLeast: 0.5 },
];

/**
 * The middle half of the rounds' ratios, and its middle; undefined where a side is missing.
 * @param {Taken[] | undefined} ours @param {Taken[] | undefined} theirs @param {'ms' | 'cpuMs'} by
 */
function ratioOf(ours, theirs, by) {
  const ratios = ours && theirs ? ours.map((own, round) => theirs[round][by] / own[by]).filter(Number.isFinite).sort((a, b) => a - b) : [];
  if (ratios.length === 0) return undefined;
  const quarter = Math.floor(ratios.length / 4);
  return { ratio: median(ratios), low: ratios[quarter], high: ratios[ratios.length - 1 - quarter] };
}

const shown = (found) => (found ? `${found.ratio.toFixed(2)} (${found.low.toFixed(2)}–${found.high.toFixed(2)})` : '–');

/** The verdict on each target that the run can answer. @param {Records} records */
function targetsTable({ taken }) {
  const rows = TARGETS.flatMap(({ what, ours = BASELINE, scene, peer, atLeast }) => {
    const sides = [taken[scene]?.[ours], taken[scene]?.[peer]];
    const found = ratioOf(...sides, 'ms');
    return found ? [[what, shown(found), shown(ratioOf(...sides, 'cpuMs')), `≥ ${atLeast}`, found.ratio >= atLeast ? 'met' : 'missed']] : [];
  });
  return table(['target', 'times as fast', 'by processor time', 'asked', ''], rows);
}

/** @param {Records} records @param {(scene: string, engine: string) => string} cell */
function byEngine({ taken }, cell) {
  const names = Object.keys(taken);
  const rows = Object.keys(engines).filter((engine) => names.some((scene) => taken[scene][engine] !== undefined));
  return table(['', ...names], rows.map((engine) => [engines[engine], ...names.map((scene) => cell(scene, engine))]));
}

/** @param {Records} records */
export function render(records) {
  const { browser, rounds, taken } = records;
  const ratios = (by) => byEngine(records, (scene, engine) => shown(ratioOf(taken[scene][BASELINE], taken[scene][engine], by)));
  return [
    `### ${browser}, median of ${rounds} rounds`,
    targetsTable(records),
    'How many times as fast Statik is, with the middle half of the rounds:',
    ratios('ms'),
    'The same by the processor time of all the browser\'s processes, which other work on the machine changes less:',
    ratios('cpuMs'),
    'Milliseconds:',
    byEngine(records, (scene, engine) => shortly(taken[scene][engine] && median(taken[scene][engine].map(({ ms }) => ms)))),
    Object.keys(taken).map((name) => `- ${name}: ${scenes[name].title}`).join('\n'),
  ].join('\n\n');
}
