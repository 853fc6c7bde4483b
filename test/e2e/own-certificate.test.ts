/** A server with a certificate that its operator brought: what it shows, to whom, and what it says of a pair that is none. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Home, type RunningServer, send } from './server.ts';

const home = new Home();
const at = (name: string): string => join(home.folder, name);
let server: RunningServer;

/** A pair for 127.0.0.1, signed by itself. */
function makePair(name: string, ...keyOptions: readonly string[]): void {
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', ...keyOptions, '-nodes', '-days', '30', '-subj', `/CN=${name}`],
      ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', at(`${name}.key`), '-out', at(`${name}.pem`)],
    ],
    { stdio: 'ignore' },
  );
}

beforeAll(async () => {
  makePair('ours', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1');
  makePair('theirs', 'rsa:2048');
  server = await home.start(['--init', `--tls-cert=${at('ours.pem')}`, `--tls-key=${at('ours.key')}`]);
});
afterAll(() => home.close());

const certificate = (name: string): string => readFileSync(at(`${name}.pem`), 'utf8');

/** Name in the certificate that the server shows. */
function shownBy(address: string): Promise<string> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), ca: certificate('ours') }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

describe('holdfast server --tls-cert --tls-key', () => {
  test('shows that certificate, answers who trusts it, and makes no authority of its own', async () => {
    expect(server.address).toMatch(/^https:/);
    expect(await shownBy(server.address)).toBe('ours');
    const health = await send(server.address, certificate('ours'), 'GET', '/v1/sys/health', {}, undefined);
    expect([health.status, health.json?.['sealed']]).toEqual([200, false]);
    await expect(send(server.address, certificate('theirs'), 'GET', '/v1/sys/health', {}, undefined)).rejects.toThrow();
    expect(existsSync(join(home.config, 'ca.pem'))).toBe(false);
    expect(existsSync(join(home.config, 'tls'))).toBe(false);
  });

  test('the command line reaches it by that authority', () => {
    const line = ['host/cli/holdfast.mjs', 'status', `-address=${server.address}`, `-ca-cert=${at('ours.pem')}`];
    expect(execFileSync(process.execPath, line, { env: home.variables, encoding: 'utf8' })).toMatch(/Sealed\s+false/);
  });

  test('a key of RSA by the environment, after a restart, opens the same box', async () => {
    await server.stop();
    server = await home.start([], {
      HOLDFAST_TLS_CERT: at('theirs.pem'),
      HOLDFAST_TLS_KEY: at('theirs.key'),
    });
    const token = { 'X-Vault-Token': home.read('root-token') };
    const self = await send(
      server.address,
      certificate('theirs'),
      'GET',
      '/v1/auth/token/lookup-self',
      token,
      undefined,
    );
    expect(self.status).toBe(200);
    await server.stop();
  });

  test.each([
    ['the key of another certificate', 'theirs.key'],
    ['a certificate where the key belongs', 'ours.pem'],
    ['a file that is empty', 'empty.key'],
  ])('%s is a sentence that names both files, and no content', async (_what, key) => {
    writeFileSync(at('empty.key'), '');
    const refused = home.spawn([`--tls-cert=${at('ours.pem')}`, `--tls-key=${at(key)}`]);
    expect(await refused.ended).toBe(1);
    expect(refused.stdout).toBe('');
    expect(refused.stderr).toBe(
      `holdfast: ${at(key)} is not the key of the certificate in ${at('ours.pem')}, or one of them is no PEM\n`,
    );
  });

  test('a file that is not there is named', async () => {
    const refused = home.spawn([`--tls-cert=${at('ours.pem')}`, `--tls-key=${at('none.key')}`]);
    expect(await refused.ended).toBe(1);
    expect(refused.stderr).toBe(`holdfast: ${at('none.key')} cannot be read\n`);
  });
});
