/**
 * A packet that the network brings late: its box is dead, another one has begun or ended to clean up, and then the server
 * hears what the first had asked for.
 */
import type { BoxProcess } from './box-process.ts';
import { until } from './logins.ts';
import type { Matrix } from './matrix.ts';
import type { Kind, Sabotage } from './protocol.ts';

export interface Late {
  readonly operation: string;
  /** Of what is held. */
  readonly packet: RegExp;
  /**
   * Whether the server does what it says, when it comes behind the first look of the next box. Undefined: only where that box
   * is up within the quarter of ten seconds that the server waits for a rotation.
   */
  readonly takesEffect: boolean | undefined;
  /** Milliseconds that the server has for a call, where the next box has to wait for the first one's locks. */
  readonly timeoutMs?: number;
}

const COMMIT = /^Q....COMMIT/s;

export const LATE: Readonly<Record<Kind, readonly Late[]>> = {
  postgresql: [
    // A creation comes true with its COMMIT, which nobody sends any more.
    { operation: 'issue', packet: /CREATE ROLE/, takesEffect: false },
    { operation: 'issue', packet: COMMIT, takesEffect: true },
    { operation: 'renew', packet: COMMIT, takesEffect: true },
    { operation: 'revoke', packet: COMMIT, takesEffect: false, timeoutMs: 8000 },
    { operation: 'rotate a static role', packet: COMMIT, takesEffect: undefined },
    { operation: 'rotate the root', packet: COMMIT, takesEffect: undefined },
  ],
  mariadb: [
    { operation: 'issue', packet: /CREATE USER/, takesEffect: true },
    { operation: 'revoke', packet: /DROP USER/, takesEffect: false },
    { operation: 'rotate a static role', packet: /ALTER USER/, takesEffect: undefined },
    { operation: 'rotate the root', packet: /ALTER USER/, takesEffect: undefined },
  ],
};

const STATE = {
  postgresql: 'SELECT rolname, rolpassword, rolvaliduntil, rolcanlogin FROM pg_authid ORDER BY 1',
  mariadb: 'SELECT * FROM mysql.global_priv ORDER BY User, Host',
} as const;

/** Every login with what it proves itself by. */
const stateOf = async ({ server, kind }: Matrix): Promise<string> => JSON.stringify(await server.sql(STATE[kind]));

/** What a packet that takes effect needs at most, and one that takes none is given. */
const EFFECT_MS = 5000;
const NO_EFFECT_MS = 700;
/** The server's time for one call, in the run in which all is over before the packet comes. */
const SHORT_MS = 4000;
/** Rotations have ten seconds for a call. */
const ROTATION_MS = 10_500;

/** A new process has no session that outlives a change of its password. */
async function afresh(matrix: Matrix, box: BoxProcess): Promise<readonly string[]> {
  await box.kill();
  const next = await matrix.start();
  const wrong = await matrix.check(next);
  await next.kill();
  return wrong;
}

/** @returns what does not hold */
export async function arrivesBetween(matrix: Matrix, late: Late, sabotage?: Sabotage): Promise<readonly string[]> {
  const { operation, packet, takesEffect } = late;
  const start = { sabotage, ...(late.timeoutMs === undefined ? {} : { timeoutMs: late.timeoutMs }) };
  const held = await matrix.lose(operation, packet, start);
  const box = await matrix.start(start);
  // The first look is taken; for the second one time would have to move on. The box's own login and static roles are used.
  await box.ask({ do: 'look' });
  await box.ask({ do: 'secrets' });
  await box.ask({ do: 'probe' });
  const before = await stateOf(matrix);
  held.release();
  const changed = await until(
    async () => (await stateOf(matrix)) !== before,
    takesEffect === true ? EFFECT_MS : NO_EFFECT_MS,
  );
  const wrong = [...(await matrix.check(box)), ...(await afresh(matrix, box))];
  if (takesEffect === undefined || changed === takesEffect) return wrong;
  return [
    ...wrong,
    `the late packet ${changed ? 'took effect' : 'took none'}: this is another case than the one that is meant`,
  ];
}

/** @returns what does not hold */
export async function arrivesAfter(matrix: Matrix, { operation, packet }: Late): Promise<readonly string[]> {
  const held = await matrix.lose(operation, packet, { timeoutMs: SHORT_MS });
  const began = performance.now();
  const box = await matrix.start({ timeoutMs: SHORT_MS });
  const wrong = [...(await matrix.check(box, 'wait'))];
  // What leaves no intent is looked through at once: all is over when the call's own time is.
  const rest = (operation.startsWith('rotate') ? ROTATION_MS : SHORT_MS) - (performance.now() - began);
  if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
  const before = await stateOf(matrix);
  held.release();
  if (await until(async () => (await stateOf(matrix)) !== before, NO_EFFECT_MS))
    wrong.push('the late packet took effect');
  wrong.push(...(await matrix.check(box, 'wait')), ...(await afresh(matrix, box)));
  return wrong;
}
