/** The worked examples of core/spec/{record,keyring,names,freshness}.md: each value by core, and by its slow twin. */
import { encodeDeclarations } from '../../../core/declare.ts';
import * as twin from '../../reference/keys.ts';
import { mountPayload, TYPES } from '../gate/box.ts';
import { RawCore } from '../raw.ts';

export const counting = (from: number, length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (from + i) & 255));

/** What the host gives as random: its byte i is i mod 256. */
const POOL = counting(0, 4096);
const CREATED_MS = 1_795_514_400_000;
export const APPLIANCE = counting(0x40, 16);
export const MOUNT = Buffer.alloc(16, 0x22);
const ZEROS = Buffer.alloc(16);
export const KEYS = twin.drawn(POOL);
/** The nonce of whatever is sealed first after the pool was filled. */
const NONCE = counting(0, 24);

/** A box of known keys: `value` is what it was when the pool was full. */
export class ExampleBox extends RawCore {
  readonly keyring: Buffer;

  constructor() {
    super();
    this.ok('declare', this.put(encodeDeclarations(TYPES)));
    this.refill();
    this.put(APPLIANCE);
    this.ok('createKeyring', CREATED_MS);
    this.keyring = this.out(this.result(0));
    const row = this.sealTable(10, MOUNT, mountPayload(MOUNT, 'kv-v1', 'secret/'));
    this.put(MOUNT, row);
    this.ok('loadMount', row.length);
  }

  ok(name: string, ...args: number[]): void {
    const status = this.call(name, ...args);
    if (status !== 0) throw new Error(`${name}: ${status}`);
  }

  refill(): void {
    this.put(POOL);
    this.call('poolFill');
  }

  grant(mount?: Buffer): number {
    this.put(mount ?? Buffer.alloc(0));
    this.ok('systemGrant', 0, mount === undefined ? 0 : 1, CREATED_MS, CREATED_MS + 1);
    return this.result(0) + this.result(1) * 2 ** 32;
  }

  sealTable(table: number, key: Buffer, payload: Buffer): Buffer {
    const grant = this.grant();
    this.refill();
    this.put(key, payload);
    this.ok('sealTable', grant, table, key.length, payload.length);
    const row = this.out(this.result(0));
    this.ok('finishGrant', grant);
    return row;
  }

  /** Key and row of a record of the mount. */
  sealRecord(path: string, suffix: Buffer, payload: Buffer): readonly [Buffer, Buffer] {
    const grant = this.grant(MOUNT);
    this.refill();
    this.put(Buffer.from(path), suffix, payload);
    this.ok('sealRecord', grant, Buffer.byteLength(path), suffix.length, payload.length);
    return [this.out(this.result(0)), this.out(this.result(1), 40)];
  }

  sealName(path: string, isDirectory: boolean): readonly [Buffer, Buffer] {
    const grant = this.grant(MOUNT);
    this.refill();
    this.ok('sealName', grant, this.put(Buffer.from(path)), isDirectory ? 1 : 0);
    return [this.out(32), this.out(this.result(0), 40)];
  }

  dirOf(path: string): Buffer {
    this.ok('locateNames', this.grant(MOUNT), this.put(Buffer.from(path)));
    return this.out(16);
  }
}

type Example = readonly [name: string, core: () => Uint8Array, slow: () => Uint8Array];
const text = (value: string): Buffer => Buffer.from(value);
const first = (pair: readonly [Buffer, Buffer]): Buffer => pair[0];
const second = (pair: readonly [Buffer, Buffer]): Buffer => pair[1];

const names = new twin.Names(KEYS.nameKey, MOUNT);
const sealed = (table: number, key: Buffer, payload: Buffer, mountId?: Buffer): Buffer =>
  twin.sealRow({
    ...{ epoch: 1, epochKey: KEYS.epochKey, table, key, nonce: NONCE, payload },
    ...(mountId === undefined ? {} : { mountId }),
  });

const TOKEN_KEY = counting(0xa0, 16);
const SUFFIX = Buffer.of(0, 1);

export const record: readonly Example[] = [
  [
    'row of a token',
    () => new ExampleBox().sealTable(5, TOKEN_KEY, text('holdfast')),
    () => sealed(5, TOKEN_KEY, text('holdfast')),
  ],
  [
    'key of a record',
    () => first(new ExampleBox().sealRecord('app/db', SUFFIX, text('holdfast'))),
    () => Buffer.concat([names.record('app/db'), SUFFIX]),
  ],
  [
    'row of a record',
    () => second(new ExampleBox().sealRecord('app/db', SUFFIX, text('holdfast'))),
    () => sealed(3, Buffer.concat([names.record('app/db'), SUFFIX]), text('holdfast'), MOUNT),
  ],
];

const policyName = text('ops');
const tokenText = text('hvs.AAAAAAAAAAAAAAAAAAAAAAAA');

