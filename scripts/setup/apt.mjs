/**
 * Debian packages: what can be had, and having it.
 *
 * Invariants: nothing is installed that is there already; the package lists are fetched at most once, and only when
 * they lack what is asked for; without root (or sudo that asks nothing) the error holds the command to run.
 */

import { ask, attempt, Failure } from '../process.mjs';

let listsAreFresh = false;

/** Whether this system has apt at all. */
export function hasApt() {
  return process.platform === 'linux' && ask('apt-get', ['--version']).ok;
}

/**
 * The version of a package that apt would install, or undefined.
 * @param {string} name
 */
export function candidate(name) {
  return /Candidate: (?!\(none\))(\S+)/.exec(ask('apt-cache', ['policy', name]).output)?.[1];
}

/** Fetches the package lists, once. */
export async function refresh() {
  if (listsAreFresh) return;
  console.log('setup: fetching the list of system packages, about 10 s');
  await root(['apt-get', 'update', '-q'], 'apt-get update');
  listsAreFresh = true;
}

/**
 * Installs packages.
 * @param {readonly string[]} names
 * @param {string} purpose what for and how long, for the person who waits
 */
export async function install(names, purpose) {
  if (!hasApt()) throw new Failure(`Missing: ${purpose}. There is no apt-get here; install what Debian calls ${names.join(', ')}.`);
  if (names.some((name) => !candidate(name))) await refresh();
  const absent = names.filter((name) => !candidate(name));
  if (absent.length > 0) throw new Failure(`Missing: ${purpose}. apt knows no package ${absent.join(', ')}; install it by other means and run this again.`);
  console.log(`setup: ${purpose} (apt: ${names.join(' ')})`);
  const command = ['apt-get', 'install', '-y', '-q', '--no-install-recommends', ...names];
  try {
    await root(command, purpose);
  } catch (error) {
    if (listsAreFresh) throw error;
    // Lists that are some weeks old name versions that the mirrors have dropped.
    await refresh();
    await root(command, purpose);
  }
}

/**
 * Runs a command as root.
 * @param {readonly string[]} command
 * @param {string} purpose
 */
export async function root(command, purpose) {
  const prefix = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  if (prefix.length > 0 && !ask('sudo', ['-n', 'true']).ok) {
    throw new Failure(`Missing: ${purpose}. It takes root to install; run this, then try again:\n  sudo ${command.join(' ')}`);
  }
  const [program = '', ...args] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', ...command];
  const { ok, output } = await attempt(program, args, { quiet: true });
  if (!ok) throw new Failure(`${output}\nfailed: ${command.join(' ')}`);
}
