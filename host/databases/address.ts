/**
 * From a host name to addresses that may be connected to. The box resolves once, checks every answer, and connects to what
 * it checked: a name that answers differently the second time (DNS rebinding) gains nothing.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { Fault } from '../fault.ts';
import type { Deadline } from './deadline.ts';

const ADDRESS_COUNT_MAX = 8;

/** A name or an address, without brackets. */
const HOST = /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$/;

export function isHost(host: string): boolean {
  return isIP(host) !== 0 || HOST.test(host);
}

/** This machine by its own name or address: what never leaves it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/**
 * @param check  throws for an address that may not be connected to; one such among several refuses the name
 * @throws Fault `database.unreachable` the name has no address; what `check` throws
 */
export async function addressesOf(
  host: string,
  check: (address: string) => void,
  deadline: Deadline,
): Promise<readonly string[]> {
  const addresses = isIP(host) === 0 ? await resolve(host, deadline) : [host];
  for (const address of addresses) check(address);
  return addresses;
}

async function resolve(host: string, deadline: Deadline): Promise<readonly string[]> {
  const found = lookup(host, { all: true }).then(
    (answers) => answers.slice(0, ADDRESS_COUNT_MAX).map(({ address }) => address),
    () => [],
  );
  const addresses = await deadline.meet(found, () => undefined, `get an address for its name ${host}`);
  if (addresses.length === 0) {
    throw new Fault('database.unreachable', `the name ${host} of the database server has no address`);
  }
  return addresses;
}

/** Connects to the first that answers. What fails otherwise than by being away is not tried elsewhere. */
export async function firstThat<T>(addresses: readonly string[], open: (address: string) => Promise<T>): Promise<T> {
  let away: unknown;
  for (const address of addresses) {
    try {
      return await open(address);
    } catch (error) {
      if (!AWAY.has(String((error as { readonly code?: unknown } | null)?.code))) throw error;
      away = error;
    }
  }
  throw away;
}

const AWAY = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT']);
