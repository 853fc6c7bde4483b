/** What is added to an answer on its way out: warnings of the parser, and whether it is wrapped. */
import type { Inbound } from '../ports/dispatch.ts';
import type { Answer } from '../ports/engine.ts';

/** Successful answers with a body are wrapped where the client or the operation asks for it; the shorter TTL wins. 0: not. */
export function wrapTtlOf(request: Inbound, { raw, wrapInfo, wrapTtl = 0, data, auth, status = 200 }: Answer): number {
  if (request.wrapTtl === 0 && wrapTtl === 0) return 0;
  const hasBody = data !== undefined || auth !== undefined;
  if (raw !== undefined || wrapInfo !== undefined || !hasBody || status >= 400) return 0;
  if (request.wrapTtl === 0 || wrapTtl === 0) return Math.max(request.wrapTtl, wrapTtl);
  return Math.min(request.wrapTtl, wrapTtl);
}

export function withWarnings(answer: Answer | undefined, warnings: readonly string[]): Answer | undefined {
  // Nothing to say stays 204, whatever was unknown in the request.
  if (warnings.length === 0 || answer === undefined || answer.raw !== undefined) return answer;
  return { ...answer, warnings: [...(answer.warnings ?? []), ...warnings] };
}
