/**
 * Makes a bare machine able to build, serve and test: each need is looked at first, and seen to only if it is missing.
 *
 * As a module: `await setup(['rust', 'node'])` gives the environment for the programs that it set up. As a command:
 * `node scripts/setup.mjs rust browsers`, or all without arguments. It says what it does and how long that takes, and
 * prints nothing where there is nothing to do. Tools are kept in `$STATIK_TOOLS` (or ~/.cache/statik), so that a fresh
 * clone finds them. Windows is not supported.
 */

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { command, Failure } from './process.mjs';
import { setupBetterSqlite3 } from './setup/better-sqlite3.mjs';
import { setupBrowsers } from './setup/browsers.mjs';
import { setupClang } from './setup/clang.mjs';
import { setupCxx } from './setup/cxx.mjs';
import { checkNode, setupNodePackages, setupSample, setupSqlite } from './setup/packages.mjs';
import { setupRust } from './setup/rust.mjs';
import { setupTool, toolsFolder } from './setup/tools.mjs';

/** The repository's root. */
export const CHECKOUT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/**
 * What can be needed, in the order in which it is seen to. Each step gives the variables that those after it, and the
 * programs set up, run with.
 * @type {Record<string, (env: NodeJS.ProcessEnv) => Promise<NodeJS.ProcessEnv | void>>}
 */
const STEPS = {
  node: (env) => setupNodePackages(env, CHECKOUT),
  'better-sqlite3': (env) => setupBetterSqlite3(env, CHECKOUT),
  sqlite3: setupSqlite,
  sample: setupSample,
  rust: (env) => setupRust(env, CHECKOUT),
  clang: setupClang,
  cxx: setupCxx,
  bindgen: (env) => setupTool('bindgen', env, CHECKOUT),
  'wasm-pack': (env) => setupTool('wasm-pack', env, CHECKOUT),
  trunk: (env) => setupTool('trunk', env, CHECKOUT),
  browsers: (env) => setupBrowsers(env, CHECKOUT),
};

/** Needs that stand on others: tools are built with Rust. @type {Record<string, string[]>} */
const REQUIRES = { 'better-sqlite3': ['node'], bindgen: ['rust'], 'wasm-pack': ['rust'], trunk: ['rust'], browsers: ['rust'] };

/**
 * Sees to what is needed.
 * @param {readonly string[]} needs keys of STEPS
 * @returns {Promise<NodeJS.ProcessEnv>} the environment to run programs in
 */
export async function setup(needs) {
  const unknown = needs.filter((need) => !(need in STEPS));
  if (unknown.length > 0) throw new Failure(`Nothing is called ${unknown.join(', ')}; there are ${Object.keys(STEPS).join(', ')}.`);
  if (process.platform === 'win32') throw new Failure('Windows is not supported: use WSL.');
  checkNode();
  // What the command that started this one has seen to: Trunk's hook runs at every change, and need not look again.
  const ready = new Set(process.env.STATIK_READY?.split(','));
  const all = new Set(needs.flatMap((need) => [...(REQUIRES[need] ?? []), need]));
  const env = { ...process.env, PATH: searchPath(process.env) };
  for (const [need, step] of Object.entries(STEPS)) {
    if (!all.has(need) || ready.has(need)) continue;
    Object.assign(env, await step(env));
    ready.add(need);
  }
  return { ...env, STATIK_READY: [...ready].join(',') };
}

/** Our tools first; cargo's programs too, where a fresh rustup is not on the PATH yet. @param {NodeJS.ProcessEnv} env */
function searchPath(env) {
  const folders = (env.PATH ?? '').split(path.delimiter);
  const cargo = path.join(env.CARGO_HOME ?? path.join(homedir(), '.cargo'), 'bin');
  const added = [path.join(toolsFolder(env), 'bin'), ...(existsSync(path.join(cargo, 'cargo')) ? [cargo] : [])];
  return [...added.filter((folder) => !folders.includes(folder)), ...folders].join(path.delimiter);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await command(async () => {
    const needs = process.argv.slice(2);
    await setup(needs.length > 0 ? needs : Object.keys(STEPS));
    console.log('setup: everything needed is here');
  });
}
