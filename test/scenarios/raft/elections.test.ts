// Elections and terms: raft paper §5.1, §5.2, §5.4.1; thesis §3.3, §3.4.

import { describe, expect, test } from 'vitest';
import { Prng } from '../../simulation/prng.ts';
import { ET, entriesOf, HEARTBEAT, ScenarioCluster, type ScenarioNode } from './harness.ts';
import { append, heartbeat, preVoteResponse, requestVote, voteResponse } from './messages.ts';

/** Node 1 with its pre-vote won, its vote for itself durable and its requests undelivered. */
function candidate(nodes: number): { cluster: ScenarioCluster; node: ScenarioNode } {
  const cluster = new ScenarioCluster({ nodes });
  const node = cluster.node(1);
  cluster.nowMs += 2 * ET;
  node.step({ kind: 'timeout' });
  cluster.settle({ kind: 'preVote' });
  cluster.settle({ kind: 'preVoteResponse' });
  expect(node.role).toBe('candidate');
  return { cluster, node };
}

describe('terms', () => {
  test('S1: a higher term makes a follower, candidate or leader a follower of that term without a vote (paper §5.1)', () => {
    const follower = new ScenarioCluster({ nodes: 3 }).node(1);
    const asked = candidate(3).node;
    const leader = new ScenarioCluster({ nodes: 3 }).elect(1);
    for (const node of [follower, asked, leader]) {
      node.receive(heartbeat({ from: 2, to: 1, term: 9 }));
      expect(node.status).toMatchObject({
        role: 'follower',
        term: 9,
        vote: undefined,
        leaderId: 2,
      });
    }
  });

  test('S2: a message of a lower term changes nothing and is answered, if at all, with the current term (paper §5.1)', () => {
    const cluster = new ScenarioCluster({ nodes: 3, logs: [[1, 5]] });
    const node = cluster.node(1);
    node.receive(heartbeat({ from: 2, to: 1, term: 5 }));
    const before = node.status;
    cluster.take();
    node.receive(append({ from: 3, to: 1, term: 3 }, [1, 1], entriesOf([1, 3]).slice(1), [2, 3]));
    node.receive(requestVote({ from: 3, to: 1, term: 3 }, [9, 3]));
    node.receive(heartbeat({ from: 3, to: 1, term: 4 }, 7, [2, 5]));
    expect(node.status).toEqual(before);
    expect(node.logTerms).toEqual([1, 5]);
    for (const answer of cluster.take()) {
      expect(answer.term).toBe(5);
      expect(answer).not.toMatchObject({ granted: true });
      expect(answer).not.toMatchObject({ result: { accepted: true } });
    }
  });

  test('S3: a node starts as a follower that knows no leader (paper §5.2)', () => {
    const node = new ScenarioCluster({ nodes: 3 }).node(2);
    expect(node.status).toMatchObject({ role: 'follower', leaderId: undefined, term: 0 });
  });

  test('S4: a leader sends heartbeats to every peer, with a commit index that the peer is known to hold (paper §5.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    cluster.isolate(3);
    leader.propose('a');
    leader.propose('b');
    cluster.settle();
    expect(leader.commitIndex).toBe(3);
    cluster.sent.length = 0;
    cluster.advance(HEARTBEAT * 1.5, false);
    const beats = cluster.take({ kind: 'heartbeat', from: 1 });
    expect(new Set(beats.map((beat) => beat.to))).toEqual(new Set([2, 3]));
    for (const beat of beats) {
      expect(beat.commitIndex).toBeLessThanOrEqual(leader.peer(beat.to).matchIndex);
    }
  });
});

