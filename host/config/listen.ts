/** Where the appliance listens: `127.0.0.1:8200`, `[::1]:8200`, `localhost:8200`, `unix:/run/holdfast.sock`. */
import { isIP } from 'node:net';

export type Listen =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** Linux's limit for the name of a socket, without its closing zero. */
const UNIX_PATH_SIZE_MAX = 107;

/** @returns undefined for what is no address to listen at; names other than localhost are none: they may resolve to anything */
export function parseListen(text: string): Listen | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    const good = path.startsWith('/') && !path.includes('\0') && Buffer.byteLength(path) <= UNIX_PATH_SIZE_MAX;
    return good ? { kind: 'unix', path } : undefined;
  }
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (parts === null) return undefined;
  const [, v6, other, digits] = parts;
  const port = Number(digits);
  if (port > 65_535) return undefined;
  if (v6 !== undefined) return isIP(v6) === 6 ? { kind: 'tcp', host: v6, port } : undefined;
  if (other === 'localhost' || isIP(other ?? '') === 4) return { kind: 'tcp', host: other ?? '', port };
  return undefined;
}

/** True if only this machine reaches it. */
export function isLocal(listen: Listen): boolean {
  return (
    listen.kind === 'unix' || listen.host === 'localhost' || listen.host === '::1' || listen.host.startsWith('127.')
  );
}

/** As a URL's authority, or `unix:PATH`. */
export function formatListen(listen: Listen): string {
  if (listen.kind === 'unix') return `unix:${listen.path}`;
  return `${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port}`;
}
