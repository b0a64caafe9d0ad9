// What a Raft node needs from the world. Everything impure stands behind one of these.
//
// Completion is by callback on the hot path (append, apply) so that the simulator decides when each
// one happens, and by promise elsewhere. A port never calls back synchronously from inside a call.

import type {
  BootId,
  Entry,
  HardState,
  LogIndex,
  Message,
  NodeId,
  RecoveredState,
  SnapshotMeta,
  Term,
} from '../core/index.ts';

export type Cancel = () => void;

export interface Clock {
  /** Milliseconds, monotonic, fractional allowed. */
  monotonicMs(): number;
  wallMs(): number;
  after(delayMs: number, run: () => void): Cancel;
  /** Runs after the I/O that has already arrived has been handed over (setImmediate). */
  defer(run: () => void): void;
}

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

export interface LogBatch {
  readonly hardState: HardState | undefined;
  readonly truncateFrom: LogIndex | undefined;
  readonly entries: readonly Entry[];
  readonly recovered: boolean;
}

/** What the log says of damage it found; shown to operators, kept until healed. */
export interface RecoveringInfo {
  readonly reason: 'damaged' | 'ambiguous';
  readonly file: string;
  readonly offset: number;
  /** First index that may have been lost. */
  readonly lostFromIndex: LogIndex;
}

/**
 * The durable log. The first failed write ends the process (the implementation calls its fatal
 * port and never calls `done`).
 */
export interface LogStorage {
  /** At most one append at a time; `done` runs after the batch is fsynced. */
  append(batch: LogBatch, done: () => void): void;
  /** Durable entries `[from, to)`, at least one if any, at most `bytesMax` beyond the first. */
  read(from: LogIndex, to: LogIndex, bytesMax: number): Promise<readonly Entry[]>;
  /** Gives up whole segments that hold nothing above `index`. Resolves to the new base. */
  compact(index: LogIndex): Promise<{ readonly index: LogIndex; readonly term: Term }>;
  /** Makes a received generation effective: the `Installed` record, fsynced (DESIGN §4). */
  installed(meta: SnapshotMeta, generation: number): Promise<void>;
  /** False below the free-space floor or without a segment ahead: no new work. */
  admissionOpen(): boolean;
}

/** A snapshot being sent. `chunks` are checksummed by their producer. */
export interface SnapshotSource {
  readonly meta: SnapshotMeta;
  chunks(): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** The replicated state machine, as consensus sees it. */
export interface StateMachine {
  /** Contiguous committed entries; `done` after their effects are visible. One at a time. */
  apply(entries: readonly Entry[], done: () => void): void;
  /** A consistent image of the state at some applied index. Never blocks apply. */
  snapshot(): Promise<SnapshotSource>;
  /**
   * Writes a stream into a new generation, verified and synced, not in use. Rejects with a typed
   * error when the stream is damaged or cut.
   */
  receive(meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<number>;
  discard(generation: number): Promise<void>;
  /** Switches to a received generation. Called with no apply under way. */
  install(meta: SnapshotMeta, generation: number): Promise<void>;
}

/** Messages between nodes. Per peer FIFO within a lane; may lose, never reorders in a lane. */
export interface Transport {
  /** Queues messages; those to an unreachable peer are dropped and reported by `onUnreachable`. */
  send(messages: readonly Message[]): void;
  /** Streams a snapshot; resolves once the receiver says that it is durable. */
  sendSnapshot(to: NodeId, source: SnapshotSource): Promise<void>;
  start(receiver: TransportReceiver): void;
}

export interface TransportReceiver {
  message(message: Message): void;
  unreachable(peer: NodeId): void;
  refused(peer: NodeId): void;
  /** Resolves when the snapshot is durable here; rejects to make the sender give up. */
  snapshot(from: NodeId, meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<void>;
}

/** A broken invariant or a failed disk: stops the process (in production it does not return). */
export type Fatal = (error: Error, context: Readonly<Record<string, unknown>>) => void;

export interface NodeLog {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** What an opened log hands to the node that runs on it. */
export interface OpenedLog {
  readonly recovered: Omit<RecoveredState, 'appliedIndex'>;
  readonly recovering: RecoveringInfo | undefined;
  readonly bootId: BootId;
}
