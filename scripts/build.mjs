/**
 * Builds the npm package into dist/: the WebAssembly with its glue, the SDK, the worker scripts and the types.
 *
 *   crates/runtime ─cargo─▶ wasm-bindgen ─▶ wasm-opt ─▶ dist/{statik,records}.js, dist/{statik,records}_bg.wasm
 *   web/sdk, worker ─esbuild─▶ dist/{index,sync,io,engine,…}.js      web/sdk ─tsc─▶ dist/….d.ts
 *
 * With `--site`, which is how Trunk's hook calls it, it also puts what the demo needs into $TRUNK_STAGING_DIR.
 * Invariants: a step whose inputs are what they were is skipped (stamps lie in the target folder); each WebAssembly module
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

/**
 * The WebAssembly modules: the crate's feature that each is made of, and what it may weigh on the wire, gzipped. Each has a
 * target folder of its own, since cargo tells the results of features apart by nothing else.
 */
const MODULES = [
  { name: 'statik', feature: 'engine', folder: '.', budgetBytes: 700_000 },
  { name: 'records', feature: 'records', folder: 'records', budgetBytes: 100_000 },
];

/** What rustc enables by default for wasm32; wasm-opt refuses, or spoils, what it is not told of. */
const WASM_FEATURES = ['bulk-memory', 'bulk-memory-opt', 'multivalue', 'mutable-globals', 'nontrapping-float-to-int', 'reference-types', 'sign-ext'];

/** What runs in a page or worker, or under Node, by its name in dist/. */
const SCRIPTS = {
  index: 'web/sdk/src/index.ts',
  sync: 'web/sdk/src/sync.ts',
  kv: 'web/sdk/src/kv.ts',
  node: 'web/sdk/src/node.ts',
  databases: 'web/sdk/src/databases/index.ts',
  'memory-indexeddb': 'web/sdk/src/idb/memory-indexeddb.ts',
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
  for (const module of MODULES) {
    await buildWasm(env, module);
    checkBudget(module);
  }
  await buildScripts(env);
  await buildTypes(env);
}

/** @param {NodeJS.ProcessEnv} env @param {typeof MODULES[number]} module */
async function buildWasm(env, { name, feature, folder }) {
  const target = path.join(TARGET, folder);
  const cargo = ['build', '--package=statik-runtime', '--no-default-features', `--features=${feature}`, '--release', '--target=wasm32-unknown-unknown', `--target-dir=${target}`];
  // cargo knows by itself what is up to date; the first build compiles all of SQLite.
  await run('cargo', cargo, { cwd: CHECKOUT, env });
  const linked = path.join(target, 'wasm32-unknown-unknown/release/statik_runtime.wasm');
  const raw = path.join(STAMPS, 'bindgen', name);
  const [script, wasm] = [`${name}.js`, `${name}_bg.wasm`];
  const bindgen = ['--target=web', '--omit-default-module-path', '--no-typescript', `--out-name=${name}`, `--out-dir=${raw}`, linked];
  const features = WASM_FEATURES.map((feature) => `--enable-${feature}`);
  const optimise = ['-O3', ...features, path.join(raw, wasm), '-o', path.join(DIST, wasm)];
  const glue = [path.join(raw, script), '--bundle', '--format=esm', '--target=es2022', '--charset=utf8', '--log-level=warning', `--outdir=${DIST}`];
  const versions = [ask('wasm-bindgen', ['--version'], { env }).output, packageVersion('binaryen'), packageVersion('esbuild')];
  await step(`wasm-${name}`, [linked], [...versions, ...bindgen, ...optimise, ...glue], [script, wasm], async () => {
    console.log(`build: wasm-bindgen and wasm-opt for ${wasm}`);
    await run('wasm-bindgen', bindgen, { env });
    await run(path.join(PROGRAMS, 'wasm-opt'), optimise, { env });
    // The glue and the snippets that it imports, as one file.
    await run(path.join(PROGRAMS, 'esbuild'), glue, { env });
  });
}

/** @param {typeof MODULES[number]} module */
function checkBudget({ name, budgetBytes }) {
  const wasm = readFileSync(path.join(DIST, `${name}_bg.wasm`));
  const gzipped = gzipSync(wasm, { level: 9 }).length;
  console.log(`build: ${name}_bg.wasm ${kilobytes(wasm.length)}, gzipped ${kilobytes(gzipped)} of ${kilobytes(budgetBytes)}`);
  if (gzipped > budgetBytes) throw new Failure(`${name}_bg.wasm is over its budget.`);
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
    ...['--external:*/memory-indexeddb.js', '--external:better-sqlite3', ...MODULES.flatMap(({ name }) => [`--external:./${name}.js`, `--external:*/${name}.js`])],
    `--outdir=${DIST}`,
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
  const entries = ['index.d.ts', 'sync.d.ts', 'databases/index.d.ts', 'kv.d.ts', 'node.d.ts'];
  await step('types', inputs, [packageVersion('typescript')], [...entries, 'types.d.ts'], async () => {
    const emitted = path.join(STAMPS, 'types');
    rmSync(emitted, { recursive: true, force: true });
    await run(path.join(PROGRAMS, 'tsc'), ['--project', configuration, '--outDir', emitted], { cwd: CHECKOUT, env });
    // tsc reads declaration files but does not pass them on.
    for (const name of readdirSync(sources)) if (name.endsWith('.d.ts')) copyFileSync(path.join(sources, name), path.join(emitted, name));
    for (const name of filesUnder(DIST)) if (name.endsWith('.d.ts')) rmSync(name);
    for (const name of reachable(emitted, entries)) {
      mkdirSync(path.dirname(path.join(DIST, name)), { recursive: true });
      copyFileSync(path.join(emitted, name), path.join(DIST, name));
    }
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
    for (const [, module = ''] of text.matchAll(/\b(?:from |import\()'(\.[^']+)\.js'/g)) names.add(path.join(path.dirname(name), `${module}.d.ts`));
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
