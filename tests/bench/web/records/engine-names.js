/** The engines' names, for tables. */
export const engines = {
  statik: 'statik',
  dexie: 'Dexie',
  idb: 'idb',
  bare: 'IndexedDB, bare',
};
