/** A count outside the disk that only rises: what tells an old disk from the current one. */
export interface Counter {
  /** 16 bytes, the same for the life of the counter: its name in the freshness row. */
  readonly id: Uint8Array;
  /**
   * @throws Fault `appliance.rolled-back` if the counter is gone or another stands in its place
   * @throws Fault `slot.unavailable` if the device does not answer
   */
  read(): Promise<bigint>;
  /** Raises the count by one and returns the new count. Faults as `read`. */
  increment(): Promise<bigint>;
}
