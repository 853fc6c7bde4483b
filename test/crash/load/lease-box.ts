/** A whole box with the database engine over a real server, for the crash matrix: takes orders, and dies where it is told to. */
import { join } from 'node:path';
import { mariadb, mysql } from '../../../host/databases/mysql/adapter.ts';
import { postgresql } from '../../../host/databases/postgresql/adapter.ts';
import { certificateMaker } from '../../../host/engines/database/certificate.ts';
import { databaseEngine } from '../../../host/engines/database/engine.ts';
import * as rows from '../../../host/leases/row.ts';
import { AGAIN_MS, KEPT_MS } from '../../../host/leases/spares.ts';
import { LeaseTable } from '../../../host/leases/table.ts';
import { networkCheck } from '../../../host/networks.ts';
import { dateOf } from '../../../host/system/clock.ts';
import { cronSchedules } from '../../../host/system/cron.ts';
import { type Assembled, assemble, MovedClock, sender, type WholeBox } from '../../host/whole/box.ts';
import { Interference } from '../leases/interference.ts';
import { awayFromMidnight, found, issue, OPERATIONS, type OperationBox } from '../leases/operations.ts';
import type { Message, Order, Outcome, Report, Setting, StaticSecret } from '../leases/protocol.ts';

const DRAIN_MS = 60_000;
/** Intents that nobody marks meanwhile are in reserve. */
const LOOKS_MAX = 20;
const PLUGINS = { postgresql: 'postgresql-database-plugin', mariadb: 'mysql-database-plugin' } as const;

const say = (message: Message): void => void process.send?.(message);

class LeaseBox implements OperationBox {
  readonly kind: Setting['kind'];
  readonly interference: Interference;
  readonly #setting: Setting;
  readonly #clock: MovedClock;
  readonly #assembled: Assembled;
  #prepared: Outcome = {};
  #root = '';

  private constructor(setting: Setting, clock: MovedClock, interference: Interference, assembled: Assembled) {
    this.kind = setting.kind;
    this.interference = interference;
    this.#setting = setting;
    this.#clock = clock;
    this.#assembled = assembled;
  }

  static async make(setting: Setting): Promise<LeaseBox> {
    const clock = new MovedClock(setting.skippedMs);
    const interference = new Interference(setting.sabotage, (reached) => say({ reached }));
    interference.arm(setting.armed);
    const assembled = await assemble(
      join(setting.folder, 'data'),
      setting.keyfile,
      clock,
      undefined,
      undefined,
      undefined,
      {
        leaseHook: interference.hook,
        leaseTimeoutMs: setting.timeoutMs,
        engines: (own) => [
          databaseEngine({
            ...own,
            adapters: [postgresql(own), mariadb(own), mysql(own)].map((one) => interference.adapter(one)),
            random: interference.random(own.random),
            schedules: cronSchedules,
            check: networkCheck(['127.0.0.0/8']),
            passwords: (policy) => own.passwords.source(policy),
            certificate: certificateMaker({
              wallMs: () => own.clock.wallMs(),
              date: dateOf,
              randomBytes: (length) => own.random.bytes(length),
            }),
            hook: interference.hook,
          }),
        ],
      },
    );
    return new LeaseBox(setting, clock, interference, assembled);
  }

  get services(): Assembled['services'] {
    return this.#assembled.services;
  }

  readonly send: WholeBox['send'] = (...args) => sender(this.services, () => this.#root)(...args);

  readonly ok: WholeBox['ok'] = async (...args) => {
    const outbound = await this.send(...args);
    if (outbound.kind === 'answer') return outbound.answer;
    throw new Error(`${args[0]} ${args[1]} was answered ${outbound.status}: ${outbound.errors.join('; ')}`);
  };

  skip(ms: number): void {
    // Said first: the next process goes on from there, wherever this one ends.
    say({ skipped: ms });
    this.#clock.skip(ms);
  }

  async take(order: Order): Promise<unknown> {
    switch (order.do) {
      case 'found':
        return await this.#found();
      case 'open':
        this.#root = order.root;
        return await this.#open();
      case 'arm':
        this.interference.arm(order.armed);
        return undefined;
      case 'prepare':
        return await this.#prepare(order.operation);
      case 'run':
        return await OPERATIONS[order.operation]?.run(this, this.#prepared);
      case 'points':
        return this.interference.points;
      case 'drain':
        return await this.drain();
      case 'wait':
        return await this.#wait();
      case 'look':
        return await this.#look();
      case 'revoke':
        return await this.ok('write', 'sys/leases/revoke', { lease_id: order.lease });
      case 'report':
        return await this.#report();
      case 'probe':
        return await this.#probe();
      case 'secrets':
        return await this.#secrets();
      case 'stop':
        return await this.#assembled.stop();
    }
  }

  /** Each operation begins as the first of its kind, and without reserve where it says nothing else. */
  async #prepare(name: string): Promise<Outcome> {
    const operation = OPERATIONS[name];
    await awayFromMidnight(this);
    this.skip(AGAIN_MS + 1);
    await this.#emptyReserve();
    this.#prepared = (await operation?.prepare?.(this)) ?? {};
    if (operation?.reserve !== true) await this.#emptyReserve();
    this.interference.points.length = 0;
    return this.#prepared;
  }

  /** Time moves on only where something is in reserve: what else waits for it would go on too. */
  async #emptyReserve(): Promise<void> {
    if ((await this.#unmarked()) === 0) return;
    this.skip(KEPT_MS + 1);
    await this.services.leases.sweep();
  }

  /** Intents that nobody has queued: in use, in reserve, or not seen yet. */
  async #unmarked(): Promise<number> {
    let count = 0;
    for await (const { record } of this.table.intents()) if (!record.undoing) count++;
    return count;
  }

  async #found(): Promise<string> {
    const { rootToken } = await this.#assembled.box.initialise({ shares: 1, threshold: 1, keyfile: true });
    this.#root = Buffer.from(rootToken.bytes).toString();
    await this.#open();
    const { url, manager, kind } = this.#setting;
    await found(this, { plugin_name: PLUGINS[kind], connection_url: url, ...manager });
    return this.#root;
  }

