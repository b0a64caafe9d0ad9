// The vocabulary of consensus: entries, configurations, messages, events and effects.
//
// Owns: the shapes that cross the border of the pure core. Holds no behaviour.
// Every number here is a safe integer; index 0 / term 0 is the slot before the first entry, and
// nothing else is ever represented by zero.
//
// Sources: Ongaro & Ousterhout 2014 Fig. 2; Ongaro's thesis §3–§6, §10.2; docs/architecture.md.

/** Identity of a node, a positive integer, never reused within a cluster. */
export type NodeId = number;
/** Leadership period; 0 = before any election. Never decreases on a node (thesis §3.3). */
export type Term = number;
/** 1-based position in the log; 0 is the slot before the first entry. */
export type LogIndex = number;
/** Process-local monotonic milliseconds; never stored, never compared between processes. */
export type MonotonicMs = number;
/** Milliseconds since the epoch by some wall clock. */
export type WallMs = number;
/** Cluster time in milliseconds since the epoch: what the log says, the only time `apply` knows. */
export type LogTimeMs = number;
/** How often a node's data directory has been opened: durable and increasing, so newer wins. */
export type BootId = number;

/** The time at which an event is handled. The core has no clock of its own. */
export interface Instant {
  readonly monotonicMs: MonotonicMs;
  readonly wallMs: WallMs;
}

export interface Member {
  readonly nodeId: NodeId;
  /** Random text made when the data directory was formatted. A wiped directory has another one. */
  readonly birthId: string;
}

/** A joint configuration (thesis §4.3). `outgoing` is empty unless a change is under way. */
export interface Configuration {
  readonly voters: readonly NodeId[];
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Voters of `outgoing` that become learners when the joint phase ends. */
  readonly learnersNext: readonly NodeId[];
  /** Everyone named above, with birth ids; sorted by node id. */
  readonly members: readonly Member[];
}

export interface HardState {
  readonly term: Term;
  /** The candidate voted for in `term`. */
  readonly vote: NodeId | undefined;
}

interface EntryBase {
  readonly index: LogIndex;
  readonly term: Term;
  readonly timeMs: LogTimeMs;
}
/** Opaque commands of the state machine, applied in order. At least one. */
export interface CommandsEntry extends EntryBase {
  readonly kind: 'commands';
  readonly commands: readonly Uint8Array[];
}
/** What a new leader appends to commit the tail of its predecessors (paper §8). */
export interface NoopEntry extends EntryBase {
  readonly kind: 'noop';
}
/** Takes effect when it is appended, and is undone when it is truncated (thesis §4.1). */
export interface ConfigurationEntry extends EntryBase {
  readonly kind: 'configuration';
  readonly configuration: Configuration;
}
export type Entry = CommandsEntry | NoopEntry | ConfigurationEntry;

/** Where a log, a snapshot or a state begins: everything at or below `index` is inside. */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly timeMs: LogTimeMs;
  readonly configuration: Configuration;
}

/** Entries `[first, next run's first)` all have `term`. Terms increase from run to run. */
export interface TermRun {
  readonly first: LogIndex;
  readonly term: Term;
}

// ---------------------------------------------------------------------------------- messages

interface MessageBase {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: Term;
  /** Boot id of the sender. Messages of an older boot than the newest seen are dropped. */
  readonly fromBoot: BootId;
}
export interface PreVote extends MessageBase {
  readonly kind: 'preVote';
  /** The term the asker would campaign in; `term` is that term too. Granting changes nothing. */
  readonly round: number;
  readonly lastLogIndex: LogIndex;
  readonly lastLogTerm: Term;
}
export interface PreVoteResponse extends MessageBase {
  readonly kind: 'preVoteResponse';
  /** Grant: `term` echoes the request's term. Refusal: `term` is the refuser's own (bug B1, B2). */
  readonly granted: boolean;
  readonly round: number;
}
export interface RequestVote extends MessageBase {
  readonly kind: 'requestVote';
  readonly lastLogIndex: LogIndex;
  readonly lastLogTerm: Term;
  /** Set by TimeoutNow: overrides stickiness (thesis §4.2.3). */
  readonly transfer: boolean;
}
export interface RequestVoteResponse extends MessageBase {
  readonly kind: 'requestVoteResponse';
  readonly granted: boolean;
  /** The responder's wall clock: a winner knows cluster time before it appends anything. */
  readonly wallMs?: WallMs;
}
export interface AppendEntries extends MessageBase {
  readonly kind: 'appendEntries';
  readonly prevLogIndex: LogIndex;
  readonly prevLogTerm: Term;
  readonly entries: readonly Entry[];
  readonly commitIndex: LogIndex;
  /**
   * The term of the entry at `commitIndex`. A recovering follower may vote again only behind a
   * commit index whose entry is of the announcing leader's own term.
   */
  readonly commitTerm: Term;
}
export interface AppendEntriesResponse extends MessageBase {
  readonly kind: 'appendEntriesResponse';
  /** The boot id of the leader's session that is answered. */
  readonly toBoot: BootId;
  readonly result:
    | { readonly accepted: true; readonly matchIndex: LogIndex }
    | {
        readonly accepted: false;
        /** The refused `prevLogIndex`: lets the leader drop stale refusals. */
        readonly rejectedIndex: LogIndex;
        /** Largest index the follower could share with the leader, and its term there. */
        readonly hintIndex: LogIndex;
        readonly hintTerm: Term;
      };
}
export interface Heartbeat extends MessageBase {
  readonly kind: 'heartbeat';
  /** Strictly increasing per leader boot; confirms reads and the dispatch lease. */
  readonly round: number;
  /** min(matchIndex, commitIndex): never beyond what the follower is known to hold. */
  readonly commitIndex: LogIndex;
  readonly commitTerm: Term;
}
export interface HeartbeatResponse extends MessageBase {
  readonly kind: 'heartbeatResponse';
  readonly round: number;
  /** The responder's wall clock, for cluster time. */
  readonly wallMs: WallMs;
}
export interface TimeoutNow extends MessageBase {
  readonly kind: 'timeoutNow';
}
export interface ReadIndexRequest extends MessageBase {
  readonly kind: 'readIndexRequest';
  readonly requestId: number;
}
export interface ReadIndexResponse extends MessageBase {
  readonly kind: 'readIndexResponse';
  readonly requestId: number;
  /** Undefined: not confirmed (not leader any more); ask again. */
  readonly index: LogIndex | undefined;
}
export type Message =
  | PreVote
  | PreVoteResponse
  | RequestVote
  | RequestVoteResponse
  | AppendEntries
  | AppendEntriesResponse
  | Heartbeat
  | HeartbeatResponse
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexResponse;

