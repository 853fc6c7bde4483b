import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../host/system/clock.ts';
import { clockContract } from '../../contract/clock.ts';

const unbound = () => {
  throw new Error('no libc here');
};

describe('the clock of the operating system', () => {
  clockContract('system clock', () => systemClock());

  test('time since boot is that of the kernel', () => {
    const uptimeMs = Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000;
    expect(Math.abs(systemClock().bootMs() - uptimeMs)).toBeLessThan(1000);
  });

  test('two clocks of one boot give it one name', () => {
    expect(systemClock().bootId).toBe(systemClock().bootId);
  });

  test('a sandbox that forbids to ask the kernel leaves the word of timesyncd', () => {
    const refused = () => ({
      gettime: (_: number, time: BigInt64Array) => {
        time.fill(0n);
        return 0;
      },
      adjtimex: () => -1,
    });
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-clock-'));
    const mark = join(folder, 'synchronized');
    try {
      expect(systemClock(refused, mark).synchronised()).toBe(false);
      writeFileSync(mark, '');
      expect(systemClock(refused, mark).synchronised()).toBe(true);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('the kernel is asked whether it is steered once a second', () => {
    let bootS = 100n;
    let asked = 0;
    let state = 0;
    const clock = systemClock(() => ({
      gettime: (_: number, time: BigInt64Array) => {
        time[0] = bootS;
        return 0;
      },
      adjtimex: () => {
        asked++;
        return state;
      },
    }));
    for (let n = 0; n < 5; n++) expect(clock.synchronised()).toBe(true);
    expect(asked).toBe(1);
    state = 5;
    bootS += 1n;
    for (let n = 0; n < 5; n++) expect(clock.synchronised()).toBe(false);
    expect(asked).toBe(2);
  });

  test('with libc there is nothing to complain of', () => {
    expect(systemClock().reasons).toEqual([]);
  });
});

describe('the clock where libc cannot be called', () => {
  test('still tells the time since boot, and says what it lacks', () => {
    const clock = systemClock(unbound);
    expect(clock.reasons).toHaveLength(1);
    expect(clock.reasons[0]).toContain('/proc/uptime');
    expect(Math.abs(clock.bootMs() - systemClock().bootMs())).toBeLessThan(1000);
    expect(clock.synchronised()).toBe(false);
  });
});
