import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canary, Target } from './target.ts';

/** What was given in confidence comes out nowhere else; what is logged is one entry a request, whatever its names. */
let box: Target;
const CANARIES: string[] = [];
/** A secret of its own for each place. */
const secret = (place: string): string => {
  const made = canary(place);
  CANARIES.push(made);
  return made;
};
const answers: string[] = [];
/** Sends what must not come back in the answer, whatever its status. */
async function hidden(...args: Parameters<Target['ask']>): Promise<void> {
  const got = await box.ask(...args);
  expect([args[0], args[1].slice(0, 60), got.status < 500]).toEqual([args[0], args[1].slice(0, 60), true]);
  answers.push(got.text);
}

beforeAll(async () => {
  box = await Target.start();
});
afterAll(() => box.end());

describe('canaries in every field', () => {
  test('of requests that are well-formed', async () => {
    await hidden('POST', 'secret/data/leak', {
      body: { data: { [secret('kv name')]: secret('kv value'), deep: [{ x: secret('deep') }] } },
    });
    await hidden('PATCH', 'secret/data/leak', { body: { data: { more: secret('patched') } } });
    await hidden('PUT', 'cubbyhole/leak', { body: { value: secret('cubbyhole') } });
    await box.must('POST', 'secret/metadata/leak', { body: { custom_metadata: { note: secret('custom metadata') } } });
    await box.must('POST', 'auth/token/create', { body: { id: secret('own id'), policies: ['default'] } });
    await hidden('POST', 'sys/wrapping/unwrap', { body: { token: secret('unwrap token') } });
    await hidden('POST', 'sys/wrapping/lookup', { body: { token: secret('lookup token') } });
    await hidden('POST', 'auth/token/lookup', { body: { token: secret('other token') } });
    await hidden('POST', 'auth/token/revoke', { body: { token: secret('revoked token') } });
    await hidden('POST', 'auth/token/renew', { body: { token: secret('renewed token') } });
    await hidden('PUT', 'sys/unseal', { body: { key: secret('share') }, token: '' });
    await hidden('POST', 'sys/tools/hash', { body: { input: secret('hash input') } });
    await hidden('POST', 'sys/audit-hash/holdfast', { body: { input: secret('audit hash') } });
    await hidden('GET', 'secret/data/leak', { token: secret('header token') });
    await hidden('GET', 'secret/data/absent', { token: '', headers: { Authorization: `Bearer ${secret('bearer')}` } });
    await hidden('GET', `secret/data/absent?${secret('query name')}=${secret('query value')}`, { token: '' });
    await hidden('GET', 'sys/health', {
      token: '',
      headers: { [`X-${secret('header name')}`]: secret('header value'), Cookie: secret('cookie') },
    });
  });

  test('of requests that are not', async () => {
    const requests: Parameters<Target['ask']>[] = [
      ['POST', 'secret/data/x', { body: `{"data":{"a":"${secret('open text')}` }],
      ['POST', 'secret/data/x', { body: secret('no JSON') }],
      ['POST', 'secret/data/x', { body: `{"data":${secret('bare word')}}` }],
      ['POST', 'secret/data/x', { body: `{"${secret('twice')}":1,"${secret('twice')}":2}` }],
      [
        'POST',
        'secret/data/x',
        { body: `${secret('form')}=%zz`, headers: { 'Content-Type': 'application/x-www-form-urlencoded' } },
      ],
      [
        'POST',
        'secret/data/x',
        {
          body: Buffer.concat([Buffer.from('a2782f', 'hex'), Buffer.from(secret('cbor'))]),
          headers: { 'Content-Type': 'application/cbor' },
        },
      ],
      ['POST', 'secret/data/x', { body: { data: secret('wrong type') } }],
      ['POST', 'secret/data/x', { body: { data: {}, options: secret('options') } }],
      ['POST', 'secret/data/x', { body: { data: {}, options: { cas: secret('cas') } } }],
      ['POST', 'auth/token/create', { body: { ttl: secret('ttl') } }],
      ['POST', 'auth/token/create', { body: { num_uses: secret('num_uses') } }],
      ['POST', 'auth/token/create', { body: { id: `${secret('bad id')}.` } }],
      ['POST', 'auth/token/create', { body: { meta: secret('meta') } }],
      ['GET', 'secret/data/leak', { headers: { 'X-Vault-Wrap-TTL': secret('wrap ttl') } }],
      ['PUT', 'sys/policies/acl/x', { body: { policy: `path "${secret('policy text')} {` } }],
      ['PUT', 'sys/policies/acl/x', { body: { policy: `${secret('policy body')} = [` } }],
      ['PUT', 'sys/unseal', { body: { key: [secret('share list')] }, token: '' }],
      ['GET', 'secret/data/leak', { token: `${secret('long token')}${'x'.repeat(4000)}` }],
    ];
    for (const args of requests) await hidden(...args);
  });

  test('are in no answer, no line of output, and no byte of the data folder', async () => {
    // Long enough for the tiles of the log to be written.
    for (let at = 0; at < 300; at++) await box.must('GET', 'auth/token/lookup-self');
    const said = answers.join('\n');
    const written = box.written();
    expect(written.length).toBeGreaterThan(100_000);
    for (const one of [...CANARIES, box.root]) {
      expect([one, said.includes(one)]).toEqual([one, false]);
      expect([one, written.includes(one)]).toEqual([one, false]);
      expect(written.includes(Buffer.from(one).toString('hex'))).toBe(false);
      expect(written.includes(Buffer.from(one).toString('base64').slice(0, 24))).toBe(false);
    }
  });

  test('are in no entry of the log as whoever may read it sees it, but for names that a policy decides by', async () => {
    const entries = (await box.must('GET', 'sys/audit-log/entries?start=0&count=200')).text;
    expect(entries).toContain('hmac-sha256:');
    const plain = new Set([canary('kv name'), canary('query name'), canary('twice')]);
    for (const one of CANARIES.filter((name) => !plain.has(name)))
      expect([one, entries.includes(one)]).toEqual([one, false]);
    expect(entries).not.toContain(box.root);
  });
});

