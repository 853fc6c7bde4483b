/** The listeners: limits before anything is read, one handler for every request, an orderly end. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { answerOf, error as refusal } from '../mounts/errors.ts';
import type { Appliance } from '../ports/appliance.ts';
import type { Clock } from '../ports/clock.ts';
import type { Dispatcher, Outbound } from '../ports/dispatch.ts';
import type { Random } from '../ports/random.ts';
import { errorSent, type Sent, send } from './envelope.ts';
import { headRefused, isRefused, requestBegins, requestEnds } from './list-method.ts';
import { type ListenAt, type ListenLimits, listen } from './listener.ts';
import {
  checkHead,
  EmptyRefusal,
  type Head,
  parseBody,
  parseQuery,
  parseRequest,
  parseTarget,
  readHead,
  takesBody,
} from './request.ts';
import { answerState, isStatePath, type StateParts } from './state.ts';

export interface ApiLimits extends ListenLimits {
  readonly bodyBytes: number;
  /** Requests under way: more are answered 503 before their body is read. */
  readonly inFlight: number;
}

export const LIMITS: ApiLimits = {
  // A payload of 1 MiB in base64 and its envelope.
  bodyBytes: 1_572_864,
  headBytes: 16_384,
  connections: 2048,
  inFlight: 512,
  headMs: 10_000,
  requestMs: 30_000,
  idleMs: 60_000,
};
/** How long one request's grant may live. */
const DEADLINE_MS = 90_000;
const CLOSE_MS = 10_000;

export interface ApiOptions extends StateParts {
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  readonly appliance: Appliance;
  readonly random: Random;
  readonly listeners: readonly ListenAt[];
  readonly limits?: Partial<ApiLimits>;
}

export interface Api {
  /** `https://127.0.0.1:8200`, `unix:/path`: what really listens. */
  readonly addresses: readonly string[];
  readonly inFlight: () => number;
  /** Takes no more connections, lets requests finish (10 s at most), closes. */
  close(): Promise<void>;
}

class TooLarge extends Error {}

const NO_BODY = new Uint8Array(0);
const NO_URL = errorSent(400, 'the target and the host of the request are no URL') as Sent & { body: string };
/** RFC 9110 section 7.2, without what no client of ours sends: names, addresses, a port. */
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;
const ANSWER_HEADERS = { 'Cache-Control': 'no-store', 'Content-Type': 'application/json' } as const;

/** The body, at most `limit` bytes; a larger one ends the connection after the answer. */
function readBody(request: IncomingMessage, head: Head, limit: number): Promise<Uint8Array> {
  const stated = Number(head.contentLength ?? 0);
  if (stated > limit) return Promise.reject(new TooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) {
        request.removeAllListeners('data');
        reject(new TooLarge());
      } else chunks.push(chunk);
    });
    request.on('error', reject);
    const gone = (): void => reject(new Error('the client went away'));
    request.on('close', gone);
    request.on('end', () => {
      // Every request closes in the end: an error made for each would cost more than reading its body.
      request.removeListener('close', gone);
      resolve(chunks.length === 1 ? (chunks[0] ?? NO_BODY) : Buffer.concat(chunks));
    });
  });
}

function write(response: ServerResponse, sent: Sent, close: boolean): void {
  if (response.headersSent || response.destroyed) return;
  const { body } = sent;
  // A flat list of names and values: Node writes it as it stands.
  const headers = ['Cache-Control', 'no-store', 'Content-Type', sent.contentType];
  if (sent.retryAfterSeconds !== undefined) headers.push('Retry-After', String(sent.retryAfterSeconds));
  if (close) headers.push('Connection', 'close');
  if (body === undefined) {
    response.writeHead(sent.status, headers).end();
    return;
  }
  headers.push('Content-Length', String(typeof body === 'string' ? Buffer.byteLength(body) : body.length));
  response.writeHead(sent.status, headers).end(body);
}

/** Listener of a response's end. */
function ended(this: ServerResponse): void {
  requestEnds(this.req.socket);
}

/** True for what is one URL, whoever puts it together. HTTP/1.0 needs no host. */
function isOneUrl(request: IncomingMessage): boolean {
  const { host } = request.headers;
  if (host === undefined ? request.httpVersionMinor > 0 : !HOST.test(host)) return false;
  return request.url?.includes('\\') !== true;
}

/** A host that every reader of URLs takes as it stands: no capitals, no address in brackets, a port of four or five digits. */
const PLAIN_HOST = /^[a-z0-9._-]+(?::(?:[1-5]\d{3,4}|[6-9]\d{3}))?$/;

/**
 * True for what has no body and whose URL needs no reading: most requests. They go to Face at once, since what node-server
 * makes for a fetch (a Request, a Response, listeners that clean up after a body) is a tenth of a read. A HEAD always does:
 * Hono wraps its answer into one of its own, which node-server then cannot send a second time.
 */
function isPlain({ method, headers, url }: IncomingMessage): boolean {
  if (method === 'HEAD') return true;
  return method === 'GET' && url?.[0] === '/' && headers.host !== undefined && PLAIN_HOST.test(headers.host);
}

class Face {
  readonly #options: ApiOptions;
  readonly limits: ApiLimits;
  inFlight = 0;
  /** Each answer is its connection's last: a client that asks on there would not know whether it was heard. */
  ending = false;

