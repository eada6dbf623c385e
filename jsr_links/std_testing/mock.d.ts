// deno-lint-ignore-file no-explicit-any

/** A misused mock: not a method, mocked twice, restored twice, called too often. */
export class MockError extends Error {
  constructor(message: string);
}

/** One recorded call. */
export interface SpyCall<
  Self = any,
  Args extends unknown[] = any[],
  Return = any,
> {
  /** The arguments. */
  args: Args;
  /** What the call returned, unless it threw. */
  returned?: Return;
  /** The `this` of the call. */
  self?: Self;
  /** What the call threw, if it did. */
  error?: Error;
}

/** A function that records its calls and passes them on. */
export interface Spy<
  Self = any,
  Args extends unknown[] = any[],
  Return = any,
> {
  (this: Self, ...args: Args): Return;
  /** The function that is spied upon. */
  original: (this: Self, ...args: Args) => Return;
  /** The calls so far. */
  calls: SpyCall<Self, Args, Return>[];
  /** Whether the original is back in its place. */
  restored: boolean;
  /** Puts the original back. */
  restore(): void;
}

/** A spy in the place of a method; `using` puts the original back. */
export interface MethodSpy<
  Self = any,
  Args extends unknown[] = any[],
  Return = any,
> extends Spy<Self, Args, Return>, Disposable {}

/** A method spy that calls a fake instead of the original. */
export interface Stub<
  Self = any,
  Args extends unknown[] = any[],
  Return = any,
> extends MethodSpy<Self, Args, Return> {
  /** The function that is called instead. */
  fake: (this: Self, ...args: Args) => Return;
}

/** The arguments of the method `Property` of `Self`. */
export type GetParametersFromProp<Self, Property extends keyof Self> =
  Self[Property] extends (...args: infer Args) => unknown ? Args : unknown[];

/** The result of the method `Property` of `Self`. */
export type GetReturnFromProp<Self, Property extends keyof Self> =
  Self[Property] extends (...args: never[]) => infer Return ? Return : unknown;

/** A function that records its calls and does nothing. */
export function spy<
  Self = any,
  Args extends unknown[] = any[],
  Return = undefined,
>(): Spy<Self, Args, Return>;
/** Wraps `func` so that it records its calls. */
export function spy<Self, Args extends unknown[], Return>(
  func: (this: Self, ...args: Args) => Return,
): Spy<Self, Args, Return>;
/** Makes the method `property` of `self` record its calls until it is restored. */
export function spy<Self, Property extends keyof Self>(
  self: Self,
  property: Property,
): MethodSpy<
  Self,
  GetParametersFromProp<Self, Property>,
  GetReturnFromProp<Self, Property>
>;

/** Replaces the method `property` of `self` by one that does nothing, until it is restored. */
export function stub<Self, Property extends keyof Self>(
  self: Self,
  property: Property,
): Stub<
  Self,
  GetParametersFromProp<Self, Property>,
  GetReturnFromProp<Self, Property>
>;
/** Replaces the method `property` of `self` by `func`, until it is restored. */
export function stub<Self, Property extends keyof Self>(
  self: Self,
  property: Property,
  func: (
    this: Self,
    ...args: GetParametersFromProp<Self, Property>
  ) => GetReturnFromProp<Self, Property>,
): Stub<
  Self,
  GetParametersFromProp<Self, Property>,
  GetReturnFromProp<Self, Property>
>;

/** What a call is expected to have been. */
export interface ExpectedSpyCall<
  Self = any,
  Args extends unknown[] = any[],
  Return = any,
> {
  /** The arguments. */
  args?: [...Args, ...unknown[]];
  /** The `this` of the call. */
  self?: Self;
  /** What it returned. */
  returned?: Return;
  /** What it threw. */
  error?: {
    /** The class of the error. */
    Class?: abstract new (...args: any[]) => Error;
    /** A part of its message. */
    msgIncludes?: string;
  };
}

/** Fails unless `spy` was called exactly `expectedCalls` times. */
export function assertSpyCalls<Self, Args extends unknown[], Return>(
  spy: Spy<Self, Args, Return>,
  expectedCalls: number,
): void;

/** Fails unless the call `callIndex` of `spy` was as `expected`. */
export function assertSpyCall<Self, Args extends unknown[], Return>(
  spy: Spy<Self, Args, Return>,
  callIndex: number,
  expected?: ExpectedSpyCall<Self, Args, Return>,
): void;

/** Fails unless one argument of one call deeply equals `expected`; returns the argument. */
export function assertSpyCallArg<
  Self,
  Args extends unknown[],
  Return,
  ExpectedArg,
>(
  spy: Spy<Self, Args, Return>,
  callIndex: number,
  argIndex: number,
  expected: ExpectedArg,
): ExpectedArg;

/** A function that returns (or, for an `Error`, throws) the next of `values` at every call. */
export function returnsNext<
  Return,
  Self = any,
  Args extends unknown[] = any[],
>(values: Iterable<Return | Error>): (this: Self, ...args: Args) => Return;
