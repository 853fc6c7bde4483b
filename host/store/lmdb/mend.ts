/**
 * Mends a flaw of lmdb-js 3.5.6 in memory, before the first store is opened.
 *
 * When a page cannot be written, mdb_page_flush formats "Attempting to write page at position …, buffer sizes …" with
 * three uninitialised numbers into 100 bytes of heap: up to 20 bytes too many. A disk that begins to fail would so bring
 * down the process whose reads are to go on. The format is shortened in this process's own copy of the addon's constants.
 * test/crash/faults.test.ts fails writes by the hundred; without this it ends in an abort.
 */
import { readFileSync } from 'node:fs';
import koffi from 'koffi';

const FORMAT = 'Attempting to write page at position %u, size %u, blocks %u, buffer sizes %i %i %i\0';
/** Takes fewer arguments than are given, which C permits; at most 70 bytes when filled in. */
const SHORTER = 'Attempting to write page at position %u, size %u\0';

const PROT_READ = 1;
const PROT_WRITE = 2;

interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  /** Offset in the file of the first byte. */
  readonly offset: bigint;
  readonly isExecutable: boolean;
}

let mended = false;

/**
 * @throws Error if the addon is not the one that is known (its version is pinned: a newer one needs a look at the flaw)
 */
export function mendLmdb(): void {
  if (mended) return;
  const path = addonPath();
  const at = BigInt(readFileSync(path).indexOf(FORMAT, 0, 'latin1'));
  const mapping = at < 0n ? undefined : mappingsOf(path).find((one) => holds(one, at));
  if (mapping === undefined) throw new Error('this build of lmdb is not the one that the store was made for');
  overwrite(mapping, mapping.start + (at - mapping.offset));
  mended = true;
}

/** The addon that `import 'lmdb'` loaded. */
function addonPath(): string {
  const path = /\S*\/@lmdb\/[^\n]*\.node$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[0];
  if (path === undefined) throw new Error('lmdb has not loaded its addon');
  return path;
}

function mappingsOf(path: string): Mapping[] {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return lines
    .filter((line) => line.endsWith(` ${path}`))
    .map((line) => {
      const [range = '', permissions = '', offset = ''] = line.split(/ +/);
      const [start = '', end = ''] = range.split('-');
      return {
        start: BigInt(`0x${start}`),
        end: BigInt(`0x${end}`),
        offset: BigInt(`0x${offset}`),
        isExecutable: permissions.includes('x'),
      };
    });
}

function holds({ start, end, offset, isExecutable }: Mapping, at: bigint): boolean {
  return !isExecutable && at >= offset && at + BigInt(FORMAT.length) <= offset + (end - start);
}

/** The mapping is private: the file and other processes keep what they have. */
function overwrite({ start, end }: Mapping, address: bigint): void {
  const libc = koffi.load(null);
  const mprotect = libc.func('int mprotect(uintptr_t address, size_t length, int protection)');
  const memcpy = libc.func('void *memcpy(uintptr_t to, const uint8_t *from, size_t length)');
  const length = Number(end - start);
  if (mprotect(start, length, PROT_READ | PROT_WRITE) !== 0) throw new Error('lmdb could not be mended');
  memcpy(address, Buffer.from(SHORTER, 'latin1'), SHORTER.length);
  mprotect(start, length, PROT_READ);
}
