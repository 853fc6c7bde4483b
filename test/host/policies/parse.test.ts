/** Policies as people and programs write them: what is taken, what is refused with which line, and what bad input costs. */
import { describe, expect, test } from 'vitest';
import { isFault } from '../../../host/fault.ts';
import { encodePolicy } from '../../../host/policies/encode.ts';
import { parsePolicy } from '../../../host/policies/parse.ts';
import type { PolicyRule } from '../../../host/policies/rule.ts';
import { OK, Policies } from '../../core/policy/load.ts';

const rulesOf = (source: string): readonly PolicyRule[] => parsePolicy(source).rules;
function only(source: string): PolicyRule {
  const [rule, ...more] = rulesOf(source);
  expect(more).toEqual([]);
  if (rule === undefined) throw new Error('there is no rule');
  return rule;
}

/** The sentence of a refusal; anything but an answer of 400 is thrown on. */
function refusal(source: string): string {
  try {
    encodePolicy('p', rulesOf(source), source);
  } catch (error) {
    if (isFault(error) && error.code === 'input.invalid') return error.message;
    throw error;
  }
  return 'taken';
}

describe('a policy in HCL is taken', () => {
  test('with all three kinds of comments, attributes and objects', () => {
    const rule = only(`
# one
// two
/* three
   lines */
path "secret/data/app/*" {
  capabilities = ["read", "list",] // a comma too many
  required_parameters = ["Why"]
  allowed_parameters = { "Mode" = ["fast", 7, true, null], "other" = [] }
  denied_parameters { "bad" = [{ "b" = 1, "a" = [2] }] }
  min_wrapping_ttl = "1m30s"
  max_wrapping_ttl = 3600
  comment = "for people"
}`);
    expect(rule).toEqual({
      path: 'secret/data/app/*',
      capabilities: ['read', 'list'],
      minWrappingTtl: 90,
      maxWrappingTtl: 3600,
      required: ['why'],
      allowed: new Map([
        [
          'mode',
          [
            { kind: 'text', value: 'fast' },
            { kind: 'json', value: '7' },
            { kind: 'json', value: 'true' },
            { kind: 'json', value: 'null' },
          ],
        ],
        ['other', []],
      ]),
      denied: new Map([['bad', [{ kind: 'json', value: '{"a":[2],"b":1}' }]]]),
    });
  });

  test.each<readonly [string, string, string]>([
    ['without anything', '', ''],
    ['of comments alone', '# nothing\n', ''],
    ['with a name', 'name = "x"\npath "a" { capabilities = ["read"] }', 'a'],
    ['on one line', 'path "a" { capabilities = ["read"] } path "b" {}', 'a b'],
    ['with Windows lines', 'path "a" {\r\n  capabilities = ["read"]\r\n}\r\n', 'a'],
    ['with path in quotes', '"path" "a" {}', 'a'],
    ['with escapes', 'path "a\\u00e4\\U0001d11e\\"\\\\" {}', 'aä𝄞"\\'],
    ['with slashes in front', 'path "//a/" {}', 'a/'],
    ['with a heredoc', 'path "a" {\n comment = <<EOT\n } path "b" {\nEOT\n}', 'a'],
    ['with an indented heredoc', 'path "a" {\n comment = <<-EOT\n x\n  EOT\n}', 'a'],
    ['with + among other characters', 'path "a+b/+c" {}', 'a+b/+c'],
    ['with 32 +', `path "${'+/'.repeat(32)}a" {}`, `${'+/'.repeat(32)}a`],
    ['with a template right behind a +', 'path "a/+{{identity.entity.id}}" {}', 'a/+{{identity.entity.id}}'],
    ['in JSON', '{"path":{"a":{"capabilities":["read"]},"b":{}}}', 'a b'],
    ['in JSON with paths in a list', '{"path":[{"a":{}},{"b":{}}]}', 'a b'],
    ['in JSON without paths', ' {"name":"x"}', ''],
  ])('%s', (_what, source, paths) => {
    const rules = rulesOf(source);
    expect(rules.map(({ path }) => path).join(' ')).toBe(paths);
    // And core takes what the host makes of it.
    expect(new Policies().load([{ name: 'p', rules }])).toBe(OK);
  });

  test.each([
    ['read', ['read', 'list']],
    ['write', ['create', 'read', 'update', 'delete', 'list', 'patch']],
    ['sudo', ['create', 'read', 'update', 'delete', 'list', 'patch', 'sudo']],
    ['deny', ['deny']],
  ])('with the old policy = %j', (old, capabilities) => {
    expect(only(`path "a" { policy = "${old}" }`).capabilities).toEqual(capabilities);
  });

  test('and deny beside others is deny alone, in JSON in whichever block of a path it stands', () => {
    expect(only('path "a" { capabilities = ["read", "deny"] }').capabilities).toEqual(['deny']);
    const blocks = rulesOf('{"path":{"a":[{"capabilities":["read"]},{"capabilities":["deny"]}]}}');
    expect(blocks.map(({ capabilities }) => capabilities)).toEqual([['read'], ['deny']]);
  });

  test('and names differ by letters beyond A to Z, but an empty list is any value in whatever letters', () => {
    const { denied } = only('path "a" { denied_parameters = { "Ärger" = [], "X" = [], "x" = ["1"] } }');
    expect([...denied]).toEqual([
      ['Ärger', []],
      ['x', []],
    ]);
  });

  test('and a wrapping TTL below a second is a second, not none', () => {
    const { minWrappingTtl, maxWrappingTtl } = only('path "a" { min_wrapping_ttl = "5ms" max_wrapping_ttl = "0.9s" }');
    expect([minWrappingTtl, maxWrappingTtl]).toEqual([1, 1]);
    expect(only('path "a" { max_wrapping_ttl = 0 }').maxWrappingTtl).toBe(0);
  });
});

