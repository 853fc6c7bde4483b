/** The policies of the box: rows of table `policy`, compiled in core. */
import type { Barrier } from '../barrier/barrier.ts';
import { throughCore } from '../barrier/fault.ts';
import { Fault } from '../fault.ts';
import type { Expectation, Put } from '../ports/store.ts';
import { BUILTIN_POLICIES, WRAPPING_POLICY } from './builtin.ts';
import { decodePolicy, encodePolicy } from './encode.ts';
import { parsePolicy } from './parse.ts';

const NAME = /^[a-z0-9_.@ -][a-z0-9_.@ /-]{0,127}$/;

export interface StoredPolicy {
  readonly name: string;
  readonly source: string;
}

/** Lower-cased and trimmed, as the API takes names. @throws Fault `input.invalid` what cannot be a name */
export function policyName(text: string): string {
  const name = text.trim().toLowerCase();
  if (!NAME.test(name) || name.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    throw new Fault('input.invalid', 'a policy name has 1 to 128 of a-z 0-9 _ . @ - and /');
  }
  return name;
}

export class Policies {
  readonly #barrier: Barrier;
  #names: readonly string[] = [];
  /** Names of the build that is not in force yet. */
  #built: readonly string[] = [];

  constructor(barrier: Barrier) {
    this.#barrier = barrier;
  }

  /** Compiles every policy anew; until it is done the ones before decide. */
  async load(): Promise<void> {
    await this.#compile();
    this.#adopt();
  }

  /**
   * Builds what is stored, with one row changed, beside what is in force. A row that core does not take is thereby refused
   * before it is stored: stored, it would keep every policy from being loaded again.
   */
  async #compile(changed?: Put): Promise<void> {
    const { core, store } = this.#barrier;
    const isChanged = (key: Uint8Array): boolean => changed !== undefined && Buffer.compare(key, changed.key) === 0;
    await this.#barrier.job('boot', undefined, (grant) => {
      const names: string[] = [];
      const add = (key: Uint8Array, value: Uint8Array): void => {
        core.addPolicy(key, value);
        names.push(decodePolicy(core.openTable(grant, 'policy', key, value)).name);
      };
      throughCore(() => {
        core.beginPolicies();
        for (const { key, value } of store.range('policy')) if (!isChanged(key)) add(key, value);
        if (changed?.value !== undefined) add(changed.key, changed.value);
      });
      this.#built = names.sort((a, b) => (a < b ? -1 : 1));
    });
  }

  /** Puts what was built in force. */
  #adopt(): void {
    throughCore(() => this.#barrier.core.commitPolicies());
    this.#names = this.#built;
  }

  /**
   * What tokens may be given, byte-sorted, with root last as it is none of the rows: the policy of wrapping tokens can be
   * read and is not listed, as in Vault.
   */
  names(): string[] {
    return [...this.#names.filter((name) => name !== WRAPPING_POLICY), 'root'];
  }

  exists(name: string): boolean {
    return name === 'root' || this.#names.includes(name);
  }

  read(grant: number, text: string): StoredPolicy | undefined {
    const name = text.trim().toLowerCase();
    if (name === 'root') return { name, source: '' };
    const opened = this.#barrier.open(grant, 'policy', this.#barrier.core.blindKey('policy', name));
    return opened === undefined ? undefined : decodePolicy(opened.payload);
  }

  /** @returns warnings @throws Fault `input.invalid` in Vault's words */
  async write(grant: number, text: string, source: string): Promise<readonly string[]> {
    const name = policyName(text);
    if (name === 'root') throw new Fault('input.invalid', 'cannot update "root" policy');
    const { rules, warnings } = parsePolicy(source);
    await this.#put(grant, name, encodePolicy(name, rules, source));
    const lowered = name === text ? [] : [`policy name was converted to ${name}`];
    return [...lowered, ...warnings];
  }

  async #put(grant: number, name: string, payload: Uint8Array): Promise<void> {
    const key = Uint8Array.from(this.#barrier.core.blindKey('policy', name));
    await this.#barrier.inLine('policies', async () => {
      await this.#change(this.#barrier.seal(grant, 'policy', key, payload));
    });
  }

  /** @throws Fault `core.exhausted` and nothing is stored, if the policies would not fit with it */
  async #change(put: Put): Promise<void> {
    await this.#compile(put);
    await this.#barrier.counted([put], [], () => this.#adopt());
  }

  async remove(grant: number, text: string): Promise<void> {
    const name = text.trim().toLowerCase();
    if (name === 'root') throw new Fault('input.invalid', 'cannot delete "root" policy');
    if (name === 'default') throw new Fault('input.invalid', 'cannot delete default policy');
    const key = Uint8Array.from(this.#barrier.core.blindKey('policy', name));
    if (this.#barrier.open(grant, 'policy', key) === undefined) return;
    await this.#barrier.inLine('policies', async () => {
      await this.#change({ table: 'policy', key });
    });
  }

  /** What a new box begins with. */
  async found(grant: number): Promise<void> {
    const { core } = this.#barrier;
    const puts = Object.entries(BUILTIN_POLICIES).map(([name, source]) => {
      const key = Uint8Array.from(core.blindKey('policy', name));
      return this.#barrier.seal(grant, 'policy', key, encodePolicy(name, parsePolicy(source).rules, source));
    });
    const expect: Expectation[] = puts.map(({ table, key }) => ({ table, key, is: 'absent' }));
    await this.#barrier.counted(puts, expect, () => undefined);
    await this.load();
  }
}
