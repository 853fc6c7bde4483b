/** What went wrong below the server's protocol, in a sentence that says what to do. */

const SENTENCES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens at the address and port of the database server',
  ECONNRESET: 'the database server ended the connection',
  EPIPE: 'the database server ended the connection',
  EHOSTUNREACH: 'there is no route to the database server',
  ENETUNREACH: 'there is no route to the database server',
  ETIMEDOUT: 'the database server does not answer',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'the certificate of the database server is for another name: connect by a name that it holds, or give tls_server_name',
  CERT_HAS_EXPIRED: 'the certificate of the database server has expired',
  CERT_NOT_YET_VALID: "the certificate of the database server is not valid yet by this box's clock",
};
const UNKNOWN_AUTHORITY = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
]);

export function networkSentence(error: unknown): string {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  const word = typeof code === 'string' ? code : '';
  if (UNKNOWN_AUTHORITY.has(word)) {
    return 'the certificate of the database server is by an authority that is not known: give it as tls_ca';
  }
  const sentence = Object.hasOwn(SENTENCES, word) ? SENTENCES[word] : undefined;
  return sentence ?? `the connection to the database server failed: ${String(message)}`;
}
