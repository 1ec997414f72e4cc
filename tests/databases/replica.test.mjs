/** Two replicas become alike, whatever each has missed: over messages, between storages of different kinds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTimestamp, NodeStorageAdapter, reconcile, Replica } from '../../dist/node.js';
import { mulberry32 } from '../e2e/random.mjs';

const SEED = Number(process.env.STATIK_SEED ?? 20_261_128);
const NOW = 1_800_000_000_000;

const stamp = (wallMs, node) => formatTimestamp({ wallMs, counter: 0, node: node.toString(16).padStart(16, '0') });

async function storage(entries) {
  const adapter = new NodeStorageAdapter({ now: () => NOW });
  await adapter.initialize(':memory:');
  await adapter.batchPut(new Map(entries));
  return adapter;
}

async function contents(adapter) {
  const keys = [];
  await adapter.iterateKeys((key) => void keys.push(key));
  return Promise.all(keys.map(async (key) => [key, await adapter.get(key)]));
}

/** A peer as a network makes one of it: bytes are copied, and counted. */
function overNetwork(replica, traffic) {
  return {
    respond: async (message) => {
      const answer = await replica.respond(Uint8Array.from(message));
      traffic.bytes += message.length + answer.length;
      return Uint8Array.from(answer);
    },
    records: async (ids) => structuredClone(await replica.records(ids.map((id) => Uint8Array.from(id)))),
    accept: async (records) => replica.accept(structuredClone(records)),
  };
}

test('ten differences among 10,000 records are found in few exchanges and little traffic, and gone afterwards', async () => {
  const common = Array.from({ length: 10_000 }, (_, index) => [`key ${index}`, { value: index, hlc: stamp(NOW - 20_000 + index, 1) }]);
  const here = await storage([...common, ...[1, 2, 3].map((n) => [`here ${n}`, { value: n, hlc: stamp(NOW, 1) }]), ['key 5', { value: 'newer', hlc: stamp(NOW, 1) }]]);
  const there = await storage([...common, ...[1, 2, 3, 4].map((n) => [`there ${n}`, { value: n, hlc: stamp(NOW, 2) }]), ['key 9', { value: undefined, isDeleted: true, hlc: stamp(NOW, 2) }]]);
  const traffic = { bytes: 0 };
  const { exchanges, sent, received } = await reconcile(await Replica.of(here), overNetwork(await Replica.of(there), traffic));
  assert.deepEqual(await contents(here), await contents(there));
  assert.equal((await there.get('key 5')).value, 'newer');
  assert.equal((await here.get('key 9')).isDeleted, true);
  assert.ok(exchanges <= 4 && traffic.bytes < 40_000, `${exchanges} exchanges, ${traffic.bytes} bytes`);
  // Of a key that both have, each sends its own.
  assert.deepEqual([sent, received], [5, 6]);
  const again = await reconcile(await Replica.of(here), overNetwork(await Replica.of(there), traffic));
  assert.deepEqual([again.sent, again.received], [0, 0]);
});

test('any two replicas become alike, and hold of each key what wins', async () => {
  console.log(`seed ${SEED}`);
  const random = mulberry32(SEED);
  for (let round = 0; round < 20; round++) {
    const side = (node) => Array.from({ length: Math.floor(random() * 300) }, () => {
      const isDeleted = random() < 0.2;
      return [`key ${Math.floor(random() * 200)}`, { value: isDeleted ? undefined : random(), hlc: stamp(NOW - Math.floor(random() * 50), node), ...(isDeleted && { isDeleted }) }];
    });
    const [here, there, expected] = [await storage(side(1)), await storage(side(2)), await storage([])];
    for (const adapter of [here, there]) for (const [key, record] of await contents(adapter)) await expected.put(key, record);
    await reconcile(await Replica.of(here), await Replica.of(there));
    for (const adapter of [here, there]) assert.deepEqual(await contents(adapter), await contents(expected), `round ${round}`);
    for (const adapter of [here, there, expected]) await adapter.close();
  }
});

test('messages of a stranger are refused, and nothing is changed', async () => {
  const adapter = await storage([['a', { value: 1, hlc: stamp(NOW, 1) }]]);
  const replica = await Replica.of(adapter);
  for (const bytes of [new Uint8Array(), new Uint8Array(1000), new TextEncoder().encode('{"hello":1}')]) {
    await assert.rejects(replica.respond(bytes), { name: 'StatikError', code: /Corrupt|Unsupported/ });
    assert.throws(() => replica.finish(bytes), { name: 'StatikError', code: /Corrupt|Unsupported/ });
  }
  await assert.rejects(replica.records([new Uint8Array(3)]), { name: 'StatikError', code: 'Invalid' });
  assert.equal((await contents(adapter)).length, 1);
});
