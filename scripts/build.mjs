/**
 * Builds the npm package into dist/: the WebAssembly with its glue, the SDK, the worker scripts and the types.
 *
 *   crates/runtime ─cargo─▶ wasm-bindgen ─▶ wasm-opt ─▶ dist/statik.js, dist/statik_bg.wasm
 *   web/sdk, worker ─esbuild─▶ dist/{index,sync,kv,node,io,engine}.js      web/sdk ─tsc─▶ dist/….d.ts
 *
 * With `--site`, which is how Trunk's hook calls it, it also puts what the demo needs into $TRUNK_STAGING_DIR.
 * Invariants: a step whose inputs are what they were is skipped (stamps lie in the target folder); the WebAssembly
 * stays within its budget, or the build fails.
 */

import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { ask, command, Failure, run } from './process.mjs';
import { makeSample, SAMPLE } from './sample.mjs';
import { CHECKOUT, setup } from './setup.mjs';

/** What the WebAssembly may weigh on the wire, gzipped. */
const WASM_BUDGET_BYTES = 700_000;

/** What rustc enables by default for wasm32; wasm-opt refuses, or spoils, what it is not told of. */
const WASM_FEATURES = ['bulk-memory', 'bulk-memory-opt', 'multivalue', 'mutable-globals', 'nontrapping-float-to-int', 'reference-types', 'sign-ext'];

/** What runs in a page or worker, or under Node, by its name in dist/. */
const SCRIPTS = {
  index: 'web/sdk/src/index.ts',
  sync: 'web/sdk/src/sync.ts',
  kv: 'web/sdk/src/kv.ts',
  node: 'web/sdk/src/node.ts',
  io: 'worker/io.ts',
  engine: 'worker/engine.ts',
};

const DIST = path.join(CHECKOUT, 'dist');
const TARGET = process.env.CARGO_TARGET_DIR ?? path.join(CHECKOUT, 'target');
const STAMPS = path.join(TARGET, 'statik');
const PROGRAMS = path.join(CHECKOUT, 'node_modules/.bin');

/** What the build needs of `setup`. */
export const NEEDS = ['node', 'rust', 'clang', 'bindgen'];

/**
 * Builds dist/.
 * @param {NodeJS.ProcessEnv} env from `setup(NEEDS)`
 */
export async function build(env) {
  mkdirSync(DIST, { recursive: true });
  mkdirSync(STAMPS, { recursive: true });
  await buildWasm(env);
  checkBudget();
  await buildScripts(env);
  await buildTypes(env);
}

/** @param {NodeJS.ProcessEnv} env */
async function buildWasm(env) {
  const cargo = ['build', '--package=statik-runtime', '--release', '--target=wasm32-unknown-unknown', `--target-dir=${TARGET}`];
  // cargo knows by itself what is up to date; the first build compiles all of SQLite.
  await run('cargo', cargo, { cwd: CHECKOUT, env });
  const linked = path.join(TARGET, 'wasm32-unknown-unknown/release/statik_runtime.wasm');
  const raw = path.join(STAMPS, 'bindgen');
  const bindgen = ['--target=web', '--omit-default-module-path', '--no-typescript', '--out-name=statik', `--out-dir=${raw}`, linked];
  const features = WASM_FEATURES.map((feature) => `--enable-${feature}`);
  const optimise = ['-O3', ...features, path.join(raw, 'statik_bg.wasm'), '-o', path.join(DIST, 'statik_bg.wasm')];
  const glue = [path.join(raw, 'statik.js'), '--bundle', '--format=esm', '--target=es2022', '--charset=utf8', '--log-level=warning', `--outdir=${DIST}`];
  const versions = [ask('wasm-bindgen', ['--version'], { env }).output, packageVersion('binaryen'), packageVersion('esbuild')];
  await step('wasm', [linked], [...versions, ...bindgen, ...optimise, ...glue], ['statik.js', 'statik_bg.wasm'], async () => {
    console.log('build: wasm-bindgen and wasm-opt, about 1 min');
    await run('wasm-bindgen', bindgen, { env });
    await run(path.join(PROGRAMS, 'wasm-opt'), optimise, { env });
    // The glue and the snippets that it imports, as one file.
    await run(path.join(PROGRAMS, 'esbuild'), glue, { env });
  });
}

function checkBudget() {
  const wasm = readFileSync(path.join(DIST, 'statik_bg.wasm'));
  const gzipped = gzipSync(wasm, { level: 9 }).length;
  console.log(`build: statik_bg.wasm ${kilobytes(wasm.length)}, gzipped ${kilobytes(gzipped)} of ${kilobytes(WASM_BUDGET_BYTES)}`);
  if (gzipped > WASM_BUDGET_BYTES) throw new Failure('The WebAssembly is over its budget.');
}

/** @param {number} bytes */
function kilobytes(bytes) {
  return `${(bytes / 1000).toFixed(0)} kB`;
}

