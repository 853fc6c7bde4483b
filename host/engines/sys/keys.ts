/** sys/rotate: the keys of the box, by its operators. What its recovery quorum does: ceremonies.ts. */
import type { Field, Operation, OperationContext } from '../../ports/engine.ts';
import { type CeremonyParts, ceremonyOperations } from './ceremonies.ts';
import { slotOperations } from './slots.ts';
import { tpmOperations } from './tpm.ts';

const ERASE: Field = {
  type: 'bool',
  description:
    'Also overwrite what was destroyed: a new root key, then a new file for the store. In the query or the body.',
};
const ERASE_HELP =
  'Destroyed data is gone from the API at once; free pages of the store keep its ciphertext. With erase=true the box makes a new root and data key, moves every row to them, forgets the old ones, writes the rows into a new file, and overwrites and removes the old one: gone from the medium as far as it obeys (flash may keep remnants that a slot of today could open; only destroying the slots ends that). It is done behind the requests and after a restart too; reading this path says how far it is. It needs as much free disk as the store takes, and half as much again.';

function operatorOperations({ keys }: CeremonyParts): Operation[] {
  const rotate = async ({ fields }: OperationContext): Promise<undefined> => {
    if (fields['erase'] === true) await keys().erase();
    else await keys().rotate();
  };
  return [
    {
      name: 'rotate',
      pattern: 'rotate',
      verb: 'write',
      sudo: true,
      summary: 'Seal with a new data key from now on; rows move to it behind the requests.',
      description: ERASE_HELP,
      fields: { erase: ERASE },
      fieldsInQuery: ['erase'],
      run: rotate,
    },
    {
      name: 'rotate-keyring',
      pattern: 'rotate/keyring',
      verb: 'write',
      sudo: true,
      summary: 'As sys/rotate.',
      description: ERASE_HELP,
      fields: { erase: ERASE },
      fieldsInQuery: ['erase'],
      run: rotate,
    },
    {
      name: 'rotation-status',
      pattern: 'rotate',
      verb: 'read',
      sudo: true,
      summary:
        'Whether rows still move to the newest data key, which older ones may be in use, and how far an erase is.',
      fields: {},
      run: () => {
        const { running, moved, epochs, erase } = keys().progress();
        return { data: { running, moved, older_terms: epochs, erase } };
      },
    },
  ];
}

export function keyOperations(parts: CeremonyParts): readonly Operation[] {
  return [
    ...operatorOperations(parts),
    ...slotOperations(parts.keys),
    ...tpmOperations(parts.keys),
    ...ceremonyOperations(parts),
  ];
}
