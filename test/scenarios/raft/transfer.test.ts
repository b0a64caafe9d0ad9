// Leadership transfer, and what becomes of proposals when leadership moves: thesis §3.10; paper §8.

import { describe, expect, test } from 'vitest';
import { ET, HEARTBEAT, ScenarioCluster, type ScenarioNode } from './harness.ts';

function serving(learners = 0): { cluster: ScenarioCluster; leader: ScenarioNode } {
  const cluster = new ScenarioCluster({ nodes: 3, learners });
  const leader = cluster.elect(1);
  leader.propose('a');
  cluster.settle();
  cluster.advance(HEARTBEAT * 2);
  cluster.take();
  return { cluster, leader };
}

describe('transfer', () => {
  test('S145: to a peer that has everything: TimeoutNow at once, and it leads without a timeout (thesis §3.10)', () => {
    const { cluster, leader } = serving();
    leader.transferTo(2);
    expect(cluster.pending).toMatchObject([{ kind: 'timeoutNow', to: 2 }]);
    cluster.settle();
    expect(cluster.node(2).role).toBe('leader');
    expect(leader.status).toMatchObject({ role: 'follower', leaderId: 2 });
    expect(leader.transfers).toEqual([true]);
  });

  test('S145: to a peer that lags: its log first, then TimeoutNow (thesis §3.10)', () => {
    const { cluster, leader } = serving();
    leader.propose('b');
    const appends = cluster.take({ to: 2 });
    cluster.settle();
    leader.transferTo(2);
    expect(cluster.take({ kind: 'timeoutNow' })).toEqual([]);
    for (const message of appends) {
      cluster.node(2).receive(message);
    }
    cluster.settle();
    expect(cluster.leader?.id).toBe(2);
    expect(cluster.node(2).commands).toEqual(['a', 'b']);
  });

  test('S145: to a peer that needed a snapshot (thesis §3.10)', () => {
    const { cluster, leader } = serving();
    cluster.isolate(3);
    leader.propose('b');
    cluster.settle();
    leader.compact(leader.commitIndex);
    cluster.heal();
    cluster.advanceUntil(() => leader.snapshotsAsked.length > 0);
    leader.transferTo(3);
    const meta = leader.snapshotMeta();
    cluster.node(3).receiveSnapshot(1, meta, leader.machine);
    leader.step({ kind: 'snapshotSent', to: 3, meta, ok: true });
    cluster.advance(ET / 2);
    expect(cluster.leader?.id).toBe(3);
  });

  test('S146: to itself, to a stranger or to a learner it is refused, and the leader goes on (thesis §3.10)', () => {
    const { cluster, leader } = serving(1);
    for (const to of [1, 9, 4]) {
      leader.transferTo(to);
      expect(leader.status.transferTo).toBeUndefined();
      expect(cluster.take({ kind: 'timeoutNow' })).toEqual([]);
      expect(leader.propose('x').accepted).toBe(true);
    }
    expect(leader.transfers).toEqual([false, false, false]);
  });

  test('S147: a transfer that comes to nothing ends after an election timeout, and proposals are taken again (thesis §3.10)', () => {
    const { cluster, leader } = serving();
    cluster.isolate(2);
    leader.transferTo(2);
    expect(leader.propose('b')).toMatchObject({ accepted: false, reason: 'transferring' });
    cluster.advance(1.1 * ET);
    expect(leader.transfers).toEqual([false]);
    expect(leader.role).toBe('leader');
    expect(leader.propose('b').accepted).toBe(true);
  });

  test('S148: a second transfer to another target replaces the first; the same target changes nothing (thesis §3.10)', () => {
    const { cluster, leader } = serving();
    cluster.isolate(2);
    leader.transferTo(2);
    leader.transferTo(2);
    expect(leader.status.transferTo).toBe(2);
    leader.transferTo(3);
    expect(leader.status.transferTo).toBe(3);
    cluster.settle();
    expect(cluster.leader?.id).toBe(3);
  });

  test('S150: proposals are refused during a transfer (thesis §3.10)', () => {
    const { leader } = serving();
    leader.transferTo(3);
    expect(leader.propose('b')).toMatchObject({ accepted: false, reason: 'transferring' });
  });

  test('S151: voters that hear the leader still elect the target: no pre-vote, no stickiness (thesis §3.10, §4.2.3)', () => {
    const { cluster, leader } = serving();
    const { term } = leader;
    cluster.sent.length = 0;
    leader.transferTo(3);
    cluster.settle();
    expect(cluster.sentOf('preVote')).toEqual([]);
    expect(cluster.sentOf('requestVote', { from: 3 }).every((m) => m.transfer)).toBe(true);
    expect(cluster.leader?.status).toMatchObject({ nodeId: 3, term: term + 1 });
  });

  test('S152: writes that race a transfer do not make it fail (thesis §3.10)', () => {
    const { cluster, leader } = serving();
    const refused: string[] = [];
    for (let i = 0; i < 5; i++) {
      if (!leader.propose(`b${i}`).accepted) {
        refused.push(`b${i}`);
      }
      if (i === 2) {
        leader.transferTo(2);
      }
      cluster.deliver();
    }
    cluster.settle();
    expect(cluster.leader?.id).toBe(2);
    expect(refused).toEqual(['b3', 'b4']);
    cluster.advance(HEARTBEAT * 2);
    expect(cluster.node(3).commands).toEqual(['a', 'b0', 'b1', 'b2']);
  });
});

describe('proposals', () => {
  test('S156: a proposal of a lost leadership may commit after all, and is then applied once (paper §8)', () => {
    const { cluster, leader } = serving();
    const proposed = leader.propose('b');
    cluster.deliver({ kind: 'appendEntries', to: 2 });
    leader.crash();
    cluster.take();
    cluster.elect(2);
    const { index, term } = proposed.accepted ? proposed : { index: 0, term: 0 };
    expect(cluster.node(2).log[index - 1]).toMatchObject({ index, term });
    leader.start();
    cluster.advance(ET);
    for (const node of cluster.nodes) {
      expect(node.commands).toEqual(['a', 'b']);
    }
  });

  test('S157: a proposal whose index holds another term was lost, and never shows (paper §8)', () => {
    const { cluster, leader } = serving();
    cluster.isolate(1);
    const proposed = leader.propose('lost');
    cluster.take();
    cluster.nowMs += 1.3 * ET;
    const next = cluster.elect(2);
    next.propose('other');
    cluster.settle();
    cluster.heal();
    cluster.advance(ET);
    const { index, term } = proposed.accepted ? proposed : { index: 0, term: 0 };
    expect(leader.log[index - 1]?.term).not.toBe(term);
    for (const node of cluster.nodes) {
      expect(node.commands).toEqual(['a', 'other']);
    }
  });
});
