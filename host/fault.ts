/**
 * The failures that callers may meet. A code is a promise (tests match it, never the text); a bug is not a fault and
 * surfaces as an ordinary Error, which the api answers with 500.
 */
const FAULTS = {
  'input.invalid': { status: 400, retry: 'never' },
  'input.too-large': { status: 413, retry: 'never' },
  'input.media-type': { status: 415, retry: 'never' },
  'token.invalid': { status: 403, retry: 'never' },
  /** A token in a body, not the caller's own, is not one. */
  'token.bad': { status: 403, retry: 'never' },
  /** What a client asks of a mount before it uses it: answered bare. */
  'policy.preflight': { status: 403, retry: 'never' },
  'policy.denied': { status: 403, retry: 'never' },
  'route.absent': { status: 404, retry: 'never' },
  'value.absent': { status: 404, retry: 'never' },
  'operation.unsupported': { status: 405, retry: 'never' },
  'engine.failed': { status: 500, retry: 'never' },
  'appliance.sealed': { status: 503, retry: 'after-unseal' },
  'appliance.uninitialised': { status: 400, retry: 'never' },
  'appliance.busy': { status: 503, retry: 'backoff' },
  'appliance.rolled-back': { status: 503, retry: 'never' },
  'audit.unavailable': { status: 503, retry: 'backoff' },
  'audit.corrupt': { status: 503, retry: 'never' },
  'barrier.refused': { status: 500, retry: 'never' },
  /** A counter outside the disk does not answer: what it would count is not done. */
  'counter.unavailable': { status: 503, retry: 'backoff' },
  'core.exhausted': { status: 503, retry: 'backoff' },
  'database.absent': { status: 400, retry: 'never' },
  'database.exists': { status: 500, retry: 'never' },
  'database.refused': { status: 400, retry: 'never' },
  'database.unreachable': { status: 502, retry: 'backoff' },
  /** The box is held (a copy, a restore), or its time is not believed: nothing outside is made or ended. */
  'lease.held': { status: 503, retry: 'never' },
  'server.overloaded': { status: 503, retry: 'backoff' },
  'slot.refused': { status: 400, retry: 'never' },
  'slot.unavailable': { status: 503, retry: 'backoff' },
  'store.conflict': { status: 409, retry: 'never' },
  'store.unavailable': { status: 503, retry: 'backoff' },
  'store.locked': { status: 503, retry: 'never' },
  'store.version': { status: 500, retry: 'never' },
  'store.full': { status: 507, retry: 'backoff' },
} as const satisfies Record<string, { status: number; retry: 'never' | 'backoff' | 'after-unseal' }>;

export type FaultCode = keyof typeof FAULTS;

/**
 * A failure with a code. `message` is a sentence for the caller that says what to do next; it never repeats a secret
 * and nothing that came from a decrypted row.
 */
export class Fault extends Error {
  readonly code: FaultCode;

  constructor(code: FaultCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'Fault';
    this.code = code;
  }

  /** The HTTP status that the api answers with, unless the operation says another. */
  get status(): number {
    return FAULTS[this.code].status;
  }

  get retry(): 'never' | 'backoff' | 'after-unseal' {
    return FAULTS[this.code].retry;
  }
}

/** True for a Fault, of one code where it is given. */
export function isFault(error: unknown, code?: FaultCode): error is Fault {
  return error instanceof Fault && (code === undefined || error.code === code);
}
