/** From what the driver or the server says to a fault, by the server's error number, never by the text. */
import { Fault } from '../../fault.ts';
import { networkSentence } from '../network.ts';
import { redact } from '../redact.ts';

/** Worth trying again: too many connections, going down, locks, timeouts, a killed session or query. */
const UNREACHABLE = new Set([
  1040, 1041, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1317, 1927, 1969, 3024, 4031,
]);
/** The server does not let this login in: wrong password, no such login, locked, expired. */
const SHUT_OUT = new Set([1045, 1698, 1820, 1862, 3118, 4151]);
/** Errors of the client's side in the same numbers. */
const CLIENT = /^(PROTOCOL_|HANDSHAKE_)/;

export function errorNumber(error: unknown): number | undefined {
  const { errno, code, sqlState } = (error ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof errno !== 'number' || typeof sqlState !== 'string' || CLIENT.test(String(code))) return undefined;
  return errno;
}

export function isShutOut(error: unknown): boolean {
  return SHUT_OUT.has(errorNumber(error) ?? 0);
}

export function faultOf(error: unknown, secrets: readonly string[]): Fault {
  if (error instanceof Fault) return error;
  const number = errorNumber(error);
  if (number === undefined) return new Fault('database.unreachable', redact(networkSentence(rootOf(error)), secrets));
  const { message } = error as { readonly message: string };
  const code = UNREACHABLE.has(number) ? 'database.unreachable' : 'database.refused';
  return new Fault(code, `the database server answers: ${redact(message, secrets)} (error ${number})`);
}

/** The driver writes a code of its own over that of TLS; what a name that does not fit leaves is its reason. */
function rootOf(error: unknown): unknown {
  const { code, message, reason } = (error ?? {}) as Readonly<Record<string, unknown>>;
  if (code !== 'HANDSHAKE_SSL_ERROR') return error;
  if (typeof reason === 'string') return { code: 'ERR_TLS_CERT_ALTNAME_INVALID' };
  return {
    message: `TLS is refused (${String(message)}); if the authority of the server's certificate is not known, give it as tls_ca`,
  };
}
