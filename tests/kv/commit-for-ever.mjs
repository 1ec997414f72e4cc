/**
 * A process to be killed: commits a record and its operation again and again to the file that its argument names, and
 * writes the number of each commit that was acknowledged to standard output, before it begins the next.
 */
import { writeSync } from 'node:fs';
import { loadNode } from '../sdk/load.mjs';

const { NodeStorageAdapter } = await loadNode();
const adapter = new NodeStorageAdapter();
await adapter.initialize(process.argv[2]);
let number = (await adapter.getPendingOps()).length;
for (;;) {
  number += 1;
  const key = `k${number}`;
  const value = 'x'.repeat((number * 997) % 20_000);
  const hlc = adapter.clock.tick();
  await adapter.commit(new Map([[key, { value, hlc }]]), [{ key, opType: 'put', value, hlc }]);
  writeSync(1, `${number}\n`);
}
