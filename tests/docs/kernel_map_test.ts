import { assert, assertEquals } from "@std/assert";
import * as pollard from "../../mod.ts";

/** What `include/linux/maple_tree.h` of Linux 6.12 declares for its users: the names, in its order. */
const KERNEL_NAMES = `
  mt_lock_is_held mt_write_lock_is_held mt_set_external_lock mt_on_stack
  MTREE_INIT MTREE_INIT_EXT DEFINE_MTREE mtree_lock mtree_lock_nested mtree_unlock
  mtree_load mtree_insert mtree_insert_range mtree_alloc_range mtree_alloc_cyclic mtree_alloc_rrange
  mtree_store_range mtree_store mtree_erase mtree_dup __mt_dup mtree_destroy __mt_destroy mtree_empty
  mas_lock mas_lock_nested mas_unlock MA_ERROR MA_STATE MA_WR_STATE MA_TOPIARY
  mas_walk mas_store mas_erase mas_store_gfp mas_store_prealloc
  mas_find mas_find_range mas_find_rev mas_find_range_rev mas_preallocate mas_alloc_cyclic
  mas_nomem mas_pause maple_tree_init mas_destroy mas_expected_entries
  mas_prev mas_prev_range mas_next mas_next_range mas_empty_area mas_empty_area_rev
  mas_init mas_is_active mas_is_err mas_reset mas_for_each
  maple_tree_tests_run maple_tree_tests_passed mt_dump mas_dump mas_wr_dump mt_validate mt_cache_shrink
  MT_BUG_ON MAS_BUG_ON MAS_WR_BUG_ON MT_WARN_ON MAS_WARN_ON MAS_WR_WARN_ON
  __mas_set_range mas_set_range mas_set mt_external_lock mt_init_flags mt_init
  mt_in_rcu mt_clear_in_rcu mt_set_in_rcu mt_height mt_find mt_find_after mt_prev mt_next mt_for_each
  MT_FLAGS_ALLOC_RANGE MT_FLAGS_USE_RCU MT_FLAGS_HEIGHT_OFFSET MT_FLAGS_HEIGHT_MASK
  MT_FLAGS_LOCK_MASK MT_FLAGS_LOCK_IRQ MT_FLAGS_LOCK_BH MT_FLAGS_LOCK_EXTERN MT_FLAGS_ALLOC_WRAPPED
  MAPLE_HEIGHT_MAX MAPLE_RESERVED_RANGE MAPLE_NODE_MASK MAPLE_NODE_TYPE_MASK MAPLE_NODE_TYPE_SHIFT
  MAPLE_NODE_SLOTS MAPLE_RANGE64_SLOTS MAPLE_ARANGE64_SLOTS MAPLE_ALLOC_SLOTS
  ma_active ma_start ma_root ma_none ma_pause ma_overflow ma_underflow ma_error
  XA_ZERO_ENTRY -EEXIST -EBUSY -EINVAL -ENOMEM
`.trim().split(/\s+/);

/** The functions and macros of `include/drm/drm_gpuvm.h` of Linux 6.18, in its order, with one that went with that version and three that came with the next. */
const DRM_NAMES = `
  drm_gpuva_insert drm_gpuva_remove drm_gpuva_link drm_gpuva_unlink drm_gpuva_unlink_defer
  drm_gpuva_find drm_gpuva_find_first drm_gpuva_find_prev drm_gpuva_find_next
  drm_gpuva_init drm_gpuva_invalidate drm_gpuva_invalidated
  drm_gpuvm_init drm_gpuvm_get drm_gpuvm_put drm_gpuvm_range_valid drm_gpuvm_interval_empty
  drm_gpuvm_resv_object_alloc drm_gpuvm_resv_protected drm_gpuvm_immediate_mode drm_gpuvm_resv drm_gpuvm_resv_obj
  drm_gpuvm_resv_held drm_gpuvm_resv_assert_held drm_gpuvm_is_extobj
  __drm_gpuva_next drm_gpuvm_for_each_va_range drm_gpuvm_for_each_va_range_safe drm_gpuvm_for_each_va drm_gpuvm_for_each_va_safe
  drm_gpuvm_prepare_vm drm_gpuvm_prepare_objects drm_gpuvm_prepare_range
  drm_gpuvm_exec_lock drm_gpuvm_exec_lock_array drm_gpuvm_exec_lock_range drm_gpuvm_exec_unlock
  drm_gpuvm_validate drm_gpuvm_resv_add_fence drm_gpuvm_exec_resv_add_fence drm_gpuvm_exec_validate
  drm_gpuvm_bo_create drm_gpuvm_bo_obtain drm_gpuvm_bo_obtain_prealloc drm_gpuvm_bo_get drm_gpuvm_bo_put
  drm_gpuvm_bo_put_deferred drm_gpuvm_bo_deferred_cleanup
  drm_gpuvm_bo_find drm_gpuvm_bo_evict drm_gpuvm_bo_gem_evict drm_gpuvm_bo_extobj_add
  drm_gpuvm_bo_for_each_va drm_gpuvm_bo_for_each_va_safe
  drm_gpuva_for_each_op drm_gpuva_for_each_op_safe drm_gpuva_for_each_op_from_reverse drm_gpuva_for_each_op_reverse
  drm_gpuva_first_op drm_gpuva_last_op drm_gpuva_prev_op drm_gpuva_next_op
  drm_gpuvm_sm_map_ops_create drm_gpuvm_madvise_ops_create drm_gpuvm_sm_unmap_ops_create
  drm_gpuvm_prefetch_ops_create drm_gpuvm_bo_unmap_ops_create drm_gpuva_ops_free drm_gpuva_init_from_op
  drm_gpuvm_sm_map drm_gpuvm_sm_unmap drm_gpuvm_sm_map_exec_lock drm_gpuvm_sm_unmap_exec_lock
  drm_gpuva_map drm_gpuva_remap drm_gpuva_unmap drm_gpuva_op_remap_to_unmap_range
`.trim().split(/\s+/);

