/** A device with a counter that a test owns: it can be pulled, replaced, set back, and lose power at any step. */
import { Fault } from '../../../host/fault.ts';
import type { Counter, CounterDevice } from '../../../host/ports/counter.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { systemRandom } from '../../../host/system/random.ts';

/** What lies in the device. */
export interface Held {
  count: bigint;
}

export class TestDevice implements CounterDevice {
  readonly kind: 'tpm2' | 'pkcs11';
  readonly advisory: boolean;
  /** By place. Another device has another map. */
  held = new Map<string, Held>();
  pulled = false;
  /** Called before each step, and after an increment: throws where the power goes. */
  step: (what: 'read' | 'increment' | 'incremented') => void = () => undefined;
  reads = 0;
  increments = 0;

  constructor(kind: 'tpm2' | 'pkcs11' = 'tpm2', advisory = false) {
    this.kind = kind;
    this.advisory = advisory;
  }

  /** The only counter that lies here. */
  get only(): Held {
    const [one] = this.held.values();
    if (one === undefined || this.held.size !== 1) throw new Error(`the device holds ${this.held.size} counters`);
    return one;
  }

  pull(): void {
    this.pulled = true;
  }

  /** Another device in the same place, with a counter of the same count. */
  replace(): void {
    this.held = new Map([['00', { count: 7n }]]);
  }

  async enrol() {
    this.#answers();
    const name = Buffer.from(systemRandom.bytes(16)).toString('hex');
    this.held.set(name, { count: 7n });
    return { counter: this.#counter(name), place: { name } };
  }

  at({ name }: ValueMap): Counter {
    if (typeof name !== 'string') throw new Fault('appliance.rolled-back', 'no place of a test device');
    return this.#counter(name);
  }

  async retire({ name }: ValueMap): Promise<void> {
    this.#answers();
    this.held.delete(String(name));
  }

  #answers(): void {
    if (this.pulled) throw new Fault('slot.unavailable', 'the device was pulled');
  }

  #counter(name: string): Counter {
    const at = (): Held => {
      this.#answers();
      const found = this.held.get(name);
      if (found === undefined) throw new Fault('appliance.rolled-back', 'the counter is gone');
      return found;
    };
    return {
      id: Buffer.from(name, 'hex'),
      read: async () => {
        this.step('read');
        this.reads++;
        return at().count;
      },
      increment: async () => {
        this.step('increment');
        const one = at();
        one.count++;
        this.increments++;
        this.step('incremented');
        return one.count;
      },
    };
  }
}
