/** A fake database server and its adapter: what tests of the engine talk to where a real one would hide the case. */
import { Fault } from '../../../../host/fault.ts';
import type {
  ConnectionSettings,
  Database,
  DatabaseAdapter,
  LoginCredential,
  Outcome,
} from '../../../../host/ports/database.ts';
import type { ValueMap } from '../../../../host/ports/value.ts';

export type Call = keyof Database;

export interface FakeLogin {
  password: string;
  publicKey: string;
  commonName: string;
  expirationMs: number;
}

export class FakeServer {
  readonly logins = new Map<string, FakeLogin>();
  /** Every call, with the login that made it. */
  readonly calls: { readonly call: Call; readonly as: string; readonly names: readonly string[] }[] = [];
  /** Before a call does its work: it may throw, or never settle. */
  before: (call: Call, names: readonly string[], as: string) => void | Promise<void> = () => {};
  /** After its work, before its answer. */
  after: (call: Call, names: readonly string[], as: string) => void | Promise<void> = () => {};
  opened = 0;
  closed = 0;
  lastStatements: readonly string[] = [];

  constructor() {
    this.add('root', 'root-password');
  }

  add(name: string, password: string): void {
    this.logins.set(name, { password, publicKey: '', commonName: '', expirationMs: 0 });
  }

  count(call: Call): number {
    return this.calls.filter((one) => one.call === call).length;
  }
}

const secretOf = (credential: LoginCredential): Pick<FakeLogin, 'password' | 'publicKey' | 'commonName'> => ({
  password: credential.type === 'password' ? Buffer.from(credential.password.bytes).toString() : '',
  publicKey: credential.type === 'rsa_private_key' ? credential.publicKeyPem : '',
  commonName: credential.type === 'client_certificate' ? credential.commonName : '',
});

class FakeDatabase implements Database {
  readonly #server: FakeServer;
  readonly #settings: ValueMap;

  constructor(server: FakeServer, settings: ValueMap) {
    this.#server = server;
    this.#settings = settings;
    server.opened++;
  }

  async #call<T>(call: Call, names: readonly string[], work: () => T, checksLogin = true): Promise<T> {
    const as = String(this.#settings['username']);
    this.#server.calls.push({ call, as, names });
    await this.#server.before(call, names, as);
    if (checksLogin && this.#server.logins.get(as)?.password !== this.#settings['password'])
      throw new Fault('database.refused', `password authentication failed for user "${as}"`);
    const result = work();
    await this.#server.after(call, names, as);
    return result;
  }

  verify = () =>
    this.#call('verify', [], () => (this.#settings['username'] === 'root' ? [] : ['the login may too much']));
  create: Database['create'] = (login, statements) =>
    this.#call('create', [login.name], () => {
      this.#server.lastStatements = statements;
      if (this.#server.logins.has(login.name)) throw new Fault('database.exists', 'the login is there already');
      this.#server.logins.set(login.name, { ...secretOf(login.credential), expirationMs: login.expirationMs });
    });
  renew: Database['renew'] = (name, expirationMs, statements) =>
    this.#call('renew', [name], () => {
      this.#server.lastStatements = statements;
      const login = this.#server.logins.get(name);
      if (login === undefined) throw new Fault('database.absent', 'there is no such login');
      login.expirationMs = expirationMs;
    });
  drop: Database['drop'] = (logins) =>
    this.#call(
      'drop',
      logins.map(({ name }) => name),
      () =>
        logins.map(({ name, statements }): Outcome => {
          this.#server.lastStatements = statements;
          this.#server.logins.delete(name);
          return { done: true };
        }),
    );
  present: Database['present'] = (names) =>
    this.#call('present', names, () => new Set(names.filter((name) => this.#server.logins.has(name))));
  list: Database['list'] = (prefix) =>
    this.#call('list', [prefix], () => [...this.#server.logins.keys()].filter((name) => name.startsWith(prefix)));
  change: Database['change'] = (name, credential, statements) =>
    this.#call('change', [name], () => {
      this.#server.lastStatements = statements;
      const login = this.#server.logins.get(name);
      if (login === undefined) throw new Fault('database.absent', `there is no login ${name}`);
      Object.assign(login, secretOf(credential));
    });
  letsIn: Database['letsIn'] = (name, password) =>
    this.#call(
      'letsIn',
      [name],
      () => this.#server.logins.get(name)?.password === Buffer.from(password.bytes).toString(),
      false,
    );
  async close(): Promise<void> {
    this.#server.closed++;
  }
}

function parse(settings: ValueMap): ConnectionSettings {
  const { username, password, connection_url: url } = settings;
  if (typeof username !== 'string' || username === '') throw new Fault('input.invalid', 'username is missing');
  return {
    stored: { connection_url: url ?? '', username, password: password ?? '' },
    shown: { connection_url: url ?? '', username },
    username,
    server: String(url).replace(/^.*@/, ''),
    warnings: String(url).includes('secret@') ? ['the URL holds a password'] : [],
  };
}

export const fakeAdapter = (server: FakeServer): DatabaseAdapter => ({
  plugin: 'fake-database-plugin',
  aliases: ['fake'],
  credentialTypes: ['password', 'rsa_private_key', 'client_certificate'],
  names: {
    lengthMax: 63,
    defaultTemplate: 'v-{{.BoxId}}-{{.DisplayName | truncate 8}}-{{.RoleName | truncate 8}}-{{random 20}}',
  },
  parse,
  check(statements) {
    if (statements.some((one) => one.includes('{{nonsense}}')))
      throw new Fault('input.invalid', 'a statement has the unknown placeholder {{nonsense}}');
  },
  open(settings, limits) {
    if (String(settings.stored['connection_url']).includes('169.254')) limits.check('169.254.169.254');
    return new FakeDatabase(server, settings.stored);
  },
});
