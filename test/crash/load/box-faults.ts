/**
 * A whole box whose disk fails, without its HTTP face: takes jobs from its parent (fault-run.ts), each on a folder with a box
 * that BOX_KEYFILE opens; BOX_ROOT is a file with its root token.
 */
import { appendFileSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import type { Answer } from '../../../host/ports/engine.ts';
import { assemble, sender, type WholeBox } from '../../host/whole/box.ts';
import { type FaultJob, type FaultOutcome, serveFaults } from '../fault-run.ts';
import type { FaultControl } from '../faults.ts';

const ROUNDS = 2;

class Load {
  readonly wrong: string[] = [];
  readonly codes: string[] = [];
  readonly #send: WholeBox['send'];
  readonly #job: FaultJob;
  readonly #control: FaultControl;

  constructor(send: WholeBox['send'], job: FaultJob, control: FaultControl) {
    this.#send = send;
    this.#job = job;
    this.#control = control;
  }

  /** From the first failure on no leaf can be written: nothing that is asked from now on may be answered. */
  get logIsGone(): boolean {
    const { suffix, times } = this.#job.plan;
    return suffix !== 'store.mdb' && times === undefined && this.#control.look().hits > 0;
  }

  mark(text: string): void {
    appendFileSync(this.#job.marks, `${text}\n`);
  }

  /** The answer, or undefined if it was refused because the disk fails; every other refusal is wrong. */
  async ask(...request: Parameters<WholeBox['send']>): Promise<Answer | undefined> {
    const { logIsGone } = this;
    const outbound: Outbound = await this.#send(...request);
    if (outbound.kind === 'answer' && logIsGone) this.wrong.push(`${request[1]} was answered, and no log holds it`);
    if (outbound.kind === 'answer') return outbound.answer;
    this.codes.push(String(outbound.status));
    if (outbound.status !== 503 && outbound.status !== 507) {
      this.wrong.push(`${request[0]} ${request[1]} was answered ${outbound.status}: ${outbound.errors.join('; ')}`);
    }
    return undefined;
  }

  async change(n: number | 'gone', name: string, ...request: Parameters<WholeBox['send']>): Promise<boolean> {
    this.mark(`try ${n} ${name}`);
    const answer = await this.ask(...request);
    if (answer !== undefined) this.mark(`ack ${n} ${name}`);
    return answer !== undefined;
  }

  /** Values, tokens and wrapped responses that come and go. */
  async round(n: number): Promise<void> {
    await this.change(n, `kv k${n % 3}`, 'write', `secret/data/load/k${n % 3}`, { data: { n } });
    const token = `t${n}`;
    const made = await this.change(n, `token ${token}`, 'write', 'auth/token/create', { id: token, ttl: '1h' });
    const wrapped = await this.ask('write', 'sys/wrapping/wrap', { n }, undefined, { wrapTtl: 600 });
    const wrapping = wrapped?.wrapInfo?.token;
    if (wrapping !== undefined) this.mark(`ack ${n} wrap ${wrapping}`);
    if (made && n % 2 === 0) await this.change('gone', `token ${token}`, 'write', 'auth/token/revoke', { token });
    if (wrapping !== undefined && n % 2 === 1) {
      await this.change('gone', `wrap ${wrapping}`, 'write', 'sys/wrapping/unwrap', { token: wrapping });
    }
  }

  /** What must be answered while the disk still fails. */
  async whileItFails(): Promise<void> {
    const { logIsGone } = this;
    const read = await this.#send('read', 'secret/data/load/base');
    const status = read.kind === 'answer' ? 200 : read.status;
    if (status !== (logIsGone ? 503 : 200)) this.wrong.push(`a read was answered ${status} while the disk fails`);
    if (!logIsGone) return;
    const write = await this.#send('write', 'secret/data/load/refused', { data: { n: 0 } });
    if (write.kind === 'answer') this.wrong.push('a write was taken that no log holds');
  }
}

async function run(job: FaultJob, control: FaultControl): Promise<FaultOutcome> {
  // Beside the marks: the parent removes it, also where this process dies.
  const scratch = mkdtempSync(`${job.marks}-`);
  const keyfile = join(scratch, 'keyfile');
  copyFileSync(process.env['BOX_KEYFILE'] ?? '', keyfile);
  const root = readFileSync(process.env['BOX_ROOT'] ?? '', 'utf8').trim();
  try {
    const { box, services, stop } = await assemble(job.folder, keyfile);
    if (!(await box.unsealAutomatically())) throw new Error(box.status().reasons.join('; '));
    const load = new Load(
      sender(services, () => root),
      job,
      control,
    );
    await load.change(0, 'kv base', 'write', 'secret/data/load/base', { data: { n: 0 } });
    control.arm(job.plan);
    let n = 0;
    const work = async (): Promise<void> => {
      while (n < 2 * ROUNDS) await load.round(++n);
    };
    await Promise.all([work(), work()]);
    const failing = control.look();
    if (failing.hits > 0) await load.whileItFails();
    const counts = control.disarm();
    await stop();
    return { ...counts, wrong: load.wrong, codes: load.codes };
  } catch (error) {
    return { ...control.disarm(), wrong: [`it did not run: ${String(error)}`], codes: [] };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

serveFaults(run);
