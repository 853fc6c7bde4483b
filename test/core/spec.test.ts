/** The worked examples of core/spec, computed by core and by slow twins that know the documents alone; and the ABI's tables. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeDeclarations } from '../../core/declare.ts';
import { encodeParameters } from '../../core/parameters.ts';
import * as leaseRows from '../../host/leases/row.ts';
import { encodePolicy } from '../../host/policies/encode.ts';
import { parsePolicy } from '../../host/policies/parse.ts';
import * as twin from '../reference/keys.ts';
import { Box, id, mountPayload, TYPES, tokenPayload } from './gate/box.ts';
import { Policies } from './policy/load.ts';
import { RawCore } from './raw.ts';

const document = (name: string): string => readFileSync(`core/spec/${name}.md`, 'utf8');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const range = (from: number, length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (from + i) & 255));
const NOW = 1_800_000_000_000;

/** The lines `name: hex` of a document. */
function examples(name: string): (line: string) => string {
  const found = new Map(
    [...document(name).matchAll(/^([\w ]+): ([0-9a-f]+)$/gm)].map(([, line = '', value = '']) => [line, value]),
  );
  expect(found.size).toBeGreaterThan(0);
  return (line) => {
    const value = found.get(line);
    if (value === undefined) throw new Error(`${name}.md has no example ${line}`);
    return value;
  };
}

/** A core whose random bytes are 00 01 02 …, with the keyring of keyring.md. */
function counted(): RawCore {
  const core = new RawCore();
  core.put(range(0, 4096));
  core.call('poolFill');
  core.put(id(9));
  expect(core.call('createKeyring', NOW)).toBe(0);
  return core;
}

/** The next random bytes are these. */
function next(core: RawCore, bytes: Uint8Array): void {
  core.put(bytes, Buffer.alloc(4096 - bytes.length));
  core.call('poolFill');
}

function jobOf(core: RawCore): number {
  expect(core.call('systemGrant', 0, 0, NOW, NOW)).toBe(0);
  return core.result(0) + core.result(1) * 2 ** 32;
}

test('record.md', () => {
  const says = examples('record');
  const nonce = range(0xe0, 24);
  const epochKey = range(0x80, 32);
  const core = counted();
  const grant = jobOf(core);
  next(core, nonce);
  core.put(id(1), Buffer.from('a token'));
  expect(core.call('sealTable', grant, 5, 16, 7)).toBe(0);
  expect(hex(core.out(core.result(0)))).toBe(says('row'));
  expect(hex(twin.sealRow({ epoch: 1, epochKey, table: 5, key: id(1), nonce, payload: Buffer.from('a token') }))).toBe(
    says('row'),
  );
  expect(hex(twin.hkdf(epochKey, Buffer.concat([Buffer.from('holdfast/v1/seal'), Buffer.of(5), id(0)])))).toBe(
    says('subkey'),
  );
  expect(says('associated data')).toBe(`${says('row').slice(0, 10)}05${hex(id(0))}${hex(id(1))}`);
});

test('names.md', () => {
  const says = examples('names');
  const names = new twin.Names(range(0x20, 32), id(2));
  expect(hex(twin.hkdf(range(0x20, 32), id(2)))).toBe(says('K'));
  expect(hex(names.directory(''))).toBe(says('top'));
  expect(hex(names.directory('app'))).toBe(says('dir app'));
  expect(hex(names.record('app/db'))).toBe(says('record'));
  expect(hex(names.directoryName('app'))).toBe(says('directory name of app'));
  expect(hex(twin.namePayload('db'))).toBe(says('name payload of db'));
  const core = new RawCore();
  core.call('declare', core.put(encodeDeclarations(TYPES)));
  next(core, range(0, 4096));
  core.put(id(9));
  core.call('createKeyring', NOW);
  const grant = jobOf(core);
  const mount = mountPayload(id(2), 'kv-v1', 'secret/');
  core.put(id(2), mount);
  expect(core.call('sealTable', grant, 10, 16, mount.length)).toBe(0);
  const row = core.out(core.result(0));
  core.put(id(2), row);
  expect(core.call('loadMount', row.length)).toBe(0);
  core.put(id(2));
  expect(core.call('systemGrant', 0, 1, NOW, NOW)).toBe(0);
  const inside = core.result(0) + core.result(1) * 2 ** 32;
  expect(core.call('locate', inside, core.put(Buffer.from('app/db')), 0)).toBe(0);
  expect(hex(core.out(32))).toBe(says('record'));
  expect(core.call('nameKey', inside, core.put(Buffer.from('app')), 1)).toBe(0);
  expect(hex(core.out(32))).toBe(says('directory name of app'));
  core.call('tokenId', core.put(Buffer.from('hvs.example')));
  expect(hex(core.out(16))).toBe(says('token row'));
  core.call('blindKey', 9, core.put(Buffer.from('reader')));
  expect(hex(core.out(16))).toBe(says('policy'));
});

