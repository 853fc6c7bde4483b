import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readKnobs } from '../../../host/config/knobs.ts';
import { formatListen, isLocal, parseListen } from '../../../host/config/listen.ts';
import { CONFIG_KEYS, loadConfig, SERVER_USAGE } from '../../../host/config.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-config-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let made = 0;
interface Place {
  readonly home: string;
  readonly folder: string;
  load(args?: readonly string[], variables?: Readonly<Record<string, string>>): ReturnType<typeof loadConfig>;
  write(content: unknown): void;
}
function place(): Place {
  const home = join(scratch, String(made++));
  const folder = join(home, '.config', 'holdfast');
  mkdirSync(folder, { recursive: true });
  return {
    home,
    folder,
    load: (args = [], variables = {}) =>
      loadConfig({ args, variables: { HOME: home, ...variables }, workingFolder: home }),
    write: (content) =>
      writeFileSync(join(folder, 'holdfast.json'), typeof content === 'string' ? content : JSON.stringify(content)),
  };
}
const invalid = (sentence: string | RegExp) =>
  expect.objectContaining({ code: 'input.invalid', message: expect.stringMatching(sentence) });

describe('where the defaults come from', () => {
  test('without a word: loopback with TLS, folders as XDG has them', () => {
    const { home, load } = place();
    const { config, initialise } = load();
    expect(initialise).toBe(false);
    expect(config.listen.map(formatListen)).toEqual(['127.0.0.1:8200']);
    expect(config['tls.mode']).toBe('on');
    expect(config.data).toBe(join(home, '.local/state/holdfast'));
    expect(config.config).toBe(join(home, '.config/holdfast'));
  });

  test('XDG folders win over HOME, and a relative one is ignored', () => {
    const { home, load } = place();
    const { config } = load([], { XDG_STATE_HOME: join(home, 'state'), XDG_CONFIG_HOME: 'relative' });
    expect(config.data).toBe(join(home, 'state/holdfast'));
    expect(config.config).toBe(join(home, '.config/holdfast'));
  });

  test('without HOME it says what to do', () => {
    expect(() => loadConfig({ args: [], variables: {}, workingFolder: '/' })).toThrow(invalid('--data and --config'));
  });

  test('the embedded profile sets every knob', () => {
    const profile = readKnobs(JSON.parse(readFileSync('firmware-config/profiles/dev.json', 'utf8')), 'profile');
    expect(new Set(Object.keys(profile))).toEqual(new Set(CONFIG_KEYS));
  });

  test('numbers carry their unit in their name', () => {
    const { config } = place().load();
    const bare = CONFIG_KEYS.filter(
      (key) => typeof config[key] === 'number' && !/(Ms|BytesMax|CountMax|Bytes)$/.test(key),
    );
    expect(bare).toEqual([]);
  });

  test('the value is frozen, its lists too', () => {
    const { config } = place().load();
    expect(Object.isFrozen(config) && Object.isFrozen(config.listen)).toBe(true);
  });
});

describe('who wins', () => {
  test('a flag over the environment, that over the file, that over the profile', () => {
    const { home, load, write } = place();
    write({ listen: ['127.0.0.1:1'], data: '/file', tls: { mode: 'off' }, audit: { sync: 'interval' } });
    const variables = { HOLDFAST_LISTEN: '127.0.0.1:2', HOLDFAST_DATA: join(home, 'environment') };
    const { config } = load(['--listen=127.0.0.1:3'], variables);
    expect(config.listen.map(formatListen)).toEqual(['127.0.0.1:3']);
    expect(config.data).toBe(join(home, 'environment'));
    expect(config['tls.mode']).toBe('off');
    expect(config['audit.sync']).toBe('interval');
    expect(config['time.trust']).toBe('kernel');
  });

  test('every name of the environment has its flag and its key', () => {
    const { home, load, write } = place();
    const names = [
      ['HOLDFAST_LISTEN', 'listen', 'unix:/run/a.sock'],
      ['HOLDFAST_DATA', 'data', '/d'],
      ['HOLDFAST_CONFIG', 'config', home],
      ['HOLDFAST_TLS', 'tls', 'off'],
    ] as const;
    for (const [variable, flag, value] of names) {
      const by = (args: readonly string[], variables: Readonly<Record<string, string>>) => load(args, variables).config;
      expect(by([], { [variable]: value })).toEqual(by([`--${flag}`, value], {}));
      expect(by([], { [variable]: value })).not.toEqual(by([], {}));
      expect(SERVER_USAGE).toContain(variable);
    }
    const own = load([], { HOLDFAST_TLS_CERT: 'c.pem', HOLDFAST_TLS_KEY: '/k.pem' }).config;
    expect(own).toEqual(load(['--tls-cert=c.pem', '--tls-key', '/k.pem']).config);
    expect(own['tls.certificateFile']).toBe(join(home, 'c.pem'));
    write({ listen: ['unix:/run/a.sock'], data: '/d', tls: { mode: 'on', certificateFile: '/c', keyFile: '/k' } });
    const { config } = load();
    expect([config.data, config['tls.certificateFile'], config['tls.keyFile']]).toEqual(['/d', '/c', '/k']);
  });

  test('--init is a flag alone', () => {
    expect(place().load(['--init']).initialise).toBe(true);
    expect(() => place().load(['--init=yes'])).toThrow(invalid('does not know'));
  });
});

