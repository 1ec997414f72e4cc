/** The engines' names, for tables. */
export const engines = {
  statik: 'statik',
  sealed: 'statik, encrypted',
  dexie: 'Dexie',
  idb: 'idb',
  bare: 'IndexedDB, bare',
};
