import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-prepare-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let made = 0;
/** A clone with the two launchers, an `npm` and a `build.mjs` that only write down that they were called. */
class Clone {
  readonly root = join(scratch, String(made++));
  readonly #calls = join(this.root, 'calls');

  constructor() {
    for (const name of ['prepare.mjs', 'holdfast.mjs']) this.#copy(`host/cli/${name}`);
    this.write('package-lock.json', '{}');
    this.write('asconfig.json', '{}');
    this.write('core/index.ts', '');
    this.write('firmware-config/dev.json', '{}');
    const mark = (name: string): string =>
      `appendFileSync(${JSON.stringify(this.#calls)}, '${name} ' + process.argv.slice(2).join(' ') + '\\n')`;
    const touch = (path: string): string =>
      `mkdirSync('${dirname(path)}', { recursive: true }); writeFileSync('${path}', '')`;
    const head = "import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';";
    this.write('build.mjs', `${head} ${mark('build')}; ${touch('dist/core.wasm')}; ${touch('dist/holdfast.mjs')};`);
    this.write('bin/npm.mjs', `${head} ${mark('npm')}; ${touch('node_modules/.package-lock.json')};`);
    this.write('bin/npm', `#!/bin/sh\nexec "${process.execPath}" "${join(this.root, 'bin/npm.mjs')}" "$@"\n`);
    chmodSync(join(this.root, 'bin/npm'), 0o755);
  }

  #copy(path: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    cpSync(path, join(this.root, path));
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  /** Makes a file look changed `seconds` from now. */
  age(path: string, seconds: number): void {
    const at = Date.now() / 1000 + seconds;
    utimesSync(join(this.root, path), at, at);
  }

  run(program: string, ...args: string[]) {
    const PATH = `${join(this.root, 'bin')}:/usr/bin:/bin`;
    return spawnSync(process.execPath, [join(this.root, program), ...args], { env: { PATH }, encoding: 'utf8' });
  }

  /** What the launchers called since the last look. */
  calls(): string[] {
    if (!existsSync(this.#calls)) return [];
    const lines = readFileSync(this.#calls, 'utf8').trim().split('\n');
    rmSync(this.#calls);
    return lines.map((line) => line.trim());
  }
}

describe('before npm start', () => {
  test('a fresh clone gets its packages and its build; a second start neither', () => {
    const clone = new Clone();
    expect(clone.run('host/cli/prepare.mjs')).toMatchObject({ status: 0, stdout: '' });
    expect(clone.calls()).toEqual(['npm ci --include=dev --no-audit --no-fund', 'build']);
    expect(clone.run('host/cli/prepare.mjs').status).toBe(0);
    expect(clone.calls()).toEqual([]);
  });

  test('a changed lock file brings new packages and a new build, a changed source a new build', () => {
    const clone = new Clone();
    clone.run('host/cli/prepare.mjs');
    clone.calls();
    clone.age('package-lock.json', 5);
    for (const path of ['dist/core.wasm', 'dist/holdfast.mjs']) clone.age(path, -5);
    expect(clone.run('host/cli/prepare.mjs').status).toBe(0);
    expect(clone.calls()).toEqual(['npm ci --include=dev --no-audit --no-fund', 'build']);
    clone.age('package-lock.json', -10);
    for (const path of ['core/index.ts', 'firmware-config/dev.json', 'build.mjs', 'asconfig.json']) {
      clone.age(path, 3);
      expect(clone.run('host/cli/prepare.mjs').status).toBe(0);
      expect([path, clone.calls()]).toEqual([path, ['build']]);
      clone.age(path, -10);
    }
    expect(clone.run('host/cli/prepare.mjs').status).toBe(0);
    expect(clone.calls()).toEqual([]);
  });

  test('a step that fails ends the start with a sentence', () => {
    const clone = new Clone();
    clone.write('build.mjs', 'process.exit(3)');
    const { status, stderr } = clone.run('host/cli/prepare.mjs');
    expect(status).toBe(1);
    expect(stderr).toContain('failed; its messages are above');
  });
});

describe('the launcher', () => {
  test('says what to do where nothing is built', () => {
    const { status, stdout, stderr } = new Clone().run('host/cli/holdfast.mjs', 'status');
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toContain('not built yet: run `npm start`');
  });

  test('hands the arguments to the built program, and its exit code back', () => {
    const clone = new Clone();
    clone.write(
      'dist/holdfast.mjs',
      'export async function main(args) { console.log(args.join("|")); process.exitCode = 7; }',
    );
    const { status, stdout } = clone.run('host/cli/holdfast.mjs', 'kv', 'get', 'a b');
    expect([status, stdout]).toEqual([7, 'kv|get|a b\n']);
  });
});
