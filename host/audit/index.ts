/** The built-in audit log: what other rooms use. */
export { HeldEvents } from './held.ts';
export { AuditLog } from './log.ts';
export type {
  AuditContext,
  AuditNote,
  AuditOptions,
  AuditOutcome,
  AuditRecord,
  AuditStart,
  AuditStarted,
  AuditState,
} from './types.ts';
export { LOG_ACCESSOR } from './types.ts';
export { type Disagreement, type FolderReport, verifyFolder } from './verify.ts';
