/** What every device that keeps a counter must do. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Counter, CounterDevice } from '../../host/ports/counter.ts';
import type { ValueMap } from '../../host/ports/value.ts';

export interface CounterBench {
  readonly device: CounterDevice;
  /** Loses power, unflushed, and comes back. */
  powerCut(): Promise<void>;
  /** Another device in the same place. */
  replace(): Promise<void>;
}

export function counterContract(name: string, make: () => Promise<CounterBench>): void {
  describe(`the counter contract: ${name}`, () => {
    let bench: CounterBench;
    let made: { readonly counter: Counter; readonly place: ValueMap };
    beforeAll(async () => {
      bench = await make();
      made = await bench.device.enrol();
    });

    test('has an id of 16 bytes, and is found again by its place', async () => {
      const again = bench.device.at(made.place);
      expect(made.counter.id).toHaveLength(16);
      expect(Buffer.from(again.id).equals(made.counter.id)).toBe(true);
      expect(await again.read()).toBe(await made.counter.read());
    });

    test('rises by one, and keeps its count over power cuts', async () => {
      const first = await made.counter.read();
      for (let n = 1n; n <= 3n; n++) {
        expect(await made.counter.increment()).toBe(first + n);
        await bench.powerCut();
        expect(await made.counter.read()).toBe(first + n);
      }
    });

    test('a second one is another, and goes without the first', async () => {
      const second = await bench.device.enrol();
      expect(Buffer.from(second.counter.id).equals(made.counter.id)).toBe(false);
      await second.counter.increment();
      const before = await made.counter.read();
      await bench.device.retire(second.place);
      await bench.device.retire(second.place);
      await expect(second.counter.read()).rejects.toMatchObject({ code: 'appliance.rolled-back' });
      await expect(second.counter.increment()).rejects.toMatchObject({ code: 'appliance.rolled-back' });
      expect(await made.counter.read()).toBe(before);
    });

    test('a place that is none is refused', () => {
      for (const place of [{}, { index: 'x' }, { index: 0x0180_0010, srkName: '000b' }, { id: 'zz', serial: '' }]) {
        expect(() => bench.device.at(place)).toThrow(expect.objectContaining({ code: 'appliance.rolled-back' }));
      }
    });

    // The last one: the device is gone afterwards.
    test('in another device it is gone, never new', async () => {
      await bench.replace();
      await expect(made.counter.read()).rejects.toMatchObject({ code: expect.stringMatching(/rolled-back|slot\./) });
      await bench.device.enrol();
      await expect(made.counter.read()).rejects.toMatchObject({ code: expect.stringMatching(/rolled-back|slot\./) });
    });
  });
}
