/** An open core below its facade: declared, with a mount and a job's grant. */
import { encodeDeclarations } from '../../../core/declare.ts';
import type { TypeDeclaration } from '../../../core/types.ts';
import { RawCore } from '../raw.ts';
import { id, mountPayload, NOW, TYPES } from './box.ts';

export const NONE = new Uint8Array(0);
const BOOT = 0;
export const REWRAP = 6;
export const AUDIT = 7;

export class RawBox extends RawCore {
  readonly keyring: Buffer;

  constructor(types: readonly TypeDeclaration[] = TYPES) {
    super();
    if (this.call('declare', this.put(encodeDeclarations(types))) !== 0) throw new Error('the declarations are good');
    this.put(id(9));
    if (this.call('createKeyring', NOW) !== 0) throw new Error('the pool is full');
    this.keyring = this.out(this.result(0));
    this.mount(id(1), 'sys', 'sys/');
    this.mount(id(2), 'kv-v1', 'secret/');
  }

  job(job = BOOT, mount?: Uint8Array): number {
    this.put(mount ?? NONE);
    const status = this.call('systemGrant', job, mount === undefined ? 0 : 1, NOW, NOW + 60_000);
    if (status !== 0) throw new Error(`no grant: ${status}`);
    return this.result(0) + this.result(1) * 2 ** 32;
  }

  /** A row of a table without mount. */
  row(table: number, key: Uint8Array, payload: Uint8Array): Buffer {
    if (this.call('poolLeft') < 64) this.fill(key[15] ?? 0);
    const grant = this.job();
    this.put(key, payload);
    const status = this.call('sealTable', grant, table, key.length, payload.length);
    this.call('finishGrant', grant);
    if (status !== 0) throw new Error(`not sealed: ${status}`);
    return this.out(this.result(0));
  }

  mount(mountId: Uint8Array, type: string, path: string, state = 0): number {
    return this.loadMount(mountId, mountPayload(mountId, type, path, state));
  }

  loadMount(key: Uint8Array, payload: Uint8Array): number {
    const row = this.row(10, key, payload);
    this.put(key, row);
    return this.call('loadMount', row.length);
  }

  /** Takes random bytes until there are none. */
  drain(): void {
    while (this.call('newAccessor') === 0) this.out(24);
    this.memory.fill(0, 0xa01000, 0xa01000 + 4096);
  }
}