describe('a policy is refused', () => {
  const lines = (text: string): string => `\n\n${text}`;
  test.each<readonly [string, string, string]>([
    ['without an end', lines('path "a" {'), 'line 3: a name or a } is expected'],
    ['without a closing quote', lines('path "a'), 'line 3: a text has no closing quote'],
    ['whose text goes on in the next line', lines('path "a\n" {}'), 'line 3: a text has no closing quote'],
    ['with an unknown block', lines('secret "a" {}'), 'line 3: a policy holds path "…" { … }'],
    ['with a block without a label', lines('path {}'), 'line 3: a policy holds path "…" { … }'],
    ['with an attribute outside', 'colour = 1', 'there is no attribute "colour" outside a path'],
    ['with a label that is no text', lines('path a {}'), 'line 3: a { is expected'],
    ['with no name', lines('= 1'), 'line 3: a name is expected'],
    [
      'with an attribute twice',
      lines('path "a" {\n policy = "read"\n policy = "deny"\n}'),
      'line 5: a name stands twice',
    ],
    ['with no value', lines('path "a" { policy = }'), 'line 3: a value is expected'],
    ['with an unknown word', lines('path "a" { policy = read }'), 'line 3: a value is expected'],
    ['with an attribute without =', lines('path "a" { policy "read" }'), 'line 3: a = is expected'],
    [
      'with a list without commas',
      lines('path "a" { capabilities = ["read" "list"] }'),
      'line 3: a list needs a comma',
    ],
    ['with an unknown escape', lines('path "a\\x" {}'), 'line 3: an escape in a text is unknown'],
    ['with an escape that is cut', lines('path "a\\u00" {}'), 'line 3: an escape in a text is unknown'],
    ['with half a character', lines('path "a\\ud800" {}'), 'line 3: an escape in a text is half a character'],
    ['with a heredoc without end', lines('path "a" { comment = <<EOT\nx\n}'), 'line 4: a heredoc has no end'],
    ['with a heredoc without name', lines('path "a" { comment = << }'), 'line 3: a value is expected'],
    ['with a comment without end', lines('/* path "a" {}'), 'line 3: a name is expected'],
    ['with a number that no double keeps', lines('path "a" { x = 9007199254740993 }'), 'line 3: a number is too large'],
    ['with a number without bound', lines('path "a" { x = 1e999 }'), 'line 3: a number is too large'],
    ['nested too deep', lines(`path "a" { x = ${'['.repeat(17)}`), 'line 3: values are nested too deep'],
    ['with an unknown key', lines('path "a" { colour = 1 }'), 'line 3: path "a": invalid key "colour"'],
    [
      'with an unknown capability',
      lines('path "a" { capabilities = ["fly"] }'),
      'line 3: path "a": invalid capability "fly"',
    ],
    [
      'with a capability of a prototype',
      lines('path "a" { capabilities = ["constructor"] }'),
      'line 3: path "a": invalid',
    ],
    [
      'with a capability that is a number',
      lines('path "a" { capabilities = [1] }'),
      'line 3: path "a": invalid capability',
    ],
    [
      'whose capabilities are a text',
      lines('path "a" { capabilities = "read" }'),
      'line 3: path "a": capabilities is a list',
    ],
    [
      'with an unknown old policy',
      lines('path "a" { policy = "toString" }'),
      'line 3: path "a": invalid policy "toString"',
    ],
    ['with an old policy that is a list', lines('path "a" { policy = ["read"] }'), 'line 3: path "a": invalid policy'],
    ['with +*', lines('path "a/+*" {}'), 'line 3: path "a/+*": invalid use of wildcards (\'+*\' is forbidden)'],
    ['with 33 +', `path "${'+/'.repeat(33)}a" {}`, 'more than 32 segments +'],
    ['with a path of 1,025 bytes', `path "${'x'.repeat(1025)}" {}`, 'longer than 1024 bytes'],
    ['with a control character', 'path "a\\u0000" {}', 'it holds a control character'],
    ['with a TTL that is none', 'path "a" { min_wrapping_ttl = "soon" }', 'min_wrapping_ttl is a duration'],
    ['with a negative TTL', 'path "a" { max_wrapping_ttl = -1 }', 'max_wrapping_ttl is a duration'],
    ['with a TTL of 137 years', 'path "a" { max_wrapping_ttl = 4294967296 }', 'max_wrapping_ttl is a duration'],
    ['with TTLs crossed', 'path "a" { min_wrapping_ttl = 9 max_wrapping_ttl = 8 }', 'max_wrapping_ttl cannot be less'],
    ['with parameters in a list', 'path "a" { allowed_parameters = [] }', 'allowed_parameters is an object'],
    ['with a parameter without list', 'path "a" { denied_parameters = { x = 1 } }', 'gives each parameter a list'],
    ['with a parameter without name', 'path "a" { denied_parameters = { "" = [] } }', 'has 1 to 255 bytes'],
    ['with required ones as text', 'path "a" { required_parameters = "x" }', 'required_parameters is a list of names'],
    ['with required numbers', 'path "a" { required_parameters = [1] }', 'required_parameters is a list of names'],
    [
      'with a value of 4,097 bytes',
      `path "a" { allowed_parameters = { x = ["${'v'.repeat(4097)}"] } }`,
      'a value is too long',
    ],
    ['that is half a character', 'path "a\ud800" {}', 'it is no well-formed text'],
    ['in JSON that ends early', '{\n"path":{', 'line 2: a name in quotes is expected'],
    ['in JSON with something behind', '{}\n{}', 'line 2: something follows the value'],
    [
      'in JSON with a path twice',
      '{"path":{"a":{"policy":"deny"},\n"a":{"policy":"read"}}}',
      'line 2: a name stands twice',
    ],
    ['in JSON nested too deep', `{"path":${'['.repeat(100_000)}`, 'line 1: values are nested deeper'],
    ['in JSON with another key', '{"paths":{}}', 'there is no key "paths" outside path'],
    ['in JSON with a text as path', '{"path":"a"}', 'path is an object of paths'],
    ['in JSON with a path that is none', '{"path":{"a":1}}', 'path "a" is no object'],
    ['in JSON with a number too large', '{"path":{"a":{"x":9007199254740993}}}', 'a number is too large'],
  ])('%s', (_what, source, sentence) => {
    expect(refusal(source)).toContain(sentence);
    expect(refusal(source)).toMatch(/^failed to parse policy: /);
  });

  const names = (from: number, to: number): string =>
    Array.from({ length: to - from }, (_, i) => `"n${from + i}"`).join(',');

  test('with more than fits its bytes, in one rule or in several of one path', () => {
    expect(refusal(`path "a" { required_parameters = [${names(0, 255)}] }`)).toBe('taken');
    expect(refusal(`path "a" { required_parameters = [${names(0, 256)}] }`)).toContain('more than 255 required');
    const twice = `path "a" { required_parameters = [${names(0, 200)}] } path "a" { required_parameters = [${names(200, 256)}] }`;
    expect(refusal(twice)).toContain('too many parameters or values in all');
    const many = (count: number): string => `allowed_parameters = { x = [${'"",'.repeat(count)}] }`;
    expect(refusal(`path "a" { ${many(4096)} }`)).toBe('taken');
    expect(refusal(`path "a" { ${many(4097)} }`)).toContain('more than 4096 values');
    expect(refusal(`path "a" { ${many(4096)} } path "a" { ${many(1)} }`)).toContain('too many parameters');
  });

  test('above its size and above 10,000 paths', () => {
    expect(refusal(`#${'x'.repeat(256 * 1024)}`)).toContain('it is larger than 262144 bytes');
    const paths = (count: number): string => Array.from({ length: count }, (_, i) => `path "${i}" {}`).join('\n');
    expect(rulesOf(paths(10_000))).toHaveLength(10_000);
    expect(refusal(paths(10_001))).toContain('more than 10000 paths');
  });
});

