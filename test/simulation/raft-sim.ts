// A cluster of consensus cores in a simulated world, from a seed: faults for a while, then none.
//
// Owns: the life of one run: building the world, injecting faults, offering work, then the
// liveness phase in which everything must come together again. Contains no randomness of its own.
//
// Sources: docs/architecture.md §Testing; TigerBeetle's safety-then-liveness phases.

import type { Configuration, CoreBug, CoreBugs } from '../../src/raft/core/index.ts';
import { describeOptions, drawRaftOptions, type RaftOptions } from './options.ts';
import { randomPartition } from './partitions.ts';
import { Prng } from './prng.ts';
import { RaftCheckers } from './raft-checkers.ts';
import { RaftDisk } from './raft-disk.ts';
import { RaftHost } from './raft-host.ts';
import { EMPTY_MACHINE, encodeCommand } from './raft-machine.ts';
import type { RunRequest, RunResult } from './run-result.ts';
import { SimProcess } from './sim-clock.ts';
import { SimNetwork } from './sim-network.ts';
import { Trace } from './trace.ts';
import { InvariantViolated } from './violation.ts';
import { VirtualTime } from './virtual-time.ts';

const LIVENESS_MS = 60_000;

type Fate = 'pending' | 'committed' | 'lost' | 'unknown';

class RaftSimulation {
  readonly #random: Prng;
  readonly #options: RaftOptions;
  readonly #time = new VirtualTime();
  readonly #trace: Trace;
  readonly #network: SimNetwork;
  readonly #hosts: RaftHost[] = [];
  readonly #checkers: RaftCheckers;
  readonly #voters: readonly number[];
  readonly #fates = new Map<string, Fate>();
  #nextCommand = 1;
  #faults = true;
  readonly stats = { committed: 0, reads: 0, kills: 0, partitions: 0, damaged: 0, pauses: 0 };

