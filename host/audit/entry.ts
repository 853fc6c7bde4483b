/**
 * Leaves in the schema that readers of Vault's audit log know: what follows core's own object in the line. What is the
 * same for all requests of a token or a mount is built once and kept as long as its object lives.
 */
import { LEAF_SIZE_MAX } from '../../core/types.ts';
import type { Answer, AuthAnswer, MountInfo, TokenInfo, WrapInfo } from '../ports/engine.ts';
import type { ValueMap } from '../ports/value.ts';
import { timestampSeconds } from '../timestamp.ts';
import { clearJson, HashedJson, quote, quoteAll } from './json.ts';
import type { AuditContext, AuditNote, AuditOutcome } from './types.ts';

const ERROR_LENGTH_MAX = 4096;
/** Tokens, mounts, and requests whose response leaf is still to come; beyond that the oldest one's part is built again. */
const KEPT_MAX = 4096;

/** As they stand in leaves; empty where there is nothing to hash. */
interface TokenHmacs {
  readonly token: string;
  readonly accessor: string;
}

interface TokenParts {
  readonly of: TokenInfo;
  readonly hmacs: TokenHmacs;
  readonly auth: string;
  readonly request: string;
}

/** What follows core's object in a leaf, and the size of the whole that is sure, so that hopeless ones are not tried. */
export interface Rest {
  readonly text: string;
  /** At least so many bytes. */
  readonly least: number;
}

export class EntryBuilder {
  readonly #hmac: (value: string) => string;
  /** By the id of the token and of the mount. Plain maps of bounded size, like the one below. */
  readonly #tokens = new Map<string, TokenParts>();
  readonly #mounts = new Map<string, { readonly of: MountInfo; readonly text: string }>();
  /** `auth` and `request` of a request, for its response leaf; with data, and with the data left out. */
  readonly #requests = new Map<AuditContext, { readonly text: string; readonly growth: number }>();
  /** Hashes of values that stand in most answers. */
  readonly #common = new Map<string, string>();

  constructor(hmac: (value: string) => string) {
    this.#hmac = hmac;
  }

  /** The HMAC key is another one now. */
  forget(): void {
    this.#tokens.clear();
    this.#common.clear();
  }

