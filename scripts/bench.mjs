/**
 * `npm run bench`: sets up, builds, and runs the benchmark. Arguments are tests/bench/run.mjs's.
 */

import { build, NEEDS } from './build.mjs';
import { command, run } from './process.mjs';
import { CHECKOUT, setup } from './setup.mjs';

await command(async () => {
  const env = await setup([...NEEDS, 'browsers']);
  await build(env);
  await run(process.execPath, ['tests/bench/run.mjs', ...process.argv.slice(2)], { cwd: CHECKOUT, env });
});
