/**
 * A database server with a circuit before it: a server that does not answer costs its callers one deadline each, then
 * nothing. After some failures in a row the circuit is open and calls fail at once; when its pause is over one call tries the
 * server, and opens or closes it. A server that answers, even with a refusal, is there.
 *
 * It is the engine's one way to a server, so what a request asks waits here until the request's leaf is on the medium. What
 * ends logins, and looks whether they are gone, goes on though the log fails.
 */
import { Fault, isFault } from '../../fault.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Database, Existing, LoginCredential, NewLogin, Outcome, Statements } from '../../ports/database.ts';
import type { Secret } from '../../secret.ts';

const FAILURES_MAX = 3;
const PAUSE_MIN_MS = 1000;
const PAUSE_MAX_MS = 30_000;
/** What waits on one server at once: a dead one must not use up the grants of all requests. */
const CALLS_MAX = 128;
/** A deadline's own deadline: an adapter that misses its is a bug, and does not hang its caller. */
const GRACE_MS = 2000;
/** A wait for the log that costs a call nothing of its time. */
const WAIT_FREE_MS = 100;

export class GuardedDatabase implements Database {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #logged: () => Promise<void>;
  #failures = 0;
  #pauseMs = PAUSE_MIN_MS;
  /** Boot time until which calls fail at once. */
  #openUntilMs = 0;
  #probing = false;
  #calls = 0;
  #closed = false;

  /**
   * @param name    of the connection, for sentences
   * @param logged  resolves when the leaves composed so far are on the medium
   */
  constructor(database: Database, clock: Clock, name: string, logged: () => Promise<void>) {
    this.#database = database;
    this.#clock = clock;
    this.#name = name;
    this.#logged = logged;
  }

  /** Whether calls fail at once now. */
  get open(): boolean {
    return this.#failures >= FAILURES_MAX && this.#clock.bootMs() < this.#openUntilMs;
  }

  verify(timeoutMs: number): Promise<readonly string[]> {
    return this.#asked(timeoutMs, (leftMs) => this.#database.verify(leftMs));
  }

  prepare(credential: LoginCredential): void {
    this.#database.prepare?.(credential);
  }

  create(login: NewLogin, statements: Statements, timeoutMs: number): Promise<void> {
    return this.#asked(timeoutMs, (leftMs) => this.#database.create(login, statements, leftMs));
  }

  renew(name: string, expirationMs: number, statements: Statements, timeoutMs: number): Promise<void> {
    return this.#asked(timeoutMs, (leftMs) => this.#database.renew(name, expirationMs, statements, leftMs));
  }

  drop(logins: readonly Existing[], timeoutMs: number): Promise<readonly Outcome[]> {
    return this.#call(timeoutMs, () => this.#database.drop(logins, timeoutMs));
  }

  present(names: readonly string[], timeoutMs: number): Promise<ReadonlySet<string>> {
    return this.#call(timeoutMs, () => this.#database.present(names, timeoutMs));
  }

  list(prefix: string, timeoutMs: number): Promise<readonly string[]> {
    return this.#asked(timeoutMs, (leftMs) => this.#database.list(prefix, leftMs));
  }

  change(name: string, credential: LoginCredential, statements: Statements, timeoutMs: number): Promise<void> {
    return this.#asked(timeoutMs, (leftMs) => this.#database.change(name, credential, statements, leftMs));
  }

  letsIn(name: string, password: Secret, timeoutMs: number): Promise<boolean> {
    return this.#asked(timeoutMs, (leftMs) => this.#database.letsIn(name, password, leftMs));
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#database.close();
  }

  /** The wait for the log is part of the call's time: whoever knows when it is over counts from its beginning. */
  async #asked<T>(timeoutMs: number, work: (leftMs: number) => Promise<T>): Promise<T> {
    const fromMs = this.#clock.bootMs();
    await this.#logged();
    const waitedMs = this.#clock.bootMs() - fromMs;
    // Sessions are told the time of a call when it is another one than before.
    const leftMs = waitedMs < WAIT_FREE_MS ? timeoutMs : timeoutMs - waitedMs;
    if (leftMs <= 0) {
      throw new Fault('database.unreachable', 'the audit log took too long: nothing was asked of the database server');
    }
    return await this.#call(leftMs, () => work(leftMs));
  }

  async #call<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new Fault('database.unreachable', `the connection ${this.#name} was changed: try again`);
    if (this.open || (this.#failures >= FAILURES_MAX && this.#probing)) {
      throw new Fault(
        'database.unreachable',
        `the database of connection ${this.#name} did not answer ${this.#failures} times in a row; it is tried again within ${Math.ceil(this.#pauseMs / 1000)} s`,
      );
    }
    if (this.#calls >= CALLS_MAX) {
      throw new Fault(
        'server.overloaded',
        `${CALLS_MAX} requests wait for the database of connection ${this.#name}: try again`,
      );
    }
    const probes = this.#failures >= FAILURES_MAX;
    this.#probing ||= probes;
    this.#calls++;
    try {
      const result = await this.#within(timeoutMs + GRACE_MS, work());
      this.#answered();
      return result;
    } catch (error) {
      if (isFault(error, 'database.unreachable')) this.#failed();
      else if (isFault(error)) this.#answered();
      throw error;
    } finally {
      this.#calls--;
      if (probes) this.#probing = false;
    }
  }

  #answered(): void {
    this.#failures = 0;
    this.#pauseMs = PAUSE_MIN_MS;
  }

  #failed(): void {
    this.#failures++;
    if (this.#failures < FAILURES_MAX) return;
    if (this.#failures > FAILURES_MAX) this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MAX_MS);
    this.#openUntilMs = this.#clock.bootMs() + this.#pauseMs;
  }

  #within<T>(ms: number, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = this.#clock.after(ms, () =>
        reject(
          new Fault(
            'database.unreachable',
            `the database of connection ${this.#name} did not answer within its deadline`,
          ),
        ),
      );
      work.then(resolve, reject).finally(() => late.cancel());
    });
  }
}
