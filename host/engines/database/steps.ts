/**
 * Every durable and every outside step of rotations, named: what a crash can fall between. rotation.ts and root.ts commit
 * and call a server through `Steps` alone, and test/host/engines/database/steps.test.ts holds the table against the source
 * and against what runs. Issuing, renewing and revoking have theirs in host/leases.
 */
export const STEPS = {
  'static.claim': { kind: 'durable', what: 'a due role is queued for the attempt after this one' },
  'static.pending': { kind: 'durable', what: 'the new secret is written, before the server hears of it' },
  'static.try': { kind: 'outside', what: 'the server is asked whether a secret of an earlier attempt is in force' },
  'static.change': { kind: 'outside', what: 'the server gets the new secret' },
  'static.login': { kind: 'outside', what: 'the new password is tried' },
  'static.adopt': { kind: 'durable', what: 'the new secret is the role’s' },
  'static.later': { kind: 'durable', what: 'a rotation that failed is queued for a later attempt' },
  'static.skip': { kind: 'durable', what: 'a rotation whose window is over waits for the next point of its schedule' },
  'static.drop': { kind: 'durable', what: 'a role whose first rotation was refused is deleted' },
  'root.pending': { kind: 'durable', what: 'the new password of the box’s own login is written' },
  'root.change': { kind: 'outside', what: 'the server gets it' },
  'root.login': { kind: 'outside', what: 'a password of the box’s own login is tried' },
  'root.adopt': { kind: 'durable', what: 'the new password is the connection’s' },
  'root.drop': { kind: 'durable', what: 'a new password that the server never took is forgotten' },
} as const satisfies Record<string, { readonly kind: 'durable' | 'outside'; readonly what: string }>;

export type RotationStep = keyof typeof STEPS;
type Of<K extends 'durable' | 'outside'> = {
  [S in RotationStep]: (typeof STEPS)[S]['kind'] extends K ? S : never;
}[RotationStep];

/** Told before and after each step; what it throws or never resolves happens there. Given by compositions of tests alone. */
export type RotationHook = (step: RotationStep, when: 'before' | 'after') => void | Promise<void>;

export class Steps {
  readonly #hook: RotationHook | undefined;

  constructor(hook?: RotationHook) {
    this.#hook = hook;
  }

  durable<T>(step: Of<'durable'>, commit: () => Promise<T>): Promise<T> {
    return this.#run(step, commit);
  }

  outside<T>(step: Of<'outside'>, call: () => Promise<T>): Promise<T> {
    return this.#run(step, call);
  }

  async #run<T>(step: RotationStep, work: () => Promise<T>): Promise<T> {
    if (this.#hook !== undefined) await this.#hook(step, 'before');
    const result = await work();
    if (this.#hook !== undefined) await this.#hook(step, 'after');
    return result;
  }
}
