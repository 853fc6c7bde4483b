/** What the database engine is made of and with. */
import type { Barrier } from '../../barrier/barrier.ts';
import { Fault } from '../../fault.ts';
import type { Clock } from '../../ports/clock.ts';
import type { DatabaseAdapter } from '../../ports/database.ts';
import type { MountInfo } from '../../ports/engine.ts';
import type { LeaseTime } from '../../ports/lease-time.ts';
import type { Leases } from '../../ports/leases.ts';
import type { Random } from '../../ports/random.ts';
import type { Schedules } from '../../ports/schedule.ts';
import type { ValueMap } from '../../ports/value.ts';
import type { View } from '../../ports/view.ts';
import type { CredentialSource } from './credentials.ts';
import type { RotationHook } from './steps.ts';

export interface DatabaseParts extends CredentialSource {
  readonly barrier: Barrier;
  readonly leases: Leases;
  readonly adapters: readonly DatabaseAdapter[];
  readonly clock: Clock;
  readonly lease: LeaseTime;
  readonly random: Random;
  readonly schedules: Schedules;
  /** Of ConnectionLimits: which addresses may be connected to. */
  readonly check: (address: string) => void;
  /** Why nothing outside may be touched (the box is a copy, or was restored); undefined: it may. */
  readonly held: () => string | undefined;
  /** A leaf of what the box did by itself: `data` in clear, `hashed` as HMACs. */
  readonly tell: (note: { readonly event: string; readonly data: ValueMap; readonly hashed: ValueMap }) => void;
  /** Tests alone. */
  readonly hook?: RotationHook | undefined;
}

/** Longest time that one call of a server has, where its caller says none. */
export const CALL_MS = 10_000;
/** The server's own end of a login lies behind the lease's: it is the second line. */
export const GRACE_MS = 5000;
/** Characters of the appliance id that names carry. */
export const BOX_ID_LENGTH = 4;

/** Runs `work` on a mount's storage for the box itself. */
export function ownView<T>(barrier: Barrier, mount: MountInfo, work: (view: View) => T | Promise<T>): Promise<T> {
  return barrier.job('rotation', mount.id, (grant) => work(barrier.view(grant, mount.id)));
}

export function boxIdOf(barrier: Barrier): string {
  return Buffer.from(barrier.core.keyringInfo().applianceId).toString('hex').slice(0, BOX_ID_LENGTH);
}

/** @throws Fault `lease.held` nothing outside may be changed now */
export function refuseWhileHeld({ held }: DatabaseParts): void {
  const reason = held();
  if (reason !== undefined) throw new Fault('lease.held', `no password is changed: ${reason}`);
}
