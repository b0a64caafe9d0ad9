// The basic flows, on a network that works unless a test says otherwise.

import { describe, expect, test } from 'vitest';
import type { Message, RaftStatus } from '../../../../src/raft/core/index.ts';
import { Cluster, CONFIG, EPOCH, ET, type Node } from './cluster.ts';

const termOf = (node: Node): number => node.status.term;
const peerOf = (status: RaftStatus, id: number): RaftStatus['peers'][number] =>
  status.peers.find((peer) => peer.nodeId === id)!;

describe('elections', () => {
  test('three nodes elect one leader, in term 1, within 1.25 election timeouts', () => {
    const cluster = new Cluster();
    cluster.run(1.25 * ET);
    expect(cluster.nodes.filter((node) => node.status.role === 'leader')).toHaveLength(1);
    expect(new Set(cluster.nodes.map(termOf))).toEqual(new Set([1]));
    expect(new Set(cluster.nodes.map((node) => node.status.leaderId)).size).toBe(1);
  });

  test('a sole voter leads at once, but only after its vote is durable', () => {
    const cluster = new Cluster({ nodes: 1 });
    const node = cluster.node(1);
    node.step({ kind: 'timeout' });
    expect(node.status.role).toBe('candidate');
    cluster.settle();
    expect(node.status.role).toBe('leader');
    expect(node.status.commitIndex).toBe(1);
  });

  test('a refused connection to the leader starts an election long before the timeout', () => {
    const cluster = new Cluster();
    const old = cluster.elect();
    old.crash();
    for (const node of cluster.nodes) node.step({ kind: 'refused', peer: old.id });
    cluster.run(CONFIG.refusedDelayMsMax + CONFIG.electionRetryMsMax);
    expect(cluster.leader?.id).not.toBe(old.id);
    expect(cluster.leader?.status.term).toBeGreaterThan(1);
  });

  test('a connection that merely broke ends no promise to the leader', () => {
    const cluster = new Cluster();
    const old = cluster.elect();
    old.crash();
    for (const node of cluster.nodes) node.step({ kind: 'unreachable', peer: old.id });
    cluster.run(0.5 * ET);
    expect(cluster.leader).toBeUndefined();
    cluster.run(2 * ET);
    expect(cluster.leader).toBeDefined();
  });

  test('E4: a node that restarts gives no vote before an election timeout has passed', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const [voter, asker] = cluster.nodes.filter((node) => node !== leader);
    voter!.crash();
    voter!.start();
    const ask = (): Message => ({
      kind: 'requestVote',
      from: asker!.id,
      to: voter!.id,
      fromBoot: asker!.bootId,
      term: 9,
      lastLogIndex: 99,
      lastLogTerm: 8,
      transfer: false,
    });
    voter!.step({ kind: 'receive', message: ask() });
    expect(termOf(voter!)).toBe(1);
    cluster.nowMs += ET;
    voter!.step({ kind: 'receive', message: ask() });
    expect(voter!.status.vote).toBe(asker!.id);
  });

  test('a leader that no quorum answers for an election timeout steps down', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    cluster.run(2 * ET, (message) => message.to !== leader.id);
    expect(leader.status.role).not.toBe('leader');
    expect(termOf(leader)).toBe(1);
  });
});

