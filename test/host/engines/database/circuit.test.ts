import { describe, expect, test } from 'vitest';
import { GuardedDatabase } from '../../../../host/engines/database/circuit.ts';
import { Fault } from '../../../../host/fault.ts';
import type { Clock, Timer } from '../../../../host/ports/clock.ts';
import type { Database } from '../../../../host/ports/database.ts';

/** Time that a test moves, and timers that go off in it. */
class OwnClock implements Clock {
  readonly bootId = 'boot';
  readonly #timers = new Set<{ readonly atMs: number; readonly job: () => void }>();
  #nowMs = 0;
  wallMs = (): number => this.#nowMs;
  wallNanos = (): number => 0;
  bootMs = (): number => this.#nowMs;
  sleep = (): Promise<void> => Promise.resolve();

  after(delayMs: number, job: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, job };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  move(ms: number): void {
    this.#nowMs += ms;
    for (const timer of [...this.#timers]) if (timer.atMs <= this.#nowMs && this.#timers.delete(timer)) timer.job();
  }
}

function guarded(work: () => Promise<readonly string[]>, logged = () => Promise.resolve()) {
  const clock = new OwnClock();
  let calls = 0;
  const call = () => {
    calls++;
    return work();
  };
  const database = {
    ...{ verify: call, drop: call, present: call },
    close: () => Promise.resolve(),
  } as unknown as Database;
  const guard = new GuardedDatabase(database, clock, '"c"', logged);
  return { clock, guard, count: () => calls };
}
const away = (): Promise<never> => Promise.reject(new Fault('database.unreachable', 'no route'));
const failure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'answered',
    (error: Error) => error.message,
  );

describe('a circuit', () => {
  test('opens after three failures, lets one call try, and closes when it is answered', async () => {
    let isAway = true;
    const { clock, guard, count } = guarded(() => (isAway ? away() : Promise.resolve([])));
    for (let i = 0; i < 3; i++) expect(await failure(guard.verify(1000))).toBe('no route');
    expect(guard.open).toBe(true);
    expect(await failure(guard.verify(1000))).toMatch(
      /"c" did not answer 3 times in a row; it is tried again within 1 s/,
    );
    expect(count()).toBe(3);
    clock.move(1001);
    const both = await Promise.all([failure(guard.verify(1000)), failure(guard.verify(1000))]);
    expect(both[0]).toBe('no route');
    expect(both[1]).toMatch(/did not answer/);
    expect(count()).toBe(4);
    // Its pause has grown.
    clock.move(1001);
    expect(await failure(guard.verify(1000))).toMatch(/did not answer 4 times/);
    isAway = false;
    clock.move(1001);
    expect(await failure(guard.verify(1000))).toBe('answered');
    expect(guard.open).toBe(false);
    expect(await failure(guard.verify(1000))).toBe('answered');
  });

  test('a refusal is an answer: the server is there', async () => {
    const { guard } = guarded(() => Promise.reject(new Fault('database.refused', 'wrong password')));
    for (let i = 0; i < 10; i++) expect(await failure(guard.verify(1000))).toBe('wrong password');
    expect(guard.open).toBe(false);
  });

  test('its pause ends at half a minute', async () => {
    const { clock, guard } = guarded(away);
    for (let i = 0; i < 3; i++) await failure(guard.verify(1000));
    for (let i = 0; i < 12; i++) {
      clock.move(30_001);
      expect(await failure(guard.verify(1000))).toBe('no route');
    }
    expect(await failure(guard.verify(1000))).toMatch(/within 30 s/);
  });

  test('an adapter that misses its deadline does not hang its caller', async () => {
    const { clock, guard } = guarded(() => new Promise(() => {}));
    const hanging = failure(guard.verify(1000));
    await Promise.resolve();
    clock.move(3001);
    expect(await hanging).toMatch(/did not answer within its deadline/);
  });

  test('so many wait for one server and no more', async () => {
    const { guard, count } = guarded(() => new Promise(() => {}));
    for (let i = 0; i < 128; i++) void failure(guard.verify(1000));
    expect(await failure(guard.verify(1000))).toMatch(/^128 requests wait/);
    expect(count()).toBe(128);
  });

  test('what a request asks waits for its leaf; what ends logins and looks for them does not', async () => {
    let write: () => void = () => {};
    const written = new Promise<void>((resolve) => {
      write = resolve;
    });
    const { guard, count } = guarded(
      () => Promise.resolve([]),
      () => written,
    );
    const verifying = failure(guard.verify(1000));
    expect(await guard.drop([], 1000)).toEqual([]);
    expect(await guard.present([], 1000)).toEqual([]);
    expect(count()).toBe(2);
    write();
    expect(await verifying).toBe('answered');
    expect(count()).toBe(3);
  });

  test('a log that fails or takes too long: the server is not asked, and is not to blame', async () => {
    let log: () => Promise<void> = () => Promise.reject(new Fault('audit.unavailable', 'no log'));
    const { clock, guard, count } = guarded(
      () => Promise.resolve([]),
      () => log(),
    );
    for (let i = 0; i < 4; i++) expect(await failure(guard.verify(1000))).toBe('no log');
    log = async () => clock.move(1000);
    for (let i = 0; i < 4; i++) expect(await failure(guard.verify(1000))).toMatch(/log took too long/);
    expect([count(), guard.open]).toEqual([0, false]);
    log = async () => clock.move(400);
    expect(await failure(guard.verify(1000))).toBe('answered');
    expect(count()).toBe(1);
  });

  test('one that was closed takes no call', async () => {
    const { guard } = guarded(() => Promise.resolve([]));
    await guard.close();
    expect(await failure(guard.verify(1000))).toMatch(/was changed: try again/);
  });
});
