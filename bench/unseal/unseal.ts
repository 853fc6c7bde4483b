/**
 * How long does each kind of slot take: from the process's start to ready, and from a sealed box to an open one?
 *
 * Expected: a key file costs nothing, so its figures are the box's own (keyring, freshness row, the last groups of the log, mounts);
 * shares are arithmetic; a TPM adds some ten commands to a socket, its counter two more; an HSM adds a program of its own that
 * loads the maker's module. The TPM and the HSM are software stand-ins: a chip takes longer, by its data sheet. Every kind has its turn
 * in each round.
 */
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  type MachineKind,
  KINDS as SLOT_KINDS,
  type SlotMachine,
  slotMachine,
} from '../../test/crash/slot-machines.ts';
import { type RunningServer, send } from '../../test/e2e/server.ts';
import { removeScratch } from '../../test/host/seal/pkcs11/tokens.ts';
import { fill } from '../http/target.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';

const REACH_MS = 150;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

interface Times {
  readonly machine: SlotMachine;
  readonly started: number[];
  readonly unsealed: number[];
}

/** Seals the box and opens it again as a person would: by a share, or by the slot over the box's own socket. */
async function unseal(machine: SlotMachine, server: RunningServer): Promise<number> {
  const control = `unix:${join(machine.home.config, 'control.sock')}`;
  const sealed = await server.call('PUT', 'sys/seal');
  if (sealed.status >= 300) throw new Error(`sealing was answered ${sealed.status}`);
  while ((await server.call('GET', 'sys/seal-status', undefined, '')).json?.['sealed'] !== true);
  const ways = await send(control, undefined, 'GET', '/v1/ways', {});
  const slots = (ways.json?.['slots'] ?? []) as readonly { readonly id: string; readonly kind: string }[];
  const slot = slots.find(({ kind }) => kind === machine.openedBy)?.id;
  const began = performance.now();
  if (machine.openedBy === 'shamir') await machine.open(server.address);
  else {
    const { status, text } = await send(control, undefined, 'PUT', '/v1/unseal', {}, { slot });
    if (status >= 300) throw new Error(`the slot ${machine.openedBy} was answered ${status}: ${text}`);
  }
  const took = performance.now() - began;
  if ((await server.call('GET', 'sys/seal-status', undefined, '')).json?.['sealed'] !== false)
    throw new Error('it is shut');
  return took;
}

/** One start of a box by its slot. @returns the server, and how long it took until it was open */
async function startOpen({ home, variables, ...machine }: SlotMachine): Promise<readonly [RunningServer, number]> {
  await machine.powerCut();
  const began = performance.now();
  const server = await home.start([], variables);
  await machine.open(server.address);
  return [server, performance.now() - began];
}

async function filled(kind: MachineKind, secrets: number): Promise<Times> {
  const machine = await slotMachine(kind);
  const [server] = await startOpen(machine);
  const token = machine.home.read('root-token');
  await fill({ target: server.address, token, connections: 16, warmupMs: 0, durationMs: 0 }, 'secret', secrets);
  await server.stop();
  return { machine, started: [], unsealed: [] };
}

export async function run({ small, onProgress }: BenchOptions): Promise<BenchResult> {
  const [secrets, rounds] = small ? [40, 1] : [10_000, 7];
  const times = new Map<MachineKind, Times>();
  try {
    for (const kind of SLOT_KINDS) {
      onProgress?.(`${kind}: writing ${secrets} secrets`);
      times.set(kind, await filled(kind, secrets));
    }
    for (let round = 1; round <= rounds; round++) {
      onProgress?.(`round ${round} of ${rounds}`);
      for (const { machine, started, unsealed } of times.values()) {
        const [server, took] = await startOpen(machine);
        started.push(took);
        unsealed.push(await unseal(machine, server));
        await server.stop();
      }
    }
  } finally {
    for (const { machine } of times.values()) await machine.close();
    removeScratch();
  }
  const figure = (kind: MachineKind, name: 'started' | 'unsealed'): number => median(times.get(kind)?.[name] ?? []);
  const many = secrets.toLocaleString('en');
  const rows = SLOT_KINDS.flatMap((kind): BenchRow[] => {
    const beside = (name: 'started' | 'unsealed'): BenchRow['rivals'] =>
      kind === 'keyfile' ? {} : { 'key file': figure('keyfile', name) };
    const stand = kind.startsWith('tpm2') ? 'swtpm' : kind === 'pkcs11' ? 'SoftHSM' : undefined;
    const note = stand === undefined ? {} : { note: `by ${stand}, which stands in for a chip` };
    const started = figure(kind, 'started');
    return [
      {
        ...{ what: `${kind}: process started to ready, ${many} secrets`, unit: 'ms', ours: started },
        ...{ rivals: beside('started'), ...note },
        ...(kind === 'keyfile' ? { reach: `<= ${REACH_MS} ms`, met: started <= REACH_MS } : {}),
      },
      {
        ...{ what: `${kind}: sealed to open, ${many} secrets`, unit: 'ms', ours: figure(kind, 'unsealed') },
        ...{ rivals: beside('unsealed'), ...note },
      },
    ];
  });
  return benchResult('unseal', rows);
}
