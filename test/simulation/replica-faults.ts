// What goes wrong around whole replicas: deaths, pauses, partitions, clocks, and disks that fail,
// fill up, stall, or lose what they promised to keep.
//
// Owns: when, and to whom. Damage is confined to a minority of the disks: nobody could heal a
// majority. What a fault does to a node is `ReplicaHost`'s and its disks' business.

import type { Message } from '../../src/raft/index.ts';
import type { ReplicaOptions } from './options.ts';
import { randomPartition } from './partitions.ts';
import type { Prng } from './prng.ts';
import type { ReplicaHost } from './replica-host.ts';
import type { SimNetwork } from './sim-network.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface FaultWorld {
  readonly time: VirtualTime;
  readonly network: SimNetwork;
  readonly hosts: readonly ReplicaHost[];
  readonly options: ReplicaOptions;
  /** The run's own stream: each kind of fault splits off one. */
  readonly random: Prng;
  note(nodeId: number, event: string, detail: string): void;
  fail(error: Error): void;
}

export class ReplicaFaults {
  readonly #world: FaultWorld;
  /** The minority whose disks may be damaged. */
  readonly #fragile: readonly number[];
  readonly #voteLosses: Prng;
  #active = true;
  readonly counts = {
    kills: 0,
    partitions: 0,
    pauses: 0,
    damages: 0,
    diskErrors: 0,
    noSpace: 0,
    stalls: 0,
    ambushes: 0,
  };

  constructor(world: FaultWorld) {
    this.#world = world;
    this.#voteLosses = world.random.split('vote losses');
    const ids = Array.from({ length: world.options.nodes }, (_, i) => i + 1);
    const minority = Math.floor((ids.length - 1) / 2);
    this.#fragile = world.random.split('fragile').shuffle(ids).slice(0, minority);
  }

