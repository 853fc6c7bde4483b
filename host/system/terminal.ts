/** The outside world of a command: standard streams, files of the user, a prompt without echo. */
import { closeSync, fstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname } from 'node:path';
import { ReadStream } from 'node:tty';
import type { Environment } from '../ports/environment.ts';
import { makeFolder } from './folder.ts';

const FILE_SIZE_MAX = 64 * 1024 * 1024;

function readWhole(path: string): Uint8Array {
  const fd = openSync(path, 'r');
  try {
    // Pipes (`<(command)`) have no size; a regular file that is too large is refused before it is read.
    if (fstatSync(fd).size > FILE_SIZE_MAX) throw new Error(`${path} is larger than ${FILE_SIZE_MAX} bytes`);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

async function readInput(limit: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw new Error(`standard input is longer than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const CONTROL_C = 3;
const CONTROL_D = 4;
const BACKSPACES = new Set([8, 127]);

/** Reads a line from the terminal itself, without echo; the terminal is put back whatever happens. */
async function prompt(question: string): Promise<string> {
  const terminal = new ReadStream(openSync('/dev/tty', 'r'));
  process.stderr.write(question);
  terminal.setRawMode(true);
  try {
    const bytes: number[] = [];
    for await (const chunk of terminal as AsyncIterable<Buffer>) {
      for (const byte of chunk) {
        if (byte === CONTROL_C) throw new Error('interrupted');
        if (byte === 13 || byte === 10 || byte === CONTROL_D) return Buffer.from(bytes).toString('utf8');
        if (BACKSPACES.has(byte)) bytes.pop();
        else if (bytes.length < 65_536) bytes.push(byte);
      }
    }
    throw new Error('the terminal was closed');
  } finally {
    if (!terminal.destroyed) terminal.setRawMode(false);
    terminal.destroy();
    process.stderr.write('\n');
  }
}

function writePrivateFile(path: string, content: string): void {
  makeFolder(dirname(path));
  const next = `${path}.${process.pid}.next`;
  try {
    // 'wx' and then a rename: never written through a link, never seen half written.
    writeFileSync(next, content, { mode: 0o600, flag: 'wx' });
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  }
}

/** The environment of this process. */
export function terminalEnvironment(): Environment {
  return {
    variables: process.env,
    home: homedir(),
    interactive: process.stdout.isTTY === true,
    inputIsTerminal: process.stdin.isTTY === true,
    out: (text) => process.stdout.write(text),
    error: (text) => process.stderr.write(text),
    readInput,
    prompt,
    readFile: readWhole,
    readFileIfThere: (path) => {
      try {
        return readWhole(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    writePrivateFile,
    removeFile: (path) => rmSync(path, { force: true }),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  };
}
