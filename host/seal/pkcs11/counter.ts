/**
 * A count in a data object of a PKCS#11 token. Advisory: whoever has the PIN can set it back, so it finds a disk that was
 * restored by accident, and no attack.
 */
import { createHash } from 'node:crypto';
import { Fault } from '../../fault.ts';
import type { Counter, CounterDevice } from '../../ports/counter.ts';
import type { Random } from '../../ports/random.ts';
import type { ValueMap } from '../../ports/value.ts';
import { ID_SIZE } from './blob.ts';
import type { Conversation } from './conversation.ts';
import { explain } from './trouble.ts';
import type { TokenUse } from './use.ts';

const COUNT_SIZE = 8;
const NONE = Buffer.alloc(0);

interface Place {
  readonly id: Uint8Array;
  readonly serial: Uint8Array;
}

export class Pkcs11CounterDevice implements CounterDevice {
  readonly kind = 'pkcs11';
  readonly advisory = true;
  readonly #token: TokenUse;
  readonly #random: Random;

  /** @param token  shared with the slot: two logins at once could count as two wrong PINs */
  constructor(token: TokenUse, random: Random) {
    this.#token = token;
    this.#random = random;
  }

  async enrol(): Promise<{ readonly counter: Counter; readonly place: ValueMap }> {
    const id = this.#random.bytes(ID_SIZE);
    const serial = await this.#token.alone(() =>
      this.#token.use(USE, async (opened) => {
        await opened.talk.ask('setCount', id, NONE, encodeCount(1n));
        return Uint8Array.from(opened.serial);
      }),
    );
    const place = { id: hex(id), serial: hex(serial) };
    return { counter: new TokenCounter(this.#token, { id, serial }), place };
  }

  at(place: ValueMap): Counter {
    return new TokenCounter(this.#token, placeOf(place));
  }

  async retire(place: ValueMap): Promise<void> {
    const { id, serial } = placeOf(place);
    await this.#token.alone(() =>
      this.#token.use({ ...USE, serial }, async ({ talk }) => {
        await talk.ask('forgetCount', id);
      }),
    );
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const HEX = /^[0-9a-f]{32}$/;

function placeOf({ id, serial }: ValueMap): Place {
  if (typeof id !== 'string' || !HEX.test(id) || typeof serial !== 'string' || !HEX.test(serial)) {
    throw new Fault('appliance.rolled-back', 'what the store says of the token counter names no counter');
  }
  return { id: Buffer.from(id, 'hex'), serial: Buffer.from(serial, 'hex') };
}

const USE = { word: 'none', offered: {}, write: true } as const;

class TokenCounter implements Counter {
  readonly id: Uint8Array;
  readonly #token: TokenUse;
  readonly #place: Place;

  constructor(token: TokenUse, place: Place) {
    this.#token = token;
    this.#place = place;
    const hash = createHash('sha256').update('holdfast/v1/pkcs11-counter', 'ascii').update(place.serial);
    this.id = hash.update(place.id).digest().subarray(0, ID_SIZE);
  }

  read(): Promise<bigint> {
    return this.#with(false, (talk) => this.#count(talk));
  }

  increment(): Promise<bigint> {
    return this.#with(true, async (talk) => {
      const { id } = this.#place;
      const next = (await this.#count(talk)) + 1n;
      await talk.ask('setCount', id, encodeCount(next - 1n), encodeCount(next));
      return await this.#count(talk);
    });
  }

  async #count(talk: Conversation): Promise<bigint> {
    const [count] = await talk.ask('count', this.#place.id);
    if (count?.length !== COUNT_SIZE) throw explain('token-failed');
    return count.readBigUInt64BE();
  }

  /** Another token in its place is told by its serial number before the PIN is. */
  #with(write: boolean, work: (talk: Conversation) => Promise<bigint>): Promise<bigint> {
    const use = { ...USE, write, serial: this.#place.serial };
    return this.#token.alone(() => this.#token.use(use, ({ talk }) => work(talk)));
  }
}

function encodeCount(count: bigint): Buffer {
  if (count < 0n || count > 0xffff_ffff_ffff_ffffn) throw explain('count-other');
  const bytes = Buffer.alloc(COUNT_SIZE);
  bytes.writeBigUInt64BE(count);
  return bytes;
}
