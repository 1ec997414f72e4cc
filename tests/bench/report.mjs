/**
 * From the rounds' raw results to medians, ratios and tables. Pure: no clock, no files, no browser.
 */
import { judge } from './targets.mjs';
import { scenes as sceneList } from './web/scenes.js';

/**
 * @typedef {object} Run One engine, all workloads or one scene, once.
 * @property {string} [unavailable] why the engine could not be opened in this browser
 * @property {string} [failed] how it broke or what was wrong with its answer, in which `workload`
 * @property {string} [workload]
 * @property {string} [version]
 * @property {string[]} [notes]
 * @property {Record<string, unknown>} [pragmas]
 * @property {Record<string, number>} [ms]
 * @property {Record<string, number>} [numbers] a scene's
 * @property {number} [openMs]
 * @property {number} [reopenMs]
 * @property {number} tookMs
 *
 * @typedef {Record<string, { set: Run[], scenes: Record<string, Run[]> }>} Runs by engine
 *
 * @typedef {object} Report
 * @property {string} browser
 * @property {number} rounds
 * @property {{ name: string, title: string, aside: boolean }[]} workloads
 * @property {{ name: string, title: string, unit: string }[]} scenes
 * @property {string} baseline
 * @property {{ name: string, title: string, durability: string, shared: boolean, summary: ReturnType<typeof summarize> }[]} engines
 */

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median of each number that any of the records has. @param {Record<string, number>[]} records */
function medians(records) {
  const names = new Set(records.flatMap((record) => Object.keys(record)));
  return Object.fromEntries([...names].map((name) => [name, median(records.map((record) => record[name]).filter((value) => value !== undefined))]));
}

const brokenIn = (runs) => runs.find((run) => run.unavailable ?? run.failed);

/**
 * The median of each workload over the rounds, and of each number of a scene. An engine that failed in any round has
 * `problems`: a set without a total, since what it did before cannot be compared as a whole, or a scene without numbers.
 * @param {{ set: Run[], scenes: Record<string, Run[]> }} runs
 * @param {{ name: string, aside?: boolean }[]} workloads
 */
export function summarize({ set, scenes }, workloads) {
  const broken = brokenIn(set);
  const complete = set.filter((run) => !run.unavailable && !run.failed);
  const ms = medians(set.map((run) => run.ms ?? {}));
  const over = (field) => {
    const values = complete.map((run) => run[field]).filter((value) => value !== undefined);
    return values.length > 0 ? median(values) : undefined;
  };
  const problems = [broken, ...Object.values(scenes).map(brokenIn)].filter(Boolean);
  const { version, notes = [], pragmas = {} } = set.find((run) => run.version) ?? {};
  const counted = workloads.filter(({ aside }) => !aside);
  return {
    rounds: Math.min(...[set, ...Object.values(scenes)].filter(({ length }) => length > 0).map(({ length }) => length)),
    version,
    notes,
    pragmas,
    ms,
    totalMs: broken || complete.length === 0 ? undefined : counted.reduce((sum, { name }) => sum + ms[name], 0),
    openMs: over('openMs'),
    reopenMs: over('reopenMs'),
    scenes: Object.fromEntries(Object.entries(scenes).filter(([, all]) => !brokenIn(all)).map(([name, all]) => [name, medians(all.map(({ numbers = {} }) => numbers))])),
    problems: problems.map(({ unavailable, workload, failed }) => unavailable ?? `${workload}: ${failed}`),
  };
}

