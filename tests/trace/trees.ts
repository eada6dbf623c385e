import { Arena, RangeTree } from "../../mod.ts";
import { SortedArrayTree } from "./sorted_array_tree.ts";

/** Makes trees for address spaces. */
export interface TreeSource<Tree> {
  readonly name: string;
  create(): Tree;
  /** Throws if a tree is broken within. */
  validate(tree: Tree): void;
}

/** A plain tree, to tell mistakes of the layer from mistakes of range trees. */
export function plainTrees(): TreeSource<SortedArrayTree> {
  return {
    name: "sorted array",
    create: () => new SortedArrayTree(),
    validate: () => {},
  };
}

/** Range trees in an arena of their own. */
export function rangeTrees(rcu: boolean): TreeSource<RangeTree> {
  const arena = Arena.create({ byteLength: 16 * 2 ** 20 });
  return {
    name: rcu ? "range tree, RCU" : "range tree",
    create: () => RangeTree.create(arena, { rcu }),
    validate: (tree) => tree.validate(),
  };
}
