/** Calls of backends, each with an end; a seal ends them all at once. */
import { Fault } from '../fault.ts';
import type { Timer } from '../ports/clock.ts';
import type { BackendContext } from '../ports/leases.ts';
import type { Random } from '../ports/random.ts';
import type { LeaseMount, LeaseParts } from './parts.ts';

const BACKOFF_FIRST_MS = 1000;
const BACKOFF_MAX_MS = 300_000;

export class Calls {
  readonly timeoutMs: number;
  readonly #parts: LeaseParts;
  readonly #waiting = new Set<(fault: Fault) => void>();
  #halted = false;

  constructor(parts: LeaseParts, timeoutMs: number) {
    this.#parts = parts;
    this.timeoutMs = timeoutMs;
  }

  /**
   * Runs `work` for at most `ms`.
   *
   * @param name  of the backend
   * @throws Fault `database.unreachable` it has not settled by then; `appliance.sealed` the box closes. It goes on unseen
   */
  async within<T>(ms: number, name: string, work: () => Promise<T>): Promise<T> {
    if (this.#halted) throw sealed();
    let timer: Timer | undefined;
    let stop: ((fault: Fault) => void) | undefined;
    const ended = new Promise<never>((_, reject) => {
      stop = reject;
      this.#waiting.add(reject);
      timer = this.#parts.clock.after(ms, () =>
        reject(
          new Fault('database.unreachable', `the backend ${name} did not answer within ${Math.ceil(ms / 1000)} s`),
        ),
      );
    });
    try {
      return await Promise.race([work(), ended]);
    } finally {
      timer?.cancel();
      if (stop !== undefined) this.#waiting.delete(stop);
    }
  }

  /**
   * One call of a mount's backend, with the mount's storage at hand for its time.
   *
   * @param factor  how many times the time of a change it has
   */
  backend<T>(mount: LeaseMount, name: string, work: (context: BackendContext) => Promise<T>, factor = 1): Promise<T> {
    const { barrier } = this.#parts;
    const { info } = mount;
    const timeoutMs = this.timeoutMs * factor;
    return barrier.job('lease', info.id, (grant) =>
      this.within(timeoutMs, name, () =>
        work({ mount: info, view: barrier.view(grant, info.id), backend: name, timeoutMs }),
      ),
    );
  }

  /** The box closes: nobody waits for a backend any more. What was begun is in the store, and goes on after the unseal. */
  halt(): void {
    this.#halted = true;
    for (const stop of this.#waiting) stop(sealed());
  }

  resume(): void {
    this.#halted = false;
  }
}

const sealed = (): Fault => new Fault('appliance.sealed', 'Vault is sealed');

/** The sentence of a failure, for the list of what could not be ended: what is no fault says nothing of itself. */
export const sentenceOf = (thrown: unknown): string =>
  thrown instanceof Fault ? thrown.message.slice(0, 1024) : 'internal error';

/** Doubles from a second to five minutes, and up to a quarter less by chance: boxes do not come back all at once. */
export function backoffMs(random: Random, attempts: number): number {
  const full = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(attempts - 1, 20), BACKOFF_MAX_MS);
  const [chance = 0] = random.bytes(1);
  return Math.round(full * (1 - chance / 1024));
}
