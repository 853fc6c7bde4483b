#!/usr/bin/env node
// Signs boot policies for a box whose TPM slot asks for them: which firmware may open it, and from which version on.
// Node's own modules only, no TPM needed: it runs where the signing key lies. README.md beside it has an example.
import { createHash, createPrivateKey, createPublicKey, sign as signBytes, verify as verifyBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import process from 'node:process';

const USAGE = `usage: node pcr-policy.mjs COMMAND --appliance UUID --version N --pcrs FILE [--index 0x01800020] …

  sign     --key FILE --out POLICY.json        sign with a P-256 key in PEM; a passphrase is read from standard input
  message  --out FILE                          write the bytes to sign where the key lies in an HSM (ECDSA, SHA-256)
  attach   --signature FILE --signer FILE --out POLICY.json
                                               make the policy of a signature of those bytes (DER, or 64 bytes r ‖ s)
  check    --signer FILE POLICY.json           say whether a policy holds for these PCRs; --version may be left out

  --appliance  id of the box, as \`holdfast status\` names it (Cluster ID)
  --version    whole number: the box opens with it while its version index is not above it, and raises the index to it
  --pcrs       values of the PCRs of the slot, each line "7 : 0x64 hex digits", as \`tpm2_pcrread sha256:…\` prints them
  --index      NV index of the version, as seal.tpm2.versionIndex has it
`;

const FILE_SIZE_MAX = 16_384;
const VERSION_MAX = 2 ** 32 - 1;
const CC_POLICY_NV = 0x149;
const CC_POLICY_PCR = 0x17f;
const SHA256 = 0x000b;
/** COUNTER, AUTHREAD, AUTHWRITE, OWNERREAD, NO_DA, WRITTEN: the index as the box makes it (core/spec/tpm2.md, Counter). */
const INDEX_ATTRIBUTES = 0x2206_0014;
const UNSIGNED_LE = 0x0009;

/** A mistake of whoever called: told as a sentence. */
class Mistake extends Error {}
const fail = (sentence) => {
  throw new Mistake(sentence);
};

const u16 = (value) => Buffer.of(value >>> 8, value & 0xff);
function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}
function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
function sha256(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** @param pcrs  Map from number to 32 bytes @returns digest of PolicyPCR ∧ PolicyNV(index ≤ version) */
function policyDigest(pcrs, index, version) {
  const numbers = [...pcrs.keys()].sort((a, b) => a - b);
  const mask = numbers.reduce((sum, number) => sum | (1 << number), 0);
  const bits = Buffer.of(3, mask & 0xff, (mask >>> 8) & 0xff, (mask >>> 16) & 0xff);
  const selection = Buffer.concat([u32(1), u16(SHA256), bits]);
  const values = sha256(...numbers.map((number) => pcrs.get(number)));
  const afterPcrs = sha256(Buffer.alloc(32), u32(CC_POLICY_PCR), selection, values);
  const area = Buffer.concat([u32(index), u16(SHA256), u32(INDEX_ATTRIBUTES), u16(0), u16(8)]);
  const name = Buffer.concat([u16(SHA256), sha256(area)]);
  const condition = sha256(u64(version), u16(0), u16(UNSIGNED_LE));
  return sha256(afterPcrs, u32(CC_POLICY_NV), condition, name);
}

/** What is signed: the digest, bound to one box. */
const messageOf = (digest, applianceId) =>
  Buffer.concat([digest, sha256(Buffer.from('holdfast/v1/tpm2-policy', 'ascii'), applianceId)]);

// ---------------------------------------------------------------------------------------------- reading

function readSmall(path, what) {
  let status;
  try {
    status = statSync(path);
  } catch {
    fail(`${what} cannot be read: ${path}`);
  }
  if (!status.isFile() || status.size > FILE_SIZE_MAX) fail(`${what} is no small file: ${path}`);
  return readFileSync(path);
}

function parseAppliance(text) {
  const hex = text.replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(hex))
    fail('--appliance is the id of the box: 32 hex digits, as `holdfast status` names it');
  return Buffer.from(hex, 'hex');
}

