/** A real server on a machine with a (software) TPM, as its operator meets it. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { openLmdbStore } from '../../host/store/lmdb/open.ts';
import { files } from '../../host/system/files.ts';
import { lockFolder } from '../../host/system/lock.ts';
import { Machine as Chip } from '../tpm/machine.ts';
import { Operator } from './cli.ts';
import { Home, type RunningServer } from './server.ts';

// Some dozen processes a test, on machines that do other things too.
vi.setConfig({ testTimeout: 240_000 });

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

interface Bench {
  readonly home: Home;
  readonly chip: Chip;
  readonly operator: Operator;
  start(args?: readonly string[]): Promise<RunningServer>;
  write(settings: object): void;
}

/** The PCRs that this machine's firmware measures into. */
const PCRS = [0, 7];

async function bench(profile = 'edge-tpm'): Promise<Bench> {
  const home = new Home();
  const chip = new Chip();
  open.push(async () => {
    await home.close();
    chip.close();
  });
  await chip.started();
  const variables = { HOLDFAST_PROFILE: profile, HOLDFAST_TPM2_TCTI: chip.chip.tcti };
  const write = (settings: object): void => {
    mkdirSync(home.config, { recursive: true, mode: 0o700 });
    writeFileSync(join(home.config, 'holdfast.json'), JSON.stringify(settings), { mode: 0o600 });
  };
  write({ seal: { tpm2: { pcrs: PCRS } } });
  const start = (args: readonly string[] = []): Promise<RunningServer> => home.start(args, variables);
  return { home, chip, operator: new Operator(home, variables), start, write };
}

const isSealed = async (server: RunningServer): Promise<unknown> =>
  (await server.call('GET', 'sys/seal-status', undefined, '')).json?.['sealed'];

async function becomesOpen(server: RunningServer): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    if ((await isSealed(server)) === false) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the box did not open');
}

/** The share that `server --init` left in a file. */
const share = ({ home }: Bench): string => home.read('recovery-share');

