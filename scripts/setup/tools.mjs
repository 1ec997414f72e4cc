/**
 * The programs that crates.io has and nobody else: built once, kept outside the checkout.
 *
 * Invariants: a tool counts only if it runs and says the version wanted; wasm-bindgen's is that of Cargo.lock, since
 * it reads what that version of the crate wrote.
 */

import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { ask, Failure, run } from '../process.mjs';

/**
 * @typedef {object} Tool
 * @property {string} crate
 * @property {string} program
 * @property {string} [version] missing: Cargo.lock's
 * @property {boolean} locked whether to build with the lock file that came with it
 * @property {string} duration for the person who waits, on two cores
 */

/** @type {Record<string, Tool>} */
const TOOLS = {
  bindgen: { crate: 'wasm-bindgen-cli', program: 'wasm-bindgen', locked: false, duration: '2 min' },
  'wasm-pack': { crate: 'wasm-pack', program: 'wasm-pack', version: '0.15.0', locked: false, duration: '2 min' },
  geckodriver: { crate: 'geckodriver', program: 'geckodriver', version: '0.37.0', locked: false, duration: '2 min' },
  trunk: { crate: 'trunk', program: 'trunk', version: '0.21.14', locked: true, duration: '6 min' },
};

/** Where the tools are kept. @param {NodeJS.ProcessEnv} env */
export function toolsFolder(env) {
  return env.STATIK_TOOLS ?? path.join(homedir(), '.cache/statik');
}

/**
 * Makes sure of one tool.
 * @param {string} need a key of TOOLS
 * @param {NodeJS.ProcessEnv} env with Rust
 * @param {string} checkout
 */
export async function setupTool(need, env, checkout) {
  const tool = TOOLS[need];
  if (!tool) throw new Failure(`There is no tool ${need}; there are ${Object.keys(TOOLS).join(', ')}.`);
  const folder = toolsFolder(env);
  const program = path.join(folder, 'bin', tool.program);
  const version = tool.version ?? lockedBindgen(checkout);
  if (installed(program) === version) return;

  console.log(`setup: ${tool.crate} ${version}, from source, about ${tool.duration}`);
  mkdirSync(folder, { recursive: true });
  const build = path.join(folder, 'build');
  const locked = tool.locked ? ['--locked'] : [];
  await run('cargo', ['install', '--quiet', '--force', '--root', folder, ...locked, `${tool.crate}@${version}`], {
    // Outside the checkout and without what a build of our own may have set.
    cwd: folder,
    // These tools wait for other programs: the time to optimise them is never won back.
    env: { ...env, CARGO_TARGET_DIR: build, CARGO_PROFILE_RELEASE_LTO: 'off', CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16', CARGO_PROFILE_RELEASE_OPT_LEVEL: '1' },
  });
  rmSync(build, { recursive: true, force: true });
  const result = installed(program);
  if (result !== version) throw new Failure(`${program} was installed as ${version} but says ${result ?? 'nothing'}.`);
}

/** @param {string} program */
function installed(program) {
  return /\b\d+\.\d+\.\d+\b/.exec(ask(program, ['--version']).output)?.[0];
}

/** @param {string} checkout */
function lockedBindgen(checkout) {
  const file = path.join(checkout, 'Cargo.lock');
  const lock = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const version = /name = "wasm-bindgen"\nversion = "([\d.]+)"/.exec(lock)?.[1];
  if (!version) throw new Failure(`${file} does not name a wasm-bindgen: run \`cargo generate-lockfile\`.`);
  return version;
}
