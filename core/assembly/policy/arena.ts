/**
 * Two arenas: the policies in force, and the spare in which the next ones are compiled. Nothing is freed one by one; a
 * build that fails is forgotten as a whole, and the arena in force goes on deciding.
 */
import {
  ARENA_FREE,
  ARENA_POLICIES,
  ARENA_SLACK,
  ARENA_SLOTS,
  POLICY_COUNT_MAX,
  POLICY_FULL,
  POLICY_MALFORMED,
  POLICY_NAME,
  POLICY_NAME_LENGTH,
  POLICY_OK,
  POLICY_ROOT_NODE,
  POLICY_SIZE,
  SCRATCH_SIZE,
  SLOT_COUNT,
} from './layout';

/** Working memory, SCRATCH_SIZE bytes. */
export let scratch: usize = 0;

let arenaSize: u32 = 0;
/** Addresses of the arenas. */
let inForce: usize = 0;
let spare: usize = 0;
/** Policies in each; the spare's counts while a build is under way. */
let inForceCount: u32 = 0;
let spareCount: u32 = 0;
/** Ends of what was ever written in each since it was wiped. */
let inForceHigh: u32 = 0;
let spareHigh: u32 = 0;
/** Next free byte of the spare, relative to it. */
let free: u32 = 0;
let building: bool = false;
/** Changes whenever the policies in force do: what was found before is stale. */
let generation: u32 = 0;

/**
 * Hands over the module's memory, once, before anything else.
 *
 * @param base  8-byte aligned, zeroed
 * @param size  bytes; SCRATCH_SIZE of working memory, the rest halved into the two arenas
 */
export function policyMemory(base: usize, size: u32): void {
  scratch = base;
  arenaSize = ((size - SCRATCH_SIZE) >>> 1) & ~7;
  inForce = base + SCRATCH_SIZE;
  spare = inForce + arenaSize;
  inForceCount = 0;
  inForceHigh = 0;
  spareHigh = 0;
  building = false;
  generation++;
}

/** Starts a build in the spare arena; one that was under way is forgotten. */
export function policyBegin(): void {
  memory.fill(spare + ARENA_SLOTS, 0, SLOT_COUNT * 2);
  spareCount = 0;
  free = ARENA_FREE;
  spareHigh = max(spareHigh, free);
  building = true;
}

/** Puts the built policies in force. @returns POLICY_OK, or POLICY_MALFORMED if no build is under way or one failed */
export function policyCommit(): u32 {
  if (!building) return POLICY_MALFORMED;
  building = false;
  const arena = inForce;
  const high = inForceHigh;
  inForce = spare;
  inForceHigh = spareHigh;
  inForceCount = spareCount;
  spare = arena;
  spareHigh = high;
  generation++;
  return POLICY_OK;
}

/** Wipes both arenas and the working memory: names of policies and paths are secrets too. */
export function policyClear(): void {
  memory.fill(scratch, 0, SCRATCH_SIZE);
  memory.fill(inForce, 0, inForceHigh);
  memory.fill(spare, 0, spareHigh);
  inForceCount = 0;
  inForceHigh = 0;
  spareHigh = 0;
  building = false;
  generation++;
}

/** Rises with every commit and clear; indexes and pending decisions of an earlier one mean nothing. */
export function policyGeneration(): u32 {
  return generation;
}

export function isBuilding(): bool {
  return building;
}

/** A failed add ends the build: without one of its policies a set of rules may allow what that policy denies. */
export function failBuild(status: u32): u32 {
  building = false;
  return status;
}

/** Bytes between the free mark and the end of the spare arena. */
export function spareRoom(): u32 {
  return arenaSize - ARENA_SLACK - free;
}

/** One past the spare arena's last byte: a compile keeps its list of rules there. */
export function spareEnd(): usize {
  return spare + arenaSize - ARENA_SLACK;
}

/**
 * Takes bytes of the spare arena, 8-byte aligned.
 *
 * @param size     at most 2^24
 * @param reserve  bytes at the arena's end that stay free
 * @returns 0 if there is no room
 */
export function take(size: u32, reserve: u32): usize {
  const rounded = (size + 7) & ~7;
  if (rounded + reserve > spareRoom()) return 0;
  const address = spare + free;
  free += rounded;
  // The reserve is written to as well, and is wiped with the rest.
  spareHigh = max(spareHigh, reserve > 0 ? arenaSize : free);
  return address;
}

/** FNV-1a; names come from operators, and a bad spread costs only time. */
function hash(name: usize, length: u32): u32 {
  let h: u32 = 0x811c9dc5;
  for (let i: u32 = 0; i < length; i++) h = (h ^ <u32>load<u8>(name + i)) * 0x01000193;
  return h;
}

/** The slot that holds the name, or the empty one where it belongs. There is one: slots are twice the policies. */
function slotOf(arena: usize, name: usize, length: u32): usize {
  let slot = hash(name, length) & (SLOT_COUNT - 1);
  let address = arena + ARENA_SLOTS + slot * 2;
  let index = <u32>load<u16>(address);
  while (index != 0) {
    const entry = arena + ARENA_POLICIES + (index - 1) * POLICY_SIZE;
    if (
      load<u32>(entry + POLICY_NAME_LENGTH) == length &&
      memory.compare(load<u32>(entry + POLICY_NAME), name, length) == 0
    ) {
      return address;
    }
    slot = (slot + 1) & (SLOT_COUNT - 1);
    address = arena + ARENA_SLOTS + slot * 2;
    index = <u32>load<u16>(address);
  }
  return address;
}

/** Enters a compiled policy into the spare's table. @returns POLICY_OK, POLICY_MALFORMED for a name that is there, POLICY_FULL */
export function enter(name: usize, length: u32, root: usize): u32 {
  const slot = slotOf(spare, name, length);
  if (load<u16>(slot) != 0) return POLICY_MALFORMED;
  if (spareCount == POLICY_COUNT_MAX) return POLICY_FULL;
  const entry = spare + ARENA_POLICIES + spareCount * POLICY_SIZE;
  store<u32>(entry + POLICY_NAME, <u32>name);
  store<u32>(entry + POLICY_NAME_LENGTH, length);
  store<u32>(entry + POLICY_ROOT_NODE, <u32>root);
  spareCount++;
  store<u16>(slot, <u16>spareCount);
  return POLICY_OK;
}

/** @returns the policy's index in the arena in force, valid until the next commit or clear; -1 if there is none */
export function policyFind(name: usize, length: u32): i32 {
  if (inForceCount == 0) return -1;
  return <i32>load<u16>(slotOf(inForce, name, length)) - 1;
}

/** @returns root node of a policy in force; 0 for an index that names none */
export function rootOf(index: u32): usize {
  if (index >= inForceCount) return 0;
  return load<u32>(inForce + ARENA_POLICIES + index * POLICY_SIZE + POLICY_ROOT_NODE);
}
