/** The event loop, as promises. */

/** Lets the event loop turn, as an app does between tasks: some engines do their housekeeping there. */
export function nextTask() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(null);
  });
}

/** Starting a worker takes no longer than this, but for ever. */
const START_LIMIT_MS = 20_000;
const STARTS = 5;

export class Hangs extends Error {}

/** Fails with `Hangs` if it takes longer than any start does. */
export function unlessHangs(started) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Hangs(`not open after ${START_LIMIT_MS} ms`)), START_LIMIT_MS);
  });
  return Promise.race([started, late]).finally(() => clearTimeout(timer));
}

/**
 * Does it again if it hangs. A worker that starts another may hang in Firefox while a WebDriver session is attached,
 * whatever the script: the session listens to the debugger, to which a worker within a worker has to be announced.
 */
export async function startAgainIfItHangs(start) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof Hangs) || tries === STARTS) throw error;
    }
  }
}
