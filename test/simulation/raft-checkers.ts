// What must hold in every step of every run of consensus: I1–I16, checked from outside the core.
//
// Owns: the history of the whole cluster since the run began (leaders, entries, commits,
// applications), which no node could know. Everything is incremental: a step costs what changed.
// A violation throws `InvariantViolated`, which ends the run.
//
// Sources: the invariants of openraft's, Kafka's, LogCabin's and TigerBeetle's checkers; Ongaro &
// Ousterhout 2014, Fig. 3; Ongaro's thesis §3–§6.

import type { Entry, Message, RaftConfig, RaftStatus, SnapshotMeta } from '../../src/raft/index.ts';
import type { RaftHost } from './raft-host.ts';
import { entryHash, type MachineState } from './raft-machine.ts';
import { InvariantViolated } from './violation.ts';

interface NodeMemory {
  durableTerm: number;
  durableVote: number | undefined;
  commitIndex: number;
  appliedIndex: number;
}

interface Recorded {
  readonly term: number;
  readonly hash: number;
}

export class RaftCheckers {
  readonly #config: RaftConfig;
  readonly #voters: readonly number[];
  readonly #hosts: () => readonly RaftHost[];
  readonly #leaders = new Map<number, number>();
  /** (index, term) → what the entry says and the term before it: I2 by induction. */
  readonly #entries = new Map<string, { hash: number; previousTerm: number }>();
  readonly #committed: (Recorded | undefined)[] = [];
  /** Term of the leader that committed each index first. */
  readonly #committedIn: number[] = [];
  readonly #applied: (Recorded | undefined)[] = [];
  readonly #stateHashes: number[] = [];
  readonly #memory = new Map<number, NodeMemory>();
  #highestCommitted = 0;
  elections = 0;

  constructor(config: RaftConfig, voters: readonly number[], hosts: () => readonly RaftHost[]) {
    this.#config = config;
    this.#voters = voters;
    this.#hosts = hosts;
  }

  /** The highest index that any node knows to be committed. */
  get highestCommitted(): number {
    return this.#highestCommitted;
  }

  started(host: RaftHost): void {
    const memory = this.#remember(host);
    memory.commitIndex = host.commitIndex;
    memory.appliedIndex = host.machine.appliedIndex;
    this.durable(host);
  }

