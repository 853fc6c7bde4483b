import { createHash, createHmac, createPrivateKey, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { describe, expect, test } from 'vitest';
import { parseFrameHead, parseMark } from '../../../host/audit/frame.ts';
import { checkpointText, encodeVerifierKey, rawPublicKey, signNote, verifierKey } from '../../../host/audit/note.ts';
import { segmentHeader } from '../../../host/audit/segment.ts';
import { tilePath } from '../../../host/audit/tiles.ts';
import { leafHash, merkleTreeHash, readCheckpoint } from '../../reference/tlog.ts';

const document = (name: string): string => readFileSync(new URL(`../../../core/spec/${name}`, import.meta.url), 'utf8');
const blockOf = (text: string, kind: string): string =>
  new RegExp(`\`\`\`${kind}\n([^]*?)\`\`\``).exec(text)?.[1] ?? '';
const valuesOf = (text: string): ReadonlyMap<string, string> =>
  new Map(
    blockOf(text, 'text')
      .trim()
      .split('\n')
      .map((line): [string, string] => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
  );
const counting = (from: number, length = 32): Buffer => Buffer.from(Array.from({ length }, (_, at) => from + at));

describe('the worked example of core/spec/audit.md', () => {
  const values = valuesOf(document('audit.md'));
  const value = (name: string): string => values.get(name) ?? `no ${name}`;
  const lines = [Buffer.from(value('line 0')), Buffer.from(value('line 1'))];

  test('leaf hashes and root', () => {
    const hashes = lines.map(leafHash);
    expect(hashes.map((hash) => hash.toString('hex'))).toEqual([value('leaf hash 0'), value('leaf hash 1')]);
    expect(merkleTreeHash(hashes).toString('hex')).toBe(value('root'));
  });

  test('the hashed value', () => {
    const key = Buffer.from(hkdfSync('sha256', counting(0), '', 'holdfast/v1/audit-hmacaudit_log', 32));
    const hmac = createHmac('sha256', key).update('secret').digest('hex');
    expect(JSON.parse(value('line 1')).note.hashed.v).toBe(`hmac-sha256:${hmac}`);
  });

  test('the frame opens to the lines', () => {
    const head = Buffer.from(value('frame start'), 'hex');
    const data = Buffer.concat([Buffer.from('holdfast/v1/audit-frame'), counting(64, 16), head.subarray(0, 20)]);
    const plain = Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]));
    const sealed = xchacha20poly1305(counting(32), head.subarray(20, 44), data).encrypt(plain);
    const frame = Buffer.concat([head, sealed]);
    expect(frame.length).toBe(Number(value('frame length')));
    expect(frame.subarray(-16).toString('hex')).toBe(value('frame tag'));
    expect(createHash('sha256').update(frame).digest('hex')).toBe(value('frame sha256'));
    expect(parseFrameHead(frame)).toEqual({ count: 2, firstSeq: 0, length: frame.length });
  });

  test('the mark is genuine', () => {
    const mark = Buffer.from(value('mark'), 'hex');
    const key = Buffer.from(hkdfSync('sha256', counting(0), '', 'holdfast/v1/audit-mark', 32));
    const data = Buffer.concat([Buffer.from('holdfast/v1/audit-mark'), counting(64, 16), mark.subarray(0, 48)]);
    expect(createHmac('sha256', key).update(data).digest().equals(mark.subarray(48))).toBe(true);
    const head = parseMark(mark);
    expect(head?.size).toBe(2);
    expect(Buffer.from(head?.root ?? []).toString('hex')).toBe(value('root'));
  });
});

describe('the worked example of core/spec/audit-log.md', () => {
  const text = document('audit-log.md');
  const values = valuesOf(text);
  const audit = valuesOf(document('audit.md'));

  test('segment header and tile', () => {
    expect(segmentHeader(2).toString('hex')).toBe(values.get('header of the segment that begins with leaf 2'));
    expect(tilePath(0, 0, 2)).toBe(values.get('tile'));
    expect(values.get('tile bytes')).toBe(`${audit.get('leaf hash 0')}${audit.get('leaf hash 1')}`);
  });

  test('checkpoint: made by the seed, read by the independent verifier', () => {
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), counting(128)]);
    const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const origin = `holdfast/${counting(64, 16).toString('hex')}`;
    const key = verifierKey(origin, rawPublicKey(privateKey));
    expect(encodeVerifierKey(key)).toBe(values.get('verifier key'));
    const root = Buffer.from(audit.get('root') ?? '', 'hex');
    const note = blockOf(text, 'note');
    expect(signNote(checkpointText({ origin, size: 2, root }), [{ key, privateKey }])).toBe(note);
    expect(readCheckpoint(note, encodeVerifierKey(key))).toEqual({ origin, size: 2, root });
  });
});
