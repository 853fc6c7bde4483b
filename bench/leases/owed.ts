/**
 * What a login owes to the disk beside its statements, done as plainly as Node can: a line of the log on the medium before
 * the server is asked, the lease in the store before the answer, a second line of the log before it too. No core, no policy,
 * no HTTP: a driver that does this shows what is left of a box whose own work costs nothing.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { openEnvironment } from '../../host/store/lmdb/reader.ts';
import { logFiles } from '../../host/system/log-files.ts';

/** Bytes of the frames that the box writes for a login: its request's and its answer's. */
const LINE_SIZES = { request: 1345, answer: 1730 } as const;
/** Of the log's segment: blocks that exist already. */
const SEGMENT_SIZE = 64 * 1024 * 1024;
/** Bytes of the keys and values that the commit of a lease writes: lease, due row, token's row, intent of the next one. */
const ROWS = [
  [34, 600],
  [25, 80],
  [49, 60],
  [17, 420],
] as const;

export interface Owed {
  /** On the medium when it resolves. Calls of several callers are not gathered. */
  line(of: keyof typeof LINE_SIZES): Promise<void>;
  lease(): Promise<void>;
  close(): Promise<void>;
}

/** @param folder  there and empty */
export function owedTo(folder: string): Owed {
  const path = join(folder, 'segment');
  logFiles.reserve(path, SEGMENT_SIZE);
  const file = logFiles.open(path);
  const store = openEnvironment(join(folder, 'store.mdb'), SEGMENT_SIZE);
  let offset = 0;
  let previous: readonly Buffer[] = [];
  return {
    async line(of) {
      const bytes = randomBytes(LINE_SIZES[of]);
      if (offset + bytes.length > SEGMENT_SIZE) offset = 0;
      file.write(bytes, offset);
      offset += bytes.length;
      await file.sync();
    },
    async lease() {
      const keys = ROWS.map(([size]) => randomBytes(size));
      // The intent that the lease before left goes with it.
      const intent = previous.at(-1);
      if (intent !== undefined) void store.remove(intent);
      previous = keys;
      await Promise.all(ROWS.map(([, size], at) => store.put(keys[at] ?? Buffer.alloc(1), randomBytes(size))));
    },
    async close() {
      file.close();
      await store.close();
    },
  };
}
