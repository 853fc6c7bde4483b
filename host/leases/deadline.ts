/** Work that may never settle, with an end. */
import { Fault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';

const BACKOFF_FIRST_MS = 1000;
const BACKOFF_MAX_MS = 300_000;

/** @throws Fault `database.unreachable` it has not settled after `ms`; it goes on unseen */
export async function within<T>(clock: Clock, ms: number, what: string, work: () => Promise<T>): Promise<T> {
  let timer: { cancel(): void } | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = clock.after(ms, () =>
      reject(new Fault('database.unreachable', `${what} did not answer within ${Math.ceil(ms / 1000)} s`)),
    );
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    timer?.cancel();
  }
}

/** The sentence of a failure, for the list of what could not be ended: what is no fault says nothing of itself. */
export const sentenceOf = (thrown: unknown): string =>
  thrown instanceof Fault ? thrown.message.slice(0, 1024) : 'internal error';

/** Doubles from a second to five minutes, and up to a quarter less by chance: boxes do not come back all at once. */
export function backoffMs(random: Random, attempts: number): number {
  const full = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(attempts - 1, 20), BACKOFF_MAX_MS);
  const [chance = 0] = random.bytes(1);
  return Math.round(full * (1 - chance / 1024));
}
