/**
 * The box: uninitialised, sealed or open. One change of state at a time; what it opens and closes around it (audit log,
 * mounts, policies, jobs) is given by main.ts.
 */
import type { Core } from '../../core/types.ts';
import { Fault, isFault } from '../fault.ts';
import type { Appliance, InitResult, KeyService, SealStatus, WayIn } from '../ports/appliance.ts';
import type { CounterStatus } from '../ports/counter.ts';
import type { Offered, SealSlot, SlotKind } from '../ports/seal-slot.ts';
import type { Snapshot } from '../ports/store.ts';
import type { Secret } from '../secret.ts';
import { Ceremonies } from './ceremony.ts';
import { verifying } from './counters.ts';
import { clearLeftovers, foundBox, type InitOptions } from './founding.ts';
import { Heartbeat } from './heartbeat.ts';
import { keyService } from './key-service.ts';
import { KeyChanges, type KeyHolder } from './keys.ts';
import { Lockout } from './lockout.ts';
import { idOf, Openers } from './openers.ts';
import { Opening, oldRow } from './opening.ts';
import type { ApplianceOptions } from './options.ts';
import { checkShareSize, Quorum } from './quorum.ts';
import { Retry } from './retry.ts';
import { clusterIdOf, readComplete, readSealMark, sealMarkPut } from './rows.ts';
import type { SlotRow } from './slot-format.ts';
import { openSlot, readSlots, shapeOf, weakest } from './slots.ts';
import { Turns } from './turns.ts';

/** Under this name health says that the box was found to be an old one. */
const ROLLED_BACK = 'rolled-back';

type State = 'sealed' | 'opening' | 'open' | 'sealing';

export class Box implements Appliance {
  readonly #options: ApplianceOptions;
  readonly #core: Core;
  readonly #quorum: Quorum;
  readonly #opening: Opening;
  #state: State = 'sealed';
  #slots: readonly SlotRow[];
  #complete: ReturnType<typeof readComplete>;
  #openedBy: SlotKind | undefined;
  #verifying = false;
  /** Rises with every unseal and seal: background work of an earlier life stops. */
  #life = 0;
  readonly #heartbeat: Heartbeat;
  /** The next try of the automatic slots, where a device was away. */
  readonly #retry: Retry;
  readonly #turns = new Turns();
  #troubles = new Map<string, string>();
  readonly #openers: Openers;
  /** Rotation, slots and shares of the open box. */
  readonly keys: KeyChanges;
  readonly #ceremonies: Ceremonies;
  readonly keyService: KeyService;

