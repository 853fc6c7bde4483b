/** The built-in audit log: what other rooms use. */
export type { Disagreement, Opener } from './check.ts';
export { coreOpener } from './check.ts';
export { type HeldEvent, HeldEvents } from './held.ts';
export { History } from './history.ts';
export { AuditLog } from './log.ts';
export { parseTilePath, type TileName } from './tiles.ts';
export type {
  AuditContext,
  AuditCore,
  AuditNote,
  AuditOptions,
  AuditOutcome,
  AuditRecord,
  AuditStart,
  AuditStarted,
  AuditState,
} from './types.ts';
export { LOG_ACCESSOR } from './types.ts';
export { type FolderReport, type VerifyOptions, verifyFolder } from './verify.ts';
