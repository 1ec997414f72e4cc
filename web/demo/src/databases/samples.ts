/** Sample records, always the same but for their times, with values of all kinds that JSON lacks. */
import type { Databases, NewEpisode } from 'statik-storage/databases';
import type { Transfer } from '../transfers.js';

const EPISODES = 10_000;
/** How many are stored in one transaction. */
const BATCH = 500;
const LOG_ENTRIES = 100;
const SPAN_MS = 90 * 86_400_000;
const TAGS = ['work', 'travel', 'reading', 'music', 'garden', 'cooking', 'family', 'sport'];
const VERBS = ['Planned', 'Finished', 'Discussed', 'Repaired', 'Learnt about', 'Postponed'];
const THINGS = ['the harbour walk', 'a letter to Ada', 'the old bicycle', 'two chapters', 'the tomato beds', 'a slow bread', 'the quarterly figures'];
const CONCEPTS = ['harbour', 'patience', 'sourdough', 'compost', 'counterpoint', 'tides'];
const SKILLS = ['bake', 'prune', 'sight-read', 'sail', 'solder'];

/** Adds episodes in batches, and a few records to the other stores. What was stored when it is cancelled stays. */
export async function makeSamples({ memory, state, logs }: Databases, { signal, onRecords }: Transfer): Promise<number> {
  const nowMs = Date.now();
  for (let first = 0; first < EPISODES; first += BATCH) {
    signal.throwIfAborted();
    await memory.storeEpisodes(Array.from({ length: BATCH }, (_, index) => episode(first + index, nowMs)));
    onRecords(first + BATCH, EPISODES);
  }
  const add = [
    ...CONCEPTS.map((name, index) => memory.storeConcept({ id: `concept-${index}`, name, related: new Set(CONCEPTS.slice(index + 1, index + 3)) })),
    ...SKILLS.map((name, index) => memory.storeSkill({ id: `skill-${index}`, name, practised: new Date(nowMs - index * 3_600_000), level: index / SKILLS.length })),
    ...Array.from({ length: LOG_ENTRIES }, (_, index) => entry(logs, index, nowMs)),
  ];
  await Promise.all(add);
  for (const step of [1, 2, 3]) {
    await state.saveUnitState('planner', { step, open: new Map([['harbour', step], ['bread', 4 - step]]) });
    await state.saveKernelState({ ticks: BigInt(step) * 1_000_000_000_000n, units: ['planner'] });
  }
  return EPISODES;
}

function episode(n: number, nowMs: number): NewEpisode {
  const tags = [TAGS[n % TAGS.length]!, TAGS[Math.floor(n / TAGS.length) % TAGS.length]!];
  return {
    timestamp: nowMs - Math.round((n * SPAN_MS) / EPISODES),
    // A prime step goes through all thousandths in no order that a person sees.
    salience: ((n * 619) % 1000) / 1000,
    tags,
    text: `${VERBS[n % VERBS.length]} ${THINGS[n % THINGS.length]}`,
    place: { name: n % 2 === 0 ? 'Home' : 'Harbour', position: [53.54 + (n % 10) / 100, 9.98] },
    vector: Float32Array.from([n % 7, n % 11, n % 13], (each) => each / 13),
    ...(n % 3 === 0 && { due: new Date(nowMs + n * 60_000) }),
    ...(n % 5 === 0 && { cost: BigInt(n) * 1_000_000_007n }),
  };
}

function entry(logs: Databases['logs'], n: number, nowMs: number): Promise<number> {
  const timestamp = nowMs - n * 3_600_000;
  if (n % 10 === 0) return logs.logError({ timestamp, message: `The tide table of day ${n} could not be read`, retried: n % 20 === 0 });
  if (n % 3 === 0) return logs.logDelta({ timestamp, path: `garden.beds.${n % 4}`, before: n, after: n + 1 });
  return logs.logAction({ timestamp, type: n % 2 === 0 ? 'plan' : 'recall', ms: n * 1.5 });
}
