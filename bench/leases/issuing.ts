/** Logins made, and ended by their prefix, in turns with the bare driver. */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { SALT_SIZE, scramVerifier } from '../../host/databases/postgresql/scram.ts';
import type { DatabaseServer, ServerKind } from '../../test/databases/servers.ts';
import { Scratch } from '../box.ts';
import { count, type Kind } from '../http/load.ts';
import type { BenchRow } from '../result.ts';
import { IN_FLIGHT_MAX, type LeaseBox } from './box.ts';
import { median, pause, rangeOf, ratios, type Size, times } from './calls.ts';
import { type BareDriver, bareDriver } from './driver.ts';
import { type Owed, owedTo } from './owed.ts';

const ISSUE_REACH = 0.8;
const REVOKE_REACH = 600;
const REVOKE_MS_MAX = 300_000;
const RETRY_MS = 20;
const TTL_S = 3600;

/** How a password stands in the statement that makes a login. */
type Sent = 'verifier' | 'clear';

interface Mode {
  /** What to know of it, behind the number in flight. */
  readonly says: string;
  readonly connection: string;
  readonly role: string;
  /** The first sends what the box does, and is what the reach is about; another one is there for information. */
  readonly rivals: readonly [Sent, ...Sent[]];
}

/**
 * PostgreSQL derives a key from the password either way: of one in clear to keep it, of a verifier to see that it is not one
 * of the empty password. Who sends a verifier has derived one before, and the server's log of statements has no password.
 */
const MODES: Readonly<Record<ServerKind, readonly [Mode, ...Mode[]]>> = {
  postgresql: [
    {
      says: ', password_authentication=scram-sha-256 (the default: a verifier is sent)',
      ...{ connection: 'main', role: 'issued', rivals: ['verifier', 'clear'] },
    },
    {
      says: ', password_authentication=password (it is sent in clear)',
      ...{ connection: 'main-clear', role: 'issued-clear', rivals: ['clear'] },
    },
  ],
  mariadb: [{ says: '', connection: 'main', role: 'issued', rivals: ['clear'] }],
};

const RIVALS: Readonly<Record<Sent, string>> = {
  verifier: 'bare driver that makes the verifier',
  clear: 'bare driver that sends the password in clear',
};
/** MariaDB has one way only: there is nothing to tell apart. */
const nameOf = (kind: ServerKind, sent: Sent): string => (kind === 'mariadb' ? 'bare driver' : RIVALS[sent]);

const creds = (role: string): Kind => ({
  name: role,
  weight: 1,
  shot: () => ({ method: 'GET', path: `/v1/database/creds/${role}` }),
});

/** Logins a second, from nothing under way to nothing under way, as the driver's. @throws Error an answer was a failure */
async function issuing(box: LeaseBox, role: string, connections: number, durationMs: number): Promise<number> {
  const { target, token = '' } = box;
  const done = await count({ target, token, connections, warmupMs: 0, durationMs, mix: [creds(role)] });
  if (done.failures > 0) throw new Error(`${done.failures} logins were not made`);
  return done.all.totalCount / done.seconds;
}

/** @param owed  absent: nothing of it is kept. @returns its name, new as its password is */
async function makeBare(driver: BareDriver, sent: Sent, owed?: Owed): Promise<string> {
  const name = `b-${randomBytes(10).toString('hex')}`;
  const clear = randomBytes(15).toString('base64');
  const line = owed?.line('request');
  const password = sent === 'clear' ? clear : await scramVerifier(clear, randomBytes(SALT_SIZE));
  await line;
  await driver.create({ name, password, expiration: '2099-01-01 00:00:00+0000' });
  await owed?.lease();
  await owed?.line('answer');
  return name;
}