describe('replication', () => {
  test('a proposal is one entry with all its commands, committed when a majority has it', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const commands = [new Uint8Array([1]), new Uint8Array([2])];
    const result = leader.core!.propose(commands, cluster.now);
    expect(result).toEqual({ accepted: true, term: 1, index: 2 });
    leader.step({ kind: 'timeout' });
    cluster.run(2 * CONFIG.heartbeatIntervalMs);
    for (const node of cluster.nodes) {
      expect(node.status.commitIndex).toBe(2);
      expect(node.core!.entries(2, 3)).toMatchObject([{ kind: 'commands', commands }]);
    }
  });

  test('a follower refuses proposals and says who leads', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const follower = cluster.nodes.find((node) => node !== leader)!;
    expect(follower.core!.propose([new Uint8Array(1)], cluster.now)).toEqual({
      accepted: false,
      reason: 'notLeader',
      leaderId: leader.id,
      term: 1,
    });
  });

  test('a leader sends before its own write, and does not count itself before it', () => {
    const cluster = new Cluster({ nodes: 2 });
    const leader = cluster.elect();
    const follower = cluster.nodes.find((node) => node !== leader)!;
    leader.propose(10);
    while (cluster.messages.length > 0 || follower.writes.length > 0) {
      cluster.deliver(0);
      follower.persist();
    }
    expect(peerOf(leader.status, follower.id).matchIndex).toBe(2);
    expect(leader.status.commitIndex).toBe(1);
    leader.persist();
    expect(leader.status.commitIndex).toBe(2);
  });

  test('one entry larger than every bound goes alone', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    leader.propose(5_000);
    cluster.run(ET);
    expect(cluster.nodes.map((node) => node.status.commitIndex)).toEqual([2, 2, 2]);
  });

  test('payloads that left memory are fetched for a peer that is far behind', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const late = cluster.nodes.find((node) => node !== leader)!;
    late.crash();
    for (let count = 0; count < 30; count += 1) {
      leader.propose(200);
      cluster.settle();
    }
    late.start();
    cluster.run(2 * ET);
    expect(leader.effects.some((effect) => effect.kind === 'fetch')).toBe(true);
    expect(late.status.lastIndex).toBe(leader.status.lastIndex);
  });

  test('a peer with waiting clients hears of the commit without waiting for traffic', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const follower = cluster.nodes.find((node) => node !== leader)!;
    leader.propose(10);
    leader.step({ kind: 'commitInterest', peer: follower.id, index: 2 });
    cluster.settle();
    expect(follower.status.commitIndex).toBe(2);
  });

  test('acknowledgements of an earlier boot are dropped, and a new boot starts at match 0', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const follower = cluster.nodes.find((node) => node !== leader)!;
    const from = { kind: 'heartbeatResponse' as const, from: follower.id, to: leader.id, term: 1 };
    const newer = { ...from, fromBoot: 2, round: 0, wallMs: EPOCH };
    expect(peerOf(leader.status, follower.id).matchIndex).toBe(1);
    leader.step({ kind: 'receive', message: newer });
    expect(peerOf(leader.status, follower.id)).toMatchObject({ matchIndex: 0, bootId: 2 });
    const late: Message = {
      kind: 'appendEntriesResponse',
      from: follower.id,
      to: leader.id,
      term: 1,
      fromBoot: 1,
      toBoot: 1,
      result: { accepted: true, matchIndex: 1 },
    };
    leader.step({ kind: 'receive', message: late });
    expect(peerOf(leader.status, follower.id).matchIndex).toBe(0);
  });
});

describe('reads', () => {
  test('reads of a leader and of a follower are answered at the commit index', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const follower = cluster.nodes.find((node) => node !== leader)!;
    leader.step({ kind: 'readIndex', readId: 1 });
    follower.step({ kind: 'readIndex', readId: 2 });
    expect(leader.ready.size + follower.ready.size).toBe(0);
    cluster.settle();
    expect([leader.ready.get(1), follower.ready.get(2)]).toEqual([1, 1]);
  });

  test('reads beyond the bound fail, and so do all when leadership is lost', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    for (let id = 1; id <= CONFIG.pendingReadsMax + 1; id += 1) {
      leader.step({ kind: 'readIndex', readId: id });
    }
    expect(leader.failed).toEqual([CONFIG.pendingReadsMax + 1]);
    cluster.run(2 * ET, (message) => message.to !== leader.id);
    expect(leader.failed).toHaveLength(CONFIG.pendingReadsMax + 1);
    expect(leader.ready.size).toBe(0);
  });
});

describe('the dispatch lease', () => {
  test('is counted from the send time of the last confirmed round', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const before = leader.core!.leaseUntilMs();
    expect(before).toBeLessThanOrEqual(cluster.nowMs + 0.8 * ET);
    expect(before).toBeGreaterThan(cluster.nowMs + 0.8 * ET - 2 * CONFIG.heartbeatIntervalMs);
    cluster.run(ET / 2, (message) => message.to !== leader.id);
    expect(leader.core!.leaseUntilMs()).toBe(before);
  });

  test('has ended before TimeoutNow leaves, and does not come back while its fate is open', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    leader.step({ kind: 'transferLeadership', to: undefined });
    expect(cluster.messages.map((message) => message.kind)).toContain('timeoutNow');
    expect(leader.core!.leaseUntilMs()).toBe(0);
    cluster.run(0.9 * ET, (message) => message.kind !== 'timeoutNow');
    expect(leader.core!.leaseUntilMs()).toBe(0);
    cluster.run(0.5 * ET);
    expect(leader.status.role).toBe('leader');
    expect(leader.core!.leaseUntilMs()).toBeGreaterThan(cluster.nowMs);
  });

  test('is never given to a follower', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const others = cluster.nodes.filter((node) => node !== leader);
    expect(others.map((node) => node.core!.leaseUntilMs())).toEqual([0, 0]);
  });
});

