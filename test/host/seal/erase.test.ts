/** An erase on a disk in memory: what it asks of the store and when, and what a power cut or a full disk leaves. */
import { describe, expect, test } from 'vitest';
import { Fault } from '../../../host/fault.ts';
import type { MoveStep } from '../../../host/ports/store.ts';
import { epochOf } from '../../../host/seal/rows.ts';
import { Machine } from './machine.ts';

const names = Array.from({ length: 150 }, (_, n) => `row ${n}`);

/** The machine's store, whose move does what the test says. */
interface Moves {
  /** Epochs that rows had when it was asked to move. */
  readonly epochs: number[][];
  readonly steps: MoveStep[];
  hasRoom: boolean;
  /** Fails so often before it goes through. */
  failures: Fault[];
  /** Waits before it goes through. */
  hold: Promise<void>;
}

async function opened(): Promise<{ readonly machine: Machine; readonly moves: Moves }> {
  const machine = new Machine('sealed');
  await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  expect(await machine.box.unsealAutomatically()).toBe(true);
  for (const name of names) await machine.put(name);
  const moves: Moves = { epochs: [], steps: [], hasRoom: true, failures: [], hold: Promise.resolve() };
  Object.defineProperty(machine.store, 'hasRoomToMove', { get: () => moves.hasRoom });
  Object.assign(machine.store, {
    async move(told: (step: MoveStep) => void) {
      moves.epochs.push([...new Set([...machine.store.range('token')].map(({ value }) => epochOf(value)))]);
      const failure = moves.failures.shift();
      if (failure !== undefined) throw failure;
      for (const step of ['copying', 'waiting', 'overwriting'] as const) {
        told(step);
        moves.steps.push(step);
        await moves.hold;
      }
      return 4096;
    },
  });
  return { machine, moves };
}

const erase = (machine: Machine): Promise<void> => machine.box.keys.erase(machine.box.holder());
const settle = (machine: Machine): Promise<void> => machine.clock.wake(() => !machine.box.keys.progress.running);
const whole = (machine: Machine): boolean => names.every((name) => machine.get(name) === name);

describe('an erase', () => {
  test('rotates the root, moves every row, forgets the old epoch, and only then moves the store', async () => {
    const { machine, moves } = await opened();
    await erase(machine);
    expect(machine.core.keyringInfo()).toMatchObject({ rootGeneration: 2, epoch: 2 });
    expect(machine.box.keys.progress).toMatchObject({ running: true, epochs: [1], erase: 'moving' });
    await settle(machine);
    expect(moves.epochs).toEqual([[2]]);
    expect(machine.core.keyringInfo().epochs.map(({ epoch }) => epoch)).toEqual([2]);
    expect(machine.box.keys.progress).toMatchObject({ running: false, epochs: [], erase: 'none' });
    expect(machine.notes.slice(-4)).toEqual(['keys.erase-asked', 'keys.retired', 'keys.rewrapped', 'keys.erased']);
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    await settle(machine);
    expect(moves.epochs).toHaveLength(1);
    expect(whole(machine)).toBe(true);
  });

  test('says how far it is, and lets requests go on', async () => {
    const { machine, moves } = await opened();
    let go = (): void => undefined;
    moves.hold = new Promise((resolve) => {
      go = resolve;
    });
    await erase(machine);
    await machine.clock.wake(() => moves.steps.length > 0);
    expect(machine.box.keys.progress).toMatchObject({ running: true, erase: 'copying' });
    await machine.put('meanwhile');
    expect(machine.get('meanwhile')).toBe('meanwhile');
    go();
    await settle(machine);
    expect(moves.steps).toEqual(['copying', 'waiting', 'overwriting']);
  });

  test('asked for while one is under way is done after it, with an epoch of its own', async () => {
    const { machine, moves } = await opened();
    let go = (): void => undefined;
    moves.hold = new Promise((resolve) => {
      go = resolve;
    });
    await erase(machine);
    await machine.clock.wake(() => moves.steps.length > 0);
    await erase(machine);
    go();
    await settle(machine);
    expect(moves.epochs).toEqual([[2], [3]]);
    expect(machine.core.keyringInfo().epochs.map(({ epoch }) => epoch)).toEqual([3]);
    expect(machine.box.keys.progress.erase).toBe('none');
    expect(whole(machine)).toBe(true);
  });

  test('for which there is no room is refused before anything changes', async () => {
    const { machine, moves } = await opened();
    const before = machine.core.keyringInfo();
    moves.hasRoom = false;
    await expect(erase(machine)).rejects.toMatchObject({ code: 'store.full', message: /nothing was done/ });
    expect(machine.core.keyringInfo()).toEqual(before);
    expect(machine.box.keys.progress).toMatchObject({ running: false, erase: 'none' });
  });

  test('that meets a full disk says so, waits, and goes through', async () => {
    const { machine, moves } = await opened();
    moves.failures = [new Fault('store.full', 'no room'), new Fault('store.full', 'no room')];
    await erase(machine);
    await machine.clock.wake(() => moves.epochs.length === 1);
    expect(machine.box.status().reasons.join()).toContain('what was destroyed is still on the medium');
    await settle(machine);
    expect(moves.epochs).toHaveLength(3);
    expect(machine.box.status().reasons).toEqual([]);
    expect(machine.box.keys.progress.erase).toBe('none');
  });

  test('that a failing medium ends is told by health, and the next start goes on', async () => {
    const { machine, moves } = await opened();
    moves.failures = [new Fault('store.unavailable', 'the disk failed')];
    await erase(machine);
    await settle(machine);
    expect(machine.box.status().reasons.join()).toContain('may still be on the medium: the disk failed');
    expect(machine.box.keys.progress.erase).toBe('moving');
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    await settle(machine);
    expect(moves.epochs).toHaveLength(2);
    expect(machine.box.keys.progress.erase).toBe('none');
  });

  test('whose box is sealed meanwhile goes on after the unseal', async () => {
    const { machine, moves } = await opened();
    await erase(machine);
    await machine.box.stop();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    await settle(machine);
    expect(moves.epochs).toEqual([[2]]);
    expect(machine.box.keys.progress).toMatchObject({ running: false, erase: 'none', epochs: [] });
  });

  test('is done, whole, after a power cut at any of its commits', async () => {
    const uncut = await opened();
    const first = uncut.machine.commits;
    await erase(uncut.machine);
    await settle(uncut.machine);
    const { commits } = uncut.machine;
    const asked = new Set<boolean>();
    for (let cutAt = first + 1; cutAt <= commits + 1; cutAt++) {
      const { machine, moves } = await opened();
      machine.cutAt = cutAt;
      const taken = await erase(machine).then(
        () => true,
        () => false,
      );
      asked.add(taken);
      await settle(machine);
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(true);
      await settle(machine);
      expect(whole(machine)).toBe(true);
      const { rootGeneration, epochs } = machine.core.keyringInfo();
      // What was answered is done in the end; what was not is done or was never begun.
      if (taken) expect(rootGeneration).toBe(2);
      expect(epochs.map(({ epoch }) => epoch)).toEqual([rootGeneration]);
      expect(moves.steps.length).toBe(rootGeneration === 1 ? 0 : Math.max(3, moves.steps.length));
      if (rootGeneration === 2) expect(moves.epochs.at(-1)).toEqual([2]);
      expect(machine.box.keys.progress).toMatchObject({ running: false, erase: 'none' });
    }
    expect(asked).toEqual(new Set([false, true]));
  }, 60_000);
});
