// Snapshots, compaction and followers that fall behind it: raft paper §7; thesis §5.

import { describe, expect, test } from 'vitest';
import { ET, entry, HEARTBEAT, ScenarioCluster, type ScenarioNode } from './harness.ts';
import { append, heartbeat, preVote, rejection } from './messages.ts';

/** Leader 1 has compacted away what node 3, cut off, still needs; `asked` is its request to stream. */
function behind(): { cluster: ScenarioCluster; leader: ScenarioNode } {
  const cluster = new ScenarioCluster({ nodes: 3 });
  const leader = cluster.elect(1);
  cluster.isolate(3);
  for (const command of ['a', 'b', 'c', 'd']) {
    leader.propose(command);
    cluster.settle();
  }
  leader.compact(4);
  cluster.heal();
  cluster.advanceUntil(() => leader.snapshotsAsked.length > 0);
  cluster.settle();
  expect(leader.snapshotsAsked).toEqual([3]);
  return { cluster, leader };
}

/** Streams the leader's state to node 3 and tells both sides. */
function stream(cluster: ScenarioCluster, leader: ScenarioNode, ok = true): void {
  const meta = leader.snapshotMeta();
  if (ok) {
    cluster.node(3).receiveSnapshot(leader.id, meta, leader.machine);
  }
  leader.step({ kind: 'snapshotSent', to: 3, meta, ok });
}

