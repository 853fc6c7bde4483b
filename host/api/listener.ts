/** One listener: the limits of its connections, its socket file, and why it cannot listen, in a sentence. */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { connect, type Socket } from 'node:net';
import { Fault } from '../fault.ts';
import { refuseSocket, takeLists } from './list-method.ts';

export type ListenAt =
  | {
      readonly kind: 'tcp';
      readonly host: string;
      readonly port: number;
      readonly tls?: { readonly key: string; readonly cert: string };
    }
  | { readonly kind: 'unix'; readonly path: string };

export interface ListenLimits {
  readonly headBytes: number;
  readonly connections: number;
  readonly headMs: number;
  readonly requestMs: number;
  readonly idleMs: number;
}

/** A socket that nobody answers at is left over from a process that was killed. */
async function clearSocket(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket()) throw new Fault('input.invalid', `${path} is there and is no socket`);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw thrown;
  }
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (answered) throw new Fault('input.invalid', `another process listens at unix:${path}`);
  unlinkSync(path);
}

const ELSEWHERE = 'name another address with --listen or HOLDFAST_LISTEN';
const PRIVILEGED = `this user may not; ports below 1024 need CAP_NET_BIND_SERVICE, or ${ELSEWHERE}`;

/** What the system says when it does not let us listen: a mistake in the settings, not a bug. */
function refusalOf(at: ListenAt, thrown: NodeJS.ErrnoException): Error {
  const { code = 'unknown' } = thrown;
  const place = at.kind === 'unix' ? `unix:${at.path}` : `${at.host}:${at.port}`;
  // Of a socket whose folder is not there libuv says EACCES too.
  const right = at.kind === 'unix' ? 'its folder is not there, or not this user’s; make it first' : PRIVILEGED;
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: `another process listens there; stop it, or ${ELSEWHERE}`,
    EACCES: right,
    EADDRNOTAVAIL: `this machine has no such address; ${ELSEWHERE}`,
    EAFNOSUPPORT: `this machine has no such kind of address; ${ELSEWHERE}`,
  };
  return new Fault('input.invalid', `cannot listen at ${place}: ${why[code] ?? 'the system refused'} (${code})`, {
    cause: thrown,
  });
}

/** @throws Fault `input.invalid` with what to do, where the system does not let us listen */
export async function listen(
  at: ListenAt,
  limits: ListenLimits,
  listener: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ readonly server: Server; readonly address: string }> {
  const settings = {
    maxHeaderSize: limits.headBytes,
    headersTimeout: limits.headMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: Math.min(1000, limits.headMs),
    // Checked by the handler: Node answers for itself, and goes on with what follows in the same packet.
    requireHostHeader: false,
    // Nothing that two parsers could read differently.
    insecureHTTPParser: false,
  };
  const tls = at.kind === 'tcp' ? at.tls : undefined;
  const server = (
    tls === undefined
      ? createHttp(settings, listener)
      : createHttps({ ...settings, ...tls, minVersion: 'TLSv1.2' }, listener)
  ) as Server;
  server.maxConnections = limits.connections;
  takeLists(server, tls === undefined ? 'connection' : 'secureConnection');
  server.on('upgrade', (_request, socket: Socket) => refuseSocket(socket, 'the protocol is not changed here'));
  if (at.kind === 'unix') await clearSocket(at.path);
  await new Promise<void>((resolve, reject) => {
    const refused = (thrown: Error): void => reject(refusalOf(at, thrown));
    server.once('error', refused);
    const ready = (): void => {
      server.removeListener('error', refused);
      resolve();
    };
    if (at.kind === 'tcp') {
      server.listen(at.port, at.host, ready);
      return;
    }
    // Bound before `listen` returns: nobody else finds it open for the moment until its mode is set.
    const before = process.umask(0o177);
    try {
      server.listen(at.path, ready);
    } finally {
      process.umask(before);
    }
  });
  if (at.kind === 'unix') {
    chmodSync(at.path, 0o600);
    return { server, address: `unix:${at.path}` };
  }
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : at.port;
  const host = at.host.includes(':') ? `[${at.host}]` : at.host;
  return { server, address: `${tls === undefined ? 'http' : 'https'}://${host}:${port}` };
}
