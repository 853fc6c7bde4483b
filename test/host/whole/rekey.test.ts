/** A rekey whose shares are verified, and who may give one up: on a whole box, with its restarts. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { Secret } from '../../../host/secret.ts';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
/** The shares that are in force, a threshold of them. */
let shares: readonly string[];
beforeAll(async () => {
  box = await wholeBox();
  shares = [Buffer.from(box.share).toString('hex')];
});
afterAll(() => box.end());
beforeEach(async () => {
  await box.send('delete', 'sys/rekey/init');
  await box.send('delete', 'sys/generate-root/attempt');
});

const json = (outbound: Outbound): ValueMap => {
  if (outbound.kind === 'error') throw new Error(outbound.errors.join('; '));
  const { raw } = outbound.answer;
  return raw !== undefined && 'json' in raw ? raw.json : {};
};
const refusal = (outbound: Outbound): string =>
  outbound.kind === 'error' ? `${outbound.status} ${outbound.errors.join('; ')}` : 'answered';
const anonymous = (verb: 'read' | 'write' | 'delete', path: string, body: ValueMap = {}): Promise<Outbound> =>
  box.send(verb, path, body, null);
const give = (path: string, key: string | undefined, nonce: unknown): Promise<Outbound> =>
  anonymous('write', path, { key: key ?? '', nonce: String(nonce) });

interface Shown {
  readonly keys: readonly string[];
  readonly attempt: string;
  readonly verification: string;
}

/** A rekey up to where its new shares are shown. */
async function shown(n: number, t: number): Promise<Shown> {
  const begun = json(
    await anonymous('write', 'sys/rekey/init', { secret_shares: n, secret_threshold: t, require_verification: true }),
  );
  expect(begun).toMatchObject({ started: true, verification_required: true, t, n });
  let last: ValueMap = {};
  for (const share of shares) last = json(await give('sys/rekey/update', share, begun['nonce']));
  expect(last).toMatchObject({ complete: true, verification_required: true, nonce: begun['nonce'] });
  expect(last['keys']).toHaveLength(n);
  return {
    keys: last['keys'] as string[],
    attempt: String(begun['nonce']),
    verification: String(last['verification_nonce']),
  };
}

/** Whether these shares open the box, closed. */
async function opensBy(keys: readonly string[]): Promise<boolean> {
  if (!box.box.status().sealed) await box.box.seal();
  try {
    for (const key of keys) await box.box.offerShare(new Secret(Buffer.from(key, 'hex')));
  } catch (error) {
    expect(error).toMatchObject({ code: 'slot.refused' });
  }
  const opened = !box.box.status().sealed;
  if (!opened) box.box.resetShares();
  return opened;
}

