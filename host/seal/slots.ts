/** The set of slots: each wraps the root key to one X25519 key that its adapter recovers. */
import type { Core } from '../../core/types.ts';
import { Fault, isFault } from '../fault.ts';
import type { Random } from '../ports/random.ts';
import type { CreatedSlot, Offered, SealSlot, SlotKind } from '../ports/seal-slot.ts';
import type { Put, Reader } from '../ports/store.ts';
import type { Secret } from '../secret.ts';
import {
  decodeRow,
  deviceContext,
  encodeHeader,
  encodeRow,
  encodeSlotList,
  ID_SIZE,
  type SlotRow,
  wrapContext,
} from './slot-format.ts';
import { decapsulate, encapsulate, publicKey } from './x25519.ts';

const PREFIX = Buffer.from('slot/', 'ascii');

/** The weakest way in first: what a thief of the whole machine has to overcome. */
const WEAKEST_FIRST: readonly SlotKind[] = ['keyfile', 'shamir', 'pkcs11', 'tpm2'];

/** Reads every slot; rows that this version cannot read are left out (the keyring's copy will tell after an unseal). */
export function readSlots(reader: Reader): SlotRow[] {
  const slots: SlotRow[] = [];
  for (const { key, value } of reader.range('boot', { prefix: PREFIX })) {
    const slot = decodeRow(value);
    if (slot !== undefined && Buffer.compare(key.subarray(PREFIX.length), slot.header.slotId) === 0) slots.push(slot);
  }
  return slots;
}

export function slotPut(slot: SlotRow): Put {
  return { table: 'boot', key: Buffer.concat([PREFIX, slot.header.slotId]), value: encodeRow(slot) };
}

export function slotRemoval({ header }: SlotKey): Put {
  return { table: 'boot', key: Buffer.concat([PREFIX, header.slotId]) };
}

export function weakest(slots: readonly SlotRow[]): SlotKind | undefined {
  return WEAKEST_FIRST.find((kind) => slots.some((slot) => slot.header.kind === kind));
}

/** What seal-status says of the slots: what opens the box by itself, if anything, and the recovery quorum. */
export function shapeOf(slots: readonly SlotRow[]): {
  readonly type: SlotKind;
  readonly t: number;
  readonly n: number;
} {
  const recovery = slots.find(({ header }) => header.kind === 'shamir')?.header;
  const type = slots.find(({ header }) => header.kind !== 'shamir')?.header.kind ?? 'shamir';
  return { type, t: recovery?.threshold ?? 0, n: recovery?.shares ?? 0 };
}

/** What a slot is before the root key is wrapped to it. */
export type SlotKey = Pick<SlotRow, 'header' | 'headerBytes' | 'blob'>;

export interface NewSlot {
  readonly key: SlotKey;
  /** Kind `shamir`: to be handed to people, once. */
  readonly shares: readonly Secret[];
}

/**
 * Makes a slot key by the adapter. Nothing is stored.
 *
 * @param quorum  how many of how many shares open it: kind `shamir` only
 */
export async function createSlot(
  core: Core,
  random: Random,
  adapter: SealSlot,
  quorum: { readonly threshold: number; readonly shares: number },
  createdMs: number,
  offered: Offered = {},
): Promise<NewSlot> {
  const { applianceId } = core.keyringInfo();
  const slotId = random.bytes(ID_SIZE);
  const created: CreatedSlot = await adapter.create(deviceContext(adapter.kind, applianceId, slotId), offered);
  using key = created.key;
  const recipient = publicKey(key);
  const header = {
    kind: adapter.kind,
    applianceId: Buffer.from(applianceId),
    slotId,
    createdMs,
    publicKey: recipient,
    ...quorum,
  };
  return { key: { headerBytes: encodeHeader(header), header, blob: created.blob }, shares: created.shares ?? [] };
}

/**
 * Wraps the root key, which core holds, to a slot: the staged one where a new root is staged.
 *
 * @param rootGeneration  of that root
 */
export function wrapTo(core: Core, slot: SlotKey, rootGeneration: number): SlotRow {
  const { header, headerBytes, blob } = slot;
  const { shared, enc } = encapsulate(header.publicKey);
  using dh = shared;
  const context = wrapContext(headerBytes, rootGeneration);
  const wrapped = Buffer.from(core.wrapRoot(dh.bytes, enc, header.publicKey, context));
  return { headerBytes, header, blob, rootGeneration, enc, wrapped };
}

/**
 * Recovers the slot's key, as a proof that whoever offered something holds the slot; core is not asked.
 *
 * @throws Fault `slot.refused`, `slot.unavailable`
 */
export async function proveSlot(adapter: SealSlot, slot: SlotKey, offered: Offered): Promise<void> {
  const { header, blob } = slot;
  using key = await adapter.recover(blob, deviceContext(header.kind, header.applianceId, header.slotId), offered);
  if (Buffer.compare(publicKey(key), header.publicKey) !== 0) throw refused(header.kind);
}

/**
 * Recovers the slot's key and unwraps the root key into core. Core has the root afterwards, and nothing else.
 *
 * @throws Fault `slot.refused`, `slot.unavailable`
 */
export async function openSlot(core: Core, adapter: SealSlot, slot: SlotRow, offered: Offered): Promise<void> {
  const { header, headerBytes, blob, rootGeneration, enc, wrapped } = slot;
  using key = await adapter.recover(blob, deviceContext(header.kind, header.applianceId, header.slotId), offered);
  const recipient = publicKey(key);
  if (Buffer.compare(recipient, header.publicKey) !== 0) throw refused(header.kind);
  let shared: Secret;
  try {
    shared = decapsulate(key, enc);
  } catch {
    // The encapsulated key in the row was replaced by one of low order.
    throw refused(header.kind);
  }
  using dh = shared;
  try {
    core.unwrapRoot(dh.bytes, enc, recipient, wrapContext(headerBytes, rootGeneration), wrapped);
  } catch (error) {
    if (isFault(error)) throw error;
    throw refused(header.kind, error);
  }
}

/** @throws Fault `slot.refused` if the slots in the store are not those that the keyring lists */
export function checkSlots(core: Core, slots: readonly SlotRow[]): void {
  if (Buffer.compare(encodeSlotList(slots), core.keyringInfo().slots) === 0) return;
  throw new Fault(
    'slot.refused',
    'the slots in the store are not those that the keyring lists: they were changed, and no slot opens such a box; put the newest disk back, or a copy of it',
  );
}

function refused(kind: SlotKind, cause?: unknown): Fault {
  return new Fault(
    'slot.refused',
    `the ${kind} slot does not open this box: it was changed, or is of another time; put the newest disk back, or open the box by another slot (\`holdfast operator diagnose\` names them)`,
    { cause },
  );
}
