// Log replication, repair and the commit rule: raft paper §5.3, §5.4.2, Fig. 7, Fig. 8; thesis §10.2.

import { describe, expect, test } from 'vitest';
import type { Entry } from '../../../src/raft/core/index.ts';
import { ET, entriesOf, entry, HEARTBEAT, ScenarioCluster, type ScenarioNode } from './harness.ts';
import { ack, append, heartbeat, rejection } from './messages.ts';

/** A follower that has heard the leader of its term, node 2. */
function follower(
  log: readonly number[],
  term: number,
): { cluster: ScenarioCluster; node: ScenarioNode } {
  const cluster = new ScenarioCluster({ nodes: 3, logs: [log], terms: [term, term, term] });
  const node = cluster.node(1);
  node.receive(heartbeat({ from: 2, to: 1, term }));
  cluster.take();
  return { cluster, node };
}

function answers(cluster: ScenarioCluster): unknown[] {
  return cluster.take({ kind: 'appendEntriesResponse' }).map((message) => message.result);
}

/** A leader of term 2 with entries `[1 (noop of term 2)]` acknowledged by all. */
function leaderOf(nodes: number, config = {}): { cluster: ScenarioCluster; leader: ScenarioNode } {
  const cluster = new ScenarioCluster({ nodes, config });
  const leader = cluster.elect(1);
  cluster.advance(HEARTBEAT * 2);
  cluster.take();
  return { cluster, leader };
}

describe('a follower', () => {
  test.each([
    { log: [1, 1, 2], prev: [5, 2], hint: [3, 2] },
    { log: [1, 1, 2], prev: [3, 3], hint: [3, 2] },
    { log: [1, 1, 3, 3], prev: [4, 2], hint: [2, 1] },
    { log: [], prev: [4, 2], hint: [0, 0] },
  ] as const)(
    'S43: with log $log refuses an append behind $prev and hints at $hint (paper §5.3)',
    ({ log, prev, hint }) => {
      const { cluster, node } = follower(log, 3);
      node.receive(append({ from: 2, to: 1, term: 3 }, prev, [entry(prev[0] + 1, 3)]));
      expect(answers(cluster)).toEqual([
        { accepted: false, rejectedIndex: prev[0], hintIndex: hint[0], hintTerm: hint[1] },
      ]);
      expect(node.logTerms).toEqual(log);
    },
  );

  test('S44: a shorter append that agrees with the log truncates nothing; a conflict truncates from itself on (paper §5.3)', () => {
    const { cluster, node } = follower([1, 1, 1, 1], 2);
    node.receive(append({ from: 2, to: 1, term: 2 }, [0, 0], entriesOf([1, 1])));
    expect(node.logTerms).toEqual([1, 1, 1, 1]);
    expect(answers(cluster)).toEqual([{ accepted: true, matchIndex: 2 }]);
    node.receive(append({ from: 2, to: 1, term: 2 }, [1, 1], [entry(2, 1), entry(3, 2)]));
    expect(node.logTerms).toEqual([1, 1, 2]);
    expect(answers(cluster)).toEqual([{ accepted: true, matchIndex: 3 }]);
  });

  test('S45: an append that arrives again, below what is committed, is acknowledged and changes nothing (paper §5.3)', () => {
    const { cluster, node } = follower([1, 1, 1], 1);
    node.receive(append({ from: 2, to: 1, term: 1 }, [3, 1], [], [3, 1]));
    expect(node.commitIndex).toBe(3);
    cluster.take();
    node.receive(append({ from: 2, to: 1, term: 1 }, [0, 0], entriesOf([1]), [1, 1]));
    const [answer] = answers(cluster) as { accepted: boolean; matchIndex: number }[];
    expect(answer?.accepted).toBe(true);
    expect(answer?.matchIndex).toBeGreaterThanOrEqual(1);
    expect(answer?.matchIndex).toBeLessThanOrEqual(3);
    expect(node.logTerms).toEqual([1, 1, 1]);
    expect(node.commitIndex).toBe(3);
  });

  test.each([
    { entries: 0, leaderCommit: 1, commit: 1 },
    { entries: 0, leaderCommit: 4, commit: 1 },
    { entries: 1, leaderCommit: 4, commit: 2 },
    { entries: 2, leaderCommit: 2, commit: 2 },
    { entries: 2, leaderCommit: 9, commit: 3 },
  ])(
    'S46: with $entries entries behind 1 and leader commit $leaderCommit commits $commit (paper §5.3)',
    ({ entries, leaderCommit, commit }) => {
      // Entry 3 of term 1 is not known to be the leader's.
      const { node } = follower([1, 1, 1], 2);
      const sent = entriesOf([1, 1, 1]).slice(1, 1 + entries);
      node.receive(append({ from: 2, to: 1, term: 2 }, [1, 1], sent, [leaderCommit, 1]));
      expect(node.commitIndex).toBe(commit);
    },
  );

  test('S68: an append without entries that conflicts is refused like any other (paper §5.3)', () => {
    const { cluster, node } = follower([1, 1], 3);
    node.receive(append({ from: 2, to: 1, term: 3 }, [2, 2], []));
    expect(answers(cluster)).toMatchObject([{ accepted: false, rejectedIndex: 2 }]);
  });
});