  constructor(options: ApplianceOptions) {
    this.#options = options;
    this.#core = options.core;
    this.#retry = new Retry(options.clock);
    const { log, automatic, allowed } = options;
    const openers = new Openers(automatic, allowed);
    this.#openers = openers;
    this.keys = new KeyChanges({
      ...options,
      adapterOf: (kind) => openers.adapterOf(kind),
      note: (event, data) => log.note(event, data),
      leavesDurable: () => log.durable(),
      auditKeysChanged: () => log.keysChanged(),
      trouble: (name, sentence) => this.#trouble(name, sentence),
      beat: () => this.#opening.record(),
    });
    const holder = (): KeyHolder => this.holder();
    this.#ceremonies = new Ceremonies({
      ...{ random: options.random, keys: this.keys, holder, shamir: options.shamir },
      rootToken: () => options.residents.newRootToken(),
      note: (event, data) => log.note(event, data),
    });
    const lockout = new Lockout({
      ...options,
      device: options.lockout,
      holder,
      note: (event, data) => log.note(event, data),
      leavesDurable: () => log.durable(),
    });
    this.keyService = keyService({
      ...{ keys: this.keys, ceremonies: this.#ceremonies, holder, openers, lockout, allowed },
      ...{ counters: () => this.counters(), leavesDurable: () => log.durable() },
    });
    this.#quorum = new Quorum(options.random);
    this.#opening = new Opening(options, this.keys);
    this.#heartbeat = new Heartbeat({
      clock: options.clock,
      everyMs: options.heartbeatMs,
      open: () => this.#state === 'open' && !this.#core.sealed,
      record: () => this.#opening.record(),
      recorded: () => {
        options.counters.beat((more) => this.#opening.record(more));
        // What a counter that was away kept from being finished.
        if (this.#troubles.has('rewrap')) this.keys.rewrapBehind(this.holder());
      },
      trouble: (sentence) => this.#trouble('heartbeat', sentence),
    });
    this.#complete = readComplete(options.store);
    this.#slots = this.#complete === undefined ? [] : readSlots(options.store);
  }

  status(): SealStatus {
    const { lease, reasons } = this.#options;
    const open = this.#state === 'open' && !this.#core.sealed;
    if (this.#state === 'open' && this.#core.sealed) this.#trapped();
    return {
      ...shapeOf(this.#slots),
      initialized: this.#complete !== undefined,
      sealed: !open,
      progress: this.#quorum.progress,
      nonce: this.#quorum.nonce,
      ...(open && this.#openedBy !== undefined ? { openedBy: this.#openedBy } : {}),
      clusterId:
        this.#complete === undefined
          ? ''
          : clusterIdOf(open ? Buffer.from(this.#opening.applianceId(), 'hex') : this.#complete.applianceId),
      reasons: [
        ...reasons(),
        ...(open
          ? [...lease.reasons(), ...this.#options.counters.reasons(), ...this.#opening.residence.reasons()]
          : []),
        ...this.#troubles.values(),
        ...this.#openers.reasons(this.#slots),
      ],
      marked: !open && readSealMark(this.#options.store),
      verifying: this.#verifying,
    };
  }

  #trouble(name: string, sentence: string | undefined): void {
    if (sentence === undefined) this.#troubles.delete(name);
    else this.#troubles.set(name, sentence);
  }

  /** Kind of the weakest slot, for whoever starts the box. */
  get weakestWayIn(): SlotKind | undefined {
    return weakest(this.#slots);
  }

  heldBecause(): string | undefined {
    return this.#opening.residence.heldBecause();
  }

  async lives(): Promise<void> {
    const { exclusive } = this.holder();
    const { counters, log, residents } = this.#options;
    await exclusive(async () => {
      await log.durable();
      const { put, asked } = this.#opening.residence.ask(this.#opening.applianceId());
      await counters.changeKeys((more) => this.#opening.record([put, ...more]), asked);
    });
    void this.#turns.close(
      () => residents.close(),
      () => this.#becomeAnother(),
    );
  }

  async #becomeAnother(): Promise<void> {
    if (this.#state !== 'open') return;
    const { residents } = this.#options;
    this.#state = 'opening';
    this.#life++;
    this.#ceremonies.clear();
    try {
      this.#slots = await this.#opening.becomeAnother(this.#slots);
      await residents.open();
    } catch (error) {
      // The row that says so lies in the store: the next unseal does it.
      this.#troubles.set('lives', isFault(error) ? error.message : 'becoming another appliance failed: unseal again');
      await this.#shut();
      return;
    }
    this.#state = 'open';
    this.#troubles.delete('lives');
    await this.#heartbeat.beat();
    this.keys.rewrapBehind(this.holder());
  }

  /** The counters of the open box. */
  counters(): readonly CounterStatus[] {
    return this.#options.counters.status();
  }

  /** The open box for one change of its keys, and what goes on behind it. */
  holder(): KeyHolder {
    const life = this.#life;
    const stopped = (): boolean => this.#life !== life || this.#state !== 'open' || this.#core.sealed;
    const slots = (): readonly SlotRow[] => this.#slots;
    return {
      get slots() {
        return slots();
      },
      changed: (slots) => {
        this.#slots = slots;
      },
      stopped,
      exclusive: (work) =>
        this.#turns.next(async () => {
          if (stopped()) throw new Fault('appliance.sealed', 'Vault is sealed');
          if (this.#verifying) throw verifying();
          return await work();
        }),
    };
  }

  /**
   * @param deliver  called when everything but the last step is durable: what it does not keep is lost by a power cut
   *                 right after it
   */
  initialise(options: InitOptions, deliver?: (result: InitResult) => Promise<void>): Promise<InitResult> {
    return this.#turns.alone(async () => {
      const { core, store, freshness, log, residents } = this.#options;
      if (this.#complete !== undefined) throw new Fault('input.invalid', 'Vault is already initialized');
      this.#state = 'opening';
      try {
        await clearLeftovers(store, freshness, log);
        const result = await foundBox(
          this.#options,
          options,
          async () => {
            await log.start(this.#opening.logStart(undefined));
            return residents.found({ secretMount: options.keyfile });
          },
          deliver,
          () => this.#opening.timePut(),
        );
        this.#complete = readComplete(store);
        this.#slots = readSlots(store);
        log.note('seal.initialised', { shares: options.shares, threshold: options.threshold });
        return result;
      } finally {
        await this.#shut();
        if (!core.sealed) core.seal();
      }
    });
  }

  offerShare(share: Secret, accept?: 'rolled-back'): Promise<SealStatus> {
    return this.#turns.alone(async () => {
      checkShareSize(share);
      if (this.#complete === undefined) {
        share[Symbol.dispose]();
        throw new Fault('appliance.uninitialised', 'Vault is not initialized');
      }
      const slot = this.#slots.find(({ header }) => header.kind === 'shamir');
      if (this.#state === 'open' || slot === undefined) {
        share[Symbol.dispose]();
        return this.status();
      }
      this.#quorum.add(share, accept === 'rolled-back');
      if (this.#quorum.progress < slot.header.threshold) return this.status();
      using round = this.#quorum.take();
      const { threshold, shares } = slot.header;
      await this.#unseal(slot, this.#options.shamir(threshold, shares), { shares: round.shares }, round.accepts);
      await this.#unmark();
      return this.status();
    });
  }

  ways(): readonly WayIn[] {
    return this.#openers.ways(this.#slots);
  }

  unsealBy(id: string, pin: Secret | undefined): Promise<SealStatus> {
    return this.#turns.alone(async () => {
      if (this.#complete === undefined) throw new Fault('appliance.uninitialised', 'Vault is not initialized');
      const { slot, adapter } = this.#openers.named(this.#slots, id);
      // Open already: nothing is tried. A try at a PIN of an open box has a leaf before it, and is `slot test`.
      if (this.#state === 'open') return this.status();
      await this.#tried(slot, adapter, pin === undefined ? {} : { pin });
      await this.#unmark();
      return this.status();
    });
  }

  /** A person has unsealed: automatic slots open the box again from the next start on. */
  async #unmark(): Promise<void> {
    if (readSealMark(this.#options.store))
      await this.#options.store.commit({ puts: [sealMarkPut(false)], urgent: true });
  }

  resetShares(): SealStatus {
    if (this.#state === 'open') throw new Fault('input.invalid', 'vault is unsealed');
    this.#quorum.clear();
    return this.status();
  }

  unsealAutomatically(): Promise<boolean> {
    return this.#turns.alone(async () => {
      if (this.#state === 'open') return true;
      if (this.#complete === undefined || readSealMark(this.#options.store)) return false;
      for (const { slot, adapter } of this.#openers.alone(this.#slots)) {
        try {
          await this.#tried(slot, adapter, {});
          return true;
        } catch (error) {
          if (!isFault(error)) throw error;
        }
      }
      if (this.#openers.mayOpenLater(this.#slots) || this.#opening.mayComeBack) this.#tryLater();
      return false;
    });
  }

  /** A device that was away may come back: a reader that is slow at boot, an HSM that was pulled. What it refused stays refused. */
  #tryLater(): void {
    this.#retry.later(() => {
      if (this.#state === 'sealed') void this.unsealAutomatically();
    });
  }

  async seal(): Promise<void> {
    await this.#turns.next(async () => {
      if (this.#state !== 'open') throw new Fault('appliance.sealed', 'Vault is sealed');
      // Whoever asked is on disk before the mark is.
      await this.#options.log.durable();
      await this.#options.store.commit({ puts: [sealMarkPut(true)], urgent: true });
      this.#options.log.note('seal.closed', {});
      this.#state = 'sealing';
    });
    void this.#close();
  }

  /** An orderly stop of the process: as `seal`, without the mark. */
  async stop(): Promise<void> {
    const open = await this.#turns.alone(async () => {
      this.#retry.cancel();
      if (this.#state !== 'open') return false;
      this.#state = 'sealing';
      return true;
    });
    if (open) await this.#close();
  }

  /** Of a box that is `sealing` already, so that nothing new begins: who is in is let out, then it is shut. */
  #close(then: () => void = () => undefined): Promise<void> {
    return this.#turns.close(
      () => this.#options.residents.close(),
      async () => {
        // Another closing may have shut it meanwhile.
        if (this.#state === 'sealing') await this.#shut();
        then();
      },
    );
  }

  /** @throws Fault why the slot does not open the box: remembered for health */
  async #tried(slot: SlotRow, adapter: SealSlot, offered: Offered): Promise<void> {
    try {
      await this.#unseal(slot, adapter, offered, false);
      this.#openers.worked(slot);
    } catch (error) {
      if (!isFault(error, 'appliance.rolled-back')) this.#openers.failed(slot, error);
      throw error;
    }
  }

  /**
   * From a slot to an open box, or back to a sealed one.
   *
   * @param accepts  the whole quorum takes a store that was rolled back as it is
   */
  async #unseal(slot: SlotRow, adapter: SealSlot, offered: Offered, accepts: boolean): Promise<void> {
    const { header } = slot;
    if (!this.#options.allowed.includes(header.kind)) {
      throw new Fault('slot.refused', `slots of kind ${header.kind} are not allowed here (seal.allowed)`);
    }
    this.#state = 'opening';
    try {
      await openSlot(this.#core, adapter, slot, offered);
      await this.#open(accepts);
    } catch (error) {
      await this.#shut();
      if (isFault(error, 'appliance.rolled-back')) this.#troubles.set(ROLLED_BACK, error.message);
      if (isFault(error))
        this.#options.log.note('seal.refused', { kind: header.kind, slot: idOf(slot), code: error.code });
      throw error;
    }
    this.#openedBy = header.kind;
    this.#state = 'open';
    this.#retry.opened();
    this.#troubles.delete(ROLLED_BACK);
    this.#options.log.note('seal.opened', { kind: header.kind, slot: idOf(slot) });
    await this.#heartbeat.beat();
    if (!this.#verifying) this.keys.rewrapBehind(this.holder());
  }

  /** Core has the root key. */
  async #open(accepts: boolean): Promise<void> {
    const life = ++this.#life;
    const { slots, unverified } = await this.#opening.open(accepts);
    this.#slots = slots;
    if (unverified !== undefined) void this.#verifyBehind(unverified, life);
  }

  async #verifyBehind(snapshot: Snapshot, life: number): Promise<void> {
    this.#verifying = true;
    const agrees = await this.#opening.verifyRest(snapshot, () => this.#life !== life || this.#core.sealed);
    // Another life has its own.
    if (this.#life === life) {
      this.#verifying = false;
      if (agrees !== false) this.#options.counters.verifying = false;
    }
    if (agrees === true) this.keys.rewrapBehind(this.holder());
    if (agrees !== false) return;
    this.#troubles.set(ROLLED_BACK, oldRow());
    this.#options.log.note('seal.rolled-back', {});
    if (this.#life !== life || this.#state !== 'open') return;
    this.#state = 'sealing';
    await this.#close();
  }

  /** Closes whatever is open, in the order in which it depends on each other. */
  async #shut(): Promise<void> {
    const { residents, log, freshness, counters } = this.#options;
    this.#life++;
    this.#heartbeat.stop();
    this.#ceremonies.clear();
    await residents.close();
    await log.stop();
    await counters.forget();
    this.#opening.residence.forget();
    // After the log: its end has told the newest checkpoint.
    if (!this.#core.sealed) await this.#opening.record([], true).catch(() => undefined);
    freshness.end();
    if (!this.#core.sealed) this.#core.seal();
    this.#openedBy = undefined;
    this.#verifying = false;
    this.#state = 'sealed';
  }

  /** Core dropped its instance: a bug. Automatic slots open the box again, each time later. */
  #trapped(): void {
    this.#state = 'sealing';
    this.#troubles.set('trap', 'the core stopped on an internal error and the box was sealed: please report it');
    void this.#close(() => this.#retry.later(() => void this.unsealAutomatically()));
  }
}
