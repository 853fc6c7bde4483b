/** What the kernel says of a process (proc(5)): CPU time and memory. */
import { readdirSync, readFileSync } from 'node:fs';

/** Nanoseconds on a CPU of the threads that are alive, or undefined where the kernel does not count them. */
function scheduledNs(pid: number): number | undefined {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const times = threads.map((id) => readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'latin1').split(' ')[0]);
    return times.reduce((sum, time) => sum + Number(time), 0);
  } catch {
    // No such file in this kernel, or a thread that ended between the two calls.
    return undefined;
  }
}

/**
 * CPU seconds of a process and its threads: in nanoseconds where the kernel has them (Node's threads live as long as it
 * does), else in ticks of 10 ms.
 */
export function cpuSeconds(pid: number): number {
  const exact = scheduledNs(pid);
  if (exact !== undefined) return exact / 1e9;
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const kib = (status: string, name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
const statusOf = (pid: number): string => readFileSync(`/proc/${pid}/status`, 'latin1');

/**
 * MiB that the process has for itself (RssAnon + RssShmem, and what of it was swapped out: a machine that reclaims idle pages
 * would make it look small); the pages of mapped files are not counted.
 */
export function privateMiB(pid: number): number {
  const status = statusOf(pid);
  return (kib(status, 'RssAnon') + kib(status, 'RssShmem') + kib(status, 'VmSwap')) / 1024;
}

/** MiB of mapped file pages, shown beside. */
export const mappedMiB = (pid: number): number => kib(statusOf(pid), 'RssFile') / 1024;
