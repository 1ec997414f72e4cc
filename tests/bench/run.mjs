/**
 * The benchmark: the same SQL in one browser run against Statik, its peers, and memory.
 *
 *   npm run bench -- [--browser chrome|firefox] [--rounds N] [--only engine,…] [--workload name,…]
 *     [--cache-kib N] [--page-size N]
 *
 * Without --browser it runs in both. Each round runs every engine once, in an order that moves on by one each round, so
 * that a slow minute of the machine does not hit one engine alone. Every engine has its own default settings, which the
 * report prints; --cache-kib and --page-size give all of them the same. Prints tables, and writes everything, raw rounds
 * included, to tests/bench/results/<date>.json. Fails if Statik failed or gave a wrong answer; a peer's failure is
 * reported in its row.
 */
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { command, Failure } from '../../scripts/process.mjs';
import { Browser } from '../e2e/browsers.mjs';
import { Server } from '../e2e/server.mjs';
import { render, summarize } from './report.mjs';
import { engines } from './web/engines.js';
import { select, workloads } from './web/workloads.js';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const BASELINE = 'statik-bridge';
const RUN_LIMIT_MS = 10 * 60_000;

/** An engine that needs longer than this for one round does not run again, and the report says so. */
const REPEAT_LIMIT_MS = 120_000;

const BROWSERS = ['chrome', 'firefox'];

const list = (text) => text?.split(',').map((name) => name.trim()).filter(Boolean);

const OPTIONS = {
  browser: { type: 'string' },
  rounds: { type: 'string', default: '3' },
  only: { type: 'string' },
  workload: { type: 'string' },
  'cache-kib': { type: 'string' },
  'page-size': { type: 'string' },
};

function commandLine() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    throw new Failure(error.message);
  }
}

/** The names after `--<option>`, or all there are. */
function chooseFrom(known, option, text) {
  const names = list(text) ?? known;
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Failure(`--${option}: nothing is called ${unknown.join(', ')}; there are ${known.join(', ')}`);
  return names;
}

function options() {
  const values = commandLine();
  const wholeNumber = (name) => {
    const text = values[name];
    if (text === undefined) return undefined;
    if (!/^[1-9]\d*$/.test(text)) throw new Failure(`--${name} takes a whole number from 1, got ${text}`);
    return Number(text);
  };
  return {
    browsers: chooseFrom(BROWSERS, 'browser', values.browser),
    names: chooseFrom(Object.keys(engines), 'only', values.only),
    rounds: wholeNumber('rounds'),
    workloads: select(chooseFrom(workloads.map(({ name }) => name), 'workload', values.workload)),
    overrides: { cacheKib: wholeNumber('cache-kib'), pageSize: wholeNumber('page-size') },
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
  return `${totalMs(run).toFixed(0)} ms`;
}

async function runBrowser(name, server, { names, rounds, workloads: scripts, overrides }) {
  const browser = await Browser.launch(name);
  try {
    const version = await browser.puppet.version();
    /** @type {Record<string, import('./report.mjs').Run[]>} */
    const runs = Object.fromEntries(names.map((engine) => [engine, []]));
    for (let round = 0; round < rounds; round += 1) {
      for (let i = 0; i < names.length; i += 1) {
        const engine = names[(i + round) % names.length];
        if (runs[engine].some((run) => totalMs(run) > REPEAT_LIMIT_MS)) continue;
        const request = { engine, workloads: scripts.map((workload) => workload.name), ...overrides };
        const run = await runOnce(browser, server, request);
        runs[engine].push(run);
        console.error(`${name}, round ${round + 1} of ${rounds}, ${engine}: ${describeRun(run)}`);
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
        summary: summarize(runs[engine], chosen.workloads.map((workload) => workload.name)),
      }));
      const described = chosen.workloads.map(({ name: workload, title }) => ({ name: workload, title }));
      const baseline = chosen.names.includes(BASELINE) ? BASELINE : chosen.names[0];
      const report = { browser: version, rounds: chosen.rounds, workloads: described, baseline, engines: summaries };
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
  const own = results.flatMap((result) => result.engines).filter((engine) => engine.name.startsWith('statik') && engine.summary.problem);
  if (own.length > 0) process.exitCode = 1;
}

await command(main);
