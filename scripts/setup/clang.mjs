/**
 * A clang that compiles C for wasm32, and the archiver that goes with it: SQLite is C.
 *
 * Invariant: a clang counts only after it has compiled something for wasm32; Apple's is found everywhere on macOS and
 * cannot.
 */

import { existsSync } from 'node:fs';
import { ask, Failure, run } from '../process.mjs';
import * as apt from './apt.mjs';

/** In order of preference: 19 is the one that was tried most. */
const VERSIONS = [19, 20, 21, 22, 18, 17, 16, 15];

/**
 * Makes sure of clang.
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<NodeJS.ProcessEnv>} the variables by which Rust's build scripts find it
 */
export async function setupClang(env) {
  return findClang(env) ?? (await installClang(env));
}

/** @param {NodeJS.ProcessEnv} env */
function findClang(env) {
  /** @type {[string, string][]} */
  const pairs = [
    ...VERSIONS.map((version) => /** @type {[string, string]} */ ([`clang-${version}`, `llvm-ar-${version}`])),
    ['clang', 'llvm-ar'],
    ...['/opt/homebrew/opt/llvm/bin', '/usr/local/opt/llvm/bin'].map((folder) => /** @type {[string, string]} */ ([`${folder}/clang`, `${folder}/llvm-ar`])),
  ];
  const { CC_wasm32_unknown_unknown: clang, AR_wasm32_unknown_unknown: archiver } = env;
  if (clang && archiver) pairs.unshift([clang, archiver]);
  const pair = pairs.find(([clang, archiver]) => compiles(clang, env) && ask(archiver, ['--version'], { env }).ok);
  return pair && { CC_wasm32_unknown_unknown: pair[0], AR_wasm32_unknown_unknown: pair[1] };
}

/** @param {string} clang @param {NodeJS.ProcessEnv} env */
function compiles(clang, env) {
  const args = ['--target=wasm32-unknown-unknown', '-x', 'c', '-c', '-o', '/dev/null', '-'];
  return ask(clang, args, { env, input: '#include <stdint.h>\nuint32_t probe(void) { return 1; }\n' }).ok;
}

/** @param {NodeJS.ProcessEnv} env */
async function installClang(env) {
  if (apt.hasApt()) {
    await apt.install((await choosePackagedLlvm()).packages, "clang, for SQLite's C, about 1 min");
  } else if (ask('brew', ['--version'], { env }).ok) {
    console.log("setup: clang, for SQLite's C (brew: llvm), about 3 min");
    await run('brew', ['install', 'llvm'], { env });
  }
  const found = findClang(env);
  if (!found) throw new Failure('Missing: a clang that compiles for wasm32, with its llvm-ar. Install LLVM 15 or newer, or name them in CC_wasm32_unknown_unknown and AR_wasm32_unknown_unknown.');
  return found;
}

/** The packages of one LLVM: that which is there, or else the best that can be had. */
export async function choosePackagedLlvm() {
  const complete = (/** @type {number} */ version) => ['clang', 'lld', 'llvm'].every((name) => apt.candidate(`${name}-${version}`));
  let version = VERSIONS.find((version) => existsSync(`/usr/lib/llvm-${version}/bin/clang`)) ?? VERSIONS.find(complete);
  if (version === undefined) {
    await apt.refresh();
    version = VERSIONS.find(complete);
  }
  if (version === undefined) throw new Failure(`Missing: LLVM. apt knows none of the versions ${VERSIONS.join(', ')} with clang, lld and llvm.`);
  return { packages: ['clang', 'lld', 'llvm'].map((name) => `${name}-${version}`), linker: `/usr/lib/llvm-${version}/bin/lld` };
}
