/** A box to attack: a real server in a process of its own, spoken to in plain HTTP, byte by byte where that matters. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Home, type RunningServer } from '../e2e/server.ts';

export interface Got {
  /** 0: the connection ended without an answer. */
  readonly status: number;
  readonly text: string;
  readonly json: Readonly<Record<string, unknown>>;
}

export interface Ask {
  readonly body?: unknown;
  /** Root's where none is given; '' sends none. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A pattern of secrets that must come out nowhere but where they were put. */
export const canary = (name: string): string =>
  `canary-${createHash('sha256').update(name).digest('hex').slice(0, 24)}`;

export const statuses = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, code]) => Number(code)).filter((code) => code !== 100);

export class Target {
  readonly home: Home;
  readonly server: RunningServer;
  readonly root: string;
  readonly port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  private constructor(home: Home, server: RunningServer) {
    this.home = home;
    this.server = server;
    this.root = home.read('root-token');
    this.port = Number(/:(\d+)$/.exec(server.address)?.[1]);
  }

  /** @param settings of holdfast.json */
  static async start(settings: Readonly<Record<string, unknown>> = {}): Promise<Target> {
    const home = new Home();
    mkdirSync(home.config, { recursive: true, mode: 0o700 });
    writeFileSync(join(home.config, 'holdfast.json'), JSON.stringify(settings), { mode: 0o600 });
    const server = await home.start(['--init'], { HOLDFAST_TLS: 'off' });
    return new Target(home, server);
  }

  async end(): Promise<void> {
    this.#agent.destroy();
    await this.home.close();
  }

  /** One request; the target is sent as it stands. Bodies that are no text or bytes are sent as JSON. */
  ask(method: string, target: string, { body, token = this.root, headers = {} }: Ask = {}): Promise<Got> {
    const bytes =
      body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    return new Promise((resolve) => {
      const nothing = (): void => resolve({ status: 0, text: '', json: {} });
      const sent = httpRequest(
        {
          ...{ host: '127.0.0.1', port: this.port, method, path: `/v1/${target}`, agent: this.#agent },
          headers: {
            ...(token === '' ? {} : { 'X-Vault-Token': token }),
            ...(method === 'PATCH' ? { 'Content-Type': 'application/merge-patch+json' } : {}),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', nothing);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            resolve({ status: response.statusCode ?? 0, text, json: parsed(text) });
          });
        },
      );
      sent.on('error', nothing);
      sent.end(bytes);
    });
  }

  /** The same, for what a test builds on. @throws Error unless it is answered 2xx */
  async must(method: string, target: string, ask: Ask = {}): Promise<Got> {
    const got = await this.ask(method, target, ask);
    if (got.status < 200 || got.status > 299)
      throw new Error(`${method} ${target} was answered ${got.status}: ${got.text.slice(0, 200)}`);
    return got;
  }

  /** Bytes as they stand, perhaps in parts; what came back until the connection ended or nothing came for `idleMs`. */
  raw(parts: readonly (string | Uint8Array)[], idleMs = 700, gapMs = 15): Promise<string> {
    return new Promise((resolve) => {
      const socket = connect(this.port, '127.0.0.1');
      let text = '';
      socket.setTimeout(idleMs, () => socket.destroy());
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
      const next = (index: number): void => {
        const part = parts[index];
        if (part === undefined || socket.destroyed) return;
        socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
        setTimeout(() => next(index + 1), gapMs);
      };
      next(0);
    });
  }

  /** A token with these rules alone. */
  async tokenOf(name: string, rules: Readonly<Record<string, readonly string[]>>, more: object = {}): Promise<string> {
    const policy = Object.entries(rules)
      .map(([path, can]) => `path ${JSON.stringify(path)} { capabilities = ${JSON.stringify(can)} }`)
      .join('\n');
    await this.must('PUT', `sys/policies/acl/${name}`, { body: { policy } });
    return this.token({ policies: [name], no_default_policy: true, ...more });
  }

  async token(fields: object, token = this.root): Promise<string> {
    const got = await this.must('POST', 'auth/token/create', { body: fields, token });
    return String((got.json['auth'] as Record<string, unknown>)['client_token']);
  }

  /** Still the same process, and it answers. */
  async alive(): Promise<boolean> {
    process.kill(this.server.pid, 0);
    return (await this.ask('GET', 'sys/health', { token: '' })).status === 200;
  }

  /** Memory of the process, MiB. */
  get residentMiB(): number {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.server.pid}/status`, 'latin1'))?.[1]) / 1024;
  }

  /** All that the box has written below its folders, with what it printed. */
  written(): Buffer {
    const files = readdirSync(this.home.data, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
    return Buffer.concat([...files, Buffer.from(this.server.printed)]);
  }
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
