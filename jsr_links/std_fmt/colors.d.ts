/** Colours output, or stops colouring it. */
export function setColorEnabled(value: boolean): void;

/** Whether output is coloured. */
export function getColorEnabled(): boolean;

/** Removes all escape sequences. */
export function stripAnsiCode(string: string): string;

/** Makes text bold. */
export function bold(str: string): string;

/** Makes text dim. */
export function dim(str: string): string;

/** Makes text italic. */
export function italic(str: string): string;

/** Makes text underline. */
export function underline(str: string): string;

/** Makes text inverse. */
export function inverse(str: string): string;

/** Makes text black. */
export function black(str: string): string;

/** Makes text red. */
export function red(str: string): string;

/** Makes text green. */
export function green(str: string): string;

/** Makes text yellow. */
export function yellow(str: string): string;

/** Makes text blue. */
export function blue(str: string): string;

/** Makes text magenta. */
export function magenta(str: string): string;

/** Makes text cyan. */
export function cyan(str: string): string;

/** Makes text white. */
export function white(str: string): string;

/** Makes text gray. */
export function gray(str: string): string;
