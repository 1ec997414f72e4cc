/**
 * Fuzzing: builds the targets with the fuzzer's instrumentation, and runs each for its part of the time.
 *
 *   node tests/fuzz/run.mjs [--seconds=60] [--seed=1] [target …]
 *
 * Each begins with the same inputs, made by `seeds`, and the seed that is printed. An input that fails is kept below the
 * target folder and named; `… <target> <input>` of the program that is printed runs it again.
 */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ask, attempt, command, Failure, run } from '../../scripts/process.mjs';
import { CHECKOUT, setup } from '../../scripts/setup.mjs';

const TARGETS = ['log', 'journal', 'store'];
const FOLDER = path.dirname(fileURLToPath(import.meta.url));
const BUILD = path.join(process.env.CARGO_TARGET_DIR ?? path.join(CHECKOUT, 'target'), 'fuzz');
/** What a stable compiler has for libFuzzer: counters at every edge, and a table that says where those are. */
const INSTRUMENTATION = ['passes=sancov-module', 'llvm-args=-sanitizer-coverage-level=4', 'llvm-args=-sanitizer-coverage-inline-8bit-counters', 'llvm-args=-sanitizer-coverage-pc-table'];
/** An input that takes longer hangs, and a target that needs more memory does not bound it. */
const LIMITS = ['-timeout=10', '-rss_limit_mb=1024'];

await command(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
  });
  const targets = positionals.length > 0 ? positionals : TARGETS;
  const unknown = targets.filter((target) => !TARGETS.includes(target));
  if (unknown.length > 0) throw new Failure(`There is no target ${unknown.join(', ')}; there are ${TARGETS.join(', ')}.`);
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new Failure(`--seconds takes a number above 0, not ${values.seconds}.`);

  const env = await setup(['rust', 'cxx']);
  const rustflags = INSTRUMENTATION.map((flag) => `-C${flag}`).join(' ');
  // For a target that is named, build scripts are left without instrumentation.
  const host = /^host: (\S+)/m.exec(ask('rustc', ['-vV'], { env }).output)?.[1] ?? '';
  const programs = path.join(BUILD, host, 'release');
  await run('cargo', ['build', '--release', '--quiet', `--target=${host}`, `--target-dir=${BUILD}`], { cwd: FOLDER, env: { ...env, RUSTFLAGS: `${rustflags} --cfg=fuzzing` } });
  let failed = 0;
  for (const target of targets) failed += await fuzz(programs, target, Math.ceil(seconds / targets.length), values.seed, env) ? 0 : 1;
  console.log(`${targets.length - failed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
});

/** @param {string} programs @param {string} target @param {number} seconds @param {string} seed @param {NodeJS.ProcessEnv} env */
async function fuzz(programs, target, seconds, seed, env) {
  const corpus = path.join(BUILD, 'corpus', target);
  const failures = path.join(BUILD, 'failures', target);
  rmSync(corpus, { recursive: true, force: true });
  for (const folder of [corpus, failures]) mkdirSync(folder, { recursive: true });
  const program = path.join(programs, target);
  await run(path.join(programs, 'seeds'), [target, corpus], { env });
  const args = [`-seed=${seed}`, `-max_total_time=${seconds}`, ...LIMITS, `-artifact_prefix=${failures}/`, '-print_final_stats=1', corpus];
  const { ok, output } = await attempt(program, args, { env: { ...env, RUST_BACKTRACE: '1' }, quiet: true, limitMs: (seconds + 60) * 1000 });
  const runs = /stat::number_of_executed_units: *(\d+)/.exec(output)?.[1];
  const coverage = [...output.matchAll(/ cov: (\d+)/g)].at(-1)?.[1];
  const good = ok && Number(runs) > 0;
  console.log(`fuzz ${target}: seed ${seed}, ${seconds} s, ${runs ?? 'no'} runs, ${coverage ?? 'no'} edges: ${good ? 'nothing found' : 'FAILED'}`);
  if (!good) console.log(`${output.slice(-20_000)}\n${program}`);
  return good;
}
