/**
 * tpm2-tss through koffi. No C struct is described: structures are built from wire bytes by the library's own
 * unmarshalling into opaque buffers, and read back by its marshalling.
 */
import koffi from 'koffi';
import { Fault } from '../../fault.ts';
import type { Clock } from '../../ports/clock.ts';
import { TpmError } from './codes.ts';

/** One letter an argument after the context: S three sessions, p pointer, o pointer out, u/U/I uint32 in/out/inout, w uint16, b/B uint8 in/out. */
const ESYS = {
  CreatePrimary: 'uSppppUoooo',
  EvictControl: 'uuSuU',
  ReadPublic: 'uSooo',
  Create: 'uSppppooooo',
  Load: 'uSppU',
  LoadExternal: 'SppuU',
  Unseal: 'uSo',
  FlushContext: 'u',
  StartAuthSession: 'uuSpbpwU',
  TRSess_SetAttributes: 'ubb',
  PolicyPCR: 'uSpp',
  PolicyAuthValue: 'uS',
  PolicyAuthorize: 'uSpppp',
  PolicyNV: 'uuuSpww',
  PolicyGetDigest: 'uSo',
  VerifySignature: 'uSppo',
  NV_DefineSpace: 'uSppU',
  NV_UndefineSpace: 'uuS',
  NV_Increment: 'uuS',
  NV_Read: 'uuSwwo',
  NV_Write: 'uuSpw',
  NV_ReadPublic: 'uSoo',
  TR_FromTPMPublic: 'uSU',
  TR_GetName: 'uo',
  TR_SetAuth: 'up',
  TR_Close: 'I',
  PCR_Read: 'SpUoo',
  PCR_Extend: 'uSp',
  GetCapability: 'SuuuBo',
  HierarchyChangeAuth: 'uSp',
  DictionaryAttackLockReset: 'uS',
  DictionaryAttackParameters: 'uSuuu',
  Shutdown: 'Sw',
} as const;

const LETTERS: Readonly<Record<string, string>> = {
  S: 'uint32_t, uint32_t, uint32_t',
  p: 'void *',
  o: '_Out_ void **',
  u: 'uint32_t',
  U: '_Out_ uint32_t *',
  I: '_Inout_ uint32_t *',
  w: 'uint16_t',
  b: 'uint8_t',
  B: '_Out_ uint8_t *',
};

export type Command = keyof typeof ESYS;
type Native = (...values: readonly unknown[]) => number;
type Finish = (error: Error | null, code: number) => void;
interface Bound extends Native {
  async(...values: readonly unknown[]): void;
}

/** Larger than any structure of tpm2-tss 3 and 4 that is used here. */
const STRUCT_SIZE = 6144;
const RETRY_MAX = 6;
const RETRY_CODE = 0x922;

interface Libraries {
  readonly commands: Map<Command, Bound>;
  readonly convert: (name: string) => Bound;
  readonly free: Native;
  readonly open: Bound;
  readonly close: Native;
  readonly openTcti: Bound;
  readonly closeTcti: Native;
  readonly explain: Native;
}

let libraries: Libraries | undefined;

/** Each call that hangs holds one of Node's four threads, which files need too. */
const HUNG_MAX = 2;

