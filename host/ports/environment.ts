/** What a command of the command line may know of the outside world: given by main.ts, faked by tests. */
export interface Environment {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** True if a person reads the answer: a line's end after a bare field. */
  readonly interactive: boolean;
  /** True if a person types the input: secrets are asked for without echo. */
  readonly inputIsTerminal: boolean;
  out(text: string): void;
  error(text: string): void;
  /** All of standard input, at most `limit` bytes. @throws Error beyond it */
  readInput(limit: number): Promise<Uint8Array>;
  /** Asks on the terminal without echo. @throws Error if there is no terminal */
  prompt(question: string): Promise<string>;
  readFile(path: string): Uint8Array;
  /** Undefined if there is no such file. */
  readFileIfThere(path: string): Uint8Array | undefined;
  /** Creates or replaces a file of mode 0600 in one step, and its folder with 0700. */
  writePrivateFile(path: string, content: string): void;
  removeFile(path: string): void;
  pause(ms: number): Promise<void>;
}
