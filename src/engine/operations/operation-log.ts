// The operations of this node that are not answered yet.
//
// Owns: operation ids, the session they belong to, handing each command to whoever leads, repeating
// it until its own apply answers, and the join of attempts into one outcome.
// Does not own: what an operation does (machine), connections (the forwarding port).
//
// Invariants
//   O1. An answer comes from this node's own apply, or says refused or unknown (P6).
//   O2. Refused is said only if no attempt can have been appended: once one is unknown, a later
//       refusal stays unknown until the result is read (docs/architecture.md §Consensus).
//   O3. A repeated command carries the same operation id, so that it runs at most once.
//
// Sources: docs/architecture.md §Transactions (operations, waits); Raft paper §8; thesis §6.3.

import type { Cancel, Clock, ProposeResult } from '../../raft/index.ts';
import type { AppliedEntry, OperationRequest, TransactionType } from '../machine/index.ts';
import { encodeCommand } from '../machine/index.ts';
import type { Lane } from './forward-codec.ts';
import { decodeForwardReply, encodeForward } from './forward-codec.ts';
import type { ForwardTransport } from './forward-port.ts';
import type { Consensus, OperationsConfig } from './ports.ts';
import type { OperationOutcome, RefusalCode } from './types.ts';

interface OpenOperation {
  readonly seq: number;
  readonly request: OperationRequest;
  readonly startedAtMs: number;
  readonly deadlineMs: number;
  readonly done: (outcome: OperationOutcome) => void;
  state: 'waiting' | 'handedOver' | 'appended';
  /** Which offer is current; answers to earlier ones only tell whether they may be in a log. */
  attempt: number;
  /** Term in which it was offered or appended; void once another term begins. */
  offeredTerm: number;
  /** An attempt may be in some log (O2). */
  maybeAppended: boolean;
}

const SWEEP_MS = 25;

export class OperationLog {
  readonly #nodeId: number;
  readonly #incarnation: number;
  readonly #consensus: Consensus;
  readonly #forward: ForwardTransport;
  readonly #clock: Clock;
  readonly #config: OperationsConfig;
  readonly #open = new Map<number, OpenOperation>();
  #nextSeq = 1;
  #session: 'closed' | 'opening' | 'open' | 'ended' = 'closed';
  #sessionAttemptAtMs = Number.NEGATIVE_INFINITY;
  #pumpScheduled = false;
  #cancelSweep: Cancel | undefined;
  #stopped = false;

  constructor(
    self: { readonly nodeId: number; readonly incarnation: number },
    deps: {
      readonly consensus: Consensus;
      readonly forward: ForwardTransport;
      readonly clock: Clock;
    },
    config: OperationsConfig,
  ) {
    this.#nodeId = self.nodeId;
    this.#incarnation = self.incarnation;
    this.#consensus = deps.consensus;
    this.#forward = deps.forward;
    this.#clock = deps.clock;
    this.#config = config;
  }

  start(): void {
    this.#pump();
    this.#sweepWhileNeeded();
  }

  get openCount(): number {
    return this.#open.size;
  }

  get sessionOpen(): boolean {
    return this.#session === 'open';
  }

