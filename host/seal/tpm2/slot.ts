/** A slot whose key is sealed in the TPM: it opens the box on this machine only, as it was started, with a PIN if one was set. */
import { Fault, isFault } from '../../fault.ts';
import type { Random } from '../../ports/random.ts';
import type { CreatedSlot, Offered, PinMark, SealSlot } from '../../ports/seal-slot.ts';
import { Secret } from '../../secret.ts';
import { ATTEMPTS_MAX, readPinFile } from '../pin.ts';
import { decodeBlob, encodeBlob, type Header } from './blob.ts';
import { ANEW, faultOf, plainCode, TpmError } from './codes.ts';
import { defineCounter, hasCounter, openCounter } from './counter.ts';
import { checkPcrs, lockoutState, openSrk, output, policyDigest, policyPcr, type Srk, startSession } from './device.ts';
import { raiseVersion, type SignedPolicy, signedSession } from './policy.ts';
import type { Esys, Tss } from './tss.ts';
import {
  authorizedPolicy,
  LOCKOUT,
  NO_SESSIONS,
  NONE,
  nameOf,
  OWNER,
  PASSWORD,
  policyReference,
  sealedTemplate,
  sha256,
  signerPublic,
  sized,
  u32,
  withAuthValue,
} from './wire.ts';

const KEY_SIZE = 32;
const CONTEXT_SIZE = 49;
const LOCKED_OUT = 0x921;

export interface TpmSlotOptions {
  readonly tss: Tss;
  readonly random: Random;
  /** Bit n is PCR n of the SHA-256 bank, 0 to 23; used when a slot is made. */
  readonly pcrs: number;
  /** What slots that are made here ask for, where nobody offers another PIN; absent: they open without a person. */
  readonly pin?: Secret;
  /** File of that PIN (`seal.tpm2.pinFile`): slots with a PIN open by it without a person, while the mark lets it be tried. */
  readonly pinFile?: { readonly path: string; readonly mark: PinMark };
  /** Signed boot policies instead of the PCRs as they are now. */
  readonly signed?: {
    /** 16 bytes; absent: the one that the slot's context names, which a slot keeps when its box becomes another appliance. */
    readonly applianceId?: Uint8Array;
    /** P-256 point of the signer, x ‖ y. */
    readonly point: Uint8Array;
    /** NV index for the version, made with the slot and gone with it. */
    readonly index: number;
    policies(): readonly SignedPolicy[];
  };
  /** True where no kernel driver shuts the TPM down: `Shutdown(CLEAR)` after each authorisation that the TPM counts. */
  readonly shutdown: boolean;
}

export class TpmSlot implements SealSlot {
  readonly kind = 'tpm2';
  readonly bindsContext = true;
  readonly #options: TpmSlotOptions;

  constructor(options: TpmSlotOptions) {
    this.#options = options;
  }

  get automatic(): boolean {
    return this.#options.pin === undefined || this.#options.pinFile !== undefined;
  }

  asksPin(blob: Uint8Array): boolean {
    if (this.#options.pinFile !== undefined) return false;
    try {
      return decodeBlob(blob).pin;
    } catch {
      // What is no blob opens nothing, and asks for nothing.
      return false;
    }
  }

  create(context: Uint8Array, offered: Offered = {}): Promise<CreatedSlot> {
    return this.#run(async (esys) => {
      const { pcrs } = this.#options;
      using file = offered.pin === undefined ? this.#pinOfFile() : undefined;
      const pin = offered.pin ?? file ?? this.#options.pin;
      if (pin?.length === 0) throw new Fault('input.invalid', 'a PIN has at least one byte');
      if (pin !== undefined && !(await lockoutState(esys)).authSet) {
        throw new Fault(
          'slot.refused',
          "a PIN needs the TPM's lockout authorisation to be set first, or anyone could reset the count of wrong PINs: `holdfast operator tpm -take-lockout` sets it",
        );
      }
      await checkPcrs(esys, pcrs);
      const srk = await openSrk(esys);
      const signed = await this.#defineVersion(esys, srk);
      const policy = await this.#policy(esys, srk, context, pin !== undefined);
      using key = new Secret(this.#options.random.bytes(KEY_SIZE));
      using auth = pinAuth(pin);
      using payload = new Secret(Buffer.concat([key.bytes, contextDigest(context)]));
      using sensitive = new Secret(sized(Buffer.concat([sized(auth.bytes), sized(payload.bytes)])));
      const session = await startSession(esys, srk, 'hmac');
      const outputs: unknown[][] = [[null], [null], [null], [null], [null]];
      await esys.call(
        'Create',
        srk.handle,
        session,
        NONE,
        NONE,
        esys.struct('TPM2B_SENSITIVE_CREATE', sensitive.bytes),
        esys.struct('TPM2B_PUBLIC', sealedTemplate(policy, pin === undefined)),
        esys.struct('TPM2B_DATA', sized(Buffer.alloc(0))),
        esys.struct('TPML_PCR_SELECTION', u32(0)),
        ...outputs,
      );
      const [privateArea, publicArea, ...rest] = outputs.map(([pointer]) => pointer);
      esys.drop(...rest);
      const blob = encodeBlob({
        pin: pin !== undefined,
        pcrs,
        srkName: srk.name,
        ...(signed === undefined ? {} : { signed }),
        privateArea: esys.take('TPM2B_PRIVATE', privateArea),
        publicArea: esys.take('TPM2B_PUBLIC', publicArea),
      });
      return { key: new Secret(Buffer.from(key.bytes)), blob };
    });
  }

