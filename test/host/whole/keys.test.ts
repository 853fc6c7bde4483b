/** Rotation, slots and ceremonies as their operators meet them, on a whole box. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keyOperations } from '../../../host/engines/sys/keys.ts';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { Secret } from '../../../host/secret.ts';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
/** The share that opens it now. */
let share: Buffer;
beforeAll(async () => {
  box = await wholeBox();
  share = Buffer.from(box.share);
  for (let i = 0; i < 40; i++) await box.ok('write', `secret/data/app/${i}`, { data: { password: `value ${i}` } });
});
afterAll(() => box.end());

const json = (outbound: Outbound): ValueMap => {
  if (outbound.kind === 'error') throw new Error(outbound.errors.join('; '));
  const { raw } = outbound.answer;
  return raw !== undefined && 'json' in raw ? raw.json : {};
};
const refusal = (outbound: Outbound): string =>
  outbound.kind === 'error' ? `${outbound.status} ${outbound.errors.join('; ')}` : 'answered';

async function readable(): Promise<void> {
  for (let i = 0; i < 40; i += 7) {
    const { data } = await box.ok('read', `secret/data/app/${i}`);
    expect(data).toMatchObject({ data: { password: `value ${i}` } });
  }
}

/** Until every row has the newest key. */
async function settled(): Promise<void> {
  for (;;) {
    const { data } = await box.ok('read', 'sys/rotate');
    if (data?.['running'] === false) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('sys/rotate', () => {
  test('brings a new term, and secrets, tokens and policies go on', async () => {
    await box.ok('write', 'sys/policies/acl/reader', { policy: 'path "secret/*" { capabilities = ["read"] }' });
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['reader'] });
    const before = (await box.ok('read', 'sys/key-status')).data?.['term'];
    expect(await box.send('write', 'sys/rotate')).toMatchObject({ kind: 'answer' });
    await settled();
    expect((await box.ok('read', 'sys/key-status')).data?.['term']).toBe(Number(before) + 1);
    expect((await box.ok('read', 'sys/rotate')).data).toMatchObject({ running: false, older_terms: [] });
    await readable();
    expect((await box.ok('read', 'secret/data/app/1', {}, auth?.clientToken)).data).toBeDefined();
    expect(refusal(await box.send('write', 'sys/rotate', {}, auth?.clientToken))).toMatch(/^403/);
  });

  test('under load loses nothing', async () => {
    let stop = false;
    let written = 0;
    const load = Promise.all(
      Array.from({ length: 4 }, async (_, worker) => {
        for (let i = 0; !stop; i++) {
          await box.ok('write', `secret/data/load/${worker}-${i % 10}`, { data: { i } });
          written++;
        }
      }),
    );
    for (let round = 0; round < 3; round++) {
      await box.ok('write', 'sys/rotate');
      await settled();
    }
    stop = true;
    await load;
    expect(written).toBeGreaterThan(10);
    await settled();
    await readable();
    await box.box.stop();
    expect(await box.box.unsealAutomatically()).toBe(true);
    await readable();
  });
});

describe('sys/slots', () => {
  test('lists the ways in and names the weakest', async () => {
    const { data } = await box.ok('list', 'sys/slots');
    const info = Object.values(data?.['key_info'] ?? {}) as ValueMap[];
    expect(Object.fromEntries(info.map(({ kind, weakest }) => [kind, weakest]))).toEqual({
      keyfile: true,
      shamir: false,
    });
  });

  test('adds, tests and removes one; the box opens by what is left', async () => {
    expect(refusal(await box.send('write', 'sys/slots', { kind: 'tpm2' }))).toContain('not configured');
    expect(refusal(await box.send('write', 'sys/slots', { kind: 'shamir' }))).toContain('kind must be one of');
    const { data } = await box.ok('write', 'sys/slots', { kind: 'keyfile' });
    const id = String(data?.['id']);
    expect((await box.ok('write', `sys/slots/${id}/test`)).data).toEqual({ id, opens: true });
    await box.ok('delete', `sys/slots/${id}`);
    await settled();
    expect(refusal(await box.send('delete', `sys/slots/${id}`))).toContain('no slot of this id');
    expect(refusal(await box.send('write', 'sys/slots/nothing/test'))).toContain('no slot of this id');
    await readable();
    const list = await box.ok('list', 'sys/slots');
    expect(list.data?.['keys']).toHaveLength(2);
    await box.box.stop();
    expect(await box.box.unsealAutomatically()).toBe(true);
    await readable();
  });
});

