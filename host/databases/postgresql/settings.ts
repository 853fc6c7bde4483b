/**
 * A connection's settings as Vault's clients write them: `connection_url` in the URL or the key=value form, where user and
 * password may be `{{username}}` and `{{password}}`, which come from settings of their own. The parts are read from the
 * template and never put together again: a value in it needs no escaping and can be no other part.
 */
import type { ConnectionSettings } from '../../ports/database.ts';
import type { ValueMap } from '../../ports/value.ts';
import { isHost, isLoopback } from '../address.ts';
import { invalid, portOf, Settings, unescaped } from '../settings.ts';

export type TlsMode = 'disable' | 'require' | 'verify-ca' | 'verify-full';

/** What a connection is made with. */
export interface PostgresqlTarget {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly username: string;
  readonly password: string;
  readonly tls: TlsMode;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** Compared with the certificate under verify-full. */
  readonly serverName: string;
  /** Passwords of logins are sent as verifiers. */
  readonly scram: boolean;
}

export interface PostgresqlSettings extends ConnectionSettings {
  readonly target: PostgresqlTarget;
}

interface Url {
  host: string;
  port: string;
  user: string;
  password: string;
  database: string;
  readonly parameters: Map<string, string>;
  /** The template with a password that stood in it replaced by `mark`. */
  readonly masked: (mark: string) => string;
}

const USERNAME = '{{username}}';
const PASSWORD = '{{password}}';
/** Stands in stored settings where a password stood in the URL: the password is kept beside it, and can be changed. */
const WAS_THERE = '{{password_in_url}}';
const MASK = 'xxxxx';
const MODES: readonly string[] = ['disable', 'require', 'verify-ca', 'verify-full'];
const IGNORED = new Set(['application_name', 'fallback_application_name', 'connect_timeout', 'binary_parameters']);
const NOT_TAKEN = {
  auth_type: 'is not taken: the box logs in by password or by certificate',
  service_account_json: 'is not taken: the box logs in by password or by certificate',
  use_private_ip: 'is not taken: name the address in connection_url',
  self_managed: 'is not taken: give the box a login of its own',
};

export function parsePostgresql(map: ValueMap): PostgresqlSettings {
  const settings = new Settings(map);
  const text = settings.text('connection_url');
  if (text === '')
    throw invalid('connection_url is missing: postgresql://{{username}}:{{password}}@host:5432/database');
  const url = /^postgres(ql)?:\/\//.test(text) ? readUrl(text) : readDsn(text);
  const inUrl = url.password !== '' && url.password !== PASSWORD && url.password !== WAS_THERE;
  const isShown = url.password === '' || url.password === PASSWORD;
  const username = settings.text('username') || (url.user === USERNAME ? '' : url.user);
  const password = settings.text('password') || (inUrl ? url.password : '');
  if (url.user !== '' && url.user !== USERNAME && url.user !== username) {
    throw invalid('username and the user in connection_url are two; write {{username}} in connection_url');
  }
  if (username === '') throw invalid('username is missing');
  const ca = settings.certificates('tls_ca');
  const certificate = settings.certificates('tls_certificate');
  const key = settings.privateKey('private_key', 'tls_private_key');
  if ((certificate === '') !== (key === '')) throw invalid('tls_certificate and private_key go together');
  if (password === '' && certificate === '') throw invalid('password is missing');
  const authentication = settings.text('password_authentication') || 'scram-sha-256';
  if (authentication !== 'scram-sha-256' && authentication !== 'password') {
    throw invalid('password_authentication must be scram-sha-256 (the default) or password');
  }
  const tls = modeOf(url, ca);
  if (tls === 'disable' && (ca !== '' || certificate !== '')) {
    throw invalid('connection_url says sslmode=disable, but TLS certificates are given; write sslmode=verify-full');
  }
  if (tls === 'verify-ca' && ca === '') throw invalid('sslmode=verify-ca needs tls_ca');
  const serverName = settings.text('tls_server_name') || url.host;
  if (!isHost(serverName)) throw invalid('tls_server_name is no host name');
  settings.refuse(NOT_TAKEN);
  const target: PostgresqlTarget = {
    ...{ host: url.host, port: portOf(url.port, 5432), database: url.database || username, username, password },
    ...{ tls, ca, certificate, key, serverName, scram: authentication === 'scram-sha-256' },
  };
  const own = {
    ...settings.enginesOwn(),
    username,
    ...(ca === '' ? {} : { tls_ca: ca }),
    ...(certificate === '' ? {} : { tls_certificate: certificate }),
    ...(settings.text('tls_server_name') === '' ? {} : { tls_server_name: serverName }),
    password_authentication: authentication,
  };
  return {
    target,
    username,
    server: `${target.host}:${target.port}`,
    stored: {
      ...own,
      connection_url: isShown ? text : url.masked(WAS_THERE),
      ...(password === '' ? {} : { password }),
      ...(key === '' ? {} : { private_key: key }),
    },
    shown: { ...own, connection_url: isShown ? text : url.masked(MASK) },
    warnings: warningsOf(target, inUrl, settings.unread()),
  };
}

