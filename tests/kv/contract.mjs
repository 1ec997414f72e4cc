/**
 * What every key-value adapter has to do, as cases that run anywhere: under node:test, in a page, a worker or a service
 * worker. tests/sdk/kv.test.mjs and tests/e2e/kv.test.mjs run them.
 *
 * @typedef {object} Subject
 * @property {(options?: { now?: () => number, node?: string, maxDriftMs?: number }) => any} create an adapter that is not
 *   open yet; those of one subject that initialize the same database share it
 * @property {(label: string) => string} database what to pass to `initialize`: another one for each label
 *
 * Invariants: each case has databases of its own and closes what it opens; time is what the case says.
 */
import { Bench } from './bench.mjs';
import { keyCases } from './keys.mjs';
import { logCases } from './log.mjs';
import { recordCases } from './records.mjs';

const CASES = Object.entries({ ...recordCases, ...keyCases, ...logCases });

/**
 * The cases, of which each passes if its `run` resolves.
 * @param {string} name what is tested
 * @param {Subject} subject
 * @returns {{ name: string, run: () => Promise<void> }[]}
 */
export function contract(name, subject) {
  return CASES.map(([title, body], index) => ({
    name: `${name}: ${title}`,
    run: async () => {
      const bench = new Bench(subject, `case${index}`);
      try {
        await body(bench);
      } finally {
        await bench.end();
      }
    },
  }));
}

/** The labels that `database` is given for the databases that a case calls by these names. @param {readonly string[]} names */
export function labels(names) {
  return CASES.flatMap((_, index) => names.map((name) => `case${index}${name}`));
}

/**
 * Runs all cases, one after another, where there is no test runner.
 * @param {string} name
 * @param {Subject} subject
 * @returns {Promise<{ passed: number, failed: string[] }>} `failed`: the cases with how they failed
 */
export async function runContract(name, subject) {
  const report = { passed: 0, failed: /** @type {string[]} */ ([]) };
  for (const { name: title, run } of contract(name, subject)) {
    try {
      await run();
      report.passed += 1;
    } catch (error) {
      report.failed.push(`${title}: ${error.code ?? ''} ${error.message}\n${error.stack}`);
    }
  }
  return report;
}
