/**
 * The benchmark: the same SQL in one browser run against Statik, its peers, and memory.
 *
 *   npm run bench -- [--browser chrome|firefox] [--rounds N] [--only engine,…] [--workload name,…] [--scene name,…]
 *     [--cache-kib N] [--page-size N] [--readme]
 *
 * Without --browser it runs in both. Each round runs every engine once, in an order that moves on by one each round, so
 * that a slow minute of the machine does not hit one engine alone. `--workload` or `--scene` alone leaves the other kind
 * out; `none` leaves its kind out. Every engine has its own default settings, which the report prints; --cache-kib and
 * --page-size give all of them the same in the workloads. Prints tables, with the targets and whether they are met, and
 * writes everything, raw rounds included, to tests/bench/results/<date>.json; --readme puts the tables between the marks
 * in README.md. Fails if Statik failed or gave a wrong answer; a peer's failure is reported in its row, and a target
 * missed is for a person to judge.
 */
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command, commandLine, Failure, wholeNumber } from '../../scripts/process.mjs';
import { Browser } from '../e2e/browsers.mjs';
import { Server } from '../e2e/server.mjs';
import { BROWSERS, chooseFrom } from './options.mjs';
import { updateReadme } from './readme.mjs';
import { brief, render, summarize } from './report.mjs';
import { engines } from './web/engines.js';
import { scenes } from './web/scenes.js';
import { select, workloads } from './web/workloads.js';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const BASELINE = 'statik-bridge';
const RUN_LIMIT_MS = 10 * 60_000;

/** An engine that needs longer than this for one round does not run again, and the report says so. */
const REPEAT_LIMIT_MS = 60_000;

const OPTIONS = {
  browser: { type: 'string' },
  rounds: { type: 'string', default: '5' },
  only: { type: 'string' },
  workload: { type: 'string' },
  scene: { type: 'string' },
  readme: { type: 'boolean', default: false },
  'cache-kib': { type: 'string' },
  'page-size': { type: 'string' },
};

/** As `chooseFrom`, for one of two kinds of work: nothing of this kind, if only the other is asked for. */
function chooseKind(known, option, text, other) {
  return text === 'none' || (text === undefined && other !== undefined && other !== 'none') ? [] : chooseFrom(known, option, text);
}

function options() {
  const values = commandLine(OPTIONS);
  if (values.readme && (values.browser ?? values.only ?? values.workload ?? values.scene) !== undefined) throw new Failure('--readme takes the whole benchmark');
  return {
    browsers: chooseFrom(BROWSERS, 'browser', values.browser),
    names: chooseFrom(Object.keys(engines), 'only', values.only),
    rounds: wholeNumber('rounds', values.rounds),
    workloads: select(chooseKind(workloads.map(({ name }) => name), 'workload', values.workload, values.scene)),
    scenes: chooseKind(Object.keys(scenes), 'scene', values.scene, values.workload),
    readme: values.readme,
    overrides: { cacheKib: wholeNumber('cache-kib', values['cache-kib']), pageSize: wholeNumber('page-size', values['page-size']) },
  };
}

