/**
 * The benchmark of records: Statik on IndexedDB against Dexie, idb, and IndexedDB bare.
 *
 *   npm run bench -- records [--browser chrome|firefox] [--rounds N] [--only engine,…] [--scene name,…] [--readme]
 *
 * Without --browser it runs in both. All engines run on one page. Each round of a scene runs every engine once, in an order
 * that moves on by one and turns around each round; what comes before the first round is not counted. Prints tables, with
 * the targets and whether they are met, and writes every round to tests/bench/results/records-<date>.json; --readme puts
 * the tables between their marks in README.md. Fails on a wrong answer; a target missed is for a person to judge.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command, commandLine, Failure, wholeNumber } from '../../scripts/process.mjs';
import { Browser } from '../e2e/browsers.mjs';
import { Server } from '../e2e/server.mjs';
import { BROWSERS, chooseFrom } from './options.mjs';
import { processorMs, spentMs } from './processor.mjs';
import { updateReadme } from './readme.mjs';
import { render } from './records-report.mjs';
import { engines } from './web/records/engine-names.js';
import { scenes } from './web/records/scenes.js';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));

const OPTIONS = {
  browser: { type: 'string' },
  rounds: { type: 'string', default: '7' },
  only: { type: 'string' },
  scene: { type: 'string' },
  readme: { type: 'boolean', default: false },
};

function options() {
  const values = commandLine(OPTIONS);
  if (values.readme && (values.browser ?? values.only ?? values.scene) !== undefined) throw new Failure('--readme takes the whole benchmark');
  return {
    browsers: chooseFrom(BROWSERS, 'browser', values.browser),
    names: chooseFrom(Object.keys(engines), 'only', values.only),
    chosen: chooseFrom(Object.keys(scenes), 'scene', values.scene),
    rounds: wholeNumber('rounds', values.rounds),
    readme: values.readme,
  };
}

/** Who runs in a round, in which order: nobody always comes behind the same one. */
function orderOf(names, round) {
  const order = names.map((_, i) => names[(i + round) % names.length]);
  return round % 2 === 0 ? order : order.reverse();
}

/** What one engine takes for a scene once. @returns {Promise<import('./records-report.mjs').Taken>} */
async function runOnce(browser, page, engine, scene) {
  const group = browser.puppet.process().pid;
  await page.evaluate((...request) => globalThis.prepare(...request), engine, scene);
  const before = processorMs(group);
  const ms = await page.evaluate(() => globalThis.run());
  const cpuMs = spentMs(before, processorMs(group));
  await page.evaluate(() => globalThis.finish());
  return { ms, cpuMs };
}

async function runScene(browser, page, scene, names, rounds) {
  const taken = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const engine of orderOf(names, round)) {
      const once = await runOnce(browser, page, engine, scene);
      if (round > 0) taken[engine].push(once);
    }
  }
  await page.evaluate(() => globalThis.clear());
  console.error(`${scene}: ${names.map((name) => `${name} ${taken[name].map(({ ms }) => ms.toFixed(0)).join(' ')}`).join(', ')} ms`);
  return taken;
}

async function runBrowser(name, server, { names, chosen, rounds }) {
  const browser = await Browser.launch(name);
  try {
    const page = await browser.puppet.newPage();
    page.on('pageerror', (error) => console.error(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') console.error(message.text());
    });
    await page.goto(`${server.origin}/tests/bench/web/records/index.html`);
    await page.waitForFunction(() => typeof globalThis.prepare === 'function');
    const taken = {};
    for (const scene of chosen) taken[scene] = await runScene(browser, page, scene, names.filter((each) => each !== 'sealed' || scenes[scene].isSealable), rounds);
    return { browser: await browser.puppet.version(), rounds, taken };
  } finally {
    await browser.close();
  }
}

async function main() {
  const choice = options();
  const roots = Object.fromEntries(['tests/bench/web', 'dist', 'node_modules'].map((folder) => [`/${folder}/`, join(CHECKOUT, folder)]));
  const server = await Server.start({ isolated: true, roots });
  const startedAt = new Date();
  const results = [];
  try {
    for (const name of choice.browsers) {
      results.push(await runBrowser(name, server, choice));
      console.log(`${render(results.at(-1))}\n`);
    }
  } finally {
    await server.close();
  }
  const directory = join(CHECKOUT, 'tests/bench/results');
  await mkdir(directory, { recursive: true });
  const file = join(directory, `records-${startedAt.toISOString().replaceAll(':', '-').slice(0, 19)}.json`);
  const machine = { cpus: cpus().length, cpu: cpus()[0]?.model, platform: process.platform };
  await writeFile(file, `${JSON.stringify({ startedAt, machine, results }, undefined, 2)}\n`);
  console.log(`Written to ${file}`);
  if (choice.readme) await updateReadme('bench-records', results.map(render));
}

await command(main);
