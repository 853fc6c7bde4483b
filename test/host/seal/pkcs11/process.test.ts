import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ASK, encodeMessage } from '../../../../host/seal/pkcs11/wire.ts';
import { childrenAlive, shimmed } from './shim.ts';
import { clock, newFolder, PIN, program, removeScratch, softHsm } from './tokens.ts';

afterAll(removeScratch);

const CONTEXT = Buffer.from('context of one slot of one box');

async function until(holds: () => boolean): Promise<void> {
  for (let round = 0; round < 500 && !holds(); round++) await clock.sleep(20);
  expect(holds()).toBe(true);
}

describe('the process that loads the module', () => {
  test('shows no PIN and nothing of the box’s environment, and has ended when the call has', async () => {
    const bench = shimmed({
      deadlineMs: 3000,
      environment: {
        HOLDFAST_TOKEN: 'h-secret',
        VAULT_TOKEN: 'v-secret',
        NODE_OPTIONS: '--no-warnings',
        OWN_CONF: 'kept',
      },
    });
    bench.misbehave({ at: 'C_Login', does: 'hang' });
    const called = bench.slot.create(CONTEXT).catch((reason: Error) => reason);
    await until(() => bench.logins() === 1);
    const [child] = childrenAlive();
    const environment = readFileSync(`/proc/${child}/environ`, 'latin1');
    const seen = environment + readFileSync(`/proc/${child}/cmdline`, 'latin1');
    expect(environment).toContain('OWN_CONF=kept');
    for (const secret of [PIN, 'h-secret', 'v-secret', 'NODE_OPTIONS']) expect(seen).not.toContain(secret);
    expect(await called).toMatchObject({ code: 'slot.unavailable' });
    expect(childrenAlive()).toEqual([]);
  });

  test('dies with the box, even inside a call that hangs', async () => {
    const bench = shimmed();
    bench.misbehave({ at: 'C_OpenSession', does: 'hang' });
    const { environment, module } = bench.options;
    const open = encodeMessage(
      ASK.open.code,
      [module, '', 'box', '\0'].map((field) => Buffer.from(field)),
    );
    const script = `
      const child = require('node:child_process').spawn(process.execPath, [${JSON.stringify(program)}], {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      });
      child.stdio[3].write(Buffer.from('${open.toString('hex')}', 'hex'));`;
    const env = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined));
    // The script names the program in its arguments too: the box is told apart by its id.
    const box = spawn(process.execPath, ['-e', script], { env, stdio: 'ignore' });
    const children = (): number[] => childrenAlive().filter((pid) => pid !== box.pid);
    const maps = (pid: number | undefined): string => {
      try {
        return readFileSync(`/proc/${pid}/maps`, 'latin1');
      } catch {
        return '';
      }
    };
    await until(() => maps(children()[0]).includes('libsofthsm2'));
    box.kill('SIGKILL');
    await until(() => childrenAlive().length === 0);
  });

  test('ends at once when it is told what is no message', async () => {
    for (const bytes of ['00000000', 'ffffffff00', '000000020100', '0000000409000000']) {
      const child = spawn(process.execPath, [program], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
      const closed = new Promise<number | null>((end) => child.once('close', end));
      const channel = child.stdio[3];
      if (channel === null || channel === undefined || !('end' in channel)) throw new Error('descriptor 3 is a socket');
      const answers: Buffer[] = [];
      channel.on('data', (data: Buffer) => answers.push(data));
      channel.on('error', () => undefined);
      channel.end(Buffer.from(bytes, 'hex'));
      expect(await closed).not.toBe(0);
      expect(Buffer.concat(answers).length).toBeLessThanOrEqual(5);
    }
  });
});

test('without the compiled binding, the sentence says what to install', async () => {
  const folder = newFolder();
  // The package as it is before its install script: found first, and without build/.
  const uncompiled = join(folder, 'node_modules/pkcs11js');
  mkdirSync(uncompiled, { recursive: true });
  for (const file of ['package.json', 'index.js']) {
    copyFileSync(join('node_modules/pkcs11js', file), join(uncompiled, file));
  }
  copyFileSync(program, join(folder, 'child.mjs'));
  const { slot } = softHsm({ program: join(folder, 'child.mjs') });
  await expect(slot.create(CONTEXT)).rejects.toMatchObject({ code: 'slot.unavailable' });
  await expect(slot.create(CONTEXT)).rejects.toThrow('npm rebuild pkcs11js');
});

test('a program that is not there is an error like any other', async () => {
  const { slot } = softHsm({ program: join(newFolder(), 'absent.mjs') });
  await expect(slot.create(CONTEXT)).rejects.toMatchObject({ code: 'slot.unavailable' });
});
