// The door of the durable log.
export type { LogConfig } from './config.ts';
export { LogError, type LogErrorCode } from './errors.ts';
export { type FormatOptions, formatDirectory } from './format-directory.ts';
export type { Identity } from './identity.ts';
export { NodeFiles } from './node-files.ts';
export {
  type OpenedSegmentedLog,
  type OpenLogOptions,
  openLog,
  requireFormatted,
} from './opening.ts';
export type { FileHandle, Files } from './ports.ts';
export type { FlushMark, Installed } from './records.ts';
export {
  type LogBug,
  type LogMarks,
  type LogStats,
  SegmentedLog,
} from './segmented-log.ts';
