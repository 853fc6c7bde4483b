/** Software tokens of Debian's packages, each in a folder of its own, and a slot on them. They prove the API, not a vendor's hardware. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import type { PinMark } from '../../../../host/ports/seal-slot.ts';
import { type Pkcs11Options, Pkcs11Slot } from '../../../../host/seal/pkcs11/pkcs11.ts';
import { systemClock } from '../../../../host/system/clock.ts';
import { systemRandom } from '../../../../host/system/random.ts';

export const PIN = '482913';
export const SOFTHSM_MODULE = '/usr/lib/softhsm/libsofthsm2.so';
export const SO_PIN = '99887766';

export const scratch = mkdtempSync(join(tmpdir(), 'holdfast-pkcs11-'));
export const clock = systemClock();

/** The child as `node build.mjs` makes it, beside a way to the native packages. */
function buildChild(): string {
  symlinkSync(resolve('node_modules'), join(scratch, 'node_modules'));
  const outfile = join(scratch, 'child.mjs');
  buildSync({
    entryPoints: ['host/seal/pkcs11/child.ts'],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: ['koffi', 'pkcs11js'],
  });
  return outfile;
}

export const program = buildChild();
export const removeScratch = (): void => rmSync(scratch, { recursive: true, force: true });

let made = 0;
export function newFolder(): string {
  const folder = join(scratch, String(made++));
  mkdirSync(folder, { mode: 0o700 });
  return folder;
}

/** What a restart keeps. */
export function memoryMark(): PinMark & { attempts: number; written: number[] } {
  return {
    attempts: 0,
    written: [],
    read() {
      return this.attempts;
    },
    async write(attempts) {
      this.attempts = attempts;
      this.written.push(attempts);
    },
  };
}

export interface TokenBench {
  readonly folder: string;
  readonly pinFile: string;
  readonly options: Pkcs11Options;
  readonly slot: Pkcs11Slot;
}

export function benchOf(
  folder: string,
  token: Pick<Pkcs11Options, 'module' | 'parameters' | 'token' | 'environment'>,
  changes: Partial<Pkcs11Options> = {},
): TokenBench {
  const pinFile = join(folder, 'pin');
  writeFileSync(pinFile, `${PIN}\n`, { mode: 0o600 });
  const options: Pkcs11Options = {
    ...{ clock, random: systemRandom, program, pinFile, mark: memoryMark() },
    ...{ deadlineMs: 20_000, generateDeadlineMs: 60_000 },
    ...token,
    ...changes,
  };
  // Not spread: a getter stays one.
  if (changes.environment === undefined) {
    const descriptor = Object.getOwnPropertyDescriptor(token, 'environment');
    if (descriptor !== undefined) Object.defineProperty(options, 'environment', descriptor);
  }
  return { folder, pinFile, options, slot: new Pkcs11Slot(options) };
}

export const softhsmEnvironment = (folder: string): Record<string, string> => ({
  SOFTHSM2_CONF: join(folder, 'softhsm2.conf'),
});

export function initSoftHsmToken(folder: string, label: string): void {
  const args = ['--init-token', '--free', '--label', label, '--so-pin', SO_PIN, '--pin', PIN];
  execFileSync('softhsm2-util', args, { env: { PATH: '/usr/bin', ...softhsmEnvironment(folder) }, stdio: 'pipe' });
}

export function softHsm(changes: Partial<Pkcs11Options> = {}): TokenBench {
  const folder = newFolder();
  mkdirSync(join(folder, 'tokens'), { mode: 0o700 });
  const settings = [
    `directories.tokendir = ${join(folder, 'tokens')}`,
    'objectstore.backend = file',
    'log.level = ERROR',
  ];
  writeFileSync(join(folder, 'softhsm2.conf'), `${settings.join('\n')}\n`);
  initSoftHsmToken(folder, 'box');
  const environment = softhsmEnvironment(folder);
  return benchOf(folder, { module: SOFTHSM_MODULE, parameters: '', token: 'box', environment }, changes);
}

/** NSS's own softokn, its store given by parameters instead of the environment. */
export function nss(changes: Partial<Pkcs11Options> = {}): TokenBench {
  const folder = newFolder();
  const store = join(folder, 'store');
  mkdirSync(store, { mode: 0o700 });
  writeFileSync(join(folder, 'password'), `${PIN}\n`, { mode: 0o600 });
  execFileSync('certutil', ['-N', '-d', `sql:${store}`, '-f', join(folder, 'password')], { stdio: 'pipe' });
  const parameters = `configdir='sql:${store}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=`;
  const token = 'NSS Certificate DB';
  return benchOf(folder, { module: nssModule(), parameters, token, environment: {} }, changes);
}

function nssModule(): string {
  const files = execFileSync('dpkg', ['-L', 'libnss3'], { encoding: 'utf8' }).split('\n');
  const module = files.find((file) => file.endsWith('/libsoftokn3.so'));
  if (module === undefined) throw new Error('libnss3 has no softokn');
  return module;
}