describe('elections', () => {
  test('S5: after its election timeout a node durably votes for itself in the next term, then asks with its last entry (paper §5.2, §5.4.1)', () => {
    const cluster = new ScenarioCluster({
      nodes: 3,
      logs: [
        [1, 2],
        [1, 2],
        [1, 2],
      ],
    });
    const node = cluster.node(1);
    node.manualDisk = true;
    cluster.nowMs += 2 * ET;
    node.step({ kind: 'timeout' });
    cluster.settle();
    expect(cluster.sentOf('requestVote')).toEqual([]);
    node.persist();
    expect(node.disk.hardState).toEqual({ term: 3, vote: 1 });
    const asked = cluster.take({ kind: 'requestVote' });
    expect(asked.map((message) => message.to).sort()).toEqual([2, 3]);
    for (const message of asked) {
      expect(message).toMatchObject({ term: 3, lastLogIndex: 2, lastLogTerm: 2 });
    }
  });

  test.each([
    [1, 0, 0, 'leader'],
    [3, 1, 0, 'leader'],
    [3, 0, 1, 'candidate'],
    [3, 0, 2, 'follower'],
    [5, 1, 0, 'candidate'],
    [5, 2, 0, 'leader'],
    [5, 2, 2, 'leader'],
    [5, 1, 2, 'candidate'],
    [5, 1, 3, 'follower'],
  ] as const)(
    'S6: of %i voters %i others grant and %i refuse: %s (paper §5.2)',
    (nodes, grants, refusals, role) => {
      if (nodes === 1) {
        const node = new ScenarioCluster({ nodes }).elect(1);
        expect(node.role).toBe(role);
        return;
      }
      const { node } = candidate(nodes);
      const order = Array.from({ length: refusals + grants }, (_, i) => i >= refusals);
      order.forEach((granted, i) => {
        node.receive(voteResponse({ from: i + 2, to: 1, term: node.term }, granted));
      });
      expect(node.role).toBe(role);
    },
  );

  test('S6: the same vote counts once however often it arrives (paper §5.2)', () => {
    const { node } = candidate(5);
    for (let i = 0; i < 5; i++) {
      node.receive(voteResponse({ from: 2, to: 1, term: node.term }, true));
    }
    expect(node.role).toBe('candidate');
  });

  test('S7: a node gives one vote per term, repeats it to the same candidate, and remembers it over a restart (paper §5.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const voter = cluster.node(1);
    const answerTo = (from: number): boolean | undefined => {
      cluster.nowMs += 2 * ET;
      voter.receive(requestVote({ from, to: 1, term: 4 }, [0, 0]));
      return cluster.take({ kind: 'requestVoteResponse', to: from })[0]?.granted;
    };
    expect(answerTo(2)).toBe(true);
    expect(answerTo(2)).toBe(true);
    expect(answerTo(3)).toBe(false);
    voter.restart();
    expect(answerTo(3)).toBe(false);
    expect(answerTo(2)).toBe(true);
  });

  test.each([0, 1])(
    'S8: a candidate that hears a leader of its term + %i follows it (paper §5.2)',
    (ahead) => {
      const { node } = candidate(3);
      const term = node.term + ahead;
      node.receive(append({ from: 2, to: 1, term }, [0, 0], []));
      expect(node.status).toMatchObject({ role: 'follower', term, leaderId: 2 });
    },
  );

  test('S9: election timeouts are spread over [ET, 1.25 ET) and rarely collide (paper §9.3)', () => {
    const deadlines: number[] = [];
    for (let seed = 0; seed < 40; seed++) {
      const prng = new Prng(`timeouts ${seed}`);
      const cluster = new ScenarioCluster({
        nodes: 5,
        random: (id) => {
          const own = prng.split(String(id));
          return () => own.next();
        },
      });
      const of = cluster.nodes.map((node) => node.core.nextDeadlineMs() - cluster.nowMs);
      for (const delay of of) {
        expect(delay).toBeGreaterThanOrEqual(ET);
        expect(delay).toBeLessThan(1.25 * ET);
      }
      expect(new Set(of.map(Math.floor)).size).toBeGreaterThanOrEqual(4);
      deadlines.push(...of);
    }
    expect(Math.min(...deadlines)).toBeLessThan(1.05 * ET);
    expect(Math.max(...deadlines)).toBeGreaterThan(1.2 * ET);
  });

  test.each([
    { own: [1], last: [1, 1], granted: true },
    { own: [1], last: [2, 1], granted: true },
    { own: [1, 1], last: [1, 1], granted: false },
    { own: [1], last: [1, 2], granted: true },
    { own: [1, 1, 1], last: [1, 2], granted: true },
    { own: [1, 2], last: [9, 1], granted: false },
    { own: [], last: [0, 0], granted: true },
    { own: [1], last: [0, 0], granted: false },
  ] as const)(
    'S10: a voter with log $own asked by a log that ends at $last: $granted (paper §5.4.1)',
    ({ own, last, granted }) => {
      const cluster = new ScenarioCluster({ nodes: 3, logs: [own] });
      cluster.nowMs += 2 * ET;
      cluster.node(1).receive(requestVote({ from: 2, to: 1, term: 5 }, last));
      expect(cluster.take({ kind: 'requestVoteResponse' })).toMatchObject([{ granted, term: 5 }]);
    },
  );

  test('S11: a leader that lacks newer uncommitted entries overwrites them (paper §5.4.1, Fig. 7)', () => {
    const cluster = new ScenarioCluster({
      nodes: 3,
      logs: [[1], [1], [1, 2]],
      terms: [2, 2, 2],
    });
    cluster.elect(1);
    cluster.advance(HEARTBEAT * 3);
    expect(cluster.node(1).logTerms).toEqual([1, 3]);
    expect(cluster.node(3).logTerms).toEqual([1, 3]);
    expect(cluster.node(3).commitIndex).toBe(2);
  });

  test('S12: duelling candidates converge on one leader (paper §5.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    cluster.cut(1, 3);
    cluster.cut(3, 1);
    cluster.nowMs += 2 * ET;
    cluster.node(1).step({ kind: 'timeout' });
    cluster.node(3).step({ kind: 'timeout' });
    cluster.settle();
    const first = cluster.leader;
    expect(first).toBeDefined();
    cluster.heal();
    cluster.advance(5 * ET);
    const leaders = cluster.nodes.filter((node) => node.role === 'leader');
    expect(leaders).toHaveLength(1);
    expect(new Set(cluster.nodes.map((node) => node.term)).size).toBe(1);
    const elected = cluster.nodes.flatMap((node) => node.roles).filter((role) => role === 'leader');
    expect(elected.length).toBeLessThanOrEqual(2);
  });

  test('S13: duelling pre-candidates do not raise the term (thesis §9.6)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    cluster.elect(1).propose('a');
    cluster.settle();
    cluster.node(1).crash();
    cluster.cut(2, 3);
    cluster.cut(3, 2);
    const { term } = cluster.node(2);
    cluster.advance(20 * ET);
    expect(cluster.node(2).term).toBe(term);
    expect(cluster.node(3).term).toBe(term);
  });

  test('S14: a single node elects itself at once and commits only what is on its disk (paper §5.2, §5.3)', () => {
    const cluster = new ScenarioCluster({ nodes: 1 });
    const node = cluster.elect(1);
    node.manualDisk = true;
    expect(node.propose('a')).toMatchObject({ accepted: true, index: 2 });
    expect(node.commitIndex).toBe(1);
    node.persist();
    expect(node.commitIndex).toBe(2);
  });

  test('S15: a vote for itself that becomes durable after the election is lost counts for nothing (paper §5.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const node = cluster.node(1);
    node.manualDisk = true;
    cluster.nowMs += 2 * ET;
    node.step({ kind: 'timeout' });
    cluster.settle();
    node.receive(heartbeat({ from: 2, to: 1, term: 2 }));
    node.persist();
    node.receive(voteResponse({ from: 3, to: 1, term: 1 }, true));
    expect(node.status).toMatchObject({ role: 'follower', term: 2, leaderId: 2 });
    expect(node.roles).not.toContain('leader');
  });

  test('S16: pre-votes that arrive late are not counted as votes (thesis §9.6)', () => {
    const { cluster, node } = candidate(5);
    const round = cluster.sentOf('preVote')[0]?.round ?? 0;
    for (const from of [2, 3, 4, 5]) {
      node.receive(preVoteResponse({ from, to: 1, term: node.term }, true, round));
    }
    expect(node.role).toBe('candidate');
  });

  test('S17: an own append that completes after leadership is lost commits nothing (paper §5.3)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const leader = cluster.elect(1);
    cluster.advance(HEARTBEAT * 2);
    leader.manualDisk = true;
    leader.propose('a');
    const { commitIndex } = leader;
    leader.receive(heartbeat({ from: 2, to: 1, term: leader.term + 1 }));
    leader.persist();
    expect(leader.commitIndex).toBe(commitIndex);
    expect(leader.role).toBe('follower');
  });

  test('S18: a leader does not campaign; neither does a learner, nor a node that installs a snapshot (thesis §4.2.1)', () => {
    const cluster = new ScenarioCluster({ nodes: 3, learners: 1 });
    const leader = cluster.elect(1);
    const { term } = leader;
    leader.step({ kind: 'timeout' });
    expect(leader.status).toMatchObject({ role: 'leader', term });
    const learner = cluster.node(4);
    cluster.isolate(4);
    cluster.take();
    cluster.advanceOnly(4, 10 * ET);
    expect(cluster.take({ from: 4 })).toEqual([]);
    expect(learner.role).toBe('follower');
    const installing = cluster.node(2);
    installing.manualInstall = true;
    leader.propose('a');
    cluster.settle();
    const meta = { ...leader.snapshotMeta(), index: 50, term: leader.term };
    installing.receiveSnapshot(1, meta, leader.machine);
    cluster.take();
    cluster.advanceOnly(2, 10 * ET);
    expect(installing.role).toBe('follower');
    expect(cluster.take({ from: 2, kind: 'preVote' })).toEqual([]);
  });

  test('S19: a configuration counts from its place in the log, applied or not (thesis §4.1)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    const node = cluster.node(1);
    const { configuration } = cluster;
    const inLog = { ...configuration, voters: [2, 3], learners: [1] };
    node.receive(
      append(
        { from: 2, to: 1, term: 1 },
        [0, 0],
        [{ kind: 'configuration', index: 1, term: 1, timeMs: 0, configuration: inLog }],
      ),
    );
    expect(node.status.configuration).toEqual(inLog);
    expect(node.status.appliedIndex).toBe(0);
    cluster.take();
    cluster.advanceOnly(1, 10 * ET);
    expect(cluster.take({ from: 1 })).toEqual([]);
  });

  test('S21: after all nodes were killed a leader is elected and nothing committed is lost (paper §5.4)', () => {
    const cluster = new ScenarioCluster({ nodes: 5 });
    const leader = cluster.elect(1);
    for (const command of ['a', 'b', 'c']) {
      leader.propose(command);
    }
    cluster.settle();
    for (const node of cluster.nodes) {
      node.crash();
    }
    for (const node of cluster.nodes) {
      node.start();
    }
    cluster.advanceUntil(() => cluster.leader !== undefined);
    cluster.advance(HEARTBEAT * 3);
    for (const node of cluster.nodes) {
      expect(node.commands).toEqual(['a', 'b', 'c']);
    }
  });

  test('S22: five nodes survive two leaders lost one after the other (paper §5.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 5 });
    cluster.elect(1).propose('a');
    cluster.settle();
    for (const command of ['b', 'c']) {
      cluster.leader?.crash();
      cluster.advanceUntil(() => cluster.leader !== undefined);
      cluster.leader?.propose(command);
      cluster.settle();
    }
    expect(cluster.leader?.commands).toEqual(['a', 'b', 'c']);
  });

  test('S23: a restarted follower waits no longer than one normal timeout before it campaigns (paper §5.2)', () => {
    const cluster = new ScenarioCluster({ nodes: 3 });
    cluster.elect(1);
    const follower = cluster.node(3);
    follower.restart();
    expect(follower.core.nextDeadlineMs()).toBeLessThan(cluster.nowMs + 1.25 * ET);
  });

  test('S26: nodes whose timers all fire together still elect a leader, because each draws its own delays (paper §9.3)', () => {
    for (let seed = 0; seed < 25; seed++) {
      const prng = new Prng(`storm ${seed}`);
      const cluster = new ScenarioCluster({
        nodes: 5,
        random: (id) => {
          const own = prng.split(String(id));
          return () => own.next();
        },
      });
      cluster.nowMs += 2 * ET;
      for (const node of cluster.nodes) {
        node.step({ kind: 'timeout' });
      }
      cluster.advanceUntil(() => cluster.leader !== undefined, 5 * ET);
    }
  });
});