  constructor(options: ApiOptions) {
    this.#options = options;
    this.limits = { ...LIMITS, ...options.limits };
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requestBegins(request.socket);
    response.on('close', ended);
    if (this.inFlight >= this.limits.inFlight) {
      const busy = { ...refusal(503, 'too many requests are under way: try again'), retryAfterSeconds: 1 };
      write(response, send(busy, false), true);
      return;
    }
    this.inFlight++;
    let close = false;
    let sent: Sent;
    try {
      sent = await this.#answer(request);
    } catch (thrown) {
      // What was refused before it was understood may have been cut wrongly: nothing behind it is read.
      close = true;
      sent = this.#refusal(thrown);
    } finally {
      this.inFlight--;
    }
    write(response, sent, close || this.ending);
  }

  #refusal(thrown: unknown): Sent {
    if (thrown instanceof EmptyRefusal) return errorSent(400);
    if (thrown instanceof TooLarge) return errorSent(413, `the body is larger than ${this.limits.bodyBytes} bytes`);
    return send(answerOf(thrown), false);
  }

  async #answer(request: IncomingMessage): Promise<Sent> {
    const method = request.method ?? '';
    let target: ReturnType<typeof parseTarget>;
    let head: Head;
    try {
      target = parseTarget(request.url ?? '');
      head = readHead(request.rawHeaders);
      checkHead(head);
    } catch (thrown) {
      // Before anything is awaited: Node hands over the next request of the same packet at once.
      headRefused(request.socket);
      throw thrown;
    }
    if (target === undefined) return errorSent(404, 'the API lies below /v1/');
    let body: Uint8Array = NO_BODY;
    // A body that does not count is dropped by Node when the answer is out.
    if (takesBody(method)) body = await readBody(request, head, this.limits.bodyBytes);
    if (isStatePath(target.path)) return await this.#state(head, method, target, body);
    if (method === 'HEAD') return send(refusal(405, '1 error occurred:\n\t* unsupported operation\n\n'), false);
    const parsed = parseRequest(method, head, target, body);
    const { remoteAddress, remotePort } = request.socket;
    // Member by member: spreading costs a request more than all its parsing.
    const outbound: Outbound = await this.#options.dispatcher.dispatch({
      id: this.#options.random.uuid(),
      verb: parsed.verb,
      path: parsed.path,
      token: parsed.token,
      body: parsed.body,
      ...(parsed.query === undefined ? {} : { query: parsed.query }),
      wrapTtl: parsed.wrapTtl,
      headers: parsed.headers,
      peer: remoteAddress === undefined ? {} : { address: remoteAddress, port: remotePort },
      deadlineMs: DEADLINE_MS,
    });
    return send(outbound, parsed.cbor);
  }

  async #state(
    head: Head,
    method: string,
    target: { readonly path: string; readonly query: string },
    body: Uint8Array,
  ): Promise<Sent> {
    const input = takesBody(method) ? parseBody(body, head.contentType) : parseQuery(target.query);
    const answer = await answerState(this.#options, method, target.path, input);
    if (answer === undefined) return send(refusal(405, '1 error occurred:\n\t* unsupported operation\n\n'), false);
    if (answer.json === undefined) return { status: answer.status, contentType: 'application/json', body: undefined };
    return send(
      {
        kind: 'answer',
        requestId: '',
        mountType: '',
        flat: false,
        verb: 'read',
        answer: { status: answer.status, raw: { json: answer.json } },
      },
      false,
    );
  }
}

/** Starts every listener, or none. @throws Fault `input.invalid` if one cannot listen */
export async function startApi(options: ApiOptions): Promise<Api> {
  const face = new Face(options);
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.all('*', async (c) => {
    // The raw request and response: what Hono would make of them (URL, Headers, streams) costs more than the answer.
    await face.handle(c.env.incoming, c.env.outgoing);
    return RESPONSE_ALREADY_SENT;
  });
  const listener = getRequestListener((request, env) => app.fetch(request, env as HttpBindings), {
    // Face answers for itself: what is thrown here is a target or a host that is no URL.
    errorHandler: () => new Response(NO_URL.body, { status: 400, headers: { ...ANSWER_HEADERS, Connection: 'close' } }),
  });
  const admit = (request: IncomingMessage, response: ServerResponse): void => {
    if (isRefused(request.socket)) return;
    if (!isOneUrl(request)) {
      headRefused(request.socket);
      write(response, NO_URL, true);
    } else if (isPlain(request)) {
      face.handle(request, response).catch(() => response.destroy());
    } else void listener(request, response);
  };
  const started: { readonly server: Server; readonly address: string }[] = [];
  try {
    for (const at of options.listeners) {
      started.push(await listen(at, face.limits, admit));
    }
  } catch (thrown) {
    for (const { server } of started) server.close();
    throw thrown;
  }
  return {
    addresses: started.map(({ address }) => address),
    inFlight: () => face.inFlight,
    async close() {
      face.ending = true;
      const closed = started.map(({ server }) => new Promise<void>((resolve) => server.close(() => resolve())));
      for (const { server } of started) server.closeIdleConnections();
      const late = options.clock.after(CLOSE_MS, () => {
        for (const { server } of started) server.closeAllConnections();
      });
      await Promise.all(closed);
      late.cancel();
    },
  };
}
