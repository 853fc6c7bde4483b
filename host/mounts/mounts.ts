/** The mounts of the box: rows of table `mount`, entered in core; adding, changing and removing them. */
import type { Barrier } from '../barrier/barrier.ts';
import { throughCore } from '../barrier/fault.ts';
import { recordsBelow } from '../barrier/view.ts';
import { Fault } from '../fault.ts';
import { decodePayload, encodePayload } from '../payload.ts';
import type { MountInfo } from '../ports/engine.ts';
import type { Random } from '../ports/random.ts';
import type { ValueMap } from '../ports/value.ts';

export const MOUNT_COUNT_MAX = 512;
/** Seconds: what a mount without TTLs of its own has, and what none may exceed unless tuned. */
export const SYSTEM_TTL = 2_764_800;
const PATH_SIZE_MAX = 500;

/** Ids of core/spec/mount.md. */
export const BUILTIN = {
  sys: `${'0'.repeat(31)}1`,
  cubbyhole: `${'0'.repeat(31)}2`,
  token: `${'0'.repeat(31)}3`,
} as const;

export interface MountRecord extends MountInfo {
  readonly uuid: string;
  /** Core's type: `kv-v1`, `kv-v2`; `type` is what the API shows. */
  readonly coreType: string;
  readonly removing: boolean;
}

/** What can be mounted: how a type of the API becomes one of core. */
export interface MountableType {
  readonly type: string;
  readonly aliases?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly coreType: (options: Readonly<Record<string, string>>) => string;
}

export function encodeMount(mount: MountRecord): Buffer {
  const { coreType, path, id, removing } = mount;
  const { description, accessor, options, defaultLeaseTtl, maxLeaseTtl, builtin, config, type, uuid } = mount;
  const rest = encodePayload({
    ...{ type, description, accessor, options, defaultLeaseTtl, maxLeaseTtl, builtin, config, uuid },
    ...(mount.upgradedMs === undefined ? {} : { upgradedMs: mount.upgradedMs }),
  });
  const pathBytes = Buffer.from(path);
  const sizes = Buffer.alloc(6);
  sizes.writeUInt16BE(pathBytes.length, 0);
  sizes.writeUInt32BE(rest.length, 2);
  return Buffer.concat([
    Buffer.from([1, removing ? 1 : 0]),
    Buffer.from(id, 'hex'),
    Buffer.from([coreType.length]),
    Buffer.from(coreType),
    sizes.subarray(0, 2),
    pathBytes,
    sizes.subarray(2),
    rest,
  ]);
}

export function decodeMount(payload: Uint8Array): MountRecord {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const typeEnd = 19 + (bytes[18] ?? 0);
  const pathEnd = typeEnd + 2 + bytes.readUInt16BE(typeEnd);
  const rest = decodePayload(bytes.subarray(pathEnd + 4)) as unknown as Omit<
    MountRecord,
    'id' | 'path' | 'coreType' | 'removing'
  >;
  return {
    ...rest,
    id: bytes.toString('hex', 2, 18),
    path: bytes.toString('utf8', typeEnd + 2, pathEnd),
    coreType: bytes.toString('latin1', 19, typeEnd),
    removing: bytes[1] === 1,
  };
}

/**
 * Ends what lives outside and was made below a mount (leases).
 *
 * @param wait  until all of it is gone, or what is in its way is thrown
 * @returns false: something is left, and goes on ending
 * @throws Fault of a backend that could not be asked, if it was to wait
 */
export type Leave = (mount: MountInfo, wait: boolean) => Promise<boolean>;

export interface NewMount {
  readonly path: string;
  readonly type: string;
  readonly description: string;
  readonly options: Readonly<Record<string, string>>;
  readonly defaultLeaseTtl: number;
  readonly maxLeaseTtl: number;
  readonly config: ValueMap;
}

export class Mounts {
  readonly #barrier: Barrier;
  readonly #random: Random;
  readonly #types: ReadonlyMap<string, MountableType>;
  readonly #leave: Leave;
  #byId = new Map<string, MountRecord>();

  constructor(barrier: Barrier, random: Random, types: readonly MountableType[], leave: Leave = async () => true) {
    this.#barrier = barrier;
    this.#random = random;
    this.#leave = leave;
    this.#types = new Map(types.map((type) => [type.type, type]));
  }

