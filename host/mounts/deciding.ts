/** What a request is allowed: core decides by the rows that it asks for. */
import type { Core, Decision, Parameter } from '../../core/types.ts';
import type { Barrier } from '../barrier/barrier.ts';
import type { Inbound } from '../ports/dispatch.ts';
import type { TokenInfo } from '../ports/engine.ts';
import type { ValueMap } from '../ports/value.ts';
import { isHonoured } from '../tokens/honoured.ts';
import { decodeToken, tokenInfo } from '../tokens/row.ts';

const TOKENS_KEPT = 4096;
/** How long the grant lives under which one row is opened, at once. */
const OPENING_MS = 1000;

export interface Begun {
  readonly decision: Decision;
  readonly token: TokenInfo | undefined;
  /** The row as it was before this request's use was taken off; undefined where none is. */
  readonly tokenRow: Uint8Array | undefined;
  readonly tokenKey: Uint8Array | undefined;
  /** Lease time of the decision. */
  readonly nowMs: number;
  /** Lease time after which the grant opens nothing any more. */
  readonly deadlineMs: number;
}

export class Deciding {
  readonly #barrier: Barrier;
  readonly #core: Core;
  /** One TokenInfo object for one row, by the row's nonce: what the log keeps for it is kept by its identity. */
  readonly #infos = new Map<string, TokenInfo>();

  constructor(barrier: Barrier) {
    this.#barrier = barrier;
    this.#core = barrier.core;
  }

  /** The box closes: what was kept of tokens goes. */
  forget(): void {
    this.#infos.clear();
  }

  /** @param path  must have been routed just before: core keeps the route */
  decide(request: Inbound, operation: number, path = request.path): Begun {
    const { store } = this.#barrier;
    const { tokenKey, existenceKey } = this.#core.begin(operation, request.token);
    let tokenRow = tokenKey === undefined ? undefined : store.get('token', tokenKey);
    // Copied where another read of the store takes the view away.
    if (tokenRow !== undefined && existenceKey !== undefined) tokenRow = Uint8Array.from(tokenRow);
    const existenceRow = existenceKey === undefined ? undefined : store.get('record', existenceKey);
    const nowMs = this.#barrier.lease.nowMs();
    const deadlineMs = nowMs + request.deadlineMs;
    const input = {
      tokenRow,
      existenceRow,
      nowMs,
      deadlineMs,
      peer: request.peer.address,
      wrapTtl: request.wrapTtl,
    };
    let decision = this.#core.decide(input);
    if (decision.verdict === 'needs-parameters') {
      decision = this.#core.decide({ ...input, parameters: parametersOf(request.body) });
    }
    let token =
      decision.verdict === 'token' ? undefined : this.#info(decision.grant, request.token, tokenKey, tokenRow);
    if (token !== undefined && !this.#isHonoured(token, decision.grant, tokenKey, tokenRow)) {
      this.#core.route(path);
      this.#core.begin(operation, request.token);
      decision = this.#core.decide({ ...input, refuseEnding: true });
      token = undefined;
    }
    const spent = decision.spentRow === undefined || tokenRow === undefined ? undefined : Uint8Array.from(tokenRow);
    return { decision, token, tokenRow: spent, tokenKey, nowMs, deadlineMs };
  }

  /**
   * Whether the token is honoured at what is known of the time; a batch token no longer than its parent is. If not, the grant
   * is over: nothing was opened under it, and no leaf says of it.
   *
   * @param row  of the token; a batch token's parent's
   */
  #isHonoured(token: TokenInfo, grant: number, key: Uint8Array | undefined, row: Uint8Array | undefined): boolean {
    const { lease } = this.#barrier;
    let honoured = false;
    try {
      honoured =
        isHonoured(token, lease) &&
        (token.type !== 'batch' ||
          key === undefined ||
          row === undefined ||
          lease.believed() ||
          isHonoured(this.#rowInfo(key, row), lease));
    } finally {
      if (!honoured) this.#core.endGrant(grant);
    }
    return honoured;
  }

  #rowInfo(key: Uint8Array, row: Uint8Array): TokenInfo {
    const nowMs = this.#barrier.lease.nowMs();
    const grant = this.#core.systemGrant('revocation', undefined, nowMs, nowMs + OPENING_MS);
    try {
      const payload = this.#core.openTable(grant, 'token', key, row);
      return tokenInfo(Buffer.from(key).toString('hex'), decodeToken(payload));
    } finally {
      this.#core.endGrant(grant);
    }
  }

  #info(
    grant: number,
    text: string | undefined,
    tokenKey: Uint8Array | undefined,
    row: Uint8Array | undefined,
  ): TokenInfo | undefined {
    // A batch token has no row of its own: what was read is its parent's.
    const own = text?.startsWith('hvb.') === true ? undefined : row;
    const nonce = own === undefined ? undefined : Buffer.from(own.buffer, own.byteOffset, 29).toString('latin1');
    const kept = nonce === undefined ? undefined : this.#infos.get(nonce);
    if (kept !== undefined) return kept;
    const payload = this.#core.tokenPayload(grant);
    if (payload === undefined) return undefined;
    const record = decodeToken(payload);
    const id = record.type === 'batch' || tokenKey === undefined ? '' : Buffer.from(tokenKey).toString('hex');
    const info = tokenInfo(id, record);
    if (nonce !== undefined) {
      if (this.#infos.size >= TOKENS_KEPT) this.#infos.clear();
      this.#infos.set(nonce, info);
    }
    return info;
  }
}

function parametersOf(body: ValueMap): Parameter[] {
  return Object.entries(body).map(([name, value]) =>
    typeof value === 'string' ? { name, kind: 'text', value } : { name, kind: 'json', value: canonical(value) },
  );
}

/** JSON with sorted keys, for comparing with the values of a policy. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return String(item);
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