// ------------------------------------------------------------------------------------ events

export type RaftEvent =
  /** The deadline of `nextDeadlineMs()` has passed (early or spurious ones are harmless). */
  | { readonly kind: 'timeout' }
  | { readonly kind: 'receive'; readonly message: Message }
  /** The write `writeId` is durable; writes complete in the order of their effects. */
  | { readonly kind: 'persisted'; readonly writeId: number }
  /** Answer to a `fetch` effect. `entries` empty: the range was compacted meanwhile. */
  | { readonly kind: 'fetched'; readonly fetchId: number; readonly entries: readonly Entry[] }
  /** The state machine has applied everything up to `index`. */
  | { readonly kind: 'applied'; readonly index: LogIndex }
  /** The log no longer holds entries at or below `index`. */
  | { readonly kind: 'compacted'; readonly index: LogIndex; readonly term: Term }
  /** A snapshot has been received whole and is durable in a new generation, not yet in use. */
  | { readonly kind: 'snapshotReceived'; readonly from: NodeId; readonly meta: SnapshotMeta }
  /** The `installSnapshot` effect has been carried out and its record is durable. */
  | { readonly kind: 'snapshotInstalled'; readonly meta: SnapshotMeta }
  /** The stream of a `sendSnapshot` effect ended. */
  | {
      readonly kind: 'snapshotSent';
      readonly to: NodeId;
      readonly meta: SnapshotMeta | undefined;
      readonly ok: boolean;
    }
  | { readonly kind: 'readIndex'; readonly readId: number }
  | { readonly kind: 'transferLeadership'; readonly to: NodeId | undefined }
  /** The connection to a peer broke, or a send to it was dropped: probe from here. */
  | { readonly kind: 'unreachable'; readonly peer: NodeId }
  /** The peer port of `peer` refused a connection: no process listens there (not a reset). */
  | { readonly kind: 'refused'; readonly peer: NodeId }
  /** A peer has clients waiting for `index`; tell it of the commit without waiting for traffic. */
  | { readonly kind: 'commitInterest'; readonly peer: NodeId; readonly index: LogIndex };

// ----------------------------------------------------------------------------------- effects

export type DropReason =
  | 'notLeader'
  | 'transferring'
  | 'overloaded'
  /** This node's log takes no new work: no space. */
  | 'admissionClosed';

export interface PersistEffect {
  readonly kind: 'persist';
  readonly writeId: number;
  /** Present when term or vote changed. Written with, and never after, entries of that term. */
  readonly hardState: HardState | undefined;
  /** Entries at and above this index are void; the record of it precedes `entries`. */
  readonly truncateFrom: LogIndex | undefined;
  readonly entries: readonly Entry[];
  /** This node holds everything it may have acknowledged: the recovering mark may go. */
  readonly recovered: boolean;
  /** Messages that assert what this write makes durable. Sent after it is, never before. */
  readonly release: readonly Message[];
}