  /** @param elided the request's data is replaced by its HMAC and length */
  request(context: AuditContext, time: string, elided = false): Rest {
    const hashed = new HashedJson(this.#hmac, this.#common);
    const body = `${this.#auth(context)},"request":${this.#request(context, hashed, elided)}`;
    this.#keep(context, body, hashed.growth);
    const text = `"time":"${time}","type":"request",${body}}`;
    return { text, least: text.length + hashed.growth };
  }

  /** @param level 0 whole; 1 data elided; 2 nothing but the request's id and the answer's HMAC: always fits */
  response(context: AuditContext, outcome: AuditOutcome, time: string, level: 0 | 1 | 2 = 0): Rest {
    const head = `"time":"${time}","type":"response"`;
    const error = outcome.error === undefined ? '' : `,"error":${quote(outcome.error.slice(0, ERROR_LENGTH_MAX))}`;
    const hashed = new HashedJson(this.#hmac, this.#common);
    if (level === 2) {
      const text = `${head},"request":{"id":${quote(context.id)}},"response":${this.#elide(answerData(outcome.answer))}}`;
      return { text, least: text.length };
    }
    const kept = this.#requests.get(context);
    this.#requests.delete(context);
    const request =
      level === 0 && kept !== undefined
        ? kept.text
        : `${this.#auth(context)},"request":${this.#request(context, hashed, true)}`;
    const growth = level === 0 && kept !== undefined ? kept.growth : 0;
    const answer = outcome.answer;
    const response = answer === undefined ? '' : `,"response":${this.#response(context, answer, hashed, level === 1)}`;
    const text = `${head},${request}${response}${error}}`;
    return { text, least: text.length + hashed.growth + growth };
  }

  /** A plain map, emptied by the responses: a weak one costs the garbage collector more than all the rest of a leaf. */
  #keep(context: AuditContext, text: string, growth: number): void {
    makeRoom(this.#requests);
    this.#requests.set(context, { text, growth });
  }

  note(note: AuditNote, id: string, time: string): Rest {
    const hashed = new HashedJson(this.#hmac, this.#common);
    const data = note.data === undefined ? '' : `,"data":${clearJson(note.data)}`;
    const secret =
      note.hashed === undefined || Object.keys(note.hashed).length === 0 ? '' : `,"hashed":${hashed.map(note.hashed)}`;
    const text = `"time":"${time}","type":"note","note":{"id":${quote(id)},"event":${quote(note.event)}${data}${secret}}}`;
    return { text, least: text.length + hashed.growth };
  }

  #auth(context: AuditContext): string {
    const { decision, token } = context;
    const allowed = decision.verdict === 'allowed';
    let granting = '';
    for (const at of token === undefined ? [] : decision.granting) {
      const policy = `{"name":${quote(token?.policies[at] ?? '')},"namespace_id":"root","type":"acl"}`;
      granting = granting === '' ? policy : `${granting},${policy}`;
    }
    const results = `"policy_results":{"allowed":${allowed}${granting === '' ? '' : `,"granting_policies":[${granting}]`}}`;
    const own = token === undefined ? '' : `${this.#token(token, context.tokenText).auth},`;
    return `"auth":{${own}${results}}`;
  }

  /** What depends on the token alone. Its HMACs never change, the rest when its row does (then host makes a new TokenInfo). */
  #token(token: TokenInfo, presented: string | undefined): TokenParts {
    const kept = this.#tokens.get(token.id);
    const complete = kept !== undefined && (kept.hmacs.token !== '' || presented === undefined);
    if (complete && kept.of === token) return kept;
    // Batch tokens have no row of their own: nothing but the object says which one it is.
    const same = complete && token.type === 'service' && kept.of.type === 'service';
    const hmacs = same ? kept.hmacs : this.#hmacs(token, presented);
    const parts = { of: token, hmacs, auth: authOf(token, hmacs), request: requestOf(hmacs) };
    if (kept === undefined) makeRoom(this.#tokens);
    this.#tokens.set(token.id, parts);
    return parts;
  }

  #hmacs(token: TokenInfo, presented: string | undefined): TokenHmacs {
    return {
      token: presented === undefined ? '' : this.#hmac(presented),
      accessor: token.accessor === '' ? '' : this.#hmac(token.accessor),
    };
  }

  /** Members of `request` and `response` that depend on the mount alone, with a comma behind. */
  #mount(mount: MountInfo | undefined): string {
    if (mount === undefined) return '';
    const kept = this.#mounts.get(mount.id);
    if (kept?.of === mount) return kept.text;
    const kind = mount.path.startsWith('auth/') ? 'auth' : 'secret';
    const accessor = mount.accessor === '' ? '' : `"mount_accessor":${quote(mount.accessor)},`;
    const out = `"mount_point":${quote(mount.path)},"mount_type":${quote(mount.type)},${accessor}"mount_class":"${kind}",`;
    if (kept === undefined) makeRoom(this.#mounts);
    this.#mounts.set(mount.id, { of: mount, text: out });
    return out;
  }

  #request(context: AuditContext, hashed: HashedJson, elided: boolean): string {
    const { token, tokenText, peer, headers, body } = context;
    const operation = context.verb === 'help' ? 'help' : context.decision.capability;
    let out = `{"id":${quote(context.id)},"operation":"${operation}",${this.#mount(context.mount)}`;
    // Known tokens have their HMACs in `auth`, built once; only an unknown one is hashed here.
    if (token === undefined && tokenText !== undefined) out += `"client_token":${hashed.text(tokenText)},`;
    if (token !== undefined) out += this.#token(token, tokenText).request;
    out += `"namespace":{"id":"root"},"path":${quote(context.path)}`;
    if (elided) out += `,"data":${this.#elide(body)}`;
    else if (Object.keys(body).length > 0) out += `,"data":${hashed.map(body, context.clear?.request)}`;
    if (peer.address !== undefined) out += `,"remote_address":${quote(peer.address)}`;
    if (peer.port !== undefined) out += `,"remote_port":${peer.port}`;
    if (context.wrapTtl > 0) out += `,"wrap_ttl":${context.wrapTtl}`;
    if (headers !== undefined && headers.length > 0) {
      const list = headers.map(
        ({ name, value, hmac }) => `${quote(name)}:[${hmac ? hashed.text(value) : quote(value)}]`,
      );
      out += `,"headers":{${list.join(',')}}`;
    }
    return `${out}}`;
  }

