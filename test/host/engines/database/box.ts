/** A whole box with the database engine, over a fake server unless adapters are given. */
import { certificateMaker } from '../../../../host/engines/database/certificate.ts';
import { databaseEngine, type RotationHook } from '../../../../host/engines/database/engine.ts';
import { networkCheck } from '../../../../host/networks.ts';
import type { Clock } from '../../../../host/ports/clock.ts';
import type { DatabaseAdapter } from '../../../../host/ports/database.ts';
import type { Outbound } from '../../../../host/ports/dispatch.ts';
import type { LogFiles } from '../../../../host/ports/log-files.ts';
import type { ValueMap } from '../../../../host/ports/value.ts';
import type { ServiceParts } from '../../../../host/services.ts';
import { dateOf } from '../../../../host/system/clock.ts';
import { cronSchedules } from '../../../../host/system/cron.ts';
import { type WholeBox, wholeBox } from '../../whole/box.ts';
import { FakeServer, fakeAdapter } from './fake.ts';

export interface DatabaseOptions {
  readonly adapters: (clock: Clock) => readonly DatabaseAdapter[];
  readonly hook?: RotationHook;
  readonly networks?: readonly string[];
  /** What a client certificate waits for. */
  readonly certifying?: () => Promise<void>;
  readonly parts?: Partial<ServiceParts>;
  /** Of the audit log. */
  readonly log?: LogFiles;
}

export function databaseBox(options: DatabaseOptions): Promise<WholeBox> {
  const { adapters, hook, networks, parts, certifying, log } = options;
  return wholeBox(log, undefined, undefined, {
    ...parts,
    engines: (own) => [
      databaseEngine({
        ...own,
        adapters: adapters(own.clock),
        schedules: cronSchedules,
        check: networkCheck(networks ?? ['0.0.0.0/0', '::/0']),
        passwords: (policy) => own.passwords.source(policy),
        certificate: async (...wish) => {
          await certifying?.();
          return await certificateMaker({
            wallMs: () => own.clock.wallMs(),
            date: dateOf,
            randomBytes: (length) => own.random.bytes(length),
          })(...wish);
        },
        hook,
      }),
    ],
  });
}

export interface FakeBox extends WholeBox {
  readonly server: FakeServer;
}

export const CONNECTION: ValueMap = {
  plugin_name: 'fake-database-plugin',
  connection_url: 'fake://{{username}}:{{password}}@server',
  username: 'root',
  password: 'root-password',
  allowed_roles: '*',
};
export const CREATION = `CREATE "{{name}}" '{{password}}'`;

/** With engine `db/`, connection `c` and role `r`. */
export async function fakeBox(options: Omit<DatabaseOptions, 'adapters'> = {}): Promise<FakeBox> {
  const server = new FakeServer();
  const box = await databaseBox({ ...options, adapters: () => [fakeAdapter(server)] });
  await box.ok('write', 'sys/mounts/db', { type: 'database' });
  await box.ok('write', 'db/config/c', CONNECTION);
  await box.ok('write', 'db/roles/r', {
    db_name: 'c',
    creation_statements: CREATION,
    default_ttl: '1h',
    max_ttl: '2h',
  });
  return Object.assign(box, { server });
}

export const refusal = (outbound: Outbound): string =>
  outbound.kind === 'error' ? `${outbound.status} ${outbound.errors.join('; ')}` : 'answered';

/** Waits until something holds that the box does by itself. */
export async function until(holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error('it did not come to hold in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
