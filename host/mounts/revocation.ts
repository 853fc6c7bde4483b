/** Requests that run on the space kept back, when the log or the disk is full: they end what somebody may be misusing. */
const REVOCATION = /^(auth\/token\/revoke(-self|-accessor|-orphan)?$|sys\/(leases\/)?revoke(-prefix|-force)?(\/|$))/;

export const isRevocation = (path: string): boolean =>
  (path.startsWith('auth/token/') || path.startsWith('sys/')) && REVOCATION.test(path);