export type RaftEffect =
  | PersistEffect
  /** Messages that need no durability: appends, heartbeats, pre-votes, refusals. */
  | { readonly kind: 'send'; readonly messages: readonly Message[] }
  /** Everything up to `index` is committed. Emitted with increasing indexes. */
  | { readonly kind: 'commit'; readonly index: LogIndex }
  /** Payloads that left the core's window are needed for a slow peer: `[from, to)`. */
  | {
      readonly kind: 'fetch';
      readonly fetchId: number;
      readonly from: LogIndex;
      readonly to: LogIndex;
      readonly bytesMax: number;
    }
  /** `to` needs entries that are compacted. Stream a snapshot, answer `snapshotSent`. */
  | { readonly kind: 'sendSnapshot'; readonly to: NodeId }
  /** A received snapshot is accepted: make it effective, answer `snapshotInstalled`. */
  | { readonly kind: 'installSnapshot'; readonly meta: SnapshotMeta }
  /** A received snapshot is stale or wrong: delete its generation. */
  | { readonly kind: 'discardSnapshot'; readonly meta: SnapshotMeta }
  /** Reads may be served once `index` is applied here. */
  | { readonly kind: 'readReady'; readonly readIds: readonly number[]; readonly index: LogIndex }
  /** Reads that could not be confirmed; nothing happened. */
  | { readonly kind: 'readFailed'; readonly readIds: readonly number[] }
  | {
      readonly kind: 'role';
      readonly role: Role;
      readonly term: Term;
      readonly leaderId: NodeId | undefined;
    }
  /** A transfer ended: `ok` when another node has been seen to lead. */
  | { readonly kind: 'transferEnded'; readonly ok: boolean };

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** The outcome of offering commands to this node's core, decided before anything is appended. */
export type ProposeResult =
  | { readonly accepted: true; readonly term: Term; readonly index: LogIndex }
  | {
      readonly accepted: false;
      readonly reason: DropReason;
      readonly leaderId: NodeId | undefined;
      readonly term: Term;
    };

// ------------------------------------------------------------------------------------- state

export interface RaftConfig {
  /** Election timeouts are drawn from `[electionTimeoutMs, 1.25 × electionTimeoutMs)`. */
  readonly electionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  /** A lost or split round is retried after a delay drawn from this half-open range. */
  readonly electionRetryMsMin: number;
  readonly electionRetryMsMax: number;
  /** After a refused connection to the leader a pre-vote starts within `[0, refusedDelayMsMax)`. */
  readonly refusedDelayMsMax: number;
  /** Bytes of payload in one AppendEntries; one entry is always allowed. */
  readonly appendBytesMax: number;
  /** Appends in flight per peer. */
  readonly inflightAppendsMax: number;
  /** Bytes in flight per peer; one append is always allowed. */
  readonly inflightBytesMax: number;
  /** Bytes of uncommitted entries on the leader; beyond it proposals are refused `overloaded`. */
  readonly uncommittedBytesMax: number;
  /** Bytes of recent payloads kept in memory. */
  readonly windowBytesMax: number;
  /** Reads waiting for confirmation; beyond it they fail. */
  readonly pendingReadsMax: number;
}

/** What a core starts from: the content of the durable log. */
export interface RecoveredState {
  readonly nodeId: NodeId;
  readonly bootId: BootId;
  readonly hardState: HardState;
  /** Everything at or below `base.index` is in the snapshot / state, not in the log. */
  readonly base: SnapshotMeta;
  /** Term runs of the entries after `base`, in order. */
  readonly termRuns: readonly TermRun[];
  readonly lastIndex: LogIndex;
  /** Log time of the last entry (or of `base`). */
  readonly lastTimeMs: LogTimeMs;
  /** The newest payloads, contiguous up to `lastIndex`; may be empty. */
  readonly tail: readonly Entry[];
  /** Configuration entries after `base`, oldest first. */
  readonly configurations: readonly {
    readonly index: LogIndex;
    readonly configuration: Configuration;
  }[];
  /** Entries this node may have acknowledged are missing: it must not vote until healed. */
  readonly recovering: boolean;
  /** What the state machine already holds; never above the committed prefix. */
  readonly appliedIndex: LogIndex;
}

export interface PeerStatus {
  readonly nodeId: NodeId;
  readonly bootId: BootId | undefined;
  readonly matchIndex: LogIndex;
  readonly nextIndex: LogIndex;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  readonly inflightBytes: number;
  readonly lastContactMs: MonotonicMs | undefined;
  readonly clockOffsetMs: number | undefined;
}

export interface RaftStatus {
  readonly nodeId: NodeId;
  readonly bootId: BootId;
  readonly role: Role;
  readonly term: Term;
  readonly vote: NodeId | undefined;
  readonly leaderId: NodeId | undefined;
  readonly commitIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly durableIndex: LogIndex;
  readonly firstIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly recovering: boolean;
  readonly configuration: Configuration;
  /** Leader only: index of the no-op of its own term. */
  readonly ownTermIndex: LogIndex | undefined;
  /** Leader only: participants may be called before this moment (0.8 × election timeout). */
  readonly leaseUntilMs: MonotonicMs;
  readonly uncommittedBytes: number;
  /** Wall and cluster time disagree by more than the bound on this node. */
  readonly clockSuspect: boolean;
  readonly transferTo: NodeId | undefined;
  /** Last time anything of the current leader arrived; undefined when there is no leader. */
  readonly leaderContactMs: MonotonicMs | undefined;
  readonly peers: readonly PeerStatus[];
}
