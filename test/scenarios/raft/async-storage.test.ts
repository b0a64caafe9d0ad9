// Writes that are under way while the world moves on; what a crash takes and what it must not.
// Raft paper §5.1 (durable before answering), §5.3; thesis §10.2.1 (writing in parallel), §3.8.

import { describe, expect, test } from 'vitest';
import { ET, entriesOf, entry, HEARTBEAT, ScenarioCluster, type ScenarioNode } from './harness.ts';
import { ack, append, heartbeat, requestVote } from './messages.ts';

/** Node 1 of three, following node 2 in `term`, with a disk that waits for `persist()`. */
function slowFollower(
  term: number,
  log: readonly number[] = [],
): {
  cluster: ScenarioCluster;
  node: ScenarioNode;
} {
  const cluster = new ScenarioCluster({ nodes: 3, logs: [log], terms: [term, term, term] });
  const node = cluster.node(1);
  node.receive(heartbeat({ from: 2, to: 1, term }));
  cluster.take();
  node.manualDisk = true;
  return { cluster, node };
}

describe('completions', () => {
  test('S69: the completion of a write says nothing of entries that a later write replaced at the same indexes (thesis §10.2.1)', () => {
    const { cluster, node } = slowFollower(1);
    node.receive(append({ from: 2, to: 1, term: 1 }, [0, 0], entriesOf([1, 1])));
    node.receive(append({ from: 3, to: 1, term: 2 }, [0, 0], [entry(1, 2), entry(2, 2)]));
    expect(node.logTerms).toEqual([2, 2]);
    node.persist(1);
    expect(node.status.durableIndex).toBe(0);
    for (const answer of cluster.take({ kind: 'appendEntriesResponse', to: 3 })) {
      expect(answer.result).not.toMatchObject({ accepted: true, matchIndex: 2 });
    }
    node.persist();
    expect(node.status.durableIndex).toBe(2);
    expect(cluster.take({ kind: 'appendEntriesResponse', to: 3 }).at(-1)?.result).toEqual({
      accepted: true,
      matchIndex: 2,
    });
  });

  test('S70: an append that completes in a later term is not acknowledged in that term (paper §5.1)', () => {
    const { cluster, node } = slowFollower(1);
    node.receive(append({ from: 2, to: 1, term: 1 }, [0, 0], entriesOf([1])));
    node.receive(heartbeat({ from: 3, to: 1, term: 5 }));
    node.persist();
    for (const answer of cluster.take({ kind: 'appendEntriesResponse' })) {
      expect(answer).toMatchObject({ to: 2, term: 1 });
    }
  });

  test('S71: a write that never completes is never acknowledged, and the entry is not there after the restart (paper §5.3)', () => {
    const { cluster, node } = slowFollower(1);
    node.receive(append({ from: 2, to: 1, term: 1 }, [0, 0], entriesOf([1])));
    cluster.advanceOnly(1, ET / 2);
    expect(cluster.take({ kind: 'appendEntriesResponse' })).toEqual([]);
    node.restart();
    expect(node.status.lastIndex).toBe(0);
  });

  test('S72: a completion that is reported late or again takes nothing back (thesis §10.2.1)', () => {
    const { cluster, node } = slowFollower(1);
    node.receive(append({ from: 2, to: 1, term: 1 }, [0, 0], entriesOf([1])));
    node.receive(append({ from: 2, to: 1, term: 1 }, [1, 1], [entry(2, 1)]));
    expect(node.writes).toHaveLength(2);
    const [first, second] = node.writes.map((write) => write.writeId);
    // Writes complete in order, so the completion of one is the completion of those before it.
    node.step({ kind: 'persisted', writeId: second ?? 0 });
    expect(node.status.durableIndex).toBe(2);
    node.step({ kind: 'persisted', writeId: first ?? 0 });
    node.step({ kind: 'persisted', writeId: second ?? 0 });
    expect(node.status.durableIndex).toBe(2);
    expect(() => node.step({ kind: 'persisted', writeId: (second ?? 0) + 1 })).toThrow();
    cluster.take();
  });

  test('S74: no write holds an entry of a term without that term being written with it or before it (paper §5.1)', () => {
    const { cluster, node } = slowFollower(1);
    node.receive(append({ from: 3, to: 1, term: 4 }, [0, 0], entriesOf([3, 4])));
    node.receive(append({ from: 2, to: 1, term: 6 }, [1, 3], [entry(2, 6)]));
    let durableTerm = node.disk.hardState.term;
    expect(node.writes.length).toBeGreaterThan(0);
    for (const write of node.writes) {
      durableTerm = write.hardState?.term ?? durableTerm;
      for (const e of write.entries) {
        expect(e.term).toBeLessThanOrEqual(durableTerm);
      }
    }
    cluster.take();
  });

  test('S75: in a quiet group everything becomes durable, though the last write belonged to an old term (thesis §10.2.1)', () => {
    const { node } = slowFollower(1);
    node.receive(append({ from: 2, to: 1, term: 1 }, [0, 0], entriesOf([1, 1])));
    node.receive(heartbeat({ from: 3, to: 1, term: 2 }));
    node.persist();
    expect(node.status).toMatchObject({ durableIndex: 2, lastIndex: 2 });
  });

  test('S76: old payloads that arrive after the leader stepped down are dropped (thesis §10.2.1)', () => {
    const cluster = new ScenarioCluster({ nodes: 3, config: { windowBytesMax: 1 } });
    const leader = cluster.elect(1);
    cluster.isolate(3);
    for (let i = 0; i < 10; i++) {
      leader.proposeBytes(100);
      cluster.settle();
    }
    leader.manualFetch = true;
    cluster.heal();
    cluster.advanceUntil(() => leader.fetches.length > 0);
    leader.receive(heartbeat({ from: 2, to: 1, term: leader.term + 1 }));
    cluster.take();
    leader.answerFetch();
    expect(cluster.take({ kind: 'appendEntries', from: 1 })).toEqual([]);
    expect(leader.role).toBe('follower');
  });
});

