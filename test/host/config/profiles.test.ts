/** The profiles, and the table that tells operators of every knob. `npx vitest run test/host/config -u` writes it anew. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { KNOBS, readKnobs } from '../../../host/config/knobs.ts';
import { formatListen, type Listen } from '../../../host/config/listen.ts';
import { CONFIG_KEYS, loadConfig, PROFILE_NAMES, profileSettings } from '../../../host/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-profiles-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const load = (variables: Record<string, string> = {}, args: readonly string[] = []) =>
  loadConfig({ args, variables: { HOME: folder, ...variables }, workingFolder: folder }).config;
const HSM = { HOLDFAST_PKCS11_MODULE: '/usr/lib/hsm.so', HOLDFAST_PKCS11_TOKEN: 'box' };

/** As a person would write it in the file; lists of addresses as texts. */
function shown(value: unknown): string {
  const isListen = (one: unknown): one is Listen => typeof one === 'object' && one !== null && 'kind' in one;
  const plain = Array.isArray(value) ? value.map((one) => (isListen(one) ? formatListen(one) : one)) : value;
  return `\`${JSON.stringify(plain)}\``;
}

function document(): string {
  const rows = CONFIG_KEYS.map((key) => {
    const { unit, says, must } = KNOBS[key];
    const values = PROFILE_NAMES.flatMap((name) => {
      const value = shown(profileSettings(name)[key]);
      return name === 'dev' || value === shown(profileSettings('dev')[key]) ? [] : [`${value} in ${name}`];
    });
    const defaults = key === 'profile' ? '`"dev"`' : [shown(profileSettings('dev')[key]), ...values].join(', ');
    return `| \`${key}\` | ${unit} | ${defaults} | ${says} It ${must}. |`;
  });
  return `# Profiles

A profile is a set of defaults, named by \`profile\` in holdfast.json, by \`HOLDFAST_PROFILE\` or by \`--profile\`. \`dev.json\` sets every
knob; the others say what is different in them. All of them are part of the program: these files are read when it is built.

| profile | for | opens by itself |
|---|---|---|
| dev | a first look, tests, containers: a key file beside the data, any slot may be added | by its key file |
| edge-tpm | a box in the field, with a TPM 2.0 | by its TPM, if it was started as it was when the slot was made |
| onprem-hsm | a rack with an HSM or a token (PKCS#11) | by its HSM, with the PIN of \`seal.pkcs11.pinFile\` |
| airgapped | a box that no network reaches | not: by its shares, or by a TPM or HSM with a PIN that a person adds and brings |

The hardware profiles refuse key files, and believe the clock only while NTP holds it or an operator says so.

A knob stands in holdfast.json as its parts: \`seal.tpm2.pcrs\` is \`{"seal": {"tpm2": {"pcrs": [7, 11, 12]}}}\`. What is not in this table
is refused. Flags win over variables, variables over the file, the file over the profile.

| knob | unit | default | what it is for |
|---|---|---|---|
${rows.join('\n')}
`;
}

