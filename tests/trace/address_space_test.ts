import { assertEquals, assertThrows } from "@std/assert";
import {
  AddressSpace,
  type MapCall,
  MappingTable,
  type MapTree,
  Protection,
} from "../../src/trace/mod.ts";
import { randomCall } from "./calls.ts";
import { PageMirror } from "./page_mirror.ts";
import { Random, takeSeed } from "./random.ts";
import { SortedArrayTree } from "./sorted_array_tree.ts";
import { plainTrees, rangeTrees, type TreeSource } from "./trees.ts";

const { READ, WRITE, EXEC } = Protection;

function anonymous(
  start: number,
  length: number,
  protection = READ | WRITE,
): MapCall {
  return {
    kind: "map",
    start,
    length,
    protection,
    shared: false,
    fixed: true,
    source: "",
    offset: 0,
    attributes: 0,
  };
}

function file(
  start: number,
  length: number,
  protection: number,
  offset: number,
): MapCall {
  return { ...anonymous(start, length, protection), source: "fd 3", offset };
}

function plainSpace(): AddressSpace<SortedArrayTree> {
  return new AddressSpace(new SortedArrayTree(), new MappingTable());
}

function protect(start: number, length: number, protection: number) {
  return { kind: "protect", start, length, protection, key: -1 } as const;
}

function remap(
  start: number,
  oldLength: number,
  newLength: number,
  target: number,
) {
  return {
    kind: "remap",
    start,
    oldLength,
    newLength,
    target,
    fixed: false,
    keepOld: false,
  } as const;
}

Deno.test("AddressSpace rounds lengths up to pages", () => {
  const space = plainSpace();
  space.map(anonymous(0x10000, 1));
  space.map(anonymous(0x20000, 4097));
  assertEquals(
    space.maps(),
    "00010000-00011000 rw-p\n00020000-00022000 rw-p\n",
  );
  space.unmap(0x20000, 1);
  assertEquals(
    space.maps(),
    "00010000-00011000 rw-p\n00021000-00022000 rw-p\n",
  );
});

Deno.test("AddressSpace.map merges anonymous neighbours on both sides, and no others", () => {
  const space = plainSpace();
  space.map(anonymous(0x10000, 0x1000));
  space.map(anonymous(0x12000, 0x1000));
  space.map(anonymous(0x13000, 0x1000, READ));
  assertEquals(space.tree.entries().length, 3);
  space.map(anonymous(0x11000, 0x1000));
  assertEquals(
    space.maps(),
    "00010000-00013000 rw-p\n00013000-00014000 r--p\n",
  );
});

Deno.test("AddressSpace.map merges what continues a file, and no other piece of it", () => {
  const space = plainSpace();
  space.map(file(0x10000, 0x1000, READ, 0x5000));
  space.map(file(0x11000, 0x1000, READ, 0x6000));
  space.map(file(0x12000, 0x1000, READ, 0x6000));
  assertEquals(
    space.maps(),
    "00010000-00012000 r--p\n00012000-00013000 r--p\n",
  );
});

Deno.test("AddressSpace.map replaces what a fixed mapping covers, and reports that another could not", () => {
  const space = plainSpace();
  space.map(anonymous(0x10000, 0x4000));
  assertEquals(space.map(file(0x11000, 0x1000, READ | EXEC, 0)), true);
  assertEquals(
    space.maps(),
    "00010000-00011000 rw-p\n00011000-00012000 r-xp\n00012000-00014000 rw-p\n",
  );
  assertEquals(
    space.map({ ...anonymous(0x13000, 0x2000), fixed: false }),
    false,
  );
});

Deno.test("AddressSpace.unmap splits, and the pieces of a file mapping merge again when the hole is filled", () => {
  const space = plainSpace();
  space.map(file(0x10000, 0x3000, READ, 0));
  space.unmap(0x11000, 0x1000);
  assertEquals(space.tree.entries().length, 2);
  space.map(file(0x11000, 0x1000, READ, 0x1000));
  assertEquals(space.maps(), "00010000-00013000 r--p\n");
});

Deno.test("AddressSpace.protect splits, merges again, and never maps", () => {
  const space = plainSpace();
  space.map(anonymous(0x10000, 0x3000));
  assertEquals(space.protect(protect(0x11000, 0x1000, READ)), true);
  assertEquals(
    space.maps(),
    "00010000-00011000 rw-p\n00011000-00012000 r--p\n00012000-00013000 rw-p\n",
  );
  assertEquals(space.protect(protect(0x11000, 0x1000, READ | WRITE)), true);
  assertEquals(space.maps(), "00010000-00013000 rw-p\n");
  assertEquals(space.protect(protect(0x12000, 0x2000, READ)), false);
  assertEquals(
    space.maps(),
    "00010000-00012000 rw-p\n00012000-00013000 r--p\n",
  );
});

Deno.test("AddressSpace.protect keeps apart what was once writable from what never was", () => {
  const space = plainSpace();
  space.map(file(0x10000, 0x1000, READ, 0));
  space.map(file(0x11000, 0x1000, READ | WRITE, 0x1000));
  space.protect(protect(0x11000, 0x1000, READ));
  assertEquals(
    space.maps(),
    "00010000-00011000 r--p\n00011000-00012000 r--p\n",
  );
});

Deno.test("AddressSpace.setBreak grows and shrinks the heap by pages", () => {
  const space = plainSpace();
  const steps: [address: number, maps: string][] = [
    [0x10800, ""],
    [0x10800, ""],
    [0x12001, "00011000-00013000 rw-p\n"],
    [0x14000, "00011000-00014000 rw-p\n"],
    [0x11fff, "00011000-00012000 rw-p\n"],
    [0x10800, ""],
  ];
  for (const [address, maps] of steps) {
    assertEquals(space.setBreak({ kind: "break", address }), true);
    assertEquals(space.maps(), maps);
  }
});

