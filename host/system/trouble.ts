/** What the operating system refuses, in a sentence for who started the program. */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'this user has no right to it',
  EPERM: 'this user has no right to it',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENOENT: 'there is no such file or folder',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EISDIR: 'it is a folder, not a file',
  ELOOP: 'it is a link, or there are too many of them',
  ENAMETOOLONG: 'the path is too long',
  EIO: 'the disk does not answer',
  EMFILE: 'too many files are open',
};

/** @returns undefined for what is no refusal of the system: a bug */
export function systemRefusal(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error)) return undefined;
  const { code, syscall, path } = thrown as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return undefined;
  return `${path === undefined ? 'this machine refused' : `${path} cannot be used`}: ${WORDS[code] ?? 'the system refused'} (${code} at ${syscall})`;
}
