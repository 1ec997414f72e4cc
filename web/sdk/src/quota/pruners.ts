/**
 * What can be freed without loss: operations that all peers have, records that have expired, logs beyond their retention.
 *
 * Invariant: what may go is decided by those who keep it; nothing here knows better.
 */
import * as field from '../databases/fields.js';
import type { LogDatabase } from '../databases/logs.js';
import type { LogRetention } from '../databases/types.js';
import type { IStorageAdapter } from '../kv/types.js';
import type { Pruner } from './types.js';

/** Drops operations that every known peer has: the adapter holds those that one of them still needs. */
export function opLogPruner(name: string, adapter: Pick<IStorageAdapter, 'pruneOpLog'>): Pruner {
  return { name, stage: 'synced', prune: async () => ({ records: await adapter.pruneOpLog(Number.MAX_SAFE_INTEGER) }) };
}

/** Drops records whose `expiresMs` has passed. */
export function expiredPruner(name: string, adapter: Pick<IStorageAdapter, 'pruneExpired'>): Pruner {
  return { name, stage: 'expired', prune: async () => ({ records: await adapter.pruneExpired() }) };
}

/** Drops log entries beyond the retention. `Invalid` if that bounds neither age nor number. */
export function logPruner(name: string, logs: Pick<LogDatabase, 'pruneLogs'>, retention: LogRetention): Pruner {
  const { maxAgeMs, maxCount } = retention;
  if (maxAgeMs !== undefined) field.time('logPruner', 'maxAgeMs', maxAgeMs);
  if (maxCount !== undefined) field.count('logPruner', 'maxCount', maxCount, 0);
  if (maxAgeMs === undefined && maxCount === undefined) throw field.wrong('logPruner', 'retention', retention, 'one with maxAgeMs or maxCount');
  return {
    name,
    stage: 'expired',
    prune: async () => ({ records: Object.values(await logs.pruneLogs(retention)).reduce((sum, each) => sum + each, 0) }),
  };
}