  /** I7, on the disk: neither the term nor the vote within a term ever goes back. */
  durable(host: RaftHost): void {
    const memory = this.#remember(host);
    const { term, vote } = host.disk.hardState;
    if (term < memory.durableTerm) {
      this.#fail('I7', `n${host.nodeId}: durable term went from ${memory.durableTerm} to ${term}`);
    }
    if (term === memory.durableTerm && memory.durableVote !== undefined) {
      this.#require(
        vote === memory.durableVote,
        'I7',
        () => `n${host.nodeId}: vote of term ${term} went from ${memory.durableVote} to ${vote}`,
      );
    }
    memory.durableTerm = term;
    memory.durableVote = vote;
    const last = host.disk.entries[host.disk.entries.length - 1];
    // S74: an entry of a term is never durable before the term is.
    this.#require(
      last === undefined || last.term <= term,
      'I8',
      () => `n${host.nodeId}: durable entry of term ${last?.term} under term ${term}`,
    );
  }

  role(host: RaftHost, role: string, term: number): void {
    if (role !== 'leader') {
      return;
    }
    this.elections++;
    const known = this.#leaders.get(term);
    this.#require(
      known === undefined || known === host.nodeId,
      'I1',
      () => `term ${term} has two leaders, n${known} and n${host.nodeId}`,
    );
    this.#leaders.set(term, host.nodeId);
    // I3: what an earlier term committed. The last such entry stands for all, I2 covers the prefix.
    // (A candidate may win an old term late, when a newer one has already committed more.)
    let index = this.#highestCommitted;
    while (index > 0 && (this.#committedIn[index] ?? 0) >= term) {
      index--;
    }
    const committed = this.#committed[index];
    if (committed !== undefined && index > host.base.index) {
      this.#require(
        host.termAt(index) === committed.term,
        'I3',
        () =>
          `n${host.nodeId} leads term ${term} without committed entry ${index}/${committed.term}`,
      );
    }
    this.#require(!host.disk.recovering, 'I3', () => `n${host.nodeId} leads while recovering`);
    this.#require(
      host.disk.hardState.term === term && host.disk.hardState.vote === host.nodeId,
      'I11',
      () => `n${host.nodeId} leads term ${term} without a durable vote for itself`,
    );
    this.#checkLeases(host, term);
  }

  /** No two dispatch leases overlap: whoever leads now outlasts every older leader's lease. */
  #checkLeases(host: RaftHost, term: number): void {
    for (const other of this.#hosts()) {
      if (other === host || other.core === undefined || !other.process.alive) {
        continue;
      }
      const status = other.core.status(other.now);
      this.#require(
        status.role !== 'leader' ||
          status.term > term ||
          status.leaseUntilMs <= other.now.monotonicMs,
        'LEASE',
        () =>
          `n${host.nodeId} leads term ${term} while n${other.nodeId} (term ${status.term}) holds a lease for ${(status.leaseUntilMs - other.now.monotonicMs).toFixed(1)} ms more`,
      );
    }
  }

  appended(host: RaftHost, entry: Entry): void {
    const previousTerm = host.termAt(entry.index - 1);
    this.#require(
      entry.index === host.lastIndex + 1 && previousTerm !== undefined,
      'I8',
      () => `n${host.nodeId} appends ${entry.index} after ${host.lastIndex}`,
    );
    this.#require(
      entry.term >= (previousTerm ?? 0),
      'I8',
      () => `n${host.nodeId} appends ${entry.index}/${entry.term} after term ${previousTerm}`,
    );
    const key = `${entry.index}/${entry.term}`;
    const known = this.#entries.get(key);
    const hash = entryHash(entry);
    if (known === undefined) {
      this.#entries.set(key, { hash, previousTerm: previousTerm ?? 0 });
    } else {
      this.#require(
        known.hash === hash && known.previousTerm === previousTerm,
        'I2',
        () => `entry ${key} differs on n${host.nodeId}, or follows another term`,
      );
    }
  }

  /** I13. */
  truncated(host: RaftHost, from: number): void {
    this.#require(
      from > host.commitIndex,
      'I13',
      () => `n${host.nodeId} truncates from ${from}, committed ${host.commitIndex}`,
    );
    this.#require(
      from > this.#highestCommitted || this.#committed[from]?.term !== host.termAt(from),
      'I13',
      () => `n${host.nodeId} truncates entry ${from}, which is committed`,
    );
  }

  committed(host: RaftHost, index: number): void {
    const memory = this.#remember(host);
    this.#require(
      index > memory.commitIndex || index === memory.appliedIndex,
      'I7',
      () => `n${host.nodeId} commits ${index} after ${memory.commitIndex}`,
    );
    this.#require(
      index <= host.lastIndex,
      'I8',
      () => `n${host.nodeId} commits ${index}, last ${host.lastIndex}`,
    );
    const status = host.core?.status(host.now);
    for (let i = Math.max(memory.commitIndex, host.base.index) + 1; i <= index; i++) {
      const entry = host.log[i - host.base.index - 1];
      if (entry !== undefined) {
        this.#record(this.#committed, entry, 'I4', `n${host.nodeId} commits`);
        this.#committedIn[i] ??= status?.term ?? entry.term;
      }
    }
    memory.commitIndex = index;
    if (status?.role === 'leader' && status.leaderId === host.nodeId) {
      const term = host.termAt(index);
      this.#require(
        term === status.term,
        'I6',
        () => `n${host.nodeId} commits ${index} of term ${term} by counting in term ${status.term}`,
      );
      this.#requireQuorum(host, index, status.term);
    }
    this.#highestCommitted = Math.max(this.#highestCommitted, index);
  }

  /** I5, against the disks. */
  #requireQuorum(host: RaftHost, index: number, term: number): void {
    const holders = this.#hosts().filter(
      (other) => this.#voters.includes(other.nodeId) && other.disk.holds(index, term),
    );
    this.#require(
      holders.length > this.#voters.length / 2,
      'I5',
      () =>
        `n${host.nodeId} commits ${index}/${term}, durable only on ${holders.map((other) => `n${other.nodeId}`).join(' ')}`,
    );
  }

  applied(host: RaftHost, entry: Entry, machine: MachineState): void {
    this.#record(this.#applied, entry, 'I4', `n${host.nodeId} applies`);
    const committed = this.#committed[entry.index];
    this.#require(
      committed?.term === entry.term,
      'I4',
      () => `n${host.nodeId} applies ${entry.index}/${entry.term}, which is not committed`,
    );
    const known = this.#stateHashes[entry.index];
    this.#require(
      known === undefined || known === machine.hash,
      'I4',
      () => `n${host.nodeId}: another state after ${entry.index}`,
    );
    this.#stateHashes[entry.index] = machine.hash;
    this.#remember(host).appliedIndex = entry.index;
  }

  installed(host: RaftHost, meta: SnapshotMeta, machine: MachineState): void {
    const memory = this.#remember(host);
    this.#require(
      meta.index >= memory.appliedIndex,
      'I7',
      () => `n${host.nodeId} installs ${meta.index} over applied ${memory.appliedIndex}`,
    );
    this.#require(
      this.#stateHashes[meta.index] === machine.hash &&
        this.#committed[meta.index]?.term === meta.term,
      'I4',
      () => `n${host.nodeId} installs a state that is not that of ${meta.index}/${meta.term}`,
    );
    memory.commitIndex = Math.max(memory.commitIndex, meta.index);
    memory.appliedIndex = meta.index;
  }

  /** I9: whatever a message asserts is already on the sender's disk. */
  sent(host: RaftHost, message: Message): void {
    const { term, vote } = host.disk.hardState;
    const durableTerm = (): void =>
      this.#require(
        term >= message.term,
        'I9',
        () => `n${host.nodeId} sends ${message.kind} of term ${message.term}, durable ${term}`,
      );
    switch (message.kind) {
      case 'requestVoteResponse':
        durableTerm();
        if (message.granted && term === message.term) {
          this.#require(
            vote === message.to,
            'I9',
            () => `n${host.nodeId} grants term ${term} to n${message.to}, durable vote ${vote}`,
          );
          this.#require(
            !host.disk.recovering,
            'I9',
            () => `n${host.nodeId} votes while recovering`,
          );
        }
        return;
      case 'requestVote':
      case 'appendEntries':
      case 'heartbeat':
      case 'heartbeatResponse':
        durableTerm();
        return;
      case 'appendEntriesResponse':
        durableTerm();
        if (message.result.accepted) {
          const match = message.result.matchIndex;
          this.#require(
            match <= host.disk.lastIndex || match <= host.commitIndex,
            'I9',
            () => `n${host.nodeId} acknowledges ${match}, durable ${host.disk.lastIndex}`,
          );
        }
        return;
      case 'preVoteResponse':
        this.#require(
          !message.granted || host.core?.status(host.now).recovering === false,
          'I9',
          () => `n${host.nodeId} grants a pre-vote while recovering`,
        );
        return;
      case 'preVote':
      case 'timeoutNow':
      case 'readIndexRequest':
      case 'readIndexResponse':
        return;
      default:
        message satisfies never;
    }
  }

  /** After every step of a node: I8, I10, I11, I12, I15. */
  stepped(host: RaftHost, status: RaftStatus): void {
    const at = (): string => `n${host.nodeId} ${JSON.stringify(status)}`;
    this.#require(
      status.firstIndex === host.base.index + 1 || host.base.index === 0,
      'I12',
      () => `first index, base ${host.base.index}: ${at()}`,
    );
    this.#require(
      status.appliedIndex <= status.commitIndex && status.commitIndex <= status.lastIndex,
      'I8',
      () => `applied ≤ committed ≤ last: ${at()}`,
    );
    this.#require(
      status.lastIndex === host.lastIndex && status.durableIndex <= host.disk.lastIndex,
      'I8',
      () => `last ${host.lastIndex}, durable ${host.disk.lastIndex}: ${at()}`,
    );
    this.#require(
      status.configuration.voters.length === this.#voters.length,
      'I10',
      () => `configuration changed: ${at()}`,
    );
    this.#checkLeader(host, status, at);
  }

  #checkLeader(host: RaftHost, status: RaftStatus, at: () => string): void {
    if (status.role !== 'leader') {
      this.#require(
        status.leaderId !== host.nodeId,
        'I11',
        () => `a ${status.role} that calls itself leader: ${at()}`,
      );
      return;
    }
    this.#require(
      status.leaderId === host.nodeId && status.vote === host.nodeId,
      'I11',
      () => `a leader that does not follow itself: ${at()}`,
    );
    // One append or entry beyond a bound is always allowed, or nothing large would ever pass.
    const slack = 16_000;
    this.#require(
      status.uncommittedBytes <= this.#config.uncommittedBytesMax + slack,
      'I15',
      () => `uncommitted bytes: ${at()}`,
    );
    this.#require(
      status.commitIndex < status.lastIndex || status.uncommittedBytes === 0,
      'I15',
      () => `uncommitted bytes of nothing: ${at()}`,
    );
    for (const peer of status.peers) {
      if (peer.nodeId === host.nodeId) {
        continue;
      }
      this.#require(
        peer.matchIndex < peer.nextIndex && peer.nextIndex <= status.lastIndex + 1,
        'I8',
        () => `match < next ≤ last + 1 for n${peer.nodeId}: ${at()}`,
      );
      this.#require(
        peer.inflightBytes <=
          Math.max(this.#config.inflightBytesMax, this.#config.appendBytesMax) + slack,
        'I15',
        () => `bytes in flight to n${peer.nodeId}: ${at()}`,
      );
    }
  }

  #record(into: (Recorded | undefined)[], entry: Entry, invariant: string, who: string): void {
    const known = into[entry.index];
    const hash = entryHash(entry);
    if (known === undefined) {
      into[entry.index] = { term: entry.term, hash };
      return;
    }
    this.#require(
      known.term === entry.term && known.hash === hash,
      invariant,
      () => `${who} ${entry.index}/${entry.term}, elsewhere it is ${entry.index}/${known.term}`,
    );
  }

  #remember(host: RaftHost): NodeMemory {
    let memory = this.#memory.get(host.nodeId);
    if (memory === undefined) {
      memory = { durableTerm: 0, durableVote: undefined, commitIndex: 0, appliedIndex: 0 };
      this.#memory.set(host.nodeId, memory);
    }
    return memory;
  }

  #require(condition: boolean, invariant: string, message: () => string): void {
    if (!condition) {
      this.#fail(invariant, message());
    }
  }

  #fail(invariant: string, message: string): never {
    throw new InvariantViolated(invariant, message);
  }
}
