export { bind } from "../../range_tree/assembly/thread";
export { covering, locate, locateMany, translate, translateMany } from "./lookup";
export { enterWhole, fetch, heldWhole, replaceAndExit, unlinkNoted } from "./bind";
