/** The tabs of the Databases page: one part shows. Arrow keys, Home and End move between them, as everywhere. */
import { byId } from '../dom.js';

export class PartTabs<Name extends string> {
  readonly #names: readonly Name[];
  readonly #onShown: (name: Name) => void;
  #shown: Name;

  /** Named as in the page: tab `tab-<name>`, part `part-<name>`. */
  constructor(names: readonly [Name, ...Name[]], onShown: (name: Name) => void) {
    this.#names = names;
    this.#onShown = onShown;
    this.#shown = names[0];
    for (const name of names) this.tab(name).addEventListener('click', () => this.show(name));
    byId('part-tabs', HTMLElement).addEventListener('keydown', (event) => this.#key(event));
    this.#mark();
  }

  get shown(): Name {
    return this.#shown;
  }

  show(name: Name): void {
    this.#shown = name;
    this.#mark();
    this.#onShown(name);
  }

  tab(name: Name): HTMLButtonElement {
    return byId(`tab-${name}`, HTMLButtonElement);
  }

  #mark(): void {
    for (const name of this.#names) {
      const isShown = name === this.#shown;
      this.tab(name).setAttribute('aria-selected', String(isShown));
      this.tab(name).tabIndex = isShown ? 0 : -1;
      byId(`part-${name}`, HTMLElement).hidden = !isShown;
    }
  }

  #key(event: KeyboardEvent): void {
    const last = this.#names.length - 1;
    const at = this.#names.indexOf(this.#shown);
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    const name = to === undefined ? undefined : this.#names[to];
    if (name === undefined) return;
    event.preventDefault();
    this.show(name);
    this.tab(name).focus();
    this.tab(name).scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }
}