describe('a leader', () => {
  test('S92: stops appends to a follower behind its first entry, and goes on behind the snapshot once it is there (paper §7)', () => {
    const { cluster, leader } = behind();
    expect(leader.peer(3).state).toBe('snapshot');
    cluster.take();
    leader.propose('e');
    expect(cluster.take({ kind: 'appendEntries', to: 3 })).toEqual([]);
    stream(cluster, leader);
    cluster.advance(HEARTBEAT * 3);
    expect(leader.peer(3).state).toBe('replicate');
    expect(cluster.node(3).commands).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('S92: tries again after a stream that failed (paper §7)', () => {
    const { cluster, leader } = behind();
    stream(cluster, leader, false);
    cluster.advanceUntil(() => leader.snapshotsAsked.length > 1);
    stream(cluster, leader);
    cluster.advance(HEARTBEAT * 3);
    expect(cluster.node(3).commands).toEqual(['a', 'b', 'c', 'd']);
  });

  test('S93: resumes when the follower turns out to hold its first entry, whatever snapshot is under way (paper §7)', () => {
    const { cluster, leader } = behind();
    // Node 3 got the entries elsewhere: an acknowledgement at or behind the leader's base.
    const other = cluster.node(3);
    other.receive(
      append({ from: 1, to: 3, term: leader.term }, [1, 1], cluster.node(2).log.slice(1, 5)),
    );
    cluster.settle();
    cluster.advance(HEARTBEAT * 2);
    expect(leader.peer(3).state).toBe('replicate');
    expect(leader.peer(3).matchIndex).toBe(leader.status.lastIndex);
  });

  test('S94: a snapshot at its last entry brings the follower back without a new entry (paper §7)', () => {
    const { cluster, leader } = behind();
    expect(leader.snapshotMeta().index).toBe(leader.status.lastIndex);
    stream(cluster, leader);
    cluster.advance(HEARTBEAT * 3);
    expect(leader.peer(3)).toMatchObject({
      state: 'replicate',
      matchIndex: leader.status.lastIndex,
    });
  });

  test('S105: answers a refusal from before its first entry with a snapshot, never with an append behind term 0 (paper §7)', () => {
    const { cluster, leader } = behind();
    cluster.sent.length = 0;
    leader.receive(rejection({ from: 3, to: 1, term: leader.term }, 1, [0, 0]));
    stream(cluster, leader, false);
    leader.receive(rejection({ from: 3, to: 1, term: leader.term }, 1, [0, 0]));
    cluster.advance(HEARTBEAT * 3);
    for (const message of cluster.sentOf('appendEntries', { to: 3 })) {
      expect(message.prevLogIndex === 0 || message.prevLogTerm > 0).toBe(true);
      expect(message.prevLogIndex).toBeGreaterThanOrEqual(4);
    }
    expect(leader.peer(3).state).toBe('snapshot');
  });

  test('S110: keeps entries behind its snapshot for slow followers, who then need no snapshot (thesis §5.1.1)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    cluster.isolate(3);
    for (const command of ['a', 'b', 'c', 'd']) {
      leader.propose(command);
      cluster.settle();
    }
    leader.compact(1);
    cluster.heal();
    cluster.advance(HEARTBEAT * 4);
    expect(leader.snapshotsAsked).toEqual([]);
    expect(cluster.node(3).commands).toEqual(['a', 'b', 'c', 'd']);
  });

  test('S112: serves the others while a snapshot is under way, and gives up one whose peer went away (paper §7)', () => {
    const { cluster, leader } = behind();
    cluster.isolate(3);
    leader.propose('e');
    cluster.settle();
    expect(leader.commands).toContain('e');
    leader.step({ kind: 'snapshotSent', to: 3, meta: undefined, ok: false });
    leader.step({ kind: 'unreachable', peer: 3 });
    cluster.heal();
    cluster.advanceUntil(() => leader.snapshotsAsked.length > 1);
    stream(cluster, leader);
    cluster.advance(HEARTBEAT * 3);
    expect(cluster.node(3).commands).toEqual(['a', 'b', 'c', 'd', 'e']);
  });
});

describe('a follower', () => {
  test('S95: discards a snapshot of what it has committed, and says where it stands (paper §7)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    leader.propose('a');
    cluster.settle();
    const old = { meta: leader.snapshotMeta(), machine: leader.machine };
    leader.propose('b');
    cluster.settle();
    cluster.advance(HEARTBEAT * 2);
    const node = cluster.node(3);
    expect(node.commitIndex).toBe(3);
    node.receiveSnapshot(1, old.meta, old.machine);
    expect(node.discarded).toEqual([old.meta]);
    expect(node.installs).toEqual([]);
    expect(node.commands).toEqual(['a', 'b']);
  });

  test('S96: keeps the log behind a snapshot whose last entry it holds (paper §7, Fig. 13)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    leader.propose('a');
    cluster.settle();
    const snapshot = { meta: leader.snapshotMeta(), machine: leader.machine };
    const node = cluster.node(3);
    node.manualApply = true;
    cluster.isolate(2);
    node.receive(
      append({ from: 1, to: 3, term: 1 }, [2, 1], [entry(3, 1, 'x'), entry(4, 1, 'y')], [1, 1]),
    );
    expect(node.log).toHaveLength(4);
    node.receiveSnapshot(1, snapshot.meta, snapshot.machine);
    expect(node.status.lastIndex).toBe(4);
    expect(node.status.commitIndex).toBeGreaterThanOrEqual(2);
  });

  test('S97: drops the whole log that contradicts a snapshot (paper §7, Fig. 13)', () => {
    const cluster = new ScenarioCluster({
      nodes: 3,
      logs: [[], [], [1, 1, 1, 1, 1]],
      terms: [2, 2, 2],
    });
    const node = cluster.node(3);
    cluster.isolate(3);
    const leader = cluster.elect(1);
    leader.propose('a');
    cluster.settle();
    node.receive(heartbeat({ from: 1, to: 3, term: leader.term }));
    node.receiveSnapshot(1, leader.snapshotMeta(), leader.machine);
    expect(node.status).toMatchObject({ firstIndex: 3, lastIndex: 2, commitIndex: 2 });
    expect(node.commands).toEqual(['a']);
  });

  test('S98: does not accept a snapshot that contradicts what it knows to be committed (paper §5.4.3)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    leader.propose('a');
    cluster.settle();
    cluster.advance(HEARTBEAT * 2);
    const node = cluster.node(3);
    const meta = { ...leader.snapshotMeta(), term: leader.term + 1 };
    try {
      node.receiveSnapshot(1, meta, leader.machine);
    } catch {
      // A broken protocol may stop the node; it may not be followed.
    }
    expect(node.installs).toEqual([]);
    expect(node.log.map((e) => e.term)).toEqual([1, 1]);
  });

  test('S102: takes a newer snapshot that arrives while one is being installed, and ends with it (paper §7)', () => {
    const { cluster, leader } = behind();
    const node = cluster.node(3);
    node.manualInstall = true;
    const first = { meta: leader.snapshotMeta(), machine: leader.machine };
    node.receiveSnapshot(1, first.meta, first.machine);
    expect(node.installs).toEqual([first.meta]);
    leader.propose('e');
    cluster.settle();
    const second = { meta: leader.snapshotMeta(), machine: leader.machine };
    node.receiveSnapshot(1, second.meta, second.machine);
    node.install();
    if (node.installs.length > 0) {
      node.install();
    }
    node.manualInstall = false;
    leader.step({ kind: 'snapshotSent', to: 3, meta: second.meta, ok: true });
    cluster.advance(HEARTBEAT * 4);
    expect(node.commands).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('S104: does not campaign while it installs (paper §7)', () => {
    const { cluster, leader } = behind();
    const node = cluster.node(3);
    node.manualInstall = true;
    node.receiveSnapshot(1, leader.snapshotMeta(), leader.machine);
    cluster.take();
    cluster.advanceOnly(3, 5 * ET);
    expect(cluster.take({ kind: 'preVote', from: 3 })).toEqual([]);
    expect(node.role).toBe('follower');
  });

  test('S107: a stream that broke leaves nothing behind; the next leader sends its own (paper §7)', () => {
    const { cluster, leader } = behind();
    stream(cluster, leader, false);
    cluster.node(2).compact(4);
    cluster.isolate(1);
    cluster.nowMs += 2 * ET;
    const next = cluster.elect(2);
    cluster.advanceUntil(() => next.snapshotsAsked.includes(3));
    const late = leader.snapshotMeta();
    stream(cluster, next);
    cluster.settle();
    // The old leader's stream ends after all: it is of a past that is already installed.
    cluster.node(3).receiveSnapshot(1, late, leader.machine);
    cluster.advance(HEARTBEAT * 4);
    expect(cluster.node(3).commands).toEqual(['a', 'b', 'c', 'd']);
    expect(cluster.node(3).log).toEqual(next.log.slice(-cluster.node(3).log.length));
  });

  test('a recovering node gives no vote and no pre-vote, and does not campaign, until it is healed (thesis §3.8)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    for (const command of ['a', 'b', 'c']) {
      leader.propose(command);
    }
    cluster.settle();
    const node = cluster.node(3);
    node.crash();
    node.disk.damage(2);
    node.start();
    expect(node.status.recovering).toBe(true);
    node.receive(preVote({ from: 2, to: 3, term: 9 }, [9, 8]));
    for (const answer of cluster.take({ from: 3 })) {
      expect(answer).not.toMatchObject({ granted: true });
    }
    cluster.advanceOnly(3, 5 * ET);
    expect(cluster.take({ kind: 'preVote', from: 3 })).toEqual([]);
    cluster.nowMs += ET;
    cluster.advance(5 * ET);
    expect(node.status.recovering).toBe(false);
    expect(node.disk.recovering).toBe(false);
    expect(node.commands).toEqual(['a', 'b', 'c']);
  });
});
