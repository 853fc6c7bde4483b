import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { NameTemplate, type TemplateInputs } from '../../../../host/engines/database/template.ts';
import { FUNCTIONS } from '../../../../host/engines/database/template-functions.ts';
import { systemRandom } from '../../../../host/system/random.ts';

const INPUTS: TemplateInputs = {
  displayName: 'token-alice',
  roleName: 'reader',
  boxId: 'b0f5',
  nowMs: Date.UTC(2026, 10, 27, 13, 5, 9, 250),
  bytes: (length) => systemRandom.bytes(length),
};
const render = (source: string, inputs: Partial<TemplateInputs> = {}, lengthMax = 255) =>
  new NameTemplate(source, lengthMax).render({ ...INPUTS, ...inputs });
/** Without the prefix that a template without `.BoxId` gets. */
const text = (source: string, inputs: Partial<TemplateInputs> = {}): string =>
  render(source, inputs).name.replace(/^v-b0f5-/, '');
const sha = (value: string): string => createHash('sha256').update(value).digest('hex');

describe('the functions of Vault’s templates', () => {
  test.each([
    ['{{ .DisplayName }}', 'token-alice'],
    ['a{{.RoleName}}b', 'areaderb'],
    ['{{ .DisplayName | truncate 5 }}', 'token'],
    ['{{ truncate 5 .DisplayName }}', 'token'],
    ['{{ truncate 50 .DisplayName }}', 'token-alice'],
    ['{{ .DisplayName | uppercase }}', 'TOKEN-ALICE'],
    ['{{ "ABC" | lowercase }}', 'abc'],
    ['{{ .DisplayName | replace "-" "_" }}', 'token_alice'],
    ['{{ replace "a" "" "banana" }}', 'bnn'],
    ['{{ "𝄞a𝄞b" | truncate 3 }}', '𝄞a𝄞'],
    ['{{ "x𝄞a𝄞b" | replace "𝄞" "c" }}', 'xcacb'],
    ['{{ printf "%.1s%.2s" "𝄞b" "ab" }}', '𝄞ab'],
    ['{{ .RoleName | sha256 }}', sha('reader')],
    ['{{ .RoleName | base64 }}', Buffer.from('reader').toString('base64')],
    ['{{ .DisplayName | truncate_sha256 10 }}', `to${sha('ken-alice').slice(0, 8)}`],
    ['{{ .DisplayName | truncate_sha256 11 }}', 'token-alice'],
    ['{{ unix_time }}', '1795784709'],
    ['{{ unix_time_millis }}', '1795784709250'],
    ['{{ timestamp "2006-01-02T15:04:05.000Z07:00" }}', '2026-11-27T13:05:09.250Z'],
    ['{{ timestamp "20060102150405" }}', '20261127130509'],
    ['{{ printf "v-%s-%s" (.DisplayName | truncate 3) .RoleName }}', 'v-tok-reader'],
    ['{{ printf "%.3s|%d%%" .RoleName 7 }}', 'rea|7%'],
    ['{{ printf "%v" unix_time }}', '1795784709'],
    ['{{ printf `%s"` .RoleName | uppercase }}', 'READER"'],
    ['x{{- /* a note */ -}}  y', 'xy'],
    ['x {{- .RoleName -}} y', 'xreadery'],
    ['{{ "}}" }}', '}}'],
    ['{{ "\\"\\\\" }}', '"\\'],
  ])('%s', (source, expected) => {
    expect(text(source)).toBe(expected);
  });

  test('random and uuid draw anew each time', () => {
    expect(text('{{ random 20 }}')).toMatch(/^[A-Za-z0-9]{20}$/);
    expect(text('{{ uuid }}')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(Array.from({ length: 100 }, () => text('{{ random 20 }}'))).size).toBe(100);
  });

  test('all of the documentation are there', () => {
    const documented =
      'random truncate truncate_sha256 uppercase lowercase replace sha256 base64 unix_time unix_time_millis timestamp uuid printf';
    expect(FUNCTIONS).toEqual(new Set(documented.split(' ')));
  });
});

