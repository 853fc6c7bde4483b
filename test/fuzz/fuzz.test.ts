import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { canary, type Got, Target } from '../attack/target.ts';
import { SeededRandom } from '../reference/random.ts';
import { mutateBytes, mutateText, oddValue } from './mutate.ts';

/** Never a 500, never a dead process, no answer with a canary, memory flat. `npm run campaign -- fuzz` goes on for longer. */
const COUNT = Number(process.env['HOLDFAST_FUZZ_COUNT'] ?? 1200);
const SEED = Number(process.env['HOLDFAST_FUZZ_SEED'] ?? 20_260_801);
/** Per part; the campaign is bounded by its count. */
const TIME_MS = 60_000 + COUNT * 20;
const SECRET = canary('fuzz');

let box: Target;
let weak = '';

beforeAll(async () => {
  box = await Target.start();
  await box.must('POST', 'sys/mounts/one', { body: { type: 'kv' } });
  await box.must('POST', 'sys/mounts/db', { body: { type: 'database' } });
  weak = await box.tokenOf('weak', {
    'secret/data/open/*': ['create', 'read', 'update', 'patch', 'delete', 'list'],
    'secret/data/+/x': ['read'],
    'auth/token/create': ['update'],
    'sys/policies/acl/fuzz': ['update', 'read'],
  });
});
// Before each: root's own odd requests may have deleted it.
beforeEach(async () => {
  await box.must('POST', 'secret/data/guarded', { body: { data: { value: SECRET } } });
});
afterAll(() => box.end());

/** What is answered with these, and is no crash: mistakes that the API of this field answers so, and a TPM that is not there. */
const EXPECTED: Readonly<Record<number, RegExp>> = {
  500: /failed to find entry for connection with name|is not an allowed role/,
  503: /the TPM cannot be reached/,
};

/** A sentence about what must not be, or undefined. */
function wrong(got: Got, isRoot: boolean): string | undefined {
  if (got.status >= 500 && EXPECTED[got.status]?.test(got.text) !== true)
    return `answered ${got.status}: ${got.text.slice(0, 120)}`;
  if (!isRoot && got.text.includes(box.root)) return 'the root token came back';
  if (!isRoot && got.text.includes(SECRET)) return 'the guarded record came out';
  return undefined;
}

const shown = (value: unknown): string =>
  (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : (JSON.stringify(value) ?? '')).slice(0, 400);

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly fields: readonly string[];
}

interface Described {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: {
    readonly content: { readonly 'application/json': { readonly schema: { readonly properties: object } } };
  };
}

/** What the box says of itself, but for what closes it or takes away what the tests stand on. */
async function operations(): Promise<Operation[]> {
  const { paths } = (await box.must('GET', 'sys/internal/specs/openapi')).json as {
    paths: Record<string, Record<string, Described>>;
  };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => path !== '/sys/seal' && !(method === 'delete' && path.startsWith('/sys/mounts')))
      .filter(([method]) => !(method === 'post' && /revoke-self|sys\/(remount|lives)/.test(path)))
      .map(([method, described]) => ({
        method: method.toUpperCase(),
        path: path.slice(1),
        fields: [
          ...(described.parameters ?? []).filter((one) => one.in === 'query').map((one) => one.name),
          ...Object.keys(described.requestBody?.content['application/json'].schema.properties ?? {}),
        ],
      })),
  );
}

const NAMES = [
  'a',
  'open/x',
  'guarded',
  'weak',
  'fuzz',
  'secret',
  'one',
  '..',
  'x'.repeat(300),
  '%00',
  '%F0%9F%92%A9',
  '-1',
  '1e9',
  'acl',
];

