/** How a piece of work ended, as plain data. */

/** @param {() => unknown} work */
export async function settle(work) {
  try {
    return { value: await work() };
  } catch (error) {
    const { name, message, stack = '' } = error instanceof Error || error instanceof DOMException ? error : new Error(String(error));
    const code = error.code === undefined ? '' : ` (${error.code}${error.sqliteCode ? `, ${error.sqliteCode}` : ''})`;
    const text = `${name}: ${message}${code}`;
    return { error: { message: text, stack: `${text}\n${stack}` } };
  }
}

/** An error as data; what it does not have is missing. */
export function describeError(error, StatikError) {
  const shape = { isStatikError: error instanceof StatikError, isError: error instanceof Error };
  for (const key of ['name', 'message', 'code', 'path', 'sqliteCode', 'offset']) if (error?.[key] !== undefined) shape[key] = error[key];
  return shape;
}
