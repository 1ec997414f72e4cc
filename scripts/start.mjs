/**
 * `npm start`: sets up, builds, and serves the demo until it is interrupted.
 *
 * Arguments go to `trunk serve`: `npm start -- --port 8081`.
 */

import { build, NEEDS } from './build.mjs';
import { command, run } from './process.mjs';
import { CHECKOUT, setup } from './setup.mjs';

await command(async () => {
  const env = await setup([...NEEDS, 'sample', 'trunk']);
  // Built here rather than in Trunk's hook alone, so that what the compiler says arrives as it says it.
  await build(env);
  console.log('start: serving the demo at http://127.0.0.1:8080, Ctrl-C ends it');
  await run('trunk', ['serve', ...process.argv.slice(2)], { cwd: CHECKOUT, env });
});
