/**
 * The least of the IndexedDB layer that the adapter stands on, for its tests: without reopening, grouping or deadlines.
 * It takes a browser's IndexedDB, or one in memory.
 */

/** @param {IDBRequest | IDBOpenDBRequest} request @returns {Promise<any>} */
function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * @param {{ indexedDB: IDBFactory, IDBKeyRange: typeof IDBKeyRange }} platform
 * @param {string} name
 * @param {Record<string, { options: IDBObjectStoreParameters, indexes: Record<string, string> }>} stores
 */
export async function openIdb({ indexedDB, IDBKeyRange }, name, stores) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => {
    for (const [store, { options, indexes }] of Object.entries(stores)) {
      const created = opening.result.createObjectStore(store, options);
      for (const [index, path] of Object.entries(indexes)) created.createIndex(index, path);
    }
  };
  const database = await answer(opening);
  return {
    name,
    transaction: (names, mode, body, options) => transact(database, names, mode, body, options),
    query: async (store, { limit, cursor }) => {
      const range = cursor === undefined ? undefined : IDBKeyRange.lowerBound(JSON.parse(cursor), true);
      const items = await answer(database.transaction(store).objectStore(store).getAll(range, limit));
      return { items, ...(items.length === limit && { cursor: JSON.stringify(items.at(-1).key) }) };
    },
    close: async () => database.close(),
  };
}

async function transact(database, names, mode, body, options) {
  const tx = database.transaction(names, mode, options);
  const done = new Promise((resolve, reject) => {
    tx.oncomplete = resolve;
    tx.onabort = () => reject(tx.error ?? new Error('aborted'));
  });
  // Whoever fails below has the reason already.
  done.catch(() => {});
  let result;
  try {
    result = await body(tx);
  } catch (error) {
    try {
      tx.abort();
    } catch (late) {
      if (late.name !== 'InvalidStateError') throw late;
    }
    throw error;
  }
  await done;
  return result;
}
