/**
 * The npm packages that the lock file names, and the system's few programs and texts that tests and the demo's sample
 * are made with.
 */

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ask, Failure, run } from '../process.mjs';
import * as apt from './apt.mjs';

/**
 * Makes sure that node_modules holds what package-lock.json says.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} checkout
 */
export async function setupNodePackages(env, checkout) {
  const wanted = lockedVersions(path.join(checkout, 'package-lock.json'));
  const present = lockedVersions(path.join(checkout, 'node_modules/.package-lock.json'));
  const differs = [...wanted].some(([folder, { version, optional }]) => (present.get(folder)?.version ?? (optional ? version : undefined)) !== version);
  if (!differs) return;
  console.log('setup: npm packages, about 20 s');
  // The one package whose script does what is needed has a step of its own, better-sqlite3.mjs: builds need not wait for it.
  await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: checkout, env });
}

/**
 * Versions by folder. npm keeps such a file of what it installed, too; packages for other platforms are missing there.
 * @param {string} file
 * @returns {Map<string, { version: string, optional?: boolean }>}
 */
function lockedVersions(file) {
  if (!existsSync(file)) return new Map();
  const { packages } = JSON.parse(readFileSync(file, 'utf8'));
  return new Map(Object.entries(packages).filter(([folder]) => folder !== ''));
}

/** Makes sure of the `sqlite3` that tests compare with, and that makes the sample. @param {NodeJS.ProcessEnv} env */
export async function setupSqlite(env) {
  if (!ask('sqlite3', ['--version'], { env }).ok) await apt.install(['sqlite3'], "SQLite's own shell, about 10 s");
}

/** The texts that the demo's sample database is made from. */
const TEXTS = [
  { file: '/usr/share/iso-codes/json/iso_3166-1.json', name: 'iso-codes' },
  { file: '/usr/share/unicode/UnicodeData.txt', name: 'unicode-data' },
];

/**
 * Gets what the demo's sample database is made from, where it can be had; without it the demo works, and offers none.
 * @param {NodeJS.ProcessEnv} env
 */
export async function setupSample(env) {
  const missing = TEXTS.filter(({ file }) => !existsSync(file)).map(({ name }) => name);
  if (!ask('sqlite3', ['--version'], { env }).ok) missing.push('sqlite3');
  if (missing.length === 0) return;
  try {
    await apt.install(missing, "what the demo's sample database is made from, about 10 s");
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.log(`setup: going on without a sample database. ${error.message}`);
  }
}

/** The oldest Node that the scripts run on. */
export function checkNode() {
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (major < 20) throw new Failure(`Missing: Node 20 or newer; this is ${process.versions.node}.`);
}
