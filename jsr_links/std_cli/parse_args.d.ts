/** A name or a list of names. */
type Names<Name extends string> = Name | readonly Name[];

/** For each flag that has one, its alias or aliases. */
type Aliases = Readonly<Record<string, string | readonly string[]>>;

/** The aliases of the flag `Name`. */
type AliasOf<Name extends string, A> = Name extends keyof A
  ? A[Name] extends readonly (infer Alias extends string)[] ? Alias
  : A[Name] extends string ? A[Name]
  : never
  : never;

/** The flags `Name` and their aliases. */
type WithAliases<Name extends string, A> =
  | Name
  | { [N in Name]: AliasOf<N, A> }[Name];

/** The flag whose alias is `Key`, or `Key` itself. */
type Canonical<Key, A> =
  | Key
  | {
    [N in keyof A & string]: Key extends AliasOf<N, A> ? N : never;
  }[keyof A & string];

/** What a flag is when it was not given: its default, else `Absent`. */
type Default<Key, D, A, Absent> = Canonical<Key, A> & keyof D extends never
  ? Absent
  : D[Canonical<Key, A> & keyof D];

/** `T`, or a list of `T` where the flag is collected. */
type Collected<Key, C extends string, A, T, Absent> = Key extends
  WithAliases<C, A> ? T[] : T | Absent;

/** All properties of an intersection, in one type. */
type Flat<T> = { [K in keyof T]: T[K] };

/** What follows `--`, where that is asked for. */
type Rest<Doubled> = [Doubled] extends [true] ? {
    /** The arguments that follow `--`. */
    "--": string[];
  }
  // deno-lint-ignore ban-types
  : {};

/** The flags of {@linkcode parseArgs}, each with its type. */
export type Args<
  B extends string = never,
  S extends string = never,
  C extends string = never,
  D = unknown,
  A = unknown,
  Doubled = undefined,
> = Flat<
  & {
    [K in WithAliases<B, A>]: Collected<
      K,
      C,
      A,
      boolean,
      Default<K, D, A, never>
    >;
  }
  & {
    [K in Exclude<WithAliases<S, A>, "_">]: Collected<
      K,
      C,
      A,
      string,
      Default<K, D, A, undefined>
    >;
  }
  & { [K in Exclude<WithAliases<C, A>, WithAliases<B | S, A>>]: unknown[] }
  & {
    [
      K in Exclude<
        WithAliases<keyof D & string, A>,
        WithAliases<B | S | C, A>
      >
    ]: unknown;
  }
  & {
    /** The arguments that belong to no flag. */
    _: (string | number)[];
  }
  & Rest<Doubled>
>;

/** Every flag, where none is named. Names with a dot are nested at run time and have no type of their own. */
export interface AnyArgs {
  // deno-lint-ignore no-explicit-any
  [flag: string]: any;
  /** The arguments that belong to no flag. */
  _: (string | number)[];
}

/** What {@linkcode parseArgs} shall make of the arguments. */
export interface ParseOptions<
  B extends string = string,
  S extends string = string,
  C extends string = string,
  D = Record<string, unknown>,
  A = Aliases,
  Doubled extends boolean | undefined = boolean | undefined,
> {
  /** Flags without a value: `false` unless given. */
  boolean?: Names<B>;
  /** Flags with a value; `"_"` keeps the other arguments from being read as numbers. */
  string?: Names<S>;
  /** Flags that may be repeated and are a list. */
  collect?: Names<C>;
  /** What a flag is when it was not given. */
  default?: D & Record<string, unknown>;
  /** Other names of flags. */
  alias?: A & Aliases;
  /** Put what follows `--` under that name. */
  "--"?: Doubled;
  /** Stop at the first argument that belongs to no flag. */
  stopEarly?: boolean;
  /** Called for everything that no other option names; leaves it out by returning `false`. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Reads command-line arguments as flags, whatever they are called. */
export function parseArgs(args: string[]): AnyArgs;
/** Reads command-line arguments as the flags that `options` names. */
export function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const C extends string = never,
  D = unknown,
  const A = unknown,
  const Doubled extends boolean | undefined = undefined,
>(
  args: string[],
  options: ParseOptions<B, S, C, D, A, Doubled>,
): Args<B, S, C, D, A, Doubled>;
