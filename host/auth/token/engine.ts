/** The token method: every box has it at auth/token/. */
import type { Engine } from '../../ports/engine.ts';
import { type CreateParts, createOperations } from './create.ts';
import { type ManageParts, manageOperations } from './manage.ts';
import { roleOperations } from './role.ts';

export function tokenMethod(parts: CreateParts & ManageParts): Engine {
  return {
    type: 'token',
    help: 'Makes, shows, renews and revokes tokens.',
    operations: [...createOperations(parts), ...manageOperations(parts), ...roleOperations],
  };
}
