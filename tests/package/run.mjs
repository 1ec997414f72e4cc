/** The package test: package.test.mjs, reported with counts at the end whatever the output is. */
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

run({ files: [fileURLToPath(new URL('package.test.mjs', import.meta.url))], concurrency: false })
  .on('test:fail', () => (process.exitCode = 1))
  .compose(spec)
  .pipe(process.stdout);
