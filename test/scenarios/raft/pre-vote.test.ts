// Pre-vote, check-quorum and leader stickiness: thesis §4.2.3, §6.2, §9.6.

import { describe, expect, test } from 'vitest';
import { ET, HEARTBEAT, ScenarioCluster } from './harness.ts';
import { preVote, preVoteResponse, requestVote } from './messages.ts';

describe('pre-vote', () => {
  test('S27: a node that was cut off rejoins without a new term and without disturbing the leader (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    const { term } = leader;
    cluster.isolate(3);
    cluster.advance(10 * ET);
    expect(cluster.node(3).term).toBe(term);
    cluster.heal();
    cluster.advance(3 * ET);
    expect(leader.status).toMatchObject({ role: 'leader', term });
    expect(cluster.node(3).status).toMatchObject({ term, leaderId: 1 });
  });

  test('S28: a node that comes with a higher term costs the leader one step-down, no more (thesis §4.2.3)', () => {
    const cluster = new ScenarioCluster({ nodes: 3, terms: [0, 0, 7] });
    cluster.isolate(3);
    cluster.elect(1).propose('a');
    cluster.settle();
    cluster.heal();
    cluster.advance(10 * ET);
    const lost = cluster.nodes.flatMap((node) => node.roles).filter((role) => role === 'leader');
    expect(lost.length).toBeLessThanOrEqual(2);
    expect(cluster.leader?.term).toBeGreaterThan(7);
    expect(cluster.node(3).commands).toEqual(['a']);
  });

  test('S29: a granted pre-vote echoes the term that was asked for and leaves the term of the voter alone (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const voter = cluster.node(1);
    cluster.nowMs += 2 * ET;
    voter.receive(preVote({ from: 2, to: 1, term: 6 }, [0, 0], 3));
    expect(cluster.take({ kind: 'preVoteResponse' })).toMatchObject([
      { granted: true, term: 6, round: 3, to: 2 },
    ]);
    expect(voter.status).toMatchObject({ term: 0, vote: undefined, role: 'follower' });
  });

  test('S29: a node of a smaller term can still be elected (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({
      nodes: 3,
      logs: [[1, 2], [1, 2], [1]],
      terms: [2, 4, 9],
    });
    cluster.node(2).crash();
    cluster.advance(10 * ET);
    expect(cluster.leader?.id).toBe(1);
    expect(cluster.leader?.term).toBeGreaterThan(9);
  });

  test('S30: a refused pre-vote that shows a higher term makes the asker a follower of that term (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const node = cluster.node(1);
    cluster.nowMs += 2 * ET;
    node.step({ kind: 'timeout' });
    const round = cluster.take({ kind: 'preVote' })[0]?.round ?? 0;
    node.receive(preVoteResponse({ from: 2, to: 1, term: 7 }, false, round));
    expect(node.status).toMatchObject({ role: 'follower', term: 7, vote: undefined });
  });

  test('S31: a split pre-vote is tried again and won (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 4 });
    cluster.nowMs += 2 * ET;
    for (const node of cluster.nodes) {
      node.step({ kind: 'timeout' });
    }
    cluster.drop();
    cluster.advanceUntil(() => cluster.leader !== undefined, 5 * ET);
  });

  test('S39: pre-votes that arrive after the election was won start nothing (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    const round = cluster.sentOf('preVote')[0]?.round ?? 0;
    const { term } = leader;
    for (const from of [2, 3]) {
      leader.receive(preVoteResponse({ from, to: 1, term }, true, round));
      leader.receive(preVoteResponse({ from, to: 1, term: term + 1 }, true, round));
    }
    expect(leader.status).toMatchObject({ role: 'leader', term });
  });
});

