/**
 * Whether the origin may be about to run out of room.
 *
 * Where there is no room for a record, Firefox (140) takes back what its transaction has done before, and tells that it was
 * aborted; but what was requested behind that record by then, stays. So where room may be short nothing is requested before
 * the answer to what was requested before it. This costs time, and so is done only there.
 *
 * Not covered: a disk that is full although the origin has quota left.
 */

/** With less left than this, room is short: more than what is written between two looks. */
const SHORT_BYTES = 256 * 1024 * 1024;
/** So long a look is good for. */
const LOOK_MS = 5_000;

let isShort = false;
let lookedMs = -Infinity;

/** By the last look; the next one is begun if that is long ago. */
export function isRoomShort(): boolean {
  if (performance.now() - lookedMs > LOOK_MS) void look();
  return isShort;
}

/** Looks now. A browser that does not tell is taken to have room. */
export async function look(): Promise<void> {
  lookedMs = performance.now();
  const { quota, usage } = await estimate();
  isShort = quota !== undefined && usage !== undefined && quota - usage < SHORT_BYTES;
}

/** What the browser tells of the origin; nothing where it does not, as in some private windows. */
export async function estimate(): Promise<StorageEstimate> {
  return await globalThis.navigator?.storage?.estimate().catch(() => undefined) ?? {};
}
