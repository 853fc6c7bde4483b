/** `npm run bench -- http --target URL …`: drives any server of the Vault API; nothing of ours is started. */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { Connection } from './connection.ts';
import { drive, type Kind, type LoadOptions } from './load.ts';
import { page } from './page.ts';

export const HELP = `npm run bench -- http --target URL --token-file FILE [options]

Drives a server of the Vault API (Holdfast, Vault, OpenBao) and prints what it saw. A KV version 2 mount must be there.

  --target URL        http://…, https://… or unix:PATH
  --token-file FILE   the token, in a file: never on the command line
  --ca FILE           certificate of the authority that the server's certificate comes from
  --mount NAME        the KV version 2 mount (secret)
  --secrets N         how many secrets the run writes first and then uses (100)
  --mix LIST          shares of read, write, list, lookup (of the token) and login (read=80,write=15,list=5)
  --login METHOD      for login: a file with the JSON body, and its path: PATH@FILE, e.g. auth/approle/login@body.json
  --connections N     connections at once (64)
  --rate N            requests a second; latency then counts from when a request should have been sent.
                      Without it: a closed loop
  --seconds N         measured time (10); --warmup N before it (2)
  --pid P             the server's process, for requests a CPU second and memory
  --json FILE         all figures; --html FILE one page with the curves
`;

interface Settings {
  readonly load: Omit<LoadOptions, 'mix' | 'onProgress'>;
  readonly mount: string;
  readonly secrets: number;
  readonly shares: ReadonlyMap<string, number>;
  readonly login: { readonly path: string; readonly body: string } | undefined;
  readonly json: string | undefined;
  readonly html: string | undefined;
}

function count(text: string | undefined, fallback: number, name: string, most: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new Error(`--${name} must be a whole number from 1 to ${most}`);
  }
  return value;
}

function parseShares(text: string): Map<string, number> {
  const shares = new Map<string, number>();
  for (const part of text.split(',')) {
    const [name = '', share = ''] = part.split('=');
    if (!['read', 'write', 'list', 'lookup', 'login'].includes(name) || !/^\d{1,6}$/.test(share)) {
      throw new Error(`--mix takes read=N,write=N,list=N,lookup=N,login=N, not ${JSON.stringify(part)}`);
    }
    if (Number(share) > 0) shares.set(name, Number(share));
  }
  if (shares.size === 0) throw new Error('--mix needs at least one share above 0');
  return shares;
}

export function parseSettings(args: string[]): Settings {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      target: text,
      'token-file': text,
      ca: text,
      mount: text,
      secrets: text,
      mix: text,
      login: text,
      connections: text,
      rate: text,
      seconds: text,
      warmup: text,
      pid: text,
      json: text,
      html: text,
    },
  });
  if (values.target === undefined || !/^(https?:\/\/[^/]+\/?$|unix:\/)/.test(values.target)) {
    throw new Error('--target must be http://HOST:PORT, https://HOST:PORT or unix:/PATH');
  }
  const tokenFile = values['token-file'];
  if (tokenFile === undefined) throw new Error('--token-file must name a file that holds the token');
  const shares = parseShares(values.mix ?? 'read=80,write=15,list=5');
  const [loginPath, loginFile] = (values.login ?? '').split('@');
  if (shares.has('login') && (loginPath === undefined || loginFile === undefined)) {
    throw new Error('a share of logins needs --login PATH@FILE');
  }
  return {
    load: {
      target: values.target,
      token: readFileSync(tokenFile, 'utf8').trim(),
      connections: count(values.connections, 64, 'connections', 4096),
      durationMs: count(values.seconds, 10, 'seconds', 86_400) * 1000,
      warmupMs: count(values.warmup, 2, 'warmup', 3600) * 1000,
      ...(values.ca === undefined ? {} : { ca: readFileSync(values.ca, 'utf8') }),
      ...(values.rate === undefined ? {} : { rate: count(values.rate, 0, 'rate', 1_000_000) }),
      ...(values.pid === undefined ? {} : { pid: count(values.pid, 0, 'pid', 4_194_304) }),
    },
    mount: values.mount ?? 'secret',
    secrets: count(values.secrets, 100, 'secrets', 1_000_000),
    shares,
    login: loginFile === undefined ? undefined : { path: loginPath ?? '', body: readFileSync(loginFile, 'utf8') },
    json: values.json,
    html: values.html,
  };
}

const secretName = (n: number): string => `bench/${Math.floor(n / 100)}/${n}`;
const secretBody = (): string => JSON.stringify({ data: { username: 'bench', password: 'x'.repeat(160) } });