test('lease.md', () => {
  const says = examples('lease');
  const hash = (name: string): Buffer => twin.hmac(range(0x40, 32), Buffer.of(12), Buffer.from(name)).subarray(0, 16);
  const lease = `db/creds/app/${'A'.repeat(24)}`;
  const directory = hash('dir:db/creds/app');
  const [entry, lane] = [hash(`lease:${lease}`), hash(`lane:${'0'.repeat(31)}8/pg`)];
  expect([directory, entry, lane].map(hex)).toEqual([says('directory'), says('entry'), says('lane')]);
  const joined = (...parts: readonly Uint8Array[]): string => hex(Buffer.concat(parts));
  expect(joined(Buffer.from('L'), hash('dir:db/creds'), Buffer.of(1), directory)).toBe(says('directory row'));
  expect(joined(Buffer.from('L'), directory, Buffer.of(2), entry)).toBe(says('lease row'));
  expect(joined(Buffer.from('T'), id(7), directory, entry)).toBe(says('token row'));
  expect(joined(Buffer.from('I'), entry)).toBe(says('intent row'));
  expect(joined(Buffer.from('Q'), lane, twin.u64(NOW), directory, entry)).toBe(says('queued row'));
  const core = new RawCore();
  core.put(range(0, 4096));
  core.call('poolFill');
  core.put(id(9));
  core.call('createKeyring', NOW);
  const keys = new leaseRows.LeaseKeys({
    blindKey: (_table, name) => {
      expect(core.call('blindKey', 12, core.put(Buffer.from(name)))).toBe(0);
      return core.out(16);
    },
  });
  expect(hex(keys.lease(lease))).toBe(says('lease row'));
  expect(hex(keys.directoryRow('db/creds/app'))).toBe(says('directory row'));
  expect(hex(keys.intent(lease))).toBe(says('intent row'));
  expect(hex(leaseRows.tokenKey(hex(id(7)), directory, entry))).toBe(says('token row'));
  expect(hex(leaseRows.queueKey({ lane, nextMs: NOW, directory, entry }))).toBe(says('queued row'));
  const queued = { sinceMs: NOW, reason: 'revoked', attempts: 0, fault: '' };
  expect(hex(leaseRows.encodeQueued(queued))).toBe(says('queued payload'));
  expect(leaseRows.decodeQueued(Buffer.from(says('queued payload'), 'hex'))).toEqual(queued);
});

test('keyring.md', () => {
  const says = examples('keyring');
  const keys = twin.drawn(range(0, 4096));
  expect(hex(twin.hkdf(keys.root, Buffer.from('holdfast/v1/keyring')))).toBe(says('row key'));
  expect(hex(twin.sealRing(keys.root, 1, keys.nonce, twin.newRing(keys, id(9), NOW)))).toBe(says('row'));
  const core = counted();
  expect(hex(core.out(core.result(0)))).toBe(says('row'));
  const [dh, enc, recipient] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(32, 3)];
  core.put(dh, enc, recipient, Buffer.from('context'));
  expect(core.call('wrapRoot', 7)).toBe(0);
  expect(hex(core.out(core.result(0)))).toBe(says('wrapped root'));
  core.put(dh, enc, recipient);
  core.call('dhkem');
  expect(hex(twin.hkdf(core.out(32), Buffer.from('holdfast/v1/wrap')))).toBe(says('wrapping key'));
});

test('freshness.md', () => {
  const says = examples('freshness');
  const rows = [
    { table: 3, key: Buffer.from('one'), value: Buffer.from('first') },
    { table: 5, key: Buffer.from('two'), value: Buffer.from('second') },
  ];
  const fingerprint = twin.fingerprint(range(0x60, 32), rows);
  expect(hex(fingerprint)).toBe(says('fingerprint'));
  const parts = {
    generation: 1,
    rows: 2,
    fingerprint,
    size: 77,
    root: Buffer.alloc(32, 6),
    timeMs: NOW,
    counters: [[id(4), 5]],
  } as const;
  expect(hex(twin.freshnessPayload(parts))).toBe(says('payload'));
  const core = counted();
  for (const { table, key, value } of rows) {
    core.put(key, value);
    expect(core.call('foldChange', table, key.length, -1, value.length)).toBe(0);
  }
  next(core, range(0xe0, 24));
  core.put(parts.root, Buffer.of(1), id(4), twin.u64(5));
  expect(core.call('sealFreshness', 77, NOW, 0)).toBe(0);
  expect(hex(core.out(core.result(0)))).toBe(says('row'));
});

