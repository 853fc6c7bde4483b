/**
 * Which addresses the box itself may connect to on a caller's word. Asked with the address that will be connected to, after
 * name resolution, so that a name cannot point elsewhere in between. Pure; everyone in host may import it.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';
import { Fault } from './fault.ts';

/** What no configuration allows: link-local, metadata and host services of clouds, multicast, broadcast. */
const NEVER = [
  '169.254.0.0/16',
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
  '224.0.0.0/4',
  '255.255.255.255/32',
  'fe80::/10',
  'ff00::/8',
  'fd00:ec2::/32',
  'fd20:ce::254/128',
] as const;
/** Prefixes of IPv6 whose last 32 bits are an IPv4 address: mapped, compatible, and the translations of RFC 6052, 7915, 8215. */
const CARRIERS = ['::ffff:0:0/96', '::/96', '64:ff9b::/96', '::ffff:0:0:0/96', '64:ff9b:1::/48'] as const;
/** The IPv4 address of a router stands behind the first 16 bits (RFC 3056). */
const ROUTED = '2002::/16';

/** `10.0.0.0/8`, `fd00::/8`; an address alone is itself. @returns undefined if it is none */
export function parseNetwork(text: string): string | undefined {
  const [address = '', bits, ...rest] = text.split('/');
  const kind = isIP(address);
  if (kind === 0 || rest.length > 0 || address.includes('%')) return undefined;
  const most = kind === 4 ? 32 : 128;
  if (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > most)) return undefined;
  return `${address}/${bits ?? most}`;
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    list.addSubnet(address, Number(bits), isIPv4(address) ? 'ipv4' : 'ipv6');
  }
  return list;
}

/** The 16 bytes of an IPv6 address, by its text. */
function bytesOf(address: string): Buffer {
  const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex = (high: string | undefined, low: string | undefined): string =>
    (Number(high) * 256 + Number(low)).toString(16);
  const text = tail === null ? address : `${tail[1]}${hex(tail[2], tail[3])}:${hex(tail[4], tail[5])}`;
  const [head = '', rest] = text.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const before = groups(head);
  const after = groups(rest ?? '');
  const zeros = Array<string>(rest === undefined ? 0 : Math.max(0, 8 - before.length - after.length)).fill('0');
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

const CARRIER = listOf(CARRIERS);
const ROUTER = listOf([ROUTED]);
const FORBIDDEN = listOf(NEVER);

/** The IPv4 address inside an IPv6 one that carries one; else the address. `::` and `::1` carry none. */
function plainAddress(address: string): string {
  if (isIPv4(address)) return address;
  if (ROUTER.check(address, 'ipv6')) return bytesOf(address).subarray(2, 6).join('.');
  if (!CARRIER.check(address, 'ipv6')) return address;
  const last = bytesOf(address).subarray(12);
  return last.readUInt32BE() <= 1 ? address : last.join('.');
}

/**
 * @param networks  allowed ones, as `parseNetwork` gives them
 * @returns a check of one address. It throws Fault `input.invalid`: link-local, metadata, multicast, or outside of them
 */
export function networkCheck(networks: readonly string[]): (address: string) => void {
  const allowed = listOf(networks);
  return (given) => {
    // A zone (fe80::1%eth0) belongs to link-local addresses alone.
    const address = plainAddress(given.replace(/%.*$/, ''));
    const kind = isIP(address);
    if (kind === 0) throw new Fault('input.invalid', 'what is to be connected to is no IP address');
    const family = kind === 4 ? 'ipv4' : 'ipv6';
    if (FORBIDDEN.check(address, family)) {
      throw new Fault(
        'input.invalid',
        `the address ${address} is link-local, multicast or of a metadata service: the box connects to none of these`,
      );
    }
    if (!allowed.check(address, family)) {
      throw new Fault(
        'input.invalid',
        `the address ${address} lies outside the networks that databases.networks allows`,
      );
    }
  };
}
