/**
 * One session at a MariaDB or MySQL server by the driver `mysql2`, which is loaded when the first session is made. Its
 * parsers are not generated (`disableEval`), files of this box are not sent, and no password goes out in the clear.
 */
import { connect, isIP, type Socket } from 'node:net';
import type { Connection, ConnectionOptions } from 'mysql2';
import { Fault } from '../../fault.ts';
import { addressesOf, firstThat } from '../address.ts';
import type { Deadline } from '../deadline.ts';
import type { Session } from '../pool.ts';
import { literal } from './dialect.ts';
import type { MysqlTarget } from './settings.ts';

export type Row = Readonly<Record<string, unknown>>;

export interface Login {
  readonly username: string;
  readonly password: string;
}

/** How quotes are read: `dialect.ts` stands on it. */
const SQL_MODE = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION';
const FLAGS = ['-LOCAL_FILES', '-MULTI_STATEMENTS', '-CONNECT_ATTRS'];

/** Parts of a call's time: see `window`. */
const SEND_UNTIL = 0.5;
const STATEMENT = 0.2;
const IDLE = 0.25;

export class MysqlSession implements Session {
  readonly #connection: Connection;
  readonly #socket: Socket;
  readonly #isMariaDb: boolean;
  #usable = true;
  #isOpen = true;
  #idleMs = 60_000;
  /** As it was set last; '' when a statement may have set something else. */
  #window = '';

  private constructor(connection: Connection, socket: Socket, isMariaDb: boolean) {
    this.#connection = connection;
    this.#socket = socket;
    this.#isMariaDb = isMariaDb;
    for (const event of ['error', 'end'] as const) connection.on(event, () => this.#lost());
    socket.on('close', () => this.#lost());
  }

  /**
   * @param check  of the limits: which addresses may be connected to
   * @throws what the driver says, or Fault `database.unreachable`
   */
  static async open(
    target: MysqlTarget,
    login: Login,
    check: (address: string) => void,
    deadline: Deadline,
  ): Promise<MysqlSession> {
    const addresses = await addressesOf(target.host, check, deadline);
    const { default: mysql } = await import('mysql2');
    return await firstThat(addresses, async (address) => {
      const socket = await connected(address, target.port, deadline);
      const connection = mysql.createConnection({ ...optionsOf(target, login), stream: () => socket });
      const version = new Promise<string>((resolve, reject) => {
        connection.once('connect', (greeting: { readonly serverVersion?: unknown }) =>
          resolve(String(greeting.serverVersion ?? '')),
        );
        connection.once('error', reject);
      });
      const greeting = await deadline
        .meet(version, () => socket.destroy(), 'take a connection')
        .catch((error) => {
          connection.on('error', () => undefined);
          socket.destroy();
          throw error;
        });
      return new MysqlSession(connection, socket, /mariadb/i.test(greeting));
    });
  }

  get usable(): boolean {
    return this.#usable;
  }

  /** The server ends the session a little later. */
  get idleMsMax(): number {
    return this.#idleMs;
  }

  get isMariaDb(): boolean {
    return this.#isMariaDb;
  }

  /** False when nothing can be asked any more. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Nobody uses it again after this call. */
  spoil(): void {
    this.#usable = false;
  }

  #lost(): void {
    this.#usable = false;
    this.#isOpen = false;
  }

  /**
   * Says how long what follows may take. The box sends nothing after half of the call's time; the server ends the session
   * when a packet comes a quarter of it late, and gives a statement up after a fifth: so what the network brings after the
   * deadline finds no session. The server counts whole seconds: a call should have four at least.
   */
  async window(deadline: Deadline): Promise<void> {
    const seconds = (part: number): number => Math.max(1, Math.floor((deadline.timeoutMs * part) / 1000));
    const set = [
      `sql_mode = ${literal(SQL_MODE)}`,
      `wait_timeout = ${seconds(IDLE)}`,
      `lock_wait_timeout = ${seconds(STATEMENT)}`,
      `innodb_lock_wait_timeout = ${seconds(STATEMENT)}`,
      ...(this.#isMariaDb ? [`max_statement_time = ${seconds(STATEMENT)}`] : []),
    ];
    const text = `SET SESSION ${set.join(', ')}`;
    if (text === this.#window) return;
    this.#window = text;
    await this.query(text, deadline);
    this.#idleMs = seconds(IDLE) * 1000 - 200;
  }

  /** A statement may have changed what `window` set. */
  forgetWindow(): void {
    this.#window = '';
  }

  /** A statement that changes something: not sent when its answer could come too late. */
  async change(text: string, deadline: Deadline): Promise<void> {
    if (!deadline.within(SEND_UNTIL)) {
      throw new Fault(
        'database.unreachable',
        `the database server did not do the statements within ${deadline.share(SEND_UNTIL)} ms`,
      );
    }
    await this.query(text, deadline);
  }

  /** @throws what the server says, or Fault `database.unreachable` */
  async query(text: string, deadline: Deadline): Promise<readonly Row[]> {
    const asked = new Promise<readonly Row[]>((resolve, reject) => {
      this.#connection.query(text, (error: unknown, rows: unknown) => {
        if (error) reject(error);
        else resolve(Array.isArray(rows) ? (rows as readonly Row[]) : []);
      });
    });
    return await deadline.meet(asked, () => this.destroy(), 'answer');
  }

  end(): void {
    this.#lost();
    // What the other side says of a goodbye does not matter.
    this.#connection.end(() => undefined);
  }

  destroy(): void {
    this.#lost();
    this.#socket.destroy();
  }
}

function connected(address: string, port: number, deadline: Deadline): Promise<Socket> {
  const socket = connect({ host: address, port, noDelay: true, keepAlive: true });
  const ready = new Promise<Socket>((resolve, reject) => {
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(socket);
    });
    socket.once('error', reject);
  });
  return deadline.meet(ready, () => socket.destroy(), 'take a connection');
}

function optionsOf(target: MysqlTarget, login: Login): ConnectionOptions {
  return {
    // An address with a dot behind it is taken for a name to compare with the certificate; without it the driver compares
    // nothing. Certificates are compared without the dot.
    host: isIP(target.serverName) === 0 ? target.serverName : `${target.serverName}.`,
    port: target.port,
    user: login.username,
    password: login.password,
    ...(target.database === '' ? {} : { database: target.database }),
    ...(target.tls === 'none' ? {} : { ssl: tlsOf(target) }),
    charset: 'utf8mb4',
    connectTimeout: 0,
    flags: FLAGS,
    disableEval: true,
    multipleStatements: false,
    supportBigNumbers: true,
  };
}

function tlsOf(target: MysqlTarget): NonNullable<Exclude<ConnectionOptions['ssl'], string>> {
  const verified = target.tls === 'verified';
  return {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: verified,
    verifyIdentity: verified,
    ...(target.ca === '' ? {} : { ca: target.ca }),
    ...(target.certificate === '' ? {} : { cert: target.certificate, key: target.key }),
  };
}
