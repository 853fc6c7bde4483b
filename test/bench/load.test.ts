import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { drive, type Kind } from '../../bench/http/load.ts';
import { page } from '../../bench/http/page.ts';
import { kinds, parseSettings } from '../../bench/http/target.ts';

/** A server that stands still once for a while, and counts what it was asked. */
let server: Server;
let target: string;
let stallAt = Number.POSITIVE_INFINITY;
const STALL_MS = 400;
const asked = new Map<string, number>();
let total = 0;

beforeEach(async () => {
  asked.clear();
  total = 0;
  stallAt = Number.POSITIVE_INFINITY;
  server = createServer((request, response) => {
    total++;
    asked.set(request.url ?? '', (asked.get(request.url ?? '') ?? 0) + 1);
    if (total === stallAt) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STALL_MS);
    response.statusCode = request.url === '/bad' ? 500 : 200;
    response.end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const kind = (name: string, weight: number, path = `/${name}`): Kind => ({
  name,
  weight,
  shot: () => ({ method: 'GET', path }),
});

describe('the load generator', () => {
  test('deals the kinds out in their shares', async () => {
    await drive({ target, connections: 4, warmupMs: 0, durationMs: 300, mix: [kind('a', 80), kind('b', 20)] });
    const [a = 0, b = 0] = [asked.get('/a'), asked.get('/b')];
    // However few a busy machine lets through, the shares hold.
    expect(a + b).toBeGreaterThan(4);
    expect(Math.abs(a - 0.8 * (a + b))).toBeLessThan(2);
  });

  test('at a fixed rate a stall of the server counts for every request that waited behind it', async () => {
    stallAt = 30;
    const result = await drive({
      target,
      connections: 2,
      rate: 100,
      warmupMs: 0,
      durationMs: 1500,
      mix: [kind('a', 1)],
    });
    // About 40 requests were due during the stall; a generator that omits them sees two slow answers.
    const slow = result.curve.find((point) => point.percentile === 90);
    expect(result.latency.maxUs).toBeGreaterThan(STALL_MS * 900);
    expect(slow?.us ?? 0).toBeGreaterThan(50_000);
  });

  test('counts answers of 400 and above as failures', async () => {
    const result = await drive({ target, connections: 1, warmupMs: 0, durationMs: 100, mix: [kind('bad', 1)] });
    expect(result.failures).toBe(result.requests);
    expect(result.requests).toBeGreaterThan(0);
  });

  test('says so when nothing answers', async () => {
    const gone = drive({
      target: 'http://127.0.0.1:1',
      connections: 1,
      warmupMs: 500,
      durationMs: 1,
      mix: [kind('a', 1)],
    });
    await expect(gone).rejects.toThrow('no answer');
  });

  test('measures the CPU time of the process that is named', async () => {
    const result = await drive({
      target,
      connections: 4,
      warmupMs: 0,
      durationMs: 400,
      mix: [kind('a', 1)],
      pid: process.pid,
    });
    expect(result.requestsPerCpuSecond).toBeGreaterThan(0);
    expect(result.memoryMiB).toBeGreaterThan(1);
  });

  test('its page is one whole document that fetches nothing and runs nothing', async () => {
    const result = await drive({ target, connections: 1, warmupMs: 0, durationMs: 100, mix: [kind('a', 1)] });
    const html = page('Load <b>', [{ title: 'x & y', result }]);
    expect(html.startsWith('<!doctype html>')).toBe(true);
    expect(html).toContain('Load &#60;b&#62;');
    expect(html).not.toMatch(/<script|src=|href=|url\(|@import/);
    expect(html.match(/<svg/g)).toHaveLength(3);
    expect(html).not.toContain('NaN');
  });
});

describe('its command line', () => {
  test.each([
    [[], '--target'],
    [['--target', 'ftp://x'], '--target'],
    [['--target', 'http://127.0.0.1:1'], '--token-file'],
    [['--target', 'http://127.0.0.1:1', '--token-file', '/dev/null', '--mix', 'fly=1'], '--mix'],
    [['--target', 'http://127.0.0.1:1', '--token-file', '/dev/null', '--connections', '0'], '--connections'],
    [['--target', 'http://127.0.0.1:1', '--token-file', '/dev/null', '--mix', 'login=1'], '--login'],
  ])('%j is refused with a sentence that names %s', (args, name) => {
    expect(() => parseSettings(args)).toThrow(name);
  });

  test('visits every secret of the run', () => {
    const [read] = kinds({ mount: 'secret', secrets: 250, shares: new Map([['read', 1]]), login: undefined });
    const seen = new Set(Array.from({ length: 250 }, (_, n) => read?.shot(n).path));
    expect(seen.size).toBe(250);
    expect(seen).toContain('/v1/secret/data/bench/2/249');
  });
});
