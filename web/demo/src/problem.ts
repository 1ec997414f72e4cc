/** The line that says what failed. One failure shows at a time: the last. */
import { byId, element } from './dom.js';
import { explanation } from './format.js';

/** @param title what was being done, or where it failed */
export function showProblem(title: string, error: unknown): void {
  const line = byId('error', HTMLElement);
  line.replaceChildren(element('strong', {}, `${title}: `), explanation(error));
  line.hidden = false;
}

export function clearProblem(): void {
  const line = byId('error', HTMLElement);
  line.hidden = true;
  line.replaceChildren();
}
