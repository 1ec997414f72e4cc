/**
 * wa-sqlite's own SQL tests (MIT), run from the installed package on Statik: they want `describe`, `it` and `expect`, and a
 * context that gives them a SQLite to talk to, which web/wa-sqlite.js is.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

/** How many specs each file has. */
const SPECS = { sql_0001: 1, sql_0002: 1, sql_0003: 2, sql_0004: 1, sql_0005: 1 };

matrix('wa-sqlite', (place) => {
  for (const [name, count] of Object.entries(SPECS)) {
    test(name, async () => {
      const tab = await place.tab();
      await tab.load(`${place.server.origin}/wa-sqlite.html?store=${tab.store}`);
      const results = await tab.run(async (name) => runSpecs(name), name);
      assert.equal(results.length, count);
      for (const { name, failure, expectations } of results) {
        assert.equal(failure, undefined, `${name}: ${failure}`);
        assert.ok(expectations > 0, `${name} expected something`);
      }
    });
  }
});