  async recover(blob: Uint8Array, context: Uint8Array, offered: Offered): Promise<Secret> {
    const header = decodeBlob(blob);
    if (!header.pin) return this.#recover(header, context, undefined);
    if (offered.pin !== undefined) {
      const key = await this.#recover(header, context, offered.pin);
      await this.#options.pinFile?.mark.write(0);
      return key;
    }
    using pin = this.#pinOfFile();
    const mark = this.#options.pinFile?.mark;
    if (pin === undefined || mark === undefined)
      throw new Fault('slot.refused', 'this slot asks for its PIN: `holdfast unseal -slot=tpm2` asks a person for it');
    const attempts = mark.read();
    if (attempts >= ATTEMPTS_MAX) throw new Fault('slot.refused', MARKED);
    await mark.write(attempts + 1);
    try {
      const key = await this.#recover(header, context, pin);
      await mark.write(0);
      return key;
    } catch (error) {
      await mark.write(isFault(error, 'slot.refused') && isWrongPin(error) ? ATTEMPTS_MAX : attempts);
      throw error;
    }
  }

  #pinOfFile(): Secret | undefined {
    const path = this.#options.pinFile?.path;
    return path === undefined ? undefined : readPinFile(path, 'seal.tpm2.pinFile');
  }

  #recover(header: Header, context: Uint8Array, pin: Secret | undefined): Promise<Secret> {
    return this.#run(async (esys) => {
      const srk = await openSrk(esys, header.srkName);
      const sealed = [0];
      const loading = await startSession(esys, srk, 'hmac');
      const areas = [esys.struct('TPM2B_PRIVATE', header.privateArea), esys.struct('TPM2B_PUBLIC', header.publicArea)];
      await esys.call('Load', srk.handle, loading, NONE, NONE, ...areas, sealed);
      const object = esys.keep(sealed[0] ?? 0);
      await esys.flush(loading);
      const { session, version } = await this.#session(esys, srk, header, context);
      using payload = new Secret(await this.#unseal(esys, object, session, pin));
      if (payload.length !== 2 + KEY_SIZE * 2 || !contextDigest(context).equals(payload.bytes.subarray(2 + KEY_SIZE))) {
        throw new Fault('slot.refused', `the TPM slot was made for another place: ${ANEW}`);
      }
      const key = new Secret(Buffer.from(payload.bytes.subarray(2, 2 + KEY_SIZE)));
      try {
        await esys.flush(object);
        if (header.signed !== undefined) await raiseVersion(esys, srk, header.signed.index, version);
        return key;
      } catch (error) {
        key[Symbol.dispose]();
        throw error;
      }
    });
  }

  /**
   * Removes the version index with the last slot that uses it; a slot by PCRs alone leaves nothing in the TPM. An index
   * that cannot be removed (the chip is dead, or another) keeps no slot from going: it holds no secret. Only the index that
   * the configuration names is touched, whatever the blob says.
   */
  async discard(blob: Uint8Array, kept: readonly Uint8Array[] = []): Promise<void> {
    const index = decodeBlob(blob).signed?.index;
    if (index === undefined || index !== this.#options.signed?.index) return;
    if (kept.some((other) => decodeBlob(other).signed?.index === index)) return;
    try {
      await this.#run(async (esys) => {
        const counter = await openCounter(esys, index);
        await esys.call('NV_UndefineSpace', OWNER, counter, PASSWORD, NONE, NONE);
      });
    } catch (error) {
      if (!isFault(error)) throw error;
    }
  }

  /** Sets the TPM's lockout authorisation, empty until then. On an explicit command only: the whole machine shares it. */
  setLockoutAuth(auth: Secret): Promise<void> {
    return this.#run(async (esys) => {
      const srk = await openSrk(esys);
      const session = await startSession(esys, srk, 'hmac');
      await esys.call(
        'HierarchyChangeAuth',
        LOCKOUT,
        session,
        NONE,
        NONE,
        esys.struct('TPM2B_DIGEST', sized(auth.bytes)),
      );
    });
  }

  async #defineVersion(esys: Esys, srk: Srk): Promise<Header['signed']> {
    const { signed } = this.#options;
    if (signed === undefined) return undefined;
    // The index outlives a slot that is replaced: its count goes on, so that no older policy opens the new one.
    if (!(await hasCounter(esys, signed.index))) await defineCounter(esys, srk, signed.index);
    return { point: Buffer.from(signed.point), index: signed.index };
  }

  async #policy(esys: Esys, srk: Srk, context: Uint8Array, withPin: boolean): Promise<Buffer> {
    const { signed, pcrs } = this.#options;
    let policy: Buffer;
    if (signed === undefined) {
      const trial = await startSession(esys, srk, 'trial');
      await policyPcr(esys, trial, pcrs);
      policy = await policyDigest(esys, trial);
      await esys.flush(trial);
    } else {
      policy = authorizedPolicy(
        nameOf(signerPublic(signed.point)),
        policyReference(signed.applianceId ?? applianceOf(context)),
      );
    }
    return withPin ? withAuthValue(policy) : policy;
  }

  async #session(
    esys: Esys,
    srk: Srk,
    header: Header,
    context: Uint8Array,
  ): Promise<{ readonly session: number; readonly version: bigint }> {
    let opened = { session: 0, version: 0n };
    if (header.signed === undefined) {
      opened = { session: await startSession(esys, srk, 'policy'), version: 0n };
      await policyPcr(esys, opened.session, header.pcrs);
    } else {
      const { signed } = this.#options;
      if (signed === undefined)
        throw new Fault('slot.refused', 'this slot asks for a signed boot policy: configure where it lies');
      const applianceId = signed.applianceId ?? applianceOf(context);
      opened = await signedSession(esys, srk, header.pcrs, {
        ...header.signed,
        applianceId,
        policies: signed.policies(),
      });
    }
    if (header.pin) await esys.call('PolicyAuthValue', opened.session, ...NO_SESSIONS);
    return opened;
  }

  async #unseal(esys: Esys, object: number, session: number, pin: Secret | undefined): Promise<Buffer> {
    if (pin !== undefined) {
      using auth = pinAuth(pin);
      await esys.call('TR_SetAuth', object, esys.struct('TPM2B_DIGEST', sized(auth.bytes)));
    }
    let payload: Buffer;
    try {
      payload = await output(esys, 'TPM2B_SENSITIVE_DATA', 'Unseal', object, session, NONE, NONE);
    } catch (error) {
      // What Unseal said is the reason, whatever becomes of this.
      await this.#settle(esys, pin).catch(() => undefined);
      throw await explained(esys, error);
    }
    try {
      await this.#settle(esys, pin);
      return payload;
    } catch (error) {
      payload.fill(0);
      throw error;
    }
  }

  /** Before anything else: a power cut after an authorisation that the TPM counts would itself count as a wrong PIN. */
  async #settle(esys: Esys, pin: Secret | undefined): Promise<void> {
    if (pin !== undefined && this.#options.shutdown) await esys.call('Shutdown', ...NO_SESSIONS, 0);
  }

  async #run<T>(work: (esys: Esys) => Promise<T>): Promise<T> {
    try {
      return await this.#options.tss.run(work);
    } catch (error) {
      throw faultOf(error);
    }
  }
}