test('policy.md', () => {
  const says = examples('policy');
  const source =
    'path "secret/data/+/db" { capabilities = ["read", "update"] required_parameters = ["why"] }\npath "secret/*" { capabilities = ["deny"] }';
  expect(document('policy').replace(/\s+/g, ' ')).toContain(
    'path "secret/data/+/db" { capabilities = ["read", "update"] required_parameters = ["why"] }',
  );
  expect(hex(encodePolicy('app', parsePolicy(source).rules, ''))).toBe(says('payload'));
  const parameters = encodeParameters([{ name: 'why', kind: 'text', value: 'drill' }]);
  expect(hex(parameters)).toBe(says('parameters'));
  const core = new Policies();
  core.call('policyBegin');
  expect(core.add(Buffer.from(says('payload'), 'hex'))).toBe(0);
  expect(core.call('policyCommit')).toBe(0);
  const asked = { path: 'secret/data/x/db', wanted: 'update', sudo: false, wrapTtl: 0 } as const;
  expect(core.half([0], asked)).toBe(2);
  expect(core.parameters(parameters)).toBe(1);
  expect(core.decide([0], { ...asked, parameters: [] })).toBe(0);
});

test('gate.md', () => {
  const bytes = encodeDeclarations([
    {
      type: 't',
      operations: [
        { pattern: 'data/*path', verb: 'read', subtrees: [{ at: 's/{path}', modes: ['read'], extent: 'record' }] },
      ],
    },
  ]);
  expect(hex(bytes)).toBe(examples('gate')('declarations'));
  const core = new RawCore();
  expect(core.call('declare', core.put(bytes))).toBe(0);
});

test('token.md and mount.md', () => {
  const token = tokenPayload({ mount: id(3), policies: ['app', 'default'], cidrs: [[4, 8, 10, 0, 0, 0]] });
  expect(hex(token)).toBe(examples('token')('payload'));
  expect(hex(mountPayload(id(7), 'kv-v2', 'secret/'))).toBe(examples('mount')('payload'));
  const box = new Box();
  expect(box.decide(0, 'secret/a', box.token({ mount: id(3), policies: ['app', 'default'] })).verdict).toBe('policy');
});

describe('abi.md', () => {
  const text = document('abi');
  const constants = (file: string): ReadonlyMap<string, number> =>
    new Map(
      [
        ...readFileSync(`core/assembly/${file}.ts`, 'utf8').matchAll(/export const (\w+): (?:usize|u32) = ([\w]+);/g),
      ].map(([, name = '', value = '']) => [name, Number(value.replaceAll('_', ''))]),
    );

  test('lists every export and nothing else', () => {
    const listed = [...text.matchAll(/^\| `(\w+)\(/gm)].map(([, name]) => name);
    expect(new Set([...listed, 'memory'])).toEqual(new Set(new RawCore().names));
    expect(listed).toHaveLength(new Set(listed).size);
  });

  test('lists every export with its arguments as the source has them', () => {
    const sources = ['index', 'rows', 'rewrap', 'gate', 'jobs', 'fingerprint', 'audit/group', 'audit/leaf', 'memory']
      .map((file) => readFileSync(`core/assembly/${file}.ts`, 'utf8'))
      .join('\n');
    for (const [, name, given = ''] of text.matchAll(/^\| `(\w+)\(([^)]*)\)`/gm)) {
      const declared = new RegExp(`export function ${name}\\(([^)]*)\\)`).exec(sources)?.[1] ?? 'not there';
      const names = declared
        .split(',')
        .map((one) => one.trim().split(':')[0])
        .filter((one) => one !== '');
      expect([name, names.join(', ')]).toEqual([name, given]);
    }
  });

  test('has the statuses of the source', () => {
    const listed = [...text.matchAll(/^\| (\d) \| (\w+) \|/gm)].map(([, value, name = '']) => [name, Number(value)]);
    expect(listed).toHaveLength(9);
    const known = constants('abi');
    for (const [name, value] of listed) expect([name, known.get(String(name))]).toEqual([name, value]);
  });

  test('has the regions of the source, none over another, all within memory', () => {
    const known = constants('memory');
    const regions = [...text.matchAll(/^\| ([A-Z_]+) \| (0x[0-9a-f]+) \| (\d+) \|/gm)].map(
      ([, name = '', at, size]) => ({
        name,
        at: Number(at),
        end: Number(at) + Number(size),
      }),
    );
    expect(regions.length).toBeGreaterThan(15);
    for (const { name, at } of regions) expect([name, known.get(name)]).toEqual([name, at]);
    for (const [i, { name, end }] of regions.entries()) {
      const after = regions[i + 1]?.at ?? 80 * 1024 * 1024;
      expect([name, end <= after]).toEqual([name, true]);
    }
    const addresses = [...known].filter(
      ([, value]) => value >= 0x100000 && value % 4096 === 0 && !regions.some(({ at }) => at === value),
    );
    expect(addresses.map(([name]) => name).filter((name) => !name.endsWith('_SIZE'))).toEqual([]);
  });

  test('has the example of a call', () => {
    const says = examples('abi');
    const core = new RawCore();
    core.put(Buffer.from(says('in'), 'hex'));
    core.call('hash', 3);
    expect(hex(core.out(32))).toBe(says('out'));
  });
});
