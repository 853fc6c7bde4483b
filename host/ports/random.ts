/** Random bytes of the operating system, hashed together with those of a TPM or HSM where there is one. */
export interface Random {
  /** `length` (1 to 65,536) fresh bytes, owned by the caller. */
  bytes(length: number): Uint8Array;
  /** A version 4 UUID (RFC 9562). */
  uuid(): string;
}
