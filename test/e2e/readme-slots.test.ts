/** The README's boxes with a TPM and with an HSM, and the drill of a dead chip, run as they are written but for the port. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const blocks = [...readFileSync('README.md', 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text = '']) => text);
const home = mkdtempSync(join(tmpdir(), 'holdfast-readme-'));
afterAll(() => {
  // What a failed script left running.
  const pid = join(home, 'tpm-box/pid');
  if (existsSync(pid)) spawnSync('sh', ['-c', `kill -9 ${readFileSync(pid, 'latin1')}`]);
  rmSync(home, { recursive: true, force: true });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** As one terminal: what fails ends it, and its server. */
async function run(...scripts: readonly string[]): Promise<{ readonly status: number | null; readonly out: string }> {
  const program = join(process.cwd(), 'host/cli/holdfast.mjs');
  const script = scripts
    .join('\n')
    .replaceAll('npx holdfast', `${process.execPath} ${program}`)
    .replaceAll('node host/cli/holdfast.mjs', `${process.execPath} ${program}`);
  const ended = 'trap \'test -z "$server" || kill $server 2>/dev/null || true\' EXIT';
  const { status, stdout, stderr } = spawnSync('sh', ['-ec', `${ended}\n${script}`], {
    env: { PATH: process.env['PATH'] ?? '', HOME: home, HOLDFAST_LISTEN: `127.0.0.1:${await freePort()}` },
    encoding: 'utf8',
    timeout: 110_000,
  });
  return { status, out: `${stdout}${stderr}` };
}

const starting = (what: string): string => {
  const found = blocks.filter((text) => text.startsWith(what));
  expect(found).toHaveLength(1);
  return found[0] ?? '';
};

test('a box with a TPM opens by itself after a start, and survives its chip', { timeout: 120_000 }, async () => {
  const { status, out } = await run(
    starting('mkdir -p ~/tpm-box/chip'),
    starting('kill $server; wait $server\nkill $(cat'),
  );
  expect({ status, out }).toMatchObject({ status: 0 });
  expect(out.match(/tpm2 +by itself/g)).toHaveLength(1);
  expect(out.match(/correct horse/g)?.length).toBe(2);
  expect(out).toContain('this is another TPM, or it was cleared');
  expect(out).toMatch(/note +slot|bad +opening/);
});

test('a box with an HSM opens by itself after a start', { timeout: 120_000 }, async () => {
  const { status, out } = await run(starting('mkdir -p ~/hsm-box/softhsm'));
  expect({ status, out }).toMatchObject({ status: 0 });
  expect(out).toMatch(/pkcs11 +by itself/);
  expect(out).toMatch(/opens +true/);
});
