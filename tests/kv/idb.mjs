/**
 * The least of the IndexedDB layer that the adapter stands on, for its tests under Node: without reopening, grouping or
 * deadlines. In browsers the adapter is tested over the layer itself.
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
 * @param {readonly { upgrade(db: IDBDatabase): void }[]} migrations
 */
export async function openIdb({ indexedDB, IDBKeyRange }, name, migrations) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => {
    for (const { upgrade } of migrations) upgrade(opening.result);
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
    range: ({ lower, upper, lowerOpen }) => (upper === undefined ? IDBKeyRange.lowerBound(lower, lowerOpen) : IDBKeyRange.upperBound(upper)),
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
