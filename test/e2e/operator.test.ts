/** Keys, shares and slots by the command line on a real box, as an operator does it. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Home } from './server.ts';

const home = new Home();
beforeAll(async () => {
  mkdirSync(home.config, { recursive: true, mode: 0o700 });
  writeFileSync(join(home.config, 'holdfast.json'), JSON.stringify({ seal: { ceremonies: 'on' } }), { mode: 0o600 });
  await home.start();
});
afterAll(() => home.close());

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}
function holdfast(args: string, input = ''): Ran {
  const words = args.split(' ');
  const run = spawnSync(process.execPath, ['host/cli/holdfast.mjs', ...words], {
    env: home.variables,
    input,
    encoding: 'utf8',
  });
  return { code: run.status, out: run.stdout, error: run.stderr };
}
function ok(args: string, input = ''): string {
  const { code, out, error } = holdfast(args, input);
  expect([args, code, error]).toEqual([args, 0, '']);
  return out;
}
const wordAfter = (text: string, name: string): string => new RegExp(`${name}\\s+(\\S+)`).exec(text)?.[1] ?? '';

describe('holdfast operator', () => {
  test('rotates, and says when every row has moved', () => {
    ok('kv put secret/app -', '{"a":"1"}');
    expect(wordAfter(ok('operator rotate'), 'running')).toMatch(/true|false/);
    expect(ok('operator rotate -status')).toContain('older_terms');
    expect(ok('kv get -field=a secret/app')).toBe('1');
  });

  test('erases what was destroyed, and says how far that is', () => {
    const term = (): number => Number(wordAfter(ok('read sys/key-status'), 'term'));
    const before = term();
    expect(ok('operator rotate -erase')).toMatch(/erase\s+(moving|copying|waiting|overwriting|none)/);
    expect(term()).toBe(before + 1);
    expect(ok('kv get -field=a secret/app')).toBe('1');
    // The rows move for as long as a request may hold one: until then it is pending, and the metrics say so.
    const metrics = ok('read sys/metrics');
    for (const name of ['holdfast_erase_pending 1', 'holdfast_old_epochs ', 'holdfast_rewrapped_rows '])
      expect(metrics).toContain(`\n${name}`);
    const policy = JSON.parse(ok('read sys/internal/specs/openapi -format=json'));
    const inQuery = policy.paths['/sys/rotate'].put?.parameters ?? policy.paths['/sys/rotate'].post.parameters;
    expect(inQuery).toContainEqual(expect.objectContaining({ name: 'erase', in: 'query' }));
    expect(ok('operator rotate -help')).toContain('as far as it obeys');
    expect(holdfast('operator rotate -erase -status')).toMatchObject({
      code: 1,
      error: expect.stringContaining('do not go together'),
    });
  });

  /** Those in force, of which two open the box. */
  let shares: readonly string[] = [];

  test('replaces the shares: one begins, the holder gives the old one, the new ones open the box', () => {
    const nonce = wordAfter(ok('operator rekey -init -key-shares=3 -key-threshold=2'), 'Nonce');
    expect(ok('operator rekey -status')).not.toContain(nonce);
    expect(holdfast('operator rekey', home.read('recovery-share'))).toMatchObject({
      code: 1,
      error: expect.stringContaining('-nonce is missing'),
    });
    shares = [
      ...ok(`operator rekey -nonce=${nonce}`, home.read('recovery-share')).matchAll(/^Unseal Key \d: (\S+)$/gm),
    ].map(([, key = '']) => key);
    expect(shares).toHaveLength(3);
    ok('seal');
    expect(holdfast('status').code).toBe(2);
    ok('unseal -', shares[2]);
    expect(ok('unseal -', shares[0])).toMatch(/Sealed\s+false/);
    expect(ok('kv get -field=a secret/app')).toBe('1');
    const started = ok('operator generate-root -init');
    const pad = /One-time pad \(shown this once\): (\S+)/.exec(started)?.[1] ?? '';
    const again = wordAfter(started, 'Nonce');
    ok(`operator generate-root -nonce=${again}`, shares[1]);
    const done = ok(`operator generate-root -nonce=${again}`, shares[2]);
    const encoded = /Encoded token: (\S+)/.exec(done)?.[1] ?? '';
    const token = ok('operator generate-root -decode', `${encoded}\n${pad}\n`).trim();
    expect(token).toMatch(/^hvs\.[0-9A-Za-z]{24}$/);
    expect(holdfast('operator generate-root -decode', `${encoded}\nnot-the-pad\n`)).toMatchObject({
      code: 1,
      error: expect.stringContaining('one attempt'),
    });
  });

  test('verifies new shares before they count, and until then opens by the old ones', () => {
    const nonce = wordAfter(ok('operator rekey -init -verify -key-shares=2 -key-threshold=2'), 'Nonce');
    expect(ok('operator rekey -verify -status')).toMatch(/Started\s+false/);
    ok(`operator rekey -nonce=${nonce}`, shares[0]);
    const told = ok(`operator rekey -nonce=${nonce}`, shares[1]);
    expect(told).toContain('open nothing yet');
    const fresh = [...told.matchAll(/^Unseal Key \d: (\S+)$/gm)].map(([, key = '']) => key);
    const first = /^Verification Nonce: (\S+)$/m.exec(told)?.[1] ?? '';
    expect(ok(`operator rekey -verify -nonce=${first}`, fresh[0])).toMatch(/Progress\s+1\/2/);
    expect(ok('operator rekey -verify -status')).toMatch(/Progress\s+1\/2/);
    const second = wordAfter(ok('operator rekey -verify -cancel'), 'Nonce');
    expect(second).not.toBe(first);
    expect(holdfast(`operator rekey -verify -nonce=${first}`, fresh[0])).toMatchObject({
      code: 2,
      error: expect.stringContaining('incorrect nonce'),
    });
    ok(`operator rekey -verify -nonce=${second}`, fresh[0]);
    expect(ok('status')).toMatch(/Total Shares\s+3/);
    expect(ok(`operator rekey -verify -nonce=${second}`, fresh[1])).toContain('in force');
    expect(ok('status')).toMatch(/Total Shares\s+2/);
    ok('seal');
    ok('unseal -', fresh[1]);
    expect(ok('unseal -', fresh[0])).toMatch(/Sealed\s+false/);
    expect(ok('operator rekey -help')).toContain('begins anew');
  });

  test('gives an attempt up by its nonce or by a token with sudo, and takes one action at a time', () => {
    for (const [command, begin] of [
      ['operator rekey', 'operator rekey -init -key-shares=1 -key-threshold=1'],
      ['operator generate-root', 'operator generate-root -init'],
    ]) {
      const nonce = wordAfter(ok(begin ?? ''), 'Nonce');
      expect(holdfast(`${command} -cancel -nonce=${'0'.repeat(36)}`).code).toBe(2);
      expect(ok(`${command} -status`)).toMatch(/Started\s+true/);
      expect(ok(`${command} -cancel -nonce=${nonce}`)).toContain('given up');
      ok(begin ?? '');
      expect(ok(`${command} -cancel`)).toContain('given up');
      expect(ok(`${command} -status`)).toMatch(/Started\s+false/);
    }
    expect(holdfast('operator rekey -init -status')).toMatchObject({
      code: 1,
      error: expect.stringContaining('do not go together'),
    });
  });
});

