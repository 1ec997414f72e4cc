/**
 * A process that shares a file with others of its kind: waits until all have come, then writes in every way that reads
 * first. Arguments: the file, its own name, how many there are. Any failure ends it with an error.
 */
import { loadNode } from '../sdk/load.mjs';

const [, , file, name, count] = process.argv;
const { NodeStorageAdapter } = await loadNode();
const adapter = new NodeStorageAdapter({ busyTimeoutMs: 60_000 });
await adapter.initialize(file);
await adapter.registerPeer(name);
while ((await adapter.peers()).length < Number(count));
for (let round = 0; round < 150; round += 1) {
  const id = await adapter.appendOpLog({ key: name, opType: 'put', value: round, hlc: adapter.clock.tick() });
  await adapter.acknowledge(name, id);
  await adapter.remove('shared');
}
await adapter.close();
