/** What a store and a log need of the operating system that Node does not offer. Implemented by host/system. */
export interface Files {
  /**
   * Makes sure that blocks for the first `bytes` bytes of the file exist, so that writing there does not meet a full
   * disk. Makes the file (mode 0600) where it is absent; never shortens it.
   *
   * @throws the system's error, with its `code`: `ENOSPC` where the disk has not that much
   */
  reserve(path: string, bytes: number): void;
  /** Makes names made, renamed or removed in the folder durable. */
  syncFolder(folder: string): void;
}

/** Proof that this process alone holds a folder; ends with the process, or with `release`. */
export interface FolderLock {
  readonly folder: string;
  release(): void;
}
