/**
 * The file of a worker that compacts an arena in the background: start it, send it the arena with `sendArena`.
 *
 * @module
 */
import { runCompactorWorker } from "./mod.ts";

runCompactorWorker();
