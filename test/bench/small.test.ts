import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { run as growth } from '../../bench/growth/growth.ts';
import { run as http } from '../../bench/http/http.ts';
import { run as leases } from '../../bench/leases/leases.ts';
import { main } from '../../bench/main.ts';
import { run as memory } from '../../bench/memory/memory.ts';
import { renderTable } from '../../bench/reach.ts';
import { run as read } from '../../bench/read/read.ts';
import { type BenchResult, renderResult } from '../../bench/result.ts';
import { run as start } from '../../bench/start/start.ts';
import { run as store } from '../../bench/store/store.ts';
import { run as unseal } from '../../bench/unseal/unseal.ts';

function expectFigures(result: BenchResult): void {
  expect(result.rows.length).toBeGreaterThan(0);
  for (const { what, ours, rivals } of result.rows) {
    if (!what.startsWith('growth')) expect(ours, what).toBeGreaterThan(0);
    for (const value of Object.values(rivals)) expect(value, what).toBeGreaterThan(0);
  }
  expect(renderResult(result)).not.toContain('NaN');
}

describe('the small size of each benchmark runs and measures ours and its rivals', () => {
  test('store', async () => {
    const result = await store({ small: true });
    expectFigures(result);
    expect(result.rows.map(({ what }) => what)).toEqual([
      'durable writes of 2 rows, 64 in flight',
      'durable writes of 2 rows, 1 in flight',
    ]);
  });

  test('read, whose two sides read the same secrets in every run', async () => {
    const result = await read({ small: true });
    expectFigures(result);
    expect(result.digest).toMatch(/^[0-9a-f]{64}$/);
    expect((await read({ small: true })).digest).toBe(result.digest);
  });

  test('http', async () => {
    const result = await http({ small: true }, { durationMs: 150 });
    const cases = result.rows.map(({ what }) => what);
    expect(cases).toEqual(
      ['read', 'interval', 'read', 'write', 'list', 'lookup'].map((what) => expect.stringContaining(what)),
    );
    expectFigures(result);
    expect(Object.keys(result.rows[0]?.rivals ?? {})).toEqual(['http', 'hono', 'hono-sync']);
    expect(result.rows[0]?.note).toMatch(/p50\/p99 ms: ours [\d.]+\/[\d.]+ at/);
  });

  test('growth', async () => {
    const result = await growth({ small: true });
    expectFigures(result);
    expect(result.rows.map(({ reach }) => reach).filter(Boolean)).toEqual(['<= 1.5 times: flat', '<= 1.5 times: flat']);
  });

  test('leases', async () => {
    const result = await leases({ small: true });
    expectFigures(result);
    const issued = result.rows.filter(({ what }) => what.includes('issued'));
    const verifier = 'bare driver that makes the verifier';
    const clear = 'bare driver that sends the password in clear';
    const kept = ['the same driver with the syncs of an audited lease'];
    expect(issued.map(({ rivals, reach }) => [Object.keys(rivals), reach])).toEqual([
      ...[kept, []].flatMap((more) => [
        [[verifier, clear, ...more], `>= 0.8x the ${verifier}`],
        [[clear, ...more], `>= 0.8x the ${clear}`],
      ]),
      ...[kept, []].map((more) => [['bare driver', ...more], '>= 0.8x the bare driver']),
    ]);
    for (const { what, rivals } of issued.filter((row) => row.what.startsWith('postgresql'))) {
      expect(what).toContain(`password_authentication=${verifier in rivals ? 'scram-sha-256' : 'password'}`);
    }
    const expiring = result.rows.filter(({ what }) => what.startsWith('20 leases that end within 2 s'));
    expect(expiring.map(({ unit }) => unit)).toEqual(['s', 'MiB', 'ms']);
  });

  test('memory', async () => expectFigures(await memory({ small: true })));

  test('start', async () => expectFigures(await start({ small: true })));

  test('unseal, by each kind of slot', async () => {
    const result = await unseal({ small: true });
    expectFigures(result);
    expect(result.rows.map(({ what }) => what.split(':')[0])).toEqual(
      ['keyfile', 'shamir', 'tpm2', 'tpm2 with a PIN', 'pkcs11'].flatMap((kind) => [kind, kind]),
    );
  });
});

describe('the command', () => {
  let folder = '';
  let printed = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-test-'));
    printed = '';
    for (const name of ['log', 'error'] as const) {
      vi.spyOn(console, name).mockImplementation((text: string) => {
        printed += `${text}\n`;
      });
    }
  });
  afterEach(() => {
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    [['fly'], 'there is no benchmark "fly"'],
    [['core', '--fast'], '--fast'],
    [['http', '--target', 'ftp://x'], '--target'],
    [['http', '--target=http://127.0.0.1:1'], '--token-file'],
  ])('%j is refused with a sentence', async (args, sentence) => {
    expect(await main(args)).toBe(1);
    expect(printed).toContain(sentence);
  });

  test.each([[[]], [['--help']], [['http', '--help']]])('%j prints every name and option', async (args) => {
    expect(await main(args)).toBe(0);
    for (const word of [
      'core',
      'store',
      'http',
      'growth',
      'memory',
      'start',
      'unseal',
      'all',
      'dudect',
      '--small',
      '--json',
      '--target',
    ]) {
      expect(printed).toContain(word);
    }
  });

  test('writes commit, CPU and Node beside the rows where it is asked to', async () => {
    const file = join(folder, 'results', 'store.json');
    expect(await main(['store', '--small', '--json', file])).toBe(0);
    expect(printed).toContain('durable writes');
    const [result] = JSON.parse(readFileSync(file, 'utf8')) as BenchResult[];
    expect(result).toMatchObject({ name: 'store', node: process.version, commit: expect.any(String) });
    expect(result?.cpu).toMatch(/ x \d+$/);
  });
});

test('the table shows what was not reached as that, and names what is not measured', () => {
  const row = { what: 'a', unit: 'ns', ours: 5, rivals: {}, ratio: 0.5, reach: '>= 1x b', met: false };
  const result = { name: 'n', commit: 'c', node: 'v', cpu: 'p', date: 'd', rows: [row, { ...row, met: true }] };
  const table = renderTable([result]);
  expect(table).toMatch(/n +a +>= 1x b +0\.50x +NOT met/);
  expect(table).toContain('1 of 2 met');
  expect(table).toContain('leases');
});
