/** sys/rotate, sys/rekey, sys/generate-root: the keys of the box, by its operators and by its recovery quorum. */
import { Fault } from '../../fault.ts';
import type { CeremonyStatus, KeyService } from '../../ports/appliance.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';
import { Secret } from '../../secret.ts';
import { slotOperations } from './slots.ts';
import { tpmOperations } from './tpm.ts';

export interface KeyOperationParts {
  readonly keys: () => KeyService;
  /** `seal.ceremonies`: whether rekey and generate-root are answered here at all. */
  readonly ceremonies: boolean;
}

const raw = (json: ValueMap): Answer => ({ raw: { json } });
const text = (context: OperationContext, name: string): string => String(context.fields[name] ?? '');

function shareOf(context: OperationContext): Secret {
  const given = text(context, 'key');
  if (given === '') throw new Fault('input.invalid', "'key' must be specified in request body as JSON");
  const hex = /^(?:[0-9a-fA-F]{2})+$/.test(given) ? Buffer.from(given, 'hex') : undefined;
  const base64 = Buffer.from(given, 'base64');
  const bytes = hex ?? (base64.toString('base64') === given ? base64 : undefined);
  if (bytes === undefined) throw new Fault('input.invalid', "'key' must be a valid hex or base64 string");
  return new Secret(bytes);
}

const SHARE: Field = { type: 'string', description: 'One share, hex or base64.', secret: true };
const NONCE: Field = { type: 'string', description: 'Nonce of the attempt.' };

const ERASE: Field = {
  type: 'bool',
  description:
    'Also overwrite what was destroyed: a new root key, then a new file for the store. In the query or the body.',
};
const ERASE_HELP =
  'Destroyed data is gone from the API at once; free pages of the store keep its ciphertext. With erase=true the box makes a new root and data key, moves every row to them, forgets the old ones, writes the rows into a new file, and overwrites and removes the old one: gone from the medium as far as it obeys (flash may keep remnants that a slot of today could open; only destroying the slots ends that). It is done behind the requests and after a restart too; reading this path says how far it is. It needs as much free disk as the store takes, and half as much again.';

function operatorOperations({ keys }: KeyOperationParts): Operation[] {
  const rotate = async ({ fields }: OperationContext): Promise<undefined> => {
    if (fields['erase'] === true) await keys().erase();
    else await keys().rotate();
  };
  return [
    {
      name: 'rotate',
      pattern: 'rotate',
      verb: 'write',
      sudo: true,
      summary: 'Seal with a new data key from now on; rows move to it behind the requests.',
      description: ERASE_HELP,
      fields: { erase: ERASE },
      fieldsInQuery: ['erase'],
      run: rotate,
    },
    {
      name: 'rotate-keyring',
      pattern: 'rotate/keyring',
      verb: 'write',
      sudo: true,
      summary: 'As sys/rotate.',
      description: ERASE_HELP,
      fields: { erase: ERASE },
      fieldsInQuery: ['erase'],
      run: rotate,
    },
    {
      name: 'rotation-status',
      pattern: 'rotate',
      verb: 'read',
      sudo: true,
      summary:
        'Whether rows still move to the newest data key, which older ones may be in use, and how far an erase is.',
      fields: {},
      run: () => {
        const { running, moved, epochs, erase } = keys().progress();
        return { data: { running, moved, older_terms: epochs, erase } };
      },
    },
  ];
}

/**
 * Needs no token but the shares, and the setting that says that they are answered here. The nonce is told to who began the
 * attempt and to who names it: whoever could read it could cancel it.
 */
