/** Between the listeners (host/api) and what happens with a request (host/mounts/dispatch.ts). */
import type { Verb } from '../../core/types.ts';
import type { Answer, Peer } from './engine.ts';
import type { ValueMap } from './value.ts';

export interface Inbound {
  /** A UUID, made by the api. */
  readonly id: string;
  readonly verb: Verb;
  /** Below /v1/, percent-decoded segment by segment (an encoded slash was refused), perhaps with a trailing `/`. */
  readonly path: string;
  readonly token: string | undefined;
  /** The body of write and patch, the query of read, list and delete. */
  readonly body: ValueMap;
  /** The query of write and patch, for operations that say that they read it. */
  readonly query?: ValueMap;
  /** Seconds; 0: not asked for. */
  readonly wrapTtl: number;
  readonly peer: Peer;
  /** Lower-case names; for audit and for methods that read some. */
  readonly headers: Readonly<Record<string, string>>;
  readonly deadlineMs: number;
}

/** What the api turns into an envelope. `flat` as the operation's row says. */
export type Outbound =
  | {
      readonly kind: 'answer';
      readonly requestId: string;
      readonly mountType: string;
      readonly flat: boolean;
      readonly verb: Verb;
      readonly answer: Answer;
    }
  /** `errors` are the texts as semantics.md has them; `data` for the 404 of a deleted KV version is an answer instead. */
  | {
      readonly kind: 'error';
      readonly status: number;
      readonly errors: readonly string[];
      readonly retryAfterSeconds?: number;
    };

export interface Dispatcher {
  /** Never rejects. The answer's response leaf is durable when it resolves. */
  dispatch(request: Inbound): Promise<Outbound>;
}
