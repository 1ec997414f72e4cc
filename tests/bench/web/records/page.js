/**
 * The page: tests/bench/records.mjs calls `globalThis.bench(engine, scene)` for one engine at a time, and
 * `globalThis.clear()` when a scene has had all its rounds.
 *
 * Invariants: what is timed begins on a database that was made for it, or, in scenes that only read, was written once; it
 * ends when the engine tells it as done; a wrong answer is an error, not a number.
 */
import { nextTask } from '../tasks.js';
import { open } from './engines.js';
import { scenes } from './scenes.js';

/** Databases of a scene that only reads, by engine. */
const kept = new Map();
let made = 0;

async function prepared(engine, { indexes, stored }) {
  made += 1;
  const db = await open[engine](`bench${made}`, indexes);
  await stored?.(db);
  return db;
}

async function destroy(db) {
  await db.close();
  for (const name of db.names()) {
    await new Promise((resolve, reject) => Object.assign(indexedDB.deleteDatabase(name), { onsuccess: resolve, onerror: reject }));
  }
}

/** Milliseconds. */
globalThis.bench = async (engine, name) => {
  const scene = scenes[name];
  const db = kept.get(engine) ?? await prepared(engine, scene);
  if (scene.stored) kept.set(engine, db);
  const data = scene.data();
  await nextTask();
  const startedAt = performance.now();
  const answer = await scene.run(db, data);
  const ms = performance.now() - startedAt;
  await scene.check(db, data, answer);
  if (!scene.stored) await destroy(db);
  return ms;
};

globalThis.clear = async () => {
  for (const db of kept.values()) await destroy(db);
  kept.clear();
};