describe('a new root', () => {
  test('that the power cut from its signing key has it at the next unseal, once, by a leaf that both keys sign', async () => {
    const keysOf = ({ audit }: WholeBox): string[] => audit.history.verifierKeys();
    const said = ({ audit }: WholeBox): string[] => {
      const notes: string[] = [];
      for (let from = 0; from < audit.size; ) {
        const { lines, nextSeq } = audit.history.entries(from, audit.size);
        for (const line of lines) {
          const { note } = JSON.parse(line) as { note?: { event: string; data: { note: string } } };
          if (note?.event === 'log.key') notes.push(note.data.note);
        }
        from = nextSeq;
      }
      return notes;
    };
    const own = await wholeBox();
    const [first] = keysOf(own);
    const id = String((await own.ok('write', 'sys/slots', { kind: 'keyfile' })).data?.['id']);
    own.audit.keysChanged = () => {
      throw new Error('the power went');
    };
    await own.ok('delete', `sys/slots/${id}`);
    expect(keysOf(own)).toEqual([first]);
    expect(own.box.status().reasons.join()).toContain('still signs with the key from before');
    const after = await own.copy();
    await own.end();
    try {
      const keys = keysOf(after);
      expect(keys).toEqual([expect.any(String), first]);
      expect(keys[0]).not.toBe(first);
      const [note, ...more] = said(after);
      expect(more).toEqual([]);
      expect(note).toContain(`\n${keys[0]}\n`);
      expect(note?.match(/^\u2014 /gm)).toHaveLength(2);
      expect(after.box.status().reasons).toEqual([]);
      await after.restart();
      expect(keysOf(after)).toEqual(keys);
      expect(said(after)).toEqual([note]);
    } finally {
      await after.end();
    }
  });
});

describe('sys/rekey', () => {
  const anonymous = (verb: 'read' | 'write' | 'delete', path: string, body: ValueMap = {}): Promise<Outbound> =>
    box.send(verb, path, body, null);

  test('replaces the shares by the present ones, without a token', async () => {
    expect(json(await anonymous('read', 'sys/rekey/init'))).toMatchObject({ started: false, nonce: '', required: 1 });
    const started = json(await anonymous('write', 'sys/rekey/init', { secret_shares: 3, secret_threshold: 2 }));
    expect(started).toMatchObject({ started: true, t: 2, n: 3, progress: 0, required: 1 });
    expect(refusal(await anonymous('write', 'sys/rekey/init', { secret_shares: 1, secret_threshold: 1 }))).toContain(
      'already in progress',
    );
    // Whoever could read the nonce could cancel.
    expect(json(await anonymous('read', 'sys/rekey/init'))).toMatchObject({ started: true, nonce: '' });
    expect(refusal(await anonymous('delete', 'sys/rekey/init'))).toMatch(/^403/);
    const key = share.toString('hex');
    expect(refusal(await anonymous('write', 'sys/rekey/update', { key, nonce: 'another' }))).toContain(
      'incorrect nonce',
    );
    expect(refusal(await anonymous('write', 'sys/rekey/update', { nonce: started['nonce'] ?? '' }))).toContain(
      "'key' must be",
    );
    const wrong = Buffer.from(share);
    wrong[3] = (wrong[3] ?? 0) ^ 1;
    const nonce = String(started['nonce']);
    expect(refusal(await anonymous('write', 'sys/rekey/update', { key: wrong.toString('hex'), nonce }))).toMatch(
      /^400/,
    );
    const done = json(await anonymous('write', 'sys/rekey/update', { key, nonce }));
    expect(done).toMatchObject({ complete: true, nonce });
    const shares = (done['keys_base64'] as string[]).map((one) => Buffer.from(one, 'base64'));
    expect(shares).toHaveLength(3);
    await settled();
    await readable();
    await box.box.seal();
    expect(await box.box.unsealAutomatically()).toBe(false);
    for (const one of shares.slice(1)) await box.box.offerShare(new Secret(Buffer.from(one)));
    expect(box.box.status()).toMatchObject({ sealed: false, t: 2, n: 3 });
    await readable();
    // Back to one share, for the tests that follow, and with the nonce a cancel goes through.
    const again = json(await anonymous('write', 'sys/rekey/init', { secret_shares: 1, secret_threshold: 1 }));
    await anonymous('delete', 'sys/rekey/init', { nonce: String(again['nonce']) });
    expect(json(await anonymous('read', 'sys/rekey/init'))).toMatchObject({ started: false });
    const last = String(
      json(await anonymous('write', 'sys/rekey/init', { secret_shares: 1, secret_threshold: 1 }))['nonce'],
    );
    const [first, second] = shares.map((one) => one.toString('hex'));
    expect(json(await anonymous('write', 'sys/rekey/update', { key: first ?? '', nonce: last }))).toMatchObject({
      progress: 1,
    });
    expect(refusal(await anonymous('write', 'sys/rekey/update', { key: first ?? '', nonce: last }))).toContain(
      'already been provided',
    );
    const ended = json(await anonymous('write', 'sys/rekey/update', { key: second ?? '', nonce: last }));
    share = Buffer.from((ended['keys_base64'] as string[])[0] ?? '', 'base64');
    await settled();
  });

  test('refuses what it does not take, and quorums that are none', async () => {
    for (const body of [{ pgp_keys: ['x'] }, { backup: true }])
      expect(
        refusal(await anonymous('write', 'sys/rekey/init', { secret_shares: 1, secret_threshold: 1, ...body })),
      ).toContain('not taken');
    expect(refusal(await anonymous('write', 'sys/rekey/init', { secret_shares: 3, secret_threshold: 4 }))).toContain(
      'cannot be larger',
    );
    expect(refusal(await anonymous('write', 'sys/rekey/update', { key: '00', nonce: '' }))).toContain(
      'no barrier rekey',
    );
  });
});

