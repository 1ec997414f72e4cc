/**
 * `npm run bench`: sets up, builds, and runs the benchmark of SQL, tests/bench/run.mjs, whose arguments it takes; with
 * `records` as the first argument that of records, tests/bench/records.mjs.
 */

import { build, NEEDS } from './build.mjs';
import { command, run } from './process.mjs';
import { CHECKOUT, setup } from './setup.mjs';

await command(async () => {
  const env = await setup([...NEEDS, 'browsers']);
  await build(env);
  const [first, ...rest] = process.argv.slice(2);
  const args = first === 'records' ? ['tests/bench/records.mjs', ...rest] : ['tests/bench/run.mjs', ...process.argv.slice(2)];
  await run(process.execPath, args, { cwd: CHECKOUT, env });
});
