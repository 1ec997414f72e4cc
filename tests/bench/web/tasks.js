/** The event loop, as a promise. */

/** Lets the event loop turn, as an app does between tasks: some engines do their housekeeping there. */
export function nextTask() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(null);
  });
}
