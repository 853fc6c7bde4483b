import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { describe, expect, test } from 'vitest';

/**
 * Who may import whom (ARCHITECTURE.md, "Rooms"). A room is the longest prefix below that a file begins with; a file may
 * import its own room and the rooms named for it. `native`: packages and node: modules of its own choice are checked by
 * the second table.
 */
const PURE = [
  'host/json.ts',
  'host/fault.ts',
  'host/secret.ts',
  'host/duration.ts',
  'host/timestamp.ts',
  'host/payload.ts',
  'host/networks.ts',
  'host/remembered.ts',
];
const PORTS = ['host/ports', 'core/types.ts'];
const BASE = [...PURE, ...PORTS];
const SERVICES_DOWN = {
  'host/audit': [...BASE, 'core/index.ts'],
  'host/barrier': [...BASE, 'core/index.ts', 'host/audit'],
  'host/policies': [...BASE, 'core/index.ts', 'host/barrier', 'host/audit'],
  'host/tokens': [...BASE, 'core/index.ts', 'host/policies', 'host/barrier', 'host/audit', 'host/leases'],
  'host/leases': [...BASE, 'core/index.ts', 'host/barrier', 'host/audit'],
  'host/mounts': [
    ...BASE,
    'core/index.ts',
    'host/leases',
    'host/tokens',
    'host/policies',
    'host/barrier',
    'host/audit',
  ],
};
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  'core/assembly': [],
  'core/types.ts': [],
  'core/wasm.ts': ['core/types.ts'],
  'core/declare.ts': ['core/types.ts'],
  'core/parameters.ts': ['core/types.ts'],
  'core/peer.ts': [],
  'core/key-calls.ts': ['core/types.ts', 'core/wasm.ts'],
  'core/facade.ts': [
    'core/types.ts',
    'core/wasm.ts',
    'core/key-calls.ts',
    'core/declare.ts',
    'core/parameters.ts',
    'core/peer.ts',
  ],
  'core/index.ts': ['core/types.ts', 'core/wasm.ts', 'core/facade.ts'],
  'host/json.ts': ['host/fault.ts', 'host/ports'],
  'host/fault.ts': [],
  'host/secret.ts': [],
  'host/duration.ts': [],
  'host/timestamp.ts': [],
  'host/payload.ts': ['host/ports'],
  'host/networks.ts': ['host/fault.ts'],
  'host/remembered.ts': [],
  'host/ports': [...PURE, 'core/types.ts'],
  'host/system': BASE,
  'host/config.ts': [...BASE, 'host/config', 'firmware-config'],
  'host/config': BASE,
  'host/seal/shamir': [...BASE, 'core/index.ts'],
  'host/seal/keyfile': [...BASE, 'host/system'],
  'host/seal/tpm2': [...BASE, 'host/seal/pin.ts'],
  'host/seal/pkcs11': [...BASE, 'host/seal/pin.ts'],
  'host/seal': [...BASE, 'core/index.ts', 'host/barrier', 'host/audit'],
  'host/store/lmdb': [...BASE, 'host/store', 'host/system'],
  'host/store/memory': [...BASE, 'host/store'],
  'host/store': BASE,
  'host/databases': BASE,
  ...SERVICES_DOWN,
  'host/engines/sys': [...BASE, ...Object.keys(SERVICES_DOWN), 'host/seal'],
  'host/engines': [...BASE, 'host/barrier', 'host/leases', 'host/tokens'],
  'host/auth': [...BASE, 'host/barrier', 'host/leases', 'host/tokens'],
  'host/api': [...BASE, 'host/mounts', 'host/tokens', 'host/audit', 'host/barrier'],
  'host/cli': [...BASE, 'core/index.ts', 'host/audit'],
  'host/announce.ts': BASE,
  // Puts services and engines together without naming an adapter: tests build the same box over theirs.
  'host/services.ts': [...BASE, ...Object.keys(SERVICES_DOWN), 'host/engines', 'host/auth'],
  'host/server.ts': [...BASE, 'host/audit', 'host/api', 'host/services.ts'],
  // Names adapters as main.ts does: it opens a stopped box to verify its log.
  'host/diagnose.ts': ['host', 'core/types.ts'],
  'host/verify-stopped.ts': ['host', 'core/index.ts', 'core/types.ts'],
  'host/main.ts': ['host', 'core/index.ts', 'core/types.ts', 'package.json'],
};

