/**
 * Loops that are compiled to WebAssembly beforehand, over the arena's memory.
 *
 * In JavaScript an atomic access is a call of some hundred instructions in today's engines; in WebAssembly it is one
 * instruction, and a call from JavaScript costs about 2 ns. So the shortest and hottest paths exist twice: in TypeScript, which
 * says what they do and serves where there is no WebAssembly memory, and in AssemblyScript (`assembly/` beside it), which
 * does the same to the same words. ECMAScript and WebAssembly share one memory model, so threads of either kind work together.
 *
 * @module
 */
import { refuseAsLeft } from "./left.ts";

/** A module that was compiled beforehand, and its instances. */
export class WasmModule<Exports> {
  readonly #base64: string;
  #module: WebAssembly.Module | null | undefined;

  /** The module of these bytes; nothing is done with them before they are needed. */
  constructor(base64: string) {
    this.#base64 = base64;
  }

  /** Its functions, over a memory; nothing where this runtime can't run them. */
  over(memory: WebAssembly.Memory): Exports | undefined {
    if (this.#module === undefined) this.#module = compile(this.#base64);
    if (this.#module === null) return undefined;
    const { exports } = new WebAssembly.Instance(this.#module, {
      env: { memory },
    });
    // A plain object, since the properties of this one are slow to read.
    return { ...exports } as Exports;
  }
}

/** Has functions refuse every call from here on: the thread that they are bound to has left its arena. */
export function refuseCalls(exports: object): void {
  for (const name of Object.keys(exports)) {
    Object.assign(exports, { [name]: refuseAsLeft });
  }
}

function compile(base64: string): WebAssembly.Module | null {
  // A runtime too old to decode it: the TypeScript serves.
  if (typeof Uint8Array.fromBase64 !== "function") return null;
  try {
    return new WebAssembly.Module(Uint8Array.fromBase64(base64));
  } catch (error) {
    // A runtime without threads or SIMD: the TypeScript serves.
    if (error instanceof WebAssembly.CompileError) return null;
    throw error;
  }
}
