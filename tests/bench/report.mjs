/**
 * From the rounds' raw results to medians, ratios and tables. Pure: no clock, no files, no browser.
 */

/**
 * @typedef {object} Run One engine, all workloads, once.
 * @property {string} [unavailable] why the engine could not be opened in this browser
 * @property {string} [failed] how it broke or what was wrong with its answer, in which `workload`
 * @property {string} [workload]
 * @property {string} [version]
 * @property {string[]} [notes]
 * @property {Record<string, unknown>} [pragmas]
 * @property {Record<string, number>} [ms]
 * @property {number} [openMs]
 * @property {number} [reopenMs]
 */

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The median of each workload over the rounds. An engine that failed in any round has a `problem` and no total: what
 * it did before is shown, but cannot be compared as a whole.
 * @param {Run[]} runs
 * @param {string[]} workloads
 */
export function summarize(runs, workloads) {
  const broken = runs.find((run) => run.unavailable ?? run.failed);
  const complete = runs.filter((run) => !run.unavailable && !run.failed);
  /** @type {Record<string, number>} */
  const ms = {};
  for (const workload of workloads) {
    const values = runs.map((run) => run.ms?.[workload]).filter((value) => value !== undefined);
    if (values.length > 0) ms[workload] = median(values);
  }
  const over = (field) => {
    const values = complete.map((run) => run[field]).filter((value) => value !== undefined);
    return values.length > 0 ? median(values) : undefined;
  };
  const { version, notes = [], pragmas = {} } = runs.find((run) => run.version) ?? {};
  return {
    rounds: runs.length,
    version,
    notes,
    pragmas,
    ms,
    totalMs: broken ? undefined : workloads.reduce((sum, workload) => sum + ms[workload], 0),
    openMs: over('openMs'),
    reopenMs: over('reopenMs'),
    problem: broken && (broken.unavailable ?? `${broken.workload}: ${broken.failed}`),
  };
}

/** A Markdown table, padded so that it reads well as plain text too. */
function table(header, rows) {
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column].length)));
  const line = (row) => `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(header), rule, ...rows.map(line)].join('\n');
}

const milliseconds = (value) => (value === undefined ? '–' : value.toFixed(value < 10 ? 1 : 0));
const ratio = (value, base) => (value === undefined || base === undefined ? '–' : (value / base).toFixed(2));

/**
 * @param {{ browser: string, rounds: number, workloads: { name: string, title: string }[], baseline: string,
 *   engines: { name: string, title: string, durability: string, summary: ReturnType<typeof summarize> }[] }} report
 */
export function render({ browser, rounds, workloads, baseline, engines }) {
  const names = workloads.map((workload) => workload.name);
  const base = engines.find((engine) => engine.name === baseline);
  const shown = engines.filter((engine) => Object.keys(engine.summary.ms).length > 0);
  const times = shown.map(({ title, summary }) => [
    title,
    milliseconds(summary.totalMs),
    ...names.map((name) => milliseconds(summary.ms[name])),
    milliseconds(summary.openMs),
    milliseconds(summary.reopenMs),
  ]);
  const ratios = shown.map(({ title, summary }) => [
    title,
    ratio(summary.totalMs, base?.summary.totalMs),
    ...names.map((name) => ratio(summary.ms[name], base?.summary.ms[name])),
  ]);
  const settings = shown.map(({ title, durability, summary: { version, pragmas } }) => [
    title,
    String(version),
    ...['journal_mode', 'synchronous', 'page_size', 'cache_size', 'locking_mode'].map((name) => String(pragmas[name])),
    durability,
  ]);
  const remarks = engines.flatMap(({ title, summary }) => [
    ...(summary.problem ? [`- ${title}: FAILED, so no total: ${summary.problem}`] : []),
    ...(summary.rounds < rounds ? [`- ${title}: ${summary.rounds} round only, because it took so long`] : []),
    ...summary.notes.map((note) => `- ${title}: ${note}`),
  ]);
  return [
    `## ${browser}, median of ${rounds} round${rounds === 1 ? '' : 's'}`,
    'Milliseconds. The total is the sum of the workloads; opening and reopening are shown beside it.',
    table(['', 'total', ...names, '(open)', '(reopen)'], times),
    `Ratio to ${base?.title ?? baseline}: above 1 is slower than it.`,
    table(['', 'total', ...names], ratios),
    'Settings, as each engine has them by default (a negative cache_size is in KiB), and what a commit means:',
    table(['', 'SQLite', 'journal', 'synchronous', 'page', 'cache', 'locking', 'a commit is'], settings),
    ...(remarks.length > 0 ? [remarks.join('\n')] : []),
    workloads.map(({ name, title }) => `- ${name}: ${title}`).join('\n'),
  ].join('\n\n');
}
