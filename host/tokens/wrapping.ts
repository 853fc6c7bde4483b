/**
 * Response wrapping: an answer kept under a token that is good for one use. The row goes, durable, before the answer leaves:
 * it is handed out at most once, whoever asks at the same time and whatever happens in between.
 */
import { type Barrier, retry } from '../barrier/barrier.ts';
import { throughCore } from '../barrier/fault.ts';
import { Fault } from '../fault.ts';
import { decodePayload, encodePayload } from '../payload.ts';
import type { Answer, WrapInfo } from '../ports/engine.ts';
import type { ValueMap } from '../ports/value.ts';
import { timestampNanos } from '../timestamp.ts';
import { isHonoured } from './honoured.ts';
import { tokenInfo } from './row.ts';
import type { NewToken, Tokens } from './tokens.ts';

export const NOT_VALID = 'wrapping token is not valid or does not exist';
const TOKEN_MOUNT = `${'0'.repeat(31)}3`;

export interface Wrapped {
  readonly requestId: string;
  readonly answer: Answer;
  readonly creationMs: number;
  readonly creationNanos: number;
  readonly creationPath: string;
  readonly ttl: number;
}

export class Wrapping {
  readonly #barrier: Barrier;
  readonly #tokens: Tokens;

  constructor(barrier: Barrier, tokens: Tokens) {
    this.#barrier = barrier;
    this.#tokens = tokens;
  }

  /** Keeps an answer under a new wrapping token. @param grant of the request, which was decided with a wrap TTL */
  async wrap(grant: number, wrapped: Omit<Wrapped, 'creationMs' | 'creationNanos'>): Promise<WrapInfo> {
    const { core, lease } = this.#barrier;
    const creationMs = lease.nowMs();
    const creationNanos = lease.nowNanos();
    const { text, id } = throughCore(() => core.newToken(grant, 'service'));
    const { ttl, creationPath, answer } = wrapped;
    const wanted: NewToken = {
      ...{ type: 'service', wrapping: true, uses: 1, parentId: undefined, mountId: TOKEN_MOUNT },
      ...{ policies: ['response-wrapping'], boundCidrs: [], displayName: '', metadata: null, path: creationPath },
      ...{ expiresMs: creationMs + ttl * 1000, creationTtl: ttl, explicitMaxTtl: ttl, period: 0 },
      ...{ renewable: false, role: '' },
    };
    const kept = encodePayload({ ...wrapped, answer: answer as unknown as ValueMap, creationMs, creationNanos });
    // Again where a change of keys came between sealing and commit: what the answer holds is made already.
    const token = await retry(async () => {
      const made = this.#tokens.rows(grant, wanted, id);
      const puts = [...made.puts, this.#barrier.seal(grant, 'wrap', id, kept)];
      await this.#barrier.commit(puts, made.expect);
      return made.token;
    });
    const accessor = answer.auth?.accessor ?? wrappedAccessor(answer);
    return {
      token: text,
      accessor: token.accessor,
      ttl,
      creationTime: timestampNanos(creationMs, creationNanos),
      creationPath,
      ...(accessor === undefined || accessor === '' ? {} : { wrappedAccessor: accessor }),
    };
  }

  /** What a wrapping token holds, without using it. @throws Fault `input.invalid` one uniform text */
  look(grant: number, text: string): Wrapped {
    return this.#read(grant, text).wrapped;
  }

  #read(grant: number, text: string): { readonly id: string; readonly wrapped: Wrapped } {
    const id = this.#tokens.idOf(text);
    if (id === undefined) throw notValid();
    return this.#readId(grant, id);
  }

  #readId(grant: number, id: string): { readonly id: string; readonly wrapped: Wrapped } {
    const found = this.#tokens.byId(grant, id)?.token;
    const token = found !== undefined && isHonoured(tokenInfo(id, found), this.#barrier.lease) ? found : undefined;
    const opened = token?.wrapping === true ? this.#barrier.open(grant, 'wrap', Buffer.from(id, 'hex')) : undefined;
    if (opened === undefined) throw notValid();
    return { id, wrapped: decodePayload(opened.payload) as unknown as Wrapped };
  }

  /** Takes the answer out, for good. @throws Fault `input.invalid` also for all but one who ask at once */
  async unwrap(grant: number, text: string): Promise<Wrapped> {
    const found = this.#read(grant, text);
    await this.#take(found.id);
    // The answer is taken; its token has nothing left to give.
    await this.#tokens.revoke(found.id);
    return found.wrapped;
  }

  /** The same for the token that asks: its one use is spent already, and with the answer it ends. */
  async unwrapOwn(grant: number, id: string): Promise<Wrapped> {
    const opened = this.#barrier.open(grant, 'wrap', Buffer.from(id, 'hex'));
    if (opened === undefined) throw notValid();
    const wrapped = decodePayload(opened.payload) as unknown as Wrapped;
    await this.#take(id);
    return wrapped;
  }

  /** Deletes the row, whose key stands for its content: one that was only sealed anew meanwhile is taken all the same. */
  #take(id: string): Promise<void> {
    const key = Buffer.from(id, 'hex');
    return retry(async () => {
      if (this.#barrier.store.get('wrap', key) === undefined) throw notValid();
      await this.#barrier.commit([{ table: 'wrap', key }], [{ table: 'wrap', key, is: 'present' }]);
    });
  }
}

const notValid = (): Fault => new Fault('input.invalid', NOT_VALID);

/** A SecretID's accessor, which a wrapped answer shows beside. */
function wrappedAccessor(answer: Answer): string | undefined {
  const accessor = answer.data?.['secret_id_accessor'];
  return typeof accessor === 'string' ? accessor : undefined;
}