describe('a rekey that is verified', () => {
  test('shows new shares that open nothing; the old ones stay until a threshold of the new comes back', async () => {
    const made = await shown(3, 2);
    expect(made.verification).not.toBe(made.attempt);
    expect(json(await anonymous('read', 'sys/rekey/init'))).toMatchObject({
      ...{ started: true, progress: 0, required: 1, verification_required: true, nonce: '' },
    });
    expect(box.box.status()).toMatchObject({ t: 1, n: 1 });
    expect(json(await anonymous('read', 'sys/rekey/verify'))).toEqual({
      ...{ nonce: '', started: true, t: 2, n: 3, progress: 0 },
    });
    const [first, second, third] = made.keys;
    // The old shares have said their word, and the nonce of the one round is not that of the other.
    expect(refusal(await give('sys/rekey/update', shares[0], made.attempt))).toContain('must be performed');
    expect(refusal(await give('sys/rekey/verify', first, made.attempt))).toContain('incorrect nonce');
    expect(json(await give('sys/rekey/verify', first, made.verification))).toEqual({
      ...{ nonce: made.verification, started: true, t: 2, n: 3, progress: 1 },
    });
    expect(refusal(await give('sys/rekey/verify', first, made.verification))).toContain('during this verify operation');
    // Mistyped, or of another set: nothing changed, and the same round goes on from its beginning.
    const wrong = `${second?.startsWith('0') ? '1' : '0'}${second?.slice(1)}`;
    expect(refusal(await give('sys/rekey/verify', wrong, made.verification))).toMatch(/^400/);
    expect(json(await anonymous('read', 'sys/rekey/verify'))).toMatchObject({ started: true, progress: 0 });
    expect(box.box.status()).toMatchObject({ t: 1, n: 1 });
    await give('sys/rekey/verify', third, made.verification);
    expect(json(await give('sys/rekey/verify', second, made.verification))).toEqual({
      ...{ nonce: made.verification, complete: true },
    });
    expect(box.box.status()).toMatchObject({ t: 2, n: 3 });
    expect(json(await anonymous('read', 'sys/rekey/init'))).toMatchObject({ started: false, required: 2 });
    expect(refusal(await anonymous('read', 'sys/rekey/verify'))).toContain('no rekey configuration found');
    expect(await opensBy(shares)).toBe(false);
    expect(await opensBy([first ?? '', third ?? ''])).toBe(true);
    shares = [first ?? '', third ?? ''];
  });

  test.each(['a restart', 'a power cut', 'sealing'])('%s in between leaves the old shares in force', async (how) => {
    const made = await shown(2, 2);
    await give('sys/rekey/verify', made.keys[0], made.verification);
    if (how === 'a power cut') {
      const cut = await box.copy();
      expect(cut.box.status()).toMatchObject({ t: 2, n: 3 });
      expect(json(await cut.send('read', 'sys/rekey/init', {}, null))).toMatchObject({ started: false });
      await cut.end();
      return;
    }
    if (how === 'a restart') await box.restart();
    else expect(await opensBy(shares)).toBe(true);
    expect(json(await anonymous('read', 'sys/rekey/init'))).toMatchObject({ started: false, required: 2 });
    expect(refusal(await give('sys/rekey/verify', made.keys[1], made.verification))).toContain('no rekey verification');
    expect(await opensBy(shares)).toBe(true);
    expect(await opensBy(made.keys)).toBe(false);
    expect(await opensBy(shares)).toBe(true);
  });

  test('a power cut after the last new share leaves the new ones in force', async () => {
    const made = await shown(2, 2);
    await give('sys/rekey/verify', made.keys[0], made.verification);
    expect(json(await give('sys/rekey/verify', made.keys[1], made.verification))).toMatchObject({ complete: true });
    const cut = await box.copy();
    expect(cut.box.status()).toMatchObject({ t: 2, n: 2, sealed: false });
    await cut.end();
    shares = made.keys;
    expect(await opensBy(shares)).toBe(true);
  });

  test('a change of slots in between stays: the new shares go beside what is there then', async () => {
    const made = await shown(1, 1);
    const { data } = await box.ok('write', 'sys/slots', { kind: 'keyfile' });
    expect(json(await give('sys/rekey/verify', made.keys[0], made.verification))).toMatchObject({ complete: true });
    shares = made.keys;
    expect((await box.ok('list', 'sys/slots')).data?.['keys']).toContain(data?.['id']);
    expect(await opensBy(shares)).toBe(true);
  });

  test('given up before its end it leaves the old shares in force', async () => {
    const made = await shown(1, 1);
    expect(refusal(await anonymous('delete', 'sys/rekey/init'))).toMatch(/^403/);
    expect(refusal(await anonymous('delete', 'sys/rekey/init', { nonce: made.verification }))).toMatch(/^403/);
    expect(await anonymous('delete', 'sys/rekey/init', { nonce: made.attempt })).toMatchObject({ kind: 'answer' });
    expect(refusal(await give('sys/rekey/verify', made.keys[0], made.verification))).toContain('no rekey verification');
    expect(await opensBy(shares)).toBe(true);
  });

  test('its verification begins anew under another nonce, by its nonce or by a token with sudo', async () => {
    const made = await shown(2, 2);
    await give('sys/rekey/verify', made.keys[0], made.verification);
    for (const nonce of [{}, { nonce: made.attempt }])
      expect(refusal(await anonymous('delete', 'sys/rekey/verify', nonce))).toMatch(/^403/);
    const again = json(await anonymous('delete', 'sys/rekey/verify', { nonce: made.verification }));
    expect(again).toMatchObject({ started: true, progress: 0, t: 2, n: 2 });
    expect(again['nonce']).not.toBe(made.verification);
    expect(refusal(await give('sys/rekey/verify', made.keys[0], made.verification))).toContain('incorrect nonce');
    const third = json(await box.send('delete', 'sys/rekey/verify'))['nonce'];
    expect([again['nonce'], made.verification]).not.toContain(third);
    await give('sys/rekey/verify', made.keys[1], third);
    expect(json(await give('sys/rekey/verify', made.keys[0], third))).toMatchObject({ complete: true });
    shares = made.keys;
    expect(refusal(await box.send('delete', 'sys/rekey/verify'))).toContain('no rekey verification');
  });
});

