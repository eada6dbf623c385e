export { bindMover, fetchNodes, moveRun, replace } from "./mover";
export { bind } from "./thread";
export {
  copyEntries,
  countEntries,
  lookUp,
  lookUpInside,
  seek,
} from "./reader";