describe('leadership transfer', () => {
  test('moves leadership at once to a voter that holds the whole log', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    leader.step({ kind: 'transferLeadership', to: undefined });
    expect(leader.propose(1)).toBe(false);
    cluster.settle();
    expect(cluster.leader?.id).not.toBe(leader.id);
    expect(leader.effects).toContainEqual({ kind: 'transferEnded', ok: true });
  });

  test('a leader whose clock is at odds with a quorum hands over, and time does not jump', () => {
    const cluster = new Cluster();
    const leader = cluster.elect();
    const before = leader.core!.logTimeNowMs(cluster.now);
    // Only the leader's core is given a wall clock that is an hour ahead.
    const step = leader.core!.step.bind(leader.core);
    leader.core!.step = (event, now) => step(event, { ...now, wallMs: now.wallMs + 3_600_000 });
    cluster.run(3 * ET);
    expect(cluster.leader?.id).not.toBe(leader.id);
    expect(cluster.leader!.core!.logTimeNowMs(cluster.now)).toBeLessThan(before + 4 * ET);
  });
});

describe('cluster time', () => {
  test('catches up with the time that passed without a leader before the first command', () => {
    const cluster = new Cluster();
    const old = cluster.elect();
    old.propose(1);
    cluster.run(ET);
    for (const node of cluster.nodes) node.crash();
    cluster.nowMs += 3_600_000;
    for (const node of cluster.nodes) node.start();
    while (cluster.leader === undefined) cluster.run(10, (message) => message.kind !== 'heartbeat');
    const { leader } = cluster;
    expect(leader.core!.logTimeNowMs(cluster.now)).toBeGreaterThan(EPOCH + 3_600_000);
    expect(leader.core!.logTimeNowMs(cluster.now)).toBeLessThanOrEqual(cluster.now.wallMs + 5);
  });

  test('never decreases from entry to entry, over leaders with different clocks', () => {
    const cluster = new Cluster();
    for (let round = 0; round < 3; round += 1) {
      const leader = cluster.elect();
      leader.propose(1);
      leader.step({ kind: 'transferLeadership', to: undefined });
      cluster.run(ET);
    }
    const times = cluster.node(1).disk.entries.map((entry) => entry.timeMs);
    expect(times).toEqual([...times].sort((left, right) => left - right));
    expect(times.every(Number.isSafeInteger)).toBe(true);
  });
});

describe('a recovering node', () => {
  function damaged(): { cluster: Cluster; leader: Node; sick: Node } {
    const cluster = new Cluster();
    const leader = cluster.elect();
    for (let count = 0; count < 3; count += 1) leader.propose(10);
    cluster.run(ET);
    const sick = cluster.nodes.find((node) => node !== leader)!;
    sick.crash();
    sick.disk.entries.length = 2;
    sick.disk.recovering = true;
    sick.start();
    return { cluster, leader, sick };
  }

  test('neither votes nor campaigns while nobody leads', () => {
    const { cluster, leader, sick } = damaged();
    leader.crash();
    cluster.run(5 * ET);
    expect(cluster.leader).toBeUndefined();
    expect(sick.status).toMatchObject({ role: 'follower', recovering: true, vote: leader.id });
  });

  test('votes again once it durably holds a commit index confirmed since it opened', () => {
    const { cluster, leader, sick } = damaged();
    cluster.run(ET);
    expect(sick.disk.recovering).toBe(false);
    expect(sick.status).toMatchObject({ recovering: false, lastIndex: 4 });
    leader.crash();
    cluster.run(4 * ET);
    expect(cluster.leader).toBeDefined();
  });

  test('F4: an announcement that may be from before its boot heals nothing', () => {
    const { cluster, leader, sick } = damaged();
    sick.step({
      kind: 'receive',
      message: {
        kind: 'appendEntries',
        from: leader.id,
        to: sick.id,
        term: 1,
        fromBoot: 1,
        prevLogIndex: 2,
        prevLogTerm: 1,
        entries: [],
        commitIndex: 2,
        commitTerm: 1,
      },
    });
    while (sick.writes.length > 0) sick.persist();
    expect(sick.status).toMatchObject({ recovering: true, commitIndex: 2 });
    // Instead it asks: an answer can only be newer than the question.
    expect(cluster.messages.some((message) => message.kind === 'readIndexRequest')).toBe(true);
  });
});
