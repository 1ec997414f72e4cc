/**
 * Fuzzing: builds the targets with the fuzzer's instrumentation, and runs each with as many inputs as are worth a minute
 * for all, or, in search of more, for its part of some seconds.
 *
 *   node tests/fuzz/run.mjs [--seconds=600] [--seed=1] [target …]
 *
 * Each begins with the same inputs, made by `seeds`, and the seed that is printed. What follows are the same inputs, too,
 * so that without `--seconds` every machine finds the same. An input that fails is kept below the target folder and named;
 * `… <target> <input>` of the program that is printed runs it again.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ask, attempt, command, Failure, run } from '../../scripts/process.mjs';
import { CHECKOUT, setup } from '../../scripts/setup.mjs';

/** How many inputs each gets: about 20 s where others are at work, too. */
const RUNS = { log: 500_000, journal: 50_000, store: 30_000 };
const TARGETS = Object.keys(RUNS);
const FOLDER = path.dirname(fileURLToPath(import.meta.url));
const BUILD = path.join(process.env.CARGO_TARGET_DIR ?? path.join(CHECKOUT, 'target'), 'fuzz');
/** What a stable compiler has for libFuzzer: counters at every edge, and a table that says where those are. */
const INSTRUMENTATION = ['passes=sancov-module', 'llvm-args=-sanitizer-coverage-level=4', 'llvm-args=-sanitizer-coverage-inline-8bit-counters', 'llvm-args=-sanitizer-coverage-pc-table'];
/** An input that takes longer hangs, and a target that needs more memory does not bound it. */
const LIMITS = ['-timeout=10', '-rss_limit_mb=1024'];
/** Without this the fuzzer looks every second for inputs that others may have found: what it tries then depends on the time. */
const ALONE = '-reload=0';
/** No target takes longer, however slow the machine; one that does hangs. */
const LIMIT_SECONDS = 15 * 60;

await command(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seconds: { type: 'string' }, seed: { type: 'string', default: '1' } },
  });
  const targets = positionals.length > 0 ? positionals : TARGETS;
  const unknown = targets.filter((target) => !TARGETS.includes(target));
  if (unknown.length > 0) throw new Failure(`There is no target ${unknown.join(', ')}; there are ${TARGETS.join(', ')}.`);
  const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
  if (seconds !== undefined && !(seconds > 0)) throw new Failure(`--seconds takes a number above 0, not ${values.seconds}.`);

  const env = await setup(['rust', 'cxx']);
  const rustflags = INSTRUMENTATION.map((flag) => `-C${flag}`).join(' ');
  // For a target that is named, build scripts are left without instrumentation.
  const host = /^host: (\S+)/m.exec(ask('rustc', ['-vV'], { env }).output)?.[1] ?? '';
  const programs = path.join(BUILD, host, 'release');
  await run('cargo', ['build', '--release', '--quiet', `--target=${host}`, `--target-dir=${BUILD}`], { cwd: FOLDER, env: { ...env, RUSTFLAGS: `${rustflags} --cfg=fuzzing` } });
  let failed = 0;
  const part = seconds && Math.ceil(seconds / targets.length);
  for (const target of targets) failed += await fuzz(programs, target, part, values.seed, env) ? 0 : 1;
  console.log(`${targets.length - failed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
});

/** @param {string} programs @param {string} target @param {number | undefined} seconds @param {string} seed @param {NodeJS.ProcessEnv} env */
async function fuzz(programs, target, seconds, seed, env) {
  const corpus = path.join(BUILD, 'corpus', target);
  const failures = path.join(BUILD, 'failures', target);
  const seeds = path.join(BUILD, 'seeds', target);
  for (const folder of [corpus, seeds]) rmSync(folder, { recursive: true, force: true });
  for (const folder of [corpus, failures, seeds]) mkdirSync(folder, { recursive: true });
  const program = path.join(programs, target);
  await run(path.join(programs, 'seeds'), [target, seeds], { env });
  const amount = seconds === undefined ? `-runs=${RUNS[/** @type {keyof typeof RUNS} */ (target)]}` : `-max_total_time=${seconds}`;
  // Named in order: that of a folder is the file system's.
  const inputs = `-seed_inputs=${readdirSync(seeds).sort().join(',')}`;
  const args = [`-seed=${seed}`, amount, ALONE, ...LIMITS, `-artifact_prefix=${failures}/`, '-print_final_stats=1', inputs, corpus];
  const begin = Date.now();
  const { ok, output } = await attempt(program, args, { cwd: seeds, env: { ...env, RUST_BACKTRACE: '1' }, quiet: true, limitMs: (seconds === undefined ? LIMIT_SECONDS : seconds + 60) * 1000 });
  const took = ((Date.now() - begin) / 1000).toFixed(0);
  const runs = /stat::number_of_executed_units: *(\d+)/.exec(output)?.[1];
  const coverage = [...output.matchAll(/ cov: (\d+)/g)].at(-1)?.[1];
  const good = ok && Number(runs) > 0;
  console.log(`fuzz ${target}: seed ${seed}, ${took} s, ${runs ?? 'no'} runs, ${coverage ?? 'no'} edges: ${good ? 'nothing found' : 'FAILED'}`);
  if (!good) console.log(`${output.slice(-20_000)}\n${program}`);
  return good;
}