  #every(meanMs: number | undefined, random: Prng, run: () => void): void {
    if (meanMs === undefined) {
      return;
    }
    const next = (): void => {
      this.#world.time.after(random.exponential(meanMs), () => {
        if (this.#active) {
          run();
          next();
        }
      });
    };
    next();
  }

  start(): void {
    const { faults, diskErrorMeanMs, noSpaceMeanMs } = this.#world.options;
    const random = this.#world.random.split('faults');
    const victim = (): ReplicaHost =>
      random.chance(0.5)
        ? (this.#leader() ?? random.pick(this.#world.hosts))
        : random.pick(this.#world.hosts);
    this.#every(faults.killMeanMs, random, () => this.#kill(victim(), false, random));
    this.#every(faults.powerCutMeanMs, random, () => this.#kill(victim(), true, random));
    this.#every(faults.allKilledMeanMs, random, () => {
      for (const host of this.#world.hosts) {
        this.#kill(host, random.chance(0.7), random);
      }
    });
    this.#every(faults.pauseMeanMs, random, () => this.#pause(victim(), random));
    this.#every(faults.partitionMeanMs, random, () => this.#partition(random));
    this.#every(faults.wallJumpMeanMs, random, () => {
      const { process } = random.pick(this.#world.hosts);
      process.wallOffsetMs = Math.round(
        random.between(-faults.wallJumpMaxMs, faults.wallJumpMaxMs),
      );
      this.#world.note(process.nodeId, 'wall', `offset=${process.wallOffsetMs}`);
    });
    this.#every(faults.transferMeanMs, random, () => {
      const leader = this.#leader();
      if (leader?.replica !== undefined && !leader.process.paused) {
        this.#world.note(leader.nodeId, 'transfer', '');
        leader.replica.handOverLeadership().catch((error: unknown) => {
          this.#world.fail(asError(error));
        });
      }
    });
    this.#every(diskErrorMeanMs, random, () => this.#diskError(random));
    this.#every(noSpaceMeanMs, random, () => this.#noSpace(random));
    const stalls = this.#world.random.split('stalls');
    this.#every(this.#world.options.stallMeanMs, stalls, () => this.#stall(stalls));
    const ambushes = this.#world.random.split('ambushes');
    this.#every(this.#world.options.ambushMeanMs, ambushes, () => this.#ambush(ambushes));
  }

  #kill(host: ReplicaHost, powerCut: boolean, random: Prng): void {
    if (!host.process.alive) {
      return;
    }
    this.counts.kills++;
    const fragile = this.#fragile.includes(host.nodeId);
    if (!fragile || !random.chance(this.#world.options.faults.damageProbability)) {
      host.kill(powerCut);
    } else if (host.killHarmed(powerCut)) {
      this.counts.damages++;
    }
    host.restartAfter(random.between(0, this.#world.options.faults.downMaxMs));
  }

  /**
   * Some hear nothing for a while; then they alone are back, beside those whose logs are damaged and
   * who held what was committed meanwhile. Only a node that knows what it lost refuses its vote.
   */
  #ambush(random: Prng): void {
    const fragile = this.#world.hosts.filter((host) => this.#fragile.includes(host.nodeId));
    const sound = random.shuffle(this.#world.hosts.filter((host) => !fragile.includes(host)));
    const deaf = sound.slice(0, fragile.length);
    const others = sound.slice(fragile.length);
    if (deaf.length === 0) {
      return;
    }
    this.counts.ambushes++;
    this.#world.note(0, 'ambush', `deaf=${deaf.map((host) => host.nodeId).join()}`);
    const ids = this.#world.hosts.map((host) => host.nodeId);
    const cuts = deaf.flatMap(({ nodeId }) =>
      ids
        .filter((id) => id !== nodeId)
        .flatMap((id) => [[id, nodeId] as const, [nodeId, id] as const]),
    );
    for (const [from, to] of cuts) {
      this.#world.network.cut(from, to);
    }
    this.#world.time.after(random.between(50, 1_500), () => {
      for (const [from, to] of cuts) {
        this.#world.network.mend(from, to);
      }
      if (!this.#active) {
        return;
      }
      for (const host of others) {
        this.#killFor(host, random.between(1_500, 4_000), () => host.kill(true));
      }
      for (const host of fragile) {
        this.#killFor(host, random.between(0, 100), () => this.#ruinLog(host));
      }
    });
  }

  #ruinLog(host: ReplicaHost): void {
    if (host.killAndRuinLog(true)) {
      this.counts.damages++;
    }
  }

  #killFor(host: ReplicaHost, downMs: number, kill: () => void): void {
    if (host.process.alive) {
      this.counts.kills++;
      kill();
      host.restartAfter(downMs);
    }
  }

  /** The sector of the log that holds a vote just given is the one that is lost. */
  sent(message: Message): void {
    const host = this.#world.hosts[message.from - 1];
    if (
      message.kind !== 'requestVoteResponse' ||
      !message.granted ||
      host === undefined ||
      !this.#active ||
      !this.#fragile.includes(host.nodeId) ||
      !this.#voteLosses.chance(this.#world.options.voteLossProbability)
    ) {
      return;
    }
    const { life } = host.process;
    this.#world.time.after(this.#voteLosses.exponential(5), () => {
      if (host.process.life === life) {
        this.#killFor(host, this.#voteLosses.between(0, 500), () => this.#ruinLog(host));
      }
    });
  }

  #pause(host: ReplicaHost, random: Prng): void {
    if (!host.process.alive || host.process.paused) {
      return;
    }
    this.counts.pauses++;
    const { life } = host.process;
    this.#world.note(host.nodeId, 'pause', '');
    host.process.pause();
    this.#world.time.after(random.between(10, this.#world.options.faults.pauseMaxMs), () => {
      if (host.process.life === life) {
        this.#world.note(host.nodeId, 'resume', '');
        host.process.resume();
      }
    });
  }

  #partition(random: Prng): void {
    this.counts.partitions++;
    const ids = this.#world.hosts.map((host) => host.nodeId);
    const { kind, cuts } = randomPartition(random, ids, this.#leader()?.nodeId);
    this.#world.note(0, 'partition', `${kind} ${cuts.map((cut) => cut.join('>')).join(' ')}`);
    for (const [from, to] of cuts) {
      this.#world.network.cut(from, to);
    }
    this.#world.time.after(random.between(50, this.#world.options.faults.partitionMaxMs), () => {
      for (const [from, to] of cuts) {
        this.#world.network.mend(from, to);
      }
      this.#world.note(0, 'mend', kind);
    });
  }

  #diskError(random: Prng): void {
    const host = random.pick(this.#world.hosts);
    if (!host.process.alive) {
      return;
    }
    this.counts.diskErrors++;
    if (random.chance(0.6)) {
      this.#world.note(host.nodeId, 'disk error', 'log');
      host.files.failSoon('EIO');
    } else {
      this.#world.note(host.nodeId, 'disk error', 'state');
      host.kv.failNextSync = true;
      host.isHarmed = true;
    }
  }

  /** A log that falls behind what is committed and applied, and often never catches up. */
  #stall(random: Prng): void {
    const host = random.pick(this.#world.hosts);
    const stallMs = random.between(50, this.#world.options.stallMaxMs);
    this.counts.stalls++;
    this.#world.note(host.nodeId, 'disk stall', `${stallMs.toFixed(0)} ms`);
    host.files.stallMs = stallMs;
    const isCut = random.chance(0.6);
    this.#world.time.after(random.between(0.3, 1) * stallMs, () => {
      host.files.stallMs = 0;
      if (isCut && this.#active) {
        this.#kill(host, true, random);
      }
    });
  }

  /** A full disk for a while: admission closes, then writes fail and the process exits. */
  #noSpace(random: Prng): void {
    const host = random.pick(this.#world.hosts);
    this.counts.noSpace++;
    const left = random.pick([0, 1, 2]) * this.#world.options.segmentBytes;
    this.#world.note(host.nodeId, 'no space', `left=${left}`);
    host.files.limitSpace(left);
    host.kv.full = left === 0 && random.chance(0.5);
    host.isHarmed ||= host.kv.full;
    this.#world.time.after(random.between(500, 6_000), () => {
      this.#world.note(host.nodeId, 'space again', '');
      host.files.limitSpace(undefined);
      host.kv.full = false;
    });
  }

  #leader(): ReplicaHost | undefined {
    let leader: ReplicaHost | undefined;
    let newest = -1;
    for (const host of this.#world.hosts) {
      const leadership = host.replica?.raft.leadership();
      if (leadership?.isLeader === true && leadership.term > newest) {
        leader = host;
        newest = leadership.term;
      }
    }
    return leader;
  }

  /** Nothing new goes wrong, and what was wrong is put right; what a disk lost stays lost. */
  heal(): void {
    this.#active = false;
    const { network, hosts } = this.#world;
    network.faulty = false;
    network.mendAll();
    this.#world.note(0, 'heal', '');
    for (const host of hosts) {
      host.files.limitSpace(undefined);
      host.files.stallMs = 0;
      host.kv.full = false;
      host.kv.failNextSync = false;
      host.process.resume();
      if (!host.process.alive) {
        host.restartAfter(0);
      }
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
