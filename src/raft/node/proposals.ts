// Commands on their way into the log: gathered while a write is in flight, many to an entry.
//
// Owns: the two lanes, what is refused for load, how commands are cut into entries.
// Does not own: the append (the core's), what becomes of a command after it (whoever proposed it).
//
// Invariants: `done` runs exactly once per command, never from inside `propose`; commands of a lane
// keep their order; only the admission lane is refused for load or space, a progress command waits
// for room in the core, and is refused only when its own lane is full (P8).
//
// Source: thesis §10.2.2 (batching without timers).

import type { DropReason, ProposeResult } from '../core/index.ts';
import { RaftNodeError } from './errors.ts';
import type { RaftObserver } from './observer.ts';
import type { Clock } from './ports.ts';

export type Lane = 'admission' | 'progress';
export type ProposeDone = (result: ProposeResult) => void;

interface Proposal {
  readonly command: Uint8Array;
  readonly lane: Lane;
  readonly done: ProposeDone;
}

export interface ProposalsDeps {
  readonly clock: Clock;
  readonly observer: RaftObserver;
  /** True while a write is in flight: its end flushes. */
  readonly busy: () => boolean;
  /** Asks for a flush outside of any event. */
  readonly wake: () => void;
  readonly append: (commands: readonly Uint8Array[]) => ProposeResult;
  readonly refusal: (reason: DropReason) => ProposeResult;
  readonly admissionOpen: () => boolean;
  /** Bytes that the admission lane may still append before commits must catch up. */
  readonly admissionRoomBytes: () => number;
  readonly limits: {
    readonly entryBytesMax: number;
    readonly entryCommandsMax: number;
    readonly commandBytesMax: number;
    readonly queueBytesMax: number;
  };
}

interface LaneQueue {
  proposals: Proposal[];
  bytes: number;
}

export class Proposals {
  readonly #deps: ProposalsDeps;
  readonly #lanes: Readonly<Record<Lane, LaneQueue>> = {
    admission: { proposals: [], bytes: 0 },
    progress: { proposals: [], bytes: 0 },
  };
  #scheduled = false;
  #stopped = false;

  constructor(deps: ProposalsDeps) {
    this.#deps = deps;
  }

  depth(lane: Lane): { readonly commands: number; readonly bytes: number } {
    return { commands: this.#lanes[lane].proposals.length, bytes: this.#lanes[lane].bytes };
  }

  get empty(): boolean {
    return this.#lanes.admission.proposals.length + this.#lanes.progress.proposals.length === 0;
  }

  /** @throws {RaftNodeError} `commandTooLarge`. */
  propose(command: Uint8Array, lane: Lane, done: ProposeDone): void {
    const { clock, limits } = this.#deps;
    if (command.length > limits.commandBytesMax) {
      throw new RaftNodeError('commandTooLarge', `a command of ${command.length} bytes`);
    }
    const queue = this.#lanes[lane];
    if (this.#stopped || queue.bytes + command.length > limits.queueBytesMax) {
      const refusal = this.#deps.refusal(this.#stopped ? 'notLeader' : 'overloaded');
      clock.defer(() => done(refusal));
      return;
    }
    queue.proposals.push({ command, lane, done });
    queue.bytes += command.length;
    this.schedule();
  }

  /** Flushes at the end of this turn, unless the end of a write will. */
  schedule(): void {
    if (this.#scheduled || this.empty || this.#deps.busy()) return;
    this.#scheduled = true;
    this.#deps.clock.defer(() => {
      this.#scheduled = false;
      if (!this.#stopped && !this.#deps.busy()) this.#deps.wake();
    });
  }

  /** Appends everything that waits, progress first. */
  flush(): void {
    if (this.empty) return;
    const admitted = this.#admit(this.#take('admission'));
    let entry: Proposal[] = [];
    let bytes = 0;
    for (const proposal of [...this.#take('progress'), ...admitted]) {
      const { entryBytesMax, entryCommandsMax } = this.#deps.limits;
      const full =
        entry.length >= entryCommandsMax || bytes + proposal.command.length > entryBytesMax;
      if (entry.length > 0 && full) {
        this.#append(entry);
        entry = [];
        bytes = 0;
      }
      entry.push(proposal);
      bytes += proposal.command.length;
    }
    if (entry.length > 0) this.#append(entry);
  }

  /** Nothing that waits has been appended: it is refused. */
  stop(): void {
    this.#stopped = true;
    const refusal = this.#deps.refusal('notLeader');
    for (const proposal of [...this.#take('progress'), ...this.#take('admission')]) {
      proposal.done(refusal);
    }
  }

  #take(lane: Lane): readonly Proposal[] {
    const queue = this.#lanes[lane];
    const { proposals } = queue;
    queue.proposals = [];
    queue.bytes = 0;
    return proposals;
  }

  #admit(proposals: readonly Proposal[]): readonly Proposal[] {
    if (proposals.length === 0) return proposals;
    if (!this.#deps.admissionOpen()) {
      this.#refuse(proposals, 'admissionClosed');
      return [];
    }
    let roomBytes = this.#deps.admissionRoomBytes();
    const fits = proposals.findIndex((proposal) => {
      const without = roomBytes <= 0;
      roomBytes -= proposal.command.length;
      return without;
    });
    if (fits === -1) return proposals;
    this.#refuse(proposals.slice(fits), 'overloaded');
    return proposals.slice(0, fits);
  }

  #refuse(proposals: readonly Proposal[], reason: DropReason): void {
    const refusal = this.#deps.refusal(reason);
    for (const proposal of proposals) proposal.done(refusal);
  }

  #append(entry: readonly Proposal[]): void {
    const result = this.#deps.append(entry.map((proposal) => proposal.command));
    if (result.accepted) this.#deps.observer.gathered(entry.length);
    const waits = !result.accepted && result.reason === 'overloaded';
    for (const proposal of entry) {
      if (waits && proposal.lane === 'progress') {
        this.#lanes.progress.proposals.push(proposal);
        this.#lanes.progress.bytes += proposal.command.length;
      } else {
        proposal.done(result);
      }
    }
  }
}
