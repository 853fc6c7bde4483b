/**
 * A certificate authority of the box's own and a server certificate by it, for boxes that were given none. Both are
 * ECDSA P-256; the authority signs nothing else. Loaded only when a certificate has to be made: its library is large.
 */
import 'reflect-metadata';
import { createPrivateKey, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate as PeculiarCertificate,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509CertificateCreateParamsBase,
  X509CertificateGenerator,
} from '@peculiar/x509';

type Moment = NonNullable<X509CertificateCreateParamsBase['notBefore']>;

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3650;
/** What browsers and operating systems accept of a server. */
const SERVER_DAYS = 397;
/** Clients whose clocks run behind must not find it not valid yet. */
const BACKDATED_DAYS = 1;
const SERIAL_SIZE = 16;

export interface CertificateOptions {
  /** Names and addresses that clients may use. */
  readonly names: readonly string[];
  /** Wall time, milliseconds. */
  readonly nowMs: number;
  readonly date: (ms: number) => Moment;
  readonly randomBytes: (length: number) => Uint8Array;
}

export interface CertificateAndKey {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export async function makeAuthority(options: Omit<CertificateOptions, 'names'>): Promise<CertificateAndKey> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial(options),
      name: `CN=Holdfast ${Buffer.from(options.randomBytes(4)).toString('hex')}`,
      ...validity(options, AUTHORITY_DAYS),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certificatePem: pem(certificate), keyPem: await privatePem(keys.privateKey) };
}

export async function makeServerCertificate(
  authority: CertificateAndKey,
  options: CertificateOptions,
): Promise<CertificateAndKey> {
  const issuer = new PeculiarCertificate(authority.certificatePem);
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: serial(options),
      subject: 'CN=Holdfast',
      issuer: issuer.subjectName,
      ...validity(options, SERVER_DAYS),
      publicKey: keys.publicKey,
      signingKey: await importKey(authority.keyPem),
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension(
          options.names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
        ),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certificatePem: pem(certificate), keyPem: await privatePem(keys.privateKey) };
}

function validity({ nowMs, date }: Omit<CertificateOptions, 'names'>, days: number) {
  return { notBefore: date(nowMs - BACKDATED_DAYS * DAY_MS), notAfter: date(nowMs + days * DAY_MS) };
}

/** Positive and without leading zeros, as RFC 5280 section 4.1.2.2 has it. */
function serial({ randomBytes }: Omit<CertificateOptions, 'names'>): string {
  const bytes = Buffer.from(randomBytes(SERIAL_SIZE));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

function newKeys() {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  try {
    return String(
      createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ format: 'pem', type: 'pkcs8' }),
    );
  } finally {
    der.fill(0);
  }
}

function importKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(keyPem).export({ format: 'der', type: 'pkcs8' });
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']).finally(() => der.fill(0));
}

const pem = (certificate: PeculiarCertificate): string => `${certificate.toString('pem')}\n`;
