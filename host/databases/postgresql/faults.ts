/** From what the driver or the server says to a fault, by SQLSTATE (PostgreSQL, appendix A), never by the text. */
import { Fault, type FaultCode } from '../../fault.ts';
import { networkSentence } from '../network.ts';
import { redact } from '../redact.ts';

/** Worth trying again: the connection, the server's resources, its coming up and going down, timeouts, conflicts. */
const UNREACHABLE = /^(08|53|57P0|57014|55P03|40|25P0[34]|58)/;
const STATE = /^[0-9A-Z]{5}$/;

export interface ServerError {
  readonly code: string;
  readonly message: string;
}

/** What others have that keeps a role: names of objects, which the message itself leaves out. */
const DEPENDENT_OBJECTS = '2BP01';

/** Undefined for what the server did not say. */
export function serverError(error: unknown): ServerError | undefined {
  const { code, message, severity, detail } = (error ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof code !== 'string' || !STATE.test(code) || typeof severity !== 'string') return undefined;
  const more = code === DEPENDENT_OBJECTS && typeof detail === 'string' ? `: ${detail}` : '';
  return { code, message: `${String(message)}${more}` };
}

/** Another transaction changed the same row of the catalogue: nothing was done, and it works when tried again. */
export function isConflict(error: unknown): boolean {
  const said = serverError(error);
  if (said === undefined) return false;
  return (
    /^40/.test(said.code) || (said.code === 'XX000' && /^tuple concurrently (updated|deleted)$/.test(said.message))
  );
}

export function isState(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes(serverError(error)?.code ?? '');
}

export function faultOf(error: unknown, secrets: readonly string[]): Fault {
  if (error instanceof Fault) return error;
  const said = serverError(error);
  if (said === undefined) return new Fault('database.unreachable', redact(networkSentence(error), secrets));
  const code: FaultCode =
    UNREACHABLE.test(said.code) || isConflict(error) ? 'database.unreachable' : 'database.refused';
  return new Fault(code, `the database server answers: ${redact(said.message, secrets)} (SQLSTATE ${said.code})`);
}
