/** Reads just enough of the WebAssembly binary format (core specification, section 5) to rewrite function bodies. */

export class Reader {
  readonly bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new RangeError('the module ends too early');
    return value;
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  /** Passes over a LEB128 number, signed or not. */
  skipLeb(): void {
    while (this.byte() >= 0x80);
  }

  take(length: number): Uint8Array {
    const part = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return part;
  }

  name(): string {
    return Buffer.from(this.take(this.u32())).toString();
  }

  get done(): boolean {
    return this.at >= this.bytes.length;
  }
}

export function leb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; ) {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    if (rest === 0) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

export const OP = {
  IF: 0x04,
  ELSE: 0x05,
  END: 0x0b,
  BR_IF: 0x0d,
  BR_TABLE: 0x0e,
  SELECT: 0x1b,
  SELECT_T: 0x1c,
} as const;
export const GLOBAL_GET = 0x23;
export const GLOBAL_SET = 0x24;

/** Passes over what follows an opcode. @returns the targets of a br_table, default included; else 0 */
export function skipImmediates(reader: Reader, opcode: number): number {
  const memory = (): void => {
    reader.skipLeb();
    reader.skipLeb();
  };
  if (opcode === OP.BR_TABLE) {
    const targets = reader.u32() + 1;
    for (let i = 0; i < targets; i++) reader.skipLeb();
    return targets;
  }
  if ((opcode >= 0x02 && opcode <= OP.IF) || opcode === 0x0c || opcode === OP.BR_IF || opcode === 0x10)
    reader.skipLeb();
  else if (opcode === 0x11) memory();
  else if (opcode === OP.SELECT_T) reader.take(reader.u32());
  else if (opcode >= 0x20 && opcode <= 0x26) reader.skipLeb();
  else if (opcode >= 0x28 && opcode <= 0x3e) memory();
  else if (opcode === 0x3f || opcode === 0x40) reader.byte();
  else if (opcode === 0x41 || opcode === 0x42) reader.skipLeb();
  else if (opcode === 0x43) reader.take(4);
  else if (opcode === 0x44) reader.take(8);
  else if (opcode === 0xfc) skipBulk(reader);
  else if (opcode === 0xfd) skipVector(reader, memory);
  else if (opcode > 0xc4) throw new RangeError(`opcode ${opcode.toString(16)} is unknown to the coverage tool`);
  return 0;
}

/** Saturating conversions and bulk memory. */
function skipBulk(reader: Reader): void {
  const opcode = reader.u32();
  if (opcode === 8 || opcode === 10) reader.take(2);
  else if (opcode === 11) reader.byte();
  else if (opcode > 11) throw new RangeError(`opcode fc ${opcode} is unknown to the coverage tool`);
}

function skipVector(reader: Reader, memory: () => void): void {
  const opcode = reader.u32();
  if (opcode <= 11 || opcode === 92 || opcode === 93) memory();
  else if (opcode === 12 || opcode === 13) reader.take(16);
  else if (opcode >= 21 && opcode <= 34) reader.byte();
  else if (opcode >= 84 && opcode <= 91) {
    memory();
    reader.byte();
  }
}