const MARKED =
  'the PIN in seal.tpm2.pinFile was refused before, so it is not tried by itself: correct the file, then open the slot once by it: `holdfast unseal -slot=tpm2 -pin`';

/** The TPM counted it: whatever else was refused says nothing of the PIN. */
function isWrongPin(fault: Fault): boolean {
  return fault.cause instanceof TpmError && fault.cause.command === 'Unseal' && plainCode(fault.cause.code) === 0x08e;
}

/** A lock-out with how long it lasts. */
async function explained(esys: Esys, error: unknown): Promise<unknown> {
  if (!(error instanceof TpmError && plainCode(error.code) === LOCKED_OUT)) return error;
  const { failures, intervalS } = await lockoutState(esys);
  const sentence = `the TPM is locked out after ${failures} wrong PINs: wait ${intervalS} seconds, then try again, or open the box by its recovery shares (\`holdfast unseal\`)`;
  return new Fault('slot.unavailable', sentence, { cause: error });
}

/** The appliance id in a device context: "holdfast/v1/slot" ‖ kind ‖ appliance id ‖ slot id (core/spec/slots.md). */
function applianceOf(context: Uint8Array): Uint8Array {
  if (context.length === CONTEXT_SIZE) return context.subarray(17, 33);
  throw new Fault('slot.refused', 'a slot of signed boot policies is made for an appliance, and this names none');
}

const contextDigest = (context: Uint8Array): Buffer => sha256(Buffer.from('holdfast/v1/tpm2', 'ascii'), context);

/** The TPM drops zeros at the end of an authorisation, so they are dropped here as well. */
function pinAuth(pin: Secret | undefined): Secret {
  if (pin === undefined) return new Secret(Buffer.alloc(0));
  const whole = sha256(Buffer.from('holdfast/v1/tpm2-pin', 'ascii'), pin.bytes);
  let length = whole.length;
  while (length > 0 && whole[length - 1] === 0) length--;
  return new Secret(whole.subarray(0, length));
}
