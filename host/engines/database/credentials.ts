/** What a login proves itself with: passwords, RSA keys, client certificates, and what of them is answered. */
import { createPublicKey, generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { Fault } from '../../fault.ts';
import type { CredentialType, Database, DatabaseAdapter, LoginCredential } from '../../ports/database.ts';
import type { PasswordSource } from '../../ports/passwords.ts';
import type { ValueMap } from '../../ports/value.ts';
import { Secret } from '../../secret.ts';
import { type CertificateMaker, checkAuthority, KEY_TYPES } from './certificate.ts';
import type { CredentialConfig } from './records.ts';

const TYPES: readonly CredentialType[] = ['password', 'rsa_private_key', 'client_certificate'];
const RSA_BITS = ['2048', '3072', '4096'];
const SETTINGS: Readonly<Record<CredentialType, readonly string[]>> = {
  password: ['password_policy'],
  rsa_private_key: ['key_bits', 'format'],
  client_certificate: ['common_name_template', 'ca_cert', 'ca_private_key', 'key_type', 'key_bits', 'signature_bits'],
};
/** Of credential_config; shown by no read. */
const HIDDEN = ['ca_private_key'];

const refuse = (sentence: string): never => {
  throw new Fault('input.invalid', sentence);
};

/** @throws Fault `input.invalid` a type that is unknown, or settings that are not of it */
export function parseCredential(type: string, settings: ValueMap): CredentialConfig {
  const found =
    TYPES.find((one) => one === type) ?? refuse(`invalid credential_type: it is one of ${TYPES.join(', ')}`);
  const known = SETTINGS[found];
  const texts: [string, string][] = [];
  for (const [name, value] of Object.entries(settings)) {
    if (!known.includes(name)) refuse(`invalid credential_config: ${found} takes ${known.join(', ')}`);
    if (typeof value !== 'string' && typeof value !== 'number')
      return refuse(`invalid credential_config: ${name} is a text`);
    if (value !== '') texts.push([name, String(value)]);
  }
  const config: CredentialConfig = { type: found, settings: Object.fromEntries(texts) };
  if (found === 'rsa_private_key') checkRsa(config);
  if (found === 'client_certificate') checkAuthority(config.settings);
  return config;
}

function checkRsa({ settings }: CredentialConfig): void {
  const { key_bits: bits = '2048', format = 'pkcs8' } = settings;
  if (!RSA_BITS.includes(bits)) refuse(`invalid credential_config: key_bits is one of ${RSA_BITS.join(', ')}`);
  if (format !== 'pkcs8') refuse('invalid credential_config: format is pkcs8');
}

/** @throws Fault `input.invalid` the server takes no credentials of that type */
export function checkTaken(adapter: DatabaseAdapter, { type }: CredentialConfig): void {
  if (adapter.credentialTypes.includes(type)) return;
  refuse(`${adapter.plugin} takes no credential_type ${type}: it takes ${adapter.credentialTypes.join(', ')}`);
}

export function shownSettings({ settings }: CredentialConfig): ValueMap | undefined {
  const shown = Object.entries(settings).filter(([name]) => !HIDDEN.includes(name));
  return shown.length === 0 ? undefined : Object.fromEntries(shown);
}

/** A new credential: what the server gets, what is kept of it, and what is answered. */
export interface MadeCredential {
  readonly login: LoginCredential;
  /** A password or a private key in PEM. */
  readonly secret: string;
  readonly data: ValueMap;
}

export interface CredentialSource {
  /** By the name of a password policy; '' the default. */
  readonly passwords: (policy: string) => Promise<PasswordSource>;
  readonly certificate: CertificateMaker;
}

export interface CredentialWish {
  readonly config: CredentialConfig;
  /** Of the connection; the role's own wins. */
  readonly passwordPolicy: string;
  readonly username: string;
  /** Wall time, ms, until which a certificate is good. */
  readonly expireWallMs: number;
}

const pairOf = promisify(generateKeyPair);

/** Of the role, or else of its connection. */
export function passwordsOf(
  source: CredentialSource,
  { config, passwordPolicy }: Pick<CredentialWish, 'config' | 'passwordPolicy'>,
): Promise<PasswordSource> {
  return source.passwords(config.settings['password_policy'] ?? passwordPolicy);
}

const passwordCredential = (password: string): MadeCredential => ({
  login: passwordLogin(password),
  secret: password,
  data: { password },
});

/** A password that is there before its login is asked for, its hash begun. Wiped when it is disposed of. */
export class PreparedPassword implements Disposable {
  readonly credential: MadeCredential;

  constructor(password: string, database: Database) {
    this.credential = passwordCredential(password);
    database.prepare?.(this.credential.login);
  }

  [Symbol.dispose](): void {
    const { login } = this.credential;
    if (login.type === 'password') login.password[Symbol.dispose]();
  }
}

/** @throws Fault `input.invalid` a policy that is not there, an authority that does not sign */
export async function makeCredential(source: CredentialSource, wish: CredentialWish): Promise<MadeCredential> {
  const { config } = wish;
  switch (config.type) {
    case 'password':
      return passwordCredential((await passwordsOf(source, wish)).draw());
    case 'rsa_private_key': {
      const { publicKey, privateKey } = await pairOf('rsa', {
        modulusLength: Number(config.settings['key_bits'] ?? '2048'),
        publicKeyEncoding: { type: 'spki', format: 'pem' },
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      });
      return {
        login: { type: 'rsa_private_key', publicKeyPem: publicKey },
        secret: privateKey,
        data: { rsa_private_key: privateKey },
      };
    }
    case 'client_certificate': {
      const made = await source.certificate(config.settings, wish.username, wish.expireWallMs);
      return {
        login: { type: 'client_certificate', commonName: made.commonName },
        secret: made.privateKeyPem,
        data: {
          client_certificate: made.certificatePem,
          private_key: made.privateKeyPem,
          private_key_type: config.settings['key_type'] ?? KEY_TYPES[0],
        },
      };
    }
  }
}

export const passwordLogin = (password: string): LoginCredential => ({
  type: 'password',
  password: new Secret(Buffer.from(password)),
});

/** What the server gets for a stored secret of a static role. */
export function loginOf(type: CredentialType, secret: string): LoginCredential {
  if (type !== 'rsa_private_key') return passwordLogin(secret);
  const publicKeyPem = String(createPublicKey(secret).export({ type: 'spki', format: 'pem' }));
  return { type, publicKeyPem };
}
