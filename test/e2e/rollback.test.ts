/** A real server over a (software) TPM whose disk is put back to an older one, as its operators meet it. */
import { cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { Machine as Chip } from '../tpm/machine.ts';
import { Operator } from './cli.ts';
import { Home, type RunningServer } from './server.ts';

// Some dozen processes, on machines that do other things too.
vi.setConfig({ testTimeout: 240_000 });

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

async function bench() {
  const home = new Home();
  const chip = new Chip();
  open.push(async () => {
    await home.close();
    chip.close();
  });
  await chip.started();
  const variables = { HOLDFAST_PROFILE: 'edge-tpm', HOLDFAST_TPM2_TCTI: chip.chip.tcti };
  mkdirSync(home.config, { recursive: true, mode: 0o700 });
  const settings = JSON.stringify({ seal: { tpm2: { pcrs: [0, 7] } } });
  writeFileSync(join(home.config, 'holdfast.json'), settings, { mode: 0o600 });
  const start = (args: readonly string[] = []): Promise<RunningServer> => home.start(args, variables);
  const share = (): string => home.read('recovery-share');
  return { home, chip, operator: new Operator(home, variables), start, share };
}

const sealed = async (server: RunningServer): Promise<unknown> =>
  (await server.call('GET', 'sys/seal-status', undefined, '')).json?.['sealed'];

test('an old disk is refused, told by the diagnosis, opened by the quorum’s word alone, and held until a person speaks', async () => {
  const { home, operator, start, share } = await bench();
  let server = await start(['--init']);
  expect(operator.ok('slot list')).toMatch(/tpm2 .*counter at \d+/);
  operator.ok('kv put secret/a b=old');
  await server.stop();
  const old = `${home.data}-old`;
  cpSync(home.data, old, { recursive: true });

  server = await start();
  operator.ok('kv put secret/a b=new');
  await server.stop();
  expect(operator.finding('counter tpm2')).toMatchObject({ state: 'ok' });
  rmSync(home.data, { recursive: true });
  renameSync(old, home.data);

  server = await start();
  expect(server.stdout).toContain('rolled back: the tpm2 counter is at');
  expect(server.stdout).toContain('holdfast unseal -accept=rolled-back');
  await server.stop();
  expect(operator.finding('counter tpm2')).toMatchObject({
    state: 'bad',
    sentence: expect.stringMatching(/the tpm2 counter is at \d+ and the store at \d+; .*-accept=rolled-back/),
  });

  expect(operator.finding('opening')).toMatchObject({ state: 'bad', sentence: expect.stringContaining('stays shut') });

  server = await start();
  expect(operator.run('unseal', `${share()}\n`)).toMatchObject({
    code: 2,
    error: expect.stringContaining('rolled back'),
  });
  expect(await sealed(server)).toBe(true);
  operator.ok('unseal -accept=rolled-back', `${share()}\n`);
  expect(await sealed(server)).toBe(false);
  expect(operator.ok('kv get -field=b secret/a')).toBe('old');
  expect(operator.ok('audit tail -lines=40')).toContain('seal.overridden');
  expect(operator.ok('operator lives')).toMatch(/holdfast operator lives -this.*held\s+true/s);
  const before = operator.ok('status -field=cluster_id');
  operator.ok('operator lives -this');
  for (
    let tries = 0;
    operator.run('status -field=cluster_id').out === before || (await sealed(server)) !== false;
    tries++
  ) {
    if (tries > 100) throw new Error('it did not become another');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(operator.ok('operator lives')).toMatch(/held\s+false/);
  expect(operator.ok('kv get -field=b secret/a')).toBe('old');
  await server.stop();

  server = await start();
  expect(server.stdout).toContain('opened by:       tpm2');
  expect(operator.ok('audit verify')).toContain('agrees');
  await server.stop();
});
