/**
 * The dedicated worker in which one engine runs all its workloads once. Answers its first message with `'opened'` and, at
 * the end, with the result.
 */
import { runEngine } from './run-engine.js';

self.onmessage = async ({ data: request }) => {
  self.postMessage(await runEngine(request, () => self.postMessage('opened')));
};
