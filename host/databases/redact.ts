/**
 * A server's message without the secrets that were sent to it. A server may repeat a statement, or a part of one that it
 * cut off anywhere: so every run of four characters that a secret has too is cut out, not the whole secret alone.
 */

/** Shorter secrets are cut out whole. */
const RUN = 4;
const LENGTH_MAX = 500;

/** Control bytes, line ends and what terminals obey. */
const CONTROL = /[\p{Cc}\u2028\u2029]+/gu;

/** One line, at most 500 characters. */
export function redact(message: string, secrets: readonly string[]): string {
  const hidden = new Uint8Array(message.length);
  for (const secret of secrets) hide(message, secret, hidden);
  let out = '';
  for (let at = 0; at < message.length; at++) {
    if (hidden[at] === 0) out += message[at];
    else if (at === 0 || hidden[at - 1] === 0) out += '[secret]';
  }
  const line = out.replace(CONTROL, ' ').trim().toWellFormed();
  return line.length > LENGTH_MAX ? `${line.slice(0, LENGTH_MAX)} …` : line;
}

function hide(message: string, secret: string, hidden: Uint8Array): void {
  const run = Math.min(RUN, secret.length);
  if (run === 0) return;
  const runs = new Set<string>();
  for (let at = 0; at + run <= secret.length; at++) runs.add(secret.slice(at, at + run));
  for (let at = 0; at + run <= message.length; at++) {
    if (runs.has(message.slice(at, at + run))) hidden.fill(1, at, at + run);
  }
}