  #response(context: AuditContext, answer: Answer, hashed: HashedJson, elided: boolean): string {
    let out = `{${this.#mount(context.mount)}`;
    if (answer.auth !== undefined) out += `"auth":${responseAuth(answer.auth, hashed)},`;
    if (answer.lease !== undefined) out += `"secret":{"lease_id":${quote(answer.lease.id)}},`;
    const data = answerData(answer);
    if (elided) out += `"data":${this.#elide(data)},`;
    else if (data !== undefined) out += `"data":${hashed.map(data, context.clear?.response)},`;
    if (answer.warnings !== undefined && answer.warnings.length > 0) out += `"warnings":${quoteAll(answer.warnings)},`;
    if (answer.wrapInfo !== undefined) out += `"wrap_info":${wrapInfo(answer.wrapInfo, hashed)},`;
    return out.endsWith(',') ? `${out.slice(0, -1)}}` : `${out}}`;
  }

  /** Too much for a leaf: what it was can still be proved by whoever has it. */
  #elide(data: ValueMap | undefined): string {
    const text = clearJson(data ?? {});
    return `{"elided":true,"hmac":"${this.#hmac(text)}","length":${Buffer.byteLength(text)}}`;
  }
}

/** Members of `auth` that depend on the token alone. */
function authOf(token: TokenInfo, hmacs: TokenHmacs): string {
  let out = hmacs.token === '' ? '' : `"client_token":"${hmacs.token}",`;
  if (hmacs.accessor !== '') out += `"accessor":"${hmacs.accessor}",`;
  out += `"display_name":${quote(token.displayName)}`;
  const all = [...new Set([...token.policies, ...token.identityPolicies])].sort((a, b) => (a < b ? -1 : 1));
  out += `,"policies":${quoteAll(all)},"token_policies":${quoteAll(token.policies)}`;
  if (token.identityPolicies.length > 0) out += `,"identity_policies":${quoteAll(token.identityPolicies)}`;
  if (token.metadata !== null) out += `,"metadata":${clearJson(token.metadata)}`;
  if (token.numUses > 0) out += `,"num_uses":${token.numUses}`;
  if (token.entityId !== '') out += `,"entity_id":${quote(token.entityId)}`;
  out += `,"token_type":"${token.type}"`;
  if (token.creationTtl > 0) out += `,"token_ttl":${token.creationTtl}`;
  return `${out},"token_issue_time":"${timestampSeconds(token.issueMs || token.creationMs)}"`;
}

/** Members of `request` that depend on the token alone, with a comma behind. */
function requestOf(hmacs: TokenHmacs): string {
  const token = hmacs.token === '' ? '' : `"client_token":"${hmacs.token}",`;
  return hmacs.accessor === '' ? token : `${token}"client_token_accessor":"${hmacs.accessor}",`;
}

/** A map keeps the order of its keys' coming: the oldest goes. */
function makeRoom(map: Map<unknown, unknown>): void {
  if (map.size < KEPT_MAX) return;
  map.delete(map.keys().next().value);
}

/** True if a leaf with this rest cannot fit, whatever core adds. */
export const hopeless = (rest: Rest): boolean => rest.least > LEAF_SIZE_MAX;

/** What an answer holds of data, in one map; undefined for none. */
function answerData(answer: Answer | undefined): ValueMap | undefined {
  if (answer?.raw === undefined) return answer?.data ?? undefined;
  if ('json' in answer.raw) return answer.raw.json;
  return { http_content_type: answer.raw.contentType, http_raw_body: answer.raw.body };
}

function responseAuth(auth: AuthAnswer, hashed: HashedJson): string {
  let out = `{"client_token":${hashed.text(auth.clientToken)},"accessor":${hashed.text(auth.accessor)}`;
  out += `,"policies":${quoteAll(auth.policies)},"token_policies":${quoteAll(auth.tokenPolicies)}`;
  const identity = auth.identityPolicies ?? [];
  if (identity.length > 0) out += `,"identity_policies":${quoteAll(identity)}`;
  if (auth.metadata !== null) out += `,"metadata":${clearJson(auth.metadata)}`;
  if (auth.numUses > 0) out += `,"num_uses":${auth.numUses}`;
  if (auth.entityId !== '') out += `,"entity_id":${quote(auth.entityId)}`;
  return `${out},"token_type":"${auth.tokenType}","token_ttl":${auth.leaseDuration}}`;
}

function wrapInfo(info: WrapInfo, hashed: HashedJson): string {
  let out = `{"ttl":${info.ttl},"token":${hashed.text(info.token)},"accessor":${hashed.text(info.accessor)}`;
  out += `,"creation_time":${quote(info.creationTime)},"creation_path":${quote(info.creationPath)}`;
  if (info.wrappedAccessor !== undefined) out += `,"wrapped_accessor":${hashed.text(info.wrappedAccessor)}`;
  return `${out}}`;
}
