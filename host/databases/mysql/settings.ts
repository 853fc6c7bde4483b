/**
 * A connection's settings as Vault's clients write them: `connection_url` in the form of Go's driver,
 * `{{username}}:{{password}}@tcp(127.0.0.1:3306)/`. The parts are read from the template and never put together again: a
 * value in it needs no escaping and can be no other part.
 */
import type { ConnectionSettings } from '../../ports/database.ts';
import type { ValueMap } from '../../ports/value.ts';
import { isHost, isLoopback } from '../address.ts';
import { invalid, portOf, Settings } from '../settings.ts';

export interface MysqlTarget {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly username: string;
  readonly password: string;
  /** `none`: in the clear; `unchecked`: encrypted with whoever answers. */
  readonly tls: 'none' | 'unchecked' | 'verified';
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** Compared with the certificate. */
  readonly serverName: string;
}

export interface MysqlSettings extends ConnectionSettings {
  readonly target: MysqlTarget;
}

interface Url {
  readonly host: string;
  readonly port: string;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly masked: (mark: string) => string;
}

const USERNAME = '{{username}}';
const PASSWORD = '{{password}}';
const MASK = 'xxxxx';
/** Stands in stored settings where a password stood in the URL: the password is kept beside it, and can be changed. */
const WAS_THERE = '{{password_in_url}}';
const FORM = '{{username}}:{{password}}@tcp(127.0.0.1:3306)/';
/** Of Go's driver, without a meaning here. */
const IGNORED = new Set([
  ...['allowNativePasswords', 'charset', 'collation', 'interpolateParams', 'loc', 'maxAllowedPacket'],
  ...['multiStatements', 'parseTime', 'readTimeout', 'timeout', 'writeTimeout', 'checkConnLiveness', 'clientFoundRows'],
]);
const NOT_TAKEN = {
  auth_type: 'is not taken: the box logs in by password or by certificate',
  service_account_json: 'is not taken: the box logs in by password or by certificate',
  use_private_ip: 'is not taken: name the address in connection_url',
};

export function parseMysql(map: ValueMap): MysqlSettings {
  const settings = new Settings(map);
  const text = settings.text('connection_url');
  if (text === '') throw invalid(`connection_url is missing: ${FORM}`);
  const url = readUrl(text);
  const isShown = url.password === '' || url.password === PASSWORD;
  const inUrl = !isShown && url.password !== WAS_THERE;
  const username = settings.text('username') || (url.user === USERNAME ? '' : url.user);
  const password = settings.text('password') || (inUrl ? url.password : '');
  if (url.user !== '' && url.user !== USERNAME && url.user !== username) {
    throw invalid('username and the user in connection_url are two; write {{username}} in connection_url');
  }
  if (username === '') throw invalid('username is missing');
  const ca = settings.certificates('tls_ca');
  // One text: the client's certificate and its key, as Vault has it.
  const certificate = settings.certificates('tls_certificate_key');
  const key = certificate === '' ? '' : settings.privateKey('tls_certificate_key');
  if (password === '' && certificate === '') throw invalid('password is missing');
  const serverName = settings.text('tls_server_name') || url.host;
  if (!isHost(serverName)) throw invalid('tls_server_name is no host name');
  const skips = settings.flag('tls_skip_verify');
  const tls = modeOf(url, ca !== '' || certificate !== '' || settings.text('tls_server_name') !== '', skips);
  settings.refuse(NOT_TAKEN);
  const target: MysqlTarget = {
    ...{ host: url.host, port: portOf(url.port, 3306), database: url.database, username, password },
    ...{ tls, ca, certificate, key, serverName },
  };
  const own = {
    ...settings.enginesOwn(),
    username,
    ...(ca === '' ? {} : { tls_ca: ca }),
    ...(settings.text('tls_server_name') === '' ? {} : { tls_server_name: serverName }),
    ...(skips ? { tls_skip_verify: true } : {}),
  };
  return {
    target,
    username,
    server: `${target.host}:${target.port}`,
    stored: {
      ...own,
      connection_url: isShown ? text : url.masked(WAS_THERE),
      ...(password === '' ? {} : { password }),
      ...(key === '' ? {} : { tls_certificate_key: certificate + key }),
    },
    shown: { ...own, connection_url: isShown ? text : url.masked(MASK) },
    warnings: warningsOf(target, inUrl, settings.unread()),
  };
}

