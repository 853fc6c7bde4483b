/** Machines on which the power goes, one for each kind of slot: a real server's settings, its device, and who opens it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Operator } from '../e2e/cli.ts';
import { Home, send } from '../e2e/server.ts';
import { SOFTHSM_MODULE, softHsm, type TokenBench } from '../host/seal/pkcs11/tokens.ts';
import { Machine as Chip } from '../tpm/machine.ts';

export const KINDS = ['keyfile', 'shamir', 'tpm2', 'tpm2 with a PIN', 'pkcs11'] as const;
export type MachineKind = (typeof KINDS)[number];

/** The PCRs that this machine's firmware measures into. */
const PCRS = [0, 7];
const TPM_PIN = '4711';

export interface SlotMachine {
  readonly home: Home;
  readonly variables: Readonly<Record<string, string>>;
  /** What the announcement and seal-status call the way in. */
  readonly openedBy: string;
  /** Writes of a round at most: a counted change asks a HSM's program anew. */
  readonly acksMax: number;
  /** The power goes at the device too. */
  powerCut(): Promise<void>;
  /** Wrong PINs that the device has counted; 0 where there is none. */
  failures(): Promise<number>;
  /** Opens a box that listens and stays shut by itself. */
  open(address: string): Promise<void>;
  close(): Promise<void>;
}

function settings(home: Home, seal: object): void {
  mkdirSync(home.config, { recursive: true, mode: 0o700 });
  writeFileSync(join(home.config, 'holdfast.json'), JSON.stringify({ seal }), { mode: 0o600 });
}

/** A machine whose box is made, with its slot, and stopped. */
export async function slotMachine(kind: MachineKind): Promise<SlotMachine> {
  const home = new Home();
  const chip = kind.startsWith('tpm2') ? new Chip() : undefined;
  let hsm: TokenBench | undefined;
  const pinFile = join(home.folder, 'tpm-pin');
  const variables: Record<string, string> = { HOLDFAST_TLS: 'off' };
  if (chip !== undefined) {
    await chip.started();
    variables['HOLDFAST_TPM2_TCTI'] = chip.chip.tcti;
    settings(home, { allowed: ['tpm2', 'shamir'], initial: ['tpm2'], tpm2: { pcrs: PCRS } });
  } else if (kind === 'pkcs11') {
    hsm = softHsm();
    Object.assign(variables, {
      HOLDFAST_PKCS11_MODULE: SOFTHSM_MODULE,
      HOLDFAST_PKCS11_TOKEN: 'box',
      HOLDFAST_PKCS11_PIN_FILE: hsm.pinFile,
      SOFTHSM2_CONF: join(hsm.folder, 'softhsm2.conf'),
    });
    settings(home, { allowed: ['pkcs11', 'shamir'], initial: ['pkcs11'] });
  } else if (kind === 'shamir') settings(home, { allowed: ['shamir'], initial: [] });
  else settings(home, { allowed: ['keyfile', 'shamir'], initial: ['keyfile'] });

  const machine: SlotMachine = {
    ...{ home, variables },
    openedBy: kind === 'tpm2 with a PIN' ? 'tpm2' : kind,
    acksMax: kind === 'pkcs11' ? 6 : 16,
    async powerCut() {
      await chip?.powerCut();
    },
    failures: async () => (await chip?.failures()) ?? 0,
    async open(address) {
      if (kind !== 'shamir') return;
      const { status } = await send(
        address,
        undefined,
        'PUT',
        '/v1/sys/unseal',
        {},
        { key: home.read('recovery-share') },
      );
      if (status !== 200) throw new Error(`the share was answered ${status}`);
    },
    async close() {
      await home.close();
      chip?.close();
    },
  };
  const server = await home.start(['--init'], variables);
  await machine.open(server.address);
  const operator = new Operator(home, variables);
  const counts = operator.ok('slot list').includes('counter at ');
  if (counts !== (chip !== undefined || hsm !== undefined)) throw new Error(`${kind}: counts: ${counts}`);
  if (kind === 'tpm2 with a PIN') {
    const id = operator.slot('tpm2');
    operator.ok('operator tpm -take-lockout');
    await server.stop();
    writeFileSync(pinFile, `${TPM_PIN}\n`, { mode: 0o600 });
    settings(home, { allowed: ['tpm2', 'shamir'], initial: ['tpm2'], tpm2: { pcrs: PCRS, pinFile } });
    const again = await home.start([], variables);
    operator.ok(`slot replace ${id}`);
    await again.stop();
  } else await server.stop();
  return machine;
}
