import type { ChurnAnswer, ChurnWorker } from "../experiment/mod.ts";

/** A worker of the experiments that need some. */
export class StartedWorker implements ChurnWorker {
  readonly #worker = new Worker(
    new URL("../experiment/churn_worker.ts", import.meta.url),
    { type: "module" },
  );
  readonly #answers: ChurnAnswer[] = [];
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor() {
    this.#worker.onmessage = ({ data }) => {
      this.#answers.push(data);
      this.#wake();
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#failure = new Error(`A worker failed: ${event.message}`);
      this.#wake();
    };
  }

  postMessage(command: unknown): void {
    this.#worker.postMessage(command);
  }

  async answer(): Promise<ChurnAnswer> {
    while (this.#answers.length === 0) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#answers.shift()!;
  }

  terminate(): void {
    this.#worker.terminate();
  }
}
