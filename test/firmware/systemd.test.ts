/** The service as systemd would run it: how much it may reach, and that systemd reads every line. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const UNIT = 'firmware-config/systemd/holdfast.service';
/** systemd's own scale, 0 (nothing to reach) to 10. */
const EXPOSURE_MAX = 1.5;

function analyze(...args: string[]): { readonly status: number | null; readonly text: string } {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  return { status, text: `${stdout}${stderr}` };
}

/** As systemd scores it; NaN if it said nothing. */
function exposure(path: string): number {
  const { text } = analyze('security', '--offline=true', '--no-pager', path);
  return Number(/Overall exposure level for \S+: ([\d.]+)/.exec(text)?.[1]);
}

describe('the systemd unit', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-unit-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** The unit, changed, under its own name. */
  function changed(change: (text: string) => string): string {
    const path = join(folder, 'holdfast.service');
    writeFileSync(path, change(readFileSync(UNIT, 'utf8')));
    return path;
  }
  /** With a program that is there: where Node and the box lie is the machine's business. */
  const present = (text: string): string => text.replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true');

  test('reaches little', () => {
    expect(exposure(UNIT)).toBeLessThanOrEqual(EXPOSURE_MAX);
  });

  test('would be noticed if it reached more', () => {
    const open = changed((text) =>
      text.replace('ProtectSystem=strict', 'ProtectSystem=no').replace(/^SystemCall.*$/gm, ''),
    );
    expect(exposure(open)).toBeGreaterThan(EXPOSURE_MAX);
  });

  test('says nothing that systemd does not know', () => {
    expect(analyze('verify', changed(present))).toEqual({ status: 0, text: '' });
    expect(
      analyze(
        'verify',
        changed((text) => `${present(text)}\n[Service]\nProtectEverything=yes\n`),
      ).text,
    ).toContain('ProtectEverything');
  });

  test('writes no key to a disk', () => {
    const text = readFileSync(UNIT, 'utf8');
    expect(text).toMatch(/^LimitCORE=0$/m);
    expect(text).toMatch(/^MemorySwapMax=0$/m);
  });
});

describe('what is installed beside it', () => {
  test('the user and the folders are what systemd reads', () => {
    const root = mkdtempSync(join(tmpdir(), 'holdfast-root-'));
    try {
      const users = spawnSync('systemd-sysusers', ['--dry-run', `--root=${root}`, '-'], {
        encoding: 'utf8',
        input: readFileSync('firmware-config/sysusers/holdfast.conf', 'utf8'),
      });
      expect({ status: users.status, text: users.stderr }).toMatchObject({ status: 0 });
      expect(`${users.stdout}${users.stderr}`).toContain("Creating user 'holdfast'");
      const rules = readFileSync('firmware-config/tmpfiles/holdfast.conf', 'utf8').replaceAll(
        ' holdfast holdfast ',
        ' - - ',
      );
      const folders = spawnSync('systemd-tmpfiles', ['--create', `--root=${root}`, '-'], {
        encoding: 'utf8',
        input: rules,
      });
      expect({ status: folders.status, text: folders.stderr }).toEqual({ status: 0, text: '' });
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });

  test('the rule gives the TPM to the service by name and changes nobody else', () => {
    const rule = readFileSync('firmware-config/udev/60-holdfast.rules', 'utf8');
    expect(rule).toMatch(/^SUBSYSTEM=="tpmrm", .*setfacl -m u:holdfast:rw \/dev\/%k"$/m);
    expect(rule).not.toMatch(/MODE=|GROUP=|OWNER=/);
  });
});
