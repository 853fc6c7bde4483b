/** What `holdfast server` says when it stands: where it listens, what opened it, the weakest way in, what to try. */
import type { WayIn } from './ports/appliance.ts';
import type { SlotKind } from './ports/seal-slot.ts';

export interface Announcement {
  readonly version: string;
  /** As clients write them. */
  readonly addresses: readonly string[];
  readonly data: string;
  readonly config: string;
  readonly keyfile: string;
  /** True where the command line finds the configuration folder without being told. */
  readonly configIsDefault: boolean;
  readonly state: 'uninitialised' | 'sealed' | 'open';
  readonly openedBy: SlotKind | undefined;
  readonly weakest: SlotKind | undefined;
  readonly ways: readonly WayIn[];
  /** Present where the files lie there. */
  readonly rootTokenFile: string | undefined;
  readonly recoveryShareFile: string | undefined;
  /** Shown once, on a terminal. */
  readonly recoveryShare: string | undefined;
  /** KV version 2 lies at `secret/`. */
  readonly secretMount: boolean;
  readonly reasons: readonly string[];
}

const quoted = (path: string): string => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`);

function weakestSentence({ weakest, keyfile }: Announcement): string {
  switch (weakest) {
    case 'keyfile':
      return `keyfile: whoever reads ${keyfile} and the data folder opens the box`;
    case 'shamir':
      return 'shamir: whoever holds enough shares and the data folder opens the box';
    case 'pkcs11':
      return 'pkcs11: whoever has the HSM, its PIN and the data folder opens the box';
    case 'tpm2':
      return 'tpm2: whoever starts this machine opens the box';
    case undefined:
      return 'none: the box has no slot yet';
  }
}

/** @returns lines, each with its end */
export function announce(what: Announcement): string {
  const lines = what.addresses.map((address, at) =>
    at === 0 ? `holdfast ${what.version} listens at ${address}` : `and at ${address}`,
  );
  const fact = (name: string, text: string): number => lines.push(`  ${`${name}:`.padEnd(17)}${text}`);
  const run = `${what.configIsDefault ? '' : `HOLDFAST_CONFIG=${quoted(what.config)} `}npx holdfast`;
  if (what.state === 'uninitialised') {
    fact('data', `${what.data} (empty: waits for sys/init)`);
    fact('initialise', `${run} init`);
  } else {
    fact('opened by', what.openedBy ?? 'nobody yet: the box is sealed');
    fact('weakest way in', weakestSentence(what));
    fact('data', what.data);
    if (what.rootTokenFile !== undefined) fact('root token', `in ${what.rootTokenFile}`);
    if (what.state === 'sealed') {
      fact('unseal', `${run} unseal`);
      for (const { id, kind, opens } of what.ways) {
        if (opens !== 'pin' && opens !== 'itself') continue;
        fact(
          'or',
          `${run} unseal -slot=${id.slice(0, 8)}          (${kind}${opens === 'pin' ? ', asks for its PIN' : ''})`,
        );
      }
      fact('why', `${run} operator diagnose`);
    }
  }
  for (const reason of what.reasons) fact('note', reason);
  if (what.recoveryShare !== undefined) {
    lines.push(
      '',
      'Recovery share, shown this once. It opens the box when nothing else of this machine does: keep it elsewhere.',
      `  ${what.recoveryShare}`,
    );
  } else if (what.recoveryShareFile !== undefined) {
    lines.push(
      '',
      'The recovery share opens the box when nothing else of this machine does: move it elsewhere, it lies in',
      `  ${what.recoveryShareFile}`,
    );
  }
  if (what.state === 'open' && what.secretMount) {
    lines.push(
      '',
      'To write, read and verify a secret:',
      `  ${run} kv put secret/hello greeting=world`,
      `  ${run} kv get secret/hello`,
      `  ${run} audit verify`,
    );
  }
  return `${lines.join('\n')}\n`;
}
