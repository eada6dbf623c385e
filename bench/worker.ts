/**
 * Workers of a workload: messages go in, answers come out one by one. A worker that fails ends the process.
 *
 * @module
 */

/** One worker. */
export class BenchWorker implements Disposable {
  /** The worker, to be sent messages. */
  readonly port: Worker;
  readonly #answers: unknown[] = [];
  #wake: () => void = () => {};

  /** Starts the worker whose file that is. */
  constructor(file: string) {
    this.port = new Worker(import.meta.resolve(`./${file}`), {
      type: "module",
    });
    this.port.addEventListener("message", ({ data }) => {
      // What the library's own `joinArena` answers is for `joinedThread`.
      if (data instanceof Object && "pollard" in data) return;
      this.#answers.push(data);
      this.#wake();
    });
  }

  /** The worker's next answer. */
  async answer<T>(): Promise<T> {
    while (this.#answers.length === 0) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#answers.shift() as T;
  }

  /** Ends the worker. */
  [Symbol.dispose](): void {
    this.port.terminate();
  }
}

/** What a worker's own file talks through. */
export const workerPort: Pick<Worker, "addEventListener" | "postMessage"> =
  self as unknown as Worker;