  /** Resolves exactly once, within `timeoutMs` and a sweep. */
  execute(request: OperationRequest, timeoutMs: number): Promise<OperationOutcome> {
    if (this.#stopped) {
      return Promise.resolve(refused('DRAINING', 'this node is stopping'));
    }
    const { openOperationsMax } = this.#config;
    const room =
      laneOf(request) === 'admission' ? openOperationsMax : progressRoom(openOperationsMax);
    if (this.#open.size >= room) {
      return Promise.resolve(
        refused('OVERLOADED', `${this.#open.size} operations are waiting on this node`),
      );
    }
    return new Promise((resolve) => {
      const now = this.#clock.monotonicMs();
      const operation: OpenOperation = {
        seq: this.#nextSeq,
        request,
        startedAtMs: now,
        deadlineMs: now + timeoutMs,
        done: resolve,
        state: 'waiting',
        attempt: 0,
        offeredTerm: 0,
        maybeAppended: false,
      };
      this.#nextSeq += 1;
      this.#open.set(operation.seq, operation);
      if (this.#session === 'open') this.#dispatch(operation);
      this.#sweepWhileNeeded();
    });
  }

  /** Leadership changed here: whatever an older term was given must be offered again. */
  leadershipChanged(): void {
    const { term } = this.#consensus.leadership();
    for (const operation of this.#open.values()) {
      if (operation.state === 'waiting' || operation.offeredTerm === term) continue;
      // A leader that hangs may still have appended what it never answered for.
      operation.maybeAppended = true;
      operation.state = 'waiting';
    }
    this.#schedulePump();
  }

  applied(entry: AppliedEntry): void {
    for (const { opId, result } of entry.operations) {
      if (opId.nodeId !== this.#nodeId || opId.incarnation !== this.#incarnation) continue;
      this.#finish(opId.seq, { kind: 'applied', result });
    }
    for (const opId of entry.refusedOperations) {
      if (opId.nodeId !== this.#nodeId || opId.incarnation !== this.#incarnation) continue;
      this.#sessionRefused(opId.seq);
    }
  }

  /** The `openSession` command of this incarnation has been applied here. */
  sessionOpened(nodeId: number, incarnation: number): void {
    if (nodeId !== this.#nodeId) return;
    if (incarnation > this.#incarnation) this.#session = 'ended';
    if (incarnation !== this.#incarnation || this.#session === 'open') return;
    this.#session = 'open';
    this.#schedulePump();
  }

  /** A snapshot was installed: results at or below its index are not announced to waiters. */
  snapshotInstalled(): void {
    for (const operation of [...this.#open.values()]) {
      // Offered again: the session's results in the new state answer what was already applied.
      if (operation.state === 'appended') operation.state = 'waiting';
    }
    this.#schedulePump();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelSweep?.();
    for (const operation of [...this.#open.values()]) {
      this.#finish(
        operation.seq,
        operation.maybeAppended
          ? unknown('this node is stopping')
          : refused('DRAINING', 'this node is stopping'),
      );
    }
  }

  #finish(seq: number, outcome: OperationOutcome): void {
    const operation = this.#open.get(seq);
    if (operation === undefined) return;
    this.#open.delete(seq);
    operation.done(outcome);
  }

  /** A command of an unknown session never ran. The session was ended by a newer one of this node. */
  #sessionRefused(seq: number): void {
    this.#finish(seq, unknown('the session of this node has ended; another incarnation runs'));
  }

  #lowestOpenSeq(): number {
    // A Map keeps insertion order and sequences only grow, so the first key is the lowest.
    for (const seq of this.#open.keys()) return seq;
    return this.#nextSeq;
  }

  #schedulePump(): void {
    if (this.#pumpScheduled || this.#stopped) return;
    this.#pumpScheduled = true;
    this.#clock.defer(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#stopped) return;
    if (this.#session !== 'open') {
      this.#openSession();
      return;
    }
    for (const operation of this.#open.values()) {
      if (operation.state === 'waiting') this.#dispatch(operation);
    }
  }

  #openSession(): void {
    if (this.#session === 'ended') return;
    const now = this.#clock.monotonicMs();
    if (now - this.#sessionAttemptAtMs < this.#config.retryMs) return;
    this.#sessionAttemptAtMs = now;
    this.#session = 'opening';
    const command = encodeCommand({
      kind: 'openSession',
      nodeId: this.#nodeId,
      incarnation: this.#incarnation,
    });
    // Repeated by the sweep until it is applied here; opening the same incarnation twice is harmless.
    this.#offer(command, 'progress', () => undefined);
  }

  #dispatch(operation: OpenOperation): void {
    const { leaderId, term } = this.#consensus.leadership();
    if (leaderId === undefined) return;
    operation.state = 'handedOver';
    operation.offeredTerm = term;
    operation.attempt += 1;
    const { attempt } = operation;
    const command = encodeCommand({
      kind: 'operation',
      opId: { nodeId: this.#nodeId, incarnation: this.#incarnation, seq: operation.seq },
      lowestOpenSeq: this.#lowestOpenSeq(),
      request: operation.request,
    });
    this.#offer(command, laneOf(operation.request), (answer) => {
      if (this.#open.get(operation.seq) !== operation) return;
      if (operation.attempt === attempt) this.#answered(operation, answer);
      else if (typeof answer === 'string' || answer.accepted) operation.maybeAppended = true;
    });
  }

  /** Hands a command to the leader, here or over the peer link. */
  #offer(
    command: Uint8Array,
    lane: Lane,
    done: (answer: ProposeResult | 'notSent' | 'lost') => void,
  ): void {
    const { leaderId, isLeader } = this.#consensus.leadership();
    if (isLeader) {
      this.#consensus.propose(command, lane, done);
    } else if (leaderId === undefined) {
      this.#clock.defer(() => done('notSent'));
    } else {
      this.#forward.forward(leaderId, encodeForward(command, lane), (reply) => {
        done(reply.kind === 'reply' ? decodeForwardReply(reply.bytes) : reply.kind);
      });
    }
  }

  #answered(operation: OpenOperation, answer: ProposeResult | 'notSent' | 'lost'): void {
    if (answer === 'notSent' || answer === 'lost') {
      if (answer === 'lost') operation.maybeAppended = true;
      operation.state = 'waiting';
      return;
    }
    if (answer.accepted) {
      operation.maybeAppended = true;
      operation.state = 'appended';
      operation.offeredTerm = answer.term;
      // The term may have ended while the answer travelled.
      if (this.#consensus.leadership().term > answer.term) {
        operation.state = 'waiting';
        this.#schedulePump();
      }
      return;
    }
    operation.state = 'waiting';
    if (operation.maybeAppended) return;
    if (answer.reason === 'overloaded') {
      this.#finish(operation.seq, refused('OVERLOADED', 'the leader has too much work in flight'));
    } else if (answer.reason === 'admissionClosed') {
      this.#finish(
        operation.seq,
        refused(
          'NO_SPACE',
          'the leader has no room prepared on its disk and takes no new work for now',
        ),
      );
    }
  }

