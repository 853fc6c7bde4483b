import { decode } from 'cborg';
import { expect, test } from 'vitest';
import { send } from '../../../host/api/envelope.ts';
import { stringifyJson } from '../../../host/json.ts';
import type { Answer } from '../../../host/ports/engine.ts';
import type { Value } from '../../../host/ports/value.ts';

const text = (answer: Answer, requestId = 'id', mountType = 'kv'): string =>
  String(send({ kind: 'answer', requestId, mountType, flat: false, verb: 'read', answer }, false).body);

const MEMBERS = [
  'request_id',
  'lease_id',
  'renewable',
  'lease_duration',
  'data',
  'wrap_info',
  'warnings',
  'auth',
  'mount_type',
];

test.each<[string, Answer]>([
  ['data alone', { data: { a: 1, nested: { b: [null, 'c'] } } }],
  ['no data', { data: null }],
  ['data and warnings', { data: { a: 1 }, warnings: ['careful'] }],
  ['data and empty warnings', { data: { a: 1 }, warnings: [] }],
  ['data and a duration', { data: { a: 1 }, leaseDuration: 60 }],
])('an answer with %s has every member of the envelope, in one order', (_what, answer) => {
  const parsed = JSON.parse(text(answer)) as Record<string, unknown>;
  expect(Object.keys(parsed)).toEqual(MEMBERS);
  expect(parsed).toMatchObject({ request_id: 'id', mount_type: 'kv', data: answer.data ?? null, auth: null });
  expect(parsed['lease_duration']).toBe(answer.leaseDuration ?? 0);
  expect(parsed['warnings']).toEqual(answer.warnings?.length ? answer.warnings : null);
});

test('names that are not plain are written as JSON has them', () => {
  const answer = { data: {} };
  expect(JSON.parse(text(answer, 'a"b\n', 'k\\v'))).toMatchObject({ request_id: 'a"b\n', mount_type: 'k\\v' });
});

test.each<[string, Value, string]>([
  ['big integers keep their digits', { n: 2n ** 64n, list: [1n] }, '{"n":18446744073709551616,"list":[1]}'],
  ['bytes are base64, however deep', { a: { b: [Buffer.from('hi')] } }, '{"a":{"b":["aGk="]}}'],
  ['a name like that of a prototype is a name', JSON.parse('{"__proto__":{"x":1}}'), '{"__proto__":{"x":1}}'],
])('%s', (_what, value, json) => {
  expect(stringifyJson(value)).toBe(json);
});

test('in CBOR bytes are bytes, integers keep all their digits, and names stand in the order of RFC 8949', () => {
  const data = { z: 1, big: 2n ** 64n - 1n, least: -(2n ** 64n), bytes: Buffer.from([1, 2]), a: [null, { b: true }] };
  const answer: Answer = { data: { ...data, ...JSON.parse('{"__proto__":{"x":1}}') } };
  const sent = send({ kind: 'answer', requestId: 'id', mountType: 'kv', flat: false, verb: 'read', answer }, true);
  expect(sent.contentType).toBe('application/cbor');
  const body = Buffer.from(sent.body as Uint8Array);
  const back = decode(body, { useMaps: true }) as Map<string, unknown>;
  const inner = back.get('data') as Map<string, unknown>;
  expect(inner.get('big')).toBe(2n ** 64n - 1n);
  expect(inner.get('least')).toBe(-(2n ** 64n));
  expect(inner.get('bytes')).toEqual(Uint8Array.of(1, 2));
  expect(inner.get('__proto__')).toEqual(new Map([['x', 1]]));
  // The integer and the byte string as the RFC has them, not a double and not a text.
  expect(body.toString('hex')).toContain('636269671bffffffffffffffff');
  expect(body.toString('hex')).toContain('656279746573420102');
  for (const names of [[...back.keys()], [...inner.keys()]]) {
    const encoded = names.map((name) => Buffer.concat([Buffer.of(0x60 + name.length), Buffer.from(name)]));
    expect(encoded).toEqual(encoded.toSorted(Buffer.compare));
  }
  expect(new Set(back.keys())).toEqual(new Set(MEMBERS));
});
