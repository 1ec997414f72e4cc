/** What the parts of the Databases page share. No code lives here. */
import type { Databases } from 'statik-storage/databases';
import type { Transfers } from '../transfers.js';

export interface Workspace {
  /** Other ones, once they were opened anew. */
  readonly databases: Databases;
  readonly transfers: Transfers;
  /**
   * Runs an action when those before it have ended; its answer is told as the outcome, what it throws as the problem.
   * Afterwards sizes are measured, and the part that shows is drawn anew unless `redraws` is false.
   */
  act(title: string, action: () => Promise<string>, redraws?: boolean): Promise<void>;
}

/** A tab's content, drawn when it is shown. */
export interface Part {
  draw(): Promise<void> | void;
}
