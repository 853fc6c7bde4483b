/**
 * Group commit: one group of leaves is under way to the medium while the next one gathers in core. Groups stay in memory
 * until a mark covers them on the medium, so a file that fails is given up and they are written again to another one.
 */
import { dirname, join } from 'node:path';
import type { AuditGroup } from '../../core/types.ts';
import { Fault } from '../fault.ts';
import type { AppendFile, LogFiles } from '../ports/log-files.ts';
import {
  SEGMENT_FOLDER,
  SEGMENT_HEADER_SIZE,
  type SegmentFile,
  SegmentReader,
  segmentHeader,
  segmentName,
} from './segment.ts';

const SPARE = 'spare';
/** Composed, not yet on the medium. Reached only when the medium stands still. */
const QUEUE_BYTES_MAX = 16 * 1024 * 1024;
const BUFFER_BYTES = 512 * 1024;

export interface WriterOptions {
  readonly folder: string;
  readonly files: LogFiles;
  readonly segmentBytes: number;
  /** Takes what core has gathered. */
  readonly take: (into: Uint8Array | undefined) => AuditGroup | undefined;
  /** Runs what writes the first group after a pause: see AuditOptions. */
  readonly soon: (job: () => void) => void;
  /** A group is on the medium. Must not throw. */
  readonly written: (group: AuditGroup) => void;
  /** `tight`: no reserve segment could be made; `failed`: nothing could be written. Undefined: as it should be. */
  readonly changed: (state: 'open' | 'tight' | 'failed', why?: string) => void;
}

interface Wave {
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: Error): void;
}

