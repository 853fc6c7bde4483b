/**
 * Which server a command talks to, and with which token. Address, certificate authority and token of a box lie in its
 * configuration folder and travel together: a token found in a folder goes only to the address found in that folder.
 */
import { join } from 'node:path';
import type { Parsed } from './arguments.ts';
import { type Environment, LocalError } from './environment.ts';
import { readFileOf } from './input.ts';

export interface ServerAccess {
  /** `https://HOST:PORT`, `http://HOST:PORT` or `unix:PATH`. */
  readonly address: string;
  readonly ca: Uint8Array | undefined;
  readonly token: string | undefined;
}

const TOKEN_SIZE_MAX = 8192;

export function configFolder(environment: Environment): string {
  const { variables, home } = environment;
  if (variables['HOLDFAST_CONFIG']) return variables['HOLDFAST_CONFIG'];
  return join(variables['XDG_CONFIG_HOME'] || join(home, '.config'), 'holdfast');
}

const textOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8').trim();

/** Canonical form of an address, to compare two. @throws LocalError what is no address */
export function parseAddress(text: string): string {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length).replace(/^\/\//, '');
    if (!path.startsWith('/')) throw new LocalError('unix: needs the absolute path of a socket');
    return `unix:${path}`;
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new LocalError(`${JSON.stringify(text)} is no address: it should look like https://127.0.0.1:8200`);
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new LocalError('an address begins with https://, http:// or unix:');
  if (url.username !== '' || url.password !== '') throw new LocalError('an address holds no user and no password');
  return url.origin;
}

/** A token in a file, without the line's end. @throws LocalError what cannot be a token; the text never shows it */
function checkToken(token: string | undefined, where: string): string | undefined {
  if (token === undefined || token === '') return undefined;
  if (token.length > TOKEN_SIZE_MAX || !/^[\x21-\x7e]+$/.test(token))
    throw new LocalError(`what ${where} holds is no token`);
  return token;
}

interface SavedLogin {
  readonly address: string;
  readonly token: string;
}

const loginFile = (folder: string): string => join(folder, 'login.json');

function savedLogin(environment: Environment, folder: string): SavedLogin | undefined {
  const text = textOf(environment.readFileIfThere(loginFile(folder)));
  if (text === undefined) return undefined;
  try {
    const { address, token } = JSON.parse(text) as Partial<SavedLogin>;
    return typeof address === 'string' && typeof token === 'string' ? { address, token } : undefined;
  } catch {
    return undefined;
  }
}

export function saveLogin(environment: Environment, address: string, token: string): string {
  const file = loginFile(configFolder(environment));
  environment.writePrivateFile(file, `${JSON.stringify({ address, token })}\n`);
  return file;
}

/** The flag, else the first of the variables that is set. */
export function setting(environment: Environment, parsed: Parsed, flag: string, name: string): string | undefined {
  const { variables } = environment;
  return parsed.text(flag) ?? (variables[`HOLDFAST_${name}`] || variables[`VAULT_${name}`] || undefined);
}

/** In the configuration folder; whoever may connect to it is this user, or root (host/api/control.ts). */
export const CONTROL_SOCKET = 'control.sock';

export function findControl(environment: Environment): ServerAccess {
  return { address: `unix:${join(configFolder(environment), CONTROL_SOCKET)}`, ca: undefined, token: undefined };
}

export function findServer(environment: Environment, parsed: Parsed): ServerAccess {
  const { variables } = environment;
  const folder = configFolder(environment);
  // The server writes down where it listens, beside its certificate authority and root token.
  const own = textOf(environment.readFileIfThere(join(folder, 'address')));
  const named = setting(environment, parsed, 'address', 'ADDR');
  const address = parseAddress(named ?? own ?? 'https://127.0.0.1:8200');
  const isOwn = own !== undefined && parseAddress(own) === address;
  const caFile = setting(environment, parsed, 'ca-cert', 'CACERT');
  const ca =
    caFile === undefined
      ? isOwn
        ? environment.readFileIfThere(join(folder, 'ca.pem'))
        : undefined
      : readFileOf(environment, caFile, '-ca-cert');
  const stated = checkToken(variables['HOLDFAST_TOKEN'] || variables['VAULT_TOKEN'], 'HOLDFAST_TOKEN or VAULT_TOKEN');
  if (stated !== undefined) return { address, ca, token: stated };
  const login = savedLogin(environment, folder);
  if (login !== undefined && login.address === address)
    return { address, ca, token: checkToken(login.token, 'the saved login') };
  const root = isOwn ? textOf(environment.readFileIfThere(join(folder, 'root-token'))) : undefined;
  return { address, ca, token: checkToken(root, 'the root token file') };
}
