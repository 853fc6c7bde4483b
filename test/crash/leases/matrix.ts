/**
 * The crash matrix of one server: a box is ended at a named point of an operation, opened again, and asked to explain every
 * login that the server has.
 *
 * - `kill`: SIGKILL by the process itself at the point: nothing runs behind it. What was written is there: the kernel keeps it.
 * - `power`: the same, and the next box opens the folder as a power cut would have left it: writes that no sync covered are
 *   kept, dropped or torn (disk.ts). Around a durable step the cut falls anywhere inside its commit. The server is not put
 *   back: one operation is under way at a time, so from the point before a durable step to the point behind it nothing
 *   outside changes.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Delayed, NetworkProxy } from '../../databases/proxy.ts';
import { type DatabaseServer, startServer } from '../../databases/servers.ts';
import { SeededRandom } from '../../reference/random.ts';
import { CUT_MODES, type CutMode, materialise } from '../disk.ts';
import { BoxProcess, Died, type Recording } from './box-process.ts';
import { judge, type Ledger, learn } from './judge.ts';
import { makeStaticLogins, namesOn } from './logins.ts';
import { OPERATIONS } from './operations.ts';
import { STEPS } from './points.ts';
import type { Armed, Kind, Order, Outcome, Report, Sabotage, Setting, StaticSecret } from './protocol.ts';

/** Long: time is moved on by hand, and a busy machine is not a dead server. */
const TIMEOUT_MS = 40_000;
/** A point that comes by more often in one operation is taken so often. */
const NTH_MAX = 2;
/** Operation of the plan: a box that opens over what a dead one had under way. */
export const RECOVERY = 'open after a crash';
const RECOVERED = { operation: 'issue', point: 'issue.create after', nth: 1 };
/** What a pass has for what it does by timers of a second. */
const PASS_MS = 3000;
/** More leases than this are revoked before the next case. */
const LEASES_MAX = 12;

export interface Case {
  readonly operation: string;
  readonly point: string;
  readonly nth: number;
  /** Undefined: a kill. */
  readonly power?: CutMode;
}

export interface Failure {
  readonly case: string;
  readonly wrong: readonly string[];
}

export const nameOf = ({ operation, point, nth, power }: Case): string =>
  `${operation}: ${point}${nth === 1 ? '' : ` (${nth})`}, ${power === undefined ? 'kill' : `power cut, ${power}`}`;

export interface Start {
  readonly timeoutMs?: number;
  readonly sabotage?: Sabotage | undefined;
  readonly recorded?: boolean;
  readonly armed?: Armed | undefined;
}

export class Matrix {
  readonly server: DatabaseServer;
  readonly proxy: NetworkProxy;
  readonly kind: Kind;
  ledger: Ledger = new Map();
  readonly #program: string;
  readonly #scratch = mkdtempSync(join(tmpdir(), 'holdfast-matrix-'));
  readonly #own: ReadonlySet<string>;
  readonly #boxes = new Set<BoxProcess>();
  #folder = '';
  #next: { readonly box: BoxProcess; readonly recorded: boolean } | undefined;
  #folders = 0;
  #skippedMs = 0;
  #root = '';

  private constructor(program: string, server: DatabaseServer, proxy: NetworkProxy, own: ReadonlySet<string>) {
    this.#program = program;
    this.server = server;
    this.proxy = proxy;
    this.kind = server.kind;
    this.#own = own;
  }

  /** @param program  load/lease-box.ts, bundled */
  static async make(program: string, kind: Kind): Promise<Matrix> {
    const server = await startServer(kind);
    await makeStaticLogins(server);
    const matrix = new Matrix(program, server, await NetworkProxy.before(server), await namesOn(server));
    await matrix.found();
    return matrix;
  }

