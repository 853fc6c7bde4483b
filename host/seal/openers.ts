/** Which adapter opens which slot, in which order the box tries them by itself, and why one did not open it. */
import { Fault, isFault } from '../fault.ts';
import type { WayIn } from '../ports/appliance.ts';
import type { SealSlot, SlotKind } from '../ports/seal-slot.ts';
import type { SlotRow } from './slot-format.ts';

export const idOf = ({ header }: { readonly header: { readonly slotId: Uint8Array } }): string =>
  Buffer.from(header.slotId).toString('hex');

/** Enough of an id to tell the slots of one box apart; commands take it too. */
export const shortId = (id: string): string => id.slice(0, 8);

const SHORT_MIN = 8;

/** @param id  whole, or its beginning of 8 digits or more @throws Fault `route.absent`, `input.invalid` */
export function findSlot<T extends Pick<SlotRow, 'header'>>(slots: readonly T[], id: string): T {
  const found = /^[0-9a-f]{8,32}$/.test(id) ? slots.filter((slot) => idOf(slot).startsWith(id)) : [];
  const [one, two] = found;
  if (one === undefined) {
    throw new Fault(
      'route.absent',
      `there is no slot of this id: \`holdfast slot list\` shows them (at least ${SHORT_MIN} digits)`,
    );
  }
  if (two !== undefined) throw new Fault('input.invalid', 'several slots begin with these digits: give the whole id');
  return one;
}

export class Openers {
  readonly #adapters: readonly SealSlot[];
  readonly #allowed: readonly SlotKind[];
  /** By slot id: why it did not open the box, and whether another try may. */
  readonly #troubles = new Map<string, { readonly sentence: string; readonly again: boolean }>();

  /** @param adapters  in the order in which they are tried */
  constructor(adapters: readonly SealSlot[], allowed: readonly SlotKind[]) {
    this.#adapters = adapters;
    this.#allowed = allowed;
  }

  adapterOf(kind: SlotKind): SealSlot | undefined {
    return this.#adapters.find((one) => one.kind === kind);
  }

  opens(slot: Pick<SlotRow, 'header' | 'blob'>): WayIn['opens'] {
    const { kind } = slot.header;
    if (!this.#allowed.includes(kind)) return 'not-allowed';
    if (kind === 'shamir') return 'shares';
    const adapter = this.adapterOf(kind);
    if (adapter === undefined) return 'not-configured';
    return adapter.asksPin?.(slot.blob) === true ? 'pin' : 'itself';
  }

  /** Slots that open the box without a person, in the order in which they are tried. */
  alone(slots: readonly SlotRow[]): readonly { readonly slot: SlotRow; readonly adapter: SealSlot }[] {
    return this.#adapters.flatMap((adapter) =>
      slots
        .filter((slot) => slot.header.kind === adapter.kind && this.opens(slot) === 'itself')
        .map((slot) => ({ slot, adapter })),
    );
  }

  /** The slot that a person names to open the box by. @throws Fault `route.absent`, `input.invalid` */
  named(slots: readonly SlotRow[], id: string): { readonly slot: SlotRow; readonly adapter: SealSlot } {
    const slot = findSlot(slots, id);
    const { kind } = slot.header;
    const adapter = this.adapterOf(kind);
    if (kind === 'shamir')
      throw new Fault('input.invalid', 'this slot opens by its shares: give them to `holdfast unseal`');
    if (adapter === undefined)
      throw new Fault('input.invalid', `slots of kind ${kind} are not configured here: see the settings seal.*`);
    return { slot, adapter };
  }

  worked(slot: Pick<SlotRow, 'header'>): void {
    this.#troubles.delete(idOf(slot));
  }

  failed(slot: Pick<SlotRow, 'header'>, error: unknown): void {
    if (!isFault(error)) return;
    this.#troubles.set(idOf(slot), { sentence: error.message, again: error.retry === 'backoff' });
  }

  /** Whether a slot failed for a device that was away: it may be back later. */
  mayOpenLater(slots: readonly SlotRow[]): boolean {
    return this.alone(slots).some(({ slot }) => this.#troubles.get(idOf(slot))?.again === true);
  }

  ways(slots: readonly SlotRow[]): readonly WayIn[] {
    return slots.map((slot) => {
      const id = idOf(slot);
      const { kind, threshold, shares } = slot.header;
      return { id, kind, threshold, shares, opens: this.opens(slot), trouble: this.#troubles.get(id)?.sentence };
    });
  }

  /** For health and the start: one sentence a slot that failed. */
  reasons(slots: readonly SlotRow[]): readonly string[] {
    return this.ways(slots).flatMap(({ id, kind, trouble }) =>
      trouble === undefined ? [] : [`slot ${kind} ${shortId(id)}: ${trouble}`],
    );
  }
}
