/** Whether a server's logins are explained, and what a box's callers were told holds. */
import type { DatabaseServer } from '../../databases/servers.ts';
import { endOf, letsIn, namesOn } from './logins.ts';
import type { Issued, Outcome, Report, StaticSecret } from './protocol.ts';

export interface Known extends Issued {
  /** `ending`: its end was asked for and may or may not have come. */
  state: 'live' | 'ending' | 'gone';
  /** Wall time in ms that a renewal was answered with; 0: none was. */
  renewedMs: number;
  /** Its password was tried once already. */
  tried: boolean;
  /** Another intent has its name: should the box die with it, the name is undone, whoever has it. */
  shared: boolean;
}

/** Leases that were answered, by id. */
export type Ledger = Map<string, Known>;

export function learn(
  ledger: Ledger,
  { issued = [], ending = [], revoked = [], renewed = {}, shared = [] }: Outcome,
): void {
  for (const one of issued) ledger.set(one.lease, { ...one, state: 'live', renewedMs: 0, tried: false, shared: false });
  const mark = (lease: string, state: Known['state']): void => {
    const known = ledger.get(lease);
    if (known !== undefined) known.state = state;
  };
  for (const lease of shared) {
    const known = ledger.get(lease);
    if (known !== undefined) known.shared = true;
  }
  for (const lease of ending) mark(lease, 'ending');
  for (const lease of revoked) mark(lease, 'gone');
  for (const [lease, atMs] of Object.entries(renewed)) {
    const known = ledger.get(lease);
    if (known !== undefined) known.renewedMs = atMs;
  }
}

/** @returns sentences of what does not hold; those that are gone leave the ledger */
export async function judge(
  server: DatabaseServer,
  own: ReadonlySet<string>,
  report: Report,
  secrets: readonly StaticSecret[],
  ledger: Ledger,
): Promise<string[]> {
  const wrong: string[] = [];
  const names = await namesOn(server);
  const leases = new Map(report.leases.map((lease) => [lease.id, lease]));
  const explained = new Set(report.leases.map(({ name }) => name));
  for (const name of names)
    if (!own.has(name) && !explained.has(name)) wrong.push(`nothing explains the login ${name}`);
  for (const name of own) if (!names.has(name)) wrong.push(`the login ${name}, which was there before, is gone`);
  if (report.intents.length + report.queued > 0) wrong.push('something is still being undone or ended');
  for (const { id, name, live, expireWallMs } of report.leases) {
    if (!live) continue;
    if (!names.has(name) && ledger.get(id)?.shared === true) continue;
    if (!names.has(name)) wrong.push(`the lease ${id} has no login`);
    const ends = await endOf(server, name);
    if (ends !== undefined && ends < expireWallMs) wrong.push(`the server ends ${name} before its lease ${id}`);
  }
  for (const [lease, known] of ledger) {
    const found = leases.get(lease);
    if (known.state === 'gone' && found !== undefined) wrong.push(`the lease ${lease} was revoked and is there`);
    if (known.state === 'live' && found === undefined) wrong.push(`the lease ${lease} was answered and is lost`);
    if (found?.live === true && found.expireWallMs < known.renewedMs) wrong.push(`the renewal of ${lease} is lost`);
    if (found === undefined) ledger.delete(lease);
    else if (found.live && !known.tried && (names.has(known.name) || !known.shared)) {
      known.tried = await letsIn(server, known.name, known.password);
      if (!known.tried) wrong.push(`the login of ${lease} does not work`);
    }
  }
  for (const { username, password } of secrets) {
    if (!(await letsIn(server, username, password))) wrong.push(`the stored password of ${username} does not log in`);
  }
  return wrong;
}
