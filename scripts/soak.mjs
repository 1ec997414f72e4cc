/**
 * `npm run soak`: sets up, builds, and kills browsers amid commits. Arguments are tests/soak/run.mjs's.
 */

import { build, NEEDS } from './build.mjs';
import { command, run } from './process.mjs';
import { CHECKOUT, setup } from './setup.mjs';

await command(async () => {
  const env = await setup([...NEEDS, 'browsers']);
  await build(env);
  await run(process.execPath, ['tests/soak/run.mjs', ...process.argv.slice(2)], { cwd: CHECKOUT, env });
});
