/**
 * A TCP proxy before a server, which does to packets what networks do: holds them, delays them, cuts connections, or lets
 * one packet of a client arrive long after the client has given up.
 */
import { createServer, type Server, Socket } from 'node:net';

/** A packet that is under way. */
export interface Delayed {
  /** Resolves when a packet was caught. */
  readonly caught: Promise<void>;
  readonly isCaught: boolean;
  /** Lets it, and what its client sent behind it, arrive at the server; the client may be long gone. */
  release(): void;
}

interface Trap {
  readonly matches: (packet: Buffer) => boolean;
  readonly spring: (link: Link) => void;
}

export class NetworkProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  /** Every socket of a client that is not closed yet, those of ended links too. */
  readonly #clients = new Set<Socket>();
  readonly #traps = new Set<Trap>();
  #held = false;
  #delayMs = 0;
  #refusing = false;
  /** Connections taken since it began. */
  connectionCount = 0;

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      this.connectionCount++;
      this.#clients.add(client);
      client.once('close', () => this.#clients.delete(client));
      if (this.#refusing) return void client.resetAndDestroy();
      const link = new Link(client, target, {
        held: () => this.#held,
        delayMs: () => this.#delayMs,
        caught: (packet) => this.#catch(packet),
        gone: () => this.#links.delete(link),
      });
      this.#links.add(link);
    });
  }

  static async before(target: { readonly host: string; readonly port: number }): Promise<NetworkProxy> {
    const proxy = new NetworkProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the proxy does not listen');
    return address.port;
  }

  /** Connections that both sides may believe in. */
  get openCount(): number {
    return this.#links.size;
  }

  /** Half-open: connections stay, new ones are taken, no byte passes in either direction. */
  hold(): void {
    this.#held = true;
  }

  /** What was held arrives; new bytes pass again, at once. */
  resume(): void {
    this.#held = false;
    this.#delayMs = 0;
    this.#refusing = false;
    for (const link of this.#links) link.flush();
  }

  /** Every packet arrives so much later, in both directions. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Resets all connections of both sides. */
  cut(): void {
    for (const link of this.#links) link.cut();
  }

  /** New connections are reset, as where nothing listens. */
  refuse(): void {
    this.#refusing = true;
  }

  /**
   * The next packet of a client that matches is kept under way until it is released, with what its client sends behind
   * it. When the client gives up and closes, its side closes; the server's stays open for the packet.
   */
  delayNext(matches: (packet: Buffer) => boolean): Delayed {
    let link: Link | undefined;
    let resolveCaught = (): void => undefined;
    const caught = new Promise<void>((resolve) => {
      resolveCaught = resolve;
    });
    const trap: Trap = {
      matches,
      spring: (by) => {
        link = by;
        resolveCaught();
      },
    };
    this.#traps.add(trap);
    return {
      caught,
      get isCaught() {
        return link !== undefined;
      },
      release: () => {
        this.#traps.delete(trap);
        link?.letGo();
      },
    };
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    for (const client of this.#clients) client.destroy();
    await closed;
  }

  #catch(packet: Buffer): ((link: Link) => void) | undefined {
    for (const trap of this.#traps) {
      if (!trap.matches(packet)) continue;
      this.#traps.delete(trap);
      return trap.spring;
    }
    return undefined;
  }
}

interface Rules {
  readonly held: () => boolean;
  readonly delayMs: () => number;
  readonly caught: (packet: Buffer) => ((link: Link) => void) | undefined;
  readonly gone: () => void;
}

/** One connection: two sockets, and what waits for each direction. An empty buffer is the end of a direction. */
class Link {
  readonly #client: Socket;
  readonly #server = new Socket({ allowHalfOpen: true });
  readonly #rules: Rules;
  readonly #toServer: Buffer[] = [];
  readonly #toClient: Buffer[] = [];
  #trapped = false;
  #clientGone = false;

  constructor(client: Socket, target: { readonly host: string; readonly port: number }, rules: Rules) {
    this.#client = client;
    this.#rules = rules;
    client.setNoDelay(true);
    this.#server.setNoDelay(true);
    this.#server.connect(target.port, target.host);
    client.on('data', (packet) => this.#fromClient(packet));
    client.on('end', () => this.#fromClient(Buffer.alloc(0)));
    client.on('error', () => undefined);
    client.on('close', () => this.#clientClosed());
    this.#server.on('data', (packet) => this.#fromServer(packet));
    this.#server.on('end', () => this.#fromServer(Buffer.alloc(0)));
    this.#server.on('error', () => undefined);
    this.#server.on('close', () => this.#serverClosed());
  }

  flush(): void {
    if (!this.#trapped) for (const packet of this.#toServer.splice(0)) pass(this.#server, packet);
    for (const packet of this.#toClient.splice(0)) pass(this.#client, packet);
  }

  letGo(): void {
    this.#trapped = false;
    this.flush();
    // The network brought what the client had sent; that the client is gone comes behind it.
    if (this.#clientGone) this.#server.end();
  }

  cut(): void {
    this.#toServer.length = 0;
    this.#toClient.length = 0;
    this.#trapped = false;
    this.#client.resetAndDestroy();
    this.#server.resetAndDestroy();
  }

  #fromClient(packet: Buffer): void {
    const spring = this.#trapped ? undefined : this.#rules.caught(packet);
    if (spring !== undefined) {
      this.#trapped = true;
      this.#toServer.push(packet);
      spring(this);
      return;
    }
    this.#later(this.#toServer, packet, () => this.#trapped, this.#server);
  }

  #fromServer(packet: Buffer): void {
    this.#later(this.#toClient, packet, () => false, this.#client);
  }

  #later(queue: Buffer[], packet: Buffer, trapped: () => boolean, to: Socket): void {
    queue.push(packet);
    const send = (): void => {
      if (this.#rules.held() || trapped()) return;
      for (const waiting of queue.splice(0)) pass(to, waiting);
    };
    const delayMs = this.#rules.delayMs();
    if (delayMs === 0) send();
    else setTimeout(send, delayMs);
  }

  #clientClosed(): void {
    this.#clientGone = true;
    this.#toClient.length = 0;
    if (!this.#trapped && !this.#rules.held()) this.#server.end();
    if (this.#server.destroyed) this.#rules.gone();
  }

  #serverClosed(): void {
    if (!this.#rules.held()) this.#client.destroy();
    this.#rules.gone();
  }
}

function pass(to: Socket, packet: Buffer): void {
  if (to.destroyed || to.writableEnded) return;
  if (packet.length === 0) to.end();
  else to.write(packet);
}
