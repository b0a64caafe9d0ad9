// Linearizable reads without the log: raft paper §8; thesis §6.4.

import { describe, expect, test } from 'vitest';
import { ET, HEARTBEAT, ScenarioCluster, type ScenarioNode } from './harness.ts';
import { append, heartbeat, heartbeatResponse } from './messages.ts';

function serving(nodes = 3): { cluster: ScenarioCluster; leader: ScenarioNode } {
  const cluster = new ScenarioCluster({ nodes });
  const leader = cluster.elect(1);
  leader.propose('a');
  cluster.settle();
  cluster.advance(HEARTBEAT * 2);
  cluster.take();
  return { cluster, leader };
}

describe('ReadIndex', () => {
  test('S134: a read is answered only after a quorum confirmed a round that began after it (thesis §6.4)', () => {
    const { cluster, leader } = serving();
    const old = leader.read();
    cluster.settle();
    expect(leader.reads.get(old)).toBe(2);
    const stale = cluster.sentOf('heartbeatResponse', { from: 2 }).at(-1);
    const read = leader.read();
    if (stale !== undefined) {
      leader.receive(stale);
    }
    expect(leader.reads.get(read)).toBeUndefined();
    const beats = cluster.take({ kind: 'heartbeat', to: 2 });
    expect(beats.length).toBeGreaterThan(0);
    leader.receive(
      heartbeatResponse({ from: 2, to: 1, term: leader.term }, beats.at(-1)?.round ?? 0),
    );
    expect(leader.reads.get(read)).toBe(2);
  });

  test('S135: a new leader defers reads to its first own commit, then answers them all (thesis §6.4)', () => {
    const { cluster, leader } = serving();
    leader.crash();
    const next = cluster.node(2);
    cluster.nowMs += 2 * ET;
    next.step({ kind: 'timeout' });
    for (const kind of [
      'preVote',
      'preVoteResponse',
      'requestVote',
      'requestVoteResponse',
    ] as const) {
      cluster.settle({ kind });
    }
    expect(next.role).toBe('leader');
    const reads = [next.read(), next.read(), next.read()];
    cluster.settle({ kind: 'heartbeat' });
    cluster.settle({ kind: 'heartbeatResponse' });
    for (const read of reads) {
      expect(next.reads.get(read)).toBeUndefined();
    }
    cluster.settle();
    cluster.advance(HEARTBEAT * 2);
    for (const read of reads) {
      expect(next.reads.get(read)).toBe(3);
    }
  });

  test('S136: an answer to an earlier round confirms no later read, however often it is repeated (thesis §6.4)', () => {
    const { cluster, leader } = serving();
    leader.read();
    cluster.deliver({ kind: 'heartbeat' });
    const answers = cluster.take({ kind: 'heartbeatResponse' });
    const later = leader.read();
    for (const answer of [...answers, ...answers]) {
      leader.receive(answer);
    }
    expect(leader.reads.get(later)).toBeUndefined();
    cluster.settle();
    expect(leader.reads.get(later)).toBe(2);
  });

  test('S138: a follower asks the leader and serves the read itself; a node that leads no longer confirms nothing (thesis §6.4)', () => {
    const { cluster } = serving();
    const follower = cluster.node(2);
    const read = follower.read();
    cluster.settle();
    expect(follower.reads.get(read)).toBe(2);
    cluster.isolate(1);
    cluster.advance(3 * ET);
    const next = cluster.leader;
    expect(next?.id).not.toBe(1);
    next?.propose('b');
    cluster.settle();
    const old = cluster.node(1);
    const late = old.read();
    cluster.advance(3 * ET);
    expect(old.reads.get(late)).not.toBe(2);
  });

  test('S139: a leader that was paused over an election cannot answer a read with what it knew (thesis §6.4)', () => {
    const { cluster, leader } = serving();
    // Node 1 is stopped: the others elect and commit without it.
    cluster.isolate(1);
    cluster.nowMs += 1.3 * ET;
    cluster.node(2).step({ kind: 'timeout' });
    cluster.settle();
    expect(cluster.node(2).role).toBe('leader');
    cluster.node(2).propose('b');
    cluster.settle();
    cluster.heal();
    expect(leader.role).toBe('leader');
    const read = leader.read();
    cluster.advance(3 * ET);
    const outcome = leader.reads.get(read);
    expect(outcome === undefined || outcome === 'failed' || outcome >= 4).toBe(true);
    expect(leader.role).toBe('follower');
  });

  test('S139: a leader that was paused has no dispatch lease when it wakes (thesis §6.4.1)', () => {
    const { cluster, leader } = serving();
    expect(leader.status.leaseUntilMs).toBeGreaterThan(cluster.nowMs);
    cluster.nowMs += ET;
    expect(leader.status.leaseUntilMs).toBeLessThanOrEqual(cluster.nowMs);
  });

  test('S140: a leader that hands over has no dispatch lease from the moment of TimeoutNow (thesis §6.4.1)', () => {
    const { cluster, leader } = serving();
    expect(leader.status.leaseUntilMs).toBeGreaterThan(cluster.nowMs);
    leader.transferTo(2);
    expect(cluster.take({ kind: 'timeoutNow' })).toHaveLength(1);
    expect(leader.status.leaseUntilMs).toBeLessThanOrEqual(cluster.nowMs);
    // Nor does an answer to a heartbeat of before bring it back.
    const round = cluster.sentOf('heartbeat', { to: 3 }).at(-1)?.round ?? 0;
    leader.receive(heartbeatResponse({ from: 3, to: 1, term: leader.term }, round));
    expect(leader.status.leaseUntilMs).toBeLessThanOrEqual(cluster.nowMs);
  });

  test('S141: reads that are never confirmed do not pile up: beyond a bound they fail (thesis §6.4)', () => {
    const cluster = new ScenarioCluster({ nodes: 3, config: { pendingReadsMax: 5 } });
    const leader = cluster.elect(1);
    cluster.advance(HEARTBEAT * 2);
    cluster.isolate(1);
    const reads = Array.from({ length: 8 }, () => leader.read());
    const failed = reads.filter((read) => leader.reads.get(read) === 'failed');
    expect(failed).toHaveLength(3);
    cluster.advance(3 * ET);
    expect(reads.every((read) => leader.reads.get(read) === 'failed')).toBe(true);
  });

  test('S142: a leader that steps down fails the reads that wait, and answers none (thesis §6.4)', () => {
    const { cluster, leader } = serving();
    const reads = [leader.read(), leader.read()];
    cluster.take();
    leader.receive(heartbeat({ from: 2, to: 1, term: leader.term + 1 }));
    expect(reads.map((read) => leader.reads.get(read))).toEqual(['failed', 'failed']);
  });

  test('S143: a read of a follower that installs a snapshot meanwhile is served behind it (thesis §6.4)', () => {
    const { cluster, leader } = serving();
    const node = cluster.node(3);
    cluster.isolate(3);
    leader.propose('b');
    cluster.settle();
    cluster.heal();
    const read = node.read();
    cluster.deliver({ kind: 'readIndexRequest' });
    node.receiveSnapshot(1, leader.snapshotMeta(), leader.machine);
    cluster.settle();
    expect(node.reads.get(read)).toBe(3);
    expect(node.machine.appliedIndex).toBeGreaterThanOrEqual(3);
  });

  test('a recovering follower does not mislead: its reads are confirmed by the leader, served at the index of the leader (thesis §6.4)', () => {
    const { cluster } = serving();
    const node = cluster.node(3);
    node.receive(append({ from: 1, to: 3, term: 1 }, [2, 1], []));
    const read = node.read();
    cluster.settle();
    expect(node.reads.get(read)).toBe(2);
  });
});
