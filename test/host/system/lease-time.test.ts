import { describe, expect, test } from 'vitest';
import type { Clock } from '../../../host/ports/clock.ts';
import type { TimeRecord } from '../../../host/ports/lease-time.ts';
import { LeaseClock } from '../../../host/system/lease-time.ts';

const BUILT = Date.UTC(2026, 7, 1);
const NOW = Date.UTC(2026, 10, 24);
const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;

/** A machine whose clocks the test moves. */
class Machine implements Clock {
  wall = NOW;
  boot = 5000;
  bootId = 'boot-1';
  synced = true;
  wallMs = () => this.wall;
  wallNanos = () => 0;
  bootMs = () => this.boot;
  after = () => ({ cancel: () => undefined });
  sleep = async () => undefined;

  pass(ms: number): void {
    this.wall += ms;
    this.boot += ms;
  }

  /** Off for `offMs`; afterwards the wall clock shows what it should, and `wrongMs` more. */
  reboot(offMs: number, wrongMs = 0): void {
    this.wall += offMs + wrongMs;
    this.boot = 3000;
    this.bootId = `${this.bootId}+`;
  }

  start(record?: TimeRecord, highWaterMs = 0, trust: 'kernel' | 'synced' = 'kernel'): LeaseClock {
    const lease = new LeaseClock({ clock: this, trust, builtMs: BUILT, synchronised: () => this.synced });
    lease.resume(record, highWaterMs);
    return lease;
  }
}

describe('lease time on a machine whose clock is right', () => {
  test('starts as wall time and passes with uptime', () => {
    const machine = new Machine();
    const lease = machine.start();
    expect(lease.nowMs()).toBe(NOW);
    machine.pass(HOUR);
    expect(lease.nowMs()).toBe(NOW + HOUR);
    expect(lease.believed()).toBe(true);
    expect(lease.reasons()).toEqual([]);
    expect(lease.wallOf(NOW)).toBe(NOW);
  });

  test('a restart of the process on the same boot adds exactly what passed', () => {
    const machine = new Machine();
    const record = machine.start().record();
    machine.pass(7 * 60_000);
    const lease = machine.start(record, NOW);
    expect(lease.nowMs()).toBe(NOW + 7 * 60_000);
    expect(lease.believed()).toBe(true);
  });

  test('a power-off adds the difference of the wall clock, however long it was', () => {
    const machine = new Machine();
    const record = machine.start().record();
    machine.reboot(30 * 24 * HOUR);
    const lease = machine.start(record, NOW);
    expect(lease.nowMs()).toBe(NOW + 30 * 24 * HOUR);
    expect(lease.believed()).toBe(true);
  });

  test('a thousand restarts do not make it run ahead', () => {
    const machine = new Machine();
    let record = machine.start().record();
    for (let round = 0; round < 1000; round++) {
      machine.pass(10);
      record = machine.start(record, record.leaseMs).record();
    }
    expect(record.leaseMs).toBe(NOW + 10_000);
  });
});

