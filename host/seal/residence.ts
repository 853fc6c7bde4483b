/**
 * Which of several copies of a box this is. A restored disk or a clone knows the same tokens and leases as the box that
 * lives; it may answer, and must not end what the other one's clients use. So it is held until a person says which one
 * lives: then it becomes another appliance (new id, root key, audit keys, log origin).
 */
import { isCoreFault } from '../../core/index.ts';
import type { Residence } from '../ports/counter.ts';
import type { MachineFact } from '../ports/machine.ts';
import type { Put, Reader } from '../ports/store.ts';
import type { Value, ValueMap } from '../ports/value.ts';
import { rolledBack } from './freshness.ts';
import type { JobRow } from './rows.ts';

const VERSION = 1;
const WHY_LENGTH_MAX = 1024;

interface State {
  readonly facts: readonly MachineFact[];
  /** Why it is held; '' while it is not. */
  readonly held: string;
  /** A person said that this one lives, and it has not become another appliance yet. Hex id of the appliance that it was; '' */
  readonly lives: string;
}

const NEW: State = { facts: [], held: '', lives: '' };

export class BoxResidence implements Residence {
  readonly #row: JobRow;
  readonly #machine: () => readonly MachineFact[];
  /** Undefined while the box is closed. */
  #state: State | undefined;

  constructor(row: JobRow, machine: () => readonly MachineFact[]) {
    this.#row = row;
    this.#machine = machine;
  }

  /** Reads what the store says of its machine. @throws Fault `appliance.rolled-back` if the row cannot be read */
  resume(reader: Reader): void {
    this.#state = this.#read(reader);
  }

  /**
   * Looks at this machine.
   *
   * @param because  why the quorum had to open it; undefined: it did not
   * @returns the row to store, if it changes; and why the box is held from now on, if that is new
   */
  examine(because: string | undefined): { readonly puts: readonly Put[]; readonly news: string } {
    const known = this.#open();
    const facts = this.#machine();
    const moved = differs(known.facts, facts);
    const why = [because, moved]
      .filter((one) => one !== undefined)
      .join('; ')
      .slice(0, WHY_LENGTH_MAX);
    const news = known.held === '' ? why : '';
    const held = known.held === '' ? why : known.held;
    // While it is held the sealed facts are those of the machine that lived: moved back, it is still a copy.
    this.#state = { ...known, held, facts: moved === undefined ? merged(known.facts, facts) : known.facts };
    const puts = JSON.stringify(this.#state) === JSON.stringify(known) ? [] : [this.#put(this.#state)];
    return { puts, news };
  }

  heldBecause(): string | undefined {
    if (this.#state === undefined) return 'the box is sealed';
    const { held } = this.#state;
    if (held === '') return undefined;
    return `this box may be a copy of one that lives (${held}): nothing outside it is made or ended until a person says on one copy, and on no other, that it lives: \`holdfast operator lives -this\``;
  }

  /** Sentences for health. */
  reasons(): readonly string[] {
    const why = this.heldBecause();
    return why === undefined ? [] : [why];
  }

  /** Id of the appliance that it was, while it is to become another; undefined else. */
  get lives(): string | undefined {
    const { lives = '' } = this.#state ?? {};
    return lives === '' ? undefined : lives;
  }

  /** A person says that this one lives. @returns the row; nothing has changed until it is stored, then call `asked` */
  ask(applianceId: string): { readonly put: Put; readonly asked: () => void } {
    const state = { ...this.#open(), lives: applianceId };
    return {
      put: this.#put(state),
      asked: () => {
        this.#state = state;
      },
    };
  }

  /** It is another appliance now, on this machine. */
  settled(): { readonly put: Put; readonly done: () => void } {
    const state = { facts: this.#machine(), held: '', lives: '' };
    return {
      put: this.#put(state),
      done: () => {
        this.#state = state;
      },
    };
  }

  /** The box is closed. */
  forget(): void {
    this.#state = undefined;
  }

  #open(): State {
    if (this.#state === undefined) throw new Error('the box is closed');
    return this.#state;
  }

  #put(state: State): Put {
    const { facts, held, lives } = state;
    return this.#row.put({ version: VERSION, facts: facts.map(({ name, digest }) => ({ name, digest })), held, lives });
  }

  #read(reader: Reader): State {
    let value: ValueMap | undefined;
    try {
      value = this.#row.read(reader);
    } catch (error) {
      if (!isCoreFault(error)) throw error;
      throw rolledBack('what the store says of its machine is not what was written');
    }
    const state = value === undefined ? NEW : stateOf(value);
    if (state === undefined) throw rolledBack('what the store says of its machine is of another version');
    return state;
  }
}

function stateOf({ version, facts, held, lives }: ValueMap): State | undefined {
  if (version !== VERSION || !Array.isArray(facts) || typeof held !== 'string' || typeof lives !== 'string')
    return undefined;
  const read = (facts as readonly Value[]).map((fact) => {
    const { name, digest } = (fact ?? {}) as ValueMap;
    return typeof name === 'string' && typeof digest === 'string' ? { name, digest } : undefined;
  });
  return read.every((one) => one !== undefined) ? { facts: read, held, lives } : undefined;
}

/** @returns a sentence if `now` is another machine than `known`. The first fact that both have decides. */
function differs(known: readonly MachineFact[], now: readonly MachineFact[]): string | undefined {
  if (known.length === 0) return undefined;
  for (const { name, digest } of known) {
    const found = now.find((one) => one.name === name);
    if (found !== undefined) return found.digest === digest ? undefined : `it runs on another machine (${name})`;
  }
  return 'nothing that its machine was known by can be read here';
}

/** What can be read now, and what could be read before: some is for root alone. In the order of what tells most. */
function merged(known: readonly MachineFact[], now: readonly MachineFact[]): readonly MachineFact[] {
  return [...now, ...known.filter(({ name }) => !now.some((one) => one.name === name))].sort(
    (a, b) => ORDER.indexOf(a.name) - ORDER.indexOf(b.name),
  );
}

const ORDER = ['product-uuid', 'board-serial', 'device-tree', 'machine-id'];
