/** `npm run bench -- NAME [options]`: measures parts of the box beside their rivals, or drives any server of the Vault API. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { runTarget, HELP as TARGET_HELP } from './http/target.ts';
import { renderTable } from './reach.ts';
import { type Bench, type BenchOptions, type BenchResult, renderResult } from './result.ts';

/** In the order in which `all` runs them. Loaded when they run: each brings packages of its own. */
const BENCHES: Readonly<Record<string, { readonly says: string; readonly load: () => Promise<{ run: Bench }> }>> = {
  core: { says: 'sealing, opening and hashing, beside node:crypto and others', load: () => import('./core/core.ts') },
  policy: {
    says: 'policy decisions, beside a JavaScript trie, regular expressions and Cedar',
    load: () => import('./policy/policy.ts'),
  },
  read: { says: 'a whole read in process, beside the same with node:crypto', load: () => import('./read/read.ts') },
  store: { says: 'durable writes, beside raw lmdb', load: () => import('./store/store.ts') },
  http: { says: 'requests over HTTP, beside bare node:http and hono', load: () => import('./http/http.ts') },
  growth: {
    says: 'whether reads cost more with more secrets, lists more than their directory',
    load: () => import('./growth/growth.ts'),
  },
  leases: {
    says: 'logins issued and revoked, beside the bare driver; reads while leases end and while a database hangs',
    load: () => import('./leases/leases.ts'),
  },
  memory: { says: 'memory idle, under load and after many requests', load: () => import('./memory/memory.ts') },
  start: { says: 'from the start of the process to ready', load: () => import('./start/start.ts') },
  unseal: { says: 'each kind of slot: started to ready, sealed to open', load: () => import('./unseal/unseal.ts') },
  dudect: { says: 'whether time tells secrets (not part of all)', load: () => import('./core/dudect.ts') },
};

const HELP = `npm run bench -- NAME [options]

${Object.entries(BENCHES)
  .map(([name, { says }]) => `  ${name.padEnd(8)} ${says}`)
  .join('\n')}
  all      all but dudect, and what was to be reached beside what was measured

  --small          the size that runs as a test: seconds; its figures mean nothing
  --json FILE      the results as JSON, with commit, CPU and Node
  --box FILE       measure this build of the box (a bundled holdfast.mjs with core.wasm beside it), not dist/
  --against FILE   http: another build of the box, in the same run

npm run bench -- http --target URL drives a server that runs already; nothing of ours is started:

${TARGET_HELP.slice(TARGET_HELP.indexOf('\n\n') + 2)}`;

interface Wanted {
  readonly names: readonly string[];
  readonly options: BenchOptions;
  readonly json: string | undefined;
}

export function parseWanted(name: string, args: readonly string[]): Wanted {
  const known = name === 'all' ? Object.keys(BENCHES).filter((one) => one !== 'dudect') : [name];
  if (!known.every((one) => Object.hasOwn(BENCHES, one))) {
    throw new Error(
      `there is no benchmark ${JSON.stringify(name)}: there are ${Object.keys(BENCHES).join(', ')} and all`,
    );
  }
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: { small: { type: 'boolean' }, json: text, box: text, against: text },
  });
  return {
    names: known,
    options: {
      small: values.small === true,
      onProgress: progress,
      ...(values.box === undefined ? {} : { program: values.box }),
      ...(values.against === undefined ? {} : { against: values.against }),
    },
    json: values.json,
  };
}

/** On a terminal one line that is written over; elsewhere nothing: figures go to standard output. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${line}`);
}

/** @returns the names of those that could not be measured; the others are measured all the same */
async function measureAll({ names, options, json }: Wanted, all: boolean): Promise<string[]> {
  const results: BenchResult[] = [];
  const broken: string[] = [];
  for (const name of names) {
    progress(name);
    try {
      const bench = await BENCHES[name]?.load();
      const result = await bench?.run(options);
      if (result === undefined) continue;
      if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
      console.log(`${renderResult(result)}\n`);
      results.push(result);
    } catch (error) {
      broken.push(name);
      console.error(`${name} could not be measured: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (all) console.log(renderTable(results));
  if (json !== undefined) {
    mkdirSync(dirname(json), { recursive: true });
    writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
  }
  return broken;
}

/** @returns the exit code */
export async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || args.includes('--help') || args.includes('-h')) {
    console.log(HELP);
    return 0;
  }
  try {
    const drives = args.some((arg) => arg === '--target' || arg.startsWith('--target='));
    if (drives && name === 'http') {
      await runTarget([...args]);
      return 0;
    }
    const broken = await measureAll(parseWanted(name, args), name === 'all');
    return broken.length === 0 ? 0 : 1;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}