/** One engine, once, on a page of its own, which posts what came of it: that may take longer than a browser command. */
async function runOnce(browser, server, request) {
  const page = await browser.puppet.newPage();
  page.on('pageerror', (error) => console.error(`${request.engine}: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') console.error(`${request.engine}: ${message.text()}`);
  });
  try {
    await page.goto(`${server.origin}/tests/bench/web/index.html`);
    await page.waitForFunction(() => typeof globalThis.bench === 'function');
    const told = once(server.told, request.engine, { signal: AbortSignal.timeout(RUN_LIMIT_MS) });
    await page.evaluate((payload) => void globalThis.bench(payload), request);
    return (await told)[0];
  } catch (error) {
    return { failed: error.message, workload: 'page' };
  } finally {
    await page.close();
  }
}

const totalMs = (run) => Object.values(run.ms ?? {}).reduce((sum, ms) => sum + ms, 0);

function describeRun(run) {
  if (run.unavailable) return `unavailable: ${run.unavailable}`;
  if (run.failed) return `FAILED in ${run.workload}: ${run.failed}`;
  if (run.numbers) return Object.entries(run.numbers).map(([name, value]) => `${name} ${value.toFixed(1)}`).join(', ');
  return `${totalMs(run).toFixed(0)} ms`;
}

/** What one engine does in a round: all workloads in one go, then each scene that it can take part in. */
function requestsOf(engine, { workloads: scripts, scenes: chosen, overrides }) {
  const set = scripts.length > 0 ? [{ engine, workloads: scripts.map(({ name }) => name), ...overrides }] : [];
  return [...set, ...chosen.filter((scene) => scenes[scene].takes(engines[engine])).map((scene) => ({ engine, scene }))];
}

async function runBrowser(name, server, chosen) {
  const { names, rounds } = chosen;
  const browser = await Browser.launch(name);
  try {
    const version = await browser.puppet.version();
    /** @type {import('./report.mjs').Runs} */
    const runs = Object.fromEntries(names.map((engine) => [engine, { set: [], scenes: {} }]));
    for (let round = 0; round < rounds; round += 1) {
      for (let i = 0; i < names.length; i += 1) {
        const engine = names[(i + round) % names.length];
        for (const request of requestsOf(engine, chosen)) {
          const earlier = request.scene ? (runs[engine].scenes[request.scene] ??= []) : runs[engine].set;
          if (earlier.some((run) => run.tookMs > REPEAT_LIMIT_MS)) continue;
          const startedAt = performance.now();
          const run = await runOnce(browser, server, request);
          earlier.push({ ...run, tookMs: performance.now() - startedAt });
          console.error(`${name}, round ${round + 1} of ${rounds}, ${engine}${request.scene ? `, ${request.scene}` : ''}: ${describeRun(run)}`);
        }
      }
    }
    return { version, runs };
  } finally {
    await browser.close();
  }
}

async function main() {
  const chosen = options();
  const folders = ['tests/bench/web', 'dist', 'node_modules'];
  const roots = Object.fromEntries(folders.map((folder) => [`/${folder}/`, join(CHECKOUT, folder)]));
  const server = await Server.start({ isolated: true, roots });
  const startedAt = new Date();
  const results = [];
  try {
    for (const name of chosen.browsers) {
      const { version, runs } = await runBrowser(name, server, chosen);
      const summaries = chosen.names.map((engine) => ({
        name: engine,
        title: engines[engine].title,
        durability: engines[engine].durability,
        shared: engines[engine].shared ?? false,
        summary: summarize(runs[engine], chosen.workloads),
      }));
      const baseline = chosen.names.includes(BASELINE) ? BASELINE : chosen.names[0];
      const report = {
        browser: version,
        rounds: chosen.rounds,
        workloads: chosen.workloads.map(({ name: workload, title, aside = false }) => ({ name: workload, title, aside })),
        scenes: chosen.scenes.map((scene) => ({ name: scene, title: scenes[scene].title, unit: scenes[scene].unit })),
        baseline,
        engines: summaries,
      };
      console.log(`${render(report)}\n`);
      results.push({ ...report, runs });
    }
  } finally {
    await server.close();
  }
  const directory = join(CHECKOUT, 'tests/bench/results');
  await mkdir(directory, { recursive: true });
  const file = join(directory, `${startedAt.toISOString().replaceAll(':', '-').slice(0, 19)}.json`);
  const machine = { cpus: cpus().length, cpu: cpus()[0]?.model, platform: process.platform };
  await writeFile(file, `${JSON.stringify({ startedAt, machine, overrides: chosen.overrides, results }, undefined, 2)}\n`);
  console.log(`Written to ${file}`);
  if (chosen.readme) await updateReadme('bench', results.map(brief));
  const own = results.flatMap((result) => result.engines).filter((engine) => engine.name.startsWith('statik') && engine.summary.problems.length > 0);
  if (own.length > 0) process.exitCode = 1;
}

await command(main);
