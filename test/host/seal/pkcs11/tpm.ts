/** libtpm2-pkcs11 over swtpm: a token without GCM. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Pkcs11Options } from '../../../../host/seal/pkcs11/pkcs11.ts';
import { benchOf, newFolder, PIN, SO_PIN, type TokenBench } from './tokens.ts';

export interface SoftwareTpm {
  readonly tcti: string;
  /** Frees what a process left in the TPM, which has room for three objects. Does nothing when it is stopped. */
  flush(): void;
  stop(): void;
}

/** Returns when it listens; it is a process of its own until it is stopped. */
export function startTpm(): SoftwareTpm {
  const folder = newFolder();
  const socket = join(folder, 's');
  const pidFile = join(folder, 'pid');
  const args = ['socket', '--tpm2', '--daemon', '--pid', `file=${pidFile}`, '--tpmstate', `dir=${folder}`];
  const server = ['--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${socket}.ctrl`];
  execFileSync('swtpm', [...args, ...server, '--flags', 'not-need-init,startup-clear'], { stdio: 'ignore' });
  const pid = Number.parseInt(readFileSync(pidFile, 'latin1'), 10);
  let running = true;
  return {
    tcti: `swtpm:path=${socket}`,
    flush() {
      if (!running) return;
      const env = { PATH: '/usr/bin:/bin', TPM2TOOLS_TCTI: `swtpm:path=${socket}` };
      for (const what of ['-t', '-l', '-s']) execFileSync('tpm2_flushcontext', [what], { env, stdio: 'pipe' });
    },
    stop() {
      if (running) process.kill(pid, 'SIGKILL');
      running = false;
    },
  };
}

/** A store of its own on the TPM, with one token. The environment is set before the process starts: modules read it early. */
export function tpmToken(tpm: SoftwareTpm, changes: Partial<Pkcs11Options> = {}): TokenBench {
  const folder = newFolder();
  mkdirSync(join(folder, 'store'), { mode: 0o700 });
  const variables = { TPM2_PKCS11_STORE: join(folder, 'store'), TPM2_PKCS11_TCTI: tpm.tcti };
  const module = tpmModule();
  const script = `
    const { PKCS11 } = require(${JSON.stringify(resolve('node_modules/pkcs11js'))});
    const module = new PKCS11();
    module.load(${JSON.stringify(module)});
    module.C_Initialize({ flags: 2 });
    const [slot] = module.C_GetSlotList(true);
    module.C_InitToken(slot, '${SO_PIN}', 'box'.padEnd(32));
    const session = module.C_OpenSession(slot, 6);
    module.C_Login(session, 0, '${SO_PIN}');
    module.C_InitPIN(session, '${PIN}');
    module.C_Logout(session);
    module.C_Finalize();`;
  execFileSync(process.execPath, ['-e', script], { env: variables, stdio: 'pipe' });
  const token = {
    module,
    parameters: '',
    token: 'box',
    /** Read at the start of each child: stands in for the kernel's resource manager (/dev/tpmrm0), which flushes what a process leaves. */
    get environment() {
      tpm.flush();
      return variables;
    },
  };
  return benchOf(folder, token, changes);
}

function tpmModule(): string {
  const files = execFileSync('dpkg', ['-L', 'libtpm2-pkcs11-1'], { encoding: 'utf8' }).split('\n');
  const module = files.find((file) => /\/libtpm2_pkcs11\.so\.1$/.test(file) && existsSync(file));
  if (module === undefined) throw new Error('libtpm2-pkcs11-1 has no module');
  return module;
}
