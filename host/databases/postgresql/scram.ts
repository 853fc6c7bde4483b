/**
 * The verifier that PostgreSQL keeps of a password (SCRAM-SHA-256, RFC 5803 as pg_authid stores it), made here: the
 * statement, the server's log of statements and its replicas then never hold the password itself.
 */
import { createHmac, hash, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(pbkdf2);
/** The server's own default. */
const ITERATIONS = 4096;
export const SALT_SIZE = 16;
const KEY_SIZE = 32;
/** SASLprep (RFC 4013) leaves these as they are. */
const PRINTABLE = /^[\x20-\x7e]+$/;

/** False for passwords that SASLprep may change: those the server prepares by itself. */
export function isPreparedAlready(password: string): boolean {
  return PRINTABLE.test(password);
}

/** @param salt  16 random bytes */
export async function scramVerifier(password: string, salt: Uint8Array, iterations = ITERATIONS): Promise<string> {
  const salted = await derive(password, salt, iterations, KEY_SIZE, 'sha256');
  const client = createHmac('sha256', salted).update('Client Key').digest();
  const stored = hash('sha256', client, 'base64');
  const server = createHmac('sha256', salted).update('Server Key').digest('base64');
  salted.fill(0);
  client.fill(0);
  return `SCRAM-SHA-256$${iterations}:${Buffer.from(salt).toString('base64')}$${stored}:${server}`;
}
