/**
 * Whole database files in and out, as streams, in constant memory: a bounded number of chunks is on the way to the
 * engine at any time, and an export reads only what is asked for.
 *
 * Invariant: however a transfer ends, its engine is given back, and an import that did not finish leaves no trace.
 */
import { failure } from './errors.js';
import { transferOptions } from './options.js';
import type { EngineMethods } from './protocol.js';
import type { Remote } from './rpc.js';
import type { DatabaseInfo, ImportSource, TransferOptions } from './types.js';

/** What goes in one message. */
const CHUNK_BYTES = 1024 * 1024;
/** Chunks that the engine has not yet acknowledged. */
const WINDOW = 4;

/** Streams `source` into the engine, which validates it and then replaces the database `name`. */
export async function importInto(
  remote: Remote<EngineMethods>, name: string, source: ImportSource, options: TransferOptions | undefined,
): Promise<DatabaseInfo> {
  const { signal: given, onProgress } = transferOptions(options);
  const signal = given === undefined ? remote.ended : AbortSignal.any([given, remote.ended]);
  signal.throwIfAborted();
  const { stream, totalBytes } = opened(source);
  const reader = stream.getReader();
  // Ends a read that waits for a source which has nothing to give.
  const onAbort = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener('abort', onAbort);
  let id: number | undefined;
  try {
    id = await remote.call('importBegin', name);
    await writeAll(remote, id, reader, signal, (doneBytes) => onProgress({ doneBytes, ...(totalBytes !== undefined && { totalBytes }) }));
    const finishing = id;
    id = undefined;
    return await remote.call('importFinish', finishing);
  } catch (error) {
    // What the source or the engine says to being stopped adds nothing to what went wrong before.
    await reader.cancel(error).catch(() => {});
    if (id !== undefined) await remote.call('importAbort', id).catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    reader.releaseLock();
  }
}

/** The database file as the engine reads it. `release` is called once, when the stream has ended in whatever way. */
export async function exportFrom(
  remote: Remote<EngineMethods>, name: string, options: TransferOptions | undefined, release: () => void,
): Promise<ReadableStream<Uint8Array>> {
  const { signal: given, onProgress } = transferOptions(options);
  const signal = given === undefined ? remote.ended : AbortSignal.any([given, remote.ended]);
  signal.throwIfAborted();
  const { id, sizeBytes: totalBytes } = await remote.call('exportBegin', name);
  let doneBytes = 0;
  let onAbort = () => {};
  let ending: Promise<void> | undefined;
  const end = () => ending ??= (async () => {
    signal.removeEventListener('abort', onAbort);
    await remote.call('exportClose', id).finally(release);
  })();
  return new ReadableStream<Uint8Array>({
    start(controller) {
      onAbort = () => {
        controller.error(signal.reason);
        // The reader learns of the abort; a close that fails means that the engine is gone, and the export with it.
        end().catch(() => {});
      };
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    },
    async pull(controller) {
      const chunk = await remote.call('exportRead', id, CHUNK_BYTES).catch(async (error: unknown) => {
        await end().catch(() => {});
        throw error;
      });
      // Aborted or cancelled meanwhile.
      if (ending) return;
      if (chunk === undefined) {
        await end();
        controller.close();
        return;
      }
      doneBytes += chunk.byteLength;
      onProgress({ doneBytes, totalBytes });
      controller.enqueue(chunk);
    },
    cancel: end,
  }, { highWaterMark: 1 });
}

async function writeAll(
  remote: Remote<EngineMethods>, id: number, reader: ReadableStreamDefaultReader<unknown>,
  signal: AbortSignal, onWritten: (doneBytes: number) => void,
): Promise<void> {
  const window: Promise<void>[] = [];
  let failed: { error: unknown } | undefined;
  let doneBytes = 0;
  for (;;) {
    const { value: chunk, done } = await reader.read();
    signal.throwIfAborted();
    if (done) break;
    if (!(chunk instanceof Uint8Array)) {
      throw failure('Invalid', `import: the stream must yield Uint8Arrays; it yielded ${Object.prototype.toString.call(chunk)}`);
    }
    for (let start = 0; start < chunk.byteLength; start += CHUNK_BYTES) {
      if (window.length === WINDOW) await window.shift();
      if (failed) throw failed.error;
      signal.throwIfAborted();
      // A copy, so that the source's buffer stays its own.
      const piece = chunk.slice(start, start + CHUNK_BYTES);
      const { byteLength } = piece;
      window.push(remote.send('importWrite', [id, piece], { transfer: [piece.buffer] }).result.then(
        () => onWritten(doneBytes += byteLength),
        (error: unknown) => void (failed ??= { error }),
      ));
    }
  }
  await Promise.all(window);
  if (failed) throw (failed as { error: unknown }).error;
  signal.throwIfAborted();
}

function opened(source: ImportSource): { stream: ReadableStream<unknown>; totalBytes: number | undefined } {
  if (source instanceof ReadableStream) {
    if (source.locked) throw failure('Invalid', 'import: the stream is locked by another reader');
    return { stream: source, totalBytes: undefined };
  }
  if (source instanceof Blob) return { stream: source.stream(), totalBytes: source.size };
  if (source instanceof Uint8Array) {
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(source);
        controller.close();
      },
    });
    return { stream, totalBytes: source.byteLength };
  }
  throw failure('Invalid', 'import: the source must be a ReadableStream, a Blob or a Uint8Array');
}