function parseVersion(text) {
  if (!/^\d{1,10}$/.test(text) || Number(text) > VERSION_MAX) fail(`--version is a whole number up to ${VERSION_MAX}`);
  return Number(text);
}

function parseIndex(text) {
  const index = /^0x[0-9a-f]{8}$/i.test(text) ? Number(text) : 0;
  if (index < 0x0180_0000 || index > 0x01bf_ffff) fail('--index is an NV index of the owner, 0x01800000 to 0x01bfffff');
  return index;
}

function readPcrs(path) {
  const pcrs = new Map();
  for (const line of readSmall(path, 'the file of --pcrs').toString('utf8').split(/\r?\n/)) {
    if (line.trim() === '' || /^\s*sha256\s*:\s*$/.test(line)) continue;
    const [, number, hex] = /^\s*(\d{1,2})\s*:\s*(?:0x)?([0-9a-f]{64})\s*$/i.exec(line) ?? [];
    if (number === undefined || Number(number) > 23) fail(`${path} has a line that is no PCR of the SHA-256 bank`);
    if (pcrs.has(Number(number))) fail(`${path} names PCR ${number} twice`);
    if (/^(?:0{64}|f{64})$/i.test(hex))
      fail(`PCR ${number} in ${path} was never measured: it says nothing of a firmware`);
    pcrs.set(Number(number), Buffer.from(hex, 'hex'));
  }
  if (pcrs.size === 0) fail(`${path} names no PCR`);
  return pcrs;
}