  constructor(request: RunRequest, trace: Trace) {
    this.#random = new Prng(request.seed);
    this.#options = drawRaftOptions(this.#random.split('options'), request.nodes);
    this.#trace = trace;
    this.#network = new SimNetwork(
      this.#time,
      this.#random.split('network'),
      this.#options.network,
    );
    const ids = Array.from(
      { length: this.#options.nodes + this.#options.learners },
      (_, i) => i + 1,
    );
    this.#voters = ids.slice(0, this.#options.nodes);
    const configuration: Configuration = {
      voters: this.#voters,
      outgoing: [],
      learners: ids.slice(this.#options.nodes),
      learnersNext: [],
      members: ids.map((nodeId) => ({ nodeId, birthId: `birth${nodeId}` })),
    };
    this.#checkers = new RaftCheckers(this.#options.config, this.#voters, () => this.#hosts);
    for (const nodeId of ids) {
      this.#addHost(nodeId, configuration, request.bugs as ReadonlySet<CoreBug>);
    }
  }

  get options(): RaftOptions {
    return this.#options;
  }

  get virtualMs(): number {
    return this.#time.nowMs;
  }

  get events(): number {
    return this.#time.executed;
  }

  run(): void {
    for (const host of this.#hosts) {
      host.start();
    }
    this.#injectFaults();
    this.#offerWork();
    this.#time.runUntil(this.#options.durationMs);
    this.#heal();
    this.#awaitLiveness();
  }

  /** One line per node, for the report of a failure. */
  table(): string[] {
    return this.#hosts.map((host) => {
      const status = host.core?.status(host.now);
      const disk = `disk term=${host.disk.hardState.term} vote=${host.disk.hardState.vote ?? '-'} base=${host.disk.base.index} last=${host.disk.lastIndex}${host.disk.recovering ? ' recovering' : ''}`;
      if (status === undefined) {
        return `n${host.nodeId}  down  ${disk}`;
      }
      const paused = host.process.paused ? ' paused' : '';
      return `n${host.nodeId}  ${status.role}${paused} term=${status.term} leader=${status.leaderId ?? '-'} commit=${status.commitIndex} applied=${status.appliedIndex} last=${status.lastIndex} durable=${status.durableIndex}  ${disk}`;
    });
  }

  #addHost(nodeId: number, configuration: Configuration, bugs: CoreBugs): void {
    const process = new SimProcess(
      nodeId,
      this.#time,
      this.#random.split(`process${nodeId}`),
      this.#options.clockSkewMax,
    );
    const host = new RaftHost(
      {
        time: this.#time,
        network: this.#network,
        trace: this.#trace,
        checkers: this.#checkers,
        config: this.#options.config,
        disk: this.#options.disk,
        applyMeanMs: this.#options.applyMeanMs,
        bugs,
        host: (id) => this.#hosts[id - 1],
      },
      process,
      new RaftDisk(configuration, EMPTY_MACHINE),
      this.#random.split(`host${nodeId}`),
    );
    this.#hosts.push(host);
    this.#network.attach(process, {
      unreachable: (peer) => host.step({ kind: 'unreachable', peer }),
      refused: (peer) => {
        this.#trace.add(this.#time.nowMs, nodeId, 'refused', `by n${peer}`);
        host.step({ kind: 'refused', peer });
      },
    });
  }

  // ------------------------------------------------------------------------------------ faults

  #every(meanMs: number | undefined, random: Prng, run: () => void): void {
    if (meanMs === undefined) {
      return;
    }
    const next = (): void => {
      this.#time.after(random.exponential(meanMs), () => {
        if (this.#faults) {
          run();
          next();
        }
      });
    };
    next();
  }

  #injectFaults(): void {
    const { faults } = this.#options;
    const random = this.#random.split('faults');
    const victim = (): RaftHost =>
      random.chance(0.5) ? (this.#leader() ?? random.pick(this.#hosts)) : random.pick(this.#hosts);
    this.#every(faults.killMeanMs, random, () => this.#kill(victim(), false, random));
    this.#every(faults.powerCutMeanMs, random, () => this.#kill(victim(), true, random));
    this.#every(faults.allKilledMeanMs, random, () => {
      for (const host of this.#hosts) {
        this.#kill(host, random.chance(0.7), random);
      }
    });
    this.#every(faults.pauseMeanMs, random, () => this.#pause(victim(), random));
    this.#every(faults.partitionMeanMs, random, () => this.#partition(random));
    this.#every(faults.wallJumpMeanMs, random, () => {
      random.pick(this.#hosts).process.wallOffsetMs = Math.round(
        random.between(-faults.wallJumpMaxMs, faults.wallJumpMaxMs),
      );
    });
    this.#every(faults.transferMeanMs, random, () => {
      const to = random.chance(0.3) ? undefined : random.pick(this.#hosts).nodeId;
      this.#leader()?.step({ kind: 'transferLeadership', to });
    });
    this.#every(200, random, () => {
      for (const host of this.#hosts) {
        if (random.chance(0.5)) {
          host.flush();
        }
        const entries = host.disk.lastIndex - host.disk.base.index;
        if (entries > this.#options.compactEveryEntries && !host.process.paused) {
          host.compact(this.#options.trailingEntries);
        }
      }
    });
  }

  #kill(host: RaftHost, powerCut: boolean, random: Prng): void {
    if (!host.process.alive) {
      return;
    }
    this.stats.kills++;
    host.kill(powerCut);
    const life = host.process.life;
    this.#time.after(random.between(0, this.#options.faults.downMaxMs), () => {
      if (!host.process.alive && host.process.life === life) {
        this.#maybeDamage(host, random);
        host.start();
      }
    });
  }

  /** Damage is confined to fewer nodes than could hold every copy of a committed entry. */
  #maybeDamage(host: RaftHost, random: Prng): void {
    const damaged = this.#hosts.filter((other) => other.disk.recovering).length;
    const bound = Math.floor((this.#voters.length - 1) / 2);
    const first = Math.max(host.disk.base.index, host.disk.flushed.appliedIndex) + 1;
    const { disk } = host;
    if (
      !random.chance(this.#options.faults.damageProbability) ||
      (!disk.recovering && damaged >= bound) ||
      disk.lastIndex < first
    ) {
      return;
    }
    this.stats.damaged++;
    const index = Math.max(first, disk.lastIndex - random.int(8));
    this.#trace.add(this.#time.nowMs, host.nodeId, 'damage', `from=${index}`);
    disk.damage(index);
  }

  #pause(host: RaftHost, random: Prng): void {
    if (!host.process.alive || host.process.paused) {
      return;
    }
    this.stats.pauses++;
    const life = host.process.life;
    this.#trace.add(this.#time.nowMs, host.nodeId, 'pause', '');
    host.process.pause();
    this.#time.after(random.between(10, this.#options.faults.pauseMaxMs), () => {
      if (host.process.life === life) {
        this.#trace.add(this.#time.nowMs, host.nodeId, 'resume', '');
        host.process.resume();
      }
    });
  }

  #partition(random: Prng): void {
    this.stats.partitions++;
    const ids = this.#hosts.map((host) => host.nodeId);
    const { kind, cuts } = randomPartition(random, ids, this.#leader()?.nodeId);
    this.#trace.add(
      this.#time.nowMs,
      0,
      'partition',
      `${kind} ${cuts.map((c) => c.join('>')).join(' ')}`,
    );
    for (const [from, to] of cuts) {
      this.#network.cut(from, to);
    }
    this.#time.after(random.between(50, this.#options.faults.partitionMaxMs), () => {
      for (const [from, to] of cuts) {
        this.#network.mend(from, to);
      }
      this.#trace.add(this.#time.nowMs, 0, 'mend', kind);
    });
  }

  // ---------------------------------------------------------------------------------- workload

  #leader(): RaftHost | undefined {
    let leader: RaftHost | undefined;
    let term = -1;
    for (const host of this.#hosts) {
      const status = host.core?.status(host.now);
      if (status?.role === 'leader' && status.term > term) {
        leader = host;
        term = status.term;
      }
    }
    return leader;
  }

  #offerWork(): void {
    const random = this.#random.split('workload');
    this.#every(this.#options.proposeMeanMs, random, () => {
      const host = random.chance(0.8)
        ? (this.#leader() ?? random.pick(this.#hosts))
        : random.pick(this.#hosts);
      this.#propose(host, random);
    });
    this.#every(this.#options.readMeanMs, random, () => this.#read(random.pick(this.#hosts)));
  }

  #propose(host: RaftHost, random: Prng): void {
    if (host.process.paused || host.core === undefined) {
      return;
    }
    const id = `c${this.#nextCommand++}`;
    const size = 12 + random.int(this.#options.commandBytesMax);
    this.#fates.set(id, 'pending');
    const index = host.propose(encodeCommand(id, size), (fate) => {
      this.#fates.set(id, fate);
      if (fate === 'committed') {
        this.stats.committed++;
      }
    });
    if (index === undefined) {
      this.#fates.set(id, 'lost');
    }
  }

  #read(host: RaftHost, then?: () => void): void {
    if (host.process.paused || host.core === undefined) {
      return;
    }
    const floor = this.#checkers.highestCommitted;
    host.read((index) => {
      if (index === undefined) {
        return;
      }
      this.stats.reads++;
      if (index < floor) {
        throw new InvariantViolated(
          'I14',
          `n${host.nodeId} serves a read at ${index}; ${floor} was committed before it began`,
        );
      }
      then?.();
    });
  }

  // ---------------------------------------------------------------------------------- liveness

  #heal(): void {
    this.#faults = false;
    this.#network.faulty = false;
    this.#network.mendAll();
    this.#trace.add(this.#time.nowMs, 0, 'heal', '');
    const random = this.#random.split('heal');
    // S164: a minority may stay away for ever, unless a quorum needs it to heal damage.
    let spare = random.chance(0.3) ? Math.floor((this.#voters.length - 1) / 2) : 0;
    if (this.#hosts.some((host) => host.disk.recovering)) {
      spare = 0;
    }
    for (const host of this.#hosts) {
      host.process.resume();
      if (host.process.alive) {
        continue;
      }
      if (spare > 0 && this.#voters.includes(host.nodeId)) {
        spare--;
        host.process.life++;
      } else {
        host.start();
      }
    }
  }

  /** I16: after the faults stop, the cluster serves, and all who live become equal. */
  #awaitLiveness(): void {
    const random = this.#random.split('liveness');
    const deadlineMs = this.#time.nowMs + LIVENESS_MS;
    const proof = { committed: false, read: false };
    // Half of the time under a new leader that is offered nothing: its own no-op has to do.
    if (random.chance(0.5)) {
      const leader = this.#leader();
      leader?.kill(false);
      leader?.start();
    }
    while (!isDone(proof, 'read') || !this.#converged()) {
      this.#requireTime(deadlineMs, proof.read ? 'the nodes do not become equal' : 'no read');
      this.#read(random.pick(this.#alive()), () => {
        proof.read = true;
      });
      this.#time.runUntil(this.#time.nowMs + 100);
    }
    while (!isDone(proof, 'committed')) {
      this.#requireTime(deadlineMs, 'no new command is committed');
      const id = `live${this.#nextCommand++}`;
      this.#leader()?.propose(encodeCommand(id, 12), (fate) => {
        proof.committed ||= fate === 'committed';
      });
      this.#time.runUntil(this.#time.nowMs + 100 + random.int(50));
    }
    while (!this.#converged()) {
      this.#requireTime(deadlineMs, 'the nodes do not become equal again');
      this.#time.runUntil(this.#time.nowMs + 100);
    }
    this.#checkFates();
  }

  #alive(): RaftHost[] {
    return this.#hosts.filter((host) => host.process.alive);
  }

  #converged(): boolean {
    const alive = this.#alive();
    const statuses = alive.map((host) => host.core!.status(host.now));
    const leader = statuses.find((status) => status.role === 'leader');
    return (
      leader !== undefined &&
      alive.every((host, i) => {
        const status = statuses[i]!;
        return (
          status.leaderId === leader.nodeId &&
          status.term === leader.term &&
          status.lastIndex === leader.lastIndex &&
          host.machine.appliedIndex === leader.lastIndex &&
          host.machine.hash === alive[0]!.machine.hash &&
          !status.recovering
        );
      })
    );
  }

  #requireTime(deadlineMs: number, message: string): void {
    if (this.#time.nowMs > deadlineMs) {
      throw new InvariantViolated('I16', `${message} within ${LIVENESS_MS / 1000} s`);
    }
  }

  /** I17: acknowledged means applied once; refused or overwritten means never applied. */
  #checkFates(): void {
    const times = new Map<string, number>();
    for (let at = this.#alive()[0]!.machine.commands; at !== undefined; at = at.rest) {
      times.set(at.id, (times.get(at.id) ?? 0) + 1);
    }
    for (const [id, fate] of this.#fates) {
      const count = times.get(id) ?? 0;
      if (count > 1 || (fate === 'committed' && count !== 1) || (fate === 'lost' && count !== 0)) {
        throw new InvariantViolated('I17', `command ${id} (${fate}) is applied ${count} times`);
      }
    }
  }
}

/** Flags are raised by callbacks, which the compiler cannot see. */
function isDone<K extends string>(proof: Readonly<Record<K, boolean>>, what: K): boolean {
  return proof[what];
}

export function runRaftSimulation(request: RunRequest): RunResult {
  const trace = new Trace(request.print);
  const simulation = new RaftSimulation(request, trace);
  let failure: RunResult['failure'];
  try {
    simulation.run();
  } catch (error) {
    failure = {
      invariant: error instanceof InvariantViolated ? error.invariant : 'EXCEPTION',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      table: simulation.table(),
      lastEvents: trace.last(),
    };
  }
  return {
    seed: request.seed,
    options: describeOptions(simulation.options),
    hash: trace.hash(),
    events: simulation.events,
    virtualMs: simulation.virtualMs,
    stats: simulation.stats,
    failure,
  };
}
