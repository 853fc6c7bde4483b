/** Composes leaves through core: what is too long is elided, what is full is passed on to the writer. */
import { hash } from 'node:crypto';
import type { CoreFault, CoreStatus } from '../../core/types.ts';
import { Fault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import { timestampNanos } from '../timestamp.ts';
import { EntryBuilder, hopeless, type Rest } from './entry.ts';
import { type AuditContext, type AuditCore, type AuditNote, type AuditOutcome, LOG_ACCESSOR } from './types.ts';
import type { GroupWriter } from './writer.ts';

/** A group this large is passed on though the one before it is still under way; core opens frames up to 3 MiB. */
const GROUP_BYTES_MAX = 1024 * 1024;
const HASHED_SIZE_MAX = 1024 * 1024;

const statusOf = (error: unknown): CoreStatus | undefined =>
  error instanceof Error ? (error as Partial<CoreFault>).status : undefined;

export class Composer {
  readonly #core: AuditCore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #entries: EntryBuilder;

  constructor(options: { readonly core: AuditCore; readonly clock: Clock; readonly random: Random }) {
    const { core } = options;
    this.#core = core;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#entries = new EntryBuilder((value) => this.hash(value));
  }

  /** HMAC of a value as leaves show it; of its SHA-256 in hex where it is longer than core takes, under another prefix. */
  hash(value: string): string {
    if (Buffer.byteLength(value) <= HASHED_SIZE_MAX) return this.#core.auditHmac(LOG_ACCESSOR, value);
    const digest = hash('sha256', value, 'hex');
    return this.#core.auditHmac(LOG_ACCESSOR, digest).replace('hmac-sha256:', 'hmac-sha256-sha256:');
  }

  /** The HMAC key is another one now. */
  forget(): void {
    this.#entries.forget();
  }

  /** @throws Fault `input.invalid` if it is too large even with its data elided */
  request(writer: GroupWriter, grant: number, context: AuditContext): number {
    const time = timestampNanos(context.timeMs, context.timeNanos);
    const seq =
      this.#try(writer, grant, 'request', time, this.#entries.request(context, time)) ??
      this.#try(writer, grant, 'request', time, this.#entries.request(context, time, true));
    if (seq === undefined) throw new Fault('input.invalid', 'the request is too large for the audit log');
    return seq;
  }

  response(writer: GroupWriter, grant: number, context: AuditContext, outcome: AuditOutcome): number {
    const time = timestampNanos(outcome.timeMs, outcome.timeNanos);
    for (const level of [0, 1, 2] as const) {
      const seq = this.#try(writer, grant, 'response', time, this.#entries.response(context, outcome, time, level));
      if (seq !== undefined) return seq;
    }
    throw new Error('the smallest response leaf does not fit');
  }

  note(writer: GroupWriter, grant: number, note: AuditNote): number {
    const time = timestampNanos(this.#clock.wallMs(), this.#clock.wallNanos());
    const seq = this.#try(writer, grant, 'note', time, this.#entries.note(note, this.#random.uuid(), time));
    if (seq === undefined) throw new Error('a note of the box is too large for the audit log');
    return seq;
  }

  /** @returns undefined if the line is too long */
  #try(
    writer: GroupWriter,
    grant: number,
    phase: 'request' | 'response' | 'note',
    time: string,
    rest: Rest,
  ): number | undefined {
    if (hopeless(rest)) return undefined;
    if (this.#core.auditPending > GROUP_BYTES_MAX) writer.enqueue();
    let seq: number;
    try {
      seq = this.#core.leaf(grant, phase, time, rest.text);
    } catch (error) {
      const status = statusOf(error);
      if (status === 'argument') return undefined;
      if (status !== 'full') throw error;
      writer.enqueue();
      seq = this.#core.leaf(grant, phase, time, rest.text);
    }
    writer.composed(seq + 1);
    return seq;
  }
}
