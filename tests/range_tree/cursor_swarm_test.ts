import { assert, assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import {
  type Cursor,
  ExternalLock,
  MAX_INDEX,
  RangeTree,
} from "../../src/range_tree/mod.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { CursorMirror } from "./cursor_mirror.ts";
import { assertAlike, CHANGES, ROOM, SEARCHES } from "./cursor_steps.ts";
import { Mirror } from "./mirror.ts";
import {
  chooseEntries,
  chooseRange,
  chooseRun,
  doOne,
  type Run,
} from "./sequences.ts";
import { bothOf } from "./both_caches.ts";
import { scribbled } from "../scribble.ts";
import { assertSame, assertSameHeld, Crowd } from "./worlds.ts";

const HOLDS = 40;
const LONGEST_HOLD = 12;

type Lock = "internal" | "external" | "none";

/** A cursor, what it must agree with, and what is on in a run. */
class Swarm {
  readonly arena: Arena;
  readonly tree: RangeTree;
  readonly mirror = new Mirror();
  readonly crowd: Crowd;
  readonly #random: Rng;
  readonly #run: Run;
  readonly #lock: Lock;
  readonly #externalLock?: ExternalLock;
  readonly #searches: string[];
  readonly #changes: string[];
  readonly #cursor: Cursor;
  readonly #model: CursorMirror;
  /** Another cursor of the same thread, which changes the tree under the feet of the first. */
  readonly #other: Cursor;
  readonly #otherModel: CursorMirror;
  #done = "";

  constructor(random: Rng, lock: Lock, gaps: boolean, rcu: boolean) {
    this.#random = random;
    this.#lock = lock;
    this.arena = scribbled(Arena.create({ byteLength: 2 ** 22 }));
    this.crowd = new Crowd(this.arena);
    if (lock === "external") {
      this.#externalLock = ExternalLock.create(this.arena);
    }
    this.tree = RangeTree.create(this.arena, {
      lock,
      gaps,
      rcu,
      externalLock: this.#externalLock,
    });
    this.#run = chooseRun(random, random.pick([6, 60, 600]));
    const isOn = () => random.int(3) > 0;
    this.#searches = ["walk()", ...Object.keys(SEARCHES).filter(isOn)];
    this.#changes = [
      "store()",
      ...Object.keys({ ...CHANGES, ...(gaps ? ROOM : {}) }).filter(isOn),
    ];
    if (random.int(2) === 0) {
      this.mirror.entries = chooseEntries(random, this.#run);
      using _guard = this.#externalLock?.guard();
      this.tree.bulkLoad(this.mirror.entries);
    }
    this.#cursor = this.tree.cursor();
    this.#model = new CursorMirror(this.mirror, 0, 0);
    this.#other = this.tree.cursor();
    this.#otherModel = new CursorMirror(this.mirror, 0, 0);
  }

  /** Some steps under one hold of the lock, or inside one read section. */
  hold(): void {
    this.#done = "";
    const steps = 1 + this.#random.int(LONGEST_HOLD);
    if (this.tree.rcu && this.#random.int(4) === 0) {
      using _section = this.arena.rcu.read();
      for (let step = 0; step < steps; step++) this.#search();
    } else {
      using _guard = this.#lock === "none" ? undefined : this.tree.lock();
      for (let step = 0; step < steps; step++) {
        this.#step();
        assertSameHeld(this.arena, this.tree, this.mirror);
      }
    }
    this.#release();
  }

  /** Something else between two holds: the normal functions, or a compaction. */
  between(): void {
    const random = this.#random;
    if (random.int(4) === 0) this.crowd.compact(this.tree);
    if (random.int(2) === 0) {
      using _guard = this.#externalLock?.guard();
      doOne(this.tree, this.mirror, random, this.#run);
      if (random.int(8) === 0) this.tree.setRcu(random.int(2) === 0);
    }
    using _guard = this.#externalLock?.guard();
    assertSame(this.tree, this.mirror);
  }

  /** Nothing is left of tree and cursors. */
  end(): void {
    this.#cursor.destroy();
    this.#other.destroy();
    {
      using _guard = this.#externalLock?.guard();
      this.tree.destroy();
    }
    this.arena.rcu.barrier();
    assertEquals(bothOf(this.arena).stats().objects, this.crowd.nodes);
    assertEquals(bothOf(this.arena, false).stats().objects, 0);
  }

  #step(): void {
    const random = this.#random;
    switch (random.int(8)) {
      case 0:
        return this.#setRange(this.#cursor, this.#model);
      case 1:
        return this.#changeBeside();
      case 2:
      case 3:
      case 4:
        return this.#change(this.#cursor, this.#model);
      default:
        return this.#search();
    }
  }

  #setRange(cursor: Cursor, model: CursorMirror): void {
    const [first, last] = chooseRange(this.mirror, this.#random, this.#run);
    this.#done += `setRange(${first}, ${last}) `;
    cursor.setRange(first, last);
    model.setRange(first, last);
  }

  /** Changes the tree, but not by the cursor. */
  #changeBeside(): void {
    if (this.#lock !== "internal" && this.#random.int(2) === 0) {
      // Whoever writes has the lock, so that nothing is taken.
      doOne(this.tree, this.mirror, this.#random, this.#run);
      return;
    }
    this.#done += "beside: ";
    this.#setRange(this.#other, this.#otherModel);
    this.#change(this.#other, this.#otherModel);
  }

  #change(cursor: Cursor, model: CursorMirror): void {
    const random = this.#random;
    const [min, max] = chooseRange(this.mirror, random, this.#run);
    const size = Math.min(1 + random.int(4), max - min + 1);
    const value = random.pick([1, 0xffff_ffff, 1 + random.int(1000)]);
    const name = random.pick(this.#changes);
    this.#done += `${name} of ${[value, min, max, size]} `;
    const step = CHANGES[name] ?? ROOM[name];
    const answers = step(cursor, model, { value, min, max, size });
    assertEquals(answers[0], answers[1], this.#done);
    assertAlike(cursor, model, this.#done);
  }

  #search(): void {
    const random = this.#random;
    const bound = random.pick([
      0,
      MAX_INDEX,
      ...chooseRange(this.mirror, random, this.#run),
    ]);
    const name = random.pick(this.#searches);
    this.#done += `${name} to ${bound} `;
    const answers = SEARCHES[name](this.#cursor, this.#model, { bound });
    assertEquals(answers[0], answers[1], this.#done);
    assertAlike(this.#cursor, this.#model, this.#done);
  }

  /** What was found is worth nothing once the lock is dropped. */
  #release(): void {
    if (this.#random.int(2) === 0) {
      this.#cursor.pause();
      this.#model.pause();
    } else {
      this.#cursor.reset();
      this.#model.reset();
    }
    this.#other.reset();
    this.#otherModel.reset();
  }
}

for (const lock of ["internal", "external", "none"] as const) {
  for (const gaps of [false, true]) {
    for (const rcu of [false, true]) {
      const name =
        `Cursor agrees with the mirror after every random step, lock ${lock}, gaps ${gaps}, rcu ${rcu}`;
      Deno.test(name, () => {
        let moves = 0;
        for (const seed of seeds(name)) {
          for (let round = 0; round < 8; round++) {
            const swarm = new Swarm(rng(seed * 100 + round), lock, gaps, rcu);
            for (let hold = 0; hold < HOLDS; hold++) {
              swarm.hold();
              swarm.between();
            }
            swarm.end();
            moves += swarm.crowd.moves;
          }
        }
        if (lock === "none") assertEquals(moves, 0);
        else assert(moves > 5, `${moves} moves`);
      });
    }
  }
}