/** For each header: the heading of its column, its names, and what else may stand in that column. */
const HEADERS: readonly [string, readonly string[], readonly string[]][] = [
  ["kernel", KERNEL_NAMES, ["NULL", "ULONG_MAX"]],
  ["drm_gpuvm.h", DRM_NAMES, []],
];

interface Row {
  readonly table: string;
  /** By the heading of their column. */
  readonly cells: ReadonlyMap<string, string>;
}

/** The rows of every table under the headings of a Markdown text. */
function rowsOf(text: string): Row[] {
  const rows: Row[] = [];
  let table = "", columns: string[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) table = line.replace(/^#+ /, "");
    if (!line.startsWith("|")) columns = [];
    else {
      const cells = line.slice(1, line.lastIndexOf("|")).split("|")
        .map((cell) => cell.trim());
      if (columns.length === 0) columns = cells;
      else if (!cells.every((cell) => /^-+$/.test(cell))) {
        assertEquals(cells.length, columns.length, line);
        assert(cells.every((cell) => cell !== ""), line);
        rows.push({
          table,
          cells: new Map(cells.map((cell, at) => [columns[at], cell])),
        });
      }
    }
  }
  return rows;
}

/** What stands between backticks in a cell. */
function codesOf(cell = ""): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]);
}

const text = await Deno.readTextFile(
  new URL("../../docs/kernel-map.md", import.meta.url),
);
const rows = rowsOf(text);
const arena = pollard.Arena.create({ byteLength: 2 ** 18 });
const tree = pollard.RangeTree.create(arena);
/** Objects that show the fields of a class, which its prototype does not, or a class that nobody constructs. */
const instances: Record<string, object> = {
  RangeTree: tree,
  Cursor: tree.cursor(),
};

/** Whether the module, or the language, has a name such as `RESERVED`, `Cursor` or `Cursor.walk`. */
function exists(name: string): boolean {
  const [top, member] = name.split(".");
  const value = (pollard as Record<string, unknown>)[top] ??
    instances[top]?.constructor ?? (globalThis as Record<string, unknown>)[top];
  if (member === undefined || typeof value !== "function") {
    return value !== undefined && member === undefined;
  }
  return [value, value.prototype, instances[top] ?? {}].some((object) =>
    member in object
  );
}

for (const [column, names, besides] of HEADERS) {
  Deno.test(`kernel-map.md has one row for every name of the kernel's header, column ${column}`, () => {
    const found = rows.flatMap(({ cells }) => codesOf(cells.get(column)));
    assertEquals(
      names.filter((name) => !found.includes(name)),
      [],
      "missing",
    );
    assertEquals(
      found.filter((name, at) => found.indexOf(name) !== at),
      [],
      "more than one row",
    );
    assertEquals(
      found.filter((name) => ![...names, ...besides].includes(name)),
      [],
      "not in the header",
    );
  });
}

Deno.test("kernel-map.md names nothing of Pollard's that does not exist", () => {
  const inTables = rows.flatMap(({ cells }) => codesOf(cells.get("Pollard")))
    .filter((code) => !code.startsWith('"'));
  const anywhere = codesOf(text).filter((code) =>
    /^(RangeTree|Cursor|ExternalLock|Lockdep|Compactor|VaManager|BindQueue|OperationList)\.\w+$/
      .test(code)
  );
  assert(inTables.length > 0 && anywhere.length > 0);
  const missing = new Set(
    [...inTables, ...anywhere].filter((name) => !exists(name)),
  );
  assertEquals([...missing].sort(), []);
});

Deno.test("kernel-map.md says of every function what it locks, allocates and drops", () => {
  const words: Record<string, readonly string[]> = {
    lock: ["none", "own", "own read", "held", "reading"],
    memory: ["no", "may", "yes"],
    drops: ["no", "yes", "blocking"],
  };
  for (const { cells } of rows) {
    const kernel = cells.get("kernel") ?? "";
    const isFunction = /^`_*(mt|mtree|mas)_/.test(kernel);
    if (!isFunction && !cells.has("lock")) continue;
    for (const [column, known] of Object.entries(words)) {
      const word = cells.get(column);
      assert(
        word !== undefined && known.includes(word),
        `${kernel}: ${column} is "${word}"`,
      );
    }
  }
});

Deno.test("kernel-map.md says of every function of the VA manager what it needs", () => {
  for (const { cells } of rows) {
    const kernel = cells.get("drm_gpuvm.h");
    if (kernel === undefined) continue;
    const needs = cells.get("needs") ?? "";
    assert(
      ["nothing", "outer", "outer, memory"].includes(needs),
      `${kernel}: needs is "${needs}"`,
    );
  }
});
