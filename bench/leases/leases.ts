/**
 * How many logins a second are made and ended, beside the bare driver doing the same statements on connections that are open;
 * and what the box's other work feels of it.
 *
 * Expected: the server decides. The box adds one commit (the lease, with the intent of the next login), two audit leaves and a
 * password's verifier to each login: three syncs in a row that one caller waits for, beside the server's one. Sixteen in flight
 * wait for each other's and share them. So with one in flight the same driver stands beside it that syncs as often and does
 * nothing else. Ended are many at once: one call drops up to a hundred, a commit queues or
 * deletes some fifty.
 *
 * Issuing is compared like for like: where the box sends a verifier, the driver makes and sends one too. Both sides run warm
 * before the first round. A round is one short turn of each, next to each other in time, and the ratio is the median of the
 * rounds' ratios: what else the machine does meets both turns of a round. The columns are medians of each side over all
 * rounds, so their quotient may differ a little from the ratio. What a turn made is dropped before the next: servers, MariaDB
 * above all, take longer for a login the more there are.
 */
import { NetworkProxy } from '../../test/databases/proxy.ts';
import { startServer } from '../../test/databases/servers.ts';
import { Scratch } from '../box.ts';
import { fill } from '../http/target.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';
import { IN_FLIGHT_MAX, type LeaseBox, leaseBox, prepared } from './box.ts';
import { median, rangeOf, ratios, readsP99, SECRETS, type Size } from './calls.ts';
import { expiringRows } from './expiring.ts';
import { issueRows } from './issuing.ts';

const P99_REACH = 1.1;

const FULL: Size = {
  ...{ warmMs: 8000, rounds: 9, turnMs: 1500, revoked: 2500 },
  ...{ expiring: 10_000, windowS: 60, stepS: 5, spareS: 15 },
};
const SMALL: Size = {
  ...{ warmMs: 300, rounds: 1, turnMs: 300, revoked: 40 },
  ...{ expiring: 20, windowS: 2, stepS: 1, spareS: 4 },
};

/** Reads while one database takes packets and never answers, and callers wait for it; in turns with a quiet box. */
async function halfOpen(box: LeaseBox, proxy: NetworkProxy, { rounds, turnMs }: Size): Promise<BenchRow> {
  const quiet: number[] = [];
  const beside: number[] = [];
  for (let round = 0; round < 2 * rounds; round++) {
    quiet.push(await readsP99(box, turnMs));
    proxy.hold();
    const waiting = Array.from({ length: 8 }, () => box.ask('GET', 'database/creds/issued').catch(() => undefined));
    beside.push(await readsP99(box, turnMs));
    proxy.resume();
    await Promise.all(waiting);
  }
  const byRound = ratios(beside, quiet);
  const ratio = median(byRound);
  return {
    what: 'reads, p99, while a database is half open and 8 callers wait for it',
    unit: 'ms',
    ours: median(beside),
    rivals: { 'the same box with nobody waiting': median(quiet) },
    ratio,
    reach: `<= ${P99_REACH}x the quiet box`,
    met: ratio <= P99_REACH,
    note: rangeOf(byRound),
  };
}

export async function run({ small, program, onProgress }: BenchOptions): Promise<BenchResult> {
  const size = small ? SMALL : FULL;
  const rows: BenchRow[] = [];
  for (const kind of ['postgresql', 'mariadb'] as const) {
    const scratch = new Scratch();
    const server = await startServer(kind, { durable: true });
    const proxy = await NetworkProxy.before(server);
    let box: LeaseBox | undefined;
    try {
      await prepared(server);
      box = await leaseBox(scratch, server, program);
      const { target, token = '' } = box;
      await fill({ target, token, connections: IN_FLIGHT_MAX, warmupMs: 0, durationMs: 0 }, 'secret', SECRETS);
      onProgress?.(`${kind}: issuing and revoking`);
      const issued = await issueRows(kind, server, box, size);
      rows.push(...issued.rows);
      if (kind !== 'postgresql') continue;
      onProgress?.(`${kind}: ${size.expiring} leases that end`);
      rows.push(...(await expiringRows(box, server, size, issued.perSecond)));
      onProgress?.(`${kind}: half open`);
      await box.ask('POST', 'database/config/main', { connection_url: server.url(proxy.port) });
      rows.push(await halfOpen(box, proxy, size));
    } finally {
      await box?.stop();
      await proxy.close();
      await server.close();
      scratch.end();
    }
  }
  return benchResult('leases', rows);
}
