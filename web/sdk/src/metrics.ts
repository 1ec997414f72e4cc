/**
 * From counters, as the threads give them, to metrics, as people read them.
 *
 * Counters add up: several connections are summed first, and percentiles are taken of the sum.
 */
import { ignoreClosed } from './errors.js';
import type { Settings } from './options.js';
import type { Counters } from './protocol.js';
import type { Timings } from './statik.js';
import type { CacheMetrics, Metrics, PoolMetrics, QueryMetrics } from './types.js';

/** What nobody has used yet. */
export const NO_TIMINGS: Timings = { count: 0, totalMs: 0, maxMs: 0, buckets: [], cacheHits: 0, cacheMisses: 0 };

/** Two connections as if they were one. */
export function sum(a: Timings, b: Timings): Timings {
  const [longer, shorter] = a.buckets.length < b.buckets.length ? [b.buckets, a.buckets] : [a.buckets, b.buckets];
  return {
    count: a.count + b.count,
    totalMs: a.totalMs + b.totalMs,
    maxMs: Math.max(a.maxMs, b.maxMs),
    buckets: longer.map((count, bucket) => count + (shorter[bucket] ?? 0)),
    cacheHits: a.cacheHits + b.cacheHits,
    cacheMisses: a.cacheMisses + b.cacheMisses,
  };
}

/** What is told of a database's statements. */
export function queryMetrics(timings: Timings): QueryMetrics {
  const { count, totalMs, maxMs } = timings;
  return { count, totalMs, maxMs, p50Ms: percentile(timings, 0.5), p95Ms: percentile(timings, 0.95), p99Ms: percentile(timings, 0.99) };
}

/** What is told of a cache. */
export function cacheMetrics(hits: number, misses: number): CacheMetrics {
  return { hits, misses, ...(hits + misses > 0 && { hitRate: hits / (hits + misses) }) };
}

/** What is told of a store. */
export function storeMetrics({ operations, usage }: Counters, pools: PoolMetrics[]): Metrics {
  const { logBytes, newest, durable, checkpointed, commits, flushes, cacheHits, cacheMisses } = usage;
  return {
    operations,
    log: {
      bytes: logBytes, newest, durable, checkpointed, commits, flushes, ...(flushes > 0 && { commitsPerFlush: commits / flushes }),
    },
    cache: cacheMetrics(cacheHits, cacheMisses),
    pools,
  };
}

/** Tells the app the metrics again and again, if it asked for that, until what is returned is called or the store has ended. */
export function report({ onMetrics, metricsIntervalMs }: Settings, read: () => Promise<Metrics>): () => void {
  if (onMetrics === undefined) return () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  const tick = async () => {
    const metrics = await read().catch(ignoreClosed);
    if (metrics === undefined || stopped) return;
    timer = setTimeout(tick, metricsIntervalMs);
    onMetrics(metrics);
  };
  timer = setTimeout(tick, metricsIntervalMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** The upper end of the bucket in which this share of the statements is complete: bucket `i` ends at 2^((i+1)/4) µs. */
function percentile({ buckets, count, maxMs }: Timings, share: number): number {
  let rest = Math.ceil(count * share);
  if (rest === 0) return 0;
  const bucket = buckets.findIndex((statements) => (rest -= statements) <= 0);
  return bucket === -1 ? maxMs : Math.min(2 ** ((bucket + 1) / 4) / 1000, maxMs);
}
