// Limits and delays of the durable log, with their defaults.

export interface LogConfig {
  /** Size of a segment file. A batch that is larger makes its segment larger. */
  readonly segmentBytes: number;
  /** After this much idleness a synced mark closes the tail. */
  readonly markIdleMs: number;
  /** Newest payloads handed out at open, for the core's window. */
  readonly tailBytesMax: number;
  /** Segments are zero-filled in slices of this size, so that appends pass in between. */
  readonly zeroFillSliceBytes: number;
  /** Free-space floor: below it no new work is admitted. */
  readonly freeBytesMin: number;
  /** Space held back to open and compact on a full disk. 0: none. */
  readonly ballastBytes: number;
  readonly spaceCheckMs: number;
  /** The largest buffer kept for encoding; a larger batch gets a temporary one. */
  readonly arenaBytesMax: number;
  /** Damaged files kept aside for inspection; older ones are removed. */
  readonly damagedFilesMax: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_LOG_CONFIG: LogConfig = {
  segmentBytes: 64 * MIB,
  markIdleMs: 50,
  tailBytesMax: 16 * MIB,
  zeroFillSliceBytes: 256 * 1024,
  freeBytesMin: 256 * MIB,
  ballastBytes: 64 * MIB,
  spaceCheckMs: 1_000,
  arenaBytesMax: 8 * MIB,
  damagedFilesMax: 4,
};
