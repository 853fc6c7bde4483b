/**
 * What happens with a request: route, decide, leaf, operation, leaf, answer. The answer leaves when its leaf is durable;
 * nothing is stored before the request's leaf is.
 */
import { isCoreFault } from '../../core/index.ts';
import type { Core, Routed as CoreRoute, Decision } from '../../core/types.ts';
import type { AuditContext, AuditLog } from '../audit/index.ts';
import { type Barrier, StaleDecision } from '../barrier/barrier.ts';
import { expiryDelete, expiryPut } from '../barrier/expiry-row.ts';
import { hostFault } from '../barrier/fault.ts';
import { Fault, isFault } from '../fault.ts';
import type { Dispatcher, Inbound, Outbound } from '../ports/dispatch.ts';
import type { Answer, MountInfo, OperationContext } from '../ports/engine.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import type { Put } from '../ports/store.ts';
import type { Tokens } from '../tokens/tokens.ts';
import { NOT_VALID, type Wrapping } from '../tokens/wrapping.ts';
import { withWarnings, wrapTtlOf } from './answers.ts';
import { type Begun, Deciding } from './deciding.ts';
import { answerOf, error, NOTHING, POLICY_REFUSED, SEALED, TOKEN_REFUSED, wrapped } from './errors.ts';
import { parseFields, withQuery } from './fields.ts';
import { helpOf } from './help.ts';
import type { MountRecord, Mounts } from './mounts.ts';
import type { Registry } from './registry.ts';
import { isRevocation } from './revocation.ts';
import { chosen, type Routed } from './router.ts';

/** Path of the operation that decides about paths which no mount or engine has: the token counts, nothing else. */
const ABSENT_PATH = 'sys/internal/absent';
const UNWRAP_PATH = 'sys/wrapping/unwrap';
const ATTEMPTS_MAX = 3;

export interface DispatchParts {
  readonly barrier: Barrier;
  readonly audit: AuditLog;
  readonly registry: Registry;
  readonly mounts: Mounts;
  readonly tokens: Tokens;
  readonly wrapping: Wrapping;
  readonly lease: LeaseTime;
}

/** What a path lacks; undefined: a mount. */
type Missing = 'path' | 'operation' | 'value' | undefined;

/** A patch of what is not there: 404 without a body, unlike a read. */
const NOTHING_TO_PATCH: Answer = { status: 404, raw: { contentType: 'application/json', body: '' } };

export class Dispatch implements Dispatcher {
  readonly #parts: DispatchParts;
  readonly #core: Core;
  readonly #deciding: Deciding;
  #open = false;
  #underWay = 0;
  #idle: (() => void) | undefined;

  constructor(parts: DispatchParts) {
    this.#parts = parts;
    this.#core = parts.barrier.core;
    this.#deciding = new Deciding(parts.barrier);
  }

  /** Lets requests in. */
  open(): void {
    this.#open = true;
  }

