/**
 * Real database servers from Debian's packages, each with its own folder, port, authority and passwords. Nothing of a
 * server that Debian's packages may have set up themselves is used. A test starts one in `beforeAll` and closes it in
 * `afterAll`; should the test's process die, the kernel ends the server.
 */
import type { Authority, CertificateAndKey } from './authority.ts';
import { startMariaDb } from './mariadb.ts';
import { startPostgresql } from './postgresql.ts';

export type ServerKind = 'postgresql' | 'mariadb';

export interface ServerOptions {
  /** Syncs as in the field. Default: no syncs; what a `kill -9` leaves is the same, since the page cache outlives it. */
  readonly durable?: boolean;
  /** More lines of postgresql.conf, or arguments of mariadbd (`--name=value`). */
  readonly settings?: readonly string[];
}

export interface DatabaseServer {
  readonly kind: ServerKind;
  /** 127.0.0.1. Its certificate is good for `127.0.0.1` and `db.test`, not for `localhost`. */
  readonly host: string;
  readonly port: number;
  /** May do everything. */
  readonly superuser: { readonly username: string; readonly password: string };
  /** What a box should be given: may make and drop logins, and no more than that needs. */
  readonly manager: { readonly username: string; readonly password: string };
  readonly authority: Authority;
  /** Of a client whose subject is `CN=manager`. */
  readonly clientCertificate: CertificateAndKey;
  readonly folder: string;
  readonly log: string;
  readonly pid: number;
  /** `connection_url` as an operator writes it, with `{{username}}` and `{{password}}`. Over another port: a proxy's. */
  url(port?: number): string;
  /** One statement or several as the superuser, by the bare driver. */
  sql(text: string, database?: string): Promise<readonly Record<string, unknown>[]>;
  /** SIGKILL: no goodbye to anybody. */
  kill(): Promise<void>;
  /** After `kill`: on the same folder and port. */
  restart(): Promise<void>;
  /** SIGSTOP to the server and all its processes: it takes connections and answers nothing. */
  pause(): void;
  resume(): void;
  /** Ends it and removes its folder. */
  close(): Promise<void>;
}

export function startServer(kind: ServerKind, options: ServerOptions = {}): Promise<DatabaseServer> {
  return kind === 'postgresql' ? startPostgresql(options) : startMariaDb(options);
}
