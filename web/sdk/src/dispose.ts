/**
 * The symbols behind `using` and `await using`, also where the browser does not have them yet: there, compilers that
 * translate the syntax look for these.
 */
export const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');
export const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');
