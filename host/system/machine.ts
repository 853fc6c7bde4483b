/**
 * What this machine is known by: ids of its board, then of its installed system. Nothing that an update of firmware or
 * system changes (BIOS versions, kernel, disks, network cards that come and go), and not the TPM: the counter in it is
 * bound to its storage key already.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MachineFact } from '../ports/machine.ts';

/** The most telling first: of a name that two readings both have, the first decides. Root alone reads the first two on most systems. */
const SOURCES: readonly (readonly [string, string])[] = [
  ['product-uuid', 'sys/class/dmi/id/product_uuid'],
  ['board-serial', 'sys/class/dmi/id/board_serial'],
  ['device-tree', 'sys/firmware/devicetree/base/serial-number'],
  ['machine-id', 'etc/machine-id'],
];
const SIZE_MAX = 256;
/** What makers leave in the place of an id. */
const NO_ID =
  /^(?:(.)\1*|0300?0200-0400-0500-0006-000700080009|none|n\/?a|unknown|uninitialized|not (?:specified|applicable|available)|(?:system|board|chassis) serial number|default string|to be filled by o\.?e\.?m\.?|123456789?0?)$/;

/** @param root  of the file system; a test has its own */
export function machineFacts(root = '/'): readonly MachineFact[] {
  return SOURCES.flatMap(([name, path]): MachineFact[] => {
    const text = read(join(root, path));
    if (text === undefined) return [];
    const digest = createHash('sha256').update(`holdfast/v1/machine\0${name}\0${text}`).digest('hex');
    return [{ name, digest }];
  });
}

function read(path: string): string | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    // Absent, or for root alone: another fact decides.
    return undefined;
  }
  const text = bytes.subarray(0, SIZE_MAX).toString('latin1').replaceAll('\0', '').trim().toLowerCase();
  const bare = text.replace(/[-:. ]/g, '');
  return bare.length < 4 || NO_ID.test(text) || NO_ID.test(bare) ? undefined : text;
}
