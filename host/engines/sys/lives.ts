/** sys/lives: which of several copies of a box this is, and a person's word that it is this one. */
import { Fault } from '../../fault.ts';
import type { Appliance } from '../../ports/appliance.ts';
import type { Operation } from '../../ports/engine.ts';

export function livesOperations(appliance: () => Pick<Appliance, 'heldBecause' | 'lives'>): readonly Operation[] {
  return [
    {
      name: 'lives',
      pattern: 'lives',
      verb: 'read',
      sudo: true,
      summary: 'Whether this box may be a copy of one that lives, and why it is taken for one.',
      fields: {},
      run: () => {
        const because = appliance().heldBecause();
        return { data: { held: because !== undefined, ...(because === undefined ? {} : { because }) } };
      },
    },
    {
      name: 'lives-this',
      pattern: 'lives',
      verb: 'write',
      root: true,
      summary: 'Say that this box lives, and no other copy of it: it becomes another appliance.',
      description:
        'A new appliance id, root key, data key, audit keys and audit log under a new origin; the old log is put aside in the data folder. Batch tokens end; service tokens, secrets and leases stay. What lives outside the box is made and ended again from then on. Requests are shut out for a moment. Say it on one copy only, and never start the others again.',
      fields: { lives: { type: 'bool', description: 'true: the word itself.' } },
      run: async ({ fields }) => {
        if (fields['lives'] !== true)
          throw new Fault('input.invalid', "say it in the body: 'lives' is true. It cannot be taken back");
        await appliance().lives();
        return undefined;
      },
    },
  ];
}
