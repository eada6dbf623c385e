export { bindMover, fetchNodes, moveRun, replace } from "./mover";
export { bind } from "./thread";
export { lookUpMany } from "./many";
export { enterLookUp, lookUp, lookUpInside } from "./reader";
export {
  copyBackward,
  copyForward,
  countEntries,
  find,
  findBefore,
  seek,
  stepBack,
  stepOn,
} from "./walk";
export { highestRoom, lowestRoom } from "./gaps";
export {
  enterErase,
  enterInsertRange,
  enterStoreMany,
  enterStoreRange,
  erase,
  insertRange,
  storeRange,
} from "./writer";
export { bindSupply } from "./supply";
