/** The certificate that the listeners show: the operator's own, or one by an authority that the box made for itself. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { Fault } from '../fault.ts';
import type { CertificateAndKey, CertificateOptions } from './certificates.ts';

export type { CertificateAndKey } from './certificates.ts';

export interface TlsOptions extends CertificateOptions {
  /** The configuration folder: `ca.pem` for clients, everything else below `tls/`. */
  readonly folder: string;
  /** Milliseconds of a date as node:crypto writes it in `validTo`. */
  readonly parseMs: (text: string) => number;
}

/** A server certificate is renewed at a start that finds less time left than this. */
const RENEW_BEFORE_MS = 130 * 86_400_000;

/** @throws Fault `input.invalid` naming the file, never its content */
export function readOwnCertificate(certificateFile: string, keyFile: string): CertificateAndKey {
  const read = (file: string): string => {
    try {
      return readFileSync(file, 'latin1');
    } catch (error) {
      throw new Fault('input.invalid', `${file} cannot be read`, { cause: error });
    }
  };
  const pair = { certificatePem: read(certificateFile), keyPem: read(keyFile) };
  if (certificateOf(pair) !== undefined) return pair;
  throw new Fault(
    'input.invalid',
    `${keyFile} is not the key of the certificate in ${certificateFile}, or one of them is no PEM`,
  );
}

/** Reads the box's own certificate; makes it, and its authority, where there is none that still serves. */
export async function ownAuthority(options: TlsOptions): Promise<CertificateAndKey> {
  const { folder } = options;
  const files = {
    authority: join(folder, 'ca.pem'),
    authorityKey: join(folder, 'tls', 'ca-key.pem'),
    server: join(folder, 'tls', 'server.pem'),
    serverKey: join(folder, 'tls', 'server-key.pem'),
  };
  const kept = readPair(files.authority, files.authorityKey);
  const server = readPair(files.server, files.serverKey);
  if (kept !== undefined && server !== undefined && serves(server, kept, options)) return server;

  const { makeAuthority, makeServerCertificate } = await import('./certificates.ts');
  mkdirSync(join(folder, 'tls'), { recursive: true, mode: 0o700 });
  const authority = kept !== undefined && lasts(kept, options) ? kept : await makeAuthority(options);
  if (authority !== kept) {
    replace(files.authorityKey, authority.keyPem);
    replace(files.authority, authority.certificatePem);
  }
  const made = await makeServerCertificate(authority, options);
  replace(files.serverKey, made.keyPem);
  replace(files.server, made.certificatePem);
  return made;
}

/** Undefined if the two do not belong together, or are not what they should be. */
function certificateOf(pair: CertificateAndKey): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(pair.certificatePem);
    return certificate.checkPrivateKey(createPrivateKey(pair.keyPem)) ? certificate : undefined;
  } catch {
    return undefined;
  }
}

function readPair(certificateFile: string, keyFile: string): CertificateAndKey | undefined {
  try {
    const pair = {
      certificatePem: readFileSync(certificateFile, 'latin1'),
      keyPem: readFileSync(keyFile, 'latin1'),
    };
    return certificateOf(pair) === undefined ? undefined : pair;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function lasts(pair: CertificateAndKey, { nowMs, parseMs }: TlsOptions): boolean {
  const certificate = certificateOf(pair);
  return certificate !== undefined && parseMs(certificate.validTo) - nowMs > RENEW_BEFORE_MS;
}

function serves(server: CertificateAndKey, authority: CertificateAndKey, options: TlsOptions): boolean {
  const certificate = certificateOf(server);
  const issuer = certificateOf(authority);
  if (certificate === undefined || issuer === undefined || !lasts(server, options)) return false;
  if (!certificate.verify(issuer.publicKey)) return false;
  return options.names.every((name) =>
    isIP(name) === 0 ? certificate.checkHost(name) !== undefined : certificate.checkIP(name) !== undefined,
  );
}

/** The old file or the new one after a power cut, mode 0600. */
function replace(path: string, text: string): void {
  const draft = `${path}.new`;
  rmSync(draft, { force: true });
  const descriptor = openSync(draft, 'wx', 0o600);
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(draft, path);
}
