// The bounds of the driver, beside those of the core.
//
// Owns: every limit of a queue, batch, cache or wait in src/raft/node, with a default for each.

import type { RaftConfig } from '../core/index.ts';

export interface RaftNodeConfig extends RaftConfig {
  /** Commands are gathered into entries of about this size; one command is always allowed. */
  readonly entryBytesMax: number;
  readonly entryCommandsMax: number;
  /** A larger command is a programming error: bodies are bounded where they arrive. */
  readonly commandBytesMax: number;
  /** Bytes of commands waiting to be appended, in each of the two lanes. */
  readonly queueBytesMax: number;
  /** Part of `uncommittedBytesMax` that only the progress lane may use. */
  readonly progressReserveBytes: number;
  /** Bytes of entries merged into one write of the log; one effect is always allowed. */
  readonly persistBytesMax: number;
  /** Bytes and count of entries handed to the state machine at once; one is always allowed. */
  readonly applyBytesMax: number;
  readonly applyEntriesMax: number;
  /** The applier lets I/O be served after working for this long. */
  readonly applySliceMsMax: number;
  /** Reads and waits for an index that are open at once; beyond it new ones are refused. */
  readonly waitersMax: number;
  /** An unconfirmed read is asked again after this long, until its caller's timeout. */
  readonly readRetryMs: number;
  /** Log kept for a peer that receives a snapshot; beyond it the pin is void. */
  readonly pinBytesMax: number;
  readonly snapshotSendsMax: number;
  /** A snapshot that takes longer to send is given up; its transport bounds stalls. */
  readonly snapshotSendMsMax: number;
  /** A wait of `stop` for the write and the apply under way. */
  readonly stopMsMax: number;
  /** Wall and monotonic clock may advance differently by this much within a heartbeat round. */
  readonly clockDivergenceMsMax: number;
}

const MIB = 1024 * 1024;

export function raftNodeConfig(
  raft: RaftConfig,
  overrides: Partial<RaftNodeConfig> = {},
): RaftNodeConfig {
  return {
    entryBytesMax: MIB,
    entryCommandsMax: 1024,
    commandBytesMax: 16 * MIB,
    queueBytesMax: 32 * MIB,
    progressReserveBytes: Math.floor(raft.uncommittedBytesMax / 4),
    persistBytesMax: 8 * MIB,
    applyBytesMax: MIB,
    applyEntriesMax: 256,
    applySliceMsMax: 5,
    waitersMax: 16_384,
    readRetryMs: 25,
    pinBytesMax: 256 * MIB,
    snapshotSendsMax: 2,
    snapshotSendMsMax: 600_000,
    stopMsMax: 2_000,
    clockDivergenceMsMax: 500,
    ...raft,
    ...overrides,
  };
}