describe('sys/generate-root', () => {
  test('brings a root token under a pad that was shown once', async () => {
    const started = json(await box.send('write', 'sys/generate-root/attempt', {}, null));
    const otp = String(started['otp']);
    expect(otp).toMatch(/^[0-9A-Za-z]{28}$/);
    expect(json(await box.send('read', 'sys/generate-root/attempt', {}, null))).toMatchObject({
      otp: '',
      nonce: '',
      started: true,
      otp_length: 28,
    });
    const body = { key: share.toString('base64'), nonce: String(started['nonce']) };
    const done = json(await box.send('write', 'sys/generate-root/update', body, null));
    expect(done).toMatchObject({ complete: true });
    const bytes = Buffer.from(String(done['encoded_token']), 'base64');
    const token = Buffer.from(bytes.map((byte, i) => byte ^ otp.charCodeAt(i))).toString();
    expect(token).toMatch(/^hvs\.[0-9A-Za-z]{24}$/);
    expect((await box.ok('read', 'auth/token/lookup-self', {}, token)).data).toMatchObject({ policies: ['root'] });
    expect(json(await box.send('read', 'sys/generate-root/attempt', {}, null))).toMatchObject({ started: false });
  });

  test('takes a pad of its own length, and is cancelled by its nonce', async () => {
    expect(refusal(await box.send('write', 'sys/generate-root/attempt', { otp: 'short' }, null))).toContain(
      'incorrect length',
    );
    const nonce = String(
      json(await box.send('write', 'sys/generate-root/attempt', { otp: 'A'.repeat(28) }, null))['nonce'],
    );
    expect(refusal(await box.send('delete', 'sys/generate-root/attempt', {}, null))).toMatch(/^403/);
    await box.send('delete', 'sys/generate-root/attempt', { nonce }, null);
    expect(json(await box.send('read', 'sys/generate-root/attempt', {}, null))).toMatchObject({ started: false });
    expect(refusal(await box.send('write', 'sys/generate-root/update', { key: '00', nonce }, null))).toContain(
      'no root generation',
    );
  });
});

test('ceremonies are off unless the configuration says on', async () => {
  const keys = (): never => {
    throw new Error('nobody is asked');
  };
  const open = keyOperations({ keys, ceremonies: false }).filter((operation) => operation.open);
  expect(open.length).toBe(11);
  for (const operation of open) expect(() => operation.run({ fields: {} } as never)).toThrow('seal.ceremonies');
});