function wave(): Wave {
  let resolve = (): void => undefined;
  let reject = (_: Error): void => undefined;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Whoever asked may have gone away: a rejection that nobody awaits is told by the log's state.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

const DONE = Promise.resolve();
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'an error';
export const unavailable = (): Fault => new Fault('audit.unavailable', 'the audit log cannot be written');

export class GroupWriter {
  readonly #options: WriterOptions;
  readonly #spare: string;
  readonly #queue: AuditGroup[] = [];
  #queueBytes = 0;
  /** For the bytes of a group as long as it is alone in the queue: a fresh array of that size for each costs page faults. */
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #file: AppendFile | undefined;
  /** Where the next group goes, and how far blocks are reserved. */
  #offset = 0;
  #end = 0;
  #spareReady = false;
  #spareWanted = true;
  #failed = false;
  #busy = false;
  #stopped = false;
  #running: Promise<void> = DONE;
  #gathering: Wave | undefined;
  #flying: Wave | undefined;
  #flyingSize = 0;
  #written = 0;
  #composed = 0;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#spare = join(options.folder, SPARE);
  }

  /**
   * Goes on where the log ends.
   *
   * @param last  the segment that takes the next group, and where; undefined: a new one
   * @throws Fault `audit.unavailable` if there is no room, or the system's error
   */
  async start(size: number, last?: { readonly file: SegmentFile; readonly offset: number }): Promise<void> {
    const { files, folder } = this.#options;
    this.#written = size;
    this.#composed = size;
    files.makeFolder(join(folder, SEGMENT_FOLDER));
    await files.syncPath(folder);
    await files.syncPath(dirname(folder));
    if (last !== undefined) await this.#reopen(last.file, last.offset);
    this.#makeSpare();
    if (this.#file === undefined && !this.#spareReady) {
      throw new Fault('audit.unavailable', 'the disk has no room for a segment of the audit log');
    }
    this.#tell();
  }

  /**
   * Cuts off what follows the last good group, so that its bytes never meet new ones. Zeros stay: their blocks may be the
   * last of a full disk.
   */
  async #reopen(segment: SegmentFile, offset: number): Promise<void> {
    const { files, segmentBytes } = this.#options;
    const { path } = segment;
    const file = files.open(path);
    if (leftoverOf(segment, offset) > 0) file.truncate(offset);
    await file.sync();
    this.#file = file;
    this.#offset = offset;
    this.#end = offset;
    if (offset >= segmentBytes) return;
    try {
      files.reserve(path, segmentBytes);
      this.#end = segmentBytes;
    } catch {
      // Without blocks ahead of it this segment takes no more: the next group goes to the reserve.
    }
  }

  /**
   * True if ordinary leaves may be composed: once the reserve is gone, half a segment is kept for revocation, and an
   * eighth for the answers of what is under way.
   *
   * @param gathering  bytes that core holds already
   */
  hasRoom(gathering: number): boolean {
    // Just taken: whether the disk gives another one is known when the group under way is written.
    if (this.#spareReady || this.#spareWanted) return true;
    const ahead = this.#end - this.#offset - this.#queueBytes - gathering;
    return ahead > (this.#options.segmentBytes * 5) / 8;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Leaves that are on the medium. */
  get written(): number {
    return this.#written;
  }

  /** Tells that core holds leaves up to this size. */
  composed(size: number): void {
    this.#composed = size;
  }

  /** Takes what core holds though its turn has not come: core's buffer is full. @throws Fault `audit.unavailable` */
  enqueue(): void {
    if (this.#queueBytes > QUEUE_BYTES_MAX) throw unavailable();
    this.#take();
    this.kick();
  }

  #take(): void {
    const group = this.#options.take(this.#queue.length === 0 ? this.#buffer : undefined);
    if (group === undefined) return;
    this.#queue.push(group);
    this.#queueBytes += group.bytes.length;
  }

  /**
   * Resolves when every leaf composed until now is on the medium.
   *
   * @param urgent  tries even while the log has failed
   * @throws Fault `audit.unavailable`
   */
  durable(urgent = false): Promise<void> {
    if (this.#composed <= this.#written) return DONE;
    if (this.#stopped || (this.#failed && !urgent)) return Promise.reject(unavailable());
    if (this.#flying !== undefined && this.#flyingSize >= this.#composed) return this.#flying.promise;
    this.#gathering ??= wave();
    const { promise } = this.#gathering;
    this.kick();
    return promise;
  }

  /** Begins to write, unless that is going on. */
  kick(): void {
    if (this.#busy || this.#stopped) return;
    this.#busy = true;
    this.#running = new Promise((resolve) => this.#options.soon(() => resolve(this.#run())));
  }

  /** Tries again what failed: the reserve, or a new segment. */
  heal(): void {
    if (this.#failed) this.kick();
    else if (!this.#spareReady) {
      this.#makeSpare();
      this.#tell();
    }
  }

  /** Writes what there is and closes. What could not be written was never acknowledged. */
  async stop(): Promise<void> {
    this.kick();
    while (this.#busy) await this.#running;
    this.#stopped = true;
    const file = this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    // Without a reserve the blocks ahead are what the next start revokes on.
    if (!this.#failed && this.#spareReady) {
      try {
        file.truncate(this.#offset);
        await file.sync();
      } catch {
        // Every group was synced by itself: only the zeros behind the last one stay.
      }
    }
    file.close();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    try {
      for (;;) {
        // While nothing can be written, core's own buffer is the limit of what gathers.
        if (this.#queueBytes <= QUEUE_BYTES_MAX) this.#take();
        const last = this.#queue.at(-1);
        if (last === undefined) break;
        this.#flyingSize = last.size;
        this.#flying = this.#gathering ?? wave();
        this.#gathering = undefined;
        await this.#writeUpTo(last);
        const recovered = this.#failed;
        this.#failed = false;
        this.#flying.resolve();
        this.#flying = undefined;
        if (this.#spareWanted) this.#makeSpare();
        else if (!recovered) continue;
        this.#tell();
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#busy = false;
    // Asked for between the last look and now.
    if (this.#gathering !== undefined && !this.#failed) this.kick();
  }

  async #writeUpTo(last: AuditGroup): Promise<void> {
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      await this.#write(head);
      this.#queue.shift();
      this.#queueBytes -= head.bytes.length;
      this.#written = head.size;
      this.#options.written(head);
      if (head === last) return;
    }
  }

  async #write(group: AuditGroup): Promise<void> {
    const full = this.#offset + group.bytes.length > this.#end && this.#offset > SEGMENT_HEADER_SIZE;
    if (this.#file !== undefined && full) this.#close(true);
    if (this.#file !== undefined) {
      try {
        return await this.#append(this.#file, group);
      } catch {
        // After a failed sync the system has forgotten which pages were dirty: this file proves nothing any more.
        this.#close(false);
      }
    }
    const file = this.#next(group.firstSeq);
    try {
      file.write(segmentHeader(group.firstSeq), 0);
      await this.#append(file, group);
    } catch (error) {
      this.#close(false);
      throw error;
    }
  }

  async #append(file: AppendFile, group: AuditGroup): Promise<void> {
    file.write(group.bytes, this.#offset);
    await file.sync();
    this.#offset += group.bytes.length;
  }

  #close(whole: boolean): void {
    const file = this.#file;
    this.#file = undefined;
    try {
      // Zeros that stay if this fails are no harm: readers know them.
      if (whole) file?.truncate(this.#offset);
    } catch {
      // As above.
    }
    try {
      file?.close();
    } catch {
      // Nothing is left to lose in it.
    }
  }

  /** Takes the reserve as the next segment; its header is still to be written. @throws the system's error */
  #next(firstSeq: number): AppendFile {
    const { files, folder, segmentBytes } = this.#options;
    if (!this.#spareReady) this.#prepareSpare();
    const path = join(folder, segmentName(firstSeq));
    this.#spareReady = false;
    this.#spareWanted = true;
    files.rename(this.#spare, path);
    files.syncFolder(join(folder, SEGMENT_FOLDER));
    const file = files.open(path);
    this.#file = file;
    this.#end = segmentBytes;
    this.#offset = SEGMENT_HEADER_SIZE;
    return file;
  }

  #prepareSpare(): void {
    const { files, segmentBytes } = this.#options;
    // Never one with bytes in it.
    files.remove(this.#spare);
    files.reserve(this.#spare, segmentBytes);
    this.#spareReady = true;
  }

  #makeSpare(): void {
    this.#spareWanted = false;
    try {
      this.#prepareSpare();
    } catch {
      try {
        // A call that failed may have taken part of the room.
        this.#options.files.remove(this.#spare);
      } catch {
        // It is tried again with the next one.
      }
    }
  }

  #tell(): void {
    this.#options.changed(this.#failed ? 'failed' : this.#spareReady ? 'open' : 'tight');
  }

  #fail(error: unknown): void {
    this.#failed = true;
    this.#flying?.reject(unavailable());
    this.#gathering?.reject(unavailable());
    this.#flying = undefined;
    this.#gathering = undefined;
    this.#options.changed('failed', codeOf(error));
  }
}

function leftoverOf(segment: SegmentFile, offset: number): number {
  using reader = new SegmentReader(segment);
  return reader.leftover(offset);
}
