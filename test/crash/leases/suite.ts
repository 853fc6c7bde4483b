/** The crash matrix of one server as tests: a few cases here, all of them in `npm run campaign -- crash`. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundle } from '../record.ts';
import { arrivesAfter, arrivesBetween, LATE, type Late } from './late.ts';
import { type Case, Matrix, sample, withPower } from './matrix.ts';
import { POINTS } from './points.ts';
import type { Kind } from './protocol.ts';

/** Cases of each server. */
const SMALL = 8;
const CASES = Number(process.env['HOLDFAST_CRASH_CASES'] ?? SMALL);
const IS_SMALL = CASES <= SMALL;
/** Another part of the matrix for another seed. */
const SEED = Number(process.env['HOLDFAST_CRASH_SEED'] ?? 1);

const titleOf = ({ operation, packet }: Late): string => `${operation}, ${String(packet)}`;

export function crashMatrix(kind: Kind): void {
  const all = LATE[kind].map((late) => [titleOf(late), late] as const);
  const between = all.filter(([, { operation, takesEffect }]) => {
    return !IS_SMALL || operation === 'rotate the root' || (operation === 'issue' && takesEffect === true);
  });
  const after = all.filter(
    ([, { operation, takesEffect }]) => !IS_SMALL || (operation === 'issue' && takesEffect === true),
  );

  describe(`a box with leases at ${kind}`, () => {
    let program: string;
    let matrix: Matrix;
    let plan: Case[];
    beforeAll(async () => {
      program = await bundle(join(import.meta.dirname, '..', 'load', 'lease-box.ts'), 'external');
      matrix = await Matrix.make(program, kind);
      plan = await matrix.plan();
    }, 120_000);
    afterAll(async () => {
      await matrix?.end();
      rmSync(program, { force: true });
    });

    test('passes every point that the code names', () => {
      const passed = new Set(plan.map(({ point }) => point));
      expect(POINTS.filter((point) => !passed.has(point))).toEqual([]);
    });

    test('leaves no login that nothing explains, wherever it ends', async () => {
      const every = withPower(plan);
      const cases = sample(every, CASES, SEED);
      const failures = await matrix.all(cases, SEED);
      console.log(`${kind}: ${cases.length} of ${every.length} cases, ${plan.length} points of operations`);
      expect(failures).toEqual([]);
    }, 14_400_000);

    test.each(between)(
      'stands a packet that arrives between the two looks: %s',
      async (_, late) => {
        expect(await arrivesBetween(matrix, late)).toEqual([]);
      },
      120_000,
    );

    test.each(after)(
      'stands a packet that arrives when all is over: %s',
      async (_, late) => {
        expect(await arrivesAfter(matrix, late)).toEqual([]);
      },
      120_000,
    );

    test('is caught when it takes one look only', async () => {
      const [, late] =
        all.find(([, { operation, takesEffect }]) => operation === 'issue' && takesEffect === true) ?? [];
      if (late === undefined) throw new Error('there is no such packet');
      await matrix.found();
      expect((await arrivesBetween(matrix, late, 'looks-once')).join()).toMatch(/nothing explains the login v-/);
      await matrix.found();
    }, 120_000);

    test('is caught when it drops nothing', async () => {
      const wanted = { operation: 'issue', point: 'issue.create after', nth: 1 } as const;
      expect((await matrix.one(wanted, SEED, false, 'drops-nothing')).join()).toMatch(/nothing explains the login v-/);
    }, 120_000);
  });
}
