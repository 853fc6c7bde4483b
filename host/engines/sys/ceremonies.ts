/**
 * sys/rekey, sys/generate-root: what the recovery quorum does together. Needs no token but the shares, and the setting that
 * says that they are answered here. The nonce is told to who began the attempt and to who names it: whoever could read it
 * could cancel it. A token with sudo on the path cancels without it.
 */
import { Fault } from '../../fault.ts';
import type { KeyService, SharesMade } from '../../ports/appliance.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';
import { Secret } from '../../secret.ts';

export interface CeremonyParts {
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

type Switch = <T>(work: (context: OperationContext) => T) => (context: OperationContext) => T;

function switched(ceremonies: boolean): Switch {
  return (work) => (context) => {
    if (!ceremonies) {
      throw new Fault(
        'operation.unsupported',
        'rekey and generate-root are off on this box: set seal.ceremonies to "on" in holdfast.json and start it again',
      );
    }
    return work(context);
  };
}

function refusePgp(context: OperationContext, ...names: readonly string[]): void {
  for (const name of names) {
    const value = context.fields[name];
    const given = Array.isArray(value) ? value.length > 0 : value !== undefined && value !== '' && value !== false;
    if (given) throw new Fault('input.invalid', `${name} is not taken: shares and tokens are answered over TLS`);
  }
}

/** One path, two ways to be allowed: who names the attempt needs no token, who brings one with sudo does not name it. */
function cancelOperations(
  on: Switch,
  { name, pattern, summary }: Pick<Operation, 'name' | 'pattern' | 'summary'>,
  cancel: (nonce: string | undefined) => Answer | undefined,
): readonly Operation[] {
  return [
    {
      ...{ name, pattern, verb: 'delete', open: true, fields: { nonce: NONCE } },
      summary: `${summary} Needs its nonce, or a token with sudo.`,
      run: on((context) => cancel(text(context, 'nonce'))),
    },
    {
      ...{ name: `${name}-by-token`, pattern, verb: 'delete', sudo: true, fields: {} },
      insteadOfOpen: { without: 'nonce' },
      summary: `${summary} By a token with sudo.`,
      run: on(() => cancel(undefined)),
    },
  ];
}

/** The shares as an answer has them; they are wiped. */
function shown({ shares, verificationNonce }: SharesMade, nonce: string): Answer {
  const bytes = shares.map((one) => Buffer.from(one.bytes));
  const json = {
    nonce,
    complete: true,
    keys: bytes.map((one) => one.toString('hex')),
    keys_base64: bytes.map((one) => one.toString('base64')),
    pgp_fingerprints: null,
    backup: false,
    verification_required: verificationNonce !== undefined,
    ...(verificationNonce === undefined ? {} : { verification_nonce: verificationNonce }),
  };
  for (const one of shares) one[Symbol.dispose]();
  for (const one of bytes) one.fill(0);
  return raw(json);
}

function rekeyOperations(keys: () => KeyService, on: Switch): readonly Operation[] {
  const status = (): ValueMap => {
    const { nonce, started, t, n, progress, required, verify } = keys().rekeyStatus();
    return {
      ...{ nonce, started, t, n, progress, required },
      ...{ pgp_fingerprints: null, backup: false, verification_required: verify },
    };
  };
  const verification = (): ValueMap => {
    const { nonce, started, t, n, progress } = keys().verificationStatus();
    return { nonce, started, t, n, progress };
  };
  return [
    {
      name: 'rekey-status',
      pattern: 'rekey/init',
      verb: 'read',
      open: true,
      summary: 'The rekey under way.',
      fields: {},
      run: on(() => raw({ ...status(), nonce: '' })),
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
        require_verification: {
          type: 'bool',
          description: 'The old shares stay in force until a threshold of the new ones is given to sys/rekey/verify.',
        },
      },
      run: on((context) => {
        refusePgp(context, 'pgp_keys', 'backup');
        keys().startRekey({
          shares: Number(context.fields['secret_shares'] ?? 0),
          threshold: Number(context.fields['secret_threshold'] ?? 0),
          verify: context.fields['require_verification'] === true,
        });
        return raw(status());
      }),
    },
    ...cancelOperations(
      on,
      { name: 'rekey-cancel', pattern: 'rekey/init', summary: 'Give the rekey up; the old shares stay.' },
      (nonce) => {
        keys().cancelRekey(nonce);
        return undefined;
      },
    ),
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
        return made === undefined ? raw(status()) : shown(made, nonce);
      }),
    },
    {
      name: 'rekey-verification-status',
      pattern: 'rekey/verify',
      verb: 'read',
      open: true,
      summary: 'How many of the new shares were given back.',
      fields: {},
      run: on(() => raw({ ...verification(), nonce: '' })),
    },
    {
      name: 'rekey-verify',
      pattern: 'rekey/verify',
      verb: 'write',
      open: true,
      summary: 'Give one of the new shares back; the threshold of them puts them in force.',
      fields: {
        key: SHARE,
        nonce: { type: 'string', description: 'Nonce of the verification: told with the shares.' },
      },
      run: on(async (context) => {
        const share = shareOf(context);
        const nonce = text(context, 'nonce');
        return raw((await keys().offerVerification(share, nonce)) ? { nonce, complete: true } : verification());
      }),
    },
    ...cancelOperations(
      on,
      { name: 'rekey-verification-restart', pattern: 'rekey/verify', summary: 'Collect the new shares from nothing.' },
      (nonce) => {
        keys().restartVerification(nonce);
        return raw(verification());
      },
    ),
  ];
}

function rootOperations(keys: () => KeyService, on: Switch): readonly Operation[] {
  const status = (more: ValueMap = {}): ValueMap => {
    const { nonce, started, progress, required, otpLength } = keys().rootStatus();
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
  return [
    {
      name: 'generate-root-status',
      pattern: 'generate-root/attempt',
      verb: 'read',
      open: true,
      summary: 'The generation of a root token under way.',
      fields: {},
      run: on(() => raw(status({ nonce: '' }))),
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
        return raw(status(otp === undefined ? {} : { otp }));
      }),
    },
    ...cancelOperations(
      on,
      { name: 'generate-root-cancel', pattern: 'generate-root/attempt', summary: 'Give the generation up.' },
      (nonce) => {
        keys().cancelRoot(nonce);
        return undefined;
      },
    ),
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
        if (token === undefined) return raw(status());
        return raw(
          status({
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

export function ceremonyOperations({ keys, ceremonies }: CeremonyParts): readonly Operation[] {
  const on = switched(ceremonies);
  return [...rekeyOperations(keys, on), ...rootOperations(keys, on)];
}
