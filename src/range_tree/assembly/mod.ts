export { bind } from "./thread";
export {
  copyEntries,
  countEntries,
  lookUp,
  lookUpInside,
  seek,
} from "./reader";