describe('entries of the log', () => {
  test('one request is one line, whatever stands in its names', async () => {
    const size = async (): Promise<number> =>
      Number(((await box.must('GET', 'sys/audit-log/size')).json['data'] as Record<string, unknown>)['size']);
    const ODD = [
      '\u2028',
      '\u2029',
      '\u001b[31m',
      '\r\n{"type":"response"}',
      '\n',
      '\u0085',
      '"},{"',
      '\u202e',
      '\ufeff',
      '\u0000',
    ];
    const before = await size();
    for (const odd of ODD) {
      await box.ask('GET', `secret/data/${encodeURIComponent(`a${odd}b`)}`);
      await box.ask('POST', 'secret/data/a', { body: { data: { [`n${odd}`]: odd } } });
      await box.ask('POST', 'auth/token/create', {
        body: { display_name: `d${odd}`, meta: { [`m${odd}`]: odd }, policies: ['default'] },
      });
      await box.ask('POST', 'sys/policies/acl/x', { body: { [odd]: odd } });
      await box.ask('GET', 'secret/data/a', { headers: { 'X-Forwarded-For': odd.replace(/[^\x20-\x7e]/g, '?') } });
    }
    const after = await size();
    expect(after).toBeGreaterThan(before);
    const got = await box.must('GET', `sys/audit-log/entries?start=${before}&count=${Math.min(after - before, 90)}`);
    for (const control of ['\u2028', '\u2029', '\u001b', '\u0085', '\r']) expect(got.text).not.toContain(control);
    expect(box.server.printed).not.toContain('\u001b');
  });
});

test('what the box keeps is for its owner alone', () => {
  for (const folder of [box.home.config, box.home.data]) {
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      const { mode } = statSync(join(entry.parentPath, entry.name));
      expect([entry.name, (mode & 0o777).toString(8)]).toEqual([entry.name, entry.isDirectory() ? '700' : '600']);
    }
  }
});
