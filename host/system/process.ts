/** What this process is and what the operating system lets it keep to itself. Linux. */
import koffi from 'koffi';

const PR_SET_DUMPABLE = 4;
/** Files are for their owner only; makers that pass a mode are cut to it too. */
const UMASK = 0o077;

/**
 * Keeps memory out of core dumps and away from other processes of the same user (ptrace, /proc/PID/mem), and files away
 * from other users.
 *
 * @param options.coreDumps  leave the process as it is for a debugger
 * @returns sentences for health where the system refused
 */
export function hardenProcess(options: { readonly coreDumps: boolean }): string[] {
  process.umask(UMASK);
  if (options.coreDumps) return ['core dumps are allowed (debug.coreDumps): they would hold keys'];
  try {
    const prctl = koffi.load('libc.so.6').func('int prctl(int option, unsigned long argument)');
    if (prctl(PR_SET_DUMPABLE, 0) === 0) return [];
  } catch {
    // Told below: both ways end the same.
  }
  return ['core dumps could not be switched off'];
}

/** The variables that the product reads, and no other. */
const VARIABLES = [
  'HOME',
  'XDG_CONFIG_HOME',
  'XDG_STATE_HOME',
  'HOLDFAST_LISTEN',
  'HOLDFAST_DATA',
  'HOLDFAST_CONFIG',
  'HOLDFAST_TLS',
  'HOLDFAST_TLS_CERT',
  'HOLDFAST_TLS_KEY',
] as const;

export type Environment = Readonly<Partial<Record<(typeof VARIABLES)[number], string>>>;

/** Empty variables count as absent, as the XDG specification has it. */
export function environment(variables: Readonly<Record<string, string | undefined>> = process.env): Environment {
  const found: Partial<Record<(typeof VARIABLES)[number], string>> = {};
  for (const name of VARIABLES) {
    const value = variables[name];
    if (value !== undefined && value !== '') found[name] = value;
  }
  return found;
}