Deno.test("AddressSpace.setBreak reports a heap that grows over a mapping", () => {
  const space = plainSpace();
  space.setBreak({ kind: "break", address: 0x10000 });
  space.map(anonymous(0x11000, 0x1000, READ));
  assertEquals(space.setBreak({ kind: "break", address: 0x12000 }), false);
});

Deno.test("AddressSpace.remap grows and shrinks in place", () => {
  const space = plainSpace();
  space.map(anonymous(0x10000, 0x2000));
  assertEquals(space.remap(remap(0x10000, 0x2000, 0x4000, 0x10000)), true);
  assertEquals(space.maps(), "00010000-00014000 rw-p\n");
  assertEquals(space.remap(remap(0x10000, 0x4000, 0x1000, 0x10000)), true);
  assertEquals(space.maps(), "00010000-00011000 rw-p\n");
});

Deno.test("AddressSpace.remap moves, and what was moved stays apart from anonymous neighbours", () => {
  const space = plainSpace();
  space.map(anonymous(0x10000, 0x3000));
  space.map(anonymous(0x20000, 0x1000));
  assertEquals(space.remap(remap(0x11000, 0x1000, 0x2000, 0x21000)), true);
  assertEquals(
    space.maps(),
    "00010000-00011000 rw-p\n00012000-00013000 rw-p\n00020000-00021000 rw-p\n00021000-00023000 rw-p\n",
  );
});

Deno.test("AddressSpace.remap moves a file mapping with its place in the file", () => {
  const space = plainSpace();
  space.map(file(0x10000, 0x1000, READ, 0x5000));
  space.map(file(0x20000, 0x1000, READ, 0x4000));
  assertEquals(space.remap(remap(0x10000, 0x1000, 0x1000, 0x21000)), true);
  assertEquals(space.maps(), "00020000-00022000 r--p\n");
});

Deno.test("AddressSpace.remap keeps the old window with MREMAP_DONTUNMAP, and doubles a shared one of length 0", () => {
  const space = plainSpace();
  space.map(anonymous(0x10000, 0x1000));
  assertEquals(
    space.remap({ ...remap(0x10000, 0x1000, 0x1000, 0x20000), keepOld: true }),
    true,
  );
  assertEquals(
    space.maps(),
    "00010000-00011000 rw-p\n00020000-00021000 rw-p\n",
  );
  assertEquals(
    space.remap(remap(0x10000, 0, 0x1000, 0x30000)),
    false,
    "private memory has no second view",
  );
  space.map({ ...anonymous(0x40000, 0x2000), shared: true, source: "line 1" });
  assertEquals(space.remap(remap(0x40000, 0, 0x2000, 0x50000)), true);
  assertEquals(space.maps().match(/rw-s/g)?.length, 2);
});

Deno.test("AddressSpace.remap reports an old window that is not mapped and a new one that is not free", () => {
  const space = plainSpace();
  assertEquals(space.remap(remap(0x10000, 0x1000, 0x2000, 0x20000)), false);
  assertEquals(space.remap(remap(0x10000, 0x1000, 0x2000, 0x10000)), false);
  assertEquals(space.remap(remap(0x10000, 0, 0x2000, 0x20000)), false);
  assertEquals(space.maps(), "");
  space.map(anonymous(0x10000, 0x1000));
  space.map(anonymous(0x20000, 0x1000, READ));
  assertEquals(space.remap(remap(0x10000, 0x1000, 0x1000, 0x20000)), false);
});

Deno.test("AddressSpace.copy is independent, heap and all", () => {
  const space = plainSpace();
  space.setBreak({ kind: "break", address: 0x10000 });
  space.setBreak({ kind: "break", address: 0x11000 });
  const copy = space.copy();
  copy.setBreak({ kind: "break", address: 0x13000 });
  space.unmap(0x10000, 0x1000);
  assertEquals([space.maps(), copy.maps()], ["", "00010000-00013000 rw-p\n"]);
});

Deno.test("AddressSpace.release destroys the tree with its last user, and not twice", () => {
  const space = plainSpace().share();
  space.release();
  assertEquals([space.users, space.tree.destroyed], [1, false]);
  space.release();
  assertEquals([space.users, space.tree.destroyed], [0, true]);
  assertThrows(
    () => space.release(),
    Error,
    "Cannot release address space: it has no users",
  );
});

function testAgainstMirror<Tree extends MapTree<Tree>>(
  trees: TreeSource<Tree>,
): void {
  Deno.test(`AddressSpace in a ${trees.name} agrees with a page-by-page mirror under random calls`, () => {
    const random = new Random(takeSeed());
    const mappings = new MappingTable();
    let space = new AddressSpace(trees.create(), mappings);
    let mirror = new PageMirror();
    for (let step = 0; step < 3000; step++) {
      const call = randomCall(random, mirror);
      const context = `step ${step}: ${JSON.stringify(call)}`;
      assertEquals(space.apply(call), mirror.apply(call), context);
      assertEquals(space.maps(), mirror.maps(), context);
      trees.validate(space.tree);
      if (!random.chance(1)) continue;
      const copy = space.copy();
      space.release();
      [space, mirror] = [copy, mirror.copy()];
    }
    space.release();
  });
}

testAgainstMirror(plainTrees());
testAgainstMirror(rangeTrees(false));
testAgainstMirror(rangeTrees(true));
