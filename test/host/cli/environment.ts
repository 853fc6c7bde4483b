import type { Environment } from '../../../host/ports/environment.ts';

/** A command's outside world, in memory. */
export interface FakeEnvironment extends Environment {
  readonly files: Map<string, string>;
  readonly output: () => string;
  readonly errors: () => string;
  readonly asked: string[];
}

export function fakeEnvironment(
  given: {
    readonly variables?: Record<string, string>;
    readonly input?: string;
    readonly typed?: string;
    readonly files?: Record<string, string>;
  } = {},
): FakeEnvironment {
  let out = '';
  let err = '';
  const files = new Map(Object.entries(given.files ?? {}));
  const asked: string[] = [];
  const read = (path: string): Uint8Array | undefined => {
    const text = files.get(path);
    return text === undefined ? undefined : Buffer.from(text);
  };
  return {
    variables: given.variables ?? {},
    home: '/home/person',
    interactive: given.typed !== undefined,
    inputIsTerminal: given.typed !== undefined,
    out: (text) => {
      out += text;
    },
    error: (text) => {
      err += text;
    },
    readInput: async () => Buffer.from(given.input ?? ''),
    prompt: async (question) => {
      asked.push(question);
      return given.typed ?? '';
    },
    readFile: (path) => {
      const bytes = read(path);
      if (bytes === undefined) throw new Error(`there is no ${path}`);
      return bytes;
    },
    readFileIfThere: read,
    writePrivateFile: (path, content) => {
      files.set(path, content);
    },
    removeFile: (path) => {
      files.delete(path);
    },
    pause: async () => {},
    files,
    asked,
    output: () => out,
    errors: () => err,
  };
}
