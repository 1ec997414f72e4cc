/**
 * Files out of a backup, each as a stream to whoever restores it.
 *
 * Invariants: constant memory, nothing is read before it is asked for; what a taker leaves unread is passed over; the
 * backup is read to its end, so that it is known to be whole.
 */
import type { BackupItem, FileSection } from './backup-format.js';

/** Restores one file; it has what it wants of the stream when this has resolved. */
export type TakeFile = (name: string, stream: ReadableStream<Uint8Array<ArrayBuffer>>) => unknown;

/** Gives files to their takers, in order. A section without one is passed over. Answers the names, by section. */
export async function giveFiles(
  items: AsyncGenerator<BackupItem, void, undefined>, takers: Readonly<Partial<Record<FileSection, TakeFile>>>,
): Promise<Record<FileSection, string[]>> {
  const given: Record<FileSection, string[]> = { sqlite: [], files: [] };
  const ahead = new Ahead(items);
  for (let item; (item = await ahead.next()) !== undefined;) {
    const take = item.type === 'file' ? takers[item.section] : undefined;
    if (item.type !== 'file' || take === undefined) continue;
    await take(item.name, ahead.bytes());
    given[item.section].push(item.name);
  }
  return given;
}

/** Items, of which one can be put back. */
class Ahead {
  readonly #items: AsyncGenerator<BackupItem, void, undefined>;
  #back: BackupItem | undefined;
  /** What a stream is reading: nobody else shall read meanwhile. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(items: AsyncGenerator<BackupItem, void, undefined>) {
    this.#items = items;
  }

  async next(): Promise<BackupItem | undefined> {
    await this.#reading;
    const back = this.#back;
    this.#back = undefined;
    if (back !== undefined) return back;
    const { value, done } = await this.#items.next();
    return done ? undefined : value;
  }

  /** The bytes that come next, as a stream that ends where they do. */
  bytes(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: async (controller) => {
        const next = this.next();
        this.#reading = next.then((item) => { if (item?.type !== 'bytes') this.#back = item; });
        const item = await next;
        if (item?.type === 'bytes') controller.enqueue(item.bytes);
        else controller.close();
      },
    }, { highWaterMark: 0 });
  }
}
