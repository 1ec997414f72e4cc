/**
 * better-sqlite3 with its binary: the tests under Node need it, the build does not.
 *
 * The binary comes from the tools' folder if it was built before; else it is downloaded, as the package itself would; else
 * it is built from the package's source, for which Node's own headers serve where they lie beside it (node-gyp would
 * download them). Invariants: it counts only after it has opened a database with this Node; a binary is kept under the
 * version of the package and of Node's binary interface.
 */

import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ask, Failure, run } from '../process.mjs';
import * as apt from './apt.mjs';
import { setupCxx } from './cxx.mjs';
import { toolsFolder } from './tools.mjs';

/**
 * Makes sure of better-sqlite3, which node_modules has without its binary.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} checkout
 */
export async function setupBetterSqlite3(env, checkout) {
  const folder = path.join(checkout, 'node_modules/better-sqlite3');
  const works = () => ask(process.execPath, ['-e', "new (require('better-sqlite3'))(':memory:').close()"], { cwd: checkout, env }).ok;
  if (works()) return;
  const binary = path.join(folder, 'build/Release/better_sqlite3.node');
  const { version } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const kept = path.join(toolsFolder(env), `better-sqlite3-${version}-node-${process.versions.modules}-${process.platform}-${process.arch}.node`);
  if (existsSync(kept)) {
    mkdirSync(path.dirname(binary), { recursive: true });
    copyFileSync(kept, binary);
    if (works()) return;
  }
  const downloaded = ask(path.join(checkout, 'node_modules/.bin/prebuild-install'), [], { cwd: folder, env }).ok && works();
  if (!downloaded) await build(folder, env);
  if (!works()) throw new Failure(`Missing: better-sqlite3 ${version} for this Node. It was built, but opens no database.`);
  mkdirSync(path.dirname(kept), { recursive: true });
  copyFileSync(binary, kept);
}

/** @param {string} folder @param {NodeJS.ProcessEnv} env */
async function build(folder, env) {
  await setupCxx(env);
  const missing = ['python3', 'make'].filter((program) => !ask(program, ['--version'], { env }).ok);
  if (missing.length > 0) await apt.install(missing, 'what better-sqlite3 is built with, about 20 s');
  console.log('setup: better-sqlite3, which the tests under Node use, about 2 min');
  await run('npm', ['run', '--silent', 'build-release'], { cwd: folder, env: { ...env, ...headers(env) } });
}

/** Where node-gyp finds the headers of this very Node, if they lie beside it and nobody has said otherwise. @param {NodeJS.ProcessEnv} env */
function headers(env) {
  const prefix = path.dirname(path.dirname(process.execPath));
  const file = path.join(prefix, 'include/node/node_version.h');
  const fits = existsSync(file) && readFileSync(file, 'utf8').includes(`#define NODE_MODULE_VERSION ${process.versions.modules}\n`);
  return fits && !env.npm_config_nodedir ? { npm_config_nodedir: prefix } : {};
}
