/**
 * Bytes through a stream of the platform's that compresses or decompresses, at the pace of who reads.
 *
 * Platforms differ in how far such a stream runs ahead of its reader (Node's takes thousands of chunks), so it is fed by
 * hand. Invariant: it is given nothing while there is something to be read from it.
 */

/** What `input` becomes. Fails with what the input fails with, and with what `failed` makes of a failure of the stream. */
export async function* passed(
  input: AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined>,
  { readable, writable }: CompressionStream | DecompressionStream,
  failed: (error: unknown) => unknown,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  // What goes wrong in writing, the reader is told too.
  const heard = (written: Promise<void>) => written.catch(() => {});
  heard(writer.closed);
  let isOpen = true;
  let writing = Promise.resolve();
  try {
    for (;;) {
      let isThere = false;
      const reading = reader.read().finally(() => { isThere = true; });
      // It is awaited only after feeding, and may fail before.
      reading.catch(() => {});
      for (;;) {
        // Until what was written has become something, or has passed without.
        await Promise.race([writing, reading.catch(() => {})]);
        if (isThere || !isOpen) break;
        const { value, done } = await input.next();
        isOpen = !done;
        writing = heard(done ? writer.close() : writer.write(value));
      }
      const { value, done } = await reading.catch((error: unknown) => { throw failed(error); });
      if (done) return;
      yield value;
    }
  } finally {
    // After the end these do nothing; before it, what they say adds nothing to why it is left.
    reader.cancel().catch(() => {});
    heard(writer.abort());
    await input.return();
  }
}
