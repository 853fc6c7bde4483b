/** The command line as an operator uses it, on one home. */
import { spawnSync } from 'node:child_process';
import { expect } from 'vitest';
import type { Home } from './server.ts';

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}

export interface Finding {
  readonly state: string;
  readonly what: string;
  readonly sentence: string;
}

export class Operator {
  readonly #home: Home;
  readonly variables: Record<string, string>;

  constructor(home: Home, variables: Record<string, string>) {
    this.#home = home;
    this.variables = variables;
  }

  run(args: string, input = ''): Ran {
    const run = spawnSync(process.execPath, ['host/cli/holdfast.mjs', ...args.split(' ')], {
      env: { ...this.#home.variables, ...this.variables },
      input,
      encoding: 'utf8',
    });
    return { code: run.status, out: run.stdout, error: run.stderr };
  }

  ok(args: string, input = ''): string {
    const { code, out, error } = this.run(args, input);
    expect([args, code, error]).toEqual([args, 0, '']);
    return out;
  }

  /** Short id of the only slot of this kind; undefined if there is none. */
  slot(kind: string): string | undefined {
    const slots = Object.values(JSON.parse(this.ok('slot list -format=json'))) as { id: string; kind: string }[];
    return slots.find((one) => one.kind === kind)?.id.slice(0, 8);
  }

  kinds(): string[] {
    const slots = Object.values(JSON.parse(this.ok('slot list -format=json'))) as { kind: string }[];
    return slots.map(({ kind }) => kind).sort((a, b) => a.localeCompare(b));
  }

  diagnose(): readonly Finding[] {
    return JSON.parse(this.run('operator diagnose -format=json').out) as Finding[];
  }

  /** The finding whose name begins so. */
  finding(what: string): Finding | undefined {
    return this.diagnose().find((one) => one.what === what || one.what.startsWith(`${what} `));
  }
}