describe('stickiness', () => {
  test('S32: voters refuse a pre-vote while they hear a leader, and grant it an election timeout later (thesis §4.2.3)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    cluster.advance(HEARTBEAT * 2);
    const voter = cluster.node(2);
    const ask = (): boolean | undefined => {
      voter.receive(preVote({ from: 3, to: 2, term: leader.term + 1 }, [1, leader.term]));
      return cluster.take({ kind: 'preVoteResponse', to: 3 })[0]?.granted;
    };
    expect(ask()).not.toBe(true);
    cluster.nowMs += 1.1 * ET;
    expect(ask()).toBe(true);
  });

  test('S32: a pre-candidate grants the pre-vote of another (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    cluster.elect(1);
    const voter = cluster.node(2);
    cluster.take();
    cluster.advanceOnly(2, 1.3 * ET);
    expect(voter.role).toBe('preCandidate');
    voter.receive(preVote({ from: 3, to: 2, term: voter.term + 1 }, [1, voter.term]));
    expect(cluster.take({ kind: 'preVoteResponse', to: 3 })).toMatchObject([{ granted: true }]);
  });

  test('S34: a candidate stuck at a higher term is freed: the leader learns the term from its answer (thesis §6.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3, terms: [0, 0, 30] });
    cluster.isolate(3);
    const leader = cluster.elect(1);
    leader.propose('a');
    cluster.settle();
    cluster.heal();
    cluster.advanceUntil(() => cluster.node(3).commitIndex >= 2);
    expect(cluster.leader?.term).toBeGreaterThan(30);
  });

  test('S36: a vote is refused while a leader is heard, even at a higher term; a transfer overrides that (thesis §4.2.3)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    cluster.advance(HEARTBEAT * 2);
    const voter = cluster.node(2);
    const { term } = leader;
    voter.receive(requestVote({ from: 3, to: 2, term: term + 5 }, [1, term]));
    for (const answer of cluster.take({ kind: 'requestVoteResponse', to: 3 })) {
      expect(answer.granted).toBe(false);
    }
    expect(voter.status).toMatchObject({ term, leaderId: 1 });
    voter.receive(requestVote({ from: 3, to: 2, term: term + 5 }, [1, term], true));
    expect(cluster.take({ kind: 'requestVoteResponse', to: 3 })).toMatchObject([
      { granted: true, term: term + 5 },
    ]);
  });

  test('S37: the known leader itself is not refused a pre-vote because it was heard lately (thesis §4.2.3)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    cluster.advance(HEARTBEAT * 2);
    const { term } = leader;
    cluster.node(2).receive(preVote({ from: 1, to: 2, term: term + 1, fromBoot: 2 }, [1, term]));
    expect(cluster.take({ kind: 'preVoteResponse', from: 2 })).toMatchObject([{ granted: true }]);
  });

  test('S38: granting a pre-vote is not contact with a leader (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    cluster.elect(1);
    const voter = cluster.node(2);
    cluster.nowMs += ET;
    const { leaderContactMs } = voter.status;
    const deadlineMs = voter.core.nextDeadlineMs();
    voter.receive(preVote({ from: 3, to: 2, term: voter.term + 1 }, [1, voter.term]));
    expect(cluster.take({ kind: 'preVoteResponse' })).toMatchObject([{ granted: true }]);
    expect(voter.status.leaderContactMs).toBe(leaderContactMs);
    expect(voter.core.nextDeadlineMs()).toBeLessThanOrEqual(deadlineMs);
  });
});

describe('check-quorum', () => {
  test('S35: a leader that hears a quorum stays, and one that does not steps down within two timeouts (thesis §6.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 5 });
    const leader = cluster.elect(1);
    cluster.isolate(4);
    cluster.cut(1, 5);
    cluster.cut(5, 1);
    const { term } = leader;
    cluster.advance(10 * ET);
    expect(leader.status).toMatchObject({ role: 'leader', term });
    cluster.isolate(1);
    cluster.advance(2.5 * ET);
    expect(leader.role).not.toBe('leader');
    expect(leader.term).toBe(term);
  });

  test('S41a: a leader that can send but not receive steps down (thesis §6.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    cluster.cut(2, 1);
    cluster.cut(3, 1);
    cluster.advance(3 * ET);
    expect(leader.role).not.toBe('leader');
    cluster.advanceUntil(() => cluster.leader !== undefined && cluster.leader.id !== 1);
  });

  test('S41b: a follower that can send but not receive does not disrupt (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    const { term } = leader;
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.advance(10 * ET);
    expect(leader.status).toMatchObject({ role: 'leader', term });
  });

  test('S41c: a node that can receive but not send follows, and does not disrupt (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    const { term } = leader;
    cluster.cut(3, 1);
    cluster.cut(3, 2);
    cluster.advance(10 * ET);
    expect(leader.status).toMatchObject({ role: 'leader', term });
    expect(cluster.node(3).status).toMatchObject({ term, leaderId: 1 });
  });

  test('S42: with one link cut leadership changes hands a bounded number of times (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    cluster.elect(1);
    cluster.cut(1, 2);
    cluster.cut(2, 1);
    cluster.advance(20 * ET);
    const elected = cluster.nodes.flatMap((node) => node.roles).filter((role) => role === 'leader');
    expect(elected.length).toBeLessThanOrEqual(3);
    expect(cluster.leader).toBeDefined();
  });
});
