// What nodes have said to each other, held against what they remember after a restart, and whose
// dispatch lease it is.
//
// Owns: I1, I7 and the exclusiveness of dispatch for whole replicas, whose cores are out of sight:
// everything here is seen on the wire and in role changes.

import type { Message, RaftStatus, Role } from '../../src/raft/index.ts';
import { InvariantViolated } from './violation.ts';

interface Said {
  term: number;
  /** The candidate that was granted a vote in `term`. */
  vote: number | undefined;
}

export class Promises {
  readonly #leaders = new Map<number, number>();
  readonly #said = new Map<number, Said>();
  #newestTerm = 0;

  /** I1, over every life of every node. */
  role(nodeId: number, role: Role, term: number): void {
    if (role !== 'leader') {
      return;
    }
    const known = this.#leaders.get(term);
    this.#leaders.set(term, nodeId);
    this.#newestTerm = Math.max(this.#newestTerm, term);
    if (known !== undefined && known !== nodeId) {
      throw new InvariantViolated('I1', `term ${term} has leaders n${known} and n${nodeId}`);
    }
  }

  /** Votes and acknowledgements assert a durable term, and a granted vote a durable vote. */
  sent(message: Message): void {
    const granted = message.kind === 'requestVoteResponse' && message.granted;
    if (granted || message.kind === 'appendEntriesResponse' || message.kind === 'requestVote') {
      const said = this.#of(message.from);
      if (message.term > said.term) {
        said.term = message.term;
        said.vote = undefined;
      }
      if (message.term === said.term && granted) {
        said.vote = message.to;
      } else if (message.term === said.term && message.kind === 'requestVote') {
        said.vote = message.from;
      }
    }
  }

  /** I7: a node that opens its disk again stands by what it said. */
  opened(nodeId: number, status: RaftStatus): void {
    const said = this.#of(nodeId);
    if (status.term < said.term) {
      throw new InvariantViolated(
        'I7',
        `n${nodeId} opens in term ${status.term}, was in ${said.term}`,
      );
    }
    if (status.term === said.term && said.vote !== undefined && status.vote !== said.vote) {
      throw new InvariantViolated(
        'I7',
        `n${nodeId} voted for n${said.vote} in term ${said.term} and opens with ${status.vote ?? 'no vote'}`,
      );
    }
  }

  /** A participant is called only while nobody newer can lead. */
  called(nodeId: number, term: number): void {
    if (this.#newestTerm > term) {
      throw new InvariantViolated(
        'LEASE',
        `n${nodeId} calls a participant in term ${term}; term ${this.#newestTerm} has a leader`,
      );
    }
  }

  #of(nodeId: number): Said {
    let said = this.#said.get(nodeId);
    if (said === undefined) {
      said = { term: 0, vote: undefined };
      this.#said.set(nodeId, said);
    }
    return said;
  }
}
