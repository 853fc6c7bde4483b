/** Logins on database servers: made for a lease, or rotated by period and schedule. */
import type { Engine, MountInfo } from '../../ports/engine.ts';
import { LoginBackend } from './backend.ts';
import { ConfigOperations } from './config.ts';
import { Connections } from './connections.ts';
import { DueRotations } from './due.ts';
import type { DatabaseParts } from './parts.ts';
import { RoleOperations } from './roles.ts';
import { Roots } from './root.ts';
import { Rotations } from './rotation.ts';
import { StaticOperations } from './static-roles.ts';
import { Steps } from './steps.ts';

export type { DatabaseParts } from './parts.ts';
export type { RotationHook, RotationStep } from './steps.ts';

const STATIC = 'static/';

export interface DatabaseEngine {
  readonly engine: Engine;
  readonly mountable: { readonly type: string; readonly coreType: () => string };
  /** A record that came due: what the expiry queue calls. @param atMs  lease time of the row */
  due(mount: MountInfo, path: string, atMs: number): Promise<void>;
  /** Sentences for health, which anybody may read: they name no mount, no server, and nothing that a server said. */
  reasons(): readonly string[];
  /** For metrics: name and value. */
  figures(): ReadonlyMap<string, number>;
  start(): void;
  close(): Promise<void>;
}

export function databaseEngine(parts: DatabaseParts): DatabaseEngine {
  const steps = new Steps(parts.hook);
  const connections = new Connections(parts, () => parts.barrier.logged());
  const roots = new Roots(parts, connections, steps);
  const rotations = new Rotations(parts, connections, roots, steps);
  const due = new DueRotations(parts, rotations, steps);
  parts.leases.backend('database', new LoginBackend(parts, roots, connections));
  return {
    mountable: { type: 'database', coreType: () => 'database' },
    engine: {
      type: 'database',
      help: 'Makes logins on database servers that end with their lease, and rotates those that stay.',
      operations: [
        ...new ConfigOperations(parts, connections, roots).rows(),
        ...new RoleOperations(parts, connections, roots).rows(),
        ...new StaticOperations(parts, connections, roots, rotations, (mount, name) =>
          due.troubleOf(mount, name),
        ).rows(),
      ],
    },
    due: async (mount, path, atMs) => {
      if (path.startsWith(STATIC)) await due.take(mount, path.slice(STATIC.length), atMs);
    },
    reasons: () => {
      const { length } = due.stuck;
      return length === 0
        ? []
        : [`static roles that could not be rotated: ${length}; a read of static-roles/<name> says why`];
    },
    figures: () =>
      new Map([
        ['database_rotations_total', due.rotated],
        ['database_rotation_failures_total', due.failed],
        ['database_rotations_stuck', due.stuck.length],
      ]),
    start: () => due.start(),
    async close() {
      await due.close();
      await connections.close();
    },
  };
}
