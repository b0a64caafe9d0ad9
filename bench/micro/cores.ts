// Three cores in memory: from a proposal to its commit on all of them, without disk and network.

import type { Bench } from 'tinybench';
import { encodeCommand } from '../../src/engine/machine/index.ts';
import { RaftCore, type RaftEffect, type RaftEvent, raftNodeConfig } from '../../src/raft/index.ts';
import { configurationOf, submitOf } from './samples.ts';

const NODE_IDS = [1, 2, 3] as const;
const MIB = 1024 * 1024;
const CONFIG = raftNodeConfig({
  electionTimeoutMs: 1000,
  heartbeatIntervalMs: 100,
  electionRetryMsMin: 50,
  electionRetryMsMax: 250,
  refusedDelayMsMax: 50,
  appendBytesMax: MIB,
  inflightAppendsMax: 2,
  inflightBytesMax: 4 * MIB,
  uncommittedBytesMax: 64 * MIB,
  windowBytesMax: MIB,
  pendingReadsMax: 1024,
});

class Trio {
  readonly #cores = new Map<number, RaftCore>();
  readonly #events: { readonly to: number; readonly event: RaftEvent }[] = [];
  #nowMs = 1;

  constructor() {
    const configuration = configurationOf(NODE_IDS);
    for (const nodeId of NODE_IDS) {
      const core = new RaftCore(
        {
          nodeId,
          bootId: 1,
          hardState: { term: 0, vote: undefined },
          base: { index: 0, term: 0, timeMs: 0, configuration },
          termRuns: [],
          lastIndex: 0,
          lastTimeMs: 0,
          tail: [],
          configurations: [],
          recovering: false,
          appliedIndex: 0,
        },
        CONFIG,
        () => nodeId / 8,
      );
      this.#cores.set(nodeId, core);
      this.#step(nodeId, { kind: 'timeout' });
    }
    this.#nowMs += 1200;
    this.#step(1, { kind: 'timeout' });
    this.#settle();
  }

  /** Returns once every core has committed the commands. */
  commit(commands: readonly Uint8Array[]): void {
    const leader = this.#core(1);
    this.#nowMs += 0.05;
    const result = leader.propose(commands, this.#instant());
    if (!result.accepted) throw new Error(`not accepted: ${result.reason}`);
    this.#execute(1, leader.drain());
    this.#settle();
    const committed = leader.status(this.#instant()).commitIndex;
    if (committed !== result.index) throw new Error(`committed ${committed} of ${result.index}`);
  }

  #settle(): void {
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      this.#step(next.to, next.event);
    }
  }

  #step(nodeId: number, event: RaftEvent): void {
    const core = this.#core(nodeId);
    core.step(event, this.#instant());
    this.#execute(nodeId, core.drain());
  }

  #execute(nodeId: number, effects: readonly RaftEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'send') this.#send(effect.messages);
      if (effect.kind === 'persist') {
        this.#send(effect.release);
        this.#events.push({ to: nodeId, event: { kind: 'persisted', writeId: effect.writeId } });
      }
      if (effect.kind === 'commit') {
        this.#events.push({ to: nodeId, event: { kind: 'applied', index: effect.index } });
      }
    }
  }

  #send(messages: Extract<RaftEffect, { kind: 'send' }>['messages']): void {
    for (const message of messages) {
      this.#events.push({ to: message.to, event: { kind: 'receive', message } });
    }
  }

  #core(nodeId: number): RaftCore {
    const core = this.#cores.get(nodeId);
    if (core === undefined) throw new Error(`no core ${nodeId}`);
    return core;
  }

  #instant() {
    return { monotonicMs: this.#nowMs, wallMs: 1_700_000_000_000 + Math.floor(this.#nowMs) };
  }
}

export function addCores(bench: Bench): void {
  const trio = new Trio();
  for (const count of [1, 32]) {
    const commands = Array.from({ length: count }, (_, i) => encodeCommand(submitOf(i)));
    bench.add(`three cores: commit ${count} command(s)`, () => trio.commit(commands));
  }
}
