/**
 * Real workers for tests: commands go in, answers are awaited one by one.
 *
 * @module
 */

/** After this long without an answer, a worker hangs. Nothing waits for it to pass where all is well. */
const HANG_MILLIS = 60_000;

/** What a worker's own file talks through. */
export const workerPort: Pick<Worker, "onmessage" | "postMessage"> =
  self as unknown as Worker;

/** One worker. */
export class TestWorker implements Disposable {
  readonly #worker: Worker;
  readonly #answers: unknown[] = [];
  #failure: Error | undefined;
  #wake: () => void = () => {};

  /** Starts the worker whose file that is. */
  constructor(file: URL) {
    this.#worker = new Worker(file, { type: "module" });
    this.#worker.onmessage = (event) => {
      this.#answers.push(event.data);
      this.#wake();
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message);
    };
  }

  /** Sends a command. */
  send(command: unknown): void {
    this.#worker.postMessage(command);
  }

  /** The worker's next answer. */
  async answer<T>(): Promise<T> {
    const hang = setTimeout(() => this.#fail("it hangs"), HANG_MILLIS);
    while (this.#answers.length === 0 && this.#failure === undefined) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    clearTimeout(hang);
    if (this.#answers.length === 0) throw this.#failure;
    return this.#answers.shift() as T;
  }

  /** Ends the worker. */
  [Symbol.dispose](): void {
    this.#worker.terminate();
  }

  #fail(why: string): void {
    this.#failure ??= new Error(`The worker failed: ${why}`);
    this.#wake();
  }
}
