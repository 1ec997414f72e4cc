/** IndexedDB in memory, by `fake-indexeddb`. A script of its own, which only those load who need it. */
export { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
