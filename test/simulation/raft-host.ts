// Drives one RaftCore in the simulated world: what the real driver does, with every completion
// decided by the simulator.
//
// Owns: the carrying out of effects, one write at a time, in order; messages that depend on a write
// leave when it is durable. Holds a mirror of the core's in-memory log (from its persist effects)
// so that checkers need nothing from the core itself. Decides nothing.

import {
  type CoreBugs,
  type Entry,
  type Instant,
  type Message,
  type PersistEffect,
  type RaftConfig,
  RaftCore,
  type RaftEffect,
  type RaftEvent,
  type SnapshotMeta,
} from '../../src/raft/core/index.ts';
import { describeMessage, laneOf } from './describe-message.ts';
import type { DiskOptions } from './options.ts';
import type { Prng } from './prng.ts';
import type { RaftCheckers } from './raft-checkers.ts';
import type { RaftDisk } from './raft-disk.ts';
import { applyEntry, type MachineState } from './raft-machine.ts';
import type { SimProcess } from './sim-clock.ts';
import type { SimNetwork } from './sim-network.ts';
import type { Trace } from './trace.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface HostWorld {
  readonly time: VirtualTime;
  readonly network: SimNetwork;
  readonly trace: Trace;
  readonly checkers: RaftCheckers;
  readonly config: RaftConfig;
  readonly disk: DiskOptions;
  readonly applyMeanMs: number;
  readonly bugs: CoreBugs;
  host(nodeId: number): RaftHost | undefined;
}

export type ProposalFate = 'committed' | 'lost' | 'unknown';

type InstallEffect = Extract<RaftEffect, { kind: 'installSnapshot' }>;

interface Waiter {
  readonly term: number;
  readonly done: (fate: ProposalFate) => void;
}

export class RaftHost {
  readonly process: SimProcess;
  readonly disk: RaftDisk;
  core: RaftCore | undefined;
  /** Mirror of the core's log after `base`. */
  log: Entry[] = [];
  base: SnapshotMeta;
  commitIndex = 0;
  machine: MachineState;
  readonly #world: HostWorld;
  readonly #random: Prng;
  /** Writes and installs, carried out in the order of their effects. */
  #queue: (PersistEffect | InstallEffect)[] = [];
  #writing: PersistEffect | undefined;
  #applying = false;
  #cancelTimer: (() => void) | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #waiters = new Map<number, Waiter>();
  #reads = new Map<number, (index: number | undefined) => void>();
  #nextReadId = 1;
  #received: { meta: SnapshotMeta; machine: MachineState; done: (ok: boolean) => void }[] = [];
  #installing = false;

  constructor(world: HostWorld, process: SimProcess, disk: RaftDisk, random: Prng) {
    this.#world = world;
    this.process = process;
    this.disk = disk;
    this.#random = random;
    this.base = disk.base;
    this.machine = disk.flushed;
  }

  get nodeId(): number {
    return this.process.nodeId;
  }

  get lastIndex(): number {
    return this.base.index + this.log.length;
  }

  termAt(index: number): number | undefined {
    return index === this.base.index ? this.base.term : this.log[index - this.base.index - 1]?.term;
  }

  get now(): Instant {
    return { monotonicMs: this.process.monotonicMs, wallMs: this.process.wallMs };
  }

