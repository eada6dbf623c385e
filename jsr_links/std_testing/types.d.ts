/** Does nothing at run time; fails to compile unless the type argument is the literal that is passed. */
export function assertType<T extends boolean>(expectTrue: T): void;

/** `true` if the two types are identical, else `false`. */
export type IsExact<T, U> = (<V>() => V extends T ? 1 : 2) extends
  (<V>() => V extends U ? 1 : 2) ? true
  : false;
