/**
 * What Statik has to reach, as ratios against its peers in the same run. Pure.
 *
 * A target is judged only where the run has both sides of it. "The best peer" is the fastest engine that is not Statik,
 * keeps its data in OPFS and flushes at every commit, unless a target names another.
 */
import { workloads } from './web/workloads.js';

/** @typedef {import('./report.mjs').Report} Report */
/** @typedef {Report['engines'][number]} Engine */
/** @typedef {{ what: string, measured: string, asked: string, met: boolean }} Verdict */

const OURS = 'statik-bridge';
const FLUSHED = 'flushed at every commit';
const COMMITS = 500;

const isPeer = ({ name, durability }) => !name.startsWith('statik') && durability === FLUSHED;
const totalOf = ({ summary }) => summary.totalMs;
const msOf = (workload) => ({ summary }) => summary.ms[workload];
const sceneOf = (scene, number) => ({ summary }) => summary.scenes[scene]?.[number];
const named = (...names) => ({ name }) => names.includes(name);
const ms = (value) => `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
const perCommit = (value) => `${(value / COMMITS).toFixed(2)} ms each`;
const perSecond = (what) => (value) => `${Math.round(value).toLocaleString('en')} ${what}/s`;

/**
 * @typedef {object} Target
 * @property {string} what
 * @property {string} [only] a browser, where the target is for one of them
 * @property {boolean} [whole] only of a run that has all workloads
 * @property {string} [ours] whose number it is about, if not `OURS`
 * @property {(engine: Engine) => number | undefined} of the number that is compared
 * @property {(engine: Engine) => number | undefined} [peersOf] the peer's, where it is another number
 * @property {(engine: Engine) => boolean} peers among which the best is taken
 * @property {number} [atMost] of the peer's
 * @property {number} [atLeast] of the peer's, where more is better
 * @property {number} [withinMs] more than the peer's
 * @property {(value: number) => string} show
 */

/** @type {Target[]} */
const TARGETS = [
  { what: 'whole set at FULL, against the best peer', only: 'chrome', whole: true, of: totalOf, peers: isPeer, atMost: 0.6, show: ms },
  { what: 'whole set at FULL, against the best peer', only: 'firefox', whole: true, of: totalOf, peers: isPeer, atMost: 0.25, show: ms },
  { what: '500 commits at FULL, against the best peer', of: msOf('commits'), peers: isPeer, atMost: 1, show: perCommit },
  { what: '500 commits at NORMAL, against OPFSWriteAheadVFS at NORMAL', of: msOf('commits-normal'), peers: named('wa-write-ahead-relaxed'), atMost: 0.25, show: perCommit },
  { what: 'VACUUM, against the best peer', of: msOf('vacuum'), peers: isPeer, atMost: 0.5, show: ms },
  { what: '64 blobs of 1 MiB, against the best peer', of: msOf('blob-writes'), peers: isPeer, atMost: 0.5, show: ms },
  { what: 'reads from a warm cache, against in memory', of: msOf('warm-reads'), peers: named('memory', 'statik-memory'), atMost: 1.2, show: ms },
  { what: '4 workers, contended increments, against OPFSCoopSyncVFS', of: sceneOf('contended', 'ms'), peers: named('wa-coop-sync'), atMost: 0.5, show: ms },
  { what: '3 readers beside a writer, against the best peer of several connections', of: sceneOf('readers', 'rowsPerSecond'), peers: ({ name, shared }) => shared && !name.startsWith('statik'), atLeast: 2, show: perSecond('rows') },
  { what: 'opening an existing database, in a worker, against the official package', of: sceneOf('open', 'ms'), peers: named('opfs', 'opfs-sahpool'), withinMs: 30, show: ms },
  { what: 'opening an existing database, from the page, against the official package', ours: 'statik-promises', of: sceneOf('open', 'ms'), peers: named('opfs', 'opfs-sahpool'), withinMs: 30, show: ms },
  { what: 'group commit: 8 connections at FULL, against one', of: sceneOf('group', 'all'), peersOf: sceneOf('group', 'one'), peers: named(OURS), atLeast: 3, show: perSecond('commits') },
];

/**
 * @param {Target} target
 * @param {Report} report
 * @returns {Verdict | undefined}
 */
function verdict(target, { engines }) {
  const { what, ours: name = OURS, of, peersOf = of, peers, atMost, atLeast, withinMs, show } = target;
  const ours = engines.filter((engine) => engine.name === name).map(of)[0];
  const rivals = engines.filter(peers).map((engine) => ({ title: engine.title, value: peersOf(engine) })).filter(({ value }) => value !== undefined);
  if (ours === undefined || rivals.length === 0) return undefined;
  const best = rivals.reduce((a, b) => ((atLeast === undefined ? b.value < a.value : b.value > a.value) ? b : a));
  const against = `${show(ours)}, ${name === OURS && peersOf !== of ? 'one' : best.title}: ${show(best.value)}`;
  if (withinMs !== undefined) {
    const more = ours - best.value;
    return { what, measured: `${more < 0 ? '−' : '+'}${Math.abs(more).toFixed(0)} ms (${against})`, asked: `≤ +${withinMs} ms`, met: more <= withinMs };
  }
  const ratio = ours / best.value;
  const [asked, met] = atLeast === undefined ? [`≤ ${atMost}`, ratio <= atMost] : [`≥ ${atLeast}`, ratio >= atLeast];
  return { what, measured: `${ratio.toFixed(2)} (${against})`, asked, met };
}

/** The verdict on each target that the run can answer. @param {Report} report @returns {Verdict[]} */
export function judge(report) {
  const browser = /firefox/i.test(report.browser) ? 'firefox' : 'chrome';
  const isWhole = report.workloads.length === workloads.length;
  const asked = TARGETS.filter(({ only, whole }) => (only === undefined || only === browser) && (isWhole || !whole));
  return asked.flatMap((target) => verdict(target, report) ?? []);
}
