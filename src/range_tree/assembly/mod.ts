export { bind } from "./thread";
export {
  copyEntries,
  countEntries,
  lookUp,
  lookUpInside,
  seek,
} from "./reader";
export { bindWriter, erase, insertRange, storeRange } from "./writer";
