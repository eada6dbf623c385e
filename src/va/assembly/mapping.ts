/**
 * The layout of a mapping, of a VmBo and of a manager's header, in bytes. See `../mapping.ts`, `../vm_bo.ts` and `../header.ts`, which
 * own the layouts and say who may write what; a test compares what both make of the same mappings.
 */

export const MAPPING_START: usize = 0;
export const MAPPING_OFFSET: usize = 16;
export const MAPPING_REPEAT: usize = 24;
export const MAPPING_PHASE: usize = 32;
export const MAPPING_OBJECT: usize = 40;
export const MAPPING_FLAGS: usize = 44;
export const MAPPING_BO: usize = 48;
export const MAPPING_NEXT: usize = 52;
export const MAPPING_PREV: usize = 56;

export const MANAGER_LIFE: usize = 0;
export const MANAGER_NOTES: usize = 68;
export const MANAGER_NOTE_COUNT: usize = 100;

export const BO_HEAD: usize = 4;
export const BO_TAIL: usize = 8;
export const BO_COUNT: usize = 12;
