export { bind } from "../../range_tree/assembly/thread";
export { covering, locate, translate } from "./lookup";
export { enterWhole, fetch, heldWhole, replaceAndExit, unlinkNoted } from "./bind";
