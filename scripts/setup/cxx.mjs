/** A compiler for C++, which libFuzzer and better-sqlite3 are written in. */

import { ask, Failure } from '../process.mjs';
import * as apt from './apt.mjs';

/**
 * Makes sure of a compiler for C++ where Rust's build scripts look for one.
 * @param {NodeJS.ProcessEnv} env
 */
export async function setupCxx(env) {
  const compiler = env.CXX ?? 'c++';
  const compiles = () => ask(compiler, ['-x', 'c++', '-c', '-o', '/dev/null', '-'], { env, input: '#include <vector>\nstd::vector<int> probe;\n' }).ok;
  if (compiles()) return;
  if (apt.hasApt()) await apt.install(['g++'], 'a C++ compiler, about 20 s');
  if (!compiles()) throw new Failure(`Missing: a compiler for C++ with its library. Install one, or name it in CXX; ${compiler} does not compile.`);
}
