/**
 * Every durable and every outside step of a lease's life, named: what a crash can fall between. Nothing in host/leases
 * commits or calls a backend but through `Steps`, and test/host/leases/steps.test.ts holds the table against the source and
 * against what runs.
 */
import type { Barrier } from '../barrier/barrier.ts';
import type { Expectation, Put } from '../ports/store.ts';

interface StepFacts {
  readonly kind: 'durable' | 'outside';
  /** A request asks for it: the request's leaf is on the medium before. What ends credentials goes on without a log. */
  readonly asked?: true;
  readonly what: string;
}

export const STEPS = {
  'issue.intent': { kind: 'durable', what: 'what is about to be made, and how to undo it, is written' },
  'issue.create': { kind: 'outside', asked: true, what: 'the backend makes the credential' },
  'issue.lease': {
    kind: 'durable',
    what: 'the lease is written and the intent deleted, and it may be that of the next credential written, in one commit',
  },
  'issue.unused': { kind: 'durable', what: 'intents in reserve that nobody came for are deleted: nothing was asked' },
  'issue.drop': { kind: 'durable', what: 'the intent of a name that was taken is deleted: nobody was touched' },
  'issue.end': { kind: 'outside', what: 'a credential whose lease could not be written is ended' },
  'issue.confirm': { kind: 'outside', what: 'the backend is asked whether that credential is gone' },
  'issue.undone': { kind: 'durable', what: 'the intent of a credential that was ended at once is deleted' },
  'undo.mark': { kind: 'durable', what: 'an intent is marked to be undone: no lease can come of it any more' },
  'undo.end': { kind: 'outside', what: 'the backend ends what may have come of an intent' },
  'undo.confirm': { kind: 'outside', what: 'the backend is asked whether it is gone: twice, a timeout apart' },
  'undo.wait': { kind: 'durable', what: 'the intent waits for the second look' },
  'undo.delete': { kind: 'durable', what: 'the intent is deleted' },
  'renew.tell': { kind: 'outside', asked: true, what: 'the backend is told the new end' },
  'renew.lease': { kind: 'durable', what: 'the new end is written' },
  'revoke.mark': { kind: 'durable', what: 'leases are queued to be ended' },
  'revoke.force': { kind: 'durable', what: 'leases are marked to go whatever their backend says' },
  'revoke.end': { kind: 'outside', what: 'the backend ends credentials' },
  'revoke.confirm': { kind: 'outside', what: 'the backend is asked whether they are gone' },
  'revoke.delete': { kind: 'durable', what: 'leases whose credentials are gone are deleted' },
  'queue.later': { kind: 'durable', what: 'what could not be ended is queued for a later attempt, with the reason' },
  'queue.clear': { kind: 'durable', what: 'rows that name no lease any more are deleted' },
  'tidy.clear': { kind: 'durable', what: 'rows of tokens that name no lease are deleted' },
  'reconcile.strangers': {
    kind: 'outside',
    asked: true,
    what: 'the backend is asked for names of this box that no lease explains',
  },
} as const satisfies Record<string, StepFacts>;

export type Step = keyof typeof STEPS;
type Of<K extends 'durable' | 'outside'> = { [S in Step]: (typeof STEPS)[S]['kind'] extends K ? S : never }[Step];
export type DurableStep = Of<'durable'>;
export type OutsideStep = Of<'outside'>;

/**
 * Told before and after each step; what it throws or never resolves happens there. Given by compositions of tests alone.
 * `after` is not told of a step that failed.
 */
export type StepHook = (step: Step, when: 'before' | 'after') => void | Promise<void>;

export interface Write {
  readonly puts: readonly Put[];
  readonly expect?: readonly Expectation[];
  /** May use the space that is kept back for revocation. */
  readonly urgent?: boolean;
}

export class Steps {
  readonly #barrier: Barrier;
  readonly #hook: StepHook | undefined;

  constructor(barrier: Barrier, hook?: StepHook) {
    this.#barrier = barrier;
    this.#hook = hook;
  }

  async durable(step: DurableStep, { puts, expect = [], urgent = false }: Write): Promise<void> {
    if (this.#hook !== undefined) await this.#hook(step, 'before');
    await this.#barrier.commit(puts, expect, urgent);
    if (this.#hook !== undefined) await this.#hook(step, 'after');
  }

  async outside<T>(step: OutsideStep, work: () => Promise<T>): Promise<T> {
    if (this.#hook !== undefined) await this.#hook(step, 'before');
    if ('asked' in STEPS[step]) await this.#barrier.logged();
    const result = await work();
    if (this.#hook !== undefined) await this.#hook(step, 'after');
    return result;
  }
}
