/** What sits on the wires between a TPM and the processor: it records, changes an answer, or swallows a command. */

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** TPM_ST_SESSIONS, length, TPM_RC: what the head of a command or an answer is made of. */
const HEAD_SIZE = 10;

export class Wiretap {
  readonly #path: string;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #seen: Buffer[] = [];
  /** Codes of the commands that went by, in their order. */
  readonly commands: number[] = [];
  /** Gives an answer on to the processor as something else. */
  change: (answer: Buffer, command: number) => Buffer = (answer) => answer;
  /** True: the command with this code never reaches the TPM. */
  swallow: (command: number) => boolean = () => false;
  /** Called for each command that was swallowed. */
  swallowed: () => void = () => undefined;

  private constructor(chip: string) {
    this.#path = `${chip}.tap`;
  }

  static async on(chip: string): Promise<Wiretap> {
    const tap = new Wiretap(chip);
    await tap.#listen(tap.#path, chip, true);
    await tap.#listen(`${tap.#path}.ctrl`, `${chip}.ctrl`, false);
    return tap;
  }

  get tcti(): string {
    return `swtpm:path=${this.#path}`;
  }

  /** Everything that went over the wires, both ways. */
  get traffic(): Buffer {
    return Buffer.concat(this.#seen);
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    for (const server of this.#servers) server.close();
  }

  async #listen(path: string, chip: string, commands: boolean): Promise<void> {
    const server = createServer((near) => this.#relay(near, connect(chip), commands));
    this.#servers.push(server);
    server.listen(path);
    await once(server, 'listening');
  }

  #relay(near: Socket, far: Socket, commands: boolean): void {
    let command = 0;
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (bytes: Buffer) => {
      this.#seen.push(Buffer.from(bytes));
      if (commands && bytes.length >= HEAD_SIZE) {
        command = bytes.readUInt32BE(6);
        this.commands.push(command);
      }
      if (!(commands && this.swallow(command))) far.write(bytes);
      else this.swallowed();
    });
    far.on('data', (bytes: Buffer) => {
      this.#seen.push(Buffer.from(bytes));
      near.write(commands ? this.change(bytes, command) : bytes);
    });
  }
}
