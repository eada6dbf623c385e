export { bind } from "../../range_tree/assembly/thread";
export { covering, locate, locateMany, translate, translateMany } from "./lookup";
export { enterExact, fetch, heldExact, replaceAndExit, unlinkNoted } from "./bind";
