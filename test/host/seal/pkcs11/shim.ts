/** SoftHSM behind shim.c: a module that misbehaves at one call, and counts logins. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Pkcs11Options, Pkcs11Slot } from '../../../../host/seal/pkcs11/pkcs11.ts';
import { program, SOFTHSM_MODULE, scratch, softHsm, softhsmEnvironment, type TokenBench } from './tokens.ts';

const compiled = join(scratch, 'shim.so');
execFileSync('cc', [
  ...['-shared', '-fPIC', '-Wall', '-Werror', '-o', compiled, 'test/host/seal/pkcs11/shim.c'],
  ...['-I', 'node_modules/pkcs11js/includes', '-ldl'],
]);

export interface Misbehaviour {
  /** The call, "C_Decrypt". */
  readonly at: string;
  /** `hang`, `abort`, or a return code. */
  readonly does: 'hang' | 'abort' | number;
  /** How often, at most 9; always where it is absent. */
  readonly times?: number;
}

export interface ShimBench extends TokenBench {
  /** A new adapter on the same token and the same mark, as after a restart. */
  restarted(changes?: Partial<Pkcs11Options>): Pkcs11Slot;
  misbehave(how: Misbehaviour | undefined): void;
  /** Flags that every token shows from now on. */
  showFlags(flags: number): void;
  logins(): number;
}

export function shimmed(changes: Partial<Pkcs11Options> = {}): ShimBench {
  const base: Record<string, string> = { SHIM_MODULE: SOFTHSM_MODULE };
  let extra: Record<string, string> = {};
  const bench = softHsm();
  const log = join(bench.folder, 'logins');
  const options: Pkcs11Options = {
    ...bench.options,
    module: compiled,
    ...changes,
    get environment() {
      return { ...base, ...softhsmEnvironment(bench.folder), SHIM_LOG: log, ...extra, ...changes.environment };
    },
  };
  return {
    ...bench,
    options,
    slot: new Pkcs11Slot(options),
    restarted(others = {}) {
      const again = Object.defineProperties({}, Object.getOwnPropertyDescriptors(options)) as Pkcs11Options;
      for (const [name, value] of Object.entries(others)) Object.defineProperty(again, name, { value });
      return new Pkcs11Slot(again);
    },
    misbehave(how) {
      if (how === undefined) {
        extra = {};
        return;
      }
      const times = join(bench.folder, 'times');
      extra = { SHIM_AT: how.at, SHIM_DOES: String(how.does) };
      if (how.times === undefined) return;
      writeFileSync(times, String(how.times));
      extra['SHIM_TIMES'] = times;
    },
    showFlags(flags) {
      extra = { SHIM_FLAGS: String(flags) };
    },
    logins: () => (existsSync(log) ? readFileSync(log).length : 0),
  };
}

/** Process ids of children of this test's own program. */
export function childrenAlive(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(program);
      } catch {
        return false;
      }
    })
    .map(Number);
}