  async #open(): Promise<void> {
    const { box } = this.#assembled;
    if (await box.unsealAutomatically()) return;
    throw new Error(`the box does not open: ${box.status().reasons.join('; ')}`);
  }

  get table(): LeaseTable {
    return new LeaseTable(this.services.barrier, this.#clock);
  }

  /** Lease times of what is queued; an intent that nobody has queued yet counts as due. */
  async #waiting(): Promise<number[]> {
    const { store } = this.services.barrier;
    const times = [...store.range('lease', { prefix: rows.QUEUED })].map(({ key }) => rows.parseQueueKey(key).nextMs);
    for (let count = await this.#unmarked(); count > 0; count--) times.push(0);
    return times;
  }

  async drain(): Promise<void> {
    const until = Date.now() + DRAIN_MS;
    const { lease } = this.services.barrier;
    let left = 0;
    for (let idle = 0; ; ) {
      const times = await this.#waiting();
      const next = Math.min(...times);
      const busy = this.interference.calls > 0 || next <= lease.nowMs();
      // A rotation that is under way has calls with short pauses between.
      idle = busy ? 0 : idle + 1;
      if (times.length === 0 && idle > 3) return;
      const isLeft = this.interference.calls === 0 && times.length > 0 && times.every((time) => time === 0);
      left = isLeft ? left + 1 : 0;
      if (left > LOOKS_MAX) {
        await this.#emptyReserve();
        left = 0;
      }
      if (times.length > 0 && idle > 3) {
        this.skip(next - lease.nowMs() + 1);
        idle = 0;
      }
      if (Date.now() > until) throw new Error(`${times.length} are still being undone or ended`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Until nothing can be done before time moves on. */
  async #look(): Promise<void> {
    const { lease } = this.services.barrier;
    while (this.interference.calls > 0 || Math.min(...(await this.#waiting())) <= lease.nowMs()) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** The same by the clock on the wall. */
  async #wait(): Promise<void> {
    const until = Date.now() + DRAIN_MS;
    while ((await this.#waiting()).length > 0) {
      if (Date.now() > until) throw new Error('something is still being undone or ended');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #report(): Promise<Report> {
    const { table } = this;
    const { lease } = this.services.barrier;
    const leases: Report['leases'][number][] = [];
    for await (const some of table.below('')) {
      for (const one of some) {
        const { id, undo, expireMs } = one.record;
        const live = !table.isQueued(one) && expireMs > lease.nowMs();
        leases.push({ id, name: String(undo['name']), live, expireWallMs: lease.wallOf(expireMs) });
      }
    }
    const intents: string[] = [];
    for await (const { record } of table.intents()) intents.push(String(record.undo['name']));
    return { leases, intents, queued: [...this.services.barrier.store.range('lease', { prefix: rows.QUEUED })].length };
  }

  /** The box's own login does its work: one is made and ended. */
  async #probe(): Promise<void> {
    const { lease } = await issue(this);
    await this.ok('write', 'sys/leases/revoke', { lease_id: lease });
  }

  async #secrets(): Promise<readonly StaticSecret[]> {
    const listed = await this.ok('list', 'db/static-roles/');
    const secrets: StaticSecret[] = [];
    for (const role of (listed.data?.['keys'] ?? []) as readonly string[]) {
      const read = (): ReturnType<WholeBox['ok']> => this.ok('read', `db/static-creds/${role}`);
      let { data } = await read();
      if (data?.['password'] === '') {
        // Nobody was answered that the role is there: its first rotation comes, or is refused and it goes.
        const rotated = await this.send('write', `db/rotate-role/${role}`);
        if (rotated.kind === 'error' && (await this.send('read', `db/static-roles/${role}`)).kind === 'error') continue;
        data = (await read()).data;
      }
      secrets.push({ username: String(data?.['username']), password: String(data?.['password']) });
    }
    return secrets;
  }
}

const setting = JSON.parse(process.argv[2] ?? '{}') as Setting;
const box = await LeaseBox.make(setting);
process.on('message', (order: Order & { readonly n: number }) => {
  box.take(order).then(
    (result) => say({ n: order.n, result: result ?? null }),
    (error: unknown) =>
      say({ n: order.n, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
