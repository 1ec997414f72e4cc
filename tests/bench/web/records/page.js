/**
 * The page: for one engine at a time tests/bench/records.mjs calls `prepare(engine, scene)`, `run()` and `finish()`, which
 * are three so that it can tell what is between; and `clear()` when a scene has had all its rounds.
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

/** What `run` is about, and what came of it. */
let current;

async function opened(engine, { indexes, stored }) {
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

globalThis.prepare = async (engine, name) => {
  const scene = scenes[name];
  const db = kept.get(engine) ?? await opened(engine, scene);
  if (scene.stored) kept.set(engine, db);
  current = { scene, db, data: scene.data() };
};

/** Milliseconds. */
globalThis.run = async () => {
  const { scene, db, data } = current;
  await nextTask();
  const startedAt = performance.now();
  current.answer = await scene.run(db, data);
  return performance.now() - startedAt;
};

globalThis.finish = async () => {
  const { scene, db, data, answer } = current;
  await scene.check(db, data, answer);
  if (!scene.stored) await destroy(db);
  current = undefined;
};

globalThis.clear = async () => {
  for (const db of kept.values()) await destroy(db);
  kept.clear();
};