  start(): void {
    this.process.start();
    this.#world.network.hostUp(this.nodeId);
    this.disk.bootId++;
    this.base = this.disk.base;
    this.log = [...this.disk.entries];
    this.machine = this.disk.flushed;
    this.commitIndex = this.machine.appliedIndex;
    this.#queue = [];
    this.#writing = undefined;
    this.#applying = false;
    this.#installing = false;
    this.#received = [];
    const recovered = this.disk.recovered(this.nodeId, this.#random.int(this.log.length + 1));
    this.#trace(
      'start',
      `boot=${recovered.bootId} term=${recovered.hardState.term} base=${recovered.base.index} last=${recovered.lastIndex}${recovered.recovering ? ' recovering' : ''}`,
    );
    const random = this.#random.split(`core${recovered.bootId}`);
    this.core = new RaftCore(recovered, this.#world.config, () => random.next(), {
      bugs: this.#world.bugs,
    });
    this.#world.checkers.started(this);
    this.step({ kind: 'timeout' });
  }

  /** The process ends at once. `powerCut`: the write under way may be lost. */
  kill(powerCut: boolean): void {
    const survives = !powerCut || this.#random.chance(this.#world.disk.survivesCrashProbability);
    if (this.#writing !== undefined && survives) {
      this.disk.write(this.#writing);
    }
    this.#trace(powerCut ? 'power cut' : 'kill', `pending=${this.#writing?.writeId ?? '-'}`);
    this.process.kill();
    this.core = undefined;
    this.#cancelTimer?.();
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    this.#queue = [];
    this.#writing = undefined;
    const waiters = [...this.#waiters.values()];
    this.#waiters.clear();
    for (const waiter of waiters) {
      waiter.done('unknown');
    }
    this.#reads.clear();
    if (powerCut) {
      this.#world.network.hostDown(this.nodeId);
    } else {
      this.#world.network.processDown(this.nodeId);
    }
  }

  step(event: RaftEvent): void {
    if (this.core === undefined) {
      return;
    }
    this.core.step(event, this.now);
    this.#carryOut();
  }

  propose(command: Uint8Array, done: (fate: ProposalFate) => void): number | undefined {
    if (this.core === undefined) {
      return undefined;
    }
    const result = this.core.propose([command], this.now);
    if (result.accepted) {
      this.#waiters.get(result.index)?.done('lost');
      this.#waiters.set(result.index, { term: result.term, done });
    }
    this.#carryOut();
    return result.accepted ? result.index : undefined;
  }

  read(done: (index: number | undefined) => void): void {
    const readId = this.#nextReadId++;
    this.#reads.set(readId, done);
    this.step({ kind: 'readIndex', readId });
  }

  compact(trailingMax: number): void {
    const trailing = this.#random.int(trailingMax + 1);
    const index = Math.min(this.disk.flushed.appliedIndex, this.disk.lastIndex) - trailing;
    if (this.core === undefined || index <= this.disk.base.index) {
      return;
    }
    this.disk.compact(index, this.base.configuration);
    this.log = this.log.slice(index - this.base.index);
    this.base = this.disk.base;
    this.#trace('compact', `base=${index}`);
    this.step({ kind: 'compacted', index, term: this.base.term });
  }

  flush(): void {
    // Never past the node's own durable log (docs/architecture.md §Storage), which may still hold
    // other entries at these indexes while their truncation is under way.
    const { appliedIndex, appliedTerm } = this.machine;
    if (this.disk.termAt(appliedIndex) === appliedTerm) {
      this.disk.flushed = this.machine;
    }
  }

  #trace(event: string, detail: string): void {
    this.#world.trace.add(this.#world.time.nowMs, this.nodeId, event, detail);
  }

  #carryOut(): void {
    const core = this.core;
    if (core === undefined) {
      return;
    }
    for (const effect of core.drain()) {
      this.#one(effect);
    }
    this.#arm(core);
    this.#world.checkers.stepped(this, core.status(this.now));
  }

  #arm(core: RaftCore): void {
    const deadlineMs = core.nextDeadlineMs();
    if (deadlineMs === this.#timerAtMs) {
      return;
    }
    this.#timerAtMs = deadlineMs;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (Number.isFinite(deadlineMs)) {
      const clock = this.process.clock();
      this.#cancelTimer = clock.after(Math.max(0, deadlineMs - this.process.monotonicMs), () => {
        this.#timerAtMs = Number.POSITIVE_INFINITY;
        this.step({ kind: 'timeout' });
      });
    }
  }

  #one(effect: RaftEffect): void {
    switch (effect.kind) {
      case 'persist':
        this.#mirror(effect);
        this.#queue.push(effect);
        this.#startWrite();
        return;
      case 'send':
        this.#send(effect.messages);
        return;
      case 'commit':
        this.#trace('commit', `index=${effect.index}`);
        this.commitIndex = effect.index;
        this.#world.checkers.committed(this, effect.index);
        this.#startApply();
        return;
      case 'fetch':
        this.process.afterTrue(this.#diskDelayMs(), () => {
          this.step({
            kind: 'fetched',
            fetchId: effect.fetchId,
            entries: this.#readDisk(effect.from, effect.to, effect.bytesMax),
          });
        });
        return;
      case 'sendSnapshot':
        this.#sendSnapshot(effect.to);
        return;
      case 'installSnapshot':
        this.#queue.push(effect);
        this.#startWrite();
        return;
      case 'discardSnapshot':
        this.#finishReceived(effect.meta, true);
        return;
      case 'readReady':
        this.#settleReads(effect.readIds, effect.index);
        return;
      case 'readFailed':
        this.#settleReads(effect.readIds, undefined);
        return;
      case 'role':
        this.#trace('role', `${effect.role} term=${effect.term} leader=${effect.leaderId ?? '-'}`);
        this.#world.checkers.role(this, effect.role, effect.term);
        return;
      case 'transferEnded':
        this.#trace('transfer', effect.ok ? 'done' : 'failed');
        return;
      default:
        effect satisfies never;
    }
  }

  #mirror(effect: PersistEffect): void {
    if (effect.truncateFrom !== undefined) {
      this.#trace('truncate', `from=${effect.truncateFrom}`);
      this.#world.checkers.truncated(this, effect.truncateFrom);
      this.log.length = Math.min(
        this.log.length,
        Math.max(0, effect.truncateFrom - this.base.index - 1),
      );
    }
    for (const entry of effect.entries) {
      this.#world.checkers.appended(this, entry);
      this.log.push(entry);
    }
  }

  #diskDelayMs(): number {
    const { writeMeanMs, slowProbability, slowMaxMs } = this.#world.disk;
    const slow = this.#world.network.faulty && this.#random.chance(slowProbability);
    return this.#random.exponential(writeMeanMs) + (slow ? this.#random.between(0, slowMaxMs) : 0);
  }

  #startWrite(): void {
    const write = this.#queue[0];
    if (this.#writing !== undefined || write === undefined || this.#installing) {
      return;
    }
    this.#queue.shift();
    if (write.kind === 'installSnapshot') {
      this.#install(write.meta);
      return;
    }
    this.#writing = write;
    const life = this.process.life;
    // The disk works on while the process is paused.
    this.#world.time.after(this.#diskDelayMs(), () => {
      if (this.process.life !== life || !this.process.alive || this.#writing !== write) {
        return;
      }
      this.disk.write(write);
      this.#world.checkers.durable(this);
      this.#writing = undefined;
      this.process.enter(life, () => {
        this.#send(write.release);
        this.step({ kind: 'persisted', writeId: write.writeId });
        this.#startWrite();
      });
    });
  }

  #send(messages: readonly Message[]): void {
    for (const message of messages) {
      Object.freeze(message);
      this.#world.checkers.sent(this, message);
      const trace = this.#world.trace;
      this.#world.network.send(this.nodeId, message.to, laneOf(message), () => {
        const target = this.#world.host(message.to);
        trace.add(this.#world.time.nowMs, message.to, 'receive', describeMessage(message));
        target?.step({ kind: 'receive', message });
      });
    }
  }

  #readDisk(from: number, to: number, bytesMax: number): readonly Entry[] {
    const result: Entry[] = [];
    let bytes = 0;
    for (const entry of this.disk.entries) {
      if (entry.index >= from && entry.index < to) {
        if (result.length > 0 && bytes > bytesMax) {
          break;
        }
        bytes += entrySize(entry);
        result.push(entry);
      }
    }
    return result[0]?.index === from ? result : [];
  }

  #startApply(): void {
    if (this.#applying || this.#installing || this.machine.appliedIndex >= this.commitIndex) {
      return;
    }
    this.#applying = true;
    this.process.afterTrue(this.#random.exponential(this.#world.applyMeanMs), () => {
      const from = this.machine.appliedIndex + 1;
      const to = Math.min(this.commitIndex, from + this.#random.int(20));
      for (let index = from; index <= to; index++) {
        const entry = this.log[index - this.base.index - 1];
        if (entry === undefined) {
          throw new Error(`n${this.nodeId}: committed entry ${index} is not in the log`);
        }
        this.machine = applyEntry(this.machine, entry);
        this.#world.checkers.applied(this, entry, this.machine);
        this.#settleWaiter(index, entry.term);
      }
      this.#applying = false;
      this.step({ kind: 'applied', index: this.machine.appliedIndex });
      this.#startApply();
    });
  }

  #settleWaiter(index: number, term: number): void {
    const waiter = this.#waiters.get(index);
    if (waiter !== undefined) {
      this.#waiters.delete(index);
      waiter.done(waiter.term === term ? 'committed' : 'lost');
    }
  }

  #settleReads(readIds: readonly number[], index: number | undefined): void {
    for (const readId of readIds) {
      const done = this.#reads.get(readId);
      this.#reads.delete(readId);
      done?.(index);
    }
  }

  #sendSnapshot(to: number): void {
    const machine = this.machine;
    const meta: SnapshotMeta = {
      index: machine.appliedIndex,
      term: machine.appliedTerm,
      timeMs: machine.appliedTimeMs,
      configuration: this.base.configuration,
    };
    this.#trace('snapshot', `to=n${to} index=${meta.index}`);
    const connected = this.#world.network.connectionToken(this.nodeId, to);
    const life = this.process.life;
    const end = (ok: boolean): void => {
      this.process.enter(life, () => this.step({ kind: 'snapshotSent', to, meta, ok }));
    };
    const takesMs = this.#world.network.latencyMs() * 3 + this.#random.exponential(20);
    this.#world.time.after(takesMs, () => {
      const target = this.#world.host(to);
      if (!connected() || target === undefined || target.core === undefined) {
        this.#world.time.after(this.#world.network.latencyMs(), () => end(false));
        return;
      }
      const targetLife = target.process.life;
      target.process.enter(targetLife, () => {
        target.#receiveSnapshot(this.nodeId, meta, machine, (ok) => {
          this.#world.time.after(this.#world.network.latencyMs(), () => end(ok && connected()));
        });
      });
    });
  }

  #receiveSnapshot(
    from: number,
    meta: SnapshotMeta,
    machine: MachineState,
    done: (ok: boolean) => void,
  ): void {
    this.process.afterTrue(this.#diskDelayMs(), () => {
      this.#received.push({ meta, machine, done });
      this.step({ kind: 'snapshotReceived', from, meta });
      // The stream is confirmed once the snapshot is durable, used or not.
      done(true);
    });
  }

  #finishReceived(meta: SnapshotMeta, discard: boolean): MachineState | undefined {
    const at = this.#received.findIndex((received) => received.meta === meta);
    const received = this.#received[at];
    if (received === undefined) {
      throw new Error(`n${this.nodeId}: unknown snapshot ${meta.index}`);
    }
    this.#received.splice(at, 1);
    this.#trace(discard ? 'discard' : 'install', `index=${meta.index}`);
    return received.machine;
  }

  /** Waits for the apply and the write under way, then switches generations. */
  #install(meta: SnapshotMeta): void {
    this.#installing = true;
    const attempt = (): void => {
      if (this.#applying) {
        this.process.afterTrue(1, attempt);
        return;
      }
      const machine = this.#finishReceived(meta, false);
      if (machine === undefined) {
        return;
      }
      this.disk.install(meta);
      this.disk.flushed = machine;
      const keeps = this.termAt(meta.index) === meta.term;
      this.log = keeps ? this.log.slice(meta.index - this.base.index) : [];
      this.base = meta;
      this.machine = machine;
      this.commitIndex = Math.max(this.commitIndex, meta.index);
      this.#world.checkers.installed(this, meta, machine);
      for (const [index, waiter] of [...this.#waiters]) {
        if (index <= meta.index) {
          this.#waiters.delete(index);
          waiter.done('unknown');
        }
      }
      this.#installing = false;
      this.step({ kind: 'snapshotInstalled', meta });
      this.#startWrite();
      this.#startApply();
    };
    this.process.afterTrue(this.#diskDelayMs(), attempt);
  }
}

function entrySize(entry: Entry): number {
  let bytes = 16;
  if (entry.kind === 'commands') {
    for (const command of entry.commands) {
      bytes += command.length;
    }
  }
  return bytes;
}
