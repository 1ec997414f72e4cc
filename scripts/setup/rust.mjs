/**
 * A Rust that builds for this machine and for wasm32.
 *
 * Whether a toolchain will do is asked of the toolchain itself, by building a test for wasm32 with it: that takes the
 * standard library, the test harness and the linker at once. What is there is tried first; then rustup; then Debian's
 * packages, whose compiler builds the missing standard library from Debian's own sources.
 */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ask, attempt, Failure, run } from '../process.mjs';
import * as apt from './apt.mjs';
import { choosePackagedLlvm } from './clang.mjs';

const TARGET = 'wasm32-unknown-unknown';
/** rustup tries again and again where the network swallows everything; this is when Debian's turn comes. */
const RUSTUP_LIMIT_MS = 5 * 60_000;
/** The name under which rustup knows Debian's compiler. */
const LINKED = 'statik';

/** How Debian names a Rust: the one that security updates bring for web browsers, then the release's own. */
const PACKAGE_SETS = [
  { needed: ['rustc-web', 'cargo-web', 'rust-web-src', 'rustfmt-web', 'rust-web-clippy'], optional: [] },
  { needed: ['rustc', 'cargo', 'rust-src', 'rustfmt', 'rust-clippy'], optional: ['libstd-rust-dev-wasm32'] },
];

/**
 * Makes sure of Rust.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} checkout
 * @returns {Promise<NodeJS.ProcessEnv>} the variables to add
 */
export async function setupRust(env, checkout) {
  if (!ask('cc', ['--version'], { env }).ok) await installLinker();
  const minimum = minimumVersion(checkout);
  return findUsable(env, minimum) ?? (await installWithRustup(env, minimum)) ?? installFromDebian(env, minimum);
}

/** Rust links its programs for this machine with the C compiler. */
async function installLinker() {
  if (process.platform === 'darwin') throw new Failure('Missing: a C compiler. Run `xcode-select --install`, then this again.');
  await apt.install(['gcc', 'libc6-dev'], 'a C compiler to link with, about 20 s');
}

/** The oldest compiler that the workspace declares to work. @param {string} checkout */
function minimumVersion(checkout) {
  const version = /^rust-version = "([\d.]+)"/m.exec(readFileSync(path.join(checkout, 'Cargo.toml'), 'utf8'))?.[1];
  if (!version) throw new Failure('Cargo.toml names no rust-version.');
  return version;
}

/**
 * The variables that select an installed toolchain which will do: none for the default one.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} minimum
 * @returns {NodeJS.ProcessEnv | undefined}
 */
function findUsable(env, minimum) {
  const ours = ask('rustup', ['toolchain', 'list', '--quiet'], { env }).output.split('\n')
    .filter((name) => name === LINKED || name.startsWith(`${minimum}-`) || name.startsWith(`${minimum}.`));
  return [{}, ...ours.map((name) => ({ RUSTUP_TOOLCHAIN: name }))].find((choice) => !shortcoming({ ...env, ...choice }, minimum));
}

/**
 * Why a toolchain will not do, or undefined if it will.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} minimum
 */
function shortcoming(env, minimum) {
  const version = compilerVersion(env);
  if (!version) return 'there is no rustc';
  if (isOlder(version, minimum)) return `rustc ${version} is older than ${minimum}`;
  for (const program of [['--version'], ['fmt', '--version'], ['clippy', '--version']]) {
    const { ok, problem } = ask('cargo', program, { env });
    if (!ok) return `cargo ${program.join(' ')}: ${problem}`;
  }
  const scratch = mkdtempSync(path.join(tmpdir(), 'statik-probe-'));
  const args = ['--test', '--crate-name=probe', `--target=${TARGET}`, '-Clto=fat', '-o', path.join(scratch, 'probe.wasm'), '-'];
  const { ok, problem } = ask('rustc', args, { env, input: '#[test] fn probe() {}' });
  rmSync(scratch, { recursive: true });
  return ok ? undefined : `rustc cannot build for ${TARGET}: ${problem}`;
}

/** @param {NodeJS.ProcessEnv} env */
function compilerVersion(env) {
  return /^rustc (\d+\.\d+\.\d+)/.exec(ask('rustc', ['--version'], { env }).output)?.[1];
}

/** @param {string} version @param {string} minimum */
function isOlder(version, minimum) {
  return version.localeCompare(minimum, 'en', { numeric: true }) < 0;
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} minimum
 * @returns {Promise<NodeJS.ProcessEnv | undefined>} undefined where rustup is missing or cannot fetch
 */
async function installWithRustup(env, minimum) {
  if (!ask('rustup', ['--version'], { env }).ok) return undefined;
  const version = compilerVersion(env);
  if (version && !isOlder(version, minimum)) {
    console.log(`setup: Rust's standard library for ${TARGET}, clippy and rustfmt (rustup), about 20 s`);
    await attempt('rustup', ['target', 'add', TARGET], { env, limitMs: RUSTUP_LIMIT_MS });
    await attempt('rustup', ['component', 'add', 'clippy', 'rustfmt'], { env, limitMs: RUSTUP_LIMIT_MS });
    if (!shortcoming(env, minimum)) return {};
  } else {
    // A toolchain of the version that is needed, so that the person's default one stays what it is.
    console.log(`setup: Rust ${minimum} for this machine and for ${TARGET} (rustup), about 1 min`);
    await attempt('rustup', ['toolchain', 'install', minimum, '--profile=minimal', '--component=clippy,rustfmt', `--target=${TARGET}`], { env, limitMs: RUSTUP_LIMIT_MS });
    const choice = findUsable(env, minimum);
    if (choice) return choice;
  }
  console.log("setup: rustup cannot fetch it; the system's packages are next");
  return undefined;
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} minimum
 * @returns {Promise<NodeJS.ProcessEnv>}
 */
