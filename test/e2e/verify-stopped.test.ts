/** `holdfast audit verify -data`: the log of a stopped box, with and without what opens it, and after somebody was at it. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Home } from './server.ts';

const home = new Home();
const stranger = new Home();
const files = {
  key: join(home.folder, 'kept-key'),
  early: join(home.folder, 'early'),
  foreign: join(home.folder, 'foreign'),
};
afterAll(() => Promise.all([home.close(), stranger.close()]));

beforeAll(async () => {
  const server = await home.start();
  const write = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) await server.call('POST', `secret/data/n${n}`, { data: { n } });
  };
  await write(20);
  const keys = (await server.call('GET', 'sys/audit-log/key')).json?.['data'] as { readonly keys: string[] };
  writeFileSync(files.key, `${keys.keys.join('\n')}\n`);
  writeFileSync(files.early, (await server.call('GET', 'sys/audit-log/checkpoint', undefined, '')).text);
  await write(120);
  await server.stop();
  const other = await stranger.start();
  writeFileSync(files.foreign, (await other.call('GET', 'sys/audit-log/checkpoint', undefined, '')).text);
  await other.stop();
}, 60_000);

function verify(data: string, by: Home, ...flags: readonly string[]): { readonly code: number | null; out: string } {
  const args = ['host/cli/holdfast.mjs', 'audit', 'verify', `-data=${data}`, ...flags];
  const run = spawnSync(process.execPath, args, { env: by.variables, encoding: 'utf8' });
  return { code: run.status, out: `${run.stdout}${run.stderr}` };
}

/** A copy of the data folder for somebody to be at. */
function copy(name: string): string {
  const folder = join(home.folder, name);
  rmSync(folder, { recursive: true, force: true });
  cpSync(home.data, folder, { recursive: true });
  return folder;
}

describe('a log that nobody touched', () => {
  test('is opened line by line where this machine’s key file opens the box', () => {
    const { code, out } = verify(home.data, home);
    expect([code, out]).toEqual([0, expect.stringContaining('every line was opened and hashed')]);
    expect(out).toContain(join(home.config, 'keyfile'));
    expect(out).toContain('hold it to one that was kept elsewhere with -key');
  });

  test('is verified by tiles, checkpoint and marks elsewhere, and says that and why', () => {
    const { code, out } = verify(home.data, stranger);
    expect([code, out]).toEqual([0, expect.stringContaining('lines were not opened')]);
    expect(out).toContain('tiles, checkpoint and marks alone');
  });

  test('is held to the key and the checkpoint that somebody kept', () => {
    const kept = verify(home.data, stranger, `-key=${files.key}`, `-checkpoint=${files.early}`);
    expect([kept.code, kept.out]).toEqual([0, expect.stringContaining('signed by the key that was given')]);
    expect(kept.out).toContain('still begins with the leaves of the kept checkpoint');
    const json = JSON.parse(verify(home.data, home, `-checkpoint=${files.early}`, '-format=json').out) as object;
    expect(json).toMatchObject({ ok: true, keptAgrees: true, keyFrom: 'folder', frames: 'opened' });
  });

  test('is refused where the checkpoint or the key is another box’s', () => {
    const foreign = verify(home.data, home, `-checkpoint=${files.foreign}`);
    expect([foreign.code, foreign.out]).toEqual([2, expect.stringContaining('kept elsewhere: it is not signed')]);
    const key = verify(home.data, home, `-key=${join(stranger.data, 'audit', 'keys')}`);
    expect([key.code, key.out]).toEqual([2, expect.stringContaining('not signed by a key of this log')]);
    expect(key.out).not.toContain('every line');
  });
});

describe('a log that somebody was at', () => {
  const flip = (file: string, at: number): void => {
    const bytes = readFileSync(file);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
  };
  const segmentOf = (data: string): string => join(data, 'audit', 'segment', '0000000000000000');

  test('a changed frame is named, and found without the key too where its tile tells', () => {
    const data = copy('frame');
    flip(segmentOf(data), 200);
    const { code, out } = verify(data, home);
    expect([code, out]).toEqual([2, expect.stringMatching(/does NOT agree: .*segment/)]);
  });

  test('a changed tile is named', () => {
    const data = copy('tile');
    flip(join(data, 'audit', 'tile', '0', '000'), 64);
    for (const by of [home, stranger]) {
      const { code, out } = verify(data, by);
      expect([code, out]).toEqual([2, expect.stringMatching(/does NOT agree: .*tile\/0\/000/)]);
    }
  });

  test('a changed checkpoint is no longer signed', () => {
    const data = copy('checkpoint');
    const file = join(data, 'audit', 'checkpoint');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/\n\d+\n/, '\n7\n'));
    const { code, out } = verify(data, stranger);
    expect([code, out]).toEqual([2, expect.stringContaining('not signed by a key of this log')]);
  });

  test('lines cut off at the end are missed by whoever kept a checkpoint, and by the one on the disk', () => {
    const data = copy('cut');
    truncateSync(segmentOf(data), 4096);
    const { code, out } = verify(data, home);
    expect([code, out]).toEqual([2, expect.stringContaining('does NOT agree')]);
  });

  test('a whole log made anew does not hold the kept checkpoint', () => {
    const data = copy('anew');
    rmSync(join(data, 'audit'), { recursive: true });
    cpSync(join(stranger.data, 'audit'), join(data, 'audit'), { recursive: true });
    expect(verify(data, stranger, `-key=${files.key}`).code).toBe(2);
    expect(verify(data, stranger, `-checkpoint=${files.early}`).code).toBe(2);
  });

  test('a folder without a log is a mistake here', () => {
    const empty = join(home.folder, 'empty');
    mkdirSync(empty);
    const { code, out } = verify(empty, home);
    expect([code, out]).toEqual([1, expect.stringContaining('there is no audit log')]);
    expect(readdirSync(empty)).toEqual([]);
  });
});
