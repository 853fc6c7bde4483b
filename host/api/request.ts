/** From the bytes of a request to what is dispatched. Everything that could mean two things is refused. */
import type { Verb } from '../../core/types.ts';
import { parseDurationMs } from '../duration.ts';
import { Fault } from '../fault.ts';
import { parseJson } from '../json.ts';
import type { Inbound } from '../ports/dispatch.ts';
import type { Value, ValueMap } from '../ports/value.ts';
import { parseCbor } from './cbor.ts';

export type Parsed = Pick<Inbound, 'verb' | 'path' | 'token' | 'body' | 'query' | 'wrapTtl' | 'headers'> & {
  readonly cbor: boolean;
};

const PREFIX = '/v1/';
const TARGET_SIZE_MAX = 16_384;
const WRITES: readonly string[] = ['POST', 'PUT', 'PATCH'];
const MERGE_PATCH = 'application/merge-patch+json';
const TRUE = ['1', 't', 'T', 'true', 'TRUE', 'True'];
const FALSE = ['0', 'f', 'F', 'false', 'FALSE', 'False'];
const refuse = (sentence: string): never => {
  throw new Fault('input.invalid', sentence);
};

/** A refusal without a text: what the reference answers to an unreadable query. */
export class EmptyRefusal extends Error {}

/** Target to path below /v1/ and query. @throws Fault `input.invalid`; undefined for what is not below /v1/ */
export function parseTarget(target: string): { readonly path: string; readonly query: string } | undefined {
  if (target.length > TARGET_SIZE_MAX) refuse('the request target is too long');
  const mark = target.indexOf('?');
  const raw = mark < 0 ? target : target.slice(0, mark);
  if (!raw.startsWith(PREFIX)) return undefined;
  if (raw.includes('#') || !/^[\x21-\x7e]*$/.test(raw))
    refuse('the path holds bytes that a URL cannot hold: encode them');
  const encoded = raw.slice(PREFIX.length);
  const path = encoded.includes('%') ? encoded.split('/').map(decodeSegment).join('/') : encoded;
  return { path, query: mark < 0 ? '' : target.slice(mark + 1) };
}

function decodeSegment(segment: string): string {
  if (!segment.includes('%')) return segment;
  if (/%2f/i.test(segment)) refuse('an encoded slash is not taken in a path');
  let decoded: string;
  try {
    decoded = decodeURIComponent(segment);
  } catch {
    return refuse('the path is not well-formed percent-encoded UTF-8');
  }
  if (decoded.normalize('NFC') !== decoded) refuse('the path is not in Unicode normalisation form C');
  return decoded;
}

/** Query to texts; a name that stands twice becomes a list. */
export function parseQuery(query: string): Record<string, Value> {
  const out = new Map<string, Value>();
  const lists = new Map<string, Value[]>();
  for (const part of query.split('&')) {
    if (part === '') continue;
    const at = part.indexOf('=');
    let name: string;
    let value: string;
    try {
      name = decodeURIComponent((at < 0 ? part : part.slice(0, at)).replaceAll('+', ' '));
      value = at < 0 ? '' : decodeURIComponent(part.slice(at + 1).replaceAll('+', ' '));
    } catch {
      return refuse('the query is not well-formed percent-encoded UTF-8');
    }
    const before = out.get(name);
    const list = lists.get(name);
    if (before === undefined) out.set(name, value);
    else if (list !== undefined) list.push(value);
    else {
      // Grown in place: a form of a megabyte may give one name half a million times.
      const begun = [before, value];
      lists.set(name, begun);
      out.set(name, begun);
    }
  }
  return Object.fromEntries(out);
}

/** The headers that are read, undefined where absent. Gathered once from the raw list: Node's own maps cost several times that. */
export interface Head {
  host: string | undefined;
  token: string | undefined;
  authorization: string | undefined;
  wrapTtl: string | undefined;
  namespace: string | undefined;
  contentType: string | undefined;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  /** Several are joined with commas. */
  accept: string | undefined;
}

const HEADERS: Readonly<Record<string, keyof Head>> = {
  host: 'host',
  'x-vault-token': 'token',
  authorization: 'authorization',
  'x-vault-wrap-ttl': 'wrapTtl',
  'x-vault-namespace': 'namespace',
  'content-type': 'contentType',
  'content-length': 'contentLength',
  'transfer-encoding': 'transferEncoding',
  accept: 'accept',
};
const HEADER_FIELDS: ReadonlyMap<string, keyof Head> = new Map(Object.entries(HEADERS));
/** Names as clients write them: what is not here is made lower-case first, and is not read if it is longer. */
const HEADER_LENGTH_MAX = Math.max(...Object.keys(HEADERS).map((name) => name.length));

