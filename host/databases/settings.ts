/** What adapters' settings have in common: texts with a bound, flags, certificates, and how they are shown. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { Fault } from '../fault.ts';
import type { Value, ValueMap } from '../ports/value.ts';

const TEXT_LENGTH_MAX = 4096;
const PEM_LENGTH_MAX = 65_536;

/** Settings of the engine, which come along with the adapter's own. */
const ENGINES_OWN = new Set([
  'username_template',
  'max_open_connections',
  'max_idle_connections',
  'max_connection_lifetime',
  // Vault's: values are put into the parsed URL, where nothing needs escaping.
  'disable_escaping',
]);

export function invalid(sentence: string): Fault {
  return new Fault('input.invalid', sentence);
}

/** Reads settings one by one and remembers which were read. */
export class Settings {
  readonly #map: ValueMap;
  readonly #read = new Set<string>();

  constructor(map: ValueMap) {
    this.#map = map;
  }

  /** The first of these names that is set; '' when none is. */
  text(...names: readonly string[]): string {
    return this.#text(TEXT_LENGTH_MAX, names);
  }

  /** PEM certificates, '' when none is set. */
  certificates(...names: readonly string[]): string {
    const pem = this.#text(PEM_LENGTH_MAX, names);
    if (pem === '') return '';
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0) throw invalid(`${names[0]} holds no certificate in PEM form`);
    for (const block of blocks) {
      try {
        new X509Certificate(block);
      } catch {
        throw invalid(`${names[0]} holds a certificate that cannot be read; it must be PEM`);
      }
    }
    return `${blocks.join('\n')}\n`;
  }

  /** A PEM private key without a passphrase, '' when none is set. */
  privateKey(...names: readonly string[]): string {
    const pem = this.#text(PEM_LENGTH_MAX, names);
    if (pem === '') return '';
    const block = /-----BEGIN ([A-Z ]*)PRIVATE KEY-----[^-]+-----END \1PRIVATE KEY-----/.exec(pem)?.[0] ?? '';
    try {
      createPrivateKey(block);
    } catch {
      throw invalid(`${names[0]} holds no private key in PEM form without a passphrase`);
    }
    return `${block}\n`;
  }

  flag(name: string): boolean {
    this.#read.add(name);
    const value = this.#map[name];
    if (value === undefined || value === null || value === false || value === '' || value === 'false') return false;
    if (value === true || value === 'true') return true;
    throw invalid(`${name} must be true or false`);
  }

  /** @throws Fault `input.invalid` a setting that would change what the connection is, and that this adapter does not take */
  refuse(names: Readonly<Record<string, string>>): void {
    for (const [name, why] of Object.entries(names)) {
      this.#read.add(name);
      const value = this.#map[name];
      if (value !== undefined && value !== null && value !== '' && value !== false) throw invalid(`${name} ${why}`);
    }
  }

  /** Names alone: a value may be a secret under a misspelt name. */
  unread(): readonly string[] {
    return Object.keys(this.#map).filter((name) => !this.#read.has(name) && !ENGINES_OWN.has(name));
  }

  /** What the engine keeps with these settings, as it is. */
  enginesOwn(): Record<string, Value> {
    return Object.fromEntries(Object.entries(this.#map).filter(([name]) => ENGINES_OWN.has(name)));
  }

  #text(lengthMax: number, names: readonly string[]): string {
    for (const name of names) this.#read.add(name);
    for (const name of names) {
      const value = this.#map[name];
      if (value === undefined || value === null || value === '') continue;
      if (typeof value !== 'string') throw invalid(`${name} must be a text`);
      if (value.length > lengthMax) throw invalid(`${name} is longer than ${lengthMax} characters`);
      if (value.includes('\0') || !value.isWellFormed()) throw invalid(`${name} holds a character that no text may`);
      return value;
    }
    return '';
  }
}

/** @throws Fault `input.invalid` */
export function portOf(text: string, otherwise: number): number {
  if (text === '') return otherwise;
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535)
    throw invalid('connection_url has a port that is none (1 to 65535)');
  return port;
}

/** A part of a URL, `%xx` resolved. @throws Fault `input.invalid` naming the part, never its content */
export function unescaped(text: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`connection_url has a ${part} with a % that is followed by no two hexadecimal digits`);
  }
}
