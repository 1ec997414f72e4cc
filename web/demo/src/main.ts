/**
 * The page: opens the store when the SQL view is first shown, says so plainly where that fails, and connects files, drawer
 * and theme with the studio and the databases.
 *
 * `<html data-state>` is `opening`, then `ready` or `failed`; `<html data-view>` is the view that shows.
 */
import { open, StatikError, type OpenOptions, type Statik, type StatikEvent } from 'statik-storage';
import { DatabasesPage } from './databases/page.js';
import { byId, element } from './dom.js';
import { bytes, explanation } from './format.js';
import { showProblem } from './problem.js';
import { Studio } from './studio.js';
import { currentView, followAddress } from './views.js';

const SAMPLE_URL = './sample.db';
const THEME = 'studio.theme';
const root = document.documentElement;
/** Once its store is open. */
let studio: Studio | undefined;
const databases = new DatabasesPage(() => showDrawer(false));

async function start(options: Partial<OpenOptions> = {}): Promise<void> {
  root.dataset['state'] = 'opening';
  let statik: Statik;
  try {
    statik = await open({ name: 'studio', slowQueryMs: 250, urlOptions: true, ...options, onEvent: announce });
  } catch (error) {
    showFailure(error);
    return;
  }
  byId('failure', HTMLElement).hidden = true;
  byId('app', HTMLElement).hidden = false;
  // On a page that goes into the back/forward cache the store would stay locked for everybody else.
  addEventListener('pagehide', () => void statik.close(), { once: true });
  addEventListener('pageshow', (event) => event.persisted && location.reload());
  studio = new Studio(statik, () => showDrawer(false));
  await studio.start();
  root.dataset['state'] = 'ready';
  await offerSample(studio);
}

/** Why nothing can be opened, and what to do. */
function showFailure(error: unknown): void {
  const code = error instanceof StatikError ? error.code : undefined;
  const retry = element('button', { type: 'button', id: 'retry', class: 'primary', onclick: () => void start() }, 'Try again');
  const buttons: HTMLElement[] = [retry];
  let [title, text] = ['The studio cannot open its storage', 'The reason is below. Trying again may help if it has passed.'];
  if (code === 'Busy') {
    [title, text] = ['The studio is open in another tab', 'One tab at a time can work on these databases. Close the other one, then try again.'];
  } else if (code === 'Unsupported' || code === 'Permission') {
    [title, text] = ['This browser refuses to store files here', 'Private windows of some browsers do. In a normal window your databases are kept; here you can still work in memory, and lose everything when the tab closes.'];
    buttons.push(element('button', { type: 'button', id: 'memory', onclick: () => void start({ fallback: 'memory' }) }, 'Work in memory'));
  }
  const failure = byId('failure', HTMLElement);
  failure.replaceChildren(element('h2', {}, title), element('p', {}, text), element('p', { class: 'reason' }, explanation(error)), element('div', { class: 'buttons' }, ...buttons));
  failure.hidden = false;
  byId('app', HTMLElement).hidden = true;
  root.dataset['state'] = 'failed';
  retry.focus();
}

function announce(event: StatikEvent): void {
  if (event.type === 'mode' || event.type === 'slowQuery') return;
  const banner = byId('banner', HTMLElement);
  if (event.type === 'damaged') banner.replaceChildren(element('strong', {}, 'The log is damaged. '), `What is shown is as of before the damage: ${event.reason}`);
  else if (event.type === 'fallback') banner.replaceChildren(element('strong', {}, 'In memory only. '), `Nothing survives this tab: ${event.reason}`);
  else {
    banner.replaceChildren(element('strong', {}, 'The storage stopped. '), `What was acknowledged is safe: ${event.reason} `,
      element('button', { type: 'button', onclick: () => location.reload() }, 'Reload'));
  }
  banner.hidden = false;
}

/** Files are for the view that shows. */
function acceptFiles(): void {
  const accept = (files: readonly File[]) => currentView() === 'databases' ? databases.accept(files) : studio?.accept(files);
  const input = byId('file', HTMLInputElement);
  input.addEventListener('change', () => {
    const files = [...(input.files ?? [])];
    // The same file may be chosen again.
    input.value = '';
    void accept(files);
  });
  for (const button of document.querySelectorAll('.choose')) button.addEventListener('click', () => input.click());
  const carriesFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false;
  addEventListener('dragover', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    root.dataset['dragging'] = 'true';
  });
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) delete root.dataset['dragging'];
  });
  addEventListener('drop', (event) => {
    delete root.dataset['dragging'];
    if (!carriesFiles(event)) return;
    event.preventDefault();
    void accept([...(event.dataTransfer?.files ?? [])]);
  });
}

/** Offers the sample if this site has one: scripts/sample.mjs cannot make it everywhere. */
async function offerSample(studio: Studio): Promise<void> {
  const response = await fetch(SAMPLE_URL, { method: 'HEAD' });
  // A server for single-page apps answers with its page for whatever it does not have.
  if (!response.ok || response.headers.get('content-type')?.startsWith('text/html')) return;
  const button = byId('sample', HTMLButtonElement);
  const size = Number(response.headers.get('content-length'));
  if (size > 0) button.append(` (${bytes(size)})`);
  button.addEventListener('click', () => void studio.addSample(SAMPLE_URL));
  byId('sample-offer', HTMLElement).hidden = false;
}

function showDrawer(shown: boolean): void {
  root.dataset['drawer'] = String(shown);
  byId('menu', HTMLButtonElement).setAttribute('aria-expanded', String(shown));
}

function prepareChrome(): void {
  byId('menu', HTMLButtonElement).addEventListener('click', () => showDrawer(root.dataset['drawer'] !== 'true'));
  byId('shade', HTMLElement).addEventListener('click', () => showDrawer(false));
  addEventListener('keydown', (event) => event.key === 'Escape' && showDrawer(false));
  // What nobody expected is shown too, rather than left on the console.
  addEventListener('unhandledrejection', ({ reason }) => showProblem('Unexpected', reason));
  addEventListener('error', ({ error }) => error instanceof Error && showProblem('Unexpected', error));
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const theme = localStorage.getItem(THEME);
  if (theme !== null) root.dataset['theme'] = theme;
  byId('theme', HTMLButtonElement).addEventListener('click', () => {
    const next = (root.dataset['theme'] ?? (dark.matches ? 'dark' : 'light')) === 'dark' ? 'light' : 'dark';
    root.dataset['theme'] = next;
    localStorage.setItem(THEME, next);
  });
}

prepareChrome();
acceptFiles();
followAddress({ sql: () => void start(), databases: () => void databases.start() });