/** Drivers that one room alone loads, when it is asked for the first time: a box without such a server pays nothing. */
const DRIVERS: Readonly<Record<string, string>> = {
  pg: 'host/databases/postgresql',
  mysql2: 'host/databases/mysql',
  croner: 'host/system',
};

/** Rooms whose folders may not look into each other: one folder an engine, an auth method, an adapter. */
const SEPARATE = ['host/engines', 'host/auth', 'host/databases', 'host/store', 'host/seal'];

const roomOf = (file: string): string | undefined =>
  Object.keys(ROOMS)
    .filter((room) => file === room || file.startsWith(`${room}/`))
    .sort((a, b) => b.length - a.length)[0];

const within = (file: string, room: string): boolean => file === room || file.startsWith(`${room}/`);

/** Sentences that say which imports of a file its room does not have. */
function broken(file: string, text: string): string[] {
  const room = roomOf(file);
  if (room === undefined) return [`${file} belongs to no room`];
  const allowed = ROOMS[room] ?? [];
  const sentences: string[] = [];
  for (const match of text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*['"](\.{1,2}\/[^'"]+)['"]/g)) {
    const target = posix.join(posix.dirname(file), match[1] ?? '');
    const allowedHere = roomOf(target) === room || allowed.some((other) => within(target, other));
    const parent = SEPARATE.find((one) => within(file, one) && within(target, one));
    const folder = (path: string): string => path.slice((parent ?? '').length + 1).split('/')[0] ?? '';
    const crosses =
      parent !== undefined &&
      folder(file) !== folder(target) &&
      folder(target).includes('.') === false &&
      folder(file).includes('.') === false;
    if (!allowedHere || crosses) sentences.push(`${file} imports ${target}`);
  }
  return sentences;
}