export const blind: readonly Example[] = [
  ['top', () => new ExampleBox().dirOf(''), () => names.directory('')],
  ['directory app', () => new ExampleBox().dirOf('app'), () => names.directory('app')],
  ['record app/db', () => first(new ExampleBox().sealName('app/db', false)), () => names.record('app/db')],
  ['directory app/db', () => first(new ExampleBox().sealName('app/db', true)), () => names.directoryName('app/db')],
  [
    'name row of app/db',
    () => second(new ExampleBox().sealName('app/db', false)),
    () => sealed(4, names.record('app/db'), twin.namePayload('db'), MOUNT),
  ],
  [
    'policy ops',
    () => {
      const box = new ExampleBox();
      box.ok('blindKey', 9, box.put(policyName));
      return box.out(16);
    },
    () => twin.hmac(KEYS.tokenKey, Buffer.of(9), policyName).subarray(0, 16),
  ],
  [
    'token',
    () => {
      const box = new ExampleBox();
      box.ok('tokenId', box.put(tokenText));
      return box.out(16);
    },
    () => twin.hmac(KEYS.tokenKey, tokenText).subarray(0, 16),
  ],
];

const [DH, ENC, RECIPIENT] = [counting(0x10, 32), counting(0x30, 32), counting(0x50, 32)];
const HEADER_HASH = counting(0x70, 32);

/** The wrap context of core/spec/slots.md, for a slot of id 51 × 16 and header hash 70 … 8f, root generation 1. */
export const wrapContext = (kind: number): Buffer =>
  Buffer.concat([
    text('holdfast/v1/slot'),
    Buffer.of(kind),
    APPLIANCE,
    Buffer.alloc(16, 0x51),
    twin.u32(1),
    HEADER_HASH,
  ]);

export const SLOT_KINDS = ['tpm2', 'pkcs11', 'shamir', 'keyfile'] as const;

/** IN of wrapRoot and unwrapRoot, but for the wrapped root. */
export const wrapInput = (kind: number): Buffer => Buffer.concat([DH, ENC, RECIPIENT, wrapContext(kind)]);

export const keyring: readonly Example[] = [
  ['ring', () => openedRing(), () => twin.newRing(KEYS, APPLIANCE, CREATED_MS)],
  [
    'row of the keyring',
    () => new ExampleBox().keyring,
    () => twin.sealRing(KEYS.root, 1, KEYS.nonce, twin.newRing(KEYS, APPLIANCE, CREATED_MS)),
  ],
  [
    'shared secret',
    () => {
      const core = new RawCore();
      core.put(DH, ENC, RECIPIENT);
      core.call('dhkem');
      return core.out(32);
    },
    () => twin.dhkem(DH, ENC, RECIPIENT),
  ],
  ...SLOT_KINDS.map(
    (name, i): Example => [
      `root wrapped to a slot of kind ${name}`,
      () => {
        const box = new ExampleBox();
        box.refill();
        box.put(wrapInput(i + 1));
        box.ok('wrapRoot', wrapContext(i + 1).length);
        return box.out(box.result(0));
      },
      () =>
        twin.wrapRoot(KEYS.root, {
          ...{ dh: DH, enc: ENC, recipient: RECIPIENT, nonce: NONCE },
          context: wrapContext(i + 1),
        }),
    ],
  ),
];

/** The ring as it lies in core's memory (RING in core/assembly/memory.ts): nothing exports it. */
function openedRing(): Buffer {
  const box = new ExampleBox();
  return Buffer.from(box.memory.subarray(0xa04000, 0xa04000 + box.keyring.length - 45));
}

const ROWS: readonly twin.CoveredRow[] = [
  { table: 5, key: TOKEN_KEY, value: text('one') },
  { table: 3, key: counting(0, 32), value: text('two') },
  { table: 9, key: ZEROS, value: text('three') },
];

function freshnessRow(): Buffer {
  const box = new ExampleBox();
  for (const { table, key, value } of ROWS) {
    box.put(key, value);
    box.ok('foldChange', table, key.length, -1, value.length);
  }
  box.call('adoptFreshness');
  box.refill();
  box.put(counting(0x80, 32), Buffer.of(1), Buffer.alloc(16, 0xcc), twin.u64(7));
  box.ok('sealFreshness', 1000, CREATED_MS, 0);
  return box.out(box.result(0));
}

const freshnessPayload = (): Buffer =>
  twin.freshnessPayload({
    ...{ generation: 1, rows: 3, fingerprint: twin.fingerprint(KEYS.fingerprintKey, ROWS), size: 1000 },
    ...{ root: counting(0x80, 32), timeMs: CREATED_MS, counters: [[Buffer.alloc(16, 0xcc), 7]] },
  });

export const freshness: readonly Example[] = [
  [
    'fingerprint',
    // Core hands out no fingerprint: it lies where sealFreshness composes the payload, behind 4096 bytes of OUT.
    () => {
      const box = new ExampleBox();
      for (const { table, key, value } of [...ROWS].reverse()) {
        box.put(key, value);
        box.ok('foldChange', table, key.length, -1, value.length);
      }
      box.put(Buffer.alloc(33));
      box.ok('sealFreshness', 0, 0, 0);
      return box.out(32, 4096 + 13);
    },
    () => twin.fingerprint(KEYS.fingerprintKey, ROWS),
  ],
  ['row of freshness', freshnessRow, () => sealed(2, text('freshness'), freshnessPayload())],
];