describe('holdfast slot', () => {
  test('lists, adds, tests and removes', () => {
    const list = ok('slot list');
    expect(list).toMatch(/keyfile\s+by itself\s.*weakest/);
    expect(list).toMatch(/shamir\s+2 of 2 shares/);
    const id = wordAfter(ok('slot add keyfile'), 'id');
    expect(ok(`slot test ${id}`)).toMatch(/opens\s+true/);
    expect(ok(`slot remove ${id}`)).toContain('Success!');
    expect(ok('slot list')).not.toContain(id);
    expect(holdfast('slot add pkcs11')).toMatchObject({ code: 2, error: expect.stringContaining('not configured') });
    expect(holdfast('slot remove nothing')).toMatchObject({
      code: 2,
      error: expect.stringContaining('no slot of this id'),
    });
    expect(ok('audit verify')).toContain('agrees');
  });
});

describe('holdfast operator diagnose', () => {
  const other = new Home();
  afterAll(() => other.close());
  const diagnose = (): Ran & { readonly found: readonly { state: string; what: string; sentence: string }[] } => {
    const run = spawnSync(process.execPath, ['host/cli/holdfast.mjs', 'operator', 'diagnose', '-format=json'], {
      env: other.variables,
      encoding: 'utf8',
    });
    return { code: run.status, out: run.stdout, error: run.stderr, found: JSON.parse(run.stdout) };
  };
  const of = (what: string): unknown => diagnose().found.find((one) => one.what === what);
  const ofSlot = (kind: string): unknown => diagnose().found.find((one) => one.what.startsWith(`slot ${kind} `));

  test('says what is missing, what opens the box and what would not', async () => {
    expect(diagnose()).toMatchObject({ code: 2 });
    expect(of('data folder')).toMatchObject({ state: 'bad', sentence: expect.stringContaining('is not there') });
    const server = await other.start();
    const running = diagnose();
    expect(running).toMatchObject({ code: 0, error: '' });
    expect(running.found).toContainEqual({ state: 'ok', what: 'server', sentence: 'answers, and the box is open' });
    expect(of('store')).toMatchObject({ state: 'note', sentence: expect.stringContaining(`pid ${server.pid}`) });
    await server.stop();
    expect(diagnose()).toMatchObject({ code: 0 });
    expect(ofSlot('keyfile')).toMatchObject({ state: 'ok', sentence: 'opens it' });
    expect(of('server')).toMatchObject({ state: 'note', sentence: expect.stringContaining('is the server running?') });
    const keyfile = join(other.config, 'keyfile');
    chmodSync(keyfile, 0o644);
    expect(diagnose()).toMatchObject({ code: 2 });
    expect(ofSlot('keyfile')).toMatchObject({ state: 'bad', sentence: expect.stringContaining('make its mode 0600') });
    rmSync(keyfile);
    expect(ofSlot('keyfile')).toMatchObject({ state: 'bad', sentence: expect.stringContaining('cannot be read') });
    expect(of('opening')).toMatchObject({
      sentence: expect.stringContaining('give 1 of 1 recovery shares to `holdfast unseal`'),
    });
    writeFileSync(join(other.config, 'holdfast.json'), '{"nothing": 1}');
    expect(of('settings')).toMatchObject({ state: 'bad', sentence: expect.stringContaining('there is no setting') });
    // Looking changed nothing: with its settings mended the box starts, and asks for its share.
    rmSync(join(other.config, 'holdfast.json'));
    const again = await other.start();
    expect((await again.call('GET', 'sys/seal-status', undefined, '')).json).toMatchObject({
      sealed: true,
      initialized: true,
    });
    expect(diagnose().found).toContainEqual({
      state: 'bad',
      what: 'server',
      sentence: 'answers, and the box is sealed (0 of 1 shares given)',
    });
  });
});
