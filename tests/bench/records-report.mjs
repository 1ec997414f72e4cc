/**
 * From the rounds of the records' benchmark to medians, ratios and verdicts. Pure: no clock, no files, no browser.
 *
 * Ratios are how many times as fast Statik is. Each is the median of what the rounds have: within a round the engines run
 * one right after the other, so that a slow minute of the machine is in both sides of it.
 */
import { median, shortly, table } from './report.mjs';
import { engines } from './web/records/engine-names.js';
import { scenes } from './web/records/scenes.js';

/** @typedef {{ browser: string, rounds: number, ms: Record<string, Record<string, number[]>> }} Records `ms` by scene and engine, a number for each round */

const BASELINE = 'statik';

/** What Statik has to reach: at least so many times as fast as the peer. */
const TARGETS = [
  { what: 'bulk write of 10,000 records, against Dexie\'s bulkAdd', scene: 'bulk', peer: 'dexie', atLeast: 1.5 },
  { what: 'bulk write of 10,000 records, against idb in one transaction', scene: 'bulk', peer: 'idb', atLeast: 1 },
  { what: '1,000 single writes called together, against idb', scene: 'singles', peer: 'idb', atLeast: 5 },
  { what: '1,000 of 100,000 records by an index, against Dexie', scene: 'query', peer: 'dexie', atLeast: 1 },
];

/** The middle half of the rounds' ratios, and its middle. @param {number[]} ours @param {number[]} theirs */
function ratioOf(ours, theirs) {
  const ratios = ours.map((ms, round) => theirs[round] / ms).sort((a, b) => a - b);
  const quarter = Math.floor(ratios.length / 4);
  return { ratio: median(ratios), low: ratios[quarter], high: ratios[ratios.length - 1 - quarter] };
}

const shown = ({ ratio, low, high }) => `${ratio.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;

/** The verdict on each target that the run can answer. @param {Records} records */
function targetsTable({ ms }) {
  const rows = TARGETS.flatMap(({ what, scene, peer, atLeast }) => {
    const [ours, theirs] = [ms[scene]?.[BASELINE], ms[scene]?.[peer]];
    if (ours === undefined || theirs === undefined) return [];
    const found = ratioOf(ours, theirs);
    return [[what, shown(found), `≥ ${atLeast}`, found.ratio >= atLeast ? 'met' : 'missed']];
  });
  return table(['target', 'times as fast', 'asked', ''], rows);
}

/** @param {Records} records @param {(scene: string, engine: string) => string} cell */
function byEngine({ ms }, cell) {
  const names = Object.keys(ms);
  const rows = Object.keys(engines).filter((engine) => names.some((scene) => ms[scene][engine] !== undefined));
  return table(['', ...names], rows.map((engine) => [engines[engine], ...names.map((scene) => (ms[scene][engine] ? cell(scene, engine) : '–'))]));
}

/** @param {Records} records */
export function render(records) {
  const { browser, rounds, ms } = records;
  return [
    `### ${browser}, median of ${rounds} rounds`,
    targetsTable(records),
    'How many times as fast Statik is, with the middle half of the rounds:',
    byEngine(records, (scene, engine) => (ms[scene][BASELINE] ? shown(ratioOf(ms[scene][BASELINE], ms[scene][engine])) : '–')),
    'Milliseconds:',
    byEngine(records, (scene, engine) => shortly(median(ms[scene][engine]))),
    Object.keys(ms).map((name) => `- ${name}: ${scenes[name].title}`).join('\n'),
  ].join('\n\n');
}