describe('profiles', () => {
  test('the table of all knobs is what the program has', async () => {
    await expect(document()).toMatchFileSnapshot('../../../firmware-config/profiles/README.md');
  });

  test('every knob has a sentence, and numbers with a unit say it', () => {
    for (const key of CONFIG_KEYS) {
      const { says, unit } = KNOBS[key];
      expect([key, says]).toEqual([key, expect.stringMatching(/^[A-Z$a].{10,}\.$/)]);
      expect([key, unit]).toEqual([key, key.endsWith('Ms') ? 'ms' : /Bytes(Max)?$/.test(key) ? 'bytes' : '']);
    }
  });

  test('a flag, a variable or the file chooses one, and each knob of the file wins over it', () => {
    expect(load({ HOLDFAST_PROFILE: 'edge-tpm' })).toMatchObject({ profile: 'edge-tpm', 'seal.initial': ['tpm2'] });
    expect(load({ HOLDFAST_PROFILE: 'edge-tpm' }, ['--profile=airgapped'])).toMatchObject({ profile: 'airgapped' });
    const write = (value: unknown): string => {
      const home = mkdtempSync(join(folder, 'home-'));
      writeFileSync(join(home, 'holdfast.json'), JSON.stringify(value), { mode: 0o600 });
      return home;
    };
    const home = write({ profile: 'edge-tpm', seal: { tpm2: { pcrs: [7, 11, 12] } }, limits: { drainMs: 1 } });
    expect(load({ HOLDFAST_CONFIG: home })).toMatchObject({
      'seal.allowed': ['tpm2', 'shamir'],
      'seal.tpm2.pcrs': [7, 11, 12],
      'limits.drainMs': 1,
      'time.trust': 'synced',
      'limits.connectionCountMax': 512,
    });
    expect(() => load({ HOLDFAST_PROFILE: 'edge' })).toThrow('HOLDFAST_PROFILE: profile must be "dev" or "edge-tpm"');
  });

  test.each(PROFILE_NAMES)('%s is whole, and names itself', (name) => {
    const document = JSON.parse(readFileSync(`firmware-config/profiles/${name}.json`, 'utf8'));
    expect(readKnobs(document, name)).toMatchObject({ profile: name });
    expect(new Set(Object.keys(load({ HOLDFAST_PROFILE: name, ...HSM })))).toEqual(new Set(CONFIG_KEYS));
  });

  test.each(PROFILE_NAMES.filter((name) => name !== 'dev'))(
    '%s refuses a key file and asks for a held clock',
    (name) => {
      const settings = profileSettings(name);
      expect(settings['seal.allowed']).not.toContain('keyfile');
      expect(settings['seal.initial']).not.toContain('keyfile');
      expect(settings['seal.allowed']).toContain('shamir');
      expect(settings['time.trust']).toBe('synced');
      expect(settings['debug.coreDumps']).toBe(false);
    },
  );

  test.each([
    [{ HOLDFAST_PROFILE: 'onprem-hsm' }, 'HOLDFAST_PKCS11_MODULE'],
    [{ HOLDFAST_PKCS11_MODULE: '/usr/lib/hsm.so' }, 'one is missing'],
    [{ HOLDFAST_PKCS11_TOKEN: 'box' }, 'one is missing'],
    [{ HOLDFAST_PKCS11_TOKEN: 'b'.repeat(33), HOLDFAST_PKCS11_MODULE: '/m' }, 'at most 32 printable'],
    [{ HOLDFAST_TPM2_TCTI: 'device:\n/dev/tpm0' }, 'printable'],
  ])('%j is refused with a sentence', (variables, sentence) => {
    expect(() => load(variables)).toThrow(sentence);
  });

  test.each([
    [{ seal: { initial: ['shamir'] } }, 'take shamir out'],
    [{ seal: { allowed: ['shamir'], initial: ['tpm2'] } }, 'seal.initial names tpm2'],
    [{ seal: { tpm2: { tcti: '' } } }, 'seal.tpm2.tcti is empty'],
    [{ seal: { tpm2: { pcrs: [24] } } }, 'PCR numbers from 0 to 23'],
    [{ seal: { tpm2: { versionIndex: '0x01000000' } } }, 'NV index of the owner'],
    [{ seal: { tpm2: { signerFile: '/key.pem' } } }, 'both seal.tpm2.signerFile and seal.tpm2.policyFolder'],
    [{ seal: { tpm2: 'none' } }, 'seal.tpm2 must be an object'],
    [{ seal: { tpm3: {} } }, 'no setting "seal.tpm3"'],
  ])('the file %j is refused with a sentence', (content, sentence) => {
    const home = mkdtempSync(join(folder, 'home-'));
    writeFileSync(join(home, 'holdfast.json'), JSON.stringify(content), { mode: 0o600 });
    expect(() => load({ HOLDFAST_CONFIG: home })).toThrow(sentence);
  });

  test('the names of variables for TPM and HSM reach their knobs', () => {
    const config = load({ HOLDFAST_TPM2_TCTI: 'swtpm:path=/s', HOLDFAST_PKCS11_PIN_FILE: 'pin', ...HSM });
    expect(config).toMatchObject({
      'seal.tpm2.tcti': 'swtpm:path=/s',
      'seal.pkcs11.module': '/usr/lib/hsm.so',
      'seal.pkcs11.token': 'box',
      'seal.pkcs11.pinFile': join(folder, 'pin'),
    });
  });
});
