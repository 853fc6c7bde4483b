/**
 * The configuration: one typed, bounded, frozen value. A flag wins over the environment, the environment over
 * `holdfast.json` in the configuration folder, the file over the profile that one of them names, that over `dev`.
 */
import { readFileSync, statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import airgapped from '../firmware-config/profiles/airgapped.json' with { type: 'json' };
import dev from '../firmware-config/profiles/dev.json' with { type: 'json' };
import edgeTpm from '../firmware-config/profiles/edge-tpm.json' with { type: 'json' };
import onpremHsm from '../firmware-config/profiles/onprem-hsm.json' with { type: 'json' };
import { type Key, KNOBS, readKnob, readKnobs, type Settings } from './config/knobs.ts';
import { formatListen, isLocal } from './config/listen.ts';
import { Fault } from './fault.ts';
import type { Value } from './ports/value.ts';

export type Config = Settings;

export interface ConfigSources {
  /** What follows `server` in the command line. */
  readonly args: readonly string[];
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly workingFolder: string;
}

export interface ServerOptions {
  readonly config: Config;
  /** Initialise an empty data folder. */
  readonly initialise: boolean;
}

const FILE_NAME = 'holdfast.json';
const FILE_SIZE_MAX = 65_536;

/** `dev` sets every knob; the others say what is different in them. */
const PROFILES = { dev, 'edge-tpm': edgeTpm, 'onprem-hsm': onpremHsm, airgapped } as const;

/** Names that others hold on to: each setting's key, its flag where it has one, and its variable. */
const NAMES = [
  { key: 'profile', flag: 'profile', variable: 'HOLDFAST_PROFILE' },
  { key: 'listen', flag: 'listen', variable: 'HOLDFAST_LISTEN' },
  { key: 'data', flag: 'data', variable: 'HOLDFAST_DATA' },
  { key: 'config', flag: 'config', variable: 'HOLDFAST_CONFIG' },
  { key: 'tls.mode', flag: 'tls', variable: 'HOLDFAST_TLS' },
  { key: 'tls.certificateFile', flag: 'tls-cert', variable: 'HOLDFAST_TLS_CERT' },
  { key: 'tls.keyFile', flag: 'tls-key', variable: 'HOLDFAST_TLS_KEY' },
  { key: 'seal.tpm2.tcti', variable: 'HOLDFAST_TPM2_TCTI' },
  { key: 'seal.pkcs11.module', variable: 'HOLDFAST_PKCS11_MODULE' },
  { key: 'seal.pkcs11.token', variable: 'HOLDFAST_PKCS11_TOKEN' },
  { key: 'seal.pkcs11.pinFile', variable: 'HOLDFAST_PKCS11_PIN_FILE' },
] as const satisfies readonly { readonly key: Key; readonly flag?: string; readonly variable: string }[];

/** What a flag or a variable says as it is; the others are lists, or paths that may be relative. */
const TEXTS: ReadonlySet<Key> = new Set<Key>(['profile', 'tls.mode', 'seal.tpm2.tcti', 'seal.pkcs11.token']);

export const SERVER_USAGE = `Usage: holdfast server [options]

  --init           Initialise an empty data folder: the slots of the profile, one recovery share, KV version 2 at secret/
  --profile=NAME   dev, edge-tpm, onprem-hsm or airgapped: firmware-config/profiles          (HOLDFAST_PROFILE, default dev)
  --listen=ADDR    HOST:PORT or unix:PATH, several with commas          (HOLDFAST_LISTEN, default 127.0.0.1:8200)
  --data=FOLDER    Store and audit log          (HOLDFAST_DATA, default $XDG_STATE_HOME/holdfast)
  --config=FOLDER  Settings, root token, ca.pem, key file          (HOLDFAST_CONFIG, default $XDG_CONFIG_HOME/holdfast)
  --tls=on|off     off: loopback and unix sockets only          (HOLDFAST_TLS, default on)
  --tls-cert=FILE  Own certificate, PEM          (HOLDFAST_TLS_CERT)
  --tls-key=FILE   Its key, PEM          (HOLDFAST_TLS_KEY)

Where the TPM or the HSM is: HOLDFAST_TPM2_TCTI, HOLDFAST_PKCS11_MODULE, HOLDFAST_PKCS11_TOKEN, HOLDFAST_PKCS11_PIN_FILE.
Every other setting lies in holdfast.json in the configuration folder; firmware-config/profiles/README.md lists them all.
`;

/** @throws Fault `input.invalid` with a sentence that names the setting and where it stands */
export function loadConfig(sources: ConfigSources): ServerOptions {
  const { flags, initialise } = parseFlags(sources.args);
  const stated = new Map<Key, { readonly text: string; readonly source: string }>();
  for (const name of NAMES) {
    const { key, variable } = name;
    const text = 'flag' in name ? flags.get(name.flag) : undefined;
    const inherited = sources.variables[variable];
    if (text !== undefined && 'flag' in name) stated.set(key, { text, source: `--${name.flag}` });
    else if (inherited !== undefined && inherited !== '') stated.set(key, { text: inherited, source: variable });
  }
  const said: { [key: string]: unknown } = {};
  for (const [key, { text, source }] of stated)
    said[key] = readKnob(key, statedValue(key, text, sources.workingFolder), source);

  const folder = (said['config'] as string | undefined) ?? xdg(sources, 'XDG_CONFIG_HOME', '.config');
  const file = join(folder, FILE_NAME);
  const written = readKnobs(readFile(file), file);
  if (written.config !== undefined && written.config !== '' && written.config !== folder) {
    throw new Fault('input.invalid', `${file}: config names another folder than the one that the file lies in`);
  }
  const profile = (said as Partial<Settings>).profile ?? written.profile ?? 'dev';
  const settings: Settings = {
    ...profileSettings(profile),
    ...written,
    ...(said as Partial<Settings>),
    config: folder,
  };
  const data = settings.data === '' ? xdg(sources, 'XDG_STATE_HOME', join('.local', 'state')) : settings.data;
  return { config: check(Object.freeze({ ...settings, data })), initialise };
}

/** All that a profile sets. */
export function profileSettings(name: keyof typeof PROFILES): Settings {
  const base = readKnobs(PROFILES.dev, 'the embedded profile dev') as Settings;
  return { ...base, ...readKnobs(PROFILES[name], `the embedded profile ${name}`) };
}

export const PROFILE_NAMES = Object.keys(PROFILES) as readonly (keyof typeof PROFILES)[];

/** What single knobs cannot say. */
function check(config: Config): Config {
  const invalid = (sentence: string): never => {
    throw new Fault('input.invalid', sentence);
  };
  if (config['tls.mode'] === 'off') {
    const open = config.listen.find((one) => !isLocal(one));
    if (open !== undefined) {
      invalid(`TLS may be off on loopback addresses and unix sockets only, and ${formatListen(open)} is neither`);
    }
  }
  const certificate = config['tls.certificateFile'];
  if ((certificate === '') !== (config['tls.keyFile'] === '')) {
    invalid('a certificate of your own needs both its file and the file of its key');
  }
  if (config['leases.defaultTtlMs'] > config['leases.maxTtlMs']) {
    invalid('leases.defaultTtlMs must not be above leases.maxTtlMs');
  }
  if (!config['seal.allowed'].includes('shamir')) {
    invalid('seal.allowed must include shamir: it is the recovery quorum of every box');
  }
  checkSlots(config, invalid);
  const inside = (child: string, parent: string): boolean => child === parent || child.startsWith(`${parent}/`);
  if (inside(config.config, config.data)) {
    invalid('the configuration folder must lie outside the data folder: it holds the key file that opens it');
  }
  return config;
}

function checkSlots(config: Config, invalid: (sentence: string) => never): void {
  const strange = config['seal.initial'].find((kind) => kind === 'shamir' || !config['seal.allowed'].includes(kind));
  if (strange !== undefined) {
    invalid(
      strange === 'shamir'
        ? 'seal.initial names what a new box gets beside its shares: take shamir out'
        : `seal.initial names ${strange}, which seal.allowed does not: a box would be made that it cannot open`,
    );
  }
  if ((config['seal.pkcs11.module'] === '') !== (config['seal.pkcs11.token'] === '')) {
    invalid(
      'an HSM needs its module (seal.pkcs11.module) and the label of its token (seal.pkcs11.token): one is missing',
    );
  }
  if (config['seal.initial'].includes('pkcs11') && config['seal.pkcs11.module'] === '') {
    invalid(
      `profile ${config.profile} opens the box by an HSM: name its module in seal.pkcs11.module (HOLDFAST_PKCS11_MODULE) and its token in seal.pkcs11.token (HOLDFAST_PKCS11_TOKEN)`,
    );
  }
  if ((config['seal.tpm2.signerFile'] === '') !== (config['seal.tpm2.policyFolder'] === '')) {
    invalid('signed boot policies need both seal.tpm2.signerFile and seal.tpm2.policyFolder');
  }
  if (config['seal.allowed'].includes('tpm2') && config['seal.tpm2.tcti'] === '') {
    // tpm2-tss would look for a software TPM on this machine's ports, where anybody could have put one.
    invalid('seal.tpm2.tcti is empty: name the TPM, as device:/dev/tpmrm0');
  }
}

/** Text of a flag or variable as the value that the file would have. */
function statedValue(key: Key, text: string, workingFolder: string): Value {
  if (key === 'listen') {
    return text.split(',').map((one) => {
      const address = one.trim();
      const path = address.startsWith('unix:') ? address.slice('unix:'.length) : '';
      return path === '' || isAbsolute(path) ? address : `unix:${resolve(workingFolder, path)}`;
    });
  }
  return TEXTS.has(key) ? text : resolve(workingFolder, text);
}

function xdg(sources: ConfigSources, variable: string, below: string): string {
  const base = sources.variables[variable];
  // The XDG specification: a relative path is invalid and ignored.
  if (base !== undefined && isAbsolute(base)) return resolve(base, 'holdfast');
  const home = sources.variables['HOME'];
  if (home === undefined || !isAbsolute(home)) {
    throw new Fault('input.invalid', `neither ${variable} nor HOME names a folder: say --data and --config`);
  }
  return resolve(home, below, 'holdfast');
}

function readFile(path: string): Value {
  let text: string;
  try {
    const { size, mode } = statSync(path);
    if (size > FILE_SIZE_MAX) throw new Fault('input.invalid', `${path} is larger than ${FILE_SIZE_MAX} bytes`);
    if ((mode & 0o022) !== 0)
      throw new Fault('input.invalid', `${path} may be written by other users: make its mode 0600`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw error;
  }
  try {
    return JSON.parse(text) as Value;
  } catch (error) {
    // The message of JSON.parse repeats a part of the text.
    throw new Fault('input.invalid', `${path} is not well-formed JSON`, { cause: error });
  }
}

/** `--name=value`, `--name value`, `--init`; each at most once. */
function parseFlags(args: readonly string[]): { readonly flags: Map<string, string>; readonly initialise: boolean } {
  const flags = new Map<string, string>();
  let initialise = false;
  for (let at = 0; at < args.length; at++) {
    const parts = /^--?([a-z-]+)(?:=(.*))?$/s.exec(args[at] ?? '');
    const name = parts?.[1] ?? '';
    if (name === 'init' && parts?.[2] === undefined) {
      initialise = true;
      continue;
    }
    if (!NAMES.some((one) => 'flag' in one && one.flag === name)) {
      throw new Fault(
        'input.invalid',
        `holdfast server does not know ${JSON.stringify((args[at] ?? '').slice(0, 64))}`,
      );
    }
    const value = parts?.[2] ?? args[++at];
    if (value === undefined || value === '') throw new Fault('input.invalid', `--${name} needs a value`);
    if (flags.has(name)) throw new Fault('input.invalid', `--${name} is given twice`);
    flags.set(name, value);
  }
  return { flags, initialise };
}

/** All keys, for documents and tests. */
export const CONFIG_KEYS = Object.keys(KNOBS) as readonly Key[];
