/**
 * Lets a thread die at every step of compiled binds, which no access by `Atomics` tells: the sources are compiled anew with a trap
 * before each of their writes. Exits 1 if what another thread then reaps is not in order. Run by `reap_test.ts`, since the compiler
 * needs a permission more.
 *
 * @module
 */
import { assert } from "@std/assert";
import { Arena, VaManager } from "../../mod.ts";
import { compiledFor, type CompiledManagers } from "../../src/va/compiled.ts";
import { compile } from "../../tools/assemble.ts";
import { cacheOf } from "../range_tree/worlds.ts";
import { settle } from "../stress/lost.ts";
import { assertReaped, picture, replaceSome, worldOf } from "./reaped.ts";

const FOLDER = "src/va/assembly/";
const WRITE =
  /^( *)(?=.*\b(store<|atomic\.(add|cmpxchg)<))(?! *(if|else|return)\b)/;
const BRANCH = /^( *(?:if|else)\b.*?)(?=store<)/;
const TRAP = `
let stepsLeft: i32 = -1;
export function dieAfter(steps: i32): void { stepsLeft = steps; }
function step(): void { if (stepsLeft-- == 0) unreachable(); }
`;

interface Dying extends CompiledManagers {
  dieAfter(steps: number): void;
}

function withTraps(source: string): string {
  const lines = source.split("\n").map((line) => {
    const branch = BRANCH.exec(line);
    return branch === null
      ? line.replace(WRITE, "$1step(); ")
      : `${branch[1]}{ step(); ${line.slice(branch[1].length)} }`;
  });
  return lines.join("\n") + TRAP;
}

async function doomedModule(): Promise<WebAssembly.Module> {
  const bytes = await compile(`${FOLDER}mod.ts`, (name, text) => {
    if (name.endsWith("va/assembly/bind.ts")) return withTraps(text);
    return name.endsWith("va/assembly/mod.ts")
      ? text + 'export { dieAfter } from "./bind";\n'
      : text;
  });
  return new WebAssembly.Module(bytes);
}

/** Has a thread's compiled binds be those with traps, and its atomic accesses throw once it has met one. */
function doom(victim: Arena, module: WebAssembly.Module): Dying {
  const memory = victim.memory!;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const dying = Object.assign(
    compiledFor(victim)!,
    exports as unknown as Dying,
  );
  for (
    const name of ["enterExact", "replaceAndExit", "unlinkNoted"] as const
  ) {
    const original = dying[name] as (...numbers: number[]) => number;
    dying[name] = (...numbers: number[]) => {
      try {
        return original(...numbers);
      } catch (error) {
        stopAtomics(victim);
        throw error;
      }
    };
  }
  const { rcu, scratchIndex } = victim;
  dying.bind(rcu.epochIndex, rcu.readerIndex, scratchIndex, victim.thread);
  return dying;
}

function stopAtomics(victim: Arena): void {
  const inline = victim.words.inline as unknown as Record<string, unknown>;
  for (const name of Object.keys(inline)) {
    inline[name] = () => {
      throw new Error("dead");
    };
  }
}

/** Each replaces one mapping: in the middle of its VmBo's list, at its beginning, at its end; by one of the same object. */
const BINDS = [400, 100, 1000, 300].map((start, i) => (vm: VaManager) => {
  const request = { start, range: 100, object: 1 + i % 3, offset: 5 };
  if (i % 2 === 0) vm.bind(request);
  else vm.commit(vm.mapOps(request));
});

/** How many mappings are noted as replaced before, and by whom: the eighth is the one that settles all. */
const NOTED = [0, 3, 7].flatMap((count) =>
  ["victim", "other"].map((by) => ({ count, by }))
);

const module = await doomedModule();
let deaths = 0;
for (const [i, run] of BINDS.entries()) {
  for (const { count, by } of NOTED) {
    const whole = worldOf().vm;
    replaceSome(whole, count);
    const before = picture(whole);
    {
      using _guard = whole.lock();
      run(whole);
    }
    const after = picture(whole);
    for (let steps = 0, died = true; died; steps++) {
      const { arena, vm } = worldOf();
      const victim = Arena.attach(arena.shared);
      const theirs = VaManager.attach(victim, "vm");
      replaceSome(by === "victim" ? theirs : vm, count);
      const dying = doom(victim, module);
      dying.dieAfter(steps);
      try {
        const guard = theirs.lock();
        run(theirs);
        guard[Symbol.dispose]();
        died = false;
        assert(picture(vm) === after);
      } catch (error) {
        assert(error instanceof WebAssembly.RuntimeError, String(error));
        deaths++;
        const message =
          `bind ${i}, ${count} noted by ${by}, died at step ${steps}`;
        assertReaped(arena, vm, victim.thread, [before, after], message);
      }
    }
  }
}
// There are more than ten writes in each, and some forty where all are settled.
assert(deaths >= 15 * BINDS.length * NOTED.length, `${deaths} deaths`);

/**
 * Under a lock of the driver's, which whoever reaps knows nothing of: the lists may be broken where the thread died, but every mapping
 * is freed once.
 */
function dieUnderDriversLock(count: number, steps: number): boolean {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const vm = VaManager.create(arena, { range: 2 ** 30, name: "vm" });
  const victim = Arena.attach(arena.shared);
  const theirs = VaManager.attach(victim, "vm");
  const bindAll = (by: VaManager, first: number, end: number) => {
    for (let i = first; i < end; i++) {
      by.bind({ start: 100 * i, range: 100, object: 1 + i % 3, offset: i });
    }
  };
  bindAll(theirs, 1, 11);
  bindAll(vm, 1, 1 + count);
  const dying = doom(victim, module);
  dying.dieAfter(steps);
  let died = false;
  try {
    bindAll(theirs, 10, 11);
  } catch (error) {
    assert(error instanceof WebAssembly.RuntimeError, String(error));
    died = true;
  }
  arena.reap(victim.thread);
  // Over what the thread was about to replace, or has replaced, first of all.
  bindAll(vm, 10, 11);
  bindAll(vm, 1, 11);
  vm.bo(1)?.mappings();
  settle(arena);
  const mappings = cacheOf(arena, "va_mapping");
  const message = `${count} noted, died at step ${steps}`;
  assert(mappings.stats().objects === vm.tree.count, message);
  mappings.validate();
  return died;
}

for (const count of [0, 3, 7]) {
  let steps = 0;
  while (dieUnderDriversLock(count, steps)) steps++;
  assert(steps > 10, `${steps} deaths`);
}