/** The bare driver's, with as many under way. @param made  takes the names */
async function bare(
  make: () => Promise<string>,
  inFlight: number,
  durationMs: number,
  made: string[],
): Promise<number> {
  const began = performance.now();
  const before = made.length;
  const caller = async (): Promise<void> => {
    while (performance.now() - began < durationMs) made.push(await make());
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
  return ((made.length - before) * 1000) / (performance.now() - began);
}

interface Rivals {
  readonly driver: BareDriver;
  readonly owed: Owed;
  /** Takes the names of what they make. */
  readonly made: string[];
}

/** Of the contender that syncs what a login owes to the disk. */
const owing = (sent: Sent): string => `${sent}, kept`;
const OWING = 'the same driver with the syncs of an audited lease';

type Contender = (inFlight: number, durationMs: number) => Promise<number>;

/** By the box's roles and the rivals' ways, in the order of a round: each stands beside what it is compared with. */
function contendersOf(
  kind: ServerKind,
  box: LeaseBox,
  { driver, owed, made }: Rivals,
  inFlight: number,
): Map<string, Contender> {
  const contenders = new Map<string, Contender>();
  const add = (name: string, make: () => Promise<string>): void => {
    contenders.set(name, (callers, durationMs) => bare(make, callers, durationMs, made));
  };
  for (const { role, rivals } of MODES[kind]) {
    contenders.set(role, (callers, durationMs) => issuing(box, role, callers, durationMs));
    for (const sent of rivals) add(sent, () => makeBare(driver, sent));
    const [like] = rivals;
    // More callers would share syncs, and it gathers none.
    if (inFlight === 1) add(owing(like), () => makeBare(driver, like, owed));
  }
  return contenders;
}

/**
 * Logins a second in each round, by contender; every other round goes backwards, so that nobody always comes first.
 *
 * @param clear  drops all that was made: a server gets slower with its logins, and the next turn would pay for them
 */
async function rounds(
  contenders: ReadonlyMap<string, Contender>,
  inFlight: number,
  { rounds: wanted, turnMs }: Size,
  clear: () => Promise<void>,
): Promise<(name: string) => readonly number[]> {
  const rates = new Map<string, number[]>([...contenders.keys()].map((name) => [name, []]));
  for (let round = 0; round < wanted; round++) {
    const order = round % 2 === 0 ? [...contenders] : [...contenders].reverse();
    for (const [name, turn] of order) {
      rates.get(name)?.push(await turn(inFlight, turnMs));
      await clear();
    }
  }
  return (name) => rates.get(name) ?? [];
}

function issueRow(
  kind: ServerKind,
  mode: Mode,
  inFlight: number,
  rates: (name: string) => readonly number[],
): BenchRow {
  const { says, role, rivals } = mode;
  const [like] = rivals;
  const byRound = ratios(rates(role), rates(like));
  const kept = rates(owing(like));
  const ratio = median(byRound);
  return {
    what: `${kind} logins issued, ${inFlight} in flight${says}`,
    unit: 'logins/s',
    ours: median(rates(role)),
    rivals: {
      ...Object.fromEntries(rivals.map((sent) => [nameOf(kind, sent), median(rates(sent))])),
      ...(kept.length === 0 ? {} : { [OWING]: median(kept) }),
    },
    ratio,
    reach: `>= ${ISSUE_REACH}x the ${nameOf(kind, like)}`,
    met: ratio >= ISSUE_REACH,
    note:
      kept.length === 0
        ? rangeOf(byRound)
        : `${rangeOf(byRound)}; ${median(ratios(rates(role), kept)).toFixed(2)}x ${OWING}`,
  };
}

/** @returns the rows, and how many logins a second the box made as connections are by default, sixteen in flight */
export async function issueRows(
  kind: ServerKind,
  server: DatabaseServer,
  box: LeaseBox,
  size: Size,
): Promise<{ readonly rows: readonly BenchRow[]; readonly perSecond: number }> {
  const modes = MODES[kind];
  for (const { role, connection } of modes) await box.role(role, TTL_S, connection);
  const scratch = new Scratch();
  const owed = owedTo(scratch.folder);
  const driver = await bareDriver(server, IN_FLIGHT_MAX);
  try {
    const made: string[] = [];
    const contenders = contendersOf(kind, box, { driver, owed, made }, IN_FLIGHT_MAX);
    const clear = async (): Promise<void> => {
      for (const { role } of modes) await revoke(box, role);
      const names = made.splice(0);
      await times(names.length, (turn) => driver.drop(names[turn] ?? ''));
    };
    // Each side has its time, shared by its ways.
    for (const turn of contenders.values()) await turn(IN_FLIGHT_MAX, (2 * size.warmMs) / contenders.size);
    await clear();
    const rows: BenchRow[] = [];
    let perSecond = 0;
    for (const inFlight of [1, IN_FLIGHT_MAX]) {
      const present = contendersOf(kind, box, { driver, owed, made }, inFlight);
      const rates = await rounds(present, inFlight, size, clear);
      for (const mode of modes) rows.push(issueRow(kind, mode, inFlight, rates));
      perSecond = median(rates(modes[0].role));
    }
    return { rows: [...rows, await revokeRow(kind, driver, box, size)], perSecond };
  } finally {
    await driver.close();
    await owed.close();
    scratch.end();
  }
}

/** All leases of a role, until the answer says that they are gone. One answer waits only so long: it is asked again. */
async function revoke(box: LeaseBox, role: string): Promise<void> {
  const untilMs = performance.now() + REVOKE_MS_MAX;
  for (;;) {
    try {
      await box.ask('PUT', `sys/leases/revoke-prefix/database/creds/${role}`);
      return;
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await pause(RETRY_MS);
    }
  }
}

/** A prefix of leases is revoked; the driver drops as many logins, sixteen in flight. */
async function revokeRow(kind: ServerKind, driver: BareDriver, box: LeaseBox, { revoked }: Size): Promise<BenchRow> {
  await box.role('revoked', TTL_S);
  await times(revoked, () => box.ask('GET', 'database/creds/revoked'));
  const began = performance.now();
  await revoke(box, 'revoked');
  const ours = (revoked * 1000) / (performance.now() - began);
  const names: string[] = [];
  await times(revoked, async () => names.push(await makeBare(driver, 'clear')));
  const from = performance.now();
  await times(names.length, (turn) => driver.drop(names[turn] ?? ''));
  const theirs = (names.length * 1000) / (performance.now() - from);
  return {
    what: `${kind}: ${revoked.toLocaleString('en')} leases revoked by their prefix`,
    unit: 'leases/s',
    ours,
    rivals: { 'bare driver': theirs },
    ratio: ours / theirs,
    ...(kind === 'postgresql' ? { reach: `>= ${REVOKE_REACH} a second`, met: ours >= REVOKE_REACH } : {}),
  };
}
