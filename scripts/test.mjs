/**
 * `npm test`: sets up what the tests need and runs them, all or the parts named (`npm test -- browser e2e`). With
 * `--deep` the crash suites judge a million crashes (`npm test -- crash --deep`).
 *
 * Each part says how many tests passed and how long it took; a failing one is shown whole, and the others still run.
 * The last line is always `N passed, N failed`, and any failure makes the exit code 1.
 * Invariants: a part that has tests and ran none has failed; a part without tests of its own counts as one.
 */

import { readdirSync } from 'node:fs';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { NEEDS } from './build.mjs';
import { attempt, Failure } from './process.mjs';
import { CHECKOUT, setup } from './setup.mjs';

/** No part takes this long; one that does hangs. */
const LIMIT_MS = 40 * 60_000;

/** Node's own runner; what it runs shares the machine's browsers. */
const NODE_TEST = [process.execPath, '--test', '--test-concurrency=1', '--test-reporter=spec'];

/** What only a browser can run. */
const WASM_ONLY = ['statik-browser', 'statik-runtime', 'statik-browser-tests'];

/**
 * @typedef {object} Part
 * @property {string[]} needs of `setup`
 * @property {string} [after] the part whose result it runs on
 * @property {boolean} [counted] each of its commands runs tests and reports their number
 * @property {(output: string) => string} [show] what is worth seeing even where all is well
 * @property {string} [cwd]
 * @property {() => string[][]} commands
 * @property {boolean} [together] the commands run at the same time
 */

/** @type {Record<string, Part>} in the order in which they run: the quick ones first */
const PARTS = {
  fmt: { needs: ['rust'], commands: () => [['cargo', 'fmt', '--all', '--check'], ['cargo', 'fmt', '--check', '--manifest-path=tests/fuzz/Cargo.toml']] },
  types: {
    needs: ['node'],
    commands: () => ['tsconfig.json', 'tsconfig.worker.json', 'tsconfig.node.json'].map((project) => ['node_modules/.bin/tsc', '--project', project]),
  },
  tidy: { needs: ['rust'], counted: true, commands: () => [['cargo', 'test', '--package=statik-tests', '--test=tidy']] },
  clippy: {
    needs: ['rust', 'clang'],
    commands: () => [
      ['cargo', 'clippy', '--workspace', ...excluding(WASM_ONLY), '--all-targets', '--', '--deny=warnings'],
      ['cargo', 'clippy', ...WASM_ONLY.map((name) => `--package=${name}`), '--all-targets', '--target=wasm32-unknown-unknown', '--', '--deny=warnings'],
    ],
  },
  native: {
    needs: ['rust', 'sqlite3'],
    counted: true,
    commands: () => [['cargo', 'test', '--workspace', ...excluding(WASM_ONLY), '--no-fail-fast']],
  },
  crash: {
    needs: ['rust'],
    counted: true,
    show: (output) => `${numbers(/: (\d+) crash points$/gm, output).reduce((sum, count) => sum + count, 0)} crash points`,
    commands: () => [['cargo', 'test', '--package=statik-tests', '--test=pages_crash', '--test=sqlite_crash', '--no-fail-fast', '--', '--show-output']],
  },
  fuzz: {
    needs: ['rust', 'cxx'],
    counted: true,
    show: (output) => `${numbers(/^fuzz .* (\d+) runs/gm, output).reduce((sum, count) => sum + count, 0)} inputs`,
    commands: () => [[process.execPath, 'tests/fuzz/run.mjs', '--seconds=60']],
  },
  sdk: { needs: ['better-sqlite3'], counted: true, commands: () => [nodeTest('tests/sdk', 'tests/soak')] },
  browser: {
    needs: ['rust', 'clang', 'bindgen', 'wasm-pack', 'browsers'],
    counted: true,
    cwd: 'tests/browser',
    // The test runner takes the first driver that its environment names, Firefox's before Chrome's, whatever it is told.
    commands: () =>
      [['--chrome', 'GECKODRIVER'], ['--firefox', 'CHROMEDRIVER']].map(([browser = '', other = '']) => [
        'env', '-u', other, 'wasm-pack', 'test', '--headless', browser, '--release', '--mode=no-install',
      ]),
  },
  build: { needs: [...NEEDS, 'sample', 'trunk'], show: (output) => (output.match(/^build: \w+_bg\.wasm \d.*$/gm) ?? []).join('; '), commands: () => [['trunk', 'build']] },
  e2e: {
    needs: ['node', 'sqlite3', 'browsers'],
    after: 'build',
    counted: true,
    together: true,
    commands: () => ['chrome', 'firefox'].map((browser) => ['env', `STATIK_BROWSER=${browser}`, ...NODE_TEST, 'tests/e2e/suite.mjs']),
  },
  package: { needs: ['node', 'browsers'], after: 'build', counted: true, commands: () => [[process.execPath, 'tests/package/run.mjs']] },
};

/** What a pattern's first group matches, as numbers. @param {RegExp} pattern @param {string} text */
function numbers(pattern, text) {
  return Array.from(text.matchAll(pattern), ([, number]) => Number(number));
}

