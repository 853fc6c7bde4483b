/**
 * Makes the tree known: signed checkpoints (at most one a second), the folder's `checkpoint` with every tile it needs on
 * the medium before it, and the heartbeat that lets the store record the newest one.
 */
import { join } from 'node:path';
import type { Clock, Timer } from '../ports/clock.ts';
import type { LogFiles } from '../ports/log-files.ts';
import type { Signing } from './signing.ts';
import type { Tiles } from './tiles.ts';

export const CHECKPOINT = 'checkpoint';
export const KEYS = 'keys';
const SIGN_INTERVAL_MS = 1000;
/** A start opens the leaves behind the folder's checkpoint once more: that many, or so old, and a new one is written. */
const PUBLISH_LEAVES = 8192;
const PUBLISH_INTERVAL_MS = 10_000;

export interface PublisherOptions {
  readonly folder: string;
  readonly files: LogFiles;
  readonly clock: Clock;
  readonly signing: Signing;
  readonly tiles: Tiles;
  readonly heartbeatMs: number;
  readonly onCheckpoint: (size: number, root: Uint8Array) => Promise<void>;
  readonly trouble: (sentence: string) => void;
}

export class Publisher {
  readonly #options: PublisherOptions;
  #size: number;
  #root: Uint8Array;
  #note: string | undefined;
  #noteSize = -1;
  #signedMs = Number.NEGATIVE_INFINITY;
  /** Size of the folder's checkpoint, and of the one in the store. */
  #published: number;
  #recorded: number;
  #publishedMs: number;
  #publishing: Promise<void> | undefined;
  #recording: Promise<void> | undefined;
  #publishTimer: Timer | undefined;
  #heartbeat: Timer | undefined;
  #stopped = false;

  constructor(options: PublisherOptions, size: number, root: Uint8Array, published: number, recorded: number) {
    this.#options = options;
    this.#size = size;
    this.#root = root;
    this.#published = published;
    this.#recorded = recorded;
    this.#publishedMs = options.clock.bootMs();
    if (size > published || size > recorded) this.#schedule();
  }

  /** More leaves are on the medium (and in the tiles). */
  grew(size: number, root: Uint8Array): void {
    this.#size = size;
    this.#root = root;
    if (this.#publishTimer === undefined || this.#heartbeat === undefined) this.#schedule();
    if (size - this.#published < PUBLISH_LEAVES || this.#publishing !== undefined) return;
    if (this.#options.clock.bootMs() - this.#publishedMs >= SIGN_INTERVAL_MS) this.#publishSoon();
  }

  /** The newest signed checkpoint: of the tree as it stands, unless one was signed within the last second. */
  signed(): string {
    return this.#sign().note;
  }

  #sign(now = false): { readonly note: string; readonly size: number } {
    const { clock, signing } = this.#options;
    const nowMs = clock.bootMs();
    if (
      this.#note === undefined ||
      (this.#noteSize !== this.#size && (now || nowMs - this.#signedMs >= SIGN_INTERVAL_MS))
    ) {
      this.#note = signing.checkpoint(this.#size, this.#root);
      this.#noteSize = this.#size;
      this.#signedMs = nowMs;
    }
    return { note: this.#note, size: this.#noteSize };
  }

  /** The key changed: what was signed with the old one is not handed out any more. */
  async resign(): Promise<void> {
    this.#note = undefined;
    this.#published = -1;
    await this.#publishOnce(true);
  }

  #schedule(): void {
    if (this.#stopped) return;
    const { clock, heartbeatMs } = this.#options;
    this.#publishTimer ??= clock.after(PUBLISH_INTERVAL_MS, () => {
      this.#publishTimer = undefined;
      this.#publishSoon();
    });
    this.#heartbeat ??= clock.after(heartbeatMs, () => {
      this.#heartbeat = undefined;
      this.#recordSoon();
    });
  }

  #publishSoon(): void {
    this.#publishing ??= this.#publishOnce(false).finally(() => {
      this.#publishing = undefined;
    });
  }

  #recordSoon(): void {
    this.#recording ??= this.#recordOnce().finally(() => {
      this.#recording = undefined;
    });
  }

  /** Never rejects. Tiles first, then the checkpoint that stands on them: what it says can be proved from the folder alone. */
  async #publishOnce(now: boolean): Promise<void> {
    const { folder, files, tiles, signing, clock } = this.#options;
    if (this.#size === this.#published) return;
    if (!now && this.#noteSize !== this.#size && clock.bootMs() - this.#signedMs < SIGN_INTERVAL_MS) {
      this.#schedule();
      return;
    }
    try {
      // `settle` takes the tiles as they stand before its first wait, so they belong to this very size.
      const settled = tiles.settle();
      const { note, size } = this.#sign(true);
      const { retire } = await settled;
      const path = join(folder, CHECKPOINT);
      await this.#replace(join(folder, KEYS), signing.keyLines);
      await this.#replace(path, note);
      await files.syncPath(folder);
      retire();
      this.#published = size;
      this.#publishedMs = clock.bootMs();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'an error';
      this.#options.trouble(`tiles or checkpoint of the audit log could not be written (${code})`);
      if (!now) this.#schedule();
    }
  }

  async #replace(path: string, text: string): Promise<void> {
    const { files } = this.#options;
    const next = `${path}.next`;
    files.put(next, Buffer.from(text, 'utf8'));
    await files.syncPath(next);
    files.rename(next, path);
  }

  /** Never rejects. */
  async #recordOnce(): Promise<void> {
    if (this.#size === this.#recorded) return;
    const size = this.#size;
    try {
      await this.#options.onCheckpoint(size, this.#root);
      this.#recorded = size;
    } catch {
      this.#options.trouble('the newest checkpoint of the audit log could not be recorded in the store');
      this.#schedule();
    }
  }

  /** Records the newest checkpoint now, e.g. after a start that repaired something. */
  async record(): Promise<void> {
    await this.#recording;
    await this.#recordOnce();
  }

  /** Publishes and records the end of the log. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#publishTimer?.cancel();
    this.#heartbeat?.cancel();
    await this.#publishing;
    await this.#publishOnce(true);
    await this.record();
  }
}
