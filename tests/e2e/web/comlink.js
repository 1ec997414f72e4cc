/** What wa-sqlite's tests use of comlink: here nothing crosses a thread, so a callback stays what it is. */
export const proxy = (callback) => callback;
