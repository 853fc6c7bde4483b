/** The service as systemd would run it: how much it may reach, and that systemd reads every line. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SERVER_USAGE } from '../../host/config.ts';

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

  test.each(['hsm.conf', 'network.conf'])('with %s says nothing unknown, and reaches hardly more', (name) => {
    const dropIn = readFileSync(`firmware-config/systemd/${name}`, 'utf8');
    const both = changed((text) => `${present(text)}\n${dropIn}`);
    expect(analyze('verify', both)).toEqual({ status: 0, text: '' });
    expect(exposure(both)).toBeLessThanOrEqual(EXPOSURE_MAX);
  });

  test('begins as a hardware profile that the program has, and with no PIN in it', () => {
    const profile = /^Environment=HOLDFAST_PROFILE=(\S+)$/m;
    const unit = readFileSync(UNIT, 'utf8');
    const hsm = readFileSync('firmware-config/systemd/hsm.conf', 'utf8');
    expect([profile.exec(unit)?.[1], profile.exec(hsm)?.[1]]).toEqual(['edge-tpm', 'onprem-hsm']);
    for (const text of [unit, hsm]) {
      const variables = [...text.matchAll(/HOLDFAST_[A-Z0-9_]+(?==)/g)].map(([name]) => name);
      for (const name of variables) expect([name, SERVER_USAGE.includes(name)]).toEqual([name, true]);
    }
    expect(hsm).toMatch(/^LoadCredential=pin:/m);
    expect(hsm).toMatch(/^Environment=HOLDFAST_PKCS11_PIN_FILE=%d\/pin$/m);
  });

  test('reaches one device: the resource manager of the TPM', () => {
    const text = readFileSync(UNIT, 'utf8');
    expect(text).toMatch(/^DevicePolicy=closed$/m);
    expect([...text.matchAll(/^DeviceAllow=(.*)$/gm)].map(([, device]) => device)).toEqual(['/dev/tpmrm0 rw']);
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
      const rules = readFileSync('firmware-config/tmpfiles/holdfast.conf', 'utf8').replaceAll(/ holdfast(?= )/g, ' -');
      const folders = spawnSync('systemd-tmpfiles', ['--create', `--root=${root}`, '-'], {
        encoding: 'utf8',
        input: rules,
      });
      expect({ status: folders.status, text: folders.stderr }).toEqual({ status: 0, text: '' });
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });

  test('the rule of polkit lets the service’s user at readers and cards, and nobody at anything else', () => {
    type Rule = (action: { id: string }, subject: { user: string }) => unknown;
    const rules: Rule[] = [];
    const polkit = { Result: { YES: 'yes' }, addRule: (rule: Rule) => rules.push(rule) };
    runInNewContext(readFileSync('firmware-config/polkit/60-holdfast.rules', 'utf8'), { polkit });
    const ask = (id: string, user: string): unknown => rules.map((rule) => rule({ id }, { user }));
    for (const id of ['org.debian.pcsc-lite.access_pcsc', 'org.debian.pcsc-lite.access_card']) {
      expect(ask(id, 'holdfast')).toEqual(['yes']);
      expect(ask(id, 'somebody')).toEqual([undefined]);
    }
    expect(ask('org.freedesktop.systemd1.manage-units', 'holdfast')).toEqual([undefined]);
  });

  test('the rule gives the TPM to the service by name and changes nobody else', () => {
    const rule = readFileSync('firmware-config/udev/60-holdfast.rules', 'utf8');
    expect(rule).toMatch(/^SUBSYSTEM=="tpmrm", .*setfacl -m u:holdfast:rw \/dev\/%k"$/m);
    expect(rule).not.toMatch(/MODE=|GROUP=|OWNER=/);
  });
});
