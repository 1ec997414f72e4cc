/**
 * Web Locks, for two questions: who owns a store, and is a worker still alive? A worker holds a lock of its own for life;
 * the browser frees it when the worker ends in whatever way, which is the one sign of death that cannot be missed.
 *
 * Where Web Locks are missing (a page that is no secure context) OPFS is missing too, and nothing here does anything.
 */
import { failure } from './errors.js';

/** Frees a held lock, or stops watching one. */
export type Release = () => void;

/** The name of the lock that makes its holder the owner of a store. */
export function storeLock(store: string): string {
  return `statik:${store}`;
}

/** A lock name that no other worker has. */
export function lifeLock(store: string, worker: 'io' | 'engine'): string {
  return `statik:${store}:${worker}:${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
}

/** Takes a lock and keeps it. */
export async function hold(name: string, options: LockOptions = {}): Promise<Release> {
  if (globalThis.navigator?.locks === undefined) return () => {};
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, options, (lock) => {
      if (lock === null) return reject(new DOMException('the lock is taken', 'TimeoutError'));
      return new Promise<void>((release) => resolve(release));
    }).catch(reject);
  });
}

/** Becomes the owner of a store, or fails with `Busy` after `waitMs`. */
export async function holdStore(store: string, waitMs: number): Promise<Release> {
  try {
    return await hold(storeLock(store), waitMs === 0 ? { ifAvailable: true } : { signal: AbortSignal.timeout(waitMs) });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'TimeoutError') {
      throw failure('Busy', `store "${store}" is open in another tab or worker, or a second time in this one; waited ${waitMs} ms for it`);
    }
    throw error;
  }
}

/** Calls `onFree` when the holder of a lock has let go of it. */
export function watch(name: string, onFree: () => void): Release {
  if (globalThis.navigator?.locks === undefined) return () => {};
  const watching = new AbortController();
  navigator.locks.request(name, { signal: watching.signal }, onFree).catch((error: unknown) => {
    // Asked to stop watching: not a failure.
    if (!watching.signal.aborted) throw error;
  });
  return () => watching.abort();
}
