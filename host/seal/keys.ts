/**
 * Changes of the keyring on an open box: new epochs, new roots, slots added, replaced and removed. Each is one commit that
 * holds the new ring, the slots that wrap its root and the freshness row that proves them; a power cut leaves the box as
 * it was before or as it is after.
 */
import type { Core } from '../../core/types.ts';
import { Fault, isFault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import type { Random } from '../ports/random.ts';
import type { Offered, SealSlot, SlotKind } from '../ports/seal-slot.ts';
import type { Put, Store } from '../ports/store.ts';
import type { Secret } from '../secret.ts';
import type { Counters } from './counters.ts';
import { Erase, type EraseStep } from './erase.ts';
import type { Freshness } from './freshness.ts';
import { idOf } from './openers.ts';
import { Rewrap, type RewrapProgress } from './rewrap.ts';
import { KEYRING_KEY } from './rows.ts';
import { encodeSlotList, SLOT_COUNT_MAX, type SlotRow } from './slot-format.ts';
import { createSlot, type NewSlot, type SlotKey, slotPut, slotRemoval, wrapTo } from './slots.ts';

export interface KeyChangesParts {
  readonly core: Core;
  readonly store: Store;
  readonly freshness: Freshness;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly lease: LeaseTime;
  readonly random: Random;
  readonly allowed: readonly SlotKind[];
  /** Of devices and key files, as they are configured here. */
  readonly adapterOf: (kind: SlotKind) => SealSlot | undefined;
  /** How long a request may hold a row that it sealed before a rotation, milliseconds. */
  readonly settleMs: number;
  readonly note: (event: string, data: Readonly<Record<string, string | number>>) => void;
  /** Resolves when the leaves that ask for a change are on disk: they come before it. */
  readonly leavesDurable: () => Promise<void>;
  /** A new root brings new audit keys; asked again, it does nothing. */
  readonly auditKeysChanged: () => Promise<void>;
  readonly trouble: (name: string, sentence: string | undefined) => void;
  /** Commits anything, so that a count of rows has a beginning. */
  readonly beat: () => Promise<void>;
}

/** The box as changes of keys see it. */
export interface KeyHolder {
  readonly slots: readonly SlotRow[];
  /** The slots as they are from now on. */
  changed(slots: readonly SlotRow[]): void;
  /** Runs one change of state after the other; refused unless the box is open and has verified its store. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** True when the box that a background work began on is closed. */
  stopped(): boolean;
}

/** What goes with a new slot. */
export interface Addition {
  readonly offered?: Offered;
  /** Which slots go in the same change. @throws Fault if there is not what should go */
  readonly out?: (slots: readonly SlotRow[]) => readonly SlotRow[];
}

export interface Added {
  readonly slot: SlotRow;
  readonly gone: readonly SlotRow[];
  /** What could not be forgotten outside the box. */
  readonly warnings: readonly string[];
}

interface Ring {
  readonly slots?: { readonly kept: readonly SlotKey[]; readonly removed: readonly SlotKey[] };
  readonly newEpoch?: boolean;
  readonly newRoot?: boolean;
  /** What else the same commit writes. */
  readonly more?: readonly Put[];
  /** With a new root: the box is another appliance from then on. */
  readonly applianceId?: Uint8Array;
}

export class KeyChanges {
  readonly #parts: KeyChangesParts;
  readonly #rewrap: Rewrap;
  readonly #erase: Erase;
  #rewrapping = false;
  /** Who asked for work behind while some was under way. */
  #next: KeyHolder | undefined;

  constructor(parts: KeyChangesParts) {
    this.#parts = parts;
    this.#rewrap = new Rewrap(parts);
    this.#erase = new Erase(parts);
  }

  get progress(): RewrapProgress & { readonly running: boolean; readonly erase: EraseStep } {
    return { ...this.#rewrap.progress, running: this.#rewrapping, erase: this.#erase.step };
  }

  /** A new epoch: rows are sealed with it from now on, older ones moved to it behind the requests. */
  async rotate(holder: KeyHolder): Promise<void> {
    await holder.exclusive(async () => {
      await this.#change(holder, { newEpoch: true });
      this.#parts.note('keys.rotated', { epoch: this.#parts.core.keyringInfo().epoch });
    });
    this.rewrapBehind(holder);
  }

  /**
   * A new root and epoch, and nothing of what was deleted before left in the store's file, as far as its medium obeys. Returns
   * when that is sure to come: rows are moved and the file is exchanged behind the requests, after a restart too.
   *
   * @throws Fault `store.full` the disk has no room for a second file: nothing changed
   */
  async erase(holder: KeyHolder): Promise<void> {
    await holder.exclusive(async () => {
      this.#erase.checkRoom();
      await this.#change(holder, { newRoot: true, more: [this.#erase.mark()] });
      this.#erase.asked();
      this.#parts.note('keys.erase-asked', { epoch: this.#parts.core.keyringInfo().epoch });
    });
    this.rewrapBehind(holder);
  }

  /**
   * One more way into the box, and with it others out in the same change: then with a new root.
   *
   * @throws Fault `slot.refused` a kind that is not allowed; `slot.unavailable` no device
   */
  async add(holder: KeyHolder, adapter: SealSlot, { offered = {}, out }: Addition = {}): Promise<Added> {
    const { slot, gone } = await holder.exclusive(async () => {
      this.#checkAllowed(adapter.kind);
      if (adapter.kind === 'shamir') throw new Fault('input.invalid', 'a box has one set of shares: rekey it instead');
      const gone = out?.(holder.slots) ?? [];
      for (const one of gone) checkRemovable(one);
      const stay = holder.slots.filter((one) => !gone.includes(one));
      if (stay.length >= SLOT_COUNT_MAX)
        throw new Fault('input.invalid', `a box has at most ${SLOT_COUNT_MAX} slots: remove one first`);
      const made = await this.#create(adapter, { threshold: 0, shares: 0 }, offered);
      const slots = await this.#change(holder, {
        slots: { kept: [...stay, made.key], removed: gone },
        newRoot: gone.length > 0,
      }).catch(async (error: unknown) => {
        // What failed after the commit leaves a slot that opens the box.
        if (holder.slots.some((one) => idOf(one) === idOf(made.key))) throw error;
        await adapter.discard(made.key.blob, blobsOf(stay, adapter.kind), offered).catch(() => undefined);
        throw error;
      });
      this.#parts.note('slot.added', { kind: adapter.kind, slot: idOf(made.key) });
      for (const one of gone) this.#parts.note('slot.removed', { kind: one.header.kind, slot: idOf(one) });
      return { slot: slots.find((one) => idOf(one) === idOf(made.key)) as SlotRow, gone };
    });
    if (gone.length > 0) this.rewrapBehind(holder);
    return { slot, gone, warnings: await this.#forget(holder, gone, offered) };
  }

  /**
   * Takes a way into the box away: a new root, so that who held it opens an old disk only.
   *
   * @returns what could not be forgotten outside the box (a key on a token that is away)
   */
  async remove(holder: KeyHolder, slotId: string, offered: Offered = {}): Promise<readonly string[]> {
    const gone = await holder.exclusive(async () => {
      const found = holder.slots.find((slot) => idOf(slot) === slotId);
      if (found === undefined) throw new Fault('route.absent', 'there is no slot of this id: see slot list');
      checkRemovable(found);
      const kept = holder.slots.filter((slot) => slot !== found);
      await this.#change(holder, { slots: { kept, removed: [found] }, newRoot: true });
      this.#parts.note('slot.removed', { kind: found.header.kind, slot: slotId });
      return found;
    });
    this.rewrapBehind(holder);
    return this.#forget(holder, [gone], offered);
  }

  /** After the commit: a slot whose key is gone and whose row is not would be a locked door. */
  async #forget(holder: KeyHolder, gone: readonly SlotRow[], offered: Offered): Promise<readonly string[]> {
    const warnings: string[] = [];
    for (const { header, blob } of gone) {
      try {
        await this.#parts.adapterOf(header.kind)?.discard(blob, blobsOf(holder.slots, header.kind), offered);
      } catch (error) {
        if (!isFault(error)) throw error;
        warnings.push(
          `the ${header.kind} slot is gone and opens this box no more; its key on the device stays until it is deleted there: ${error.message}`,
        );
      }
    }
    return warnings;
  }

  /**
   * New shares, and with them a new root.
   *
   * @param adapter  makes them; the shares handed out before open an old disk only
   * @returns the shares to hand to people, once
   */
  async rekey(
    holder: KeyHolder,
    adapter: SealSlot,
    quorum: { readonly threshold: number; readonly shares: number },
  ): Promise<readonly Secret[]> {
    const shares = await holder.exclusive(async () => {
      const made = await this.#create(adapter, quorum);
      await this.#exchange(holder, made.key);
      return made.shares;
    });
    this.rewrapBehind(holder);
    return shares;
  }

  /** New shares that open nothing until `replaceShares`; nothing is stored. @returns their slot, and them, once */
  prepareShares(
    holder: KeyHolder,
    adapter: SealSlot,
    quorum: { readonly threshold: number; readonly shares: number },
  ): Promise<NewSlot> {
    return holder.exclusive(() => this.#create(adapter, quorum));
  }

  /** Puts shares that were prepared and proved in the place of the present ones, and with them a new root. */
  async replaceShares(holder: KeyHolder, slot: SlotKey): Promise<void> {
    await holder.exclusive(() => this.#exchange(holder, slot));
    this.rewrapBehind(holder);
  }

  async #exchange(holder: KeyHolder, slot: SlotKey): Promise<void> {
    const removed = holder.slots.filter(({ header }) => header.kind === 'shamir');
    const kept = [...holder.slots.filter(({ header }) => header.kind !== 'shamir'), slot];
    await this.#change(holder, { slots: { kept, removed }, newRoot: true });
    const { threshold, shares } = slot.header;
    this.#parts.note('seal.rekeyed', { shares, threshold });
  }

  /** Goes on with what a rotation or an erase began; returns at once. */
  rewrapBehind(holder: KeyHolder): void {
    if (holder.stopped()) return;
    if (this.#rewrapping) {
      this.#next = holder;
      return;
    }
    this.#rewrapping = true;
    void this.#behind(holder).finally(() => {
      this.#rewrapping = false;
      const next = this.#next;
      this.#next = undefined;
      if (next !== undefined) this.rewrapBehind(next);
    });
  }

  async #behind(holder: KeyHolder): Promise<void> {
    const { trouble } = this.#parts;
    const stopped = (): boolean => holder.stopped();
    try {
      do await this.#rewrap.run((work) => holder.exclusive(work), stopped);
      while (!stopped() && (await this.#erase.run(stopped)) === 'again');
      trouble('rewrap', undefined);
    } catch (error) {
      if (stopped()) return;
      const why = isFault(error) ? error.message : 'an internal error';
      trouble('rewrap', `rows could not be moved to the newest epoch, and the old one stays: ${why}`);
    }
  }

  /**
   * A new root under a new appliance id; slots stay as they are, and so does what they were made under. The log is stopped
   * and nobody is let in.
   *
   * @returns the slots, which wrap the new root
   */
  becomeAnother(slots: readonly SlotRow[], applianceId: Uint8Array): Promise<readonly SlotRow[]> {
    return this.#parts.counters.changeKeys((more) => this.#commit({ slots }, { newRoot: true, applianceId }, more));
  }

  #checkAllowed(kind: SlotKind): void {
    if (this.#parts.allowed.includes(kind)) return;
    throw new Fault('slot.refused', `slots of kind ${kind} are not allowed here (seal.allowed)`);
  }

  /** The device makes a key, and may count a PIN: the leaf that asks for it comes first. */
  async #create(
    adapter: SealSlot,
    quorum: { readonly threshold: number; readonly shares: number },
    offered: Offered = {},
  ): Promise<NewSlot> {
    const { core, random, clock, leavesDurable } = this.#parts;
    await leavesDurable();
    return await createSlot(core, random, adapter, quorum, clock.wallMs(), offered);
  }

  /** Counts a new ring: stored, in force, counted. Then the counters follow the slots. */
  async #change(holder: KeyHolder, ring: Ring): Promise<readonly SlotRow[]> {
    const { counters, leavesDurable, note } = this.#parts;
    await leavesDurable();
    const rows = await counters.changeKeys(
      (counted) => this.#commit(holder, ring, counted),
      (made) => holder.changed(made),
    );
    if (ring.newRoot === true) await this.renewAuditKeys();
    if (ring.slots !== undefined) {
      for (const { event, data } of await counters.follow(rows.map(({ header }) => header.kind))) note(event, data);
    }
    return rows;
  }

  /** Stages a ring, wraps its root to every slot, and commits both with the freshness row. */
  async #commit(
    holder: Pick<KeyHolder, 'slots'>,
    { slots, newEpoch = false, newRoot = false, more = [], applianceId }: Ring,
    counted: readonly Put[],
  ): Promise<readonly SlotRow[]> {
    const { core, store, freshness, clock, beat } = this.#parts;
    const before = store.get('keyring', KEYRING_KEY);
    if (before === undefined) throw new Fault('appliance.rolled-back', 'rolled back: the store has no keyring');
    const expected = Uint8Array.from(before);
    const kept = slots?.kept ?? holder.slots;
    const { rootGeneration } = core.keyringInfo();
    const ring = Buffer.from(
      core.stageKeyring({
        ...{ slots: encodeSlotList(kept), newEpoch, newRoot, nowMs: clock.wallMs() },
        ...(applianceId === undefined ? {} : { applianceId }),
      }),
    );
    let rows: readonly SlotRow[];
    try {
      rows = kept.map((slot) =>
        newRoot || !isWrapped(slot) ? wrapTo(core, slot, rootGeneration + (newRoot ? 1 : 0)) : slot,
      );
      if (newRoot) await freshness.renew(clock, () => store.snapshot(), beat);
    } catch (error) {
      if (!core.sealed) core.discardStaged();
      throw error;
    }
    const puts: readonly Put[] = [
      { table: 'keyring', key: KEYRING_KEY, value: ring },
      ...rows.map(slotPut),
      ...(slots?.removed ?? []).map(slotRemoval),
      ...more,
      ...counted,
    ];
    await freshness.carryStaged(() =>
      store.commit({ puts, expect: [{ table: 'keyring', key: KEYRING_KEY, is: expected }] }),
    );
    return rows;
  }

  /**
   * A signing key for the present root, unless it is there. The change of the root is durable: a log that cannot be written
   * now is told, undoes nothing, and the next unseal tries again, as it does after a cut between the two.
   */
  async renewAuditKeys(): Promise<void> {
    const { trouble, auditKeysChanged } = this.#parts;
    try {
      await auditKeysChanged();
      trouble('audit-keys', undefined);
    } catch (error) {
      const why = isFault(error) ? error.message : 'an internal error';
      trouble('audit-keys', `the audit log still signs with the key from before the rekey: ${why}`);
    }
  }
}

const blobsOf = (slots: readonly SlotRow[], kind: SlotKind): readonly Uint8Array[] =>
  slots.filter(({ header }) => header.kind === kind).map(({ blob }) => blob);

/** The shares stay, so a box never loses its last way in. */
function checkRemovable({ header }: SlotKey): void {
  if (header.kind === 'shamir')
    throw new Fault('input.invalid', 'the recovery shares are never removed: rekey them instead');
}

function isWrapped(slot: SlotKey | SlotRow): slot is SlotRow {
  return 'wrapped' in slot;
}
