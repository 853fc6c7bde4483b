/** Folders for their owner alone. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder of mode 0700 with those above it; one that is there is left as it is. Node's own `recursive` never comes
 * back where the system says of a folder that is there that it is not (below /proc).
 *
 * @throws Error as mkdir has it: ENOTDIR, EACCES, ENOENT, …
 */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
    return;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'EEXIST') {
      if (statSync(path).isDirectory()) return;
      throw Object.assign(new Error(`ENOTDIR: mkdir '${path}'`), { code: 'ENOTDIR', syscall: 'mkdir', path });
    }
    const above = dirname(path);
    if (code !== 'ENOENT' || above === path) throw thrown;
    makeFolder(above);
  }
  mkdirSync(path, { mode: 0o700 });
}