function readSigner(path) {
  try {
    const key = createPublicKey(readSmall(path, 'the file of --signer'));
    if (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
  } catch (error) {
    if (error instanceof Mistake) throw error;
  }
  return fail(`--signer is a public key on P-256 in PEM: ${path} is none`);
}

/** The passphrase of an encrypted key comes by standard input: arguments and variables can be read by others. */
function readKey(path) {
  const pem = readSmall(path, 'the file of --key');
  if ((statSync(path).mode & 0o077) !== 0) fail(`other users may read ${path}: make its mode 0600`);
  let key;
  try {
    const encrypted = /ENCRYPTED/.test(pem.toString('latin1'));
    const passphrase = encrypted ? readFileSync(0, 'utf8').replace(/\r?\n$/, '') : undefined;
    key = createPrivateKey(encrypted ? { key: pem, passphrase } : pem);
  } catch {
    fail(
      `--key is a private key on P-256 in PEM, with its passphrase on standard input if it has one: ${path} does not open`,
    );
  } finally {
    pem.fill(0);
  }
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    fail(`--key is a private key on P-256: ${path} is another`);
  return key;
}

/** 64 bytes r ‖ s, of that or of DER as HSMs and openssl give it. */
function readSignature(path, message, signer) {
  const bytes = readSmall(path, 'the file of --signature');
  if (bytes.length === 64 && verifies(message, signer, bytes)) return bytes;
  if (verifyBytes('sha256', message, { key: signer, dsaEncoding: 'der' }, bytes)) return fromDer(bytes);
  return fail(`${path} is no signature of these bytes by the key of --signer`);
}

/** A signature that was verified: SEQUENCE of two INTEGERs, each of at most 33 bytes. */
function fromDer(der) {
  const parts = [];
  for (let at = 2; at < der.length; at += 2 + der[at + 1]) parts.push(der.subarray(at + 2, at + 2 + der[at + 1]));
  return Buffer.concat(
    parts.map((part) => {
      const bytes = part.length > 32 ? part.subarray(part.length - 32) : part;
      return Buffer.concat([Buffer.alloc(32 - bytes.length), bytes]);
    }),
  );
}

const verifies = (message, key, signature) =>
  verifyBytes('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature);

function readPolicy(path) {
  try {
    const { version, digest, signature, ...rest } = JSON.parse(readSmall(path, 'the policy').toString('utf8'));
    const whole = Number.isInteger(version) && version >= 0 && version <= VERSION_MAX && Object.keys(rest).length === 0;
    if (whole && /^[0-9a-f]{64}$/.test(digest) && /^[0-9a-f]{128}$/.test(signature))
      return { version, digest: Buffer.from(digest, 'hex'), signature: Buffer.from(signature, 'hex') };
  } catch (error) {
    if (error instanceof Mistake) throw error;
  }
  return fail(`${path} is no signed boot policy`);
}

// ---------------------------------------------------------------------------------------------- writing

/** Under another name first: a box that reads the folder meanwhile sees it whole or not at all. */
function writeNew(path, content) {
  if (existsSync(path)) fail(`${path} is there already: a policy is not written over`);
  writeFileSync(`${path}.part`, content, { flag: 'wx', mode: 0o644 });
  renameSync(`${path}.part`, path);
}

function policyText(version, digest, signature) {
  return `${JSON.stringify({ version, digest: digest.toString('hex'), signature: signature.toString('hex') })}\n`;
}

// ---------------------------------------------------------------------------------------------- commands

const COMMANDS = {
  sign: { takes: ['appliance', 'version', 'pcrs', 'index', 'key', 'out'], positional: 0 },
  message: { takes: ['appliance', 'version', 'pcrs', 'index', 'out'], positional: 0 },
  attach: { takes: ['appliance', 'version', 'pcrs', 'index', 'signature', 'signer', 'out'], positional: 0 },
  check: { takes: ['appliance', 'version', 'pcrs', 'index', 'signer'], positional: 1 },
};
const OPTIONAL = { index: '0x01800020' };

function parseArguments(name, given) {
  const { takes, positional } = COMMANDS[name];
  const options = { ...OPTIONAL };
  const rest = [];
  for (let at = 0; at < given.length; at++) {
    const word = given[at];
    if (!word.startsWith('--')) {
      rest.push(word);
      continue;
    }
    const option = word.slice(2);
    if (!takes.includes(option)) fail(`${name} takes no --${option}`);
    if (given[at + 1] === undefined) fail(`--${option} has no value`);
    options[option] = given[++at];
  }
  for (const option of takes) {
    if (options[option] === undefined && !(name === 'check' && option === 'version')) fail(`--${option} is missing`);
  }
  if (rest.length !== positional) fail(positional === 0 ? 'only options are taken' : 'name one policy to check');
  return { options, rest };
}

function run(name, given) {
  const { options, rest } = parseArguments(name, given);
  const applianceId = parseAppliance(options.appliance);
  const pcrs = readPcrs(options.pcrs);
  const index = parseIndex(options.index);
  const numbers = [...pcrs.keys()].sort((a, b) => a - b).join(', ');
  if (name === 'check') {
    const policy = readPolicy(rest[0]);
    if (options.version !== undefined && parseVersion(options.version) !== policy.version)
      fail(`${rest[0]} is of version ${policy.version}`);
    const signer = readSigner(options.signer);
    if (!verifies(messageOf(policy.digest, applianceId), signer, policy.signature))
      fail(`${rest[0]} was signed by another key, or for another box`);
    if (!policyDigest(pcrs, index, policy.version).equals(policy.digest))
      fail(`${rest[0]} is for other PCRs, or for another version index`);
    return `opens this box at version ${policy.version} with these values of PCR ${numbers}`;
  }
  const version = parseVersion(options.version);
  const digest = policyDigest(pcrs, index, version);
  const message = messageOf(digest, applianceId);
  if (name === 'message') {
    writeNew(options.out, message);
    return `sign these ${message.length} bytes with ECDSA P-256 and SHA-256: ${options.out}`;
  }
  let signature;
  if (name === 'sign')
    signature = signBytes('sha256', message, { key: readKey(options.key), dsaEncoding: 'ieee-p1363' });
  else signature = readSignature(options.signature, message, readSigner(options.signer));
  writeNew(options.out, policyText(version, digest, signature));
  return `version ${version}, PCR ${numbers}: ${options.out}`;
}

const [name = '', ...given] = process.argv.slice(2);
if (!Object.hasOwn(COMMANDS, name)) {
  process.stderr.write(USAGE);
  process.exitCode = name === '--help' || name === '-h' ? 0 : 64;
} else {
  try {
    process.stdout.write(`${run(name, given)}\n`);
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    process.stderr.write(`pcr-policy: ${error.message}\n`);
    process.exitCode = 1;
  }
}