function load(): Libraries {
  if (libraries !== undefined) return libraries;
  // tpm2-tss writes each failed call to standard error otherwise: the fault says it.
  koffi.load(null).func('int setenv(const char *, const char *, int)')('TSS2_LOG', 'all+none', 0);
  try {
    const [esys, mu, tcti, rc] = ['esys', 'mu', 'tctildr', 'rc'].map((name) => koffi.load(`libtss2-${name}.so.0`));
    if (esys === undefined || mu === undefined || tcti === undefined || rc === undefined)
      throw new Error('unreachable');
    const commands = new Map<Command, Bound>();
    for (const [name, letters] of Object.entries(ESYS)) {
      const args = ['void *', ...Array.from(letters, (letter) => LETTERS[letter])].join(', ');
      commands.set(name as Command, esys.func(`uint32_t Esys_${name}(${args})`) as unknown as Bound);
    }
    const known = new Map<string, Bound>();
    libraries = {
      commands,
      convert: (name) => {
        const found = known.get(name);
        if (found !== undefined) return found;
        const args = name.endsWith('Unmarshal')
          ? 'void *, size_t, _Inout_ size_t *, void *'
          : 'void *, void *, size_t, _Inout_ size_t *';
        const made = mu.func(`uint32_t Tss2_MU_${name}(${args})`) as unknown as Bound;
        known.set(name, made);
        return made;
      },
      free: esys.func('void Esys_Free(void *)') as unknown as Native,
      open: esys.func('uint32_t Esys_Initialize(_Out_ void **, void *, void *)') as unknown as Bound,
      close: esys.func('void Esys_Finalize(_Inout_ void **)') as unknown as Native,
      openTcti: tcti.func('uint32_t Tss2_TctiLdr_Initialize(const char *, _Out_ void **)') as unknown as Bound,
      closeTcti: tcti.func('void Tss2_TctiLdr_Finalize(_Inout_ void **)') as unknown as Native,
      explain: rc.func('const char *Tss2_RC_Decode(uint32_t)') as unknown as Native,
    };
    return libraries;
  } catch (error) {
    throw new Fault(
      'slot.unavailable',
      'the TPM libraries are not installed: install the Debian packages libtss2-esys-3.0.2-0, libtss2-tctildr0 and libtss2-rc0',
      { cause: error },
    );
  }
}

export interface TssOptions {
  /** As tpm2-tss writes it: `device:/dev/tpmrm0`, `swtpm:path=…`; '': the first that is there, beginning with /dev/tpmrm0. */
  readonly tcti: string;
  readonly clock: Clock;
  /** How long one command may take, ms. */
  readonly timeoutMs: number;
}

/**
 * True where a kernel driver owns the TPM and shuts it down in order; false where nobody does, so that whoever uses it must
 * (`TpmSlotOptions.shutdown`).
 */
export const kernelOwns = (tcti: string): boolean => !/^(swtpm|mssim|libtpms|cmd|pcap)(:|$)/.test(tcti);