  /** An idle node does not wake up for it: nothing is open, and the session stands or never will. */
  #sweepWhileNeeded(): void {
    const isSettled = this.#session === 'open' || this.#session === 'ended';
    if (this.#stopped || (isSettled && this.#open.size === 0)) return;
    this.#cancelSweep ??= this.#clock.after(SWEEP_MS, () => {
      this.#cancelSweep = undefined;
      this.#sweep();
      this.#sweepWhileNeeded();
    });
  }

  #sweep(): void {
    const now = this.#clock.monotonicMs();
    for (const operation of [...this.#open.values()]) {
      if (now >= operation.deadlineMs) {
        this.#finish(operation.seq, this.#expired(operation));
      } else if (
        !operation.maybeAppended &&
        operation.state === 'waiting' &&
        now - operation.startedAtMs >= this.#config.waitLeaderMs
      ) {
        this.#finish(operation.seq, this.#expired(operation));
      }
    }
    if (this.#session !== 'open' || this.#open.size > 0) this.#pump();
  }

  #expired(operation: OpenOperation): OperationOutcome {
    if (operation.maybeAppended || operation.state === 'handedOver') {
      return unknown('the operation was handed to a leader and not confirmed in time');
    }
    if (this.#consensus.leadership().recovering) {
      return refused(
        'RECOVERING',
        'this node lost part of its log and waits for a leader to heal it',
      );
    }
    if (this.#session !== 'open') {
      return refused('NO_LEADER', 'no leader has admitted this node yet');
    }
    return refused('NO_LEADER', 'no leader is known; a majority of the nodes may be down');
  }
}

/**
 * Only new work is refused for load (docs/architecture.md §Transactions, lanes): what ends or completes
 * a transaction that is running already goes with the leader's own progress. A refused branch, abort or
 * end of a workflow would leave its client no way but to wait for a timeout.
 */
function laneOf(request: OperationRequest): Lane {
  switch (request.kind) {
    case 'abort':
    case 'forceStop':
    case 'registerBranch':
    case 'resetNextCronTime':
      return 'progress';
    case 'submit':
      return isNewBySubmit(request.transaction.type) ? 'admission' : 'progress';
    case 'prepare':
    case 'prepareWorkflow':
    case 'subscribe':
    case 'unsubscribe':
    case 'deleteTopic':
      return 'admission';
  }
}

/** The others' submits end what was prepared; without that, one of TCC or XA has nothing to run. */
function isNewBySubmit(type: TransactionType): boolean {
  return type === 'saga' || type === 'msg';
}

function progressRoom(admissionMax: number): number {
  return Math.ceil(admissionMax * 1.1);
}

function refused(code: RefusalCode, message: string): OperationOutcome {
  return { kind: 'refused', code, message, retryAfterMs: 1000 };
}

function unknown(message: string): OperationOutcome {
  return { kind: 'unknown', message };
}
