/**
 * PINs that no person brings: the file they lie in, and the mark that keeps a refused one from being tried again. A wrong
 * PIN, tried again at each start, locks a device for good: so an attempt is marked before it is made, durably, and the mark
 * goes only when the device took the PIN.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { Fault } from '../fault.ts';
import type { PinMark } from '../ports/seal-slot.ts';
import type { Store } from '../ports/store.ts';
import { Secret } from '../secret.ts';

/** Attempts in a row that a power cut or a crash may cut short before a person has to come. */
export const ATTEMPTS_MAX = 3;
export const PIN_SIZE_MAX = 255;
const VERSION = 1;

/** The mark as a row of table `boot`, which is read and written without keys. What is no mark counts as a refused PIN. */
export function storedPinMark(store: Pick<Store, 'get' | 'commit'>, kind: 'pkcs11' | 'tpm2' = 'pkcs11'): PinMark {
  const key = Buffer.from(`pin/${kind}`, 'ascii');
  return {
    read() {
      const value = store.get('boot', key);
      if (value === undefined) return 0;
      const attempts = value[1] ?? ATTEMPTS_MAX;
      return value.length === 2 && value[0] === VERSION ? Math.min(attempts, ATTEMPTS_MAX) : ATTEMPTS_MAX;
    },
    async write(attempts) {
      if (attempts === 0) await store.commit({ puts: [{ table: 'boot', key }], urgent: true });
      else await store.commit({ puts: [{ table: 'boot', key, value: Buffer.of(VERSION, attempts) }], urgent: true });
    },
  };
}

/**
 * @param setting  the knob that names the file, for the sentence
 * @throws Fault `slot.unavailable` unless `path` is a file of one line that this user alone reads
 */
export function readPinFile(path: string, setting: string): Secret {
  const unusable = (): Fault =>
    new Fault(
      'slot.unavailable',
      `the PIN file in ${setting} cannot be used: it must be a regular file of at most ${PIN_SIZE_MAX} bytes and one line, readable by this user alone (mode 0600 or 0400)`,
    );
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    throw unusable();
  }
  try {
    const status = fstatSync(descriptor);
    if (!status.isFile() || !forOneUser(status)) throw unusable();
    using text = new Secret(Buffer.alloc(PIN_SIZE_MAX + 2));
    const length = readSync(descriptor, text.bytes, 0, PIN_SIZE_MAX + 2, 0);
    const size = text.bytes[length - 1] === 0x0a ? length - 1 : length;
    const line = text.bytes.subarray(0, size);
    if (!isPin(line)) throw unusable();
    return new Secret(Uint8Array.from(line));
  } finally {
    closeSync(descriptor);
  }
}

/**
 * A credential that systemd hands to a service belongs to root and names its reader in an access list, whose mask shows as
 * the group's bits: with root's group, nobody else is meant by them.
 */
function forOneUser({ mode, uid, gid }: Stats): boolean {
  return (mode & 0o077) === 0 || ((mode & 0o777) === 0o440 && uid === 0 && gid === 0);
}

/** One line of 1 to 255 bytes. */
export function isPin(bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes.length <= PIN_SIZE_MAX && bytes.every((byte) => byte >= 0x20 && byte !== 0x7f);
}
