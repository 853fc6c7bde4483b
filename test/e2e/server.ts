/** A real `holdfast server` in a process of its own, on folders and a port of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PROGRAM = join(process.cwd(), 'host/cli/holdfast.mjs');
const START_MS = 20_000;

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** Undefined where the body is no JSON. */
  readonly json: Record<string, unknown> | undefined;
}

/** Folders of one user on one machine. */
export class Home {
  readonly folder = mkdtempSync(join(tmpdir(), 'holdfast-e2e-'));
  readonly config = join(this.folder, 'config', 'holdfast');
  readonly data = join(this.folder, 'state', 'holdfast');
  readonly #running: RunningServer[] = [];

  get variables(): Record<string, string> {
    return {
      PATH: process.env['PATH'] ?? '',
      HOME: this.folder,
      XDG_CONFIG_HOME: join(this.folder, 'config'),
      XDG_STATE_HOME: join(this.folder, 'state'),
    };
  }

  read(name: string): string {
    return readFileSync(join(this.config, name), 'utf8').trim();
  }

  /** Starts and waits until it says where it listens. @throws Error with what it printed, if it ends before */
  async start(args: readonly string[] = ['--init'], variables: Record<string, string> = {}): Promise<RunningServer> {
    const server = this.spawn(args, variables);
    await server.ready;
    return server;
  }

  spawn(args: readonly string[], variables: Record<string, string> = {}): RunningServer {
    const child = spawn(process.execPath, [PROGRAM, 'server', ...args], {
      env: { HOLDFAST_LISTEN: '127.0.0.1:0', ...this.variables, ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const server = new RunningServer(this, child);
    this.#running.push(server);
    return server;
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.map((server) => server.kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class RunningServer {
  readonly #home: Home;
  readonly #child: ChildProcess;
  readonly ready: Promise<void>;
  readonly ended: Promise<number | string>;
  stdout = '';
  stderr = '';

  constructor(home: Home, child: ChildProcess) {
    this.#home = home;
    this.#child = child;
    this.ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown')));
    this.ready = new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`not ready after ${START_MS} ms:\n${this.printed}`)), START_MS);
      child.stdout?.on('data', (chunk: Buffer) => {
        this.stdout += chunk.toString('utf8');
        // The announcement is written at once and ends with an empty line or the last fact.
        if (/listens at \S+\n/.test(this.stdout)) {
          clearTimeout(late);
          resolve();
        }
      });
      child.stderr?.on('data', (chunk: Buffer) => {
        this.stderr += chunk.toString('utf8');
      });
      void this.ended.then((code) => {
        clearTimeout(late);
        reject(new Error(`ended with ${code} before it was ready:\n${this.printed}`));
      });
    });
    this.ready.catch(() => undefined);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get printed(): string {
    return `${this.stdout}\n${this.stderr}`;
  }

  get address(): string {
    return /listens at (\S+)/.exec(this.stdout)?.[1] ?? '';
  }

  /** One request, to `path` below /v1/; with `token` the root token of the folder where none is given. */
  async call(method: string, path: string, body?: unknown, token?: string): Promise<Reply> {
    const own = token ?? this.#home.read('root-token');
    const headers = {
      ...(own === '' ? {} : { 'X-Vault-Token': own }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    };
    return send(
      this.address,
      this.address.startsWith('https:') ? this.#home.read('ca.pem') : undefined,
      method,
      `/v1/${path}`,
      headers,
      body,
    );
  }

  /** @returns the exit code */
  async stop(signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): Promise<number | string> {
    this.#child.kill(signal);
    return this.ended;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}

export function send(
  address: string,
  ca: string | undefined,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: unknown,
): Promise<Reply> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const socket = address.startsWith('unix:') ? { socketPath: address.slice('unix:'.length), path } : undefined;
    const options = { method, headers: { ...headers, Connection: 'close' }, agent: false, timeout: 20_000 } as const;
    const done = (response: import('node:http').IncomingMessage): void => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        let json: Reply['json'];
        try {
          json = JSON.parse(text) as Reply['json'];
        } catch {
          json = undefined;
        }
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
      });
    };
    const url = `${address}${path}`;
    const sent =
      socket !== undefined
        ? httpRequest({ ...options, ...socket }, done)
        : url.startsWith('https:')
          ? httpsRequest(url, { ...options, ...(ca === undefined ? {} : { ca }) }, done)
          : httpRequest(url, options, done);
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error('no answer within 20 s')));
    sent.end(payload);
  });
}
