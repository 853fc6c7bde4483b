/** The worked examples of core/spec/policy.md and core/spec/path.md, by core, by the host's encoder and by the oracle. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeParameters } from '../../../core/parameters.ts';
import { encodePolicy } from '../../../host/policies/encode.ts';
import { parsePolicy } from '../../../host/policies/parse.ts';
import type { RuleCapability } from '../../../host/policies/rule.ts';
import { type Asked, type AskedParameter, oracle } from '../../reference/policy.ts';
import { RawCore } from '../raw.ts';
import { ALLOWED, DENIED, NEEDS_PARAMETERS, OK, Policies } from './load.ts';

const text = readFileSync('core/spec/policy.md', 'utf8');
const block = (kind: string): string => new RegExp(`\`\`\`${kind}\\n([\\s\\S]*?)\`\`\``).exec(text)?.[1] ?? '';
const [bytesText, decisionsText] = [block('bytes'), block('decisions')];
const hexOf = (written: string): string => written.replace(/\s/g, '');
const payload = Buffer.from(hexOf(bytesText.replace(/^.*?: /gm, '')), 'hex');
const { rules } = parsePolicy(block('hcl'));

describe('the policy of the worked example', () => {
  test('is the bytes beside it, as the host encodes it', () => {
    expect(encodePolicy('team', rules, '-').toString('hex')).toBe(payload.toString('hex'));
    expect(payload.length).toBeGreaterThan(100);
  });

  test('and parameters are theirs', () => {
    const written = /are `([0-9a-f ]+)`/.exec(text)?.[1] ?? '';
    const given = [
      { name: 'id', kind: 'text', value: '7' },
      { name: 'Mode', kind: 'json', value: '7' },
    ] as const;
    expect(encodeParameters(given).toString('hex')).toBe(hexOf(written));
  });
});

test('the short example is its bytes, and asks for the parameters that it needs', () => {
  const hex = (name: string): string => new RegExp(`^${name}: ([0-9a-f]+)$`, 'm').exec(text)?.[1] ?? '';
  const said = [...text.matchAll(/`(path "secret\/[^`]+)`/g)].map(([, one = '']) => one);
  const app = encodePolicy('app', parsePolicy(said.join('\n')).rules, '');
  expect(app.toString('hex')).toBe(hex('payload'));
  const core = new Policies();
  core.call('policyBegin');
  expect([core.add(app), core.call('policyCommit')]).toEqual([OK, OK]);
  const update = { path: 'secret/data/x/db', wanted: 'update', sudo: false, wrapTtl: 0 } as const;
  expect(core.half([0], update)).toBe(NEEDS_PARAMETERS);
  expect(core.parameters(Buffer.from(hex('parameters'), 'hex'))).toBe(ALLOWED);
  expect(core.decide([0], { ...update, parameters: [] })).toBe(DENIED);
});

function asked(line: string): Asked {
  const [wanted = '', ...words] = line.split(' ');
  const sudo = words[0] === 'sudo';
  if (sudo) words.shift();
  const [path = '', ...more] = words;
  let wrapTtl = 0;
  const parameters: AskedParameter[] = [];
  for (const word of more) {
    const [, name = '', json, value = ''] = /^(.*?)(:?)=(.*)$/.exec(word) ?? [];
    if (name === 'wrap') wrapTtl = Number(value);
    else parameters.push({ name, kind: json === ':' ? 'json' : 'text', value });
  }
  return { path, wanted: wanted as RuleCapability, sudo, wrapTtl, parameters };
}

const decisions = [...decisionsText.matchAll(/^(.+?) +-> (allowed|denied)/gm)].map(
  ([, question = '', answer = '']) => [question, answer] as const,
);

describe('what a token with it asks', () => {
  const core = new Policies();
  core.call('policyBegin');
  const added = core.add(payload);
  const committed = core.call('policyCommit');

  test('is decided after the bytes of the page are taken', () => {
    expect([added, committed, core.find('team')]).toEqual([OK, OK, 0]);
    expect(decisions.length).toBe(decisionsText.trim().split('\n').length);
    expect(decisions.length).toBeGreaterThanOrEqual(20);
  });

  test.each(decisions)('%s: %s', (question, answer) => {
    const one = asked(question);
    expect(core.decide([0], one) === ALLOWED).toBe(answer === 'allowed');
    expect(oracle([rules], one).allowed).toBe(answer === 'allowed');
  });
});

describe('a path of the worked example', () => {
  const page = readFileSync('core/spec/path.md', 'utf8');
  const paths = [...page.matchAll(/^path: +([0-9a-f]+) +-> (yes|no) +(.+)$/gm)].map(
    ([, hex = '', is = '', what = '']) => [what, is, hex] as const,
  );
  /** Statuses of `route`: the grammar is asked before the mount, and there is none. */
  const [BROKEN, NO_MOUNT] = [4, 5];

  test.each(paths)('%s: %s', (_what, is, hex) => {
    const core = new RawCore();
    core.put(new Uint8Array(16));
    expect(core.call('createKeyring', 1)).toBe(0);
    expect(core.call('route', core.put(Buffer.from(hex, 'hex')))).toBe(is === 'yes' ? NO_MOUNT : BROKEN);
  });

  test('is one of many', () => {
    expect(paths.length).toBeGreaterThanOrEqual(25);
  });
});