describe('lease time on a machine whose clock is wrong', () => {
  test('in 1970 after a power-off: not believed, a minute is added, and uptime goes on', () => {
    const machine = new Machine();
    const record = machine.start().record();
    machine.reboot(HOUR);
    machine.wall = 12_000;
    const lease = machine.start(record, NOW + 5000);
    expect(lease.nowMs()).toBe(NOW + 65_000);
    expect(lease.believed()).toBe(false);
    expect(lease.reasons()[0]).toContain('before this program was built');
    machine.pass(1000);
    expect(lease.nowMs()).toBe(NOW + 66_000);
  });

  test('a first start in 1970 counts from the day the program was built', () => {
    const machine = new Machine();
    machine.wall = 0;
    const lease = machine.start();
    expect(lease.nowMs()).toBe(BUILT);
    expect(lease.believed()).toBe(false);
  });

  test('when the clock is set right later, lease time catches up with the power-off', () => {
    const machine = new Machine();
    const record = machine.start().record();
    machine.reboot(HOUR);
    machine.wall = 12_000;
    const lease = machine.start(record, NOW);
    machine.pass(10_000);
    machine.wall = NOW + HOUR + 10_000;
    expect(lease.believed()).toBe(true);
    expect(lease.nowMs()).toBe(NOW + HOUR + 10_000);
    expect(lease.reasons()).toEqual([]);
  });

  test('what is kept while not believed loses neither the gap nor the time that passed', () => {
    const machine = new Machine();
    const first = machine.start().record();
    machine.reboot(HOUR);
    machine.wall = 0;
    const dark = machine.start(first, NOW);
    machine.pass(20_000);
    const second = dark.record();
    const highWater = dark.nowMs();
    machine.reboot(HOUR);
    machine.wall = NOW + 2 * HOUR + 20_000;
    const lease = machine.start(second, highWater);
    expect(lease.nowMs()).toBe(NOW + 2 * HOUR + 20_000);
  });

  test('ten years back after a power-off is not believed, and nothing lives longer by it', () => {
    const machine = new Machine();
    const record = machine.start().record();
    machine.reboot(HOUR, -10 * YEAR);
    machine.wall = Math.max(machine.wall, BUILT + 1);
    const lease = machine.start(record, NOW);
    expect(lease.believed()).toBe(false);
    expect(lease.reasons()[0]).toContain('behind');
    expect(lease.nowMs()).toBe(NOW + 60_000);
  });

  test('ten years ahead after a power-off is a power-off: leases end, none is honoured longer', () => {
    const machine = new Machine();
    const record = machine.start().record();
    machine.reboot(HOUR, 10 * YEAR);
    const lease = machine.start(record, NOW);
    expect(lease.nowMs()).toBe(NOW + HOUR + 10 * YEAR);
    machine.reboot(HOUR, -10 * YEAR);
    const after = machine.start(lease.record(), lease.nowMs());
    expect(after.nowMs()).toBeGreaterThanOrEqual(NOW + HOUR + 10 * YEAR);
    expect(after.believed()).toBe(false);
  });

  test.each([
    ['forward', 10 * YEAR],
    ['forward', 24 * HOUR + 1],
    ['back', -(24 * HOUR + 1)],
  ])('a running jump above a day is held: %s by %d ms', (word, jump) => {
    const machine = new Machine();
    const lease = machine.start();
    machine.pass(1000);
    machine.wall += jump;
    expect(lease.believed()).toBe(false);
    expect(lease.reasons()[0]).toContain(word);
    expect(lease.nowMs()).toBe(NOW + 1000);
    expect(lease.wallOf(NOW)).toBe(NOW);
    machine.wall -= jump;
    expect(lease.believed()).toBe(true);
  });

  test('a running correction below a day changes the mapping and never lease time', () => {
    const machine = new Machine();
    const lease = machine.start();
    machine.pass(1000);
    machine.wall -= HOUR;
    expect(lease.believed()).toBe(true);
    expect(lease.nowMs()).toBe(NOW + 1000);
    expect(lease.wallOf(NOW + 1000)).toBe(NOW + 1000 - HOUR);
  });

  test('a held jump that a person confirms changes the mapping and never lease time', () => {
    const machine = new Machine();
    const lease = machine.start();
    machine.wall += 10 * YEAR;
    expect(lease.believed()).toBe(false);
    lease.confirm();
    expect(lease.believed()).toBe(true);
    expect(lease.nowMs()).toBe(NOW);
    expect(lease.wallOf(NOW)).toBe(NOW + 10 * YEAR);
  });

  test('a jump during a short stop of the process is a running jump, not a power-off', () => {
    const machine = new Machine();
    const record = machine.start().record();
    machine.pass(1000);
    machine.wall += 10 * YEAR;
    const lease = machine.start(record, NOW);
    expect(lease.nowMs()).toBe(NOW + 1000);
    expect(lease.believed()).toBe(false);
  });

  test('never back: uptime that goes back stops lease time instead', () => {
    const machine = new Machine();
    const lease = machine.start();
    machine.pass(5000);
    const before = lease.nowMs();
    machine.boot -= 4000;
    expect(lease.nowMs()).toBe(before);
  });

  test('the high-water mark of the newest commit wins over an older record', () => {
    const machine = new Machine();
    const record = machine.start().record();
    expect(machine.start(record, NOW + 42_000).nowMs()).toBe(NOW + 42_000);
  });
});

describe('trust `synced`', () => {
  test('believes the wall clock only by the word of the kernel', () => {
    const machine = new Machine();
    machine.synced = false;
    const lease = machine.start(undefined, 0, 'synced');
    expect(lease.believed()).toBe(false);
    expect(lease.reasons()[0]).toContain('synchronised');
    machine.synced = true;
    expect(lease.believed()).toBe(true);
    expect(lease.nowMs()).toBe(NOW);
  });

  test('or by that of a person', () => {
    const machine = new Machine();
    machine.synced = false;
    const lease = machine.start(undefined, 0, 'synced');
    lease.confirm();
    expect(lease.believed()).toBe(true);
  });
});