  async end(): Promise<void> {
    await this.#killAll();
    await this.proxy.close();
    await this.server.close();
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  /** Names that were there before any box. */
  get own(): ReadonlySet<string> {
    return this.#own;
  }

  // ---------------------------------------------------------------------------------------------- boxes

  async #killAll(): Promise<void> {
    this.#next = undefined;
    for (const box of this.#boxes) await box.kill();
  }

  #newFolder(): string {
    const folder = join(this.#scratch, `box-${this.#folders++}`);
    mkdirSync(join(folder, 'data'), { recursive: true, mode: 0o700 });
    return folder;
  }

  #setting({ timeoutMs = TIMEOUT_MS, sabotage, armed }: Start): Setting {
    const { server, proxy, kind } = this;
    return {
      ...{ kind, folder: this.#folder, keyfile: join(this.#scratch, 'keyfile'), url: server.url(proxy.port) },
      ...{ manager: server.manager, skippedMs: this.#skippedMs, timeoutMs, sabotage, armed },
    };
  }

  #process(start: Start): BoxProcess {
    const log = start.recorded === true ? join(this.#scratch, `log-${this.#folders++}`) : undefined;
    const box = new BoxProcess(this.#program, this.#setting(start), log, (ms) => {
      this.#skippedMs += ms;
    });
    this.#boxes.add(box);
    void box.exited.then(() => this.#boxes.delete(box));
    return box;
  }

  /** A new box over the server as it is, without what an earlier one left there. */
  async found(): Promise<void> {
    await this.#killAll();
    const { kind, server } = this;
    for (const name of await namesOn(server)) {
      if (this.#own.has(name)) continue;
      await server.sql(kind === 'postgresql' ? `DROP ROLE "${name}"` : `DROP USER '${name}'@'%'`);
    }
    const { username, password } = server.manager;
    await server.sql(
      kind === 'postgresql'
        ? `ALTER ROLE ${username} PASSWORD '${password}'`
        : `ALTER USER '${username}'@'%' IDENTIFIED BY '${password}'`,
    );
    rmSync(join(this.#scratch, 'keyfile'), { force: true });
    this.#folder = this.#newFolder();
    this.ledger = new Map();
    const box = this.#process({});
    this.#root = await box.ask<string>({ do: 'found' });
    await box.ask({ do: 'stop' });
    await box.kill();
  }

  /** A box over the folder, opened. @throws Died it was armed to die while it opens */
  async start(start: Start = {}): Promise<BoxProcess> {
    const box = this.#process(start);
    try {
      await box.ask({ do: 'open', root: this.#root });
    } catch (error) {
      if (!(error instanceof Died)) await box.kill();
      throw error;
    }
    return box;
  }

  /** Makes an operation ready, and takes down what its caller was answered. */
  async prepare(box: BoxProcess, operation: string): Promise<void> {
    learn(this.ledger, await box.ask<Outcome>({ do: 'prepare', operation }));
  }

  async run(box: BoxProcess, operation: string): Promise<void> {
    learn(this.ledger, await box.ask<Outcome>({ do: 'run', operation }));
  }

  // ---------------------------------------------------------------------------------------------- the plan

  /** Runs every operation to its end, and gives the points that each passes. */
  async plan(): Promise<Case[]> {
    const cases: Case[] = [];
    const add = (operation: string, points: readonly string[]): void => {
      const seen = new Map<string, number>();
      for (const point of points) {
        const nth = (seen.get(point) ?? 0) + 1;
        seen.set(point, nth);
        if (nth <= NTH_MAX) cases.push({ operation, point, nth });
      }
    };
    const points = (box: BoxProcess): Promise<readonly string[]> => box.ask({ do: 'points' });
    let box = await this.start();
    for (const operation of Object.keys(OPERATIONS)) {
      await this.prepare(box, operation);
      await this.run(box, operation);
      await box.ask({ do: 'drain' });
      add(operation, await points(box));
      // Each begins as a case does: what is pending is settled.
      await box.ask({ do: 'secrets' });
    }
    await box.ask({ do: 'arm', armed: RECOVERED });
    await this.#untilDeath(box, RECOVERED.operation);
    box = await this.start();
    await box.ask({ do: 'drain' });
    add(RECOVERY, await points(box));
    const wrong = await this.check(box);
    await box.kill();
    if (wrong.length > 0) throw new Error(`without any crash: ${wrong.join('; ')}`);
    return cases;
  }

  // ---------------------------------------------------------------------------------------------- one case

  async #untilDeath(box: BoxProcess, operation: string): Promise<void> {
    try {
      await this.run(box, operation);
      await box.ask({ do: 'drain' });
    } catch (error) {
      if (error instanceof Died) return;
      throw error;
    }
    throw new Error('the point was not reached');
  }

  /** Ends a box at the point. @returns the dead one */
  async #die({ operation, point, nth, power }: Case): Promise<BoxProcess> {
    const recorded = power !== undefined;
    if (operation !== RECOVERY) {
      const box = await this.#going(recorded);
      if (this.ledger.size > LEASES_MAX) await this.#tidy(box);
      await this.prepare(box, operation);
      await box.ask({ do: 'arm', armed: { point, nth } });
      await this.#untilDeath(box, operation);
      return box;
    }
    const first = await this.#going(false);
    await first.ask({ do: 'arm', armed: RECOVERED });
    await this.#untilDeath(first, RECOVERED.operation);
    const box = this.#process({ recorded, armed: { point, nth } });
    try {
      await box.ask({ do: 'open', root: this.#root });
      await box.ask({ do: 'drain' });
    } catch (error) {
      if (error instanceof Died) return box;
      throw error;
    }
    throw new Error('the point was not reached');
  }

  /** The box of the case before, where there is one. */
  async #going(recorded: boolean): Promise<BoxProcess> {
    const next = this.#next;
    this.#next = undefined;
    if (next?.recorded === recorded || (next !== undefined && !recorded)) return next.box;
    await next?.box.kill();
    return await this.start({ recorded });
  }

  async #tidy(box: BoxProcess): Promise<void> {
    const leases = [...this.ledger.keys()];
    for (const lease of leases) await box.ask({ do: 'revoke', lease } satisfies Order);
    learn(this.ledger, { revoked: leases });
  }

  /** @param recorded  the next case is a power cut: it goes on with the box of this one. @returns what does not hold afterwards */
  async one(wanted: Case, seed: number, recorded = false, sabotage?: Sabotage): Promise<readonly string[]> {
    try {
      const dead = await this.#die(wanted);
      await dead.exited;
      if (wanted.power !== undefined) this.#cutPower(dead.recording(), wanted, wanted.power, seed);
      this.#next = { box: await this.start({ recorded, sabotage }), recorded };
      return await this.check(this.#next.box);
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  }

  #cutPower(recording: Recording, { point }: Case, mode: CutMode, seed: number): void {
    const { events } = recording;
    const at = events.findLastIndex((event) => event.kind === 'mark' && event.text === point);
    const [step = '', when] = point.split(' ');
    let cut = at;
    if (when === 'after' && STEPS[step]?.kind === 'durable') {
      const began = events.findLastIndex(
        (event, n) => n < at && event.kind === 'mark' && event.text === `${step} before`,
      );
      cut = began + 1 + new SeededRandom(seed).below(at - began);
    }
    const folder = this.#newFolder();
    rmSync(join(folder, 'data'), { recursive: true });
    materialise(recording, cut, mode, seed, join(folder, 'data'));
    rmSync(this.#folder, { recursive: true });
    this.#folder = folder;
  }

  /** After one pass of recovery: what is wrong with the server, the box and what its callers were told. */
  async check(box: BoxProcess, how: 'drain' | 'wait' = 'drain'): Promise<readonly string[]> {
    await box.ask({ do: how });
    const report = await box.ask<Report>({ do: 'report' });
    const secrets = await box.ask<readonly StaticSecret[]>({ do: 'secrets' });
    const judged = (now: Report): Promise<string[]> => judge(this.server, this.#own, now, secrets, this.ledger);
    let wrong = await judged(report);
    if (wrong.length > 0) {
      // The pass was not over: the box goes on by itself with tokens and times that end.
      await new Promise((resolve) => setTimeout(resolve, PASS_MS));
      await box.ask({ do: how });
      wrong = await judged(await box.ask<Report>({ do: 'report' }));
    }
    await box.ask({ do: 'probe' });
    return wrong;
  }

  /** One case after the other, on one folder; a new box after one that failed. */
  async all(cases: readonly Case[], seed: number): Promise<Failure[]> {
    const failures: Failure[] = [];
    for (const [n, one] of cases.entries()) {
      const recorded = cases[n + 1]?.power !== undefined;
      let wrong = await this.one(one, seed + n, recorded);
      if (wrong.some((sentence) => sentence.includes('the rig cannot replay'))) {
        // The audit log began its next segment, which moves a file between folders: a new box is far from that.
        await this.found();
        wrong = await this.one(one, seed + n, recorded);
      }
      if (wrong.length === 0) continue;
      failures.push({ case: `${this.kind}: ${nameOf(one)}`, wrong });
      await this.found();
    }
    return failures;
  }

  // ---------------------------------------------------------------------------------------------- late packets

  /** Catches a packet of an operation on its way, and kills the box that sent it. */
  async lose(operation: string, packet: RegExp, start: Start = {}): Promise<Delayed> {
    await this.#killAll();
    const box = await this.start(start);
    await this.prepare(box, operation);
    const late = this.proxy.delayNext((bytes) => packet.test(bytes.toString('latin1')));
    const ended = this.run(box, operation).then(
      () => 'it was answered',
      (error: unknown) => String(error),
    );
    const early = await Promise.race([late.caught.then(() => undefined), ended]);
    if (early !== undefined) {
      late.release();
      throw new Error(`no such packet came by: ${early}`);
    }
    await box.kill();
    return late;
  }
}

/** Every point by kill and by each kind of power cut. */
export function withPower(cases: readonly Case[]): Case[] {
  return cases.flatMap((one) => [one, ...CUT_MODES.map((power): Case => ({ ...one, power }))]);
}

/** So many, each step at least once as far as that goes; another part of them for another seed. */
export function sample(cases: readonly Case[], count: number, seed: number): Case[] {
  if (cases.length <= count) return [...cases];
  const random = new SeededRandom(seed);
  const left = [...cases];
  const chosen: Case[] = [];
  const steps = new Set<string>();
  for (let tries = 0; chosen.length < count; tries++) {
    const [one] = left.splice(random.below(left.length), 1);
    if (one === undefined) break;
    const [step = ''] = one.point.split(' ');
    if (steps.has(step) && steps.size < Object.keys(STEPS).length && tries < 20 * count) left.push(one);
    else {
      chosen.push(one);
      steps.add(step);
    }
  }
  return chosen;
}