/** The kinds of requests of a mix over `secrets` secrets in folders of a hundred. */
export function kinds(settings: Pick<Settings, 'mount' | 'secrets' | 'shares' | 'login'>): Kind[] {
  const { mount, secrets, shares, login } = settings;
  const name = (n: number): string => secretName(n % secrets);
  const body = secretBody();
  const all: Record<string, Kind['shot']> = {
    // A large step visits the secrets in an order that no cache of neighbours helps.
    read: (n) => ({ method: 'GET', path: `/v1/${mount}/data/${name(n * 7919)}` }),
    write: (n) => ({ method: 'POST', path: `/v1/${mount}/data/${name(n * 7919)}`, body }),
    list: (n) => ({ method: 'GET', path: `/v1/${mount}/metadata/bench/${n % Math.ceil(secrets / 100)}/?list=true` }),
    lookup: () => ({ method: 'GET', path: '/v1/auth/token/lookup-self' }),
    login: () => ({ method: 'POST', path: `/v1/${login?.path ?? ''}`, body: login?.body ?? '{}', anonymous: true }),
  };
  return [...shares].map(([kind, weight]) => {
    const shot = all[kind];
    if (shot === undefined) throw new Error(`there is no kind of request ${kind}`);
    return { name: kind, weight, shot };
  });
}

/** Writes the secrets that the run reads, a few at once. @throws Error with the status of the first refusal */
export async function fill(load: Settings['load'], mount: string, secrets: number): Promise<void> {
  let next = 0;
  const body = secretBody();
  const headers = `x-vault-token: ${load.token ?? ''}\r\n`;
  const worker = async (): Promise<void> => {
    const connection = new Connection(load.target, load.ca);
    try {
      for (let n = next++; n < secrets; n = next++) {
        const request = connection.encode('POST', `/v1/${mount}/data/${secretName(n)}`, headers, body);
        const status = await new Promise<number>((resolve) => connection.send(request, resolve));
        if (status === 0) throw new Error(`the connection to ${load.target} broke while secrets were written`);
        if (status >= 400) throw new Error(`writing a secret answered ${status}: is ${mount}/ a KV version 2 mount?`);
      }
    } finally {
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

/** `read 80, write 20; 64 connections, closed loop` */
function titleOf({ shares, load: { connections, rate } }: Settings): string {
  const mix = [...shares].map(([kind, share]) => `${kind} ${share}`).join(', ');
  return `${mix}; ${connections} connections, ${rate === undefined ? 'closed loop' : `${rate} a second`}`;
}

export async function runTarget(args: string[]): Promise<void> {
  const settings = parseSettings(args);
  console.log(`writing ${settings.secrets} secrets to ${settings.mount}/ …`);
  await fill(settings.load, settings.mount, settings.secrets);
  const result = await drive({
    ...settings.load,
    mix: kinds(settings),
    onProgress: (line) => (process.stderr.isTTY ? process.stderr.write(`\r\u001b[K${line}`) : console.error(line)),
  });
  if (process.stderr.isTTY) process.stderr.write('\n');
  const { latency } = result;
  console.log(
    `${result.requests} answers in ${result.seconds.toFixed(1)} s, ${result.failures} failed: ${result.requestsPerSecond} a second`,
  );
  if (result.requestsPerCpuSecond !== undefined) {
    console.log(`${result.requestsPerCpuSecond} a CPU second of process ${settings.load.pid}, ${result.memoryMiB} MiB`);
  }
  console.log(
    `latency µs: p50 ${latency.p50Us}, p90 ${latency.p90Us}, p99 ${latency.p99Us}, p99.9 ${latency.p999Us}, max ${latency.maxUs}`,
  );
  for (const [kind, own] of Object.entries(result.byKind)) {
    console.log(`  ${kind}: ${own.count} answers, p50 ${own.p50Us}, p99 ${own.p99Us}, max ${own.maxUs}`);
  }
  console.log(`this load generator used ${result.clientCpuShare} of a core`);
  if (result.clientBound) console.log('it was what could not go faster: the server can do more than this run shows');
  if (settings.json !== undefined) {
    const { target, connections, rate } = settings.load;
    const run = { target, connections, rate: rate ?? null, mix: Object.fromEntries(settings.shares) };
    const on = { node: process.version, cpu: `${cpus()[0]?.model ?? 'unknown'} x ${cpus().length}` };
    const figures = { ...run, ...on, date: new Date().toISOString(), ...result };
    writeFileSync(settings.json, `${JSON.stringify(figures, null, 2)}\n`);
  }
  if (settings.html !== undefined) {
    writeFileSync(settings.html, page(`Load on ${settings.load.target}`, [{ title: titleOf(settings), result }]));
  }
}
