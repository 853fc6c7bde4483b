import { randomBytes, X509Certificate } from 'node:crypto';
import { chmodSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ownAuthority, readOwnCertificate, type TlsOptions } from '../../../host/api/tls.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-tls-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const DAY_MS = 86_400_000;
const NOW = Date.now();
const NAMES = ['localhost', '127.0.0.1', '::1'];

let made = 0;
const options = (changes: Partial<TlsOptions> = {}): TlsOptions => ({
  folder: join(scratch, String(made++)),
  names: NAMES,
  nowMs: NOW,
  date: (ms) => new Date(ms),
  parseMs: (text) => Date.parse(text),
  randomBytes: (length) => randomBytes(length),
  ...changes,
});

/** What a client that trusts only `ca` and expects `name` says to the server. */
async function handshake(pair: { certificatePem: string; keyPem: string }, ca: string, name: string): Promise<string> {
  const server = createServer({ cert: pair.certificatePem, key: pair.keyPem }, (socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  try {
    return await new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port, ca, servername: name.includes('local') ? name : '' }, () => {
        resolve(socket.authorized ? 'authorised' : String(socket.authorizationError));
        socket.destroy();
      });
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  } finally {
    server.close();
  }
}

describe("the box's own authority", () => {
  const first = options();
  let pair: Awaited<ReturnType<typeof ownAuthority>>;
  beforeAll(async () => {
    pair = await ownAuthority(first);
  });
  const ca = () => readFileSync(join(first.folder, 'ca.pem'), 'latin1');

  test('a client that has ca.pem is let in, one that has another is not', async () => {
    expect(await handshake(pair, ca(), 'localhost')).toBe('authorised');
    const other = options();
    await ownAuthority(other);
    const refusal = await handshake(pair, readFileSync(join(other.folder, 'ca.pem'), 'latin1'), 'localhost');
    expect(refusal).not.toBe('authorised');
  });

  test('the certificate names what clients may use, and is for servers only', () => {
    const certificate = new X509Certificate(pair.certificatePem);
    for (const name of NAMES.slice(1)) expect(certificate.checkIP(name)).toBe(name);
    expect(certificate.checkHost('localhost')).toBe('localhost');
    expect(certificate.checkIP('10.0.0.1')).toBeUndefined();
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(Date.parse(certificate.validTo) - NOW).toBeLessThanOrEqual(398 * DAY_MS);
    const authority = new X509Certificate(ca());
    expect(authority.ca).toBe(true);
    expect(certificate.checkIssued(authority)).toBe(true);
    expect(authority.verify(authority.publicKey)).toBe(true);
  });

  test('is kept: a second start shows the same certificate', async () => {
    expect(await ownAuthority(first)).toEqual(pair);
  });

  test('keys are for the owner alone, and no draft is left', () => {
    const folder = join(first.folder, 'tls');
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readdirSync(folder).length).toBe(3);
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  });

  test('a new name or a near end renews the certificate, not the authority', async () => {
    const before = ca();
    const named = await ownAuthority({ ...first, names: [...NAMES, '10.1.2.3'] });
    expect(new X509Certificate(named.certificatePem).checkIP('10.1.2.3')).toBe('10.1.2.3');
    const later = await ownAuthority({ ...first, nowMs: NOW + 300 * DAY_MS });
    expect(later).not.toEqual(named);
    expect(ca()).toBe(before);
  });

  test('a certificate whose key was exchanged is made anew', async () => {
    const one = options();
    const good = await ownAuthority(one);
    const stranger = await ownAuthority(options());
    writeFileSync(join(one.folder, 'tls', 'server-key.pem'), stranger.keyPem);
    const again = await ownAuthority(one);
    expect(again).not.toEqual(good);
    expect(await handshake(again, readFileSync(join(one.folder, 'ca.pem'), 'latin1'), 'localhost')).toBe('authorised');
  });
});

describe('an authority that was exchanged', () => {
  test('signs a certificate of its own: the old one is not shown any more', async () => {
    const one = options();
    const other = options();
    const before = await ownAuthority(one);
    await ownAuthority(other);
    for (const name of ['ca.pem', 'tls/ca-key.pem']) cpSync(join(other.folder, name), join(one.folder, name));
    const after = await ownAuthority(one);
    expect(after).not.toEqual(before);
    expect(await handshake(after, readFileSync(join(other.folder, 'ca.pem'), 'latin1'), 'localhost')).toBe(
      'authorised',
    );
  });
});

describe('a certificate of the operator', () => {
  test('is taken with its key, and refused with another', async () => {
    const pair = await ownAuthority(options());
    const other = await ownAuthority(options());
    const [cert, key, wrong, bad] = ['c.pem', 'k.pem', 'w.pem', 'b.pem'].map((name) => join(scratch, name)) as [
      string,
      string,
      string,
      string,
    ];
    writeFileSync(cert, pair.certificatePem);
    writeFileSync(key, pair.keyPem);
    writeFileSync(wrong, other.keyPem);
    writeFileSync(bad, 'canary');
    chmodSync(key, 0o600);
    expect(readOwnCertificate(cert, key)).toEqual(pair);
    for (const [c, k] of [
      [cert, wrong],
      [cert, bad],
      [bad, key],
      [cert, join(scratch, 'none')],
    ] as const) {
      const message = (() => {
        try {
          readOwnCertificate(c, k);
          return '';
        } catch (error) {
          return String(error);
        }
      })();
      expect(message).toMatch(/is not the key|cannot be read/);
      expect(message).not.toContain('canary');
    }
  });
});
