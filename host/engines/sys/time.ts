/** sys/time: what the box believes of its clock, and an operator's word that it is right. */
import type { Operation } from '../../ports/engine.ts';
import type { ConfirmedTime } from '../../ports/lease-time.ts';
import type { ValueMap } from '../../ports/value.ts';
import { timestampNanos } from '../../timestamp.ts';

export interface TimeOperationParts {
  readonly lease: ConfirmedTime;
  /** Writes a leaf of the box itself. */
  readonly tell: (event: string, data: Readonly<Record<string, string>>) => void;
}

export function timeOperations({ lease, tell }: TimeOperationParts): readonly Operation[] {
  const state = (): ValueMap => {
    const now = lease.nowMs();
    return {
      believed: lease.believed(),
      reasons: [...lease.reasons()],
      time: timestampNanos(lease.wallOf(now), 0),
      lease_time: timestampNanos(now, 0),
    };
  };
  return [
    {
      name: 'time',
      pattern: 'time',
      verb: 'read',
      summary: 'Whether the wall clock is believed, and why not; lease time, which never goes back.',
      fields: {},
      run: () => ({ data: state() }),
    },
    {
      name: 'time-confirm',
      pattern: 'time/confirm',
      verb: 'write',
      root: true,
      summary: 'An operator’s word that the wall clock is right now: it is believed until the box is started again.',
      fields: {},
      run: () => {
        const why = lease.reasons().join('; ');
        lease.confirm();
        tell('time.confirmed', { why });
        return { data: state() };
      },
    },
  ];
}
