/** What leaves: the Vault envelope, or an answer as it is. */
import { stringifyJson } from '../json.ts';
import type { Outbound } from '../ports/dispatch.ts';
import type { Answer, AuthAnswer, WrapInfo } from '../ports/engine.ts';
import { encodeCbor } from './cbor.ts';

export interface Sent {
  readonly status: number;
  readonly contentType: string;
  /** Undefined: 204. */
  readonly body: string | Uint8Array | undefined;
  readonly retryAfterSeconds?: number;
}

const JSON_TYPE = 'application/json';
const CBOR_TYPE = 'application/cbor';

function encoded(status: number, value: unknown, cbor: boolean): Sent {
  if (cbor) return { status, contentType: CBOR_TYPE, body: encodeCbor(value) };
  return { status, contentType: JSON_TYPE, body: stringifyJson(value) };
}

function authOf(auth: AuthAnswer): Record<string, unknown> {
  return {
    client_token: auth.clientToken,
    accessor: auth.accessor,
    policies: auth.policies,
    ...(auth.tokenPolicies.length === 0 ? {} : { token_policies: auth.tokenPolicies }),
    ...(auth.identityPolicies === undefined || auth.identityPolicies.length === 0
      ? {}
      : { identity_policies: auth.identityPolicies }),
    metadata: auth.metadata,
    lease_duration: auth.leaseDuration,
    renewable: auth.renewable,
    entity_id: auth.entityId,
    token_type: auth.tokenType,
    orphan: auth.orphan,
    mfa_requirement: null,
    num_uses: auth.numUses,
  };
}

function wrapOf(wrap: WrapInfo): Record<string, unknown> {
  return {
    token: wrap.token,
    accessor: wrap.accessor,
    ttl: wrap.ttl,
    creation_time: wrap.creationTime,
    creation_path: wrap.creationPath,
    ...(wrap.wrappedAccessor === undefined ? {} : { wrapped_accessor: wrap.wrappedAccessor }),
  };
}

function envelope(requestId: string, mountType: string, flat: boolean, answer: Answer): Record<string, unknown> {
  const { data, auth, wrapInfo, lease, warnings } = answer;
  const common = {
    request_id: requestId,
    lease_id: lease?.id ?? '',
    renewable: lease?.renewable ?? false,
    lease_duration: lease?.durationSeconds ?? answer.leaseDuration ?? 0,
    data: data ?? null,
    wrap_info: wrapInfo === undefined ? null : wrapOf(wrapInfo),
    warnings: warnings === undefined || warnings.length === 0 ? null : warnings,
    auth: auth === undefined ? null : authOf(auth),
    mount_type: mountType,
  };
  return flat && data !== undefined && data !== null ? { ...data, ...common } : common;
}

/** @param cbor the client asked for CBOR */
export function send(outbound: Outbound, cbor: boolean): Sent {
  if (outbound.kind === 'error') {
    const { status, errors, retryAfterSeconds } = outbound;
    const sent = encoded(status, { errors }, cbor);
    return retryAfterSeconds === undefined ? sent : { ...sent, retryAfterSeconds };
  }
  const { answer, requestId, mountType, flat } = outbound;
  const { raw, data, auth, wrapInfo, warnings, status } = answer;
  if (raw !== undefined) {
    if ('json' in raw) return encoded(status ?? 200, raw.json, cbor);
    return { status: status ?? 200, contentType: raw.contentType, body: raw.body };
  }
  const says = data !== undefined || auth !== undefined || wrapInfo !== undefined || warnings !== undefined;
  if (!says && status === undefined) return { status: 204, contentType: JSON_TYPE, body: undefined };
  return encoded(status ?? 200, envelope(requestId, mountType, flat, answer), cbor);
}

export const errorSent = (status: number, ...errors: readonly string[]): Sent => ({
  status,
  contentType: JSON_TYPE,
  body: stringifyJson({ errors }),
});