  /** Lets no further request in, and waits for those under way. */
  async close(): Promise<void> {
    this.#open = false;
    if (this.#underWay > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    this.#deciding.forget();
  }

  async dispatch(request: Inbound): Promise<Outbound> {
    if (!this.#open) return SEALED;
    this.#underWay++;
    try {
      for (let attempt = 1; ; attempt++) {
        const outcome = await this.#attempt(request);
        // Decided as a create, and somebody else made it first: decide again, as an update.
        if (outcome !== 'again') return outcome;
        if (attempt === ATTEMPTS_MAX)
          return error(409, 'the record changed while the request was under way: try again');
      }
    } catch (thrown) {
      return answerOf(hostFault(thrown));
    } finally {
      this.#underWay--;
      if (this.#underWay === 0) this.#idle?.();
    }
  }

  #attempt(request: Inbound): Outbound | Promise<Outbound | 'again'> {
    let route: CoreRoute;
    try {
      route = this.#core.route(request.path);
    } catch (thrown) {
      if (isCoreFault(thrown) && thrown.status === 'mount') return this.#absent(request, undefined);
      throw thrown;
    }
    const mount = this.#parts.mounts.byId(route.mountHex);
    if (mount === undefined) return this.#absent(request, undefined);
    if (request.verb === 'help') return this.#help(request, mount, route);
    const found = this.#parts.registry.router(route.type).find(route.relative, request.verb);
    const writes = request.verb === 'write' || request.verb === 'patch';
    if (route.trailingSlash && writes && (typeof found === 'string' || found.operation.slash !== true)) {
      return error(400, "cannot write to a path ending in '/'");
    }
    if (found === 'path' || found === 'operation') {
      // The top of a mount holds nothing to read: that is no unknown path.
      return this.#absent(request, found === 'path' && route.relative === '' ? 'value' : found);
    }
    if (route.trailingSlash && request.verb !== 'list' && found.operation.slash !== true) {
      return error(400, "only a list takes a path ending in '/'");
    }
    const answering = chosen(found, request);
    const asked = withQuery(request, answering.operation);
    return typeof asked === 'string' ? error(400, asked) : this.#run(asked, mount, answering);
  }

  // ------------------------------------------------------------------------------------------ deciding

  #context(request: Inbound, begun: Begun, mount: MountInfo | undefined, clear?: AuditContext['clear']): AuditContext {
    const { lease } = this.#parts;
    return {
      id: request.id,
      timeMs: lease.wallOf(begun.nowMs),
      timeNanos: lease.nowNanos(),
      verb: request.verb,
      decision: begun.decision,
      path: request.path,
      mount,
      tokenText: request.token,
      token: begun.token,
      body: request.body,
      peer: request.peer,
      wrapTtl: request.wrapTtl,
      urgent: isRevocation(request.path),
      clear,
    };
  }

  /**
   * Takes the use off that this request costs, durable. With the last one the token's end is due: whatever comes between
   * this and `#end`, the expiry queue ends it.
   *
   * @returns false if another request took it first
   */
  async #spend({ decision, tokenRow, tokenKey, deadlineMs }: Begun, urgent: boolean): Promise<boolean> {
    const { spentRow, lastUse } = decision;
    if (spentRow === undefined || tokenRow === undefined || tokenKey === undefined) return true;
    const { barrier } = this.#parts;
    const puts: Put[] = [{ table: 'token', key: tokenKey, value: spentRow }];
    if (lastUse) {
      puts.push(
        await barrier.job('revocation', undefined, (grant) =>
          expiryPut(barrier, grant, deadlineMs, 'revocation', tokenKey),
        ),
      );
    }
    try {
      await barrier.commit(puts, [{ table: 'token', key: tokenKey, is: tokenRow }], urgent);
      return true;
    } catch (thrown) {
      if (isFault(thrown, 'store.conflict')) return false;
      throw thrown;
    }
  }