describe('a seeded fuzzer', () => {
  test(
    'every operation that the box documents, with odd fields',
    async () => {
      const random = new SeededRandom(SEED);
      const known = await operations();
      expect(known.length).toBeGreaterThan(60);
      for (let at = 0; at < Math.max(COUNT, known.length); at++) {
        const one = known[at % known.length] ?? random.pick(known);
        const target = one.path.replace(/\{[^}]*\}/g, () => random.pick(NAMES));
        const body = Object.fromEntries(
          one.fields.filter(() => !random.once(3)).map((name) => [name, oddValue(random, 0)]),
        );
        const reads = one.method === 'GET' || one.method === 'DELETE';
        const query = Object.entries(body).map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
        const isRoot = !random.once(3);
        const got = await box.ask(one.method, reads ? `${target}?${query.join('&')}`.slice(0, 8000) : target, {
          ...(reads ? {} : { body }),
          token: isRoot ? box.root : random.pick([weak, '', 'hvs.none']),
        });
        const why = wrong(got, isRoot);
        if (why !== undefined) throw new Error(`seed ${SEED}, ${at}: ${one.method} ${target} ${shown(body)}: ${why}`);
      }
      expect(await box.alive()).toBe(true);
    },
    TIME_MS,
  );

  test(
    'requests that were valid: path, headers, JSON, CBOR, policies',
    async () => {
      const random = new SeededRandom(SEED + 1);
      const POLICY =
        'path "secret/data/open/*" {\n  capabilities = ["read", "list"] # why\n  allowed_parameters = { "a" = ["b*"] }\n  min_wrapping_ttl = "1h"\n}\n';
      const CBOR = Buffer.from('a26464617461a36161016162f93c006163820102676f7074696f6e73a16363617300', 'hex');
      const before = box.residentMiB;
      for (let at = 0; at < COUNT; at++) {
        const kind = random.below(5);
        const json = '{"data":{"a":1,"b":[true,null,"\\u00e9"],"c":{"d":1.5e3}},"options":{"cas":0}}';
        const path =
          kind === 0 ? mutateText(random, 'secret/data/open/x?list=true&version=1') : `secret/data/open/f${at % 50}`;
        const target = kind === 3 ? 'sys/policies/acl/fuzz' : encodeURI(path.toWellFormed()).replace(/%25/g, '%');
        const body =
          kind === 3
            ? { policy: mutateText(random, POLICY) }
            : kind === 2
              ? mutateBytes(random, CBOR)
              : kind === 1
                ? mutateText(random, json)
                : json;
        const headers: Record<string, string> = kind === 2 ? { 'Content-Type': 'application/cbor' } : {};
        if (kind === 4) {
          const printable = mutateText(random, '60s').replace(/[^\x20-\x7e]/g, '?');
          headers[random.pick(['X-Vault-Wrap-TTL', 'Content-Type', 'Accept', 'X-Vault-Namespace', 'Authorization'])] =
            printable;
        }
        const method = kind === 0 ? random.pick(['GET', 'POST', 'PUT', 'DELETE', 'PATCH']) : 'POST';
        const got = await box.ask(method, target, { ...(method === 'GET' ? {} : { body }), headers, token: weak });
        const why = wrong(got, false);
        if (why !== undefined)
          throw new Error(`seed ${SEED}, ${at}: ${method} ${target} ${shown(headers)} ${shown(body)}: ${why}`);
      }
      expect(await box.alive()).toBe(true);
      expect(box.residentMiB - before).toBeLessThan(200);
    },
    TIME_MS,
  );

  test(
    'bytes on the wire',
    async () => {
      const random = new SeededRandom(SEED + 2);
      const whole = `POST /v1/secret/data/open/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${weak}\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{"data":{"a":"b"}}`;
      const list = `LIST /v1/secret/metadata/open HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${weak}\r\n\r\n`;
      const bytes = (): Buffer => {
        const kind = random.below(4);
        if (kind === 0) return random.bytes(1 + random.below(400));
        return mutateBytes(random, Buffer.from(kind === 1 ? list : whole, 'latin1'));
      };
      for (let at = 0; at < COUNT / 2; at += 32) {
        const sent = Array.from({ length: 32 }, bytes);
        const answers = await Promise.all(sent.map((one) => box.raw([one], 150)));
        for (const [index, text] of answers.entries()) {
          const bad = / 5\d\d /.test(text.slice(0, 16)) || text.includes(SECRET) || text.includes(box.root);
          if (bad) throw new Error(`seed ${SEED}, ${at}: ${shown(sent[index])}: ${text.slice(0, 120)}`);
        }
      }
      expect(await box.alive()).toBe(true);
      expect((await box.must('GET', 'secret/data/guarded')).text).toContain(SECRET);
    },
    TIME_MS,
  );
});