describe('log repair', () => {
  const FIGURE_7 = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];

  test.each([
    ['a', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
    ['b', [1, 1, 1, 4]],
    ['c', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ['d', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ['e', [1, 1, 1, 4, 4, 4, 4]],
    ['f', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
  ] as const)(
    'S48: the follower of figure 7 %s becomes equal, with one probe per distinct term at most (paper §5.3, Fig. 7)',
    (_, log) => {
      const cluster = new ScenarioCluster({
        nodes: 3,
        logs: [FIGURE_7, log, FIGURE_7],
        terms: [7, 7, 7],
      });
      cluster.elect(1);
      cluster.advance(HEARTBEAT * 3);
      expect(cluster.node(2).logTerms).toEqual([...FIGURE_7, 8]);
      expect(cluster.node(2).log).toEqual(cluster.node(1).log);
      const refusals = cluster
        .sentOf('appendEntriesResponse', { from: 2 })
        .filter((message) => !message.result.accepted);
      expect(refusals.length).toBeLessThanOrEqual(new Set(log).size + 1);
    },
  );

  test.each([
    { leader: [1, 3, 3, 3, 5, 5], other: [1, 1, 1, 1, 2, 2] },
    { leader: [1, 3, 3, 3, 5, 5], other: [1, 3, 3, 4, 4, 4] },
    { leader: [1, 1, 1, 1, 1, 1], other: [1, 1] },
    { leader: [1, 2, 3, 4, 5, 6], other: [1, 2, 3] },
    { leader: [1, 1, 1, 3, 3, 6], other: [1, 1, 1, 2, 2, 2, 2, 2] },
    { leader: [2, 2, 2, 6], other: [1, 1, 1, 1, 1] },
    { leader: [1, 3, 3, 3, 3, 5], other: [1, 2, 4, 4, 4, 4] },
    { leader: [4, 4, 5], other: [] },
    { leader: [1, 1, 4, 4, 4, 4, 4], other: [1, 1, 4, 4] },
    { leader: [1, 2, 2, 2, 2, 2, 6], other: [1, 3, 3, 3, 3, 5, 5] },
  ])(
    'S49: after one refusal leader $leader probes follower $other at the end of what they can share (paper §5.3)',
    ({ leader, other }) => {
      const cluster = new ScenarioCluster({
        nodes: 3,
        logs: [leader, other, leader],
        terms: [6, 6, 6],
      });
      const node = cluster.node(1);
      cluster.nowMs += 2 * ET;
      node.step({ kind: 'timeout' });
      for (const kind of VOTING) {
        cluster.settle({ kind });
      }
      expect(node.role).toBe('leader');
      const [probe] = cluster.take({ kind: 'appendEntries', to: 2 });
      expect(probe).toMatchObject({ prevLogIndex: leader.length });
      cluster.node(2).receive(probe!);
      const refusal = cluster.take({ kind: 'appendEntriesResponse', from: 2 });
      const last = leader.length;
      const hint = largestBelow(other, Math.min(last, other.length), leader[last - 1] ?? 0);
      const hintTerm = other[hint - 1] ?? 0;
      expect(refusal).toMatchObject([
        { result: { accepted: false, rejectedIndex: last, hintIndex: hint, hintTerm } },
      ]);
      node.receive(refusal[0]!);
      const [next] = cluster.take({ kind: 'appendEntries', to: 2 });
      expect(next?.prevLogIndex).toBe(largestBelow([...leader, node.term], hint, hintTerm));
    },
  );

  test('S50: hundreds of conflicting entries are repaired in a handful of probes (paper §5.3)', () => {
    const shared = Array<number>(50).fill(1);
    const cluster = new ScenarioCluster({
      nodes: 3,
      logs: [
        [...shared, ...Array<number>(200).fill(3)],
        [...shared, ...Array<number>(200).fill(2)],
        [...shared, ...Array<number>(200).fill(3)],
      ],
      terms: [3, 3, 3],
    });
    cluster.elect(1);
    cluster.advance(HEARTBEAT * 3);
    expect(cluster.node(2).log).toEqual(cluster.node(1).log);
    const refusals = cluster
      .sentOf('appendEntriesResponse', { from: 2 })
      .filter((message) => !message.result.accepted);
    expect(refusals.length).toBeLessThanOrEqual(3);
  });
});

const VOTING = ['preVote', 'preVoteResponse', 'requestVote', 'requestVoteResponse'] as const;

function largestBelow(terms: readonly number[], index: number, term: number): number {
  let at = index;
  while (at > 0 && (terms[at - 1] ?? 0) > term) {
    at--;
  }
  return at;
}

describe('commit', () => {
  test('S47: a heartbeat carries no commit index beyond what the follower holds (paper §5.3)', () => {
    const { cluster, leader } = leaderOf(3);
    cluster.isolate(3);
    leader.propose('a');
    cluster.settle();
    cluster.advance(HEARTBEAT * 2, false);
    const beats = cluster.take({ kind: 'heartbeat', to: 3 });
    expect(beats.length).toBeGreaterThan(0);
    for (const beat of beats) {
      expect(beat.commitIndex).toBeLessThanOrEqual(leader.peer(3).matchIndex);
    }
  });

  test('S51: commits an old-term entry only through one of its own term (paper §5.4.2, Fig. 8)', () => {
    const cluster = new ScenarioCluster({
      nodes: 5,
      logs: [[1, 2], [1, 2], [1], [1], [1, 3]],
      terms: [3, 3, 3, 3, 3],
    });
    const leader = cluster.node(1);
    cluster.isolate(5);
    cluster.nowMs += 2 * ET;
    leader.step({ kind: 'timeout' });
    for (const kind of [
      'preVote',
      'preVoteResponse',
      'requestVote',
      'requestVoteResponse',
    ] as const) {
      cluster.settle({ kind });
    }
    expect(leader.status).toMatchObject({ role: 'leader', term: 4 });
    cluster.take();
    // Entry 2 of term 2 is now on nodes 1, 2 and 3: a majority, and not committed.
    leader.receive(ack({ from: 3, to: 1, term: 4 }, 2));
    leader.receive(ack({ from: 2, to: 1, term: 4 }, 2));
    expect(leader.commitIndex).toBe(0);
    leader.receive(ack({ from: 3, to: 1, term: 4 }, 3));
    leader.receive(ack({ from: 2, to: 1, term: 4 }, 3));
    expect(leader.commitIndex).toBe(3);
  });

  test('S52: a new leader commits the tail of its predecessors through an entry of its own (paper §5.4.2, §8)', () => {
    const cluster = new ScenarioCluster({
      nodes: 3,
      logs: [
        [1, 1],
        [1, 1],
        [1, 1],
      ],
    });
    const leader = cluster.elect(1);
    expect(leader.logTerms).toEqual([1, 1, 2]);
    expect(leader.log[2]?.kind).toBe('noop');
    expect(leader.commitIndex).toBe(3);
    expect(leader.status.ownTermIndex).toBe(3);
  });

  test('S53: an entry commits once durable on a majority, and who waits for it hears so at once (paper §5.3)', () => {
    const { cluster, leader } = leaderOf(3);
    leader.propose('a');
    leader.step({ kind: 'commitInterest', peer: 2, index: 2 });
    cluster.deliver({ kind: 'appendEntries', to: 2 });
    expect(leader.commitIndex).toBe(1);
    cluster.deliver({ kind: 'appendEntriesResponse', from: 2 });
    expect(leader.commitIndex).toBe(2);
    cluster.settle({ to: 2 });
    expect(cluster.node(2).commitIndex).toBe(2);
  });

  test.each([
    { nodes: 1, match: [], commit: 4 },
    { nodes: 2, match: [3], commit: 3 },
    { nodes: 3, match: [1, 1], commit: 1 },
    { nodes: 3, match: [4, 1], commit: 4 },
    { nodes: 3, match: [2, 3], commit: 3 },
    { nodes: 4, match: [4, 2, 1], commit: 2 },
    { nodes: 4, match: [4, 4, 1], commit: 4 },
    { nodes: 5, match: [4, 1, 1, 1], commit: 1 },
    { nodes: 5, match: [4, 3, 2, 1], commit: 3 },
    { nodes: 5, match: [2, 2, 2, 2], commit: 2 },
  ])(
    'S54: of $nodes voters with the others at $match, $commit is committed (paper §5.3, §5.4.2)',
    ({ nodes, match, commit }) => {
      const { cluster, leader } = leaderOf(nodes, { inflightAppendsMax: 8 });
      for (const command of ['a', 'b', 'c']) {
        leader.propose(command);
      }
      cluster.take();
      match.forEach((index, i) => {
        leader.receive(ack({ from: i + 2, to: 1, term: leader.term }, index));
      });
      expect(leader.commitIndex).toBe(commit);
    },
  );

  test('S65: after a lost acknowledgement a follower learns of the commit with the next heartbeats (paper §5.3)', () => {
    const { cluster, leader } = leaderOf(3);
    leader.propose('a');
    cluster.deliver({ kind: 'appendEntries' });
    cluster.drop({ kind: 'appendEntriesResponse', from: 2 });
    cluster.settle();
    expect(leader.commitIndex).toBe(2);
    cluster.advance(HEARTBEAT * 2.5);
    expect(cluster.node(2).commitIndex).toBe(2);
  });

  test('S66: the uncommitted tail of an isolated leader is truncated when it rejoins (paper §5.3)', () => {
    const { cluster, leader } = leaderOf(3);
    cluster.isolate(1);
    const lost = leader.propose('lost');
    cluster.advance(3 * ET);
    expect(cluster.leader?.id).not.toBe(1);
    cluster.leader?.propose('kept');
    cluster.heal();
    cluster.advance(2 * ET);
    expect(leader.commands).toEqual(['kept']);
    expect(leader.log).toEqual(cluster.leader?.log);
    const index = lost.accepted ? lost.index : 0;
    expect(leader.log[index - 1]?.term).not.toBe(lost.term);
  });
});

describe('flow control', () => {
  test('S55: acknowledgements that arrive out of order never lower match or next (paper §5.3)', () => {
    const { cluster, leader } = leaderOf(3, { inflightAppendsMax: 8 });
    for (const command of ['a', 'b', 'c']) {
      leader.propose(command);
    }
    cluster.take();
    leader.receive(ack({ from: 2, to: 1, term: leader.term }, 4));
    leader.receive(ack({ from: 2, to: 1, term: leader.term }, 2));
    expect(leader.peer(2)).toMatchObject({ matchIndex: 4, nextIndex: 5 });
  });

  test('S56: a refusal of what was acknowledged since is ignored (paper §5.3)', () => {
    const { cluster, leader } = leaderOf(3);
    leader.propose('a');
    cluster.settle();
    const before = leader.peer(2);
    leader.receive(rejection({ from: 2, to: 1, term: leader.term }, 1, [0, 0]));
    expect(leader.peer(2)).toMatchObject({
      matchIndex: before.matchIndex,
      nextIndex: before.nextIndex,
    });
  });

  test('S57: an acknowledgement of an earlier term, or of an earlier life of either side, raises nothing (paper §5.3)', () => {
    const { cluster, leader } = leaderOf(3);
    leader.propose('a');
    cluster.take();
    const { matchIndex } = leader.peer(2);
    leader.receive(ack({ from: 2, to: 1, term: leader.term - 1 }, 2));
    leader.receive(ack({ from: 2, to: 1, term: leader.term }, 2, 0));
    expect(leader.peer(2).matchIndex).toBe(matchIndex);
    // A new life of the follower may have lost what the old one held.
    leader.receive(heartbeatOfNewBoot(leader.term));
    leader.receive(ack({ from: 2, to: 1, term: leader.term, fromBoot: 1 }, 2));
    expect(leader.peer(2).matchIndex).toBeLessThan(2);
    expect(leader.commitIndex).toBe(1);
  });

  test('S58: a full window pauses; a heartbeat answer lets one append through, and the lost ones are sent again (thesis §10.2.1)', () => {
    const { cluster, leader } = leaderOf(3, { inflightAppendsMax: 2 });
    cluster.isolate(3);
    for (const command of ['a', 'b', 'c', 'd']) {
      leader.propose(command);
    }
    expect(cluster.take({ kind: 'appendEntries', to: 2 })).toHaveLength(2);
    leader.propose('e');
    expect(cluster.take({ kind: 'appendEntries', to: 2 })).toHaveLength(0);
    cluster.advance(HEARTBEAT * 3);
    expect(cluster.node(2).log).toEqual(leader.log);
    expect(leader.commitIndex).toBe(leader.log.length);
  });

  test('S59: slots and bytes in flight are freed by acknowledgements and by a new start (thesis §10.2.1)', () => {
    const { cluster, leader } = leaderOf(3);
    leader.proposeBytes(500);
    expect(leader.peer(2).inflightBytes).toBeGreaterThanOrEqual(500);
    cluster.settle();
    expect(leader.peer(2).inflightBytes).toBe(0);
    leader.proposeBytes(500);
    cluster.take();
    leader.step({ kind: 'unreachable', peer: 2 });
    cluster.settle();
    expect(leader.peer(2).inflightBytes).toBe(0);
  });

  test('S60: a caught-up follower that is probed is replicated to again after a heartbeat answer (thesis §10.2.1)', () => {
    const { cluster, leader } = leaderOf(3);
    leader.step({ kind: 'unreachable', peer: 2 });
    expect(leader.peer(2).state).toBe('probe');
    cluster.take();
    cluster.advance(HEARTBEAT * 3);
    expect(leader.peer(2).state).toBe('replicate');
  });

  test('S62: proposals beyond the bound of uncommitted bytes are refused, and accepted when it is free again (thesis §10.2.1)', () => {
    const { cluster, leader } = leaderOf(3, { uncommittedBytesMax: 1_000 });
    let accepted = 0;
    while (leader.proposeBytes(300).accepted) {
      accepted++;
      expect(accepted).toBeLessThan(10);
    }
    expect(accepted).toBeGreaterThan(0);
    expect(leader.proposeBytes(300)).toMatchObject({ accepted: false, reason: 'overloaded' });
    cluster.settle();
    expect(leader.status.uncommittedBytes).toBe(0);
    expect(leader.proposeBytes(300).accepted).toBe(true);
  });

  test('S63: a follower refuses proposals and names the leader; without a leader it names none (paper §8)', () => {
    const { cluster } = leaderOf(3);
    expect(cluster.node(2).propose('a')).toMatchObject({
      accepted: false,
      reason: 'notLeader',
      leaderId: 1,
    });
    const alone = new ScenarioCluster({ nodes: 3 }).node(1);
    expect(alone.propose('a')).toMatchObject({
      accepted: false,
      reason: 'notLeader',
      leaderId: undefined,
    });
  });

  test('S64: once its term is over a leader sends nothing in its name (paper §5.1)', () => {
    const { cluster, leader } = leaderOf(3);
    leader.propose('a');
    cluster.take();
    leader.receive(heartbeat({ from: 2, to: 1, term: leader.term + 1 }));
    leader.step({ kind: 'unreachable', peer: 3 });
    leader.propose('b');
    cluster.advanceOnly(1, 0.9 * ET);
    for (const kind of ['appendEntries', 'heartbeat'] as const) {
      expect(cluster.take({ kind, from: 1 })).toEqual([]);
    }
  });

  test('S67: a log that is sent in parts, by bytes, arrives whole and in order (thesis §10.2.1)', () => {
    const { cluster, leader } = leaderOf(3, { appendBytesMax: 250 });
    cluster.isolate(3);
    cluster.isolate(2);
    for (let i = 0; i < 20; i++) {
      leader.proposeBytes(100);
    }
    cluster.take();
    cluster.sent.length = 0;
    cluster.heal();
    cluster.advance(HEARTBEAT * 4);
    expect(cluster.node(2).log).toEqual(leader.log);
    const parts = cluster.sentOf('appendEntries', { to: 2 });
    expect(parts.length).toBeGreaterThan(5);
    for (const part of parts) {
      part.entries.forEach((e: Entry, i: number) => {
        expect(e.index).toBe(part.prevLogIndex + 1 + i);
      });
      expect(part.entries.length).toBeLessThanOrEqual(4);
    }
  });
});

function heartbeatOfNewBoot(term: number): ReturnType<typeof ack> {
  return rejection({ from: 2, to: 1, term, fromBoot: 2 }, 1, [1, term]);
}