/** What only some files may say, and why it is not said elsewhere. */
const WORDS: readonly { readonly word: RegExp; readonly except: readonly string[]; readonly why: string }[] = [
  {
    word: /\bDate\b(?!['"`\w])|\bperformance\.now|process\.hrtime/,
    except: ['host/system', 'host/main.ts'],
    why: 'time is a port',
  },
  { word: /\bMath\.random\b/, except: [], why: 'randomness is a port' },
  { word: /\bprocess\.env\b/, except: ['host/system', 'host/main.ts'], why: 'the environment is read in one place' },
  {
    word: /(?<![.\w])(setTimeout|setInterval|setImmediate)\((?!\))/,
    except: ['host/system', 'host/main.ts'],
    why: 'timers are a port',
  },
  { word: /memory\.buffer/, except: ['core/wasm.ts', 'core/assembly'], why: 'one file sees the memory of core' },
];

const SILENCED = /@ts-(ignore|expect-error|nocheck)|biome-ignore|eslint-disable/;
const UNFINISHED = /\b(TODO|FIXME|XXX|HACK)\b/;
const LINES_MAX = 450;

/** Comments may name what code may not say. */
const codeOf = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');

const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter((file) => /\.(ts|mjs)$/.test(file));
const product = tracked.filter((file) => /^(core|host)\/.*\.ts$/.test(file));
const read = (file: string): string => readFileSync(file, 'utf8');

describe('imports go one way', () => {
  test('no file of core or host imports a room that it may not', () => {
    expect(product.length).toBeGreaterThan(20);
    expect(product.flatMap((file) => broken(file, read(file)))).toEqual([]);
  });

  test('nothing imports test or bench', () => {
    const guilty = product.filter((file) => /from\s+['"][^'"]*\/(test|bench)\//.test(read(file)));
    expect(guilty).toEqual([]);
  });

  test.each([
    ['host/engines/kv/v2.ts', "import { x } from '../cubbyhole/engine.ts';"],
    ['host/engines/kv/v2.ts', "import { x } from '../../api/server.ts';"],
    ['host/api/server.ts', "import { x } from '../engines/kv/v2.ts';"],
    ['host/ports/store.ts', "import { x } from '../store/lmdb/store.ts';"],
    ['host/seal/slots.ts', "import { x } from './keyfile/keyfile.ts';"],
    ['host/barrier/view.ts', "import { x } from '../tokens/tokens.ts';"],
    ['host/cli/kv.ts', "import { x } from '../mounts/dispatch.ts';"],
    ['core/index.ts', "import { x } from '../host/fault.ts';"],
    ['core/assembly/gate.ts', "export { x } from '../types.ts';"],
    ['host/unknown/a.ts', ''],
  ])('the rule bites: %s with %j', (file, text) => {
    expect(broken(file, text)).toHaveLength(1);
  });
});

/** Sentences about drivers that a file imports from elsewhere, or before anybody asked for them. */
function drivers(file: string, text: string): string[] {
  return Object.entries(DRIVERS).flatMap(([name, room]) => {
    const sentences: string[] = [];
    if (new RegExp(`(from|import\\()\\s*['"]${name}['"]`).test(text) && !within(file, room)) {
      sentences.push(`${file} imports ${name}`);
    }
    if (new RegExp(`^(import|export) (?!type ).*['"]${name}['"]`, 'm').test(text)) {
      sentences.push(`${file} loads ${name} at its start`);
    }
    return sentences;
  });
}

describe('drivers are loaded by one room, when they are needed', () => {
  test('no file loads one at its start or from another room', () => {
    expect(product.flatMap((file) => drivers(file, read(file)))).toEqual([]);
  });

  test.each([
    ['host/databases/mysql/a.ts', "const { Client } = await import('pg');"],
    ['host/engines/database/a.ts', "import type { Client } from 'pg';"],
    ['host/databases/postgresql/a.ts', "import pg from 'pg';"],
    ['host/system/cron.ts', "import { Cron } from 'croner';"],
  ])('the rule bites: %s with %j', (file, text) => {
    expect(drivers(file, text)).toHaveLength(1);
  });
});

describe('what is said in one place only', () => {
  test.each(WORDS.map(({ word, except, why }) => [why, word, except] as const))('%s', (_why, word, except) => {
    const guilty = product.filter(
      (file) => !except.some((room) => within(file, room)) && word.test(codeOf(read(file))),
    );
    expect(guilty).toEqual([]);
  });

  test('the rules bite', () => {
    const guilty = [
      'const now = Date.now();',
      'new Date()',
      'Math.random()',
      'process.env.HOME',
      'setTimeout(f, 1)',
      'this.memory.buffer',
    ];
    for (const line of guilty) expect(WORDS.some(({ word }) => word.test(codeOf(line)))).toBe(true);
    for (const line of ['// Date.now() is a port', 'clock.setTimeoutish', "'Date'"]) {
      expect(WORDS.some(({ word }) => word.test(codeOf(line)))).toBe(false);
    }
  });
});

describe('nothing is silenced, left over or endless', () => {
  const own = tracked.filter((file) => file !== 'test/tidy.test.ts');

  test('no suppression of the compiler or the linter', () => {
    expect(own.filter((file) => SILENCED.test(read(file)))).toEqual([]);
    expect(SILENCED.test('// @ts-ignore')).toBe(true);
  });

  test('no leftovers', () => {
    expect(own.filter((file) => UNFINISHED.test(read(file)))).toEqual([]);
    expect(UNFINISHED.test(`// ${'TO'}DO later`)).toBe(true);
  });

  test('no skipped or focused test without a stated reason', () => {
    const guilty = own.filter((file) => /\b(it|test|describe)\.(only|todo|skip)\(/.test(read(file)));
    expect(guilty).toEqual([]);
  });

  test(`files of the product have at most ${LINES_MAX} lines`, () => {
    const generated = (text: string): boolean => text.slice(0, 400).includes('Generated by');
    const long = product.filter((file) => {
      const text = read(file);
      return !generated(text) && text.split('\n').length > LINES_MAX;
    });
    expect(long).toEqual([]);
  });

  test('no path of one machine and no name of a registry host in any file', () => {
    const all = execFileSync('git', ['ls-files'], { encoding: 'utf8' }).split('\n').filter(Boolean);
    const here = new RegExp(['/wo' + 'rk/', '/ro' + 'ot/', 'registry\\.np' + 'mjs', 'npmjs\\.o' + 'rg'].join('|'));
    expect(all.filter((file) => here.test(readFileSync(file, 'latin1')))).toEqual([]);
  });
});