/** @param {readonly string[]} names */
function excluding(names) {
  return names.map((name) => `--exclude=${name}`);
}

/** Node's own runner over some folders' test files, one after another. @param {string[]} folders */
function nodeTest(...folders) {
  const testsIn = (/** @type {string} */ folder) => readdirSync(path.join(CHECKOUT, folder)).filter((name) => name.endsWith('.test.mjs')).sort().map((name) => path.join(folder, name));
  return [...NODE_TEST, ...folders.flatMap(testsIn)];
}

/** @typedef {{ passed: number, failed: number }} Counts */

/**
 * The tests that a program's output reports: cargo's and wasm-pack's results, node:test's, or a closing line of ours.
 * @param {string} output
 * @returns {Counts}
 */
function countTests(output) {
  const counts = { passed: 0, failed: 0 };
  for (const line of stripVTControlCharacters(output).split('\n')) {
    const cargo = /^test result: \w+\. (\d+) passed; (\d+) failed/.exec(line) ?? /^(\d+) passed, (\d+) failed$/.exec(line);
    const node = /^ℹ (pass|fail|cancelled) (\d+)$/.exec(line);
    if (cargo) {
      counts.passed += Number(cargo[1]);
      counts.failed += Number(cargo[2]);
    } else if (node) {
      counts[node[1] === 'pass' ? 'passed' : 'failed'] += Number(node[2]);
    }
  }
  return counts;
}

/**
 * @param {Part} part
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Counts & { output: string }>}
 */
async function runPart(part, env) {
  const run = (/** @type {string[]} */ [program = '', ...args]) => attempt(program, args, { cwd: path.join(CHECKOUT, part.cwd ?? ''), env, quiet: true, limitMs: LIMIT_MS });
  const commands = part.commands();
  const results = part.together ? await Promise.all(commands.map(run)) : [];
  const total = { passed: 0, failed: 0, output: '' };
  for (const [i, command] of commands.entries()) {
    const { ok, output } = results[i] ?? (await run(command));
    const counts = part.counted ? countTests(output) : { passed: 0, failed: 0 };
    total.output += `$ ${command.join(' ')}\n${output}`;
    total.passed += counts.passed;
    total.failed += counts.failed;
    if (part.counted && ok && counts.passed === 0) {
      total.output += '\nNo test ran.\n';
      total.failed += 1;
    } else if (!ok && counts.failed === 0) {
      total.failed += 1;
    }
  }
  if (!part.counted && total.failed === 0) total.passed = 1;
  return total;
}

/** The parts to run, with those that they need the result of. @param {readonly string[]} named */
function select(named) {
  const unknown = named.filter((name) => !(name in PARTS));
  if (unknown.length > 0) throw new Failure(`There is no part ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}.`);
  return Object.entries(PARTS).filter(([name]) => named.length === 0 || named.includes(name) || named.some((other) => PARTS[other]?.after === name));
}

/** @param {readonly string[]} named @returns {Promise<Counts>} */
async function test(named) {
  const parts = select(named);
  const begin = Date.now();
  const env = { ...(await setup(parts.flatMap(([, part]) => part.needs))), ...QUIET, ...(deep && { STATIK_CRASH_POINTS: '1000000' }) };
  console.log(`${column('setup')}${seconds(begin)}`);
  const total = { passed: 0, failed: 0 };
  const failing = new Set();
  for (const [name, part] of parts) {
    const begin = Date.now();
    // Named while it runs, so that a person who waits knows for what.
    process.stdout.write(column(name));
    const result = part.after && failing.has(part.after) ? { passed: 0, failed: 1, output: `It takes the part ${part.after}, which failed.\n` } : await runPart(part, env);
    if (result.failed > 0) {
      failing.add(name);
      console.log(`\n──── ${name} ────\n${result.output}──── ${name} ────\n`);
    }
    const shown = (result.failed === 0 && part.show?.(result.output)) || '';
    if (result.failed > 0) process.stdout.write(column(name));
    console.log(`${seconds(begin)}${column(`${result.passed} passed`)}${result.failed > 0 ? `${result.failed} failed` : shown}`);
    total.passed += result.passed;
    total.failed += result.failed;
  }
  return total;
}

/** Output is read by this script and by logs. */
const QUIET = { CARGO_TERM_COLOR: 'never', CARGO_TERM_PROGRESS_WHEN: 'never', FORCE_COLOR: '0', WASM_BINDGEN_TEST_TIMEOUT: '180' };

/** @param {string} text */
function column(text) {
  return text.padEnd(14);
}

/** @param {number} begin */
function seconds(begin) {
  return column(`${((Date.now() - begin) / 1000).toFixed(1)} s`);
}

const deep = process.argv.includes('--deep');
const named = process.argv.slice(2).filter((name) => name !== '--deep');
/** @type {Counts} */
let counts;
try {
  counts = await test(named);
} catch (error) {
  console.error(error instanceof Failure ? error.message : error);
  counts = { passed: 0, failed: Math.max(named.length, 1) };
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed > 0 ? 1 : 0;
