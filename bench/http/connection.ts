/**
 * One HTTP/1.1 connection with one request at a time, and nothing that a load generator can do without: general clients
 * cost several times what a fast server does, and then the client is what is measured.
 */
import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Status of the answer when the whole of it is there; 0 if the connection broke. */
export type Done = (status: number) => void;

type Reading = 'head' | 'length' | 'chunk-size' | 'chunk' | 'trailer' | 'end';

const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');
const HEAD_SIZE_MAX = 65_536;
const NOTHING: Buffer = Buffer.alloc(0);

export class Connection {
  readonly #open: () => Socket;
  readonly #host: string;
  #socket: Socket | undefined;
  #done: Done | undefined;
  #reading: Reading = 'head';
  /** Bytes of a head or a line that is not whole yet. */
  #held: Buffer = NOTHING;
  #left = 0;
  #status = 0;
  #last = false;

  /** @param target `http://HOST:PORT`, `https://…` or `unix:PATH` */
  constructor(target: string, ca?: string) {
    if (target.startsWith('unix:')) {
      this.#host = 'localhost';
      this.#open = () => connectPlain(target.slice(5));
    } else {
      const url = new URL(target);
      const tls = url.protocol === 'https:';
      const at = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || (tls ? 443 : 80)) };
      this.#host = url.host;
      this.#open = () => (tls ? connectTls({ ...at, ...(ca === undefined ? {} : { ca }) }) : connectPlain(at));
    }
  }

  /** Bytes of a request, for `send`. @param headers lines with their `\r\n` */
  encode(method: string, path: string, headers: string, body?: string): string {
    const head = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n${headers}`;
    if (body === undefined) return `${head}\r\n`;
    return `${head}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  }

  /** Sends one request; the one before must have been answered. */
  send(request: string, done: Done): void {
    this.#done = done;
    this.#reading = 'head';
    this.#held = NOTHING;
    this.#last = false;
    this.#socket ??= this.#connect();
    this.#socket.write(request);
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #connect(): Socket {
    const socket = this.#open();
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      this.#finish(this.#reading === 'end' ? this.#status : 0);
    });
    return socket;
  }

  #finish(status: number): void {
    const done = this.#done;
    this.#done = undefined;
    if (this.#last) this.close();
    done?.(status);
  }

  #take(chunk: Buffer): void {
    const data = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = NOTHING;
    let at = 0;
    while (at < data.length && this.#done !== undefined) {
      if (this.#reading === 'end') return;
      if (this.#reading === 'length' || this.#reading === 'chunk') {
        const taken = Math.min(this.#left, data.length - at);
        this.#left -= taken;
        at += taken;
        if (this.#left > 0) return;
        if (this.#reading === 'length') {
          // The next request may be under way when this returns.
          this.#finish(this.#status);
          return;
        }
        this.#reading = 'chunk-size';
        continue;
      }
      const mark = this.#reading === 'head' ? HEAD_END : LINE_END;
      const end = data.indexOf(mark, at);
      if (end < 0) {
        if (data.length - at > HEAD_SIZE_MAX) this.#socket?.destroy();
        else this.#held = data.subarray(at);
        return;
      }
      const text = data.toString('latin1', at, end);
      at = end + mark.length;
      if (this.#reading === 'head') this.#takeHead(text);
      else this.#takeLine(text);
    }
  }

  #takeHead(head: string): void {
    this.#status = Number(head.slice(9, 12));
    // An interim answer: the real one follows.
    if (this.#status >= 100 && this.#status < 200) return;
    const lines = head.toLowerCase();
    this.#last = lines.includes('\r\nconnection: close');
    const length = lines.indexOf('\r\ncontent-length:');
    const empty = this.#status === 204 || this.#status === 304;
    if (empty || length >= 0) {
      this.#left = empty ? 0 : Number.parseInt(lines.slice(length + 17, length + 40), 10);
      this.#reading = 'length';
      if (this.#left === 0) this.#finish(this.#status);
    } else this.#reading = /\r\ntransfer-encoding:.*chunked/.test(lines) ? 'chunk-size' : 'end';
  }

  #takeLine(line: string): void {
    // The end of a chunk's data, before the next size.
    if (this.#reading === 'chunk-size' && line === '') return;
    if (this.#reading === 'trailer') {
      if (line === '') this.#finish(this.#status);
      return;
    }
    this.#left = Number.parseInt(line, 16);
    this.#reading = this.#left === 0 ? 'trailer' : 'chunk';
  }
}
