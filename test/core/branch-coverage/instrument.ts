/**
 * Puts a counter on every arm of every branch of a WASM module: V8 reports no coverage for WASM. The module is an -O0
 * build, in which each branch of the source is still a branch. Counters are imported globals, so all instances of a
 * process share them and the module's memory stays as it is.
 */
import { GLOBAL_GET, GLOBAL_SET, leb, OP, Reader, skipImmediates } from './reader.ts';
import { type Place, placesOf } from './source-map.ts';

export interface Arm extends Place {
  /** The same in every module that has the function: its name and the arm's number in it. */
  readonly key: string;
  /** `if`, `else` (also one that is not written), `taken`, `not taken`, `first`, `second`, `case n`, `default`. */
  readonly kind: string;
}

export interface Instrumented {
  readonly wasm: Uint8Array;
  readonly arms: readonly Arm[];
}

interface Section {
  readonly id: number;
  /** Where its contents begin in the module. */
  readonly start: number;
  readonly bytes: Uint8Array;
}

const I32_CONST = 0x41;
const I32_ADD = 0x6a;
const I32_EQ = 0x46;
const I32_GE_U = 0x4f;
const LOCAL_GET = 0x20;
const LOCAL_SET = 0x21;
const I32 = 0x7f;
const VOID = 0x40;

function sectionsOf(wasm: Uint8Array): Section[] {
  const reader = new Reader(wasm, 8);
  const sections: Section[] = [];
  while (!reader.done) {
    const id = reader.byte();
    const length = reader.u32();
    sections.push({ id, start: reader.at, bytes: reader.take(length) });
  }
  return sections;
}

function functionNames(sections: readonly Section[]): Map<number, string> {
  const names = new Map<number, string>();
  for (const section of sections.filter(({ id }) => id === 0)) {
    const reader = new Reader(section.bytes);
    if (reader.name() !== 'name') continue;
    while (!reader.done) {
      const kind = reader.byte();
      const end = reader.u32() + reader.at;
      if (kind === 1) for (let left = reader.u32(); left > 0; left--) names.set(reader.u32(), reader.name());
      reader.at = end;
    }
  }
  return names;
}

/** Rewrites one function. `global` numbers a counter; the numbers of the module's own globals move up by `shift`. */
class Body {
  readonly #reader: Reader;
  readonly #start: number;
  readonly #out: number[] = [];
  readonly #add: (offset: number, kind: string) => number;
  readonly #scratch: number;

  constructor(reader: Reader, start: number, scratch: number, add: (offset: number, kind: string) => number) {
    this.#reader = reader;
    this.#start = start;
    this.#scratch = scratch;
    this.#add = add;
  }

  #count(offset: number, kind: string): number[] {
    const global = leb(this.#add(offset, kind));
    return [GLOBAL_GET, ...global, I32_CONST, 1, I32_ADD, GLOBAL_SET, ...global];
  }

  /** Counts both ways of the condition on the stack and leaves it there. */
  #both(offset: number, yes: string, no: string): void {
    const scratch = leb(this.#scratch);
    this.#out.push(LOCAL_SET, ...scratch, LOCAL_GET, ...scratch, OP.IF, VOID, ...this.#count(offset, yes));
    this.#out.push(OP.ELSE, ...this.#count(offset, no), OP.END, LOCAL_GET, ...scratch);
  }

  #table(offset: number, targets: number): void {
    const scratch = leb(this.#scratch);
    this.#out.push(LOCAL_SET, ...scratch);
    for (let i = 0; i < targets; i++) {
      const last = i === targets - 1;
      // Fewer than 64 cases: the constant is one byte of signed LEB128; more would need two.
      const number = i < 64 ? [i] : [(i & 0x7f) | 0x80, i >> 7];
      this.#out.push(LOCAL_GET, ...scratch, I32_CONST, ...number, last ? I32_GE_U : I32_EQ, OP.IF, VOID);
      this.#out.push(...this.#count(offset, last ? 'default' : `case ${i}`), OP.END);
    }
    this.#out.push(LOCAL_GET, ...scratch);
  }

  rewrite(end: number, shift: number): number[] {
    const reader = this.#reader;
    /** Open blocks: where an `if` without `else` (yet) stands, else -1. */
    const open: number[] = [];
    while (reader.at < end) {
      const offset = this.#start + reader.at;
      const from = reader.at;
      const opcode = reader.byte();
      if (opcode === GLOBAL_GET || opcode === GLOBAL_SET) {
        this.#out.push(opcode, ...leb(reader.u32() + shift));
        continue;
      }
      const targets = skipImmediates(reader, opcode);
      if (opcode === OP.BR_IF) this.#both(offset, 'taken', 'not taken');
      if (opcode === OP.SELECT || opcode === OP.SELECT_T) this.#both(offset, 'first', 'second');
      if (opcode === OP.BR_TABLE) this.#table(offset, targets);
      if (opcode === OP.END) {
        const unanswered = open.pop() ?? -1;
        if (unanswered >= 0) this.#out.push(OP.ELSE, ...this.#count(unanswered, 'else'));
      }
      for (let i = from; i < reader.at; i++) this.#out.push(reader.bytes[i] ?? 0);
      if (opcode === 0x02 || opcode === 0x03) open.push(-1);
      if (opcode === OP.IF) {
        open.push(offset);
        this.#out.push(...this.#count(offset, 'if'));
      }
      if (opcode === OP.ELSE) {
        const at = open.pop() ?? -1;
        open.push(-1);
        this.#out.push(...this.#count(at, 'else'));
      }
    }
    return this.#out;
  }
}