describe('what is refused', () => {
  test.each([
    ['{{ env "HOME" }}', /no function "env"/],
    ['{{ .Secret }}', /"\.Secret" is no value/],
    ['{{ .DisplayName.Length }}', /Length/],
    ['{{ if true }}x{{ end }}', /no function "if"/],
    ['{{ range . }}', /no function "range"|cannot be read/],
    ['{{ random }}', /random takes 1 value/],
    ['{{ random 0 }}', /from 1 to 100/],
    ['{{ random 101 }}', /from 1 to 100/],
    ['{{ random "20" }}', /takes a number/],
    ['{{ random 20 | random 20 }}', /takes 1 value/],
    ['{{ truncate 0 .RoleName }}', /from 1 to/],
    ['{{ truncate_sha256 8 .RoleName }}', /from 9 to/],
    ['{{ printf "%s" }}', /fewer values/],
    ['{{ printf "x" .RoleName }}', /more values/],
    ['{{ printf "%x" .RoleName }}', /printf takes/],
    ['{{ printf "%99999s" .RoleName }}', /printf takes/],
    ['{{ timestamp "Monday" }}', /layout/],
    ['{{ .RoleName', /not closed/],
    ['{{ (.RoleName }}', /parenthesis/],
    ['{{ .RoleName ) }}', /does not belong/],
    ['{{ | truncate 3 }}', /begins with/],
    ['{{ .RoleName | "x" }}', /stands a function/],
    ['{{ "x }}', /not closed|cannot be read/],
    ['}} x', /without \{\{/],
    ['{{ }}', /begins with/],
    ['{{ 1e9 }}', /cannot be read/],
    ['{{ `id` | constructor }}', /no function "constructor"/],
    ['{{ __proto__ .RoleName }}', /no function "__proto__"/],
    ['a\u0000b{{ random 20 }}', /control/],
    [`{{ ${'('.repeat(20)}.RoleName${')'.repeat(20)} }}`, /deep/],
    [`{{ printf "%s" ${'.RoleName '.repeat(300)} }}`, /at most|characters|parts/],
    ['x'.repeat(1025), /1024 characters/],
  ])('%s', (source, why) => {
    const broken = (): unknown => render(source);
    expect(broken).toThrow(why);
    expect(broken).toThrow(/^username_template: /);
  });

  test('growth ends', () => {
    const grown = `{{ ${'"x" | replace "x" "xxxxxxxxxxxxxxxx"'}${' | replace "x" "xxxxxxxxxxxxxxxx"'.repeat(8)} }}`;
    expect(() => render(grown)).toThrow(/more than 1024/);
  });
});

describe('the box’s id', () => {
  test('stands where a template puts it', () => {
    const { name, prefix } = render('v-{{.BoxId}}-{{.RoleName}}-{{random 20}}');
    expect(name).toMatch(/^v-b0f5-reader-[A-Za-z0-9]{20}$/);
    expect(prefix).toBe('v-b0f5-');
  });

  test('also through printf and case', () => {
    const source = '{{ printf "HF_%s_%s_%s" .BoxId (.RoleName | truncate 8) (random 20) | uppercase | truncate 63 }}';
    const { name, prefix } = render(source);
    expect(name).toMatch(/^HF_B0F5_READER_[A-Z0-9]{20}$/);
    expect(prefix).toBe('HF_B0F5_');
  });

  test('is put in front where all names do not begin with it', () => {
    expect(render('{{.RoleName}}-{{random 20}}').prefix).toBe('v-b0f5-');
    expect(render('{{.RoleName}}-{{.BoxId}}-{{random 20}}').name).toMatch(/^v-b0f5-reader-b0f5-/);
  });
});

describe('random bits', () => {
  const least = (source: string, lengthMax = 63): number => new NameTemplate(source, lengthMax).leastBits(INPUTS);

  test('are counted as the functions leave them', () => {
    const each = Math.log2(62);
    expect(least('{{ random 20 }}')).toBeCloseTo(20 * each, 6);
    expect(least('{{ random 20 | truncate 10 }}')).toBeCloseTo(10 * each, 6);
    expect(least('{{ random 20 | uppercase }}')).toBeCloseTo(20 * (each - 1), 6);
    expect(least('{{ uuid }}')).toBeCloseTo(122, 6);
    expect(least('{{ random 40 | sha256 | truncate 16 }}')).toBeLessThanOrEqual(16 * 4);
    expect(least('{{ random 20 | base64 }}', 128)).toBeCloseTo(20 * each, 6);
    expect(least('{{ random 20 | truncate_sha256 12 }}')).toBeLessThanOrEqual(4 * each + 32);
    expect(least('{{.RoleName}}-{{unix_time}}')).toBe(0);
  });

  test('what a long name pushes out does not count', () => {
    expect(least('{{.RoleName}}-{{random 20}}')).toBe(0);
    expect(least('{{.RoleName | truncate 20}}-{{random 20}}')).toBeGreaterThan(80);
    expect(least('{{printf "v-%s-%s" .DisplayName (random 20) | truncate 32}}')).toBe(0);
    expect(least('{{random 20}}-{{.RoleName}}')).toBeGreaterThan(80);
  });
});

describe('hostile names', () => {
  const CONTROL = /\p{Cc}/gu;
  test.each(['"; DROP ROLE x; --', "''''", '$$x$$', 'a\u0000b', '../..', 'naïve ☃ 𝄞', '`id`', '{{random 5}}', '%s%s'])(
    '%j goes in as data, without control characters',
    (hostile) => {
      const { name, bits } = render('v-{{.BoxId}}-{{random 20}}-{{.RoleName}}', { roleName: hostile }, 63);
      expect(name).toMatch(/^v-b0f5-[A-Za-z0-9]{20}-/);
      expect(name.slice(28)).toBe(hostile.replace(CONTROL, ''));
      expect(bits).toBeGreaterThan(80);
    },
  );

  test('are cut at whole characters, by bytes', () => {
    const { name } = render('v-{{.BoxId}}-{{random 20}}-{{.RoleName}}', { roleName: '𝄞'.repeat(60) }, 63);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
    expect(name.isWellFormed()).toBe(true);
  });
});
