/** Thousands of leases that end within a short time, while others read. */
import type { DatabaseServer } from '../../test/databases/servers.ts';
import { privateMiB } from '../process.ts';
import type { BenchRow } from '../result.ts';
import type { LeaseBox } from './box.ts';
import { median, pause, readsP99, type Size, times } from './calls.ts';

const GROWTH_MIB = 16;

export async function expiringRows(box: LeaseBox, server: DatabaseServer, size: Size): Promise<BenchRow[]> {
  await box.role('short', size.windowS);
  const before = await readsP99(box, size.turnMs);
  await times(size.expiring, () => box.ask('GET', 'database/creds/short'));
  const names = async (): Promise<number> => {
    const [row] = await server.sql("SELECT count(*)::int AS n FROM pg_roles WHERE rolname LIKE 'v-%'");
    return Number(row?.['n']);
  };
  const memory = privateMiB(box.pid);
  let most = memory;
  const p99s: number[] = [];
  // Leases were made over some time: they end over as much.
  const until = performance.now() + (size.windowS + 300) * 1000;
  while ((await names()) > 0) {
    if (performance.now() > until) throw new Error(`${await names()} logins are still there`);
    p99s.push(await readsP99(box, Math.min(1000, size.turnMs)));
    most = Math.max(most, privateMiB(box.pid));
    await pause(10);
  }
  const what = `${size.expiring.toLocaleString('en')} leases of a minute, ending as fast as they were made, all gone`;
  return [
    {
      what: `${what}: memory that came to it`,
      unit: 'MiB',
      ours: Math.max(0.01, most - memory),
      rivals: {},
      reach: `<= ${GROWTH_MIB} MiB`,
      met: most - memory <= GROWTH_MIB,
    },
    {
      what: `${what}: reads, p99, median of seconds`,
      unit: 'ms',
      ours: median(p99s),
      rivals: { before },
      ratio: median(p99s) / before,
    },
  ];
}