/** @param raw names and values in turns @throws Fault `input.invalid` where a header that must be one is given twice */
export function readHead(raw: readonly string[]): Head {
  const head: Head = {
    host: undefined,
    token: undefined,
    authorization: undefined,
    wrapTtl: undefined,
    namespace: undefined,
    contentType: undefined,
    contentLength: undefined,
    transferEncoding: undefined,
    accept: undefined,
  };
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? '';
    if (name.length > HEADER_LENGTH_MAX) continue;
    const field = HEADER_FIELDS.get(name) ?? HEADER_FIELDS.get(name.toLowerCase());
    if (field === undefined) continue;
    const value = raw[at + 1] ?? '';
    const before = head[field];
    if (before === undefined) head[field] = value;
    else if (field === 'accept' || field === 'transferEncoding') head[field] = `${before}, ${value}`;
    else refuse(`the header ${name.toLowerCase()} is given more than once`);
  }
  return head;
}

function tokenOf({ token, authorization }: Head): string | undefined {
  const bearer = authorization?.startsWith('Bearer ') === true ? authorization.slice(7) : undefined;
  if (token === undefined || token === '') return bearer;
  // Who reads one of the two and who reads the other would see two callers.
  if (bearer !== undefined && bearer !== token) refuse('X-Vault-Token and Authorization hold different tokens');
  return token;
}

function wrapTtlOf({ wrapTtl: text }: Head): number {
  if (text === undefined || text === '') return 0;
  const ms = parseDurationMs(text);
  if (ms === undefined) return refuse('error parsing X-Vault-Wrap-TTL header: it is no duration such as 60 or 5m');
  if (ms < 0) return refuse('error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative');
  return Math.ceil(ms / 1000);
}

function isListing(query: Record<string, Value>): boolean {
  const asked = query['list'];
  if (asked === undefined) return false;
  if (typeof asked === 'string' && TRUE.includes(asked)) return true;
  if (typeof asked === 'string' && FALSE.includes(asked)) return false;
  throw new EmptyRefusal();
}

/** @throws Fault `input.media-type`, `input.invalid` */
function checkPatchType(contentType: string | undefined): void {
  if (contentType === undefined) refuse('mime: no media type');
  const [type = '', ...parameters] = (contentType ?? '').split(';').map((part) => part.trim());
  const wellFormed =
    /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(type) && parameters.every((part) => /^[\w-]+=("[^"]*"|[^\s;"]+)$/.test(part));
  if (!wellFormed) refuse('mime: malformed media type');
  if (type.toLowerCase() !== MERGE_PATCH) {
    throw new Fault('input.media-type', `PATCH requires Content-Type of ${MERGE_PATCH}, provided ${type}`);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function asMap(value: Value): ValueMap {
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) {
    return refuse('failed to parse JSON input: the body is no object');
  }
  return value as ValueMap;
}

export function parseBody(bytes: Uint8Array, contentType: string | undefined): ValueMap {
  if (bytes.length === 0) return {};
  const type = (contentType ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'application/cbor') return asMap(parseCbor(bytes));
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    return refuse('failed to parse JSON input: it is not UTF-8');
  }
  const looksLikeJson = /^\s*[{[]/.test(text);
  if (type === 'application/x-www-form-urlencoded' && !looksLikeJson) return parseQuery(text);
  return text.trim() === '' ? {} : asMap(parseJson(text));
}

const VERBS: Readonly<Record<string, Verb>> = {
  GET: 'read',
  POST: 'write',
  PUT: 'write',
  PATCH: 'patch',
  DELETE: 'delete',
};

/** Whether the body has to be read: only writes have one that counts. */
export const takesBody = (method: string): boolean => WRITES.includes(method);

/** What is refused whatever it asks for, before a byte of the body is read. */
export function checkHead({ transferEncoding, contentLength, namespace }: Head): void {
  if (transferEncoding !== undefined && contentLength !== undefined) {
    refuse('Content-Length and Transfer-Encoding are given both');
  }
  if (namespace === undefined) return;
  const name = namespace.replace(/^\/+|\/+$/g, '');
  if (name !== '' && name !== 'root') refuse('this box has no namespaces: leave X-Vault-Namespace out');
}

const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({});

export function parseRequest(
  method: string,
  head: Head,
  target: { readonly path: string; readonly query: string },
  body: Uint8Array,
): Parsed {
  let query = target.query === '' ? undefined : parseQuery(target.query);
  let verb = VERBS[method];
  if (verb === undefined) throw new Fault('operation.unsupported', 'unsupported operation');
  if (verb === 'patch') checkPatchType(head.contentType);
  if (query !== undefined) {
    if (verb === 'read' && query['help'] !== undefined) verb = 'help';
    else if (verb === 'read' && isListing(query)) verb = 'list';
    const { list: _list, help: _help, ...rest } = query;
    query = rest;
  }
  const writes = verb === 'write' || verb === 'patch';
  return {
    verb,
    path: target.path,
    token: tokenOf(head),
    body: writes ? parseBody(body, head.contentType) : (query ?? {}),
    ...(writes && query !== undefined ? { query } : {}),
    wrapTtl: wrapTtlOf(head),
    headers: NO_HEADERS,
    cbor: head.accept?.includes('application/cbor') === true,
  };
}