describe('two last shares at once', () => {
  test('carry a rekey out once: the shares that were told are those in force', async () => {
    const { nonce } = json(await anonymous('write', 'sys/rekey/init', { secret_shares: 1, secret_threshold: 1 }));
    await give('sys/rekey/update', shares[0], nonce);
    const answers = await Promise.all([1, 2, 3].map(() => give('sys/rekey/update', shares[1], nonce)));
    const told = answers.filter(({ kind }) => kind === 'answer').map(json);
    expect(told).toHaveLength(1);
    shares = told[0]?.['keys'] as string[];
    expect(await opensBy(shares)).toBe(true);
  });

  test('and a cancel that comes while it is carried out is refused', async () => {
    const { nonce } = json(await anonymous('write', 'sys/rekey/init', { secret_shares: 1, secret_threshold: 1 }));
    const [done, cancelled] = await Promise.all([
      give('sys/rekey/update', shares[0], nonce),
      box.send('delete', 'sys/rekey/init'),
    ]);
    if (done.kind === 'answer') shares = json(done)['keys'] as string[];
    expect(done.kind === 'answer').toBe(cancelled.kind === 'error');
    expect(await opensBy(shares)).toBe(true);
  });
});

describe('a token', () => {
  const BEGIN = {
    'sys/rekey/init': { secret_shares: 1, secret_threshold: 1 },
    'sys/generate-root/attempt': {},
  } as const;
  const policy = (capabilities: string): string =>
    Object.keys(BEGIN)
      .map((path) => `path "${path}" { capabilities = [${capabilities}] }`)
      .join('\n');

  test.each(Object.keys(BEGIN) as (keyof typeof BEGIN)[])(
    'with sudo gives up %s; one without does not',
    async (path) => {
      await box.ok('write', 'sys/policies/acl/deleter', { policy: policy('"delete"') });
      await box.ok('write', 'sys/policies/acl/canceller', { policy: policy('"delete", "sudo"') });
      const token = async (name: string): Promise<string> =>
        (await box.ok('write', 'auth/token/create', { policies: [name] })).auth?.clientToken ?? '';
      const { nonce } = json(await anonymous('write', path, BEGIN[path]));
      for (const bad of [null, 'hvs.unknown', await token('deleter')]) {
        expect(refusal(await box.send('delete', path, {}, bad))).toMatch(/^403/);
        expect(refusal(await box.send('delete', path, { nonce: 'another' }, bad))).toMatch(/^403/);
      }
      // Who names an attempt means that one, whatever the token.
      expect(refusal(await box.send('delete', path, { nonce: 'another' }))).toMatch(/^403/);
      expect(json(await anonymous('read', path))).toMatchObject({ started: true });
      expect(await box.send('delete', path, {}, await token('canceller'))).toMatchObject({ kind: 'answer' });
      expect(json(await anonymous('read', path))).toMatchObject({ started: false });
      const again = json(await anonymous('write', path, BEGIN[path]));
      expect(again['nonce']).not.toBe(nonce);
      // Its nonce is enough, and a token beside it that may nothing does no harm.
      expect(await box.send('delete', path, { nonce: String(again['nonce']) }, await token('deleter'))).toMatchObject({
        kind: 'answer',
      });
      expect(json(await anonymous('read', path))).toMatchObject({ started: false });
    },
  );
});

test('the log has each step and each refused cancel, and no share', async () => {
  const made = await shown(1, 1);
  await anonymous('delete', 'sys/rekey/init');
  await box.send('delete', 'sys/rekey/verify');
  await box.send('delete', 'sys/rekey/init');
  const { keys, verification } = await shown(1, 1);
  await give('sys/rekey/verify', keys[0], verification);
  const lines: ValueMap[] = [];
  let text = '';
  const end = box.audit.size;
  for (let from = 0; from < end; ) {
    const { raw } = await box.ok('read', 'sys/audit-log/entries', { from: String(from) });
    const part = raw !== undefined && 'body' in raw ? String(raw.body) : '';
    const found = part.split('\n').filter((line) => line !== '');
    if (found.length === 0) break;
    text += part;
    from += found.length;
    lines.push(...found.map((line) => JSON.parse(line) as ValueMap));
  }
  for (const event of [
    'seal.rekey-unverified',
    'seal.rekey-verification-restarted',
    'seal.rekey-cancelled',
    'seal.rekeyed',
  ])
    expect([event, text.includes(event)]).toEqual([event, true]);
  const cancels = lines.filter(({ type, request }) => {
    const { operation, path } = (request ?? {}) as ValueMap;
    return type === 'response' && operation === 'delete' && path === 'sys/rekey/init';
  });
  expect(cancels.slice(-2).map(({ error, auth }) => [error, (auth as ValueMap)['display_name']])).toEqual([
    [expect.stringContaining('permission denied'), undefined],
    [undefined, 'root'],
  ]);
  for (const key of [...shares, ...made.keys, ...keys]) {
    expect(text).not.toContain(key);
    expect(text).not.toContain(Buffer.from(key, 'hex').toString('base64'));
  }
});
