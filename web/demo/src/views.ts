/**
 * The page's two views, SQL and Databases. The hash of the address says which one shows, so that links, the browser's
 * history and the keyboard work as everywhere. A view is started when it is first shown.
 */
export type View = 'sql' | 'databases';

const root = document.documentElement;

export function currentView(): View {
  return location.hash === '#databases' ? 'databases' : 'sql';
}

/** Shows the view that the address names, now and whenever that changes. */
export function followAddress(starts: Readonly<Record<View, () => void>>): void {
  const started = new Set<View>();
  const follow = (): void => {
    const view = currentView();
    root.dataset['view'] = view;
    for (const link of document.querySelectorAll<HTMLElement>('.views a')) {
      if (link.dataset['for'] === view) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    showTitle();
    if (started.has(view)) return;
    started.add(view);
    starts[view]();
  };
  addEventListener('hashchange', follow);
  follow();
}

/** The window's title: the SQL view's open database, or the other view. */
export function showTitle(): void {
  const name = currentView() === 'databases' ? 'Databases' : root.dataset['database'];
  document.title = name ? `${name} · Statik Studio` : 'Statik Studio';
}
