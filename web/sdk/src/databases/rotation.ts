/**
 * Rotation: what older data keys sealed is sealed anew under the current one, in the background, and then the older
 * keys are dropped. It may be stopped anywhere, and goes on from about there.
 *
 * Passes go over all records. The first does the work, while others may still seal with older keys. Then it is made
 * certain that they do not, and passes follow until one has found nothing to do.
 *
 * Invariants:
 * - Keys are dropped only after a pass that began once nobody sealed with them any more, saw every record, and found
 *   none that was not current.
 * - A record is replaced only while it is what was read: what was written meanwhile stays.
 * - What is remembered of a pass is never ahead of what was done, and counts for the key alone that it was made for.
 * - A record that cannot be opened keeps no other from being sealed anew, but keeps the older keys.
 *
 * It knows neither the database nor the keys: a `Source` has the one, `reseal` the other.
 */
import { failure, StatikError } from '../errors.js';

export interface SealedRecord {
  sealed: Uint8Array;
}

/** A record as it was read, and what to put in the place of its bytes. */
export interface Replacement<R extends SealedRecord> {
  record: R;
  sealed: Uint8Array;
}

/** How far a rotation has come. Plain, as JSON or structured clone take it if they take the cursor. */
export interface Position<C> {
  /** The id of the data key under which everything shall be. */
  target: number;
  /** From 0. */
  pass: number;
  /** Records that this pass has sealed anew so far. */
  resealed: number;
  /** Records that this pass could not open so far. */
  unreadable: number;
  /** Everything up to here was seen in this pass. Absent at its start. */
  cursor?: C;
}

/** Where the records are. `R` has what tells a record's place, `C` tells where a batch ended. */
export interface Source<R extends SealedRecord, C> {
  /** The records that follow the cursor, in an order that does not change. No cursor comes back where they end. */
  nextBatch(cursor?: C): Promise<{ records: readonly R[]; cursor?: C }>;
  /** Puts these bytes where the stored ones still are those of the record; leaves alone what was changed or removed. */
  replace(replacements: readonly Replacement<R>[]): Promise<void>;
  loadPosition(): Promise<Position<C> | undefined>;
  /** Undefined: there is no rotation any more. */
  savePosition(position: Position<C> | undefined): Promise<void>;
  /**
   * Resolves once nobody seals with an older key any more, now or later: whoever has opened the database before its
   * current key was there has been told of it, or is gone. It may be called more than once.
   */
  settle(): Promise<void>;
  /** Drops all data keys but the target, and may find them dropped already. */
  dropOlderKeys(): Promise<void>;
}

export interface RotationOptions<C> {
  /** Stops between two batches. */
  signal?: AbortSignal;
  /** After each batch. */
  onProgress?: (position: Readonly<Position<C>>) => void;
}

/** After so many passes that all found something, somebody seals with an older key all the while. */
const MAX_PASSES = 8;

/**
 * Seals anew until all is under the key `target`, and drops the others. It goes on where an earlier call has stopped.
 *
 * @param reseal what to put in the place of a record's bytes; undefined if they are under `target` already
 * @throws `Corrupt` if there are records that `reseal` cannot open (it fails with `Corrupt` or `Permission`): all
 * others are sealed anew, the older keys stay. `Conflict` if older keys are still in use. What else `source` and
 * `reseal` throw, and the signal's reason.
 */
export async function rotate<R extends SealedRecord, C>(
  source: Source<R, C>,
  target: number,
  reseal: (record: R) => Uint8Array | undefined | Promise<Uint8Array | undefined>,
  options: RotationOptions<C> = {},
): Promise<void> {
  const saved = await source.loadPosition();
  let position = saved?.target === target ? saved : start<C>(target, 0);
  let isSettled = false;
  for (let passes = 0; passes < MAX_PASSES; passes += 1) {
    options.signal?.throwIfAborted();
    if (position.pass > 0 && !isSettled) {
      await source.settle();
      isSettled = true;
    }
    const done = await pass(source, position, reseal, options);
    if (done.position.pass > 0 && done.position.resealed === 0 && done.position.unreadable === 0) {
      // In this order: what is remembered must not outlive the keys, which a backup may bring back.
      await source.savePosition(undefined);
      return source.dropOlderKeys();
    }
    position = start(target, done.position.pass + 1);
    await source.savePosition(position);
    if (done.position.pass > 0 && done.position.unreadable > 0) {
      const first = done.unreadable ? `; one of them: ${done.unreadable.message}` : '';
      throw failure('Corrupt', `sealing anew: ${done.position.unreadable} records cannot be opened, and the older data keys are kept${first}`);
    }
  }
  throw failure('Conflict', `sealing anew: after ${MAX_PASSES} passes there are still records under older data keys; somebody goes on to use them`);
}

function start<C>(target: number, pass: number): Position<C> {
  return { target, pass, resealed: 0, unreadable: 0 };
}

/** The rest of a pass: what it came to, and why a record could not be opened, if one could not in this call. */
async function pass<R extends SealedRecord, C>(
  source: Source<R, C>,
  from: Position<C>,
  reseal: Parameters<typeof rotate<R, C>>[2],
  { signal, onProgress }: RotationOptions<C>,
): Promise<{ position: Position<C>; unreadable: StatikError | undefined }> {
  let position = from;
  let unreadable: StatikError | undefined;
  for (;;) {
    signal?.throwIfAborted();
    const { records, cursor } = await source.nextBatch(position.cursor);
    const replacements: Replacement<R>[] = [];
    let failed = 0;
    for (const record of records) {
      try {
        const sealed = await reseal(record);
        if (sealed !== undefined) replacements.push({ record, sealed });
      } catch (thrown) {
        const error = StatikError.from(thrown);
        if (error.code !== 'Corrupt' && error.code !== 'Permission') throw thrown;
        unreadable ??= error;
        failed += 1;
      }
    }
    if (replacements.length > 0) await source.replace(replacements);
    const { cursor: _, ...counts } = position;
    position = {
      ...counts,
      resealed: counts.resealed + replacements.length,
      unreadable: counts.unreadable + failed,
      ...(cursor !== undefined && { cursor }),
    };
    onProgress?.(position);
    // The end is remembered by what comes after it.
    if (cursor === undefined) return { position, unreadable };
    await source.savePosition(position);
  }
}
