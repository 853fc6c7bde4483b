/** The system engine: every box has it at sys/. What answers while sealed lies in host/api/state.ts. */
import type { Core } from '../../../core/types.ts';
import type { AuditLog } from '../../audit/index.ts';
import type { Barrier } from '../../barrier/barrier.ts';
import type { Leases } from '../../leases/leases.ts';
import type { Mounts } from '../../mounts/mounts.ts';
import type { PasswordPolicies } from '../../policies/password-store.ts';
import type { Policies } from '../../policies/store.ts';
import type { Appliance } from '../../ports/appliance.ts';
import type { Engine, Operation } from '../../ports/engine.ts';
import type { ConfirmedTime } from '../../ports/lease-time.ts';
import type { Random } from '../../ports/random.ts';
import type { ValueMap } from '../../ports/value.ts';
import { timestampNanos } from '../../timestamp.ts';
import type { Tokens } from '../../tokens/tokens.ts';
import type { Wrapping } from '../../tokens/wrapping.ts';
import { auditOperations } from './audit.ts';
import { keyOperations } from './keys.ts';
import { leaseOperations } from './leases.ts';
import { livesOperations } from './lives.ts';
import { MountOperations } from './mounts.ts';
import { passwordOperations } from './passwords.ts';
import { capabilityOperations, policyOperations } from './policies.ts';
import { timeOperations } from './time.ts';
import { toolOperations } from './tools.ts';
import { wrappingOperations } from './wrapping.ts';

export interface SystemParts {
  readonly core: Core;
  readonly barrier: Barrier;
  readonly random: Random;
  readonly log: AuditLog;
  readonly mounts: Mounts;
  readonly policies: Policies;
  readonly passwords: PasswordPolicies;
  readonly tokens: Tokens;
  readonly wrapping: Wrapping;
  readonly leases: Leases;
  readonly lease: ConfirmedTime;
  readonly appliance: () => Appliance;
  /** Prometheus text and its fields. */
  readonly metrics: () => { readonly text: string; readonly json: ValueMap };
  readonly openApi: () => ValueMap;
  /** Whether the recovery quorum may rekey and generate a root token here (`seal.ceremonies`). */
  readonly ceremonies: boolean;
}

function ownOperations(parts: SystemParts): readonly Operation[] {
  return [
    {
      name: 'seal',
      pattern: 'seal',
      verb: 'write',
      sudo: true,
      summary: 'Close the box until a person opens it.',
      fields: {},
      run: async () => {
        await parts.appliance().seal();
        return undefined;
      },
    },
    {
      name: 'key-status',
      pattern: 'key-status',
      verb: 'read',
      flat: true,
      summary: 'The data key in use.',
      fields: {},
      run: () => {
        const { epoch, epochs } = parts.core.keyringInfo();
        const installed = epochs.find((one) => one.epoch === epoch)?.installedMs ?? 0;
        const rows = Object.values(parts.barrier.store.statistics().rows).reduce((sum, count) => sum + count, 0);
        return { data: { term: epoch, install_time: timestampNanos(installed, 0), encryptions: rows } };
      },
    },
    {
      name: 'metrics',
      pattern: 'metrics',
      verb: 'read',
      summary: 'Figures of the box, as Prometheus text (format=prometheus) or JSON.',
      fields: { format: { type: 'string', description: 'prometheus or json.' } },
      run: ({ fields }) => {
        const { text, json } = parts.metrics();
        return fields['format'] === 'json'
          ? { raw: { json } }
          : { raw: { contentType: 'text/plain; version=0.0.4; charset=utf-8', body: text } };
      },
    },
    {
      name: 'openapi',
      pattern: 'internal/specs/openapi',
      verb: 'read',
      open: true,
      summary: 'The API as an OpenAPI document.',
      fields: {},
      run: () => ({ raw: { json: parts.openApi() } }),
    },
    {
      name: 'resultant-acl',
      pattern: 'internal/ui/resultant-acl',
      verb: 'read',
      summary: 'Whether the token is root; the rules themselves are asked path by path (sys/capabilities-self).',
      fields: {},
      run: ({ isRoot }) => ({ data: { root: isRoot, exact_paths: {}, glob_paths: {} } }),
    },
    {
      // Decides about paths that no mount or engine has (host/mounts/dispatch.ts): any good token, nothing else.
      name: 'absent',
      pattern: 'internal/absent',
      verb: 'help',
      summary: 'Nothing is here.',
      fields: {},
      run: () => ({ status: 404 }),
    },
  ];
}

export function systemEngine(parts: SystemParts): Engine {
  return {
    type: 'system',
    help: 'The box itself: mounts, policies, capabilities, wrapping, the audit log.',
    operations: [
      ...ownOperations(parts),
      ...livesOperations(parts.appliance),
      ...keyOperations({ keys: () => parts.appliance().keyService, ceremonies: parts.ceremonies }),
      ...new MountOperations(parts.mounts, parts.core).rows(),
      ...policyOperations(parts.policies),
      ...passwordOperations(parts.passwords),
      ...capabilityOperations(parts.core, parts.tokens),
      ...wrappingOperations(parts.wrapping),
      ...leaseOperations({
        ...{ leases: parts.leases, time: parts.barrier.lease },
        accessorOf: (id) => parts.mounts.byId(id)?.accessor ?? id,
      }),
      ...auditOperations(parts.log),
      ...timeOperations({ lease: parts.lease, tell: (event, data) => parts.log.tell({ event, data }) }),
      ...toolOperations(parts.random),
    ],
  };
}
