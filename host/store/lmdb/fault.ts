/** What LMDB's errors mean to whoever commits. */
import { writeSync } from 'node:fs';
import { Fault } from '../../fault.ts';

/** Errors that say the disk (or the quota) is full: nothing was committed, and later commits may succeed. */
const FULL = ['ENOSPC', 'EDQUOT'];
const FULL_NUMBERS = [28, 122];

function property(error: unknown, name: string): unknown {
  return typeof error === 'object' && error !== null ? (error as Record<string, unknown>)[name] : undefined;
}

/** lmdb-js reports the system's number or name in `code`, and the system's sentence in the message. */
export function meansFull(error: unknown): boolean {
  const code = property(error, 'code');
  if (typeof code === 'string') return FULL.includes(code);
  if (typeof code === 'number') return FULL_NUMBERS.includes(Math.abs(code));
  return /No space left on device|Disk quota exceeded/.test(String(property(error, 'message')));
}

/**
 * True if a commit failed for want of space while LMDB wrote pages that nothing refers to yet. Then it has given up the
 * transaction and is as before. Without the words of its page writer the failure may be that of its root: LMDB then
 * refuses to begin anything, and lmdb-js would wait for ever for a lock that it does not give back.
 */
export function mayGoOn(error: unknown): boolean {
  return meansFull(error) && String(property(error, 'message')).includes('Attempting to write page');
}

/** What lmdb 3.5 allots for the complaint below: malloc(100) of glibc holds 104 bytes, one of them the closing NUL. */
const COMPLAINT_LENGTH_MAX = 103;

/**
 * True if the binding overwrote memory that is not its own. When a page cannot be written, its mdb_page_flush prints six
 * numbers, two of them left-overs of the stack, into an allotment that not all of them fit; the text that it made tells
 * by its length. A failed sync, a short write and a failed write of the root do not come there.
 */
export function hasOverrun(error: unknown): boolean {
  const complaint = /Attempting to write page at position.*/.exec(String(property(error, 'message')));
  return complaint !== null && complaint[0].length > COMPLAINT_LENGTH_MAX;
}

/**
 * Ends the process with a sentence and nothing else: no handler, no destructor and no answer may run on memory that was
 * overwritten. What was acknowledged is on the disk.
 */
export function endProcess(): void {
  writeSync(
    2,
    '\nholdfast: the disk failed under a write of the store, and the LMDB binding overran its memory when it said so: ' +
      'this process ends now; it opens again from the last durable state\n',
  );
  process.kill(process.pid, 'SIGKILL');
}

/** lmdb-js rejects with "see commitError", a promise that is rejected with the cause. */
export async function causeOf(error: unknown): Promise<unknown> {
  const cause = property(error, 'commitError');
  if (!(cause instanceof Promise)) return error;
  return cause.then(
    () => error,
    (inner: unknown) => inner,
  );
}

export function fullFault(cause: unknown): Fault {
  return new Fault('store.full', 'the disk is full: nothing was written; free space and try again', { cause });
}

export function unavailableFault(cause: unknown): Fault {
  return new Fault(
    'store.unavailable',
    'the disk failed: reads go on from the last durable state, writes are refused until the appliance is restarted',
    { cause },
  );
}
