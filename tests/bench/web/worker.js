/**
 * The dedicated worker in which one engine runs all its workloads once. Answers its first message with one message.
 */
import { runEngine } from './run-engine.js';

self.onmessage = async ({ data: request }) => {
  self.postMessage(await runEngine(request));
};
