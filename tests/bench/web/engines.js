/**
 * The engines by name: where each runs, how durable a commit of it is when it returns, and how to open it.
 *
 * `open` resolves to what the workloads use: `exec(sql)`, `runEach(sql, paramRows)`, `queryEach(sql, paramRows)` (all
 * rows of all runs, as arrays), `all(sql)`, `close()`, and where the storage is persistent `reopen()`. Each of these
 * loops is written as that engine's documentation would have it, and may return a promise or not.
 *
 * `shared` engines can be opened by several workers at once. Where the workers join something that the page has open,
 * `host` opens that; what it resolves to has `port()` and `close()`, and a worker's `open` is given such a port.
 *
 * `durability` is what the engine's own code does at a commit, which a PRAGMA need not tell: OPFSWriteAheadVFS reports
 * synchronous=2 but does not flush until it is told `PRAGMA synchronous=full`.
 */

const FLUSHED = 'flushed at every commit';
const RELAXED = 'written, not flushed, at a commit';
const NONE = 'none';

/** @type {Record<string, { title: string, context: 'worker' | 'page', durability: string, shared?: boolean, host?: () => Promise<object>, open: (options: { port?: MessagePort, shared?: boolean }) => Promise<object> }>} */
export const engines = {
  'statik-bridge': {
    title: 'statik/sync, bridge',
    context: 'worker',
    durability: FLUSHED,
    shared: true,
    host: async () => (await import('./engines/statik.js')).openHost(),
    open: async ({ port }) => (await import('./engines/statik.js')).openSync('bridge', { port }),
  },
  'statik-direct': {
    title: 'statik/sync, direct',
    context: 'worker',
    durability: FLUSHED,
    open: async () => (await import('./engines/statik.js')).openSync('direct'),
  },
  'statik-promises': {
    title: 'statik, promises',
    context: 'page',
    durability: FLUSHED,
    open: async () => (await import('./engines/statik.js')).openPromises(),
  },
  opfs: {
    title: 'sqlite-wasm, opfs',
    context: 'worker',
    durability: FLUSHED,
    shared: true,
    open: async ({ shared }) => (await import('./engines/sqlite-wasm.js')).open('opfs', { shared }),
  },
  'opfs-sahpool': {
    title: 'sqlite-wasm, opfs-sahpool',
    context: 'worker',
    durability: FLUSHED,
    open: async () => (await import('./engines/sqlite-wasm.js')).open('opfs-sahpool'),
  },
  'opfs-sahpool-wal': {
    title: 'sqlite-wasm, opfs-sahpool, exclusive WAL',
    context: 'worker',
    durability: FLUSHED,
    open: async () => (await import('./engines/sqlite-wasm.js')).open('opfs-sahpool', { pragmas: 'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL' }),
  },
  'wa-write-ahead': {
    title: 'wa-sqlite, OPFSWriteAheadVFS, full',
    context: 'worker',
    durability: FLUSHED,
    shared: true,
    open: async () => (await import('./engines/wa-sqlite.js')).open('OPFSWriteAheadVFS', 'PRAGMA synchronous=full'),
  },
  'wa-write-ahead-relaxed': {
    title: 'wa-sqlite, OPFSWriteAheadVFS, default',
    context: 'worker',
    durability: RELAXED,
    shared: true,
    open: async () => (await import('./engines/wa-sqlite.js')).open('OPFSWriteAheadVFS'),
  },
  'wa-coop-sync': {
    title: 'wa-sqlite, OPFSCoopSyncVFS',
    context: 'worker',
    durability: FLUSHED,
    shared: true,
    open: async () => (await import('./engines/wa-sqlite.js')).open('OPFSCoopSyncVFS'),
  },
  memory: {
    title: 'sqlite-wasm, :memory:',
    context: 'worker',
    durability: NONE,
    open: async () => (await import('./engines/sqlite-wasm.js')).open('memory'),
  },
  'statik-memory': {
    title: 'statik/sync, :memory:',
    context: 'worker',
    durability: NONE,
    open: async () => (await import('./engines/statik.js')).openSync('direct', { database: ':memory:' }),
  },
};
