/**
 * Power cuts of a real server, each on what the one before left: a start is the check of the cut before it. The server and its
 * device die at one instant; the disk is what the writes and syncs until then may have left.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { send } from '../e2e/server.ts';
import { SeededRandom } from '../reference/random.ts';
import { CUT_MODES, Disk, type DiskOptions } from './disk.ts';
import { recordRun } from './record.ts';
import type { SlotMachine } from './slot-machines.ts';

const PROGRAM = join(process.cwd(), 'host/cli/holdfast.mjs');
const WORKERS = 2;
const NAMES = 4;
const OPEN_MS = 20_000;

export interface RoundsOptions extends DiskOptions {
  readonly rounds: number;
  readonly seed: number;
}

export interface RoundsResult {
  readonly acknowledged: number;
  /** Changes that a counter outside the disk counts, acknowledged. */
  readonly counted: number;
  /** Of each cut: wrong PINs that the device had counted after it. */
  readonly failures: readonly number[];
  readonly wrong: readonly string[];
}

interface History {
  acked: number | undefined;
  tried: number[];
}

/** What the client knows of the box over all its lives. */
class Client {
  readonly wrong: string[] = [];
  readonly #histories = new Map<string, History>();
  readonly #token: string;
  #address = '';
  #next = 1;
  acknowledged = 0;
  counted = 0;

  constructor(token: string) {
    this.#token = token;
  }

  connect(address: string): void {
    this.#address = address;
  }

  call(method: string, path: string, body?: unknown): ReturnType<typeof send> {
    return send(this.#address, undefined, method, `/v1/${path}`, { 'X-Vault-Token': this.#token }, body);
  }

  /** Writes until the server is gone. Every third write is of a policy, which counters count. */
  async write(worker: number, acked: () => void): Promise<void> {
    for (;;) {
      const n = this.#next++;
      const counts = n % 3 === 0;
      const name = `${counts ? 'policy' : 'kv'} w${worker}-${n % NAMES}`;
      const history = this.#histories.get(name) ?? { acked: undefined, tried: [] };
      this.#histories.set(name, history);
      history.tried.push(n);
      const slot = name.split(' ')[1];
      try {
        const { status, text } = counts
          ? await this.call('PUT', `sys/policies/acl/${slot}`, { policy: `path "n/${n}" { capabilities = ["read"] }` })
          : await this.call('PUT', `secret/data/${slot}`, { data: { n } });
        if (status >= 300) this.wrong.push(`${name} was answered ${status}: ${text}`);
      } catch {
        return;
      }
      history.acked = n;
      history.tried = [];
      this.acknowledged++;
      if (counts) this.counted++;
      acked();
    }
  }

  /** Of every name there is what was acknowledged last, or what was under way then. */
  async check(round: number): Promise<void> {
    for (const [name, history] of this.#histories) {
      const found = await this.#numberOf(name);
      if (![history.acked, ...history.tried].includes(found)) {
        this.wrong.push(
          `after cut ${round} ${name} is ${found}, acknowledged ${history.acked}, tried ${history.tried.join()}`,
        );
      }
      history.acked = found;
      history.tried = [];
    }
  }

  async #numberOf(name: string): Promise<number | undefined> {
    const [kind, slot] = name.split(' ');
    const { status, text } = await this.call('GET', kind === 'kv' ? `secret/data/${slot}` : `sys/policies/acl/${slot}`);
    if (status !== 200) return undefined;
    return Number((kind === 'kv' ? /"n":(\d+)/ : /n\/(\d+)/).exec(text)?.[1]);
  }
}

/** Where the server listens. @throws Error if it ends before it says so */
function announced(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (part: Buffer) => {
      text += part.toString();
      const address = /listens at (\S+)\n/.exec(text)?.[1];
      if (address !== undefined) resolve(address);
    });
    child.stderr?.on('data', (part: Buffer) => {
      text += part.toString();
    });
    child.once('close', () => reject(new Error(`the server ended before it listened: ${text}`)));
  });
}

async function becomesOpen(address: string, openedBy: string): Promise<string | undefined> {
  const until = performance.now() + OPEN_MS;
  let why = '';
  while (performance.now() < until) {
    const { json } = await send(address, undefined, 'GET', '/v1/sys/seal-status', {});
    if (json?.['sealed'] === false) return undefined;
    const health = await send(address, undefined, 'GET', '/v1/sys/health?sealedcode=200', {});
    why = JSON.stringify(health.json?.['reasons'] ?? []);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return `the box was not opened by its ${openedBy} slot: ${why}`;
}

export async function cutRounds(machine: SlotMachine, options: RoundsOptions): Promise<RoundsResult> {
  const { home, variables, openedBy } = machine;
  const random = new SeededRandom(options.seed);
  const client = new Client(home.read('root-token'));
  const failures: number[] = [];
  // One start more than cuts: it checks the last one, and stops in order.
  for (let round = 0; round <= options.rounds && client.wrong.length === 0; round++) {
    const last = round === options.rounds;
    const killAfter = random.below(machine.acksMax);
    const run = await recordRun({
      command: [process.execPath, PROGRAM, 'server'],
      folder: home.data,
      env: { ...home.variables, ...variables, HOLDFAST_LISTEN: '127.0.0.1:0' },
      async drive(child) {
        const address = await announced(child);
        await machine.open(address);
        const shut = await becomesOpen(address, openedBy);
        client.connect(address);
        if (shut !== undefined) client.wrong.push(`after cut ${round}: ${shut}`);
        else await client.check(round);
        if (last || client.wrong.length > 0) {
          child.kill('SIGTERM');
          return;
        }
        let acks = 0;
        const enough = new Promise<void>((resolve) => {
          const acked = (): void => {
            if (++acks > killAfter) resolve();
          };
          for (let worker = 0; worker < WORKERS; worker++) void client.write(worker, acked);
        });
        await Promise.race([enough, new Promise((resolve) => child.once('close', resolve))]);
        child.kill('SIGKILL');
      },
    });
    if (last) break;
    await machine.powerCut();
    failures.push(await machine.failures());
    const mode = CUT_MODES[round % CUT_MODES.length] ?? 'dropped';
    const disk = new Disk(run.events, run.baseline, options);
    disk.advance(run.events.length);
    const left = mkdtempSync(join(home.folder, 'disk-'));
    disk.materialise(left, mode, options.seed + round);
    rmSync(home.data, { recursive: true });
    renameSync(left, home.data);
  }
  return { acknowledged: client.acknowledged, counted: client.counted, failures, wrong: client.wrong };
}