function warningsOf(target: PostgresqlTarget, inUrl: boolean, unread: readonly string[]): readonly string[] {
  const warnings: string[] = [];
  if (inUrl) {
    warnings.push('connection_url holds a password: write {{password}} there and give it as password instead');
  }
  if (target.tls === 'disable' && !isLoopback(target.host)) {
    warnings.push('sslmode=disable: whoever is on the way to the server reads and changes what the box says to it');
  }
  if (target.tls === 'require') {
    warnings.push('sslmode=require does not check whom the box talks to: give tls_ca and write sslmode=verify-full');
  }
  if (unread.length > 0) warnings.push(`ignored, since this database does not know them: ${unread.join(', ')}`);
  return warnings;
}

function modeOf(url: Url, ca: string): TlsMode {
  const mode = url.parameters.get('sslmode') ?? 'verify-full';
  if (!MODES.includes(mode)) {
    throw invalid(
      'sslmode must be verify-full, verify-ca, require or disable: others may send the password in the clear',
    );
  }
  // As libpq has it: with an authority to check against, `require` checks.
  return mode === 'require' && ca !== '' ? 'verify-ca' : (mode as TlsMode);
}

function readUrl(text: string): Url {
  const rest = text.slice(text.indexOf('://') + 3);
  const authorityEnd = rest.search(/[/?#]/);
  const authority = authorityEnd < 0 ? rest : rest.slice(0, authorityEnd);
  const behind = authorityEnd < 0 ? '' : rest.slice(authorityEnd);
  const match = /^(?:\/([^/?#]*))?(?:\?([^#]*))?$/.exec(behind);
  if (match === null)
    throw invalid(
      'connection_url cannot be read behind its host: /database?sslmode=verify-full is expected; a / ? # or @ in a password is written %2F %3F %23 %40',
    );
  const at = authority.lastIndexOf('@');
  const login = at < 0 ? '' : authority.slice(0, at);
  const colon = login.indexOf(':');
  const [, host = '', port = ''] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority.slice(at + 1)) ?? [];
  const plain = (part: string, name: string): string =>
    [USERNAME, PASSWORD, WAS_THERE].includes(part) ? part : unescaped(part, name);
  const parameters = new Map<string, string>();
  for (const pair of (match[2] ?? '').split('&').filter((one) => one !== '')) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw invalid('connection_url has a parameter without a value');
    take(parameters, unescaped(pair.slice(0, equals), 'parameter'), unescaped(pair.slice(equals + 1), 'parameter'));
  }
  const head = text.slice(0, text.indexOf('://') + 3);
  const user = colon < 0 ? login : login.slice(0, colon);
  return checked({
    host: host.replace(/^\[|\]$/g, ''),
    port,
    user: plain(user, 'user'),
    password: colon < 0 ? '' : plain(login.slice(colon + 1), 'password'),
    database: unescaped(match[1] ?? '', 'database'),
    parameters,
    masked: (mark) =>
      `${head}${user}${colon < 0 ? '' : `:${mark}`}${at < 0 ? '' : '@'}${authority.slice(at + 1)}${behind}`,
  });
}

/** `host=db port=5432 user='a b'`: a value in single quotes may hold blanks; a backslash takes the next character as it is. */
function readDsn(text: string): Url {
  const pair = /\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\[\s\S])*)'|((?:[^\s'\\]|\\[\s\S])*))(?=\s|$)/y;
  const parameters = new Map<string, string>();
  const pieces: { readonly name: string; readonly raw: string }[] = [];
  const end = text.trimEnd().length;
  while (pair.lastIndex < end) {
    const match = pair.exec(text);
    if (match === null) {
      throw invalid(
        'connection_url is neither postgresql://… nor a list of name=value; a value with blanks stands in single quotes',
      );
    }
    const name = match[1] ?? '';
    const value = (match[2] ?? match[3] ?? '').replace(/\\([\s\S])/g, '$1');
    take(parameters, name, value);
    pieces.push({ name, raw: match[0] });
  }
  const pull = (name: string): string => {
    const value = parameters.get(name) ?? '';
    parameters.delete(name);
    return value;
  };
  return checked({
    ...{ host: pull('host'), port: pull('port'), user: pull('user'), password: pull('password') },
    database: pull('dbname'),
    parameters,
    masked: (mark) =>
      pieces
        .map(({ name, raw }) => (name === 'password' ? ` password=${mark}` : raw))
        .join('')
        .trim(),
  });
}

function take(parameters: Map<string, string>, name: string, value: string): void {
  if (parameters.has(name)) throw invalid('connection_url has a parameter twice');
  parameters.set(name, value);
}

function checked(url: Url): Url {
  if (url.host === '') throw invalid('connection_url has no host');
  if (url.host.startsWith('/') || url.host.startsWith('%2F')) {
    throw invalid(
      'connection_url names a socket file; only hosts are connected to: 127.0.0.1 for a server on this box',
    );
  }
  if (url.host.includes(',')) throw invalid('connection_url names several hosts; name one');
  if (!isHost(url.host)) throw invalid('connection_url has a host that is neither a name nor an address');
  if (url.database.includes('\0') || url.user.includes('\0') || url.password.includes('\0')) {
    throw invalid('connection_url holds a character that no text may');
  }
  for (const name of url.parameters.keys()) {
    if (name === 'sslmode' || IGNORED.has(name)) continue;
    if (/^ssl(rootcert|cert|key)$/.test(name)) {
      throw invalid(
        `connection_url names a file by ${name}; give the certificates themselves as tls_ca, tls_certificate and private_key`,
      );
    }
    throw invalid(
      'connection_url has a parameter other than sslmode, application_name and connect_timeout, which is not taken',
    );
  }
  return url;
}
