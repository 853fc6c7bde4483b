/**
 * The same read with node:crypto: what a careful server in plain JavaScript does for it. The same checks, hashes and
 * openings in the same number, over the same number of stored rows; sealed with ChaCha20-Poly1305, which node:crypto has.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto';

const TAG = 16;
const NONCE = 12;

/** A prefix tree over a path's segments; `*` at the end of a rule stands for all that follows. */
class Rules {
  readonly #root: Node = newNode();

  add(path: string, capabilities: readonly string[]): void {
    let node = this.#root;
    for (const segment of path.split('/')) {
      if (segment === '*') {
        node.all = new Set(capabilities);
        return;
      }
      let next = node.next.get(segment);
      if (next === undefined) {
        next = newNode();
        node.next.set(segment, next);
      }
      node = next;
    }
    node.own = new Set(capabilities);
  }

  allows(path: string, capability: string): boolean {
    let node: Node | undefined = this.#root;
    let found = false;
    for (const segment of path.split('/')) {
      if (node?.all !== undefined) found = node.all.has(capability);
      node = node?.next.get(segment);
      if (node === undefined) return found;
    }
    return node.own?.has(capability) ?? found;
  }
}

interface Node {
  readonly next: Map<string, Node>;
  own: Set<string> | undefined;
  all: Set<string> | undefined;
}

const newNode = (): Node => ({ next: new Map(), own: undefined, all: undefined });

interface TokenRow {
  readonly policies: readonly string[];
  readonly expiresMs: number;
  readonly accessor: string;
}

/** A store of sealed rows, a token, a policy, an audit log that gathers lines and seals them in groups. */
export class Twin {
  readonly #key = randomBytes(32);
  readonly #nameKey = randomBytes(32);
  readonly #auditKey = randomBytes(32);
  readonly #rows = new Map<string, Buffer>();
  readonly #rules = new Rules();
  readonly #hashes = new Map<string, string>();
  readonly #token: string;
  #lines: string[] = [];
  /** What leaves: sealed groups, their leaf hashes. */
  groups = 0;

  constructor(token: string, secrets: number, data: Readonly<Record<string, string>>) {
    this.#token = token;
    this.#rules.add('secret/data/*', ['read', 'list']);
    const row: TokenRow = { policies: ['reader'], expiresMs: Number.MAX_SAFE_INTEGER, accessor: 'x'.repeat(24) };
    this.#put(this.#hmac(this.#nameKey, token), row);
    const version = { created_time: new Date().toISOString(), deletion_time: '', destroyed: false };
    for (let n = 0; n < secrets; n++) {
      const key = this.#keyOf(`bench/${n}`);
      this.#put(key, { current: 1, versions: { 1: version } });
      this.#put(`${key}1`, data);
    }
  }

  #hmac(key: Buffer, value: string): string {
    return createHmac('sha256', key).update(value).digest().toString('latin1');
  }

  /** One hash a directory and one for the name. */
  #keyOf(path: string): string {
    const segments = path.split('/');
    let at = 's';
    for (const segment of segments.slice(0, -1)) at = this.#hmac(this.#nameKey, `${at}${segment}`);
    return at + this.#hmac(this.#nameKey, `${at}${segments.at(-1)}`);
  }

  #put(key: string, value: unknown): void {
    const nonce = randomBytes(NONCE);
    const cipher = createCipheriv('chacha20-poly1305', this.#key, nonce, { authTagLength: TAG });
    const plain = Buffer.from(JSON.stringify(value));
    cipher.setAAD(Buffer.from(key, 'latin1'), { plaintextLength: plain.length });
    this.#rows.set(key, Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]));
  }

  #open(key: string): unknown {
    const row = this.#rows.get(key);
    if (row === undefined) return undefined;
    const decipher = createDecipheriv('chacha20-poly1305', this.#key, row.subarray(0, NONCE), { authTagLength: TAG });
    const end = row.length - TAG;
    decipher.setAAD(Buffer.from(key, 'latin1'), { plaintextLength: end - NONCE });
    decipher.setAuthTag(row.subarray(end));
    const plain = Buffer.concat([decipher.update(row.subarray(NONCE, end)), decipher.final()]);
    return JSON.parse(plain.toString());
  }

  #hashed(value: unknown): unknown {
    if (typeof value !== 'object' || value === null) {
      return `hmac-sha256:${createHmac('sha256', this.#auditKey).update(String(value)).digest('hex')}`;
    }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#hashed(item)]));
  }

  /** HMAC of what comes again with every request: kept. */
  #kept(value: string): string {
    let hash = this.#hashes.get(value);
    if (hash === undefined) {
      hash = String(this.#hashed(value));
      this.#hashes.set(value, hash);
    }
    return hash;
  }

  #leaf(line: object): void {
    const text = JSON.stringify(line);
    createHash('sha256').update('\0').update(text).digest();
    this.#lines.push(text);
  }

  /** Seals the lines gathered so far. */
  flush(): number {
    const nonce = randomBytes(NONCE);
    const cipher = createCipheriv('chacha20-poly1305', this.#key, nonce, { authTagLength: TAG });
    const frame = Buffer.concat([cipher.update(`${this.#lines.join('\n')}\n`), cipher.final(), cipher.getAuthTag()]);
    this.#lines = [];
    this.groups++;
    return frame.length;
  }

  read(id: string, name: string): string {
    const path = `secret/data/${name}`;
    const row = this.#open(this.#hmac(this.#nameKey, this.#token)) as TokenRow | undefined;
    if (row === undefined || row.expiresMs < Date.now()) throw new Error('permission denied');
    if (!this.#rules.allows(path, 'read')) throw new Error('permission denied');
    const auth = {
      client_token: this.#kept(this.#token),
      accessor: this.#kept(row.accessor),
      policies: row.policies,
      token_type: 'service',
    };
    const request = { id, operation: 'read', client_token: auth.client_token, namespace: { id: 'root' }, path };
    this.#leaf({ time: new Date().toISOString(), type: 'request', auth, request });
    const key = this.#keyOf(name);
    const { current, versions } = this.#open(key) as { current: number; versions: Record<string, object> };
    const data = {
      data: this.#open(`${key}${current}`),
      metadata: { version: current, custom_metadata: null, ...versions[current] },
    };
    const response = { mount_type: 'kv', data: this.#hashed(data) };
    this.#leaf({ time: new Date().toISOString(), type: 'response', auth, request, response });
    return JSON.stringify({
      request_id: id,
      lease_id: '',
      renewable: false,
      lease_duration: 0,
      data,
      wrap_info: null,
      warnings: null,
      auth: null,
      mount_type: 'kv',
    });
  }
}