/** One context at a time, each for one operation: a context whose TPM died or hung is never used again. */
export class Tss {
  readonly #options: TssOptions;
  readonly #stuck = { count: 0 };
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: TssOptions) {
    this.#options = options;
  }

  /** Runs `work` alone with a context of its own, closed (and its copies wiped) when it ends. */
  run<T>(work: (esys: Esys) => Promise<T>): Promise<T> {
    const result = this.#tail.then(async () => {
      const esys = await Esys.open(load(), this.#options, this.#stuck);
      try {
        return await work(esys);
      } finally {
        await esys.close();
      }
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

export class Esys {
  readonly #libraries: Libraries;
  readonly #options: TssOptions;
  readonly #stuck: { count: number };
  readonly #structs: Buffer[] = [];
  readonly #handles = new Set<number>();
  #tcti: unknown = null;
  #context: unknown = null;
  #hung: Promise<unknown> | undefined;

  private constructor(loaded: Libraries, options: TssOptions, stuck: { count: number }) {
    this.#stuck = stuck;
    this.#libraries = loaded;
    this.#options = options;
  }

  /** @param stuck  calls that never came back, of all contexts of one TPM */
  static async open(loaded: Libraries, options: TssOptions, stuck: { count: number }): Promise<Esys> {
    if (stuck.count >= HUNG_MAX) {
      throw new Fault(
        'slot.unavailable',
        'the TPM does not answer: restart the machine, or open the box by its recovery shares (`holdfast unseal`)',
      );
    }
    const esys = new Esys(loaded, options, stuck);
    try {
      const tcti: unknown[] = [null];
      await esys.#invoke('open the TPM', loaded.openTcti, [options.tcti === '' ? null : options.tcti, tcti]);
      esys.#tcti = tcti[0];
      const context: unknown[] = [null];
      await esys.#invoke('open the TPM', loaded.open, [context, esys.#tcti, null]);
      esys.#context = context[0];
      return esys;
    } catch (error) {
      await esys.close();
      throw error;
    }
  }

  /** A structure from its wire bytes, wiped when the context closes. */
  struct(type: string, bytes: Uint8Array): Buffer {
    const buffer = Buffer.alloc(STRUCT_SIZE);
    this.#structs.push(buffer);
    const offset = [0];
    const code = this.#libraries.convert(`${type}_Unmarshal`)(bytes, bytes.length, offset, buffer);
    if (code !== 0) throw new TpmError(`${type}_Unmarshal`, code);
    if (offset[0] !== bytes.length)
      throw new Fault('slot.refused', 'the TPM slot holds a structure with bytes left over');
    return buffer;
  }

  /** The wire bytes of what a command returned; the library's copy is wiped and freed. */
  take(type: string, pointer: unknown): Buffer {
    const buffer = Buffer.alloc(STRUCT_SIZE);
    try {
      const offset = [0];
      const code = this.#libraries.convert(`${type}_Marshal`)(pointer, buffer, buffer.length, offset);
      if (code !== 0) throw new TpmError(`${type}_Marshal`, code);
      const bytes = Buffer.from(buffer.subarray(0, offset[0]));
      if (type === 'TPM2B_SENSITIVE_DATA') {
        // As many zeros over the library's copy: no struct is described, so the library itself writes them.
        const zeros = Buffer.alloc(bytes.length);
        zeros.writeUInt16BE(bytes.length - 2);
        this.#libraries.convert(`${type}_Unmarshal`)(zeros, zeros.length, [0], pointer);
      }
      return bytes;
    } finally {
      buffer.fill(0);
      this.#libraries.free(pointer);
    }
  }

  /** Frees outputs that nobody reads. */
  drop(...pointers: readonly unknown[]): void {
    for (const pointer of pointers) this.#libraries.free(pointer);
  }

  /** @throws TpmError with the code that tpm2-tss returned; Fault `slot.unavailable` after the deadline */
  async call(command: Command, ...values: readonly unknown[]): Promise<void> {
    const bound = this.#libraries.commands.get(command);
    if (bound === undefined) throw new Error(`${command} is not bound`);
    // The call that hangs is still in this context.
    if (this.#hung !== undefined) throw hung();
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#invoke(command, bound, [this.#context, ...values]);
      } catch (error) {
        if (!(error instanceof TpmError && error.code === RETRY_CODE && attempt < RETRY_MAX)) throw error;
        await this.#options.clock.sleep(10 << attempt);
      }
    }
  }

  /** Remembers a transient object or a session: flushed when the context closes, whatever happened. */
  keep(handle: number): number {
    this.#handles.add(handle);
    return handle;
  }

  async flush(handle: number): Promise<void> {
    this.#handles.delete(handle);
    await this.call('FlushContext', handle);
  }

  async close(): Promise<void> {
    try {
      if (this.#context !== null && this.#hung === undefined) {
        for (const handle of [...this.#handles].reverse()) await this.flush(handle).catch(() => undefined);
      }
    } finally {
      // A call that hangs still uses the context: both are given back when it returns, if ever.
      if (this.#hung === undefined) this.#release();
      else {
        void this.#hung.then(() => {
          this.#stuck.count--;
          this.#release();
        });
      }
    }
  }

  #release(): void {
    for (const buffer of this.#structs.splice(0)) buffer.fill(0);
    if (this.#context !== null) this.#libraries.close([this.#context]);
    if (this.#tcti !== null) this.#libraries.closeTcti([this.#tcti]);
    this.#context = null;
    this.#tcti = null;
  }

  #invoke(name: string, bound: Bound, values: readonly unknown[]): Promise<void> {
    return new Promise((resolve, reject) => {
      let ended: () => void = () => undefined;
      const running = new Promise<void>((end) => {
        ended = end;
      });
      const timer = this.#options.clock.after(this.#options.timeoutMs, () => {
        this.#hung = running;
        this.#stuck.count++;
        reject(hung());
      });
      const finish: Finish = (error, code) => {
        timer.cancel();
        ended();
        if (error !== null) reject(error);
        else if (code !== 0) reject(new TpmError(name, code));
        else resolve();
      };
      bound.async(...values, finish);
    });
  }
}

function hung(): Fault {
  return new Fault('slot.unavailable', 'the TPM did not answer in time: try again, or restart the machine');
}
