/**
 * Running other programs: one call that answers a question, one that does work; and being run, with options.
 *
 * Invariants: no shell is involved, so arguments need no quoting; a program that fails is an error that says which
 * one, unless the caller asked a question. What it does not do: decide what to run.
 */

import { spawn, spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

/** Something a person has to act on: printed as it is, without a stack. */
export class Failure extends Error {}

/**
 * Asks a program something. A program that is missing or fails answers `ok: false`.
 * @param {string} command
 * @param {readonly string[]} [args]
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string, input?: string }} [options]
 */
export function ask(command, args = [], options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  return { ok: status === 0, output: (stdout ?? '').trim(), problem: error?.message ?? (stderr ?? '').trim() };
}

/**
 * @typedef {object} Work
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} [cwd]
 * @property {boolean} [quiet] keep the output instead of showing it
 * @property {number} [limitMs] end the program, and what it started, after this time
 */

/** What is running now, by process group. @type {Set<number>} */
const running = new Set();

/**
 * Runs a program to its end, in a process group of its own.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {Work} [options]
 * @returns {Promise<{ ok: boolean, output: string }>} `output` is empty unless `quiet`
 */
export function attempt(command, args, { env, cwd, quiet = false, limitMs } = {}) {
  return new Promise((resolve) => {
    const output = quiet ? 'pipe' : 'inherit';
    const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', output, output] });
    const group = child.pid;
    /** @type {Buffer[]} */
    const chunks = [];
    child.stdout?.on('data', (chunk) => chunks.push(chunk));
    child.stderr?.on('data', (chunk) => chunks.push(chunk));
    const note = (/** @type {string} */ text) => (quiet ? chunks.push(Buffer.from(text)) : process.stderr.write(text));
    const timer = limitMs === undefined ? undefined : setTimeout(() => {
      note(`\n${command}: ended after ${limitMs / 1000} s without finishing\n`);
      if (group !== undefined) endGroup(group);
    }, limitMs);
    const finish = (/** @type {boolean} */ ok) => {
      clearTimeout(timer);
      if (group !== undefined) running.delete(group);
      resolve({ ok, output: Buffer.concat(chunks).toString('utf8') });
    };
    if (group !== undefined) track(group);
    child.on('error', (error) => {
      note(`${command}: ${error.message}\n`);
      finish(false);
    });
    child.on('close', (code) => finish(code === 0));
  });
}

/**
 * Runs a program that has to succeed.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {Work} [options]
 */
export async function run(command, args, options) {
  const { ok, output } = await attempt(command, args, options);
  if (!ok) throw new Failure(`failed: ${[command, ...args].join(' ')}${output && `\n${output}`}`);
}

/** Runs `main` as a command: a `Failure` is printed plainly, and any error makes the exit code 1. @param {() => Promise<void>} main */
export async function command(main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Failure ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
}

/**
 * The options of the command line; one that is unknown is a `Failure`.
 * @template {import('node:util').ParseArgsConfig['options']} T
 * @param {T} options
 */
export function commandLine(options) {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    throw new Failure(/** @type {Error} */ (error).message);
  }
}

/** The value of an option that takes a whole number from 1. @param {string} option @param {string | undefined} text */
export function wholeNumber(option, text) {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d*$/.test(text)) throw new Failure(`--${option} takes a whole number from 1, got ${text}`);
  return Number(text);
}

/** A command that is interrupted takes along what it runs. @param {number} group */
function track(group) {
  running.add(group);
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    if (!process.listeners(signal).includes(interrupted)) process.once(signal, interrupted);
  }
}

/** @param {NodeJS.Signals} signal */
function interrupted(signal) {
  for (const group of running) endGroup(group);
  process.kill(process.pid, signal);
}

/** @param {number} group */
function endGroup(group) {
  try {
    process.kill(-group, 'SIGKILL');
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH') throw error;
  }
}
