/** What the kernel says of a process (proc(5)): CPU time and memory. */
import { readFileSync } from 'node:fs';

/** User and system CPU seconds of a process and its threads, in ticks of 10 ms. */
export function cpuSeconds(pid: number): number {
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