/** @param {NodeJS.ProcessEnv} env */
async function buildScripts(env) {
  const args = [
    ...Object.entries(SCRIPTS).map(([name, source]) => `${name}=${source}`),
    ...['--bundle', '--format=esm', '--platform=browser', '--target=es2022', '--charset=utf8', '--log-level=warning'],
    // The glue is one file for all of them, so that `new URL('./statik_bg.wasm', import.meta.url)` means one place.
    ...['--external:./statik.js', '--external:*/statik.js', '--external:better-sqlite3', `--outdir=${DIST}`],
  ];
  const inputs = [path.join(CHECKOUT, 'web/sdk'), path.join(CHECKOUT, 'worker')];
  await step('scripts', inputs, [packageVersion('esbuild'), ...args], Object.keys(SCRIPTS).map((name) => `${name}.js`), () =>
    run(path.join(PROGRAMS, 'esbuild'), args, { cwd: CHECKOUT, env }));
}

/** @param {NodeJS.ProcessEnv} env */
async function buildTypes(env) {
  const configuration = path.join(CHECKOUT, 'tsconfig.types.json');
  const sources = path.join(CHECKOUT, 'web/sdk/src');
  const inputs = [sources, configuration, path.join(CHECKOUT, 'tsconfig.json')];
  const entries = ['index.d.ts', 'sync.d.ts', 'kv.d.ts', 'node.d.ts'];
  await step('types', inputs, [packageVersion('typescript')], [...entries, 'types.d.ts'], async () => {
    const emitted = path.join(STAMPS, 'types');
    rmSync(emitted, { recursive: true, force: true });
    await run(path.join(PROGRAMS, 'tsc'), ['--project', configuration, '--outDir', emitted], { cwd: CHECKOUT, env });
    // tsc reads declaration files but does not pass them on.
    copyFileSync(path.join(sources, 'types.d.ts'), path.join(emitted, 'types.d.ts'));
    for (const file of filesUnder(DIST)) if (file.endsWith('.d.ts')) rmSync(file);
    for (const name of reachable(emitted, entries)) cpSync(path.join(emitted, name), path.join(DIST, name));
  });
}

/**
 * The declaration files that those given refer to, with them: the rest is nobody's to import.
 * @param {string} folder
 * @param {readonly string[]} entries
 */
function reachable(folder, entries) {
  const names = new Set(entries);
  for (const name of names) {
    const text = readFileSync(path.join(folder, name), 'utf8');
    for (const [, module] of text.matchAll(/\bfrom '(\.[\w./-]+)\.js'/g)) names.add(path.join(path.dirname(name), `${module}.d.ts`));
  }
  return names;
}

/**
 * Fills Trunk's staging folder with what the demo needs beside its page: its script, its static files, the sample
 * database if there is one, and dist/ as statik/, where the page's import map looks for it.
 * @param {NodeJS.ProcessEnv} env
 */
async function buildSite(env) {
  const site = env.TRUNK_STAGING_DIR;
  if (!site) throw new Failure('`--site` is for Trunk, which says in TRUNK_STAGING_DIR where it builds: run `npm start`.');
  const args = ['web/demo/src/main.ts', '--bundle', '--format=esm', '--target=es2022', '--charset=utf8', '--external:statik-storage', '--log-level=warning', `--outdir=${site}`];
  await run(path.join(PROGRAMS, 'esbuild'), args, { cwd: CHECKOUT, env });
  cpSync(DIST, path.join(site, 'statik'), { recursive: true });
  const files = path.join(CHECKOUT, 'web/demo/public');
  if (existsSync(files)) cpSync(files, site, { recursive: true });
  makeSample();
  if (existsSync(SAMPLE)) copyFileSync(SAMPLE, path.join(site, path.basename(SAMPLE)));
}

/**
 * Runs a step of the build, unless its outputs in dist/ were made from these very inputs.
 * @param {string} name
 * @param {readonly string[]} inputs files and folders
 * @param {readonly string[]} settings whatever else decides the result
 * @param {readonly string[]} outputs names in dist/
 * @param {() => Promise<void>} work
 */
async function step(name, inputs, settings, outputs, work) {
  const hash = createHash('sha256').update(JSON.stringify(settings));
  for (const file of inputs.flatMap(filesUnder)) hash.update(`${path.relative(CHECKOUT, file)}\0`).update(readFileSync(file));
  const digest = hash.digest('hex');
  const stamp = path.join(STAMPS, `${name}.stamp`);
  const upToDate = existsSync(stamp) && readFileSync(stamp, 'utf8') === digest && outputs.every((output) => existsSync(path.join(DIST, output)));
  if (upToDate) return;
  rmSync(stamp, { force: true });
  await work();
  writeFileSync(stamp, digest);
}

/** @param {string} root @returns {string[]} */
function filesUnder(root) {
  if (statSync(root).isFile()) return [root];
  return readdirSync(root).filter((name) => name !== 'node_modules').sort().flatMap((name) => filesUnder(path.join(root, name)));
}

/** @param {string} name */
function packageVersion(name) {
  return JSON.parse(readFileSync(path.join(CHECKOUT, 'node_modules', name, 'package.json'), 'utf8')).version;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await command(async () => {
    const env = await setup(NEEDS);
    await build(env);
    if (process.argv.includes('--site')) await buildSite(env);
  });
}
