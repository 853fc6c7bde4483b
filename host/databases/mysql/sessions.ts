/** Sessions of logins that are gone: the server lets them go on, so they are ended one by one. */
import { Fault } from '../../fault.ts';
import type { Deadline } from '../deadline.ts';
import { literal } from './dialect.ts';
import type { MysqlSession } from './driver.ts';
import { errorNumber, faultOf } from './faults.ts';

const POLL_MS = 20;
const ROUNDS_MAX = 100;
const NO_SUCH_SESSION = 1094;

/** @returns names whose sessions go on, with the reason */
export async function endSessions(
  session: MysqlSession,
  names: readonly string[],
  deadline: Deadline,
): Promise<ReadonlyMap<string, Fault>> {
  if (names.length === 0) return new Map();
  const refused = new Map<string, Fault>();
  for (let round = 0; round < ROUNDS_MAX && deadline.leftMs > 0; round++) {
    const rows = await session.query(
      `SELECT ID AS id, CAST(USER AS BINARY) AS name FROM information_schema.PROCESSLIST
       WHERE CAST(USER AS BINARY) IN (${names.map(literal).join(', ')})`,
      deadline,
    );
    const open = rows
      .map((row) => ({ id: String(row['id']), name: String(row['name']) }))
      .filter(({ name }) => !refused.has(name));
    if (open.length === 0) return refused;
    for (const { id, name } of open) {
      try {
        await session.query(`KILL ${BigInt(id)}`, deadline);
      } catch (error) {
        if (!session.isOpen) throw error;
        if (errorNumber(error) !== NO_SUCH_SESSION) refused.set(name, faultOf(error, []));
      }
    }
    await deadline.clock.sleep(POLL_MS);
  }
  throw new Fault('database.unreachable', 'sessions of a login did not end');
}
