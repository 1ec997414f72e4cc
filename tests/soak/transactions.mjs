/**
 * What the page commits and the ledger expects to find: numbered transactions over two files. Pure, read by both sides.
 *
 * Transaction n writes, by the connection that made it, `partsOf(n)` entries into each of both files and the number n into
 * the head of each; entries of transactions before the last `KEPT` are deleted, so that pages are freed and used again.
 */

/** How many transactions the files keep the entries of. */
export const KEPT = 300;

/** Few entries or many: most transactions fit into the small cache that the page gives them, others spill. */
export const partsOf = (number) => (number % 10 === 0 ? 150 : 3);

/** The same in SQL. */
export const PARTS = 'CASE WHEN number % 10 = 0 THEN 150 ELSE 3 END';
