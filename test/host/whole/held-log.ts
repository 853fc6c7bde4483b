import type { LogFiles } from '../../../host/ports/log-files.ts';
import { logFiles } from '../../../host/system/log-files.ts';

/** The files of an audit log on a medium that stands still while it is held: nothing composed meanwhile is durable. */
export class HeldLog {
  #waiting: (() => void)[] | undefined;

  readonly files: LogFiles = {
    ...logFiles,
    open: (path) => {
      const file = logFiles.open(path);
      return {
        write: (bytes, offset) => file.write(bytes, offset),
        truncate: (bytes) => file.truncate(bytes),
        close: () => file.close(),
        sync: async () => {
          if (this.#waiting !== undefined) await new Promise<void>((go) => this.#waiting?.push(go));
          await file.sync();
        },
      };
    },
  };

  /** Runs `work` while the medium stands still, then lets it go on. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting = [];
    try {
      return await work();
    } finally {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      for (const go of waiting) go();
    }
  }
}
