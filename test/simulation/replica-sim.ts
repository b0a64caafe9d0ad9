// Whole replicas in a simulated world, from a seed: real consensus, log, store, state machine,
// scheduler and forwarding on simulated disks, network, clocks and banks.
//
// Owns: the life of one run, as raft-sim.ts does for the cores: faults for a while, then none, and
// then everything accepted must end (P4) and add up.
//
// Source: docs/architecture.md §Testing.

import type { AppliedEntry } from '../../src/engine/index.ts';
import { OPENING_BALANCE } from './bank.ts';
import { describeMessage } from './describe-message.ts';
import { describeOptions, drawReplicaOptions, type ReplicaOptions } from './options.ts';
import { Oracle } from './oracle.ts';
import { Prng } from './prng.ts';
import { Promises } from './promises.ts';
import { ReplicaFaults } from './replica-faults.ts';
import { ReplicaHost } from './replica-host.ts';
import type { RunRequest, RunResult } from './run-result.ts';
import { SimProcess } from './sim-clock.ts';
import { SimNetwork } from './sim-network.ts';
import { Participants } from './sim-participants.ts';
import { findDifference, readState, type StateImage } from './state-image.ts';
import { Trace } from './trace.ts';
import { InvariantViolated } from './violation.ts';
import { VirtualTime } from './virtual-time.ts';
import { Workload } from './workload.ts';

const LIVENESS_MS = 240_000;

class ReplicaSimulation {
  readonly options: ReplicaOptions;
  readonly time = new VirtualTime();
  readonly #random: Prng;
  readonly #trace: Trace;
  readonly #network: SimNetwork;
  readonly #oracle: Oracle;
  readonly #participants: Participants;
  readonly #workload: Workload;
  readonly #hosts: ReplicaHost[] = [];
  readonly #promises = new Promises();
  readonly #faults: ReplicaFaults;
  #failure: Error | undefined;