/** Reads the locals of a function and adds one of type i32. @returns the declaration */
function withScratch(reader: Reader): { readonly declared: number; readonly bytes: number[] } {
  const groups = reader.u32();
  const from = reader.at;
  let declared = 0;
  for (let i = 0; i < groups; i++) {
    declared += reader.u32();
    reader.byte();
  }
  return { declared, bytes: [...leb(groups + 1), ...reader.bytes.subarray(from, reader.at), 1, I32] };
}

function parameterCounts(sections: readonly Section[]): number[] {
  const types = new Reader(sections.find(({ id }) => id === 1)?.bytes ?? Uint8Array.of(0));
  const counts: number[] = [];
  for (let left = types.u32(); left > 0; left--) {
    types.byte();
    const parameters = types.u32();
    types.take(parameters);
    types.take(types.u32());
    counts.push(parameters);
  }
  const functions = new Reader(sections.find(({ id }) => id === 3)?.bytes ?? Uint8Array.of(0));
  return Array.from({ length: functions.u32() }, () => counts[functions.u32()] ?? 0);
}

function shiftedGlobals(bytes: Uint8Array, shift: number): number[] {
  const reader = new Reader(bytes);
  const out = leb(reader.u32());
  while (!reader.done) {
    const from = reader.at;
    const name = reader.name();
    out.push(...bytes.subarray(from, reader.at));
    const kind = reader.byte();
    const index = reader.u32();
    out.push(kind, ...leb(kind === 3 ? index + shift : index));
    if (name === '') throw new RangeError('an export without a name');
  }
  return out;
}

function instrumentCode(
  sections: readonly Section[],
  code: Section,
  place: (offset: number) => Place | undefined,
  shift: number,
): { readonly bytes: number[]; readonly arms: Arm[] } {
  const names = functionNames(sections);
  const parameters = parameterCounts(sections);
  const arms: Arm[] = [];
  const reader = new Reader(code.bytes);
  const bytes = leb(reader.u32());
  for (let index = 0; !reader.done; index++) {
    const end = reader.u32() + reader.at;
    const { declared, bytes: locals } = withScratch(reader);
    const name = names.get(index) ?? `function ${index}`;
    let number = 0;
    const add = (offset: number, kind: string): number => {
      const where = place(offset) ?? { file: '', line: 0, column: 0 };
      arms.push({ ...where, kind, key: `${name} ${number++}` });
      return arms.length - 1;
    };
    const body = new Body(reader, code.start, (parameters[index] ?? 0) + declared, add).rewrite(end, shift);
    bytes.push(...leb(locals.length + body.length));
    for (const part of [locals, body]) for (const byte of part) bytes.push(byte);
  }
  return { bytes, arms };
}

/** @param wasm an -O0 build without imports @param map its source map */
export function instrument(wasm: Uint8Array, map: string): Instrumented {
  const sections = sectionsOf(wasm);
  if (sections.some(({ id }) => id === 2)) throw new RangeError('a module with imports cannot be instrumented');
  const code = sections.find(({ id }) => id === 10);
  if (code === undefined) throw new RangeError('a module without code');
  const place = placesOf(map);
  // Counted first: the numbers of the module's own globals depend on how many counters there are.
  const { arms } = instrumentCode(sections, code, place, 0);
  const shift = arms.length;
  const { bytes } = instrumentCode(sections, code, place, shift);
  const out: number[] = [...wasm.subarray(0, 8)];
  const put = (id: number, contents: readonly number[] | Uint8Array): void => {
    out.push(id, ...leb(contents.length));
    for (const byte of contents) out.push(byte);
  };
  const text = (value: string): number[] => [...leb(Buffer.byteLength(value)), ...Buffer.from(value)];
  for (const { id, bytes: contents } of sections) {
    if (id === 7) put(7, shiftedGlobals(contents, shift));
    else if (id === 10) put(10, bytes);
    else if (id !== 0) put(id, contents);
    if (id === 1) put(2, [...leb(shift), ...arms.flatMap(({ key }) => [...text('coverage'), ...text(key), 3, I32, 1])]);
  }
  return { wasm: Uint8Array.from(out), arms };
}
