/** A peer's address as core compares it with bound networks. */

export interface PeerAddress {
  /** 4, 6, or 0 for none (a unix socket). */
  readonly family: number;
  readonly bytes: Uint8Array;
}

const NOBODY: PeerAddress = { family: 0, bytes: new Uint8Array(16) };

/** The one seen last: requests of one connection come in a row. */
let lastText: string | undefined;
let lastAddress: PeerAddress = NOBODY;

function ipv4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.map(Number);
}

function ipv6(text: string): Uint8Array | undefined {
  const halves = text.split('%')[0]?.split('::') ?? [];
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const words: number[][] = [];
  for (const half of groups) {
    const out: number[] = [];
    for (const [i, group] of half.entries()) {
      const four = i === half.length - 1 ? ipv4(group) : undefined;
      if (four !== undefined) out.push(((four[0] ?? 0) << 8) | (four[1] ?? 0), ((four[2] ?? 0) << 8) | (four[3] ?? 0));
      else if (/^[0-9a-f]{1,4}$/i.test(group)) out.push(Number.parseInt(group, 16));
      else return undefined;
    }
    words.push(out);
  }
  const [front = [], back = []] = words;
  const gap = 8 - front.length - back.length;
  if (halves.length === 1 ? gap !== 0 : gap < 1) return undefined;
  const all = [...front, ...new Array<number>(halves.length === 1 ? 0 : gap).fill(0), ...back];
  return Uint8Array.from(all.flatMap((word) => [word >>> 8, word & 0xff]));
}

/** IPv4, IPv6, and IPv4 inside IPv6 (::ffff:a.b.c.d) as the IPv4 address it is. What is no address counts as none. */
export function parsePeer(text: string | undefined): PeerAddress {
  if (text === lastText) return lastAddress;
  lastText = text;
  lastAddress = NOBODY;
  if (text === undefined) return NOBODY;
  const four = ipv4(text);
  const six = four === undefined ? ipv6(text) : undefined;
  const bytes = new Uint8Array(16);
  if (four !== undefined) {
    bytes.set(four);
    lastAddress = { family: 4, bytes };
  } else if (six !== undefined) {
    const mapped = six.subarray(0, 10).every((byte) => byte === 0) && six[10] === 0xff && six[11] === 0xff;
    bytes.set(mapped ? six.subarray(12) : six);
    lastAddress = { family: mapped ? 4 : 6, bytes };
  }
  return lastAddress;
}
