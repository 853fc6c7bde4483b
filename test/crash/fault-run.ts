/** Runs a load again and again, each time with another call of its that fails. */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Check } from './checker.ts';
import { FaultControl, type FaultKind, type FaultPlan } from './faults.ts';
import { shimEnvironment } from './record.ts';

/** One run of the load: on this folder, with this plan. */
export interface FaultJob {
  readonly folder: string;
  /** The file that takes the marks. */
  readonly marks: string;
  readonly plan: FaultPlan;
  /** The plan holds from before the folder is opened, else from when it is open. */
  readonly atOpen: boolean;
}

export interface FaultOutcome {
  /** Calls that the plan fits, and those of them that failed. */
  readonly seen: number;
  readonly hits: number;
  readonly wrong: readonly string[];
  /** Of the refusals, in order. */
  readonly codes: readonly string[];
}

/** In the load's program. */
export function serveFaults(run: (job: FaultJob, control: FaultControl) => Promise<FaultOutcome>): void {
  const control = new FaultControl(process.env['RIG_CONTROL'] ?? '');
  process.on('message', (job: FaultJob) => {
    void run(job, control).then((outcome) => process.send?.(outcome));
  });
}

export interface FaultFamily {
  readonly kind: FaultKind;
  readonly error: 'EIO' | 'ENOSPC';
  readonly suffix: string;
  /** Calls that fail: one, or all from the first. */
  readonly times: 1 | 'all';
  readonly atOpen?: boolean;
}

/** Each kind with each error, once and for good. */
export const families = (suffix: string, kinds: readonly FaultKind[], more: Partial<FaultFamily> = {}): FaultFamily[] =>
  kinds.flatMap((kind) =>
    (['EIO', 'ENOSPC'] as const).flatMap((error) =>
      ([1, 'all'] as const).map((times) => ({ kind, error, suffix, times, ...more })),
    ),
  );

export interface FaultOptions {
  readonly program: string;
  readonly families: readonly FaultFamily[];
  /** Points of each family at most, evenly spread over the calls of a run without faults. */
  readonly points: number;
  readonly check: Check;
  /** Makes the folder as a run begins with it (default: absent). */
  readonly prepare?: (folder: string) => void;
  readonly deadlineMs?: number;
}

export interface FaultResult {
  /** Runs in which a call failed. */
  readonly runs: number;
  /** Runs that ended the process: what was acknowledged must be there all the same. */
  readonly deaths: number;
  readonly refusals: number;
  readonly failures: readonly string[];
}

const DEADLINE_MS = 15_000;
const NEVER = 0x7fff_ffff;

/** The load's process, started anew when it dies. */
class LoadProcess {
  readonly #options: FaultOptions;
  readonly #environment: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;

  constructor(options: FaultOptions, scratch: string) {
    this.#options = options;
    const rig = shimEnvironment(scratch, '', join(scratch, '..', 'control'));
    delete rig['RIG_LOG'];
    this.#environment = { ...process.env, ...rig };
    new FaultControl(join(scratch, '..', 'control')).close();
  }

  /** @returns how the run went, or what the process said when it died */
  run(job: FaultJob): Promise<FaultOutcome | string> {
    return new Promise((resolve) => {
      this.#child ??= fork(this.#options.program, {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        env: this.#environment,
      });
      const child = this.#child;
      let said = '';
      const listen = (part: Buffer): void => {
        said = (said + part.toString()).slice(-2000);
      };
      child.stderr?.on('data', listen);
      let late = false;
      const deadline = setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, this.#options.deadlineMs ?? DEADLINE_MS);
      const finish = (how: FaultOutcome | string): void => {
        clearTimeout(deadline);
        child.removeAllListeners('message').removeAllListeners('close');
        child.stderr?.off('data', listen);
        resolve(how);
      };
      child.once('message', (outcome: FaultOutcome) => finish(outcome));
      child.once('close', (code, signal) => {
        this.#child = undefined;
        finish(`${late ? 'HUNG' : (signal ?? `exit ${code}`)}: ${said}`);
      });
      child.send(job);
    });
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }
}

/**
 * What a death must have said: the binding's complaint about a page that could not be written comes first. Any other
 * death is a failure.
 */
function isExcused(death: string): boolean {
  return !death.startsWith('HUNG') && death.includes('Write error: ');
}

/**
 * A write that fails while LMDB begins a new file may end the process: there is nothing to lose then. Where the store moves, the
 * beginning is rehearsed, and only a disk that goes on taking half of what it is given gets past that: Node writes the rest
 * again, LMDB does not.
 */
function isBeginning({ atOpen, folder, plan }: FaultJob): boolean {
  const names = readdirSync(folder);
  if (plan.kinds.includes('short') && names.includes('store.mdb.fresh')) return names.includes('store.mdb');
  return atOpen && names.includes('store.mdb.new');
}

export async function faultEverywhere(options: FaultOptions): Promise<FaultResult> {
  const { families, points, check, prepare } = options;
  const top = mkdtempSync(join(tmpdir(), 'holdfast-fault-'));
  const scratch = join(top, 'disk');
  mkdirSync(scratch);
  const load = new LoadProcess(options, scratch);
  const failures: string[] = [];
  let [runs, deaths, refusals] = [0, 0, 0];
  const one = async (family: FaultFamily, skip: number): Promise<number> => {
    const folder = join(scratch, 'data');
    const job: FaultJob = {
      folder,
      marks: join(top, 'marks'),
      plan: {
        kinds: [family.kind],
        ...{ error: family.error, suffix: family.suffix, skip },
        ...(family.times === 1 ? { times: 1 } : {}),
      },
      atOpen: family.atOpen === true,
    };
    writeFileSync(job.marks, '');
    prepare?.(folder);
    const how = await load.run(job);
    const marks = readFileSync(job.marks, 'utf8').split('\n').slice(0, -1);
    const wrong: string[] = [];
    if (typeof how === 'string') {
      deaths++;
      runs++;
      if (!isExcused(how) && !isBeginning(job)) wrong.push(`the process died: ${how}`);
    } else {
      wrong.push(...how.wrong);
      refusals += how.codes.length;
      if (how.hits > 0) runs++;
    }
    if (existsSync(folder)) wrong.push(...(await check(folder, marks)));
    rmSync(folder, { recursive: true, force: true });
    const name = `${family.times} ${family.kind} of '${family.suffix}' ${family.error} after ${skip}`;
    if (wrong.length > 0) failures.push(`${name}${job.atOpen ? ' at open' : ''}: ${wrong.join('; ')}`);
    return typeof how === 'string' ? 0 : how.seen;
  };
  try {
    for (const family of families) {
      const seen = await one(family, NEVER);
      const count = Math.min(points, seen);
      if (count === 0) failures.push(`no ${family.kind} of '${family.suffix}' was seen`);
      for (let at = 0; at < count; at++)
        await one(family, count === 1 ? 0 : Math.round((at * (seen - 1)) / (count - 1)));
    }
  } finally {
    load.close();
    rmSync(top, { recursive: true, force: true });
  }
  return { runs, deaths, refusals, failures };
}
