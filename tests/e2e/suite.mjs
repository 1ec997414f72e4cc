/** All end-to-end tests in one process, so that they share its browsers; `STATIK_BROWSER` chooses one of them. */
import { readdirSync } from 'node:fs';

const files = readdirSync(new URL('./', import.meta.url)).filter((name) => name.endsWith('.test.mjs')).sort();
for (const file of files) await import(`./${file}`);
