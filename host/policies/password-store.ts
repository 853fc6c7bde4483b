/** Where password policies are kept: records below `password/` of the system mount. */
import type { Barrier } from '../barrier/barrier.ts';
import { Fault } from '../fault.ts';
import { decodePayload, encodePayload } from '../payload.ts';
import type { PasswordSource } from '../ports/passwords.ts';
import type { Random } from '../ports/random.ts';
import type { View } from '../ports/view.ts';
import { Remembered } from '../remembered.ts';
import { DEFAULT_PASSWORD, generatePassword, type PasswordPolicy, parsePasswordPolicy } from './passwords.ts';

/** Below the system mount's storage. */
export const PASSWORD_POLICIES = 'password';
/** Policies that are read once, not for each password. */
const POLICIES_MAX = 16;
const pathOf = (name: string): string => `${PASSWORD_POLICIES}/${name}`;

export class PasswordPolicies {
  readonly #barrier: Barrier;
  readonly #random: Random;
  readonly #mountId: string;
  /** By their text: one that was rewritten is another one. */
  readonly #parsed = new Remembered<PasswordPolicy>(POLICIES_MAX);

  /** @param mountId  the system mount's, in hex */
  constructor(barrier: Barrier, random: Random, mountId: string) {
    this.#barrier = barrier;
    this.#random = random;
    this.#mountId = mountId;
  }

  /** As it was written. */
  read(view: View, name: string): string | undefined {
    return view.read(pathOf(name), (payload) => String(decodePayload(payload)['policy']));
  }

  list(view: View): string[] {
    return view.list(PASSWORD_POLICIES);
  }

  /** @throws Fault `input.invalid` */
  async write(view: View, name: string, source: string): Promise<void> {
    parsePasswordPolicy(source, this.#random);
    await view.update(pathOf(name), (change) => change.put(pathOf(name), encodePayload({ policy: source })));
  }

  async remove(view: View, name: string): Promise<void> {
    await view.update(pathOf(name), (change) => {
      if (change.get(pathOf(name)) !== undefined) change.delete(pathOf(name));
    });
  }

  /** @throws Fault `input.invalid` there is no such policy */
  sourceFrom(view: View, name: string): PasswordSource {
    const text = this.read(view, name);
    if (text === undefined)
      throw new Fault('input.invalid', `policy does not exist: ${JSON.stringify(name.slice(0, 64))}`);
    const policy = this.#parsed.get(text, () => parsePasswordPolicy(text, this.#random));
    return { text, draw: () => generatePassword(policy, this.#random) };
  }

  /** For engines, which do not see the system mount. @param name  ''; the default. @throws Fault as `sourceFrom` */
  async source(name: string): Promise<PasswordSource> {
    if (name === '') return { text: '', draw: () => generatePassword(DEFAULT_PASSWORD, this.#random) };
    return await this.#barrier.job('rotation', this.#mountId, (grant) =>
      this.sourceFrom(this.#barrier.view(grant, this.#mountId), name),
    );
  }
}