describe('a box with a TPM', () => {
  test('is made with its slot, opens by itself at every start, and has no key file', async () => {
    const at = await bench();
    let server = await at.start(['--init']);
    expect(server.stdout).toContain('opened by:       tpm2');
    expect(server.stdout).toContain('weakest way in:  shamir');
    expect(existsSync(join(at.home.config, 'keyfile'))).toBe(false);
    expect(at.operator.kinds()).toEqual(['shamir', 'tpm2']);
    at.operator.ok('kv put secret/a b=c');
    for (let round = 0; round < 2; round++) {
      if (round === 0) await server.stop();
      else await server.kill();
      await at.chip.powerCut();
      server = await at.start();
      expect(server.stdout).toContain('opened by:       tpm2');
      expect(at.operator.ok('kv get -field=b secret/a')).toBe('c');
    }
    expect(at.operator.ok(`slot test ${at.operator.slot('tpm2')}`)).toMatch(/opens\s+true/);
    expect(at.operator.run('slot add keyfile')).toMatchObject({
      code: 2,
      error: expect.stringContaining('seal.allowed'),
    });
    expect(at.operator.run('slot remove shamir').error).toContain('never removed');
  });

  test('whose boot moved stays shut, says what to do, opens by its share and takes the new boot by `slot replace`', async () => {
    const at = await bench();
    let server = await at.start(['--init']);
    at.operator.ok('kv put secret/a b=c');
    await server.stop();
    await at.chip.powerCut('firmware 2');
    server = await at.start();
    expect(server.stdout).toContain('opened by:       nobody yet');
    expect(server.stdout).toMatch(/note:\s+slot tpm2 [0-9a-f]{8}: the machine did not start as it did/);
    const opening = at.operator.finding('opening');
    expect(opening).toMatchObject({ state: 'bad' });
    expect(opening?.sentence).toContain('give 1 of 1 recovery shares to `holdfast unseal`');
    const id = /slot replace ([0-9a-f]{8})`/.exec(opening?.sentence ?? '')?.[1] ?? '';
    expect(at.operator.finding('slot tpm2')).toMatchObject({ state: 'bad', what: `slot tpm2 ${id}` });
    expect(at.operator.run(`unseal -slot=${id}`)).toMatchObject({
      code: 2,
      error: expect.stringContaining('PCRs moved'),
    });
    at.operator.ok('unseal -', share(at));
    const replaced = JSON.parse(at.operator.ok(`slot replace ${id} -format=json`));
    expect(replaced.data.removed).toEqual([expect.stringMatching(new RegExp(`^${id}`))]);
    expect(at.operator.kinds()).toEqual(['shamir', 'tpm2']);
    await server.stop();
    await at.chip.powerCut('firmware 2');
    server = await at.start();
    expect(server.stdout).toContain('opened by:       tpm2');
    expect(at.operator.ok('kv get -field=b secret/a')).toBe('c');
    expect(at.operator.ok('audit verify')).toContain('agrees');
  });

  test('that was away at the start opens it when it is back', async () => {
    const at = await bench();
    let server = await at.start(['--init']);
    await server.stop();
    at.chip.chip.kill();
    expect(at.operator.finding('tpm')?.sentence).toContain('the TPM cannot be reached');
    server = await at.start();
    expect(await isSealed(server)).toBe(true);
    expect(server.stdout).toContain('the TPM cannot be reached');
    at.chip.chip.start();
    await at.chip.measure();
    await becomesOpen(server);
    expect(at.operator.finding('slot tpm2')).toMatchObject({ state: 'ok' });
  });

  test('answers `holdfast init` too, and is open from then on', async () => {
    const at = await bench();
    const server = await at.start();
    expect(server.stdout).toContain('waits for sys/init');
    const made = at.operator.ok('init -key-shares=3 -key-threshold=2');
    const token = /Initial Root Token: (\S+)/.exec(made)?.[1] ?? '';
    expect(await isSealed(server)).toBe(false);
    expect((await server.call('GET', 'auth/token/lookup-self', undefined, token)).status).toBe(200);
    await server.kill();
    expect(await isSealed(await at.start())).toBe(false);
  });

  test('is not made at all where the TPM does not answer: a second try begins anew', async () => {
    const at = await bench();
    at.chip.chip.kill();
    const failed = at.home.spawn(['--init'], at.operator.variables);
    expect(await failed.ended).toBe(1);
    expect(failed.stderr).toContain('the TPM cannot be reached');
    expect(at.operator.finding('box')?.sentence).toContain('never finished');
    at.chip.chip.start();
    await at.chip.measure();
    expect((await at.start(['--init'])).stdout).toContain('opened by:       tpm2');
  });

  test('whose row was edited on the disk stays shut and says so; the shares open no box that was changed', async () => {
    const at = await bench();
    const server = await at.start(['--init']);
    await server.stop();
    const edit = async (change: (row: Buffer) => void): Promise<void> => {
      const lock = lockFolder(at.home.data);
      const store = await openLmdbStore({ lock, files, witness: { fold: () => [] } });
      for (const { key, value } of store.range('boot', { prefix: Buffer.from('slot/') })) {
        const row = Buffer.from(value);
        // Version and length of the header, its version, then the kind: 1 is tpm2.
        if (row[4] !== 1) continue;
        change(row);
        await store.commit({ puts: [{ table: 'boot', key: Uint8Array.from(key), value: row }] });
      }
      await store.close();
      lock.release();
    };
    const flip = (at: number) => (row: Buffer) => row.writeUInt8(row.readUInt8(at) ^ 1, at);
    const blob = 3 + 76 + 2 + 10;
    const created = 3 + 34 + 7;
    for (const [where, sentence] of [
      [blob, 'then make this slot anew (`holdfast slot replace tpm2`)'],
      [created, 'does not open this box: it was changed'],
    ] as const) {
      await edit(flip(where));
      const again = await at.start();
      expect(await isSealed(again)).toBe(true);
      expect(again.stdout).toContain(sentence);
      await again.stop();
      expect(at.operator.finding('slot tpm2')).toMatchObject({ state: 'bad' });
      await edit(flip(where));
    }
    await edit(flip(created));
    const shut = await at.start();
    expect(at.operator.run('unseal -', share(at))).toMatchObject({
      code: 2,
      error: expect.stringMatching(/not those that the keyring lists.*put the newest disk back/),
    });
    await shut.stop();
    await edit(flip(created));
    expect(await isSealed(await at.start())).toBe(false);
  });
});

describe('a dead chip', () => {
  test('is a matter of shares: they open the box as it is, and `slot replace` enrols the new one', async () => {
    const at = await bench();
    let server = await at.start(['--init']);
    at.operator.ok('kv put secret/a b=c');
    await server.stop();
    await at.chip.replaceChip();
    server = await at.start();
    expect(server.stdout).toContain('this is another TPM, or it was cleared');
    // The counter died with the chip: that no newer disk exists is the quorum's word.
    expect(at.operator.run('unseal -', share(at))).toMatchObject({
      code: 2,
      error: expect.stringContaining('rolled back'),
    });
    at.operator.ok('unseal -accept=rolled-back -', share(at));
    at.operator.ok('slot replace tpm2');
    expect(at.operator.kinds()).toEqual(['shamir', 'tpm2']);
    await server.stop();
    await at.chip.powerCut();
    server = await at.start();
    expect(server.stdout).toContain('opened by:       tpm2');
    expect(at.operator.ok('kv get -field=b secret/a')).toBe('c');
  });
});

describe('a chip that dies under an open box', () => {
  test('keeps its slot until the box was sealed and opened by the quorum’s word, as the errors say', async () => {
    const at = await bench();
    const server = await at.start(['--init']);
    const figures = (): string => at.operator.ok('read sys/metrics');
    expect(figures()).toMatch(/\nholdfast_counter_value\{kind="tpm2"\} \d+\n/);
    expect(figures()).toMatch(/\nholdfast_counter_raised\{kind="tpm2"\} [1-9]\d*\n/);
    expect(figures()).toContain('\nholdfast_counter_budget{kind="tpm2"} 40000\n');
    expect(figures()).toContain('\nholdfast_counter_away{kind="tpm2"} 0\n');
    at.chip.chip.kill();
    const refused = at.operator.run('slot remove tpm2');
    expect(refused.error).toContain(
      'seal the box and open it by the recovery quorum: holdfast unseal -accept=rolled-back',
    );
    expect(at.operator.run('operator rotate').error).toContain('nothing was changed');
    expect(figures()).toContain('\nholdfast_counter_away{kind="tpm2"} 1\n');
    expect(at.operator.ok('slot list')).toContain('is away');
    at.operator.ok('kv put secret/a b=c');

    expect(at.operator.run('slot test tpm2').error).toContain('the TPM cannot be reached');
    at.operator.ok('seal');
    expect(at.operator.finding('opening')?.sentence).toContain('holdfast unseal -accept=rolled-back');
    expect(at.operator.run('unseal -', share(at)).error).toContain('holdfast unseal -accept=rolled-back');
    expect(at.operator.diagnose().map(({ sentence }) => sentence)).toContainEqual(
      expect.stringMatching(/^rolled back: the tpm2 counter cannot be read/),
    );
    at.operator.ok('unseal -accept=rolled-back -', share(at));
    expect(figures()).not.toContain('holdfast_counter_');
    at.operator.ok('slot remove tpm2');
    expect(at.operator.kinds()).toEqual(['shamir']);
    expect(at.operator.ok('kv get -field=b secret/a')).toBe('c');
    at.operator.ok('operator lives -this');
    await server.stop();
    expect(at.operator.finding('counter')).toMatchObject({
      state: 'note',
      sentence: expect.stringContaining('no slot gave the key without a person'),
    });
  });
});

describe('a PIN', () => {
  const RIGHT = '47114711';

  async function withPin(): Promise<Bench & { server: RunningServer; id: string }> {
    const at = await bench();
    const server = await at.start(['--init']);
    const plain = at.operator.slot('tpm2');
    expect(at.operator.run('slot add tpm2 -pin', RIGHT)).toMatchObject({
      code: 2,
      error: expect.stringContaining('holdfast operator tpm -take-lockout'),
    });
    expect(at.operator.ok('operator tpm -take-lockout')).toMatch(/Lockout authorisation of the TPM: [0-9a-f]{32}\n/);
    expect(at.operator.run('operator tpm -take-lockout').error).toContain('shown once');
    at.operator.ok(`slot replace ${plain} -pin`, RIGHT);
    expect(at.operator.ok('slot list')).toMatch(/tpm2\s+with its PIN/);
    return { ...at, server, id: at.operator.slot('tpm2') ?? '' };
  }

  test('is asked of the person who unseals, on this machine alone, and opens a box that was sealed', async () => {
    const { home, chip, operator, start, server, id } = await withPin();
    const socket = statSync(join(home.config, 'control.sock'));
    expect([socket.isSocket(), socket.mode & 0o777]).toEqual([true, 0o600]);
    await server.stop();
    expect(existsSync(join(home.config, 'control.sock'))).toBe(false);
    await chip.powerCut();
    const again = await start();
    expect(again.stdout).toContain(`npx holdfast unseal -slot=${id}          (tpm2, asks for its PIN)`);
    expect(operator.run('unseal -slot=tpm2', '1').error).toContain('the PIN is wrong');
    expect(await chip.failures()).toBe(1);
    operator.ok('unseal -slot=tpm2', RIGHT);
    expect(await isSealed(again)).toBe(false);
    operator.ok('seal');
    expect(operator.finding('opening')?.sentence).toContain(`run \`holdfast unseal -slot=${id}\``);
    const file = join(home.folder, 'pin');
    writeFileSync(file, `${RIGHT}\n`, { mode: 0o600 });
    operator.ok(`unseal -slot=${id} -pin-file=${file}`);
    expect(await isSealed(again)).toBe(false);
    expect(readFileSync(join(home.config, 'address'), 'utf8')).not.toContain(RIGHT);
  });

  test('that is wrong too often locks the TPM, which is told with its time; shares open the box and unlock it', async () => {
    const { home, operator, server } = await withPin();
    operator.ok('operator tpm -max-tries=3 -recovery-time=7200');
    operator.ok('seal');
    for (let tries = 0; tries < 3; tries++) operator.run('unseal -slot=tpm2', '1');
    expect(operator.run('unseal -slot=tpm2', RIGHT).error).toMatch(/locked out after 3 wrong PINs: wait 7200 seconds/);
    const tpm = operator.finding('tpm');
    expect(tpm).toMatchObject({ state: 'bad' });
    expect(tpm?.sentence).toContain('3 of 3 wrong PINs are counted, one is forgiven in 7200 seconds');
    expect(tpm?.sentence).toContain('holdfast operator tpm -reset-lockout');
    operator.ok('unseal -', home.read('recovery-share'));
    expect(operator.ok('operator tpm -reset-lockout')).toMatch(/failures\s+0/);
    operator.ok('seal');
    operator.ok('unseal -slot=tpm2', RIGHT);
    expect(await isSealed(server)).toBe(false);
  });

  test('in a file opens the box by itself; a wrong one is tried once, however often the box starts', async () => {
    const { home, chip, operator, start, server, write } = await withPin();
    await server.stop();
    const file = join(home.folder, 'pin');
    write({ seal: { tpm2: { pcrs: PCRS, pinFile: file } } });
    writeFileSync(file, `${RIGHT}\n`, { mode: 0o600 });
    await (await start()).stop();
    writeFileSync(file, 'wrong\n');
    for (let round = 0; round < 3; round++) {
      const again = await start();
      expect(await isSealed(again)).toBe(true);
      await again.stop();
    }
    expect(await chip.failures()).toBe(1);
    writeFileSync(file, `${RIGHT}\n`);
    const marked = await start();
    expect(await isSealed(marked)).toBe(true);
    expect(operator.finding('slot tpm2')?.sentence).toContain('was refused before, so it is not tried by itself');
    operator.ok('unseal -slot=tpm2 -pin', RIGHT);
    await marked.stop();
    expect(await isSealed(await start())).toBe(false);
  });
});

describe('another box', () => {
  test('of profile dev gets its TPM later: the key file goes with the first one, unless it is kept', async () => {
    const at = await bench('dev');
    const server = await at.start(['--init']);
    expect(at.operator.kinds()).toEqual(['keyfile', 'shamir']);
    at.operator.ok('slot add tpm2 -keep-keyfile');
    expect(at.operator.kinds()).toEqual(['keyfile', 'shamir', 'tpm2']);
    at.operator.ok('slot remove tpm2');
    const added = JSON.parse(at.operator.ok('slot add tpm2 -format=json'));
    expect(added.data.removed).toHaveLength(1);
    expect(at.operator.kinds()).toEqual(['shamir', 'tpm2']);
    expect(existsSync(join(at.home.config, 'keyfile'))).toBe(false);
    await server.stop();
    expect((await at.start()).stdout).toContain('opened by:       tpm2');
  });
});
