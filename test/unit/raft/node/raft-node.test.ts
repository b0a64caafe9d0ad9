import { describe, expect, it } from 'vitest';
import type { ProposeResult, RaftNodeError } from '../../../../src/raft/index.ts';
import { bytesOf, MemoryCluster, type MemoryNode } from '../../../helpers/raft-memory.ts';

const IDS = [1, 2, 3] as const;

async function replicated(cluster: MemoryCluster, commands: readonly string[]): Promise<void> {
  await cluster.clock.until(() =>
    [...cluster.nodes.values()].every(({ machine }) => machine.commands.join() === commands.join()),
  );
  expect(cluster.fatals).toEqual([]);
}

function others(cluster: MemoryCluster, member: MemoryNode): MemoryNode[] {
  return [...cluster.nodes.values()].filter((other) => other !== member);
}

describe('a Raft node', () => {
  it('elects one leader of three, and everyone knows it', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.clock.advance(500);
    for (const { node } of cluster.nodes.values()) {
      expect(node.leadership().leaderId).toBe(leader.nodeId);
      expect(node.leadership().isLeader).toBe(node === leader.node);
    }
  });

  it('alone leads itself', async () => {
    const cluster = new MemoryCluster([1]);
    await cluster.elect();
    await cluster.propose('a');
    await replicated(cluster, ['a']);
  });

  it('replicates commands to the machines of all nodes, in order', async () => {
    const cluster = new MemoryCluster(IDS);
    await cluster.elect();
    const commands = Array.from({ length: 40 }, (_, i) => `c${i}`);
    for (const command of commands)
      expect(await cluster.propose(command)).toMatchObject({ accepted: true });
    await replicated(cluster, commands);
  });

  it('puts many commands that arrive together into few entries', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.clock.advance(20);
    const before = leader.log.lastIndex;
    const results: ProposeResult[] = [];
    const commands = Array.from({ length: 100 }, (_, i) => `c${i}`);
    for (const command of commands) {
      leader.node.propose(bytesOf(command), 'admission', (result) => results.push(result));
    }
    expect(results).toEqual([]);
    await replicated(cluster, commands);
    expect(results).toHaveLength(100);
    expect(leader.log.lastIndex).toBe(before + 1);
  });

  it('that does not lead refuses, and says who does', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.clock.advance(300);
    const [follower] = others(cluster, leader);
    expect(await cluster.propose('a', follower)).toMatchObject({
      accepted: false,
      reason: 'notLeader',
      leaderId: leader.nodeId,
    });
  });

  it('takes over when the leader crashes, and loses nothing that was committed', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    for (const command of ['a', 'b', 'c']) await cluster.propose(command);
    await replicated(cluster, ['a', 'b', 'c']);
    const crashed = cluster.crash(leader.nodeId);
    await cluster.elect();
    await cluster.propose('d');
    cluster.restart(crashed);
    await replicated(cluster, ['a', 'b', 'c', 'd']);
  });

  it('repairs the log of a leader that was cut off with entries nobody else has', async () => {
    const cluster = new MemoryCluster(IDS);
    const old = await cluster.elect();
    await cluster.propose('a');
    await replicated(cluster, ['a']);
    cluster.network.isolate(
      old.nodeId,
      others(cluster, old).map(({ nodeId }) => nodeId),
    );
    const lost: ProposeResult[] = [];
    for (const command of ['x', 'y', 'z']) {
      old.node.propose(bytesOf(command), 'admission', (result) => lost.push(result));
      await cluster.clock.advance(5);
    }
    expect(lost.every(({ accepted }) => accepted)).toBe(true);
    await cluster.clock.until(() => {
      const leader = cluster.leader();
      return leader !== undefined && leader !== old;
    });
    await cluster.propose('b');
    cluster.network.heal();
    await replicated(cluster, ['a', 'b']);
    expect(old.node.leadership().isLeader).toBe(false);
  });

  it('catches up from a snapshot when the log it needs is compacted', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    const [slow] = others(cluster, leader) as [MemoryNode];
    const crashed = cluster.crash(slow.nodeId);
    const commands = Array.from({ length: 30 }, (_, i) => `c${i}`);
    for (const command of commands) await cluster.propose(command);
    await replicated(cluster, commands);
    for (const member of cluster.nodes.values()) await member.node.compact(20);
    expect(leader.log.base.index).toBe(20);
    const restarted = cluster.restart(crashed);
    const installed: number[] = [];
    restarted.node.onInstalled((index) => installed.push(index));
    await replicated(cluster, commands);
    expect(cluster.network.snapshotCount).toBeGreaterThan(0);
    expect(installed).toHaveLength(1);
    expect(restarted.log.base.index).toBe(installed[0]);
    await cluster.propose('after');
    await replicated(cluster, [...commands, 'after']);
  });

  it('takes no snapshot of what it has applied, and lets the sender go on', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.propose('a');
    await replicated(cluster, ['a']);
    const [follower] = others(cluster, leader) as [MemoryNode];
    const source = await leader.machine.snapshot();
    await cluster.network.transport(leader.nodeId).sendSnapshot(follower.nodeId, source);
    await cluster.propose('b');
    await replicated(cluster, ['a', 'b']);
    expect(follower.log.base.index).toBe(0);
  });

  it('serves reads that see everything committed before, on any node', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.propose('a');
    await cluster.clock.until(() => leader.machine.commands.length === 1);
    const seen: string[] = [];
    for (const { nodeId, node, machine } of cluster.nodes.values()) {
      void node.readIndex(2000).then(() => seen.push(`${nodeId} ${machine.commands.join()}`));
    }
    await cluster.clock.until(() => seen.length === 3);
    expect(seen.sort()).toEqual(['1 a', '2 a', '3 a']);
  });

  it('serves no read, and says so in time, when it is cut off from the majority', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.propose('a');
    cluster.network.isolate(
      leader.nodeId,
      others(cluster, leader).map(({ nodeId }) => nodeId),
    );
    let code: string | undefined;
    leader.node.readIndex(3000).catch((error: unknown) => {
      code = (error as RaftNodeError).code;
    });
    await cluster.clock.until(() => code !== undefined, 3100);
    expect(code).toBe('timeout');
  });

  it('hands leadership over', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.propose('a');
    await replicated(cluster, ['a']);
    const [heir] = others(cluster, leader) as [MemoryNode];
    let ok: boolean | undefined;
    void leader.node.transferLeadership(heir.nodeId).then((value) => {
      ok = value;
    });
    await cluster.clock.until(() => ok !== undefined);
    expect(ok).toBe(true);
    expect(cluster.leader()).toBe(heir);
  });

  it('holds a dispatch lease only while it leads and its clocks agree', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.propose('a');
    await cluster.clock.advance(300);
    expect(leader.node.leaseValid()).toBe(true);
    for (const { node } of others(cluster, leader)) expect(node.leaseValid()).toBe(false);
    cluster.clock.wallOffsetMs += 10_000;
    expect(leader.node.leaseValid()).toBe(false);
    await cluster.clock.advance(500);
    expect(leader.node.leaseValid()).toBe(true);
    cluster.network.isolate(
      leader.nodeId,
      others(cluster, leader).map(({ nodeId }) => nodeId),
    );
    await cluster.clock.advance(900);
    expect(leader.node.leaseValid()).toBe(false);
  });

  it('tells of its role and of commits as they happen', async () => {
    const cluster = new MemoryCluster(IDS);
    const roles: string[] = [];
    const commits: number[] = [];
    for (const { node, nodeId } of cluster.nodes.values()) {
      node.onRole((change) => roles.push(`${nodeId} ${change.role}`));
      node.onCommit((index) => commits.push(index));
    }
    const leader = await cluster.elect();
    await cluster.propose('a');
    await replicated(cluster, ['a']);
    expect(roles).toContain(`${leader.nodeId} leader`);
    expect(commits.filter((index) => index === leader.log.lastIndex)).toHaveLength(3);
  });

  it('refuses new work but not progress when its log has no space', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    leader.log.admission = false;
    expect(await cluster.propose('a')).toMatchObject({
      accepted: false,
      reason: 'admissionClosed',
    });
    let progressed = false;
    leader.node.propose(bytesOf('p'), 'progress', ({ accepted }) => {
      progressed = accepted;
    });
    await replicated(cluster, ['p']);
    expect(progressed).toBe(true);
  });

  it.each([
    ['keeps the log that the receiver of a snapshot needs', 1_000_000, true],
    ['gives it up when it has grown beyond its bound', 10, false],
  ])('%s', async (_what, pinBytesMax, kept) => {
    const cluster = new MemoryCluster(IDS, { config: { pinBytesMax } });
    const leader = await cluster.elect();
    const [slow] = others(cluster, leader) as [MemoryNode];
    const crashed = cluster.crash(slow.nodeId);
    for (let i = 0; i < 10; i++) await cluster.propose(`c${i}`);
    await cluster.clock.advance(20);
    await leader.node.compact(8);
    let open: () => void = () => undefined;
    cluster.network.snapshotGate = new Promise((resolve) => {
      open = resolve;
    });
    cluster.restart(crashed);
    await cluster.clock.until(() => cluster.network.snapshotCount === 1);
    const pinned = leader.node.appliedIndex;
    for (let i = 0; i < 10; i++) await cluster.propose(`d${i}`);
    await cluster.clock.advance(20);
    await leader.node.compact(leader.node.appliedIndex);
    expect(leader.log.base.index).toBe(kept ? pinned : leader.node.appliedIndex);
    open();
    await replicated(cluster, leader.machine.commands);
    expect(leader.machine.commands).toHaveLength(20);
    // With the pin gone, what it kept may go.
    await leader.node.compact(leader.node.appliedIndex);
    expect(leader.log.base.index).toBe(leader.node.appliedIndex);
  });

  it('ends every wait when it stops, and takes no more', async () => {
    const cluster = new MemoryCluster(IDS);
    const leader = await cluster.elect();
    await cluster.clock.advance(20);
    const ended: string[] = [];
    const { node } = leader;
    leader.log.writeMs = 50;
    node.propose(bytesOf('a'), 'admission', ({ accepted }) => ended.push(`a ${accepted}`));
    await cluster.clock.advance(0);
    node.propose(bytesOf('b'), 'progress', ({ accepted }) => ended.push(`b ${accepted}`));
    node
      .readIndex(5000)
      .catch((error: unknown) => ended.push(`read ${(error as RaftNodeError).code}`));
    node
      .waitApplied(1000, 5000)
      .catch((error: unknown) => ended.push(`wait ${(error as RaftNodeError).code}`));
    let stopped = false;
    void node.stop().then(() => {
      stopped = true;
    });
    void node.transferLeadership().then((ok) => ended.push(`transfer ${ok}`));
    await cluster.clock.advance(10);
    expect(stopped).toBe(false);
    await cluster.clock.advance(100);
    expect(stopped).toBe(true);
    node.propose(bytesOf('c'), 'progress', ({ accepted }) => ended.push(`c ${accepted}`));
    await cluster.clock.advance(1);
    expect(ended.sort()).toEqual([
      'a true',
      'b false',
      'c false',
      'read stopped',
      'transfer false',
      'wait stopped',
    ]);
    expect(node.leaseValid()).toBe(false);
  });

  it('answers each proposal exactly once through crashes, and never loses one that it accepted and applied', async () => {
    const seed = 7;
    const cluster = new MemoryCluster(IDS, { seed });
    const answers = new Map<string, ProposeResult[]>();
    let count = 0;
    for (let round = 0; round < 6; round++) {
      await cluster.elect();
      for (const member of [...cluster.nodes.values()]) {
        for (let i = 0; i < 5; i++) {
          const name = `c${count++}`;
          const got: ProposeResult[] = [];
          answers.set(name, got);
          member.node.propose(bytesOf(name), 'progress', (result) => got.push(result));
        }
      }
      await cluster.clock.advance(round);
      const victim = cluster.get(IDS[round % 3] ?? 1);
      const crashed = cluster.crash(victim.nodeId);
      await cluster.clock.advance(1500);
      cluster.restart(crashed);
    }
    await cluster.elect();
    await cluster.propose('last');
    await cluster.clock.advance(3000);
    expect(cluster.fatals, `seed ${seed}`).toEqual([]);
    for (const [name, got] of answers) expect(got, `${name}, seed ${seed}`).toHaveLength(1);
    const [first, ...rest] = [...cluster.nodes.values()].map(({ machine }) => machine.commands);
    for (const commands of rest) expect(commands).toEqual(first);
    const applied = new Set(first);
    expect(applied.size).toBe(first?.length);
    for (const [name, [answer]] of answers) {
      if (answer?.accepted === false)
        expect(applied.has(name), `${name}, seed ${seed}`).toBe(false);
    }
  });
});