async function installFromDebian(env, minimum) {
  if (!apt.hasApt()) throw new Failure(`Missing: Rust ${minimum} or newer, able to build for ${TARGET}. Install it from https://rustup.rs and run this again.`);
  const packages = await choosePackages(minimum);
  const llvm = await choosePackagedLlvm();
  await apt.install([...packages, ...llvm.packages], "Rust from the system's packages, about 1 min");

  const system = { ...env, PATH: `/usr/bin:${env.PATH}`, RUSTC: '/usr/bin/rustc' };
  await provideLinker(system, llvm.linker);
  if (shortcoming(system, minimum)) await buildStandardLibrary(system);

  const hasRustup = ask('rustup', ['--version'], { env }).ok;
  if (hasRustup) await run('rustup', ['toolchain', 'link', LINKED, '/usr'], { env });
  const choice = hasRustup ? { RUSTUP_TOOLCHAIN: LINKED } : {};
  const problem = shortcoming({ ...env, ...choice }, minimum);
  if (problem) throw new Failure(`Rust from the system's packages does not work: ${problem}\nInstall Rust ${minimum} or newer from https://rustup.rs and run this again.`);
  return choice;
}

/** @param {string} minimum */
async function choosePackages(minimum) {
  const choose = () => PACKAGE_SETS.find(({ needed }) => needed.every((name) => {
    const version = apt.candidate(name);
    return version !== undefined && (!/^(rustc|rustc-web)$/.test(name) || !isOlder(version, minimum));
  }));
  let chosen = choose();
  if (!chosen) {
    await apt.refresh();
    chosen = choose();
  }
  if (!chosen) {
    const offers = ['rustc-web', 'rustc'].map((name) => `${name} ${apt.candidate(name) ?? '(none)'}`).join(', ');
    throw new Failure(`Missing: Rust ${minimum} or newer. rustup cannot be reached and the system's packages offer ${offers}.\nInstall Rust from https://rustup.rs and run this again.`);
  }
  return [...chosen.needed, ...chosen.optional.filter(apt.candidate)];
}

/**
 * Debian's compiler looks for `rust-lld` where rustup would have put it.
 * @param {NodeJS.ProcessEnv} system
 * @param {string} linker
 */
async function provideLinker(system, linker) {
  const host = /^host: (\S+)/m.exec(ask('rustc', ['-vV'], { env: system }).output)?.[1] ?? '';
  const folder = path.join(sysroot(system), 'lib/rustlib', host, 'bin');
  if (existsSync(path.join(folder, 'rust-lld'))) return;
  await apt.root(['mkdir', '-p', folder], 'a linker for wasm32');
  await apt.root(['ln', '-sf', linker, path.join(folder, 'rust-lld')], 'a linker for wasm32');
}

/**
 * Builds the standard library and the test harness for wasm32 from their sources, and puts them where the compiler
 * looks. An empty crate is what makes cargo do it.
 * @param {NodeJS.ProcessEnv} system
 */
async function buildStandardLibrary(system) {
  console.log(`setup: building Rust's standard library for ${TARGET}, about 1 min`);
  const scratch = mkdtempSync(path.join(tmpdir(), 'statik-std-'));
  mkdirSync(path.join(scratch, 'src'));
  writeFileSync(path.join(scratch, 'Cargo.toml'), '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n');
  writeFileSync(path.join(scratch, 'src/lib.rs'), '#![no_std]\n');
  await run('cargo', ['build', '--release', `--target=${TARGET}`, '-Zbuild-std=std,panic_abort,proc_macro,test'], {
    cwd: scratch,
    // A stable compiler takes unstable options only when told that it is building itself. Bitcode is what link-time
    // optimisation of a program with these libraries works on.
    env: { ...system, RUSTC_BOOTSTRAP: '1', RUSTFLAGS: '-Cembed-bitcode=yes', CARGO_TARGET_DIR: path.join(scratch, 'target') },
    quiet: true,
  });
  const built = path.join(scratch, 'target', TARGET, 'release/deps');
  const libraries = readdirSync(built).filter((name) => name.endsWith('.rlib') && !name.startsWith('libempty-'));
  const folder = path.join(sysroot(system), 'lib/rustlib', TARGET, 'lib');
  const purpose = `Rust's standard library for ${TARGET}`;
  // Libraries of an earlier compiler would be found too, and refused.
  await apt.root(['rm', '-rf', folder], purpose);
  await apt.root(['mkdir', '-p', folder], purpose);
  await apt.root(['cp', ...libraries.map((name) => path.join(built, name)), folder], purpose);
  rmSync(scratch, { recursive: true });
}

/** @param {NodeJS.ProcessEnv} env */
function sysroot(env) {
  return ask('rustc', ['--print', 'sysroot'], { env }).output;
}
