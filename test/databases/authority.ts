/** A certificate authority for a test, and what it signs: ECDSA P-256, valid from yesterday for a year. */
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

export interface CertificateAndKey {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export class Authority {
  readonly #certificate: X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;

  private constructor(certificate: X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
  }

  static async make(name: string): Promise<Authority> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned(
      {
        ...times(),
        name: `CN=${name}`,
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
    return new Authority(certificate, keys);
  }

  get certificatePem(): string {
    return `${this.#certificate.toString('pem')}\n`;
  }

  /** Its own key: what signs for it elsewhere. */
  keyPem(): Promise<string> {
    return privatePem(this.#keys.privateKey);
  }

  /** @param names  host names and addresses that it is good for */
  server(names: readonly string[]): Promise<CertificateAndKey> {
    const alternatives = names.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }));
    return this.#issue('CN=database', ExtendedKeyUsage.serverAuth, [new SubjectAlternativeNameExtension(alternatives)]);
  }

  /** @param subject  a distinguished name: `CN=alice` */
  client(subject: string): Promise<CertificateAndKey> {
    return this.#issue(subject, ExtendedKeyUsage.clientAuth, []);
  }

  async #issue(
    subject: string,
    usage: ExtendedKeyUsage,
    more: readonly SubjectAlternativeNameExtension[],
  ): Promise<CertificateAndKey> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.create(
      {
        ...times(),
        subject,
        issuer: this.#certificate.subjectName,
        publicKey: keys.publicKey,
        signingKey: this.#keys.privateKey,
        signingAlgorithm: ALGORITHM,
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new ExtendedKeyUsageExtension([usage]),
          ...more,
        ],
      },
      webcrypto,
    );
    return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: await privatePem(keys.privateKey) };
  }
}

function times() {
  const now = Date.now();
  return {
    serialNumber: `01${randomBytes(15).toString('hex')}`,
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + 365 * DAY_MS),
  };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}/g, '$&\n').trim()}\n-----END PRIVATE KEY-----\n`;
}
