/** Client certificates by an authority that a role's credential_config holds. The library is loaded when one is made. */
import { createPrivateKey, generateKeyPair, type KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import type { X509CertificateCreateParamsBase as CreateParams } from '@peculiar/x509';
import { Fault } from '../../fault.ts';

export const KEY_TYPES = ['rsa', 'ec', 'ed25519'] as const;
const BITS: Readonly<Record<(typeof KEY_TYPES)[number], readonly string[]>> = {
  rsa: ['2048', '3072', '4096'],
  ec: ['256', '384', '521'],
  ed25519: ['256'],
};
const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };
const CURVE_OF_BITS: Readonly<Record<string, string>> = { '256': 'prime256v1', '384': 'secp384r1', '521': 'secp521r1' };
const SIGNATURE_BITS = ['256', '384', '512'];
/** Clients and servers whose clocks run behind must not find it not valid yet. */
const BACKDATED_MS = 30_000;
const NAME = '{{username}}';

export type AuthoritySettings = Readonly<Record<string, string>>;

export interface ClientCertificate {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** The subject is `CN=<commonName>` and nothing else. */
  readonly commonName: string;
}

/** @param expireWallMs  the certificate's end */
export type CertificateMaker = (
  settings: AuthoritySettings,
  username: string,
  expireWallMs: number,
) => Promise<ClientCertificate>;

/** What the maker takes from the system. */
export interface CertificateParts<Moment> {
  readonly wallMs: () => number;
  readonly date: (ms: number) => Moment;
  readonly randomBytes: (length: number) => Uint8Array;
}

const refuse = (sentence: string): never => {
  throw new Fault('input.invalid', `invalid credential_config: ${sentence}`);
};

function keyType(settings: AuthoritySettings): (typeof KEY_TYPES)[number] {
  const { key_type: type = 'rsa' } = settings;
  return KEY_TYPES.find((one) => one === type) ?? refuse(`key_type is one of ${KEY_TYPES.join(', ')}`);
}

/** @throws Fault `input.invalid` no authority, a key that is not its own, or an unknown kind of key */
export function checkAuthority(settings: AuthoritySettings): void {
  const { ca_cert: certificatePem, ca_private_key: keyPem, signature_bits: signature = '256' } = settings;
  const type = keyType(settings);
  const bits = settings['key_bits'] ?? BITS[type][0] ?? '';
  if (!BITS[type].includes(bits)) refuse(`key_bits of ${type} is one of ${BITS[type].join(', ')}`);
  if (!SIGNATURE_BITS.includes(signature)) refuse(`signature_bits is one of ${SIGNATURE_BITS.join(', ')}`);
  const template = settings['common_name_template'] ?? NAME;
  if (!template.includes(NAME) || template.length > 64 || /[^\w{}.@ -]/.test(template))
    refuse(
      `common_name_template holds ${NAME} among letters, digits, dots and dashes: else logins could not be told apart`,
    );
  if (certificatePem === undefined || keyPem === undefined)
    throw new Fault('input.invalid', 'client_certificate needs ca_cert and ca_private_key in credential_config');
  if (!signs(certificatePem, keyPem))
    refuse('ca_cert is the certificate of an authority and ca_private_key its own key, both in PEM');
}

function signs(certificatePem: string, keyPem: string): boolean {
  try {
    const certificate = new X509Certificate(certificatePem);
    return certificate.ca && certificate.checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    // Neither says more than that it is not PEM, and quotes what it was given.
    return false;
  }
}

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const pairOf = promisify(generateKeyPair);

function newKeys(settings: AuthoritySettings): Promise<Pair> {
  const type = keyType(settings);
  const bits = settings['key_bits'] ?? BITS[type][0] ?? '';
  if (type === 'rsa') return pairOf('rsa', { modulusLength: Number(bits) });
  if (type === 'ed25519') return pairOf('ed25519');
  return pairOf('ec', { namedCurve: CURVE_OF_BITS[bits] ?? '' });
}

/** How a key signs, and its public half as the Web Cryptography API names it. */
function algorithmOf(key: KeyObject, signatureBits: string) {
  const hash = `SHA-${signatureBits}`;
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return { name: 'RSASSA-PKCS1-v1_5', hash };
    case 'ec':
      return { name: 'ECDSA', namedCurve: CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? '', hash };
    case 'ed25519':
      return { name: 'Ed25519' };
    default:
      return refuse('ca_private_key is an RSA, EC or Ed25519 key');
  }
}

export function certificateMaker<Moment extends NonNullable<CreateParams['notBefore']>>(
  parts: CertificateParts<Moment>,
): CertificateMaker {
  return async (settings, username, expireWallMs) => {
    await import('reflect-metadata');
    const x509 = await import('@peculiar/x509');
    const { ca_cert: authorityPem = '', ca_private_key: authorityKeyPem = '', signature_bits: bits = '256' } = settings;
    const authority = new x509.X509Certificate(authorityPem);
    const authorityKey = createPrivateKey(authorityKeyPem);
    const signing = algorithmOf(authorityKey, bits);
    const { publicKey, privateKey } = await newKeys(settings);
    const commonName = (settings['common_name_template'] ?? NAME).replaceAll(NAME, () => username);
    const serial = Buffer.from(parts.randomBytes(16));
    serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
    const own = algorithmOf(privateKey, bits);
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: serial.toString('hex'),
        subject: new x509.Name([{ CN: [{ utf8String: commonName }] }]),
        issuer: authority.subjectName,
        notBefore: parts.date(parts.wallMs() - BACKDATED_MS),
        notAfter: parts.date(expireWallMs),
        publicKey: await webcrypto.subtle.importKey(
          'spki',
          publicKey.export({ type: 'spki', format: 'der' }),
          own,
          true,
          ['verify'],
        ),
        signingKey: await webcrypto.subtle.importKey(
          'pkcs8',
          authorityKey.export({ type: 'pkcs8', format: 'der' }),
          signing,
          false,
          ['sign'],
        ),
        signingAlgorithm: signing,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
        ],
      },
      webcrypto,
    );
    return {
      certificatePem: `${certificate.toString('pem')}\n`,
      privateKeyPem: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
      commonName,
    };
  };
}