describe('bad input costs little', () => {
  test.each<readonly [string, string]>([
    ['blocks without end', 'path""{}'.repeat(32_000)],
    ['openings', '{'.repeat(260_000)],
    ['lists', `a = ${'['.repeat(260_000)}`],
    ['comments', '#\n'.repeat(130_000)],
    ['comments that never end', '/* '.repeat(87_000)],
    ['slashes', '/'.repeat(260_000)],
    ['heredocs', 'a = <<A\nA\n'.repeat(25_000)],
    ['quotes', '"'.repeat(260_000)],
  ])('%s: an answer, with time that grows as the text does', (_what, source) => {
    const began = process.cpuUsage();
    expect(['taken', 'failed']).toContain(
      refusal(source)
        .slice(0, 6)
        .trim()
        .replace(/^taken.*/, 'taken'),
    );
    const { user, system } = process.cpuUsage(began);
    // Quadratic ones took tens of seconds.
    expect((user + system) / 1e6).toBeLessThan(3);
  });
});

describe('what is allowed and almost never meant', () => {
  test('a deny with + that a broader prefix beats is told', () => {
    const told = parsePolicy(
      'path "m/*" { policy = "read" } path "m/+/private/*" { capabilities = ["deny"] }',
    ).warnings;
    expect(told).toHaveLength(1);
    expect(told[0]).toContain('"m/+/private/*"');
    expect(parsePolicy('path "m/*" { policy = "read" } path "m/x/*" { policy = "deny" }').warnings).toEqual([]);
    expect(parsePolicy('path "n/*" { policy = "read" } path "m/+/x" { policy = "deny" }').warnings).toEqual([]);
  });

  test('and the warning is true: core lets it through', () => {
    const core = new Policies();
    const { rules } = parsePolicy('path "m/*" { policy = "read" } path "m/+/private/*" { capabilities = ["deny"] }');
    expect(core.load([{ name: 'p', rules }])).toBe(OK);
    const asked = { wanted: 'read', sudo: false, wrapTtl: 0, parameters: [] } as const;
    expect(core.decide([0], { ...asked, path: 'm/x/private/y' })).toBe(1);
  });
});