  constructor(request: RunRequest, trace: Trace) {
    this.#random = new Prng(request.seed);
    this.options = drawReplicaOptions(this.#random.split('options'), request.nodes);
    this.#trace = trace;
    const { options, time } = this;
    this.#network = new SimNetwork(time, this.#random.split('network'), options.network);
    this.#participants = this.#makeParticipants();
    this.#oracle = new Oracle((gid) => this.#participants.heldFor(gid));
    const ids = Array.from({ length: options.nodes }, (_, i) => i + 1);
    for (const nodeId of ids) {
      this.#addHost(nodeId, ids, request.bugs);
    }
    this.#faults = new ReplicaFaults({
      time,
      network: this.#network,
      hosts: this.#hosts,
      options,
      random: this.#random,
      note: (nodeId, event, detail) => this.#note(nodeId, event, detail),
      fail: (error) => this.fail(error),
    });
    this.#workload = new Workload(
      {
        time,
        oracle: this.#oracle,
        participants: this.#participants,
        trace,
        nodes: this.#hosts.map((host) => ({
          nodeId: host.nodeId,
          coordinator: () =>
            host.process.alive && !host.process.paused ? host.replica?.coordinator : undefined,
        })),
        fail: (error) => this.fail(error),
      },
      this.#random.split('workload'),
      options.workload,
    );
  }

  get stats(): Record<string, number> {
    return { ...this.#workload.stats, ...this.#oracle.stats, ...this.#faults.counts };
  }

  async run(): Promise<void> {
    for (const host of this.#hosts) {
      await host.format();
    }
    for (const host of this.#hosts) {
      host.start();
    }
    this.#faults.start();
    this.#workload.start();
    await this.#runFor(this.options.durationMs);
    this.#heal();
    await this.#awaitLiveness();
    this.#finish();
    await this.#compareStates();
  }

  table(): string[] {
    return this.#hosts.map((host) => host.describe());
  }

  #makeParticipants(): Participants {
    const { options, time } = this;
    return new Participants(time, this.#random.split('banks'), options.participants, {
      written: (nodeId, call) => {
        this.#note(nodeId, 'call', `${call.op} ${call.gid}/${call.branchId}`);
        const replica = this.#hosts[nodeId - 1]?.replica;
        const term = replica?.raft.leadership().term ?? 0;
        const logTimeMs = replica?.raft.logTimeNowMs() ?? 0;
        const appliedIndex = replica?.store.appliedIndex ?? 0;
        this.#guard(() => this.#oracle.written(call, { nodeId, term, logTimeMs, appliedIndex }));
        this.#guard(() => this.#promises.called(nodeId, term));
      },
      ended: (nodeId, call) => this.#oracle.ended(nodeId, call),
      effect: (entry) => {
        this.#note(0, 'effect', `${entry.op} ${entry.gid}/${entry.branchId} ${entry.amount}`);
        this.#guard(() => this.#oracle.effect(entry));
      },
      fail: (error) => this.fail(error),
    });
  }

  #addHost(nodeId: number, ids: readonly number[], bugs: ReadonlySet<string>): void {
    const process = new SimProcess(
      nodeId,
      this.time,
      this.#random.split(`process${nodeId}`),
      this.options.clockSkewMax,
    );
    const host = new ReplicaHost(
      {
        time: this.time,
        network: this.#network,
        transport: {
          network: this.#network,
          damageProbability: this.options.chunkDamageProbability,
          peer: (id) => this.#hosts[id - 1]?.transport,
          sent: (message) => {
            this.#promises.sent(message);
            this.#faults.sent(message);
          },
          received: (message) => this.#note(message.to, 'receive', describeMessage(message)),
        },
        trace: this.#trace,
        participants: this.#participants,
        options: this.options,
        bugs,
        applied: (at, entry) => this.#applied(at, entry),
        opened: (at) => this.#opened(at),
        fail: (error) => this.fail(error),
      },
      process,
      this.#random.split(`host${nodeId}`),
      {
        clusterId: 'simulated',
        nodeId,
        birthId: `birth${nodeId}`,
        voters: ids.map((id) => ({ nodeId: id, birthId: `birth${id}` })),
      },
    );
    this.#hosts.push(host);
    this.#network.attach(process, {
      unreachable: (peer) => host.transport?.receiver?.unreachable(peer),
      refused: (peer) => host.transport?.receiver?.refused(peer),
    });
  }

  #applied(host: ReplicaHost, entry: AppliedEntry): void {
    for (const change of entry.changes) {
      const status = change.after?.state.status ?? 'gone';
      if (change.before !== status) {
        this.#note(host.nodeId, 'applied', `${entry.index} ${change.gid} ${status}`);
      }
    }
    this.#guard(() => this.#oracle.applied(host.nodeId, entry));
  }

  #opened(host: ReplicaHost): void {
    const raft = host.replica?.raft;
    if (raft === undefined) {
      return;
    }
    this.#guard(() => this.#promises.opened(host.nodeId, raft.status()));
    raft.onRole(({ role, term, leaderId }) => {
      this.#note(host.nodeId, 'role', `${role} term=${term} leader=${leaderId ?? '-'}`);
      this.#guard(() => this.#promises.role(host.nodeId, role, term));
    });
  }

  // ---------------------------------------------------------------------------------- liveness

  #heal(): void {
    this.#participants.faulty = false;
    this.#workload.stop();
    this.#faults.heal();
  }

  /** P4: everything accepted ends, every client is answered, every replica is the same. */
  async #awaitLiveness(): Promise<void> {
    const deadlineMs = this.time.nowMs + LIVENESS_MS;
    for (;;) {
      await this.#runFor(500);
      const missing = this.#missing();
      if (missing === undefined) {
        return;
      }
      if (this.time.nowMs > deadlineMs) {
        throw new InvariantViolated(
          'P4',
          `after ${LIVENESS_MS / 1000} s without faults: ${missing}`,
        );
      }
    }
  }

  #missing(): string | undefined {
    const unfinished = this.#oracle.unfinished();
    if (unfinished.length > 0) {
      return `unfinished: ${unfinished.slice(0, 5).join(', ')} (${unfinished.length})`;
    }
    if (this.#workload.working > 0) {
      return `${this.#workload.working} clients at work`;
    }
    const replicas = this.#hosts.map((host) => host.replica);
    const first = replicas[0];
    const isEqual = replicas.every(
      (replica) =>
        replica !== undefined &&
        first !== undefined &&
        replica.store.appliedIndex === first.store.appliedIndex &&
        !replica.raft.leadership().recovering,
    );
    return isEqual ? undefined : `replicas differ: ${this.table().join(' | ')}`;
  }

  #finish(): void {
    this.#oracle.finish();
    const digests = this.#hosts.map((host) => host.replica?.store.apply.digest());
    if (new Set(digests).size !== 1) {
      throw new InvariantViolated('P3', `state digests differ: ${digests.join(' ')}`);
    }
    const { total } = this.#participants.bank;
    const expected = this.options.participants.accounts * OPENING_BALANCE;
    if (this.options.workload.forceStopProbability === 0 && total !== expected) {
      throw new InvariantViolated('MONEY', `the banks hold ${total}, not ${expected}`);
    }
  }

  /**
   * P3, byte for byte: whatever a replica gives to a reader, all give. Damage that is noticed by the
   * read is no wrong answer: that replica has nothing to say.
   */
  async #compareStates(): Promise<void> {
    const images = this.#hosts.map(() => undefined as StateImage | undefined);
    const reading = new Map<ReplicaHost, ReplicaHost['replica']>();
    for (const [at, host] of this.#hosts.entries()) {
      reading.set(host, host.replica);
      readState(host.replica)
        .then((image) => {
          images[at] = image;
          reading.delete(host);
        })
        .catch((error: unknown) => this.fail(asError(error)));
    }
    const deadlineMs = this.time.nowMs + LIVENESS_MS;
    while (reading.size > 0 && this.time.nowMs < deadlineMs) {
      await this.#runFor(100);
      // One that found damage starts again, and its reads never end.
      for (const [host, replica] of reading) {
        if (host.replica !== replica) reading.delete(host);
      }
    }
    const difference = reading.size > 0 ? 'a state cannot be read' : findDifference(images);
    if (difference !== undefined) {
      throw new InvariantViolated('P3', difference);
    }
  }

  async #runFor(durationMs: number): Promise<void> {
    await this.time.runUntilAsync(this.time.nowMs + durationMs, () => this.#failure !== undefined);
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
  }

  #guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.fail(asError(error));
    }
  }

  /** The first failure ends the run. */
  fail(error: Error): void {
    this.#failure ??= error;
  }

  #note(nodeId: number, event: string, detail: string): void {
    this.#trace.add(this.time.nowMs, nodeId, event, detail);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

export async function runReplicaSimulation(request: RunRequest): Promise<RunResult> {
  const trace = new Trace(request.print);
  const simulation = new ReplicaSimulation(request, trace);
  let failure: RunResult['failure'];
  // A promise that nobody awaits would end the process: here it ends the run.
  const lost = (reason: unknown): void => {
    simulation.fail(asError(reason));
  };
  process.on('unhandledRejection', lost);
  try {
    await simulation.run();
  } catch (error) {
    failure = {
      invariant: error instanceof InvariantViolated ? error.invariant : 'EXCEPTION',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      table: simulation.table(),
      lastEvents: trace.last(),
    };
  } finally {
    process.off('unhandledRejection', lost);
  }
  return {
    seed: request.seed,
    options: describeOptions(simulation.options),
    hash: trace.hash(),
    events: simulation.time.executed,
    virtualMs: simulation.time.nowMs,
    stats: simulation.stats,
    failure,
  };
}