function modeOf(url: Url, hasTls: boolean, skips: boolean): MysqlTarget['tls'] {
  const word = url.parameters.get('tls') ?? (hasTls ? 'true' : skips ? 'skip-verify' : 'false');
  if (word === 'preferred') {
    throw invalid('connection_url says tls=preferred, which may send everything in the clear: write tls=true');
  }
  if (word === 'false') {
    if (hasTls) throw invalid('connection_url says tls=false, but TLS settings are given; write tls=true');
    return 'none';
  }
  return skips || word === 'skip-verify' ? 'unchecked' : 'verified';
}

function warningsOf(target: MysqlTarget, inUrl: boolean, unread: readonly string[]): readonly string[] {
  const warnings: string[] = [];
  if (inUrl) {
    warnings.push('connection_url holds a password: write {{password}} there and give it as password instead');
  }
  if (target.tls === 'none' && !isLoopback(target.host)) {
    warnings.push(
      'no TLS: whoever is on the way to the server reads and changes what the box says to it; write tls=true',
    );
  }
  if (target.tls === 'unchecked') {
    warnings.push('tls_skip_verify: the box does not check whom it talks to; give tls_ca instead');
  }
  if (unread.length > 0) warnings.push(`ignored, since this database does not know them: ${unread.join(', ')}`);
  return warnings;
}

/** `user:password@tcp(host:port)/database?parameters`: the password ends at the last @ before the last /. */
function readUrl(text: string): Url {
  const slash = text.lastIndexOf('/');
  if (slash < 0) throw invalid(`connection_url has no / before the database: ${FORM}`);
  const at = text.lastIndexOf('@', slash);
  const login = at < 0 ? '' : text.slice(0, at);
  const colon = login.indexOf(':');
  const where = /^(?:([a-z]+)(?:\((?:(\[[^\]]*\]|[^:[\]()]*)(?::([^()]*))?)\))?)?$/.exec(text.slice(at + 1, slash));
  if (where === null) throw invalid(`connection_url has no tcp(host:port) between @ and /: ${FORM}`);
  const [, network = '', host = '127.0.0.1', port = ''] = where;
  if (network !== '' && network !== 'tcp') {
    throw invalid(
      'connection_url names another network than tcp; only hosts are connected to: tcp(127.0.0.1:3306) for a server on this box',
    );
  }
  const plain = host.replace(/^\[|\]$/g, '');
  if (!isHost(plain)) throw invalid('connection_url has a host that is neither a name nor an address');
  const [database = '', query = ''] = splitOnce(text.slice(slash + 1), '?');
  const parameters = new Map<string, string>();
  for (const pair of query.split('&').filter((one) => one !== '')) {
    const [name, value] = splitOnce(pair, '=');
    if (parameters.has(name)) throw invalid('connection_url has a parameter twice');
    if (name !== 'tls' && !IGNORED.has(name)) {
      throw invalid('connection_url has a parameter that is not taken; tls, charset, parseTime and timeouts are');
    }
    parameters.set(name, value);
  }
  const user = colon < 0 ? login : login.slice(0, colon);
  return {
    ...{ host: plain, port, user, database, parameters },
    password: colon < 0 ? '' : login.slice(colon + 1),
    masked: (mark) => `${user}${colon < 0 ? '' : `:${mark}`}${at < 0 ? '' : '@'}${text.slice(at + 1)}`,
  };
}

function splitOnce(text: string, by: string): readonly [string, string] {
  const at = text.indexOf(by);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
