/** The HTTP client of the command line: one request a call, JSON in and out, nothing kept. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { parseJson, stringifyJson } from '../json.ts';
import type { ValueMap } from '../ports/value.ts';
import { LocalError, RemoteError } from './environment.ts';
import type { ServerAccess } from './server.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'LIST';

export interface Call {
  readonly body?: ValueMap;
  readonly wrapTtl?: string;
  /** Answers of this status are no error (404 of a deleted version, 503 of a sealed health). */
  readonly accept?: readonly number[];
  readonly withoutToken?: boolean;
}

/** An answer of the API; `data` is undefined with 204. */
export interface Reply {
  readonly status: number;
  readonly json: ValueMap | undefined;
  readonly text: string;
}

const ANSWER_SIZE_MAX = 64 * 1024 * 1024;
const TIMEOUT_MS = 60_000;

/** Percent-encodes each segment of an API path. */
export const encodePath = (path: string): string => path.split('/').map(encodeURIComponent).join('/');

async function collect(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > ANSWER_SIZE_MAX) throw new LocalError('the answer is too large for the command line');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What to do about a connection that failed. */
function explain(error: NodeJS.ErrnoException, address: string): LocalError {
  const hints: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens there: is the server running?',
    ENOENT: 'there is no such socket: is the server running?',
    EACCES: 'this user may not open that socket',
    ENOTFOUND: 'that name is unknown',
    ECONNRESET: 'the server closed the connection: is it http where https is needed?',
    DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is not trusted: name its authority with -ca-cert or HOLDFAST_CACERT',
    SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not trusted: name its authority with -ca-cert or HOLDFAST_CACERT',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      'its certificate is not trusted: name its authority with -ca-cert or HOLDFAST_CACERT',
    ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
    EPROTO: 'it does not speak TLS: is the address http://?',
  };
  return new LocalError(
    `${address} did not answer: ${hints[error.code ?? ''] ?? error.code ?? 'the connection failed'}`,
  );
}

export class ApiClient {
  readonly access: ServerAccess;

  constructor(access: ServerAccess) {
    this.access = access;
  }

  /** @param path below /v1/, not encoded @throws RemoteError status of 400 and above that the call does not accept */
  async call(method: Method, path: string, call: Call = {}, query = ''): Promise<Reply> {
    // LIST goes as GET: not every proxy between lets the method through.
    const asked = method === 'LIST' ? `${query === '' ? '?' : `${query}&`}list=true` : query;
    const response = await this.#send(method === 'LIST' ? 'GET' : method, `/v1/${encodePath(path)}${asked}`, call);
    const text = (await collect(response)).toString('utf8');
    const status = response.statusCode ?? 0;
    let json: ValueMap | undefined;
    if (text !== '' && (response.headers['content-type'] ?? '').startsWith('application/json')) {
      try {
        json = parseJson(text) as ValueMap;
      } catch {
        throw new LocalError(`${this.access.address} answered something else than JSON: is it a server of this API?`);
      }
    }
    if (status >= 400 && call.accept?.includes(status) !== true) {
      throw refusal(method, path, status, json, this.#hint(status, call));
    }
    return { status, json, text };
  }

  #hint(status: number, call: Call): string | undefined {
    if (status !== 403 || this.access.token !== undefined || call.withoutToken === true) return undefined;
    return 'no token was sent: see `holdfast login`, or name one in HOLDFAST_TOKEN';
  }

  /** The body as it comes, for exports. */
  async stream(path: string, query = ''): Promise<IncomingMessage> {
    const response = await this.#send('GET', `/v1/${encodePath(path)}${query}`, {});
    const status = response.statusCode ?? 0;
    if (status < 400) return response;
    const text = (await collect(response)).toString('utf8');
    const json = text.startsWith('{') ? (parseJson(text) as ValueMap) : undefined;
    throw refusal('GET', path, status, json, this.#hint(status, {}));
  }

  #send(method: string, path: string, call: Call): Promise<IncomingMessage> {
    const { address, ca, token } = this.access;
    const body = call.body === undefined ? undefined : stringifyJson(call.body);
    const headers: Record<string, string> = { 'x-vault-request': 'true' };
    if (token !== undefined && call.withoutToken !== true) headers['x-vault-token'] = token;
    if (call.wrapTtl !== undefined) headers['x-vault-wrap-ttl'] = call.wrapTtl;
    if (body !== undefined) {
      headers['content-type'] = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
      headers['content-length'] = String(Buffer.byteLength(body));
    }
    const common = { method, path, headers, timeout: TIMEOUT_MS, agent: false as const };
    return new Promise((resolve, reject) => {
      const unix = address.startsWith('unix:');
      const url = unix ? undefined : new URL(address);
      const host = url === undefined ? {} : { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port || undefined };
      const request =
        url?.protocol === 'https:'
          ? httpsRequest({ ...common, ...host, ...(ca === undefined ? {} : { ca: Buffer.from(ca) }) }, resolve)
          : httpRequest({ ...common, ...host, ...(unix ? { socketPath: address.slice(5) } : {}) }, resolve);
      request.on('timeout', () =>
        request.destroy(new LocalError(`${address} did not answer within ${TIMEOUT_MS / 1000} s`)),
      );
      request.on('error', (error) => reject(error instanceof LocalError ? error : explain(error, address)));
      request.end(body);
    });
  }
}

function refusal(
  method: Method,
  path: string,
  status: number,
  json: ValueMap | undefined,
  more: string | undefined,
): RemoteError {
  const errors = Array.isArray(json?.['errors']) ? (json['errors'] as readonly unknown[]) : [];
  const lines = errors.map((error) => `* ${String(error).trimEnd()}`);
  const known: Readonly<Record<number, string>> = {
    403: 'the token may not do this, or there is none: see `holdfast login`',
    404: 'there is nothing at this path',
    503: 'the appliance is sealed or busy: see `holdfast status`',
  };
  const hint = known[status];
  return new RemoteError(
    status,
    [
      `${method} ${path} was answered ${status}`,
      ...lines,
      ...(lines.length === 0 && hint !== undefined && more === undefined ? [`* ${hint}`] : []),
      ...(more === undefined ? [] : [`* ${more}`]),
    ].join('\n'),
  );
}