test('the log holds every change of keys and none of the shares', async () => {
  let text = '';
  const end = box.audit.size;
  for (let from = 0; from < end; ) {
    const { raw } = await box.ok('read', 'sys/audit-log/entries', { from: String(from) });
    const lines = raw !== undefined && 'body' in raw ? String(raw.body) : '';
    if (lines === '') break;
    text += lines;
    from += lines.split('\n').length - 1;
  }
  for (const event of [
    'keys.rotated',
    'keys.retired',
    'slot.added',
    'slot.removed',
    'seal.rekeyed',
    'seal.root-generated',
  ])
    expect([event, text.includes(event)]).toEqual([event, true]);
  expect(text).not.toContain(share.toString('hex'));
  expect(text).not.toContain(share.toString('base64'));
});

describe('slots that are replaced, and what is refused', () => {
  test.each([
    ['sys/slots', { kind: 'shamir' }, /^400 kind must be one of/],
    ['sys/slots', { kind: 'tpm3' }, /^400 kind must be one of/],
    ['sys/slots', { kind: 'tpm2' }, /^400 slots of kind tpm2 are not configured/],
    ['sys/slots', { kind: 'keyfile', pin: 'two\nlines' }, /^400 a PIN is one line/],
    ['sys/slots', { kind: 'keyfile', pin: 'x'.repeat(256) }, /^400 a PIN is one line/],
    ['sys/slots/00000000/replace', {}, /^404 there is no slot of this id/],
    ['sys/slots/00000000/remove', { pin: 'canary-pin' }, /^404 there is no slot of this id/],
    ['sys/slots/00000000/test', { pin: 'canary-pin' }, /^404 there is no slot of this id/],
    ['sys/tpm/lockout/take', {}, /^400 no TPM is configured here/],
    ['sys/tpm/lockout/reset', {}, /^400 the lockout authorisation of the TPM is not kept here/],
    ['sys/tpm/lockout/parameters', {}, /^400 name one of max_tries/],
    ['sys/tpm/lockout/parameters', { max_tries: 0 }, /^400 max_tries must be a whole number from 1/],
    ['sys/tpm/lockout/parameters', { recovery_time: 2 ** 32 }, /^400 recovery_time must be a whole number/],
  ] as const)('%s with %j is refused with a sentence', async (path, body, sentence) => {
    const answer = refusal(await box.send('write', path, body));
    expect(answer).toMatch(sentence);
    expect(answer).not.toContain('canary');
  });

  test('changes of slots and of the TPM’s count are root’s, whatever a policy says', async () => {
    await box.ok('write', 'sys/policies/acl/all-sys', {
      policy: 'path "sys/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }',
    });
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['all-sys'] });
    for (const [verb, path] of [
      ['write', 'sys/slots'],
      ['write', 'sys/slots/00000000/replace'],
      ['write', 'sys/slots/00000000/remove'],
      ['delete', 'sys/slots/00000000'],
      ['write', 'sys/tpm/lockout/take'],
      ['write', 'sys/tpm/lockout/reset'],
      ['write', 'sys/tpm/lockout/parameters'],
    ] as const)
      expect([path, refusal(await box.send(verb, path, {}, auth?.clientToken))]).toEqual([
        path,
        expect.stringMatching(/^403/),
      ]);
    expect(await box.send('list', 'sys/slots', {}, auth?.clientToken)).toMatchObject({ kind: 'answer' });
  });

  test('replaces a slot in one change', async () => {
    const list = async () => (await box.ok('list', 'sys/slots')).data;
    const before = Object.values((await list())?.['key_info'] as ValueMap) as ValueMap[];
    const keyfile = String(before.find(({ kind }) => kind === 'keyfile')?.['id'] ?? '');
    const { data } = await box.ok('write', `sys/slots/${keyfile.slice(0, 8)}/replace`);
    expect(data).toMatchObject({ kind: 'keyfile', removed: [keyfile], weakest: true, asks_pin: false });
    expect((await list())?.['keys']).not.toContain(keyfile);
    await settled();
    await readable();
  });
});