/** A Markdown table, padded so that it reads well as plain text too. */
export function table(header, rows) {
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column].length)));
  const line = (row) => `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(header), rule, ...rows.map(line)].join('\n');
}

export const shortly = (value) => (value === undefined ? '–' : value >= 10_000 ? Math.round(value).toLocaleString('en') : value.toFixed(value < 10 ? 1 : 0));
const ratio = (value, base) => (value === undefined || base === undefined ? '–' : (value / base).toFixed(2));

/** Milliseconds of each workload, by engine. @param {Report} report */
function timesTable({ workloads, engines }) {
  const shown = engines.filter((engine) => Object.keys(engine.summary.ms).length > 0);
  const names = workloads.map(({ name }) => name);
  const rows = shown.map(({ title, summary }) => [
    title, shortly(summary.totalMs), ...names.map((name) => shortly(summary.ms[name])), shortly(summary.openMs), shortly(summary.reopenMs),
  ]);
  const header = workloads.map(({ name, aside }) => (aside ? `(${name})` : name));
  return table(['', 'total', ...header, '(open)', '(reopen)'], rows);
}

/** @param {Report} report */
function ratiosTable({ workloads, baseline, engines }) {
  const base = engines.find((engine) => engine.name === baseline);
  const shown = engines.filter((engine) => Object.keys(engine.summary.ms).length > 0);
  const rows = shown.map(({ title, summary }) => [
    title, ratio(summary.totalMs, base?.summary.totalMs), ...workloads.map(({ name }) => ratio(summary.ms[name], base?.summary.ms[name])),
  ]);
  return table(['', 'total', ...workloads.map(({ name }) => name)], rows);
}

/** @param {Report} report */
function scenesTable({ scenes, engines }) {
  const shown = engines.filter(({ summary }) => Object.keys(summary.scenes).length > 0);
  const cell = (name, numbers) => shortly(numbers && sceneList[name].value(numbers));
  const rows = shown.map(({ title, summary }) => [title, ...scenes.map(({ name }) => cell(name, summary.scenes[name]))]);
  return table(['', ...scenes.map(({ name, unit }) => `${name}, ${unit}`)], rows);
}

/** @param {Report} report */
function targetsTable(report) {
  return table(['target', 'measured', 'asked', ''], judge(report).map(({ what, measured, asked, met }) => [what, measured, asked, met ? 'met' : 'missed']));
}

/** @param {Report} report */
function settingsTable({ engines }) {
  const shown = engines.filter((engine) => Object.keys(engine.summary.ms).length > 0);
  const rows = shown.map(({ title, durability, summary: { version, pragmas } }) => [
    title,
    String(version),
    ...['journal_mode', 'synchronous', 'page_size', 'cache_size', 'locking_mode'].map((name) => String(pragmas[name])),
    durability,
  ]);
  return table(['', 'SQLite', 'journal', 'synchronous', 'page', 'cache', 'locking', 'a commit is'], rows);
}

/** @param {Report} report */
function remarks({ rounds, engines }) {
  return engines.flatMap(({ title, summary }) => [
    ...summary.problems.map((problem) => `- ${title}: FAILED, so no number: ${problem}`),
    ...(summary.rounds < rounds ? [`- ${title}: ${summary.rounds} round only where it took so long`] : []),
    ...summary.notes.map((note) => `- ${title}: ${note}`),
  ]);
}

const heading = ({ browser, rounds }) => `${browser}, median of ${rounds} round${rounds === 1 ? '' : 's'}`;
const legend = (list) => list.map(({ name, title }) => `- ${name}: ${title}`).join('\n');

/** What README.md has of it. @param {Report} report */
export function brief(report) {
  return [
    `### ${heading(report)}`,
    targetsTable(report),
    'Milliseconds; columns in brackets are not in the total.',
    timesTable(report),
    scenesTable(report),
    ...remarks(report),
  ].join('\n\n');
}

/** Everything. @param {Report} report */
export function render(report) {
  const { baseline, engines, workloads, scenes } = report;
  const base = engines.find((engine) => engine.name === baseline);
  const sections = [`## ${heading(report)}`];
  if (workloads.length > 0) {
    sections.push(
      'Milliseconds. The total is the sum of the workloads; what is in brackets is shown beside it.',
      timesTable(report),
      `Ratio to ${base?.title ?? baseline}: above 1 is slower than it.`,
      ratiosTable(report),
      'Settings, as each engine has them by default (a negative cache_size is in KiB), and what a commit means:',
      settingsTable(report),
      legend(workloads),
    );
  }
  if (scenes.length > 0) sections.push('Several workers, and a worker that has just started:', scenesTable(report), legend(scenes));
  const notes = remarks(report);
  if (notes.length > 0) sections.push(notes.join('\n'));
  sections.push('Targets, as far as this run has what they compare:', targetsTable(report));
  return sections.join('\n\n');
}
