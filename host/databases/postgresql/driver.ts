/**
 * One session at a PostgreSQL server by the driver `pg`, which is loaded when the first session is made. Nothing of the
 * process's environment and no password file decides where or how it connects.
 */

import { isIP } from 'node:net';
import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import type { Client } from 'pg';
import { Fault } from '../../fault.ts';
import { addressesOf, firstThat } from '../address.ts';
import type { Deadline } from '../deadline.ts';
import type { Session } from '../pool.ts';
import type { PostgresqlTarget } from './settings.ts';

export type Row = Readonly<Record<string, unknown>>;

const IDLE_MS_MAX = 60_000;
/** Values keep a row's width; nothing that the box asks for has more. */
const APPLICATION = 'holdfast';

export interface Login {
  readonly username: string;
  readonly password: string;
}

export class PostgresqlSession implements Session {
  readonly idleMsMax = IDLE_MS_MAX;
  readonly #client: Client;
  #usable = true;
  /** The settings as they were sent last. */
  #settings = '';

  private constructor(client: Client) {
    this.#client = client;
    client.on('error', () => this.spoil());
    client.on('end', () => this.spoil());
  }

  /**
   * @param check  of the limits: which addresses may be connected to
   * @throws what the driver says, or Fault `database.unreachable`
   */
  static async open(
    target: PostgresqlTarget,
    login: Login,
    check: (address: string) => void,
    deadline: Deadline,
    database = target.database,
  ): Promise<PostgresqlSession> {
    const addresses = await addressesOf(target.host, check, deadline);
    const { default: pg } = await import('pg');
    return await firstThat(addresses, async (address) => {
      const client = new pg.Client({
        host: address,
        port: target.port,
        user: login.username,
        // A function, so that an empty one is not looked for in files.
        password: () => login.password,
        database,
        ssl: target.tls === 'disable' ? false : tlsOf(target),
        sslnegotiation: 'postgres',
        application_name: APPLICATION,
        keepAlive: true,
      });
      const session = new PostgresqlSession(client);
      // Only a server that is known may be told the password itself.
      const known = target.tls === 'verify-ca' || target.tls === 'verify-full';
      if (!known) refuseClearPassword(client);
      try {
        await deadline.meet(client.connect(), () => session.destroy(), 'take a connection');
        await session.query('SET standard_conforming_strings = on', deadline);
      } catch (error) {
        session.destroy();
        throw error;
      }
      return session;
    });
  }

  get usable(): boolean {
    return this.#usable;
  }

  /** Nobody uses it again. */
  spoil(): void {
    this.#usable = false;
  }

  /** Settings of the session, sent when they are others than before. A statement of a role that sets something spoils it. */
  async set(settings: string, deadline: Deadline): Promise<void> {
    if (settings === this.#settings) return;
    await this.query(settings, deadline);
    this.#settings = settings;
  }

  /** Rows of the last of the statements. @throws what the server says, or Fault `database.unreachable` */
  async query(text: string, deadline: Deadline, values?: readonly unknown[]): Promise<readonly Row[]> {
    const asked = values === undefined ? this.#client.query(text) : this.#client.query(text, [...values]);
    const answer: unknown = await deadline.meet(asked, () => this.destroy(), 'answer');
    const last = Array.isArray(answer) ? answer.at(-1) : answer;
    return (last as { readonly rows?: readonly Row[] } | undefined)?.rows ?? [];
  }

  end(): void {
    this.spoil();
    this.#client.end().catch(() => undefined);
  }

  destroy(): void {
    this.spoil();
    streamOf(this.#client)?.destroy();
  }
}

interface Stream {
  destroy(error?: Error): void;
}

interface Wire {
  readonly stream?: Stream;
  prependListener(event: string, listener: () => void): void;
  emit(event: string, error: Error): void;
}

function wireOf(client: Client): Wire {
  return Reflect.get(client, 'connection') as Wire;
}

function streamOf(client: Client): Stream | undefined {
  return wireOf(client).stream;
}

function refuseClearPassword(client: Client): void {
  const wire = wireOf(client);
  wire.prependListener('authenticationCleartextPassword', () => {
    wire.stream?.destroy();
    wire.emit(
      'error',
      new Fault(
        'database.refused',
        'the database server asks for the password itself, and the connection does not prove that it is the server: write sslmode=verify-full',
      ),
    );
  });
}

function tlsOf(target: PostgresqlTarget): ConnectionOptions {
  const verified = target.tls === 'verify-full' || target.tls === 'verify-ca';
  return {
    rejectUnauthorized: verified,
    minVersion: 'TLSv1.2',
    ...(isIP(target.serverName) === 0 ? { servername: target.serverName } : {}),
    ...(target.ca === '' ? {} : { ca: target.ca }),
    ...(target.certificate === '' ? {} : { cert: target.certificate, key: target.key }),
    // The driver connects to an address: the name that was asked for is what must be in the certificate.
    checkServerIdentity: (_address, certificate) =>
      target.tls === 'verify-full' ? checkServerIdentity(target.serverName, certificate) : undefined,
  };
}
