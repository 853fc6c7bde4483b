import { expect, test } from 'vitest';
import type { Clock } from '../../host/ports/clock.ts';

/** What every Clock promises. Timers are real for the adapter: the delays here are the shortest that exist. */
export function clockContract(name: string, make: () => Clock): void {
  test(`${name}: wall time and time since boot are whole milliseconds, and neither goes back between two readings`, () => {
    const clock = make();
    let wall = clock.wallMs();
    let boot = clock.bootMs();
    expect(wall).toBeGreaterThan(0);
    for (let round = 0; round < 1000; round++) {
      const nextWall = clock.wallMs();
      const nextBoot = clock.bootMs();
      expect(Number.isSafeInteger(nextWall) && Number.isSafeInteger(nextBoot)).toBe(true);
      expect(nextWall).toBeGreaterThanOrEqual(wall);
      expect(nextBoot).toBeGreaterThanOrEqual(boot);
      [wall, boot] = [nextWall, nextBoot];
    }
  });

  test(`${name}: the nanoseconds below the millisecond belong to the newest reading`, () => {
    const clock = make();
    let newest = 0n;
    for (let round = 0; round < 1000; round++) {
      const ms = clock.wallMs();
      const nanos = clock.wallNanos();
      expect(nanos).toBeGreaterThanOrEqual(0);
      expect(nanos).toBeLessThanOrEqual(999_999);
      const stamp = BigInt(ms) * 1_000_000n + BigInt(nanos);
      expect(stamp >= newest).toBe(true);
      newest = stamp;
    }
  });

  test(`${name}: a boot has one name`, () => {
    expect(make().bootId).toMatch(/^[0-9a-f-]{36}$/);
  });

  test(`${name}: a job runs once, and not at all when it is cancelled`, async () => {
    const clock = make();
    const ran: string[] = [];
    clock.after(0, () => ran.push('runs'));
    clock.after(0, () => ran.push('cancelled')).cancel();
    await clock.sleep(2);
    await clock.sleep(2);
    expect(ran).toEqual(['runs']);
  });
}
