/**
 * A database server in which the box makes, changes and drops logins. Contract: test/contract/database.ts, run against
 * every adapter. Shaped for servers that speak SQL (PostgreSQL, MariaDB) and for such that do not (Redis, a broker).
 *
 * Every call touches the server, has a deadline, and never blocks another backend's calls. Names, passwords and other
 * values are quoted by the driver's or the server's own means. No message of the server leaves without the secrets that
 * were sent to it cut out.
 */
import type { Secret } from '../secret.ts';
import type { ValueMap } from './value.ts';

/** How a login proves itself. What a server does not take, its adapter does not list. */
export type CredentialType = 'password' | 'rsa_private_key' | 'client_certificate';

export type LoginCredential =
  | { readonly type: 'password'; readonly password: Secret }
  /** PEM, SubjectPublicKeyInfo. */
  | { readonly type: 'rsa_private_key'; readonly publicKeyPem: string }
  /**
   * A certificate whose subject is `CN=<commonName>` and nothing else. Where the server finds the login by it
   * (PostgreSQL), it is the login's name.
   */
  | { readonly type: 'client_certificate'; readonly commonName: string };

/**
 * Statements of a role, each a template over `{{name}}` (`{{username}}` is the same), `{{password}}`, `{{expiration}}`,
 * `{{public_key}}`, `{{subject}}`; none: the server's default. Values are quoted for the place where they stand.
 */
export type Statements = readonly string[];

/** What statements are for: it decides which placeholders have a value. */
export type StatementsUse = 'create' | 'renew' | 'drop' | 'change';

export interface NewLogin {
  readonly name: string;
  readonly credential: LoginCredential;
  /** Wall time, ms since 1970, at which the server itself may end the login: the second line. */
  readonly expirationMs: number;
}

export interface Existing {
  readonly name: string;
  /** Of the role that it was made by; none: the server's default, which drops what is hard to drop. */
  readonly statements: Statements;
}

/** What became of one of several logins. `fault`: its sentence, without any secret. */
export type Outcome = { readonly done: true } | { readonly done: false; readonly fault: string };

/**
 * One configured server: connections are made when they are needed, at most so many, and dropped when idle.
 *
 * Faults of every call: `database.unreachable` (no route, refused TLS, deadline; worth trying again), `database.refused`
 * (wrong password or a statement that the server does not take; the server's message minus every secret).
 */
export interface Database {
  /** Connects and asks for what the box's own login may do. @returns sentences to warn the operator with */
  verify(timeoutMs: number): Promise<readonly string[]>;
  /**
   * Makes a login, all statements or none where the server can.
   *
   * @param timeoutMs  the server gives the statements up by itself before that (a statement timeout below it)
   * @throws Fault `database.exists` a login of that name is there already: it was not touched; `database.refused` also
   *         where the statements made no login of this name, since nobody would find it again
   */
  create(login: NewLogin, statements: Statements, timeoutMs: number): Promise<void>;
  /**
   * Begins what a credential needs before the server hears of it (a password's hash), so that `create` and `change` wait for
   * less: called as soon as the credential is there. Optional; absent where nothing needs to be done.
   */
  prepare?(credential: LoginCredential): void;
  /** Moves the server's own end of a login. @throws Fault `database.absent` there is no such login */
  renew(name: string, expirationMs: number, statements: Statements, timeoutMs: number): Promise<void>;
  /**
   * Drops logins, what they own and their sessions. Those of one call may share a transaction; one that fails does not
   * keep the others. A login that is not there is done.
   *
   * @returns an outcome for each, in order
   */
  drop(logins: readonly Existing[], timeoutMs: number): Promise<readonly Outcome[]>;
  /** Which of these are in the server's catalogue now. Names, at most 1,000. */
  present(names: readonly string[], timeoutMs: number): Promise<ReadonlySet<string>>;
  /**
   * Names in the catalogue that begin with a prefix of at least 2 characters, in order of their bytes: for reconciling and
   * for tests. More than 100,000 are `database.refused`.
   */
  list(prefix: string, timeoutMs: number): Promise<readonly string[]>;
  /** Gives a login another credential: static roles and the box's own login. @throws Fault `database.absent` */
  change(name: string, credential: LoginCredential, statements: Statements, timeoutMs: number): Promise<void>;
  /** Whether the server lets `name` in by this password, now, over a connection of its own. */
  letsIn(name: string, password: Secret, timeoutMs: number): Promise<boolean>;
  /** Ends idle connections and those in use when they are done. Nothing may be called afterwards. */
  close(): Promise<void>;
}

/** What names may look like on a server. */
export interface NameRules {
  /** Bytes of a name at most. */
  readonly lengthMax: number;
  /** Vault's template language; must hold `random`. */
  readonly defaultTemplate: string;
}

/** One kind of server. Named in `plugin_name`; main.ts lists those that are built in. */
export interface DatabaseAdapter {
  /** `postgresql-database-plugin`; others that clients send for the same server are aliases. */
  readonly plugin: string;
  readonly aliases: readonly string[];
  readonly credentialTypes: readonly CredentialType[];
  readonly names: NameRules;
  /**
   * Reads and checks a connection's settings (`connection_url`, `username`, `password`, TLS files …); no connection is made.
   *
   * @throws Fault `input.invalid` with a sentence that names the setting and holds no secret of it
   */
  parse(settings: ValueMap): ConnectionSettings;
  /**
   * Reads statements as `create` and the others will, without a server: what would be refused at each use is refused
   * when a role is written.
   *
   * @throws Fault `input.invalid` an unknown placeholder, one without a value here, one where no value can be quoted, a
   *         quote without end, or a statement that ends the transaction
   */
  check(statements: Statements, use: StatementsUse, credential: CredentialType): void;
  /** A server by settings that `parse` gave. The driver is loaded at the first call that needs it. */
  open(settings: ConnectionSettings, limits: ConnectionLimits): Database;
}

export interface ConnectionSettings {
  /** As stored, sealed: the adapter's own, password included. */
  readonly stored: ValueMap;
  /** What `config/<name>` shows: no password, no key; a password inside a URL is `xxxxx`. */
  readonly shown: ValueMap;
  /** The box's own login on that server. */
  readonly username: string;
  /** `host:port`: another one is another server, where logins of the former are not. */
  readonly server: string;
  readonly warnings: readonly string[];
}

export interface ConnectionLimits {
  /** Connections open at once, 1 to 64. */
  readonly connectionCountMax: number;
  readonly idleCountMax: number;
  /** Milliseconds that a connection may live; 0: no limit. */
  readonly lifetimeMs: number;
  /**
   * Addresses that may be connected to, asked after name resolution with what will be connected to.
   *
   * @throws Fault `input.invalid` the address is link-local, of a metadata service, or outside the allowed networks
   */
  readonly check: (address: string) => void;
}
