/**
 * LIST as a method. Node's parser refuses it before anything of ours is asked; the connection is then taken over, the
 * request's head is made a GET with `list=true`, and the server is given the connection again. One request a connection:
 * bytes behind it are never a request.
 */
import type { Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

const HEAD_SIZE_MAX = 16_384;
const REFUSAL =
  'HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: ';

interface ParserError extends Error {
  readonly code?: string;
  readonly rawPacket?: Buffer;
  readonly bytesParsed?: number;
}

/** Marks sockets whose answer is still to come: a LIST behind it cannot be told from its body. A member, since a weak set costs the garbage collector. */
const BUSY = Symbol('busy');
/** Marks sockets on which a head was refused: where it ends was perhaps cut wrongly, so nothing behind it is a request. */
const REFUSED = Symbol('refused');
type Marked = Socket & { [BUSY]?: boolean; [REFUSED]?: boolean };

export function headRefused(socket: Marked): void {
  socket[REFUSED] = true;
}

export const isRefused = (socket: Marked): boolean => socket[REFUSED] === true;

export function requestBegins(socket: Marked): void {
  socket[BUSY] = true;
}

export function requestEnds(socket: Marked): void {
  socket[BUSY] = false;
}

export function refuseSocket(socket: Socket | Duplex, sentence: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify({ errors: [sentence] });
  socket.end(`${REFUSAL}${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

/** The socket with other bytes at its beginning, and none after the first head: reads of the socket itself are over. */
class Adopted extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket, head: Buffer) {
    super();
    this.#socket = socket;
    socket.on('close', () => this.destroy());
    socket.on('error', (error) => this.destroy(error));
    this.push(head);
  }

  override _read(): void {
    // Nothing more comes: what follows on the wire is not read.
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, encoding, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#socket.remotePort;
  }

  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }
}

/** The head with its method and target made those of a GET, or why it is refused. */
function rewrite(head: string): { readonly text: string } | { readonly refusal: string } {
  const [line = '', ...headers] = head.slice(0, -4).split('\r\n');
  const parts = /^LIST (\S+) HTTP\/1\.1$/.exec(line);
  if (parts === null) return { refusal: 'the request line of a LIST is malformed' };
  for (const header of headers) {
    if (/^[ \t]/.test(header)) return { refusal: 'folded headers are not taken' };
    const length = /^content-length:\s*(\S+)\s*$/i.exec(header);
    const hasBody = (length !== null && length[1] !== '0') || /^transfer-encoding\s*:/i.test(header);
    if (hasBody) return { refusal: 'a LIST has no body' };
  }
  const target = parts[1] ?? '';
  const listed = `${target}${target.includes('?') ? '&' : '?'}list=true`;
  const kept = headers.filter((header) => !/^(connection|content-length)\s*:/i.test(header));
  return { text: `${[`GET ${listed} HTTP/1.1`, ...kept, 'Connection: close'].join('\r\n')}\r\n\r\n` };
}

/** @param end of the head's last line; negative: it is longer than a head may be */
function finish(bytes: Buffer, end: number): ReturnType<typeof rewrite> {
  if (end < 0) return { refusal: 'the head of the request is too large' };
  if (bytes.length > end + 4) return { refusal: 'something follows the head of a LIST: send it alone' };
  return rewrite(bytes.toString('latin1'));
}

/** Gathers the rest of the head, which may come in several packets. */
function adopt(server: HttpServer | HttpsServer, event: string, socket: Socket, first: Buffer): void {
  for (const name of ['data', 'end', 'error', 'close', 'timeout', 'drain', 'readable']) socket.removeAllListeners(name);
  socket.on('error', () => socket.destroy());
  let bytes = first;
  const more = (chunk: Buffer): void => {
    bytes = Buffer.concat([bytes, chunk]);
    check();
  };
  const check = (): void => {
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0 && bytes.length <= HEAD_SIZE_MAX) return;
    socket.removeListener('data', more);
    socket.on('data', () => {});
    const rewritten = finish(bytes, end);
    if ('refusal' in rewritten) refuseSocket(socket, rewritten.refusal);
    else server.emit(event, new Adopted(socket, Buffer.from(rewritten.text, 'latin1')));
  };
  socket.on('data', more);
  check();
}

const COMPLAINTS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: 'the head of the request is too large',
  ERR_HTTP_REQUEST_TIMEOUT: 'the request did not arrive in time',
};

/** Takes LIST requests over; any other complaint of the parser is answered 400 and the connection closed. */
export function takeLists(server: HttpServer | HttpsServer, event: 'connection' | 'secureConnection'): void {
  server.on('clientError', (error: ParserError, stream: Duplex) => {
    const socket = stream as Socket;
    const { rawPacket, bytesParsed = 0, code } = error;
    // The parser stops two bytes into the method that it does not know.
    const start = bytesParsed - 2;
    const isList = code === 'HPE_INVALID_METHOD' && rawPacket?.toString('latin1', start, start + 5) === 'LIST ';
    if (isList && rawPacket !== undefined && start >= 0) {
      if ((socket as Marked)[BUSY] === true)
        refuseSocket(socket, 'a LIST cannot follow a request that is not answered yet');
      else adopt(server, event, socket, Buffer.from(rawPacket.subarray(start)));
      return;
    }
    refuseSocket(socket, COMPLAINTS[code ?? ''] ?? 'the request is malformed');
  });
}