function quorumOperations({ keys, ceremonies }: KeyOperationParts): Operation[] {
  const on = <T>(work: (context: OperationContext) => T): ((context: OperationContext) => T) => {
    return (context) => {
      if (!ceremonies) {
        throw new Fault(
          'operation.unsupported',
          'rekey and generate-root are off on this box: set seal.ceremonies to "on" in holdfast.json and start it again',
        );
      }
      return work(context);
    };
  };
  const rekeyStatus = (): ValueMap => {
    const { nonce, started, t, n, progress, required } = keys().rekeyStatus();
    return {
      ...{ nonce, started, t, n, progress, required },
      pgp_fingerprints: null,
      backup: false,
      verification_required: false,
    };
  };
  const rootStatus = (more: ValueMap = {}): ValueMap => {
    const { nonce, started, progress, required, otpLength }: CeremonyStatus & { readonly otpLength: number } =
      keys().rootStatus();
    return {
      ...{ nonce, started, progress, required, complete: false },
      encoded_token: '',
      encoded_root_token: '',
      pgp_fingerprint: '',
      otp: '',
      otp_length: otpLength,
      ...more,
    };
  };
  const refusePgp = (context: OperationContext, ...names: readonly string[]): void => {
    for (const name of names) {
      const value = context.fields[name];
      const given = Array.isArray(value) ? value.length > 0 : value !== undefined && value !== '' && value !== false;
      if (given) throw new Fault('input.invalid', `${name} is not taken: shares and tokens are answered over TLS`);
    }
  };
  return [
    {
      name: 'rekey-status',
      pattern: 'rekey/init',
      verb: 'read',
      open: true,
      summary: 'The rekey under way.',
      fields: {},
      run: on(() => raw({ ...rekeyStatus(), nonce: '' })),
    },
    {
      name: 'rekey-start',
      pattern: 'rekey/init',
      verb: 'write',
      open: true,
      summary: 'Begin to replace the recovery shares.',
      fields: {
        secret_shares: { type: 'int', description: 'How many new shares.' },
        secret_threshold: { type: 'int', description: 'How many of them open the box.' },
        pgp_keys: { type: 'strings', description: 'Not taken.' },
        backup: { type: 'bool', description: 'Not taken.' },
        require_verification: { type: 'bool', description: 'Not taken.' },
      },
      run: on((context) => {
        refusePgp(context, 'pgp_keys', 'backup', 'require_verification');
        keys().startRekey(
          Number(context.fields['secret_shares'] ?? 0),
          Number(context.fields['secret_threshold'] ?? 0),
        );
        return raw(rekeyStatus());
      }),
    },
    {
      name: 'rekey-cancel',
      pattern: 'rekey/init',
      verb: 'delete',
      open: true,
      summary: 'Give the rekey up. Needs its nonce.',
      fields: { nonce: NONCE },
      run: on((context) => {
        keys().cancelRekey(text(context, 'nonce'));
        return undefined;
      }),
    },
    {
      name: 'rekey-update',
      pattern: 'rekey/update',
      verb: 'write',
      open: true,
      summary: 'Give one of the present shares; the last one brings the new shares, once.',
      fields: { key: SHARE, nonce: NONCE },
      run: on(async (context) => {
        const share = shareOf(context);
        const { nonce } = keys().rekeyStatus();
        const made = await keys().offerRekey(share, text(context, 'nonce'));
        if (made === undefined) return raw(rekeyStatus());
        const bytes = made.map((one) => Buffer.from(one.bytes));
        const json = {
          nonce,
          complete: true,
          keys: bytes.map((one) => one.toString('hex')),
          keys_base64: bytes.map((one) => one.toString('base64')),
          pgp_fingerprints: null,
          backup: false,
          verification_required: false,
        };
        for (const one of made) one[Symbol.dispose]();
        for (const one of bytes) one.fill(0);
        return raw(json);
      }),
    },
    {
      name: 'generate-root-status',
      pattern: 'generate-root/attempt',
      verb: 'read',
      open: true,
      summary: 'The generation of a root token under way.',
      fields: {},
      run: on(() => raw(rootStatus({ nonce: '' }))),
    },
    {
      name: 'generate-root-start',
      pattern: 'generate-root/attempt',
      verb: 'write',
      open: true,
      summary: 'Begin to make a root token by the recovery shares. The pad that it comes under is shown this once.',
      fields: {
        otp: { type: 'string', description: '28 letters and digits; made here if absent.', secret: true },
        pgp_key: { type: 'string', description: 'Not taken.' },
      },
      run: on((context) => {
        refusePgp(context, 'pgp_key');
        const otp = keys().startRoot(text(context, 'otp'));
        return raw(rootStatus(otp === undefined ? {} : { otp }));
      }),
    },
    {
      name: 'generate-root-cancel',
      pattern: 'generate-root/attempt',
      verb: 'delete',
      open: true,
      summary: 'Give the generation up. Needs its nonce.',
      fields: { nonce: NONCE },
      run: on((context) => {
        keys().cancelRoot(text(context, 'nonce'));
        return undefined;
      }),
    },
    {
      name: 'generate-root-update',
      pattern: 'generate-root/update',
      verb: 'write',
      open: true,
      summary: 'Give one share; the last one brings the token, under the pad.',
      fields: { key: SHARE, nonce: NONCE },
      run: on(async (context) => {
        const share = shareOf(context);
        const { nonce, required } = keys().rootStatus();
        const token = await keys().offerRoot(share, text(context, 'nonce'));
        if (token === undefined) return raw(rootStatus());
        return raw(
          rootStatus({
            nonce,
            started: true,
            progress: required,
            complete: true,
            encoded_token: token,
            encoded_root_token: token,
          }),
        );
      }),
    },
  ];
}

export function keyOperations(parts: KeyOperationParts): readonly Operation[] {
  return [
    ...operatorOperations(parts),
    ...slotOperations(parts.keys),
    ...tpmOperations(parts.keys),
    ...quorumOperations(parts),
  ];
}