  /** Enters every mount in core, and goes on with removals that a crash interrupted. */
  async load(): Promise<void> {
    const { core, store } = this.#barrier;
    const loaded = new Map<string, MountRecord>();
    await this.#barrier.job('boot', undefined, (grant) =>
      throughCore(() => {
        for (const { key, value } of store.range('mount')) {
          const mount = decodeMount(core.openTable(grant, 'mount', key, value));
          core.loadMount(key, value);
          loaded.set(mount.id, mount);
        }
      }),
    );
    this.#byId = loaded;
  }

  /** Finishes removals that were under way; after the log runs. */
  async resume(): Promise<void> {
    for (const mount of this.#byId.values()) {
      if (mount.removing && (await this.#leave(mount, false))) await this.#empty(mount);
    }
  }

  /** A mount as its row stands now, being removed or not. */
  async stored(id: string): Promise<{ readonly row: Uint8Array; readonly mount: MountRecord } | undefined> {
    const opened = await this.#barrier.job('boot', undefined, (grant) =>
      this.#barrier.open(grant, 'mount', Buffer.from(id, 'hex')),
    );
    return opened === undefined ? undefined : { row: opened.row, mount: decodeMount(opened.payload) };
  }

  byId(id: string): MountRecord | undefined {
    return this.#byId.get(id);
  }

  /** @param path with its trailing slash */
  at(path: string): MountRecord | undefined {
    return this.list().find((mount) => mount.path === path);
  }

  /** Live ones, by path. */
  list(): MountRecord[] {
    return [...this.#byId.values()].filter((mount) => !mount.removing).sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** The mount whose path a path is at or below. */
  above(path: string): MountRecord | undefined {
    const whole = path.endsWith('/') ? path : `${path}/`;
    return this.list()
      .filter((mount) => whole.startsWith(mount.path))
      .sort((a, b) => b.path.length - a.path.length)[0];
  }

  /** TTLs that hold, in seconds: the mount's own, else the system's. */
  ttls(mount: MountInfo): { readonly defaultTtl: number; readonly maxTtl: number } {
    const maxTtl = mount.maxLeaseTtl || SYSTEM_TTL;
    return { defaultTtl: mount.defaultLeaseTtl || Math.min(SYSTEM_TTL, maxTtl), maxTtl };
  }

  /** @throws Fault `input.invalid` in Vault's words */
  async enable(grant: number, wanted: NewMount): Promise<void> {
    const path = mountPath(wanted.path);
    const found = this.#types.get(wanted.type);
    const alias = [...this.#types.values()].find((type) => type.aliases?.[wanted.type] !== undefined);
    const type = found ?? alias;
    if (type === undefined)
      throw new Fault('input.invalid', `plugin not found in the catalog: ${JSON.stringify(wanted.type.slice(0, 64))}`);
    const options = { ...alias?.aliases?.[wanted.type], ...wanted.options };
    if (found !== undefined && alias === undefined) checkOptions(type, wanted.options);
    checkTtls(wanted.defaultLeaseTtl, wanted.maxLeaseTtl);
    await this.#barrier.inLine('mounts', async () => {
      this.#checkPath(path);
      if (this.#byId.size >= MOUNT_COUNT_MAX)
        throw new Fault('input.invalid', `a box has at most ${MOUNT_COUNT_MAX} mounts`);
      await this.#save(grant, {
        id: Buffer.from(this.#random.bytes(16)).toString('hex'),
        path,
        type: type.type,
        coreType: type.coreType(options),
        accessor: `${type.type}_${Buffer.from(this.#random.bytes(4)).toString('hex')}`,
        description: wanted.description,
        options,
        defaultLeaseTtl: wanted.defaultLeaseTtl,
        maxLeaseTtl: wanted.maxLeaseTtl,
        builtin: false,
        config: wanted.config,
        uuid: this.#random.uuid(),
        removing: false,
      });
    });
  }

  #checkPath(path: string, moving?: MountRecord): void {
    const first = path.split('/')[0] ?? '';
    if (['sys', 'cubbyhole', 'auth', 'identity'].includes(first))
      throw new Fault('input.invalid', `cannot mount "${path}"`);
    // One that is being removed holds its path until what was made below it is gone.
    for (const other of this.#byId.values()) {
      if (other.id === moving?.id) continue;
      if (other.path.startsWith(path) || path.startsWith(other.path)) {
        throw new Fault('input.invalid', `path is already in use at ${other.path}`);
      }
    }
  }

  async #save(grant: number, mount: MountRecord): Promise<void> {
    const { core, store } = this.#barrier;
    const key = Buffer.from(mount.id, 'hex');
    await this.#barrier.counted([this.#barrier.seal(grant, 'mount', key, encodeMount(mount))], [], () => {
      const row = store.get('mount', key);
      if (row === undefined) throw new Error('a mount that was just committed is not in the store');
      throughCore(() => core.loadMount(key, Uint8Array.from(row)));
      this.#byId.set(mount.id, mount);
    });
  }

  /** Changes a mount by id. @throws Fault `input.invalid` */
  async change(grant: number, id: string, change: (mount: MountRecord) => MountRecord): Promise<void> {
    await this.#barrier.inLine('mounts', async () => {
      const mount = this.#byId.get(id);
      if (mount === undefined) throw new Fault('route.absent', 'the mount is gone');
      const changed = change(mount);
      checkTtls(changed.defaultLeaseTtl, changed.maxLeaseTtl);
      await this.#save(grant, changed);
    });
  }

  /** What a mount of this type has for core, by its options. */
  coreType(type: string, options: Readonly<Record<string, string>>): string {
    const found = this.#types.get(type);
    if (found === undefined) throw new Error(`no type ${type} is known`);
    return found.coreType(options);
  }

  /**
   * Gives a mount another path. Its leases end first: their ids name the old one.
   *
   * @throws Fault `input.invalid` in Vault's words; what ending the leases throws: then nothing has moved
   */
  async move(grant: number, from: string, to: string): Promise<void> {
    const source = mountPath(from);
    const target = mountPath(to);
    const check = (): MountRecord => {
      const mount = this.at(source);
      if (mount === undefined) throw new Fault('input.invalid', `no matching mount at "${source}"`);
      if (mount.builtin) throw new Fault('input.invalid', `cannot remount "${source}"`);
      this.#checkPath(target, mount);
      return mount;
    };
    // Not in line: a dead backend holds up no other mount.
    await this.#leave(check(), true);
    await this.#barrier.inLine('mounts', async () => {
      const mount = check();
      await this.#save(grant, { ...mount, path: target });
      // What was made between the two.
      await this.#leave(mount, false);
    });
  }

  /**
   * Removes a mount with all that is in it: first nothing reaches it any more, durable; then its leases end; then its rows
   * go.
   *
   * @throws Fault `database.unreachable`, `lease.held` its leases do not end now: it is out of reach, and goes when they have
   */
  async disable(grant: number, path: string): Promise<void> {
    const whole = mountPath(path);
    const mount = this.at(whole);
    if (mount?.builtin === true || /^(sys|cubbyhole|identity)\//.test(whole)) {
      throw new Fault('input.invalid', `cannot unmount "${whole}"`);
    }
    const leaving = mount ?? [...this.#byId.values()].find((one) => one.removing && one.path === whole);
    if (leaving === undefined) return;
    const removing: MountRecord = { ...leaving, removing: true };
    if (!leaving.removing) await this.#barrier.inLine('mounts', () => this.#save(grant, removing));
    // Its storage says how to end what it made: it stays until that is gone.
    if (!(await this.#leave(removing, true))) {
      throw new Fault('database.unreachable', `${whole} is being removed: its leases are still ending`);
    }
    await this.#empty(removing);
  }

  #empty(mount: MountRecord): Promise<void> {
    return this.#barrier.inLine(`mounts/${mount.id}`, async () => {
      if (this.#byId.get(mount.id)?.removing === true) await this.#emptyOnce(mount);
    });
  }

  async #emptyOnce(mount: MountRecord): Promise<void> {
    const { core } = this.#barrier;
    await this.#barrier.job('unmount', mount.id, async (grant) => {
      const view = this.#barrier.view(grant, mount.id);
      for (const path of recordsBelow(view, '')) await view.update(path, (change) => change.delete(path));
      const key = Buffer.from(mount.id, 'hex');
      await this.#barrier.counted([{ table: 'mount', key }], [], () => {
        throughCore(() => core.dropMount(key));
        this.#byId.delete(mount.id);
      });
    });
  }

  /** The mounts that every box has, and KV version 2 at `secret/` where it is asked for. */
  async found(grant: number, secretMount: boolean): Promise<void> {
    const builtin = (id: string, path: string, type: string, description: string): MountRecord => ({
      ...{ id, path, type, coreType: type, description, builtin: true, removing: false },
      accessor: `${type}_${Buffer.from(this.#random.bytes(4)).toString('hex')}`,
      options: null,
      defaultLeaseTtl: 0,
      maxLeaseTtl: 0,
      config: {},
      uuid: this.#random.uuid(),
    });
    for (const mount of [
      builtin(BUILTIN.sys, 'sys/', 'system', 'system endpoints used for control, policy and debugging'),
      builtin(BUILTIN.cubbyhole, 'cubbyhole/', 'cubbyhole', 'per-token private secret storage'),
      builtin(BUILTIN.token, 'auth/token/', 'token', 'token based credentials'),
    ]) {
      await this.#save(grant, mount);
    }
    if (!secretMount) return;
    await this.enable(grant, {
      ...{ path: 'secret', type: 'kv', description: 'key/value secret storage', options: { version: '2' } },
      ...{ defaultLeaseTtl: 0, maxLeaseTtl: 0, config: {} },
    });
  }
}

function checkOptions(type: MountableType, options: Readonly<Record<string, string>>): void {
  const { version } = options;
  if (type.type === 'kv' && version !== undefined && version !== '1' && version !== '2') {
    throw new Fault('input.invalid', 'the version of a kv engine is "1" or "2"');
  }
}

function checkTtls(defaultTtl: number, maxTtl: number): void {
  const maximum = maxTtl || SYSTEM_TTL;
  if (defaultTtl > maximum) {
    throw new Fault(
      'input.invalid',
      `backend max lease TTL of ${maximum} would be less than backend default lease TTL of ${defaultTtl}`,
    );
  }
}

/** A mount's path with its slash. @throws Fault `input.invalid` */
export function mountPath(text: string): string {
  const path = text.replace(/^\/+|\/+$/g, '');
  if (path === '' || Buffer.byteLength(path) > PATH_SIZE_MAX || path.includes('//')) {
    throw new Fault('input.invalid', 'a mount needs a path of 1 to 500 bytes without empty segments');
  }
  return `${path}/`;
}
