// The bounds and rates of the state store; each is a config key of the node.

export interface StoreConfig {
  /** A change waits at most about this long before a flush begins. */
  readonly flushIntervalMs: number;
  /** Bytes in the active overlay at which a flush begins at once. */
  readonly flushBytes: number;
  /** Bytes in the active overlay at which applying waits for the flush under way. */
  readonly overlayBytesMax: number;
  /** How often a waiting flush looks at the durable log and the free space. */
  readonly flushPollMs: number;
  readonly readCacheBytesMax: number;
  /** Ledger entries kept at least. */
  readonly ledgerKeepMin: number;
  /** LevelDB's write buffer: bounds how many batches its write-ahead logs can hold. */
  readonly writeBufferBytes: number;
  /** Pairs and bytes read from LevelDB at a time by ranges, snapshots and audits. */
  readonly pageKeysMax: number;
  readonly pageBytesMax: number;
  /** The scrub reads this much every so often, and rests after each pass. */
  readonly scrubIntervalMs: number;
  readonly scrubKeysMax: number;
  readonly scrubBytesMax: number;
  readonly scrubRestMs: number;
  /** Payload bytes of one snapshot chunk. */
  readonly chunkBytesMax: number;
  /** Bytes gathered before a received snapshot is written and synced. */
  readonly receiveBatchBytes: number;
  /** A record of a snapshot larger than this is damage: nothing is allocated for it. */
  readonly recordBytesMax: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_STORE_CONFIG: StoreConfig = {
  flushIntervalMs: 500,
  flushBytes: 8 * MIB,
  overlayBytesMax: 32 * MIB,
  flushPollMs: 2,
  readCacheBytesMax: 16 * MIB,
  ledgerKeepMin: 1_000,
  writeBufferBytes: 4 * MIB,
  pageKeysMax: 512,
  pageBytesMax: MIB,
  scrubIntervalMs: 1_000,
  scrubKeysMax: 250,
  scrubBytesMax: MIB,
  scrubRestMs: 3_600_000,
  chunkBytesMax: 256 * KIB,
  receiveBatchBytes: MIB,
  recordBytesMax: 64 * MIB,
};

/** Deliberate bugs for the simulator's gate; empty outside tests. */
export type StoreBug =
  | 'flushPastDurableLog'
  | 'noLedgerCheck'
  | 'appliedIndexNotInBatch'
  | 'skipValueChecksum';