  /** The request is decided again, and takes its use then: this one goes back, unless the token changed since. */
  async #putBack({ decision, tokenRow, tokenKey, deadlineMs }: Begun): Promise<void> {
    const { spentRow, lastUse } = decision;
    if (spentRow === undefined || tokenRow === undefined || tokenKey === undefined) return;
    const puts: Put[] = [{ table: 'token', key: tokenKey, value: tokenRow }];
    if (lastUse) puts.push(expiryDelete(deadlineMs, 'revocation', tokenKey));
    try {
      await this.#parts.barrier.commit(puts, [{ table: 'token', key: tokenKey, is: spentRow }]);
    } catch (thrown) {
      if (!isFault(thrown)) throw thrown;
    }
  }

  /** After the answer's leaf: a token whose last use this was ends. What fails here the expiry queue does. */
  async #end({ decision, token, deadlineMs }: Begun): Promise<void> {
    if (!decision.lastUse || token === undefined) return;
    try {
      await this.#parts.tokens.revoke(token.id, false, deadlineMs);
    } catch (thrown) {
      if (!isFault(thrown)) throw thrown;
    }
  }

  // ------------------------------------------------------------------------------------------ running

  async #run(request: Inbound, mount: MountRecord, routed: Routed): Promise<Outbound | 'again'> {
    const { audit } = this.#parts;
    const begun = this.#deciding.decide(request, routed.number);
    const { decision } = begun;
    const context = this.#context(request, begun, mount, routed.operation.auditClear);
    this.#begin(decision.grant, context);
    let outbound: Outbound;
    let answer: Answer | undefined;
    try {
      if (begun.tokenRow !== undefined && !(await this.#spend(begun, context.urgent === true))) {
        this.#close(context, decision.grant, { error: 'the token was used by another request at the same time' });
        await audit.durable('answer');
        return 'again';
      }
      if (decision.verdict !== 'allowed') {
        outbound = refusal(request, decision.verdict);
      } else {
        const { context: operated, warnings } = this.#prepare(request, mount, routed, begun);
        const running = routed.operation.run(operated);
        // Most reads are done by now: a promise less is some microtasks less.
        const plain = running instanceof Promise ? await running : running;
        const done = this.#done(request, mount, routed, decision, withWarnings(plain, warnings));
        outbound = done.outbound;
        answer = done.answer;
        const wrapTtl = done.answer === undefined ? 0 : wrapTtlOf(request, done.answer);
        if (wrapTtl > 0 && outbound.kind === 'answer' && answer !== undefined) {
          answer = await this.#wrap(request, decision.grant, answer, wrapTtl);
          outbound = { ...outbound, requestId: '', answer };
        }
      }
    } catch (thrown) {
      if (thrown instanceof StaleDecision) {
        await this.#putBack(begun);
        this.#close(context, decision.grant, { error: thrown.message });
        await audit.durable('answer');
        return 'again';
      }
      outbound = answerOf(hostFault(thrown));
    }
    const text = outbound.kind === 'error' ? outbound.errors.join('; ') || `status ${outbound.status}` : undefined;
    this.#close(context, decision.grant, { answer, error: text });
    await audit.durable(context.urgent === true ? 'urgent' : 'answer');
    await this.#end(begun);
    return outbound;
  }

  /** The request leaf; a log that takes none ends the grant: nothing happens unlogged. */
  #begin(grant: number, context: AuditContext): void {
    try {
      this.#parts.audit.request(grant, context);
    } catch (thrown) {
      this.#drop(grant);
      throw thrown;
    }
  }

  /** Ends a grant whose leaf could not be composed: those that are live are bounded. */
  #drop(grant: number): void {
    if (!this.#core.sealed) this.#core.endGrant(grant);
  }

  #close(
    context: AuditContext,
    grant: number,
    outcome: { readonly answer?: Answer | undefined; readonly error?: string | undefined },
  ): void {
    const { audit, lease } = this.#parts;
    if (this.#core.sealed) throw new Fault('appliance.sealed', 'Vault is sealed');
    const { answer, error: text } = outcome;
    try {
      audit.response(grant, context, {
        timeMs: lease.wallOf(lease.nowMs()),
        timeNanos: lease.nowNanos(),
        answer,
        error: text,
      });
    } catch (thrown) {
      this.#drop(grant);
      throw thrown;
    }
  }

  #prepare(
    request: Inbound,
    mount: MountRecord,
    { operation, captures }: Routed,
    { decision, token, nowMs }: Begun,
  ): { readonly context: OperationContext; readonly warnings: readonly string[] } {
    const { fields, warnings } = parseFields(operation, request.body, captures, request.verb === 'patch');
    const { barrier, lease } = this.#parts;
    const context: OperationContext = {
      requestId: request.id,
      path: request.path,
      capability: decision.capability,
      captures,
      fields,
      body: request.body,
      mount,
      view: barrier.view(decision.grant, mount.id),
      grant: decision.grant,
      token,
      tokenText: operation.open === true ? undefined : request.token,
      isRoot: decision.isRoot,
      hasSudo: decision.hasSudo,
      nowMs,
      nowNanos: lease.nowNanos(),
      peer: request.peer,
      wrapTtl: request.wrapTtl,
    };
    return { context, warnings };
  }

  /** What an operation gave, as the client and the log see it before it is wrapped. */
  #done(
    request: Inbound,
    mount: MountRecord,
    { operation }: Routed,
    { lastUse }: Decision,
    given: Answer | undefined,
  ): { readonly outbound: Outbound; readonly answer: Answer | undefined } {
    // An unwrapped answer brings the lease of another token.
    if (lastUse && given?.lease !== undefined && given.requestId === undefined) {
      return { outbound: error(400, 'a token with one use left cannot be given a lease'), answer: undefined };
    }
    const absent = given?.status === 404 && given.data === undefined;
    if ((given === undefined && request.verb === 'read') || (absent && request.verb !== 'patch')) {
      return { outbound: NOTHING, answer: undefined };
    }
    const answer = absent ? NOTHING_TO_PATCH : given;
    const outbound: Outbound = {
      kind: 'answer',
      requestId: answer?.wrapInfo === undefined ? (answer?.requestId ?? request.id) : '',
      mountType: mount.type,
      flat: operation.flat === true,
      verb: request.verb,
      answer: answer ?? {},
    };
    return { outbound, answer };
  }

  async #wrap(request: Inbound, grant: number, answer: Answer, ttl: number): Promise<Answer> {
    const wrapInfo = await this.#parts.wrapping.wrap(grant, {
      requestId: request.id,
      answer,
      creationPath: request.path,
      ttl,
    });
    return { wrapInfo, ...(answer.warnings === undefined ? {} : { warnings: answer.warnings }) };
  }

  /**
   * A path that no mount or engine has. Who may not ask is told nothing of that: the token and its policies come first.
   *
   * @param missing undefined: no mount; else what the engine does not have
   */
  #absent(request: Inbound, missing: Missing): Promise<Outbound | 'again'> {
    return this.#aside(request, (grant) => this.#absence(request, grant, missing));
  }

  /** `?help=1`: for any good token, whatever its policies. */
  #help(request: Inbound, mount: MountRecord, { type, relative }: CoreRoute): Promise<Outbound | 'again'> {
    const { registry } = this.#parts;
    const engine = registry.engine(type);
    const operations = registry.router(type).operationsAt(relative);
    if (engine === undefined || (operations.length === 0 && relative !== '')) return this.#absent(request, 'path');
    const answer: Answer = { raw: { json: helpOf(engine, relative, operations) } };
    const outbound: Outbound = {
      ...{ kind: 'answer', requestId: request.id, mountType: mount.type, flat: false, verb: 'help', answer },
    };
    return this.#aside(request, () => outbound);
  }

  /** What no operation answers: decided by one that lets any good token in, and logged like others. */
  async #aside(request: Inbound, answer: (grant: number) => Outbound): Promise<Outbound | 'again'> {
    this.#core.route(ABSENT_PATH);
    const found = this.#parts.registry.router('system').find('internal/absent', 'help');
    if (found === 'path' || found === 'operation') throw new Error('the operation for absent paths is not declared');
    const begun = this.#deciding.decide(request, found.number, ABSENT_PATH);
    const { decision } = begun;
    const context = this.#context(request, begun, undefined);
    this.#begin(decision.grant, context);
    let spent = true;
    let outbound: Outbound;
    try {
      spent = begun.tokenRow === undefined || (await this.#spend(begun, context.urgent === true));
      outbound = decision.verdict === 'token' ? TOKEN_REFUSED : answer(decision.grant);
    } catch (thrown) {
      outbound = answerOf(hostFault(thrown));
    }
    this.#close(context, decision.grant, outbound.kind === 'error' ? { error: outbound.errors[0] ?? '' } : {});
    await this.#parts.audit.durable('answer');
    if (spent) await this.#end(begun);
    return spent ? outbound : 'again';
  }

  #absence(request: Inbound, grant: number, missing: Missing): Outbound {
    const isList = request.verb === 'list';
    const path = isList && !request.path.endsWith('/') ? `${request.path}/` : request.path;
    const payload = this.#core.tokenPayload(grant);
    const allowed = payload === undefined ? ['deny'] : this.#core.capabilities(grant, payload, path);
    const wanted = {
      read: ['read'],
      list: ['list'],
      write: ['create', 'update'],
      delete: ['delete'],
      patch: ['patch'],
      help: ['read'],
    }[request.verb];
    if (!allowed.includes('root') && !wanted.some((capability) => allowed.includes(capability))) return POLICY_REFUSED;
    if (missing === 'value') return NOTHING;
    if (missing === 'operation') return wrapped(405, 'unsupported operation');
    if (missing === 'path') return wrapped(404, 'unsupported path');
    return error(404, `no handler for route "${path}". route entry not found.`);
  }
}

function refusal(request: Inbound, verdict: Decision['verdict']): Outbound {
  if (verdict !== 'token') return POLICY_REFUSED;
  // A wrapping token that was used or never was: the reference says so in these words and with this status.
  if (request.path === UNWRAP_PATH && request.token !== undefined) return error(400, NOT_VALID);
  return TOKEN_REFUSED;
}
