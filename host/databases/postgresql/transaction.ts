/**
 * A transaction that cannot come true after its deadline. The box sends COMMIT only while 60 % of the time is not used up;
 * the server gives up a statement after 50 % and a lock after 40 %, and ends the session when the next packet of an open
 * transaction is more than 25 % late. So a COMMIT that the network brings later finds no transaction.
 */
import { type Deadline, tooLate } from '../deadline.ts';
import type { PostgresqlSession, Row } from './driver.ts';
import { isConflict, serverError } from './faults.ts';

const COMMIT_UNTIL = 0.6;
const STATEMENT = 0.5;
const LOCK = 0.4;
const IDLE = 0.25;
const RETRY_COUNT_MAX = 5;
const RETRY_PAUSE_MS = 20;

export class Transaction {
  readonly #session: PostgresqlSession;
  readonly #deadline: Deadline;

  constructor(session: PostgresqlSession, deadline: Deadline) {
    this.#session = session;
    this.#deadline = deadline;
  }

  /** Rows of the last statement. */
  query(text: string, values?: readonly unknown[]): Promise<readonly Row[]> {
    return this.#session.query(text, this.#deadline, values);
  }
}

/**
 * Commits what `work` did, or rolls all of it back. Tried again where another transaction was in the way.
 *
 * @param first  statements to send along with BEGIN; the rows of the last are given to `work`
 */
export async function transaction<T>(
  session: PostgresqlSession,
  deadline: Deadline,
  first: string,
  work: (transaction: Transaction, rows: readonly Row[]) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(session, deadline, first, work);
    } catch (error) {
      const again =
        isConflict(error) && session.usable && attempt < RETRY_COUNT_MAX && deadline.within(COMMIT_UNTIL / 2);
      if (!again) throw error;
      await deadline.clock.sleep(RETRY_PAUSE_MS * attempt);
    }
  }
}

async function once<T>(
  session: PostgresqlSession,
  deadline: Deadline,
  first: string,
  work: (transaction: Transaction, rows: readonly Row[]) => Promise<T>,
): Promise<T> {
  const set = [
    ['statement_timeout', STATEMENT],
    ['lock_timeout', LOCK],
    ['idle_in_transaction_session_timeout', IDLE],
  ] as const;
  await session.set(set.map(([name, part]) => `SET ${name} = ${deadline.share(part)}`).join('; '), deadline);
  try {
    const rows = await session.query(`BEGIN; ${first}`, deadline);
    const done = await work(new Transaction(session, deadline), rows);
    if (!deadline.within(COMMIT_UNTIL)) throw tooLate('do the statements', deadline.share(COMMIT_UNTIL));
    await session.query('COMMIT', deadline);
    return done;
  } catch (error) {
    await rollBack(session, deadline, error);
    throw error;
  }
}

/** The session goes on only if the server itself refused something and then rolled back. */
async function rollBack(session: PostgresqlSession, deadline: Deadline, error: unknown): Promise<void> {
  if (!session.usable) return;
  if (serverError(error)?.code.startsWith('57P') === true) return session.spoil();
  try {
    await session.query('ROLLBACK', deadline);
  } catch {
    session.destroy();
  }
}
