/** Faults as answers: which text is bare and which is wrapped (semantics.md's table). */
import { Fault } from '../fault.ts';
import type { Outbound } from '../ports/dispatch.ts';

type ErrorAnswer = Extract<Outbound, { kind: 'error' }>;

const passed = (text: string): string => `1 error occurred:\n\t* ${text}\n\n`;

export const error = (status: number, ...errors: readonly string[]): ErrorAnswer => ({ kind: 'error', status, errors });
export const wrapped = (status: number, text: string): ErrorAnswer => error(status, passed(text));

export const TOKEN_REFUSED = error(403, 'permission denied');
export const POLICY_REFUSED = wrapped(403, 'permission denied');
export const SEALED: ErrorAnswer = { ...error(503, 'Vault is sealed'), retryAfterSeconds: 5 };
export const NOTHING = error(404);

/** @returns the answer for what an operation threw; what is no fault is a bug and says nothing of itself */
export function answerOf(thrown: unknown): ErrorAnswer {
  if (!(thrown instanceof Fault)) return wrapped(500, 'internal error');
  const { code, status, message } = thrown;
  switch (code) {
    case 'appliance.sealed':
      return SEALED;
    case 'token.invalid':
      return TOKEN_REFUSED;
    case 'policy.denied':
      return POLICY_REFUSED;
    case 'value.absent':
      return NOTHING;
    case 'store.conflict':
      return error(409, message);
    default:
      if (status < 500) return error(status, message);
      return status === 500 ? wrapped(500, message) : { ...error(status, message), retryAfterSeconds: 1 };
  }
}