describe('crashes', () => {
  test('S77: a vote is not given before it is on the disk, so a crash cannot make it two (paper §5.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const voter = cluster.node(1);
    voter.manualDisk = true;
    cluster.nowMs += 2 * ET;
    voter.receive(requestVote({ from: 2, to: 1, term: 4 }, [0, 0]));
    expect(cluster.take({ kind: 'requestVoteResponse' })).toEqual([]);
    voter.restart();
    cluster.nowMs += 2 * ET;
    voter.receive(requestVote({ from: 3, to: 1, term: 4 }, [0, 0]));
    voter.persist();
    expect(cluster.take({ kind: 'requestVoteResponse' })).toMatchObject([
      { to: 3, granted: true, term: 4 },
    ]);
    voter.restart();
    cluster.nowMs += 2 * ET;
    voter.receive(requestVote({ from: 2, to: 1, term: 4 }, [0, 0]));
    voter.persist();
    expect(cluster.take({ kind: 'requestVoteResponse' })).toMatchObject([{ granted: false }]);
  });

  test('S78: a candidate asks for votes only once its own term and vote are on the disk (paper §5.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const node = cluster.node(1);
    node.manualDisk = true;
    cluster.nowMs += 2 * ET;
    node.step({ kind: 'timeout' });
    cluster.settle({ kind: 'preVote' });
    cluster.settle({ kind: 'preVoteResponse' });
    expect(cluster.take({ kind: 'requestVote' })).toEqual([]);
    node.persist();
    for (const message of cluster.take({ kind: 'requestVote' })) {
      expect(node.disk.hardState).toEqual({ term: message.term, vote: 1 });
    }
    node.restart();
    expect(node.status).toMatchObject({ term: 1, vote: 1 });
  });

  test('S80: what a follower acknowledged is there after the power failed (paper §5.3)', () => {
    const { cluster, node } = slowFollower(1);
    node.receive(append({ from: 2, to: 1, term: 1 }, [0, 0], entriesOf([1, 1])));
    node.persist();
    const [answer] = cluster.take({ kind: 'appendEntriesResponse' });
    expect(answer?.result).toEqual({ accepted: true, matchIndex: 2 });
    node.restart();
    expect(node.logTerms).toEqual([1, 1]);
  });

  test('S81: a tail that the power took was never acknowledged (paper §5.3)', () => {
    const { cluster, node } = slowFollower(1);
    node.receive(append({ from: 2, to: 1, term: 1 }, [0, 0], entriesOf([1, 1])));
    node.persist();
    cluster.take();
    node.receive(append({ from: 2, to: 1, term: 1 }, [2, 1], [entry(3, 1)]));
    const before = cluster.take({ kind: 'appendEntriesResponse' });
    node.restart();
    expect(node.logTerms).toEqual([1, 1]);
    for (const answer of before) {
      expect(answer.result).not.toMatchObject({ accepted: true, matchIndex: 3 });
    }
  });

  test('S82: a leader sends before its own fsync but counts itself only after it (thesis §10.2.1)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    cluster.advance(HEARTBEAT * 2);
    cluster.take();
    leader.manualDisk = true;
    leader.propose('a');
    expect(cluster.take({ kind: 'appendEntries' })).toHaveLength(2);
    leader.receive(ack({ from: 2, to: 1, term: leader.term }, 2));
    expect(leader.commitIndex).toBe(1);
    leader.persist();
    expect(leader.commitIndex).toBe(2);
    leader.propose('b');
    cluster.take();
    leader.receive(ack({ from: 2, to: 1, term: leader.term }, 3));
    leader.receive(ack({ from: 3, to: 1, term: leader.term }, 3));
    // Durable on a majority without the leader.
    expect(leader.commitIndex).toBe(3);
  });

  test('S83: a single node says committed after its fsync, and then the power may fail (paper §5.3)', () => {
    const cluster = new ScenarioCluster({ nodes: 1 });
    const node = cluster.elect(1);
    node.manualDisk = true;
    node.propose('a');
    expect(node.commands).toEqual([]);
    node.persist();
    expect(node.commands).toEqual(['a']);
    node.restart();
    node.manualDisk = false;
    cluster.elect(1);
    expect(node.commands).toEqual(['a']);
  });

  test('S84: after a restart nothing is read before an entry of the new term is committed (paper §8)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    cluster.elect(1).propose('a');
    cluster.settle();
    for (const node of cluster.nodes) {
      node.restart();
    }
    const node = cluster.node(1);
    expect(node.commitIndex).toBe(0);
    cluster.nowMs += 2 * ET;
    node.step({ kind: 'timeout' });
    for (const kind of [
      'preVote',
      'preVoteResponse',
      'requestVote',
      'requestVoteResponse',
    ] as const) {
      cluster.settle({ kind });
    }
    expect(node.role).toBe('leader');
    const read = node.read();
    cluster.settle({ kind: 'heartbeat' });
    cluster.settle({ kind: 'heartbeatResponse' });
    expect(node.reads.get(read)).toBeUndefined();
    cluster.settle();
    cluster.advance(HEARTBEAT * 2);
    expect(node.reads.get(read)).toBe(3);
    expect(node.commands).toEqual(['a']);
  });
});
