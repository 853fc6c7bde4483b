/** What tells this machine from another, over updates of its firmware and its system. Implemented by host/system/machine.ts. */
export interface MachineFact {
  readonly name: string;
  /** SHA-256 of it, hex: machine ids are not told to others. */
  readonly digest: string;
}

/** What can be read here, the most telling first; empty where nothing can. */
export type Machine = () => readonly MachineFact[];