describe('what is refused, with a sentence', () => {
  test.each([
    [{ lisen: ['127.0.0.1:1'] }, 'no setting "lisen"'],
    [{ audit: { synk: 'always' } }, 'no setting "audit.synk"'],
    [{ audit: 'always' }, 'audit must be an object'],
    [{ audit: { sync: 'never' } }, 'audit.sync must be "always" or "interval"'],
    [{ audit: { syncIntervalMs: 0 } }, 'must be a whole number from 1 to 10000'],
    [{ audit: { syncIntervalMs: 1.5 } }, 'must be a whole number'],
    [{ audit: { syncIntervalMs: '100' } }, 'must be a whole number'],
    [{ listen: [] }, 'listen must be a list'],
    [{ listen: '127.0.0.1:8200' }, 'listen must be a list'],
    [{ listen: ['example.org:8200'] }, 'listen must be a list'],
    [{ data: 'relative' }, 'data must be an absolute path'],
    [{ config: '/elsewhere' }, 'another folder'],
    [{ seal: { allowed: ['keyfile'] } }, 'must include shamir'],
    [{ debug: { coreDumps: 'yes' } }, 'must be true or false'],
    [{ tls: { certificateFile: '/c' } }, 'needs both'],
    [{ leases: { defaultTtlMs: 10_000, maxTtlMs: 5000 } }, 'must not be above'],
    [[], 'one object'],
    ['{"listen": ["a"', 'not well-formed JSON'],
  ])('file %j', (content, sentence) => {
    const { load, write } = place();
    write(content);
    expect(() => load()).toThrow(invalid(sentence));
  });

  test.each([
    [['--listen=0.0.0.0:8200', '--tls=off'], 'loopback'],
    [['--listen=127.0.0.1:8200,10.0.0.1:8200', '--tls=off'], '10.0.0.1:8200'],
    [['--listen=[2001:db8::1]:8200', '--tls=off'], 'loopback'],
    [['--tls=maybe'], '--tls: tls.mode must be'],
    [['--port=1'], 'does not know "--port=1"'],
    [['serve'], 'does not know'],
    [['--data'], '--data needs a value'],
    [['--data='], '--data needs a value'],
    [['--data=/a', '--data=/b'], 'given twice'],
    [['--data=/a', '--config=/a/config'], 'outside the data folder'],
    [['--tls-key=/k'], 'needs both'],
  ])('flags %j', (args, sentence) => {
    expect(() => place().load(args)).toThrow(invalid(sentence));
  });

  test('a file that other users may write', () => {
    const { folder, load, write } = place();
    write({});
    chmodSync(join(folder, 'holdfast.json'), 0o666);
    expect(() => load()).toThrow(invalid('mode 0600'));
  });

  test('and what was written wrongly is not repeated', () => {
    const { load, write } = place();
    write('{"data": "canary');
    const sentence = (() => {
      try {
        load();
        return '';
      } catch (error) {
        return String(error);
      }
    })();
    expect(sentence).toContain('well-formed');
    expect(sentence).not.toContain('canary');
  });

  test.each([['127.0.0.1:8200'], ['127.1.2.3:1'], ['[::1]:8200'], ['localhost:0'], ['unix:/run/holdfast.sock']])(
    'without TLS is allowed on this machine alone: %s',
    (address) => {
      expect(place().load([`--listen=${address}`, '--tls=off']).config['tls.mode']).toBe('off');
    },
  );
});

describe('addresses to listen at', () => {
  test.each(['127.0.0.1:8200', '[::1]:8200', 'localhost:0', '0.0.0.0:65535', 'unix:/run/a.sock'])('%s', (text) => {
    const listen = parseListen(text);
    expect(listen === undefined ? '' : formatListen(listen)).toBe(text);
  });

  test.each([
    '127.0.0.1',
    '127.0.0.1:65536',
    '::1:8200',
    '[127.0.0.1]:8200',
    'example.org:8200',
    'unix:',
    `unix:/${'a'.repeat(107)}`,
    'unix:/a\0b',
    '127.0.0.1:-1',
    ' 127.0.0.1:1',
    '127.0.0.1.evil:1',
    '',
  ])('not %j', (text) => {
    expect(parseListen(text)).toBeUndefined();
  });

  test('only loopback and unix sockets are local', () => {
    const local = (text: string) => {
      const listen = parseListen(text);
      return listen !== undefined && isLocal(listen);
    };
    expect(['127.0.0.1:1', 'localhost:1', '[::1]:1', 'unix:/a'].every(local)).toBe(true);
    expect(['0.0.0.0:1', '[::]:1', '10.0.0.1:1', '12.7.0.1:1'].some(local)).toBe(false);
  });
});
