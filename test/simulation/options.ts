// Everything about a run that is not fixed is drawn here from its seed, and printed.
//
// Owns: the ranges. Swarm testing: each seed also switches whole kinds of fault off, so that rare
// combinations (only pauses, only torn writes, a perfect network with bad disks) occur.
//
// Sources: raft simulators' published ranges (TigerBeetle, openraft); Groce et al. 2012 (swarm).

import type { RaftConfig } from '../../src/raft/index.ts';
import type { Prng } from './prng.ts';
import type { NetworkOptions } from './sim-network.ts';
import type { ParticipantOptions } from './sim-participants.ts';
import type { WorkloadOptions } from './workload.ts';

/** Mean true milliseconds between two faults of a kind; undefined: never. */
export interface FaultOptions {
  readonly killMeanMs: number | undefined;
  readonly powerCutMeanMs: number | undefined;
  readonly allKilledMeanMs: number | undefined;
  readonly pauseMeanMs: number | undefined;
  readonly pauseMaxMs: number;
  readonly partitionMeanMs: number | undefined;
  readonly partitionMaxMs: number;
  readonly wallJumpMeanMs: number | undefined;
  readonly wallJumpMaxMs: number;
  readonly transferMeanMs: number | undefined;
  /** Probability that a restart finds the end of its log damaged. */
  readonly damageProbability: number;
  readonly downMaxMs: number;
}

export interface DiskOptions {
  readonly writeMeanMs: number;
  readonly slowProbability: number;
  readonly slowMaxMs: number;
  /** Probability that a write under way at a crash is on the disk afterwards. */
  readonly survivesCrashProbability: number;
}

export interface RaftOptions {
  readonly nodes: number;
  readonly learners: number;
  readonly durationMs: number;
  readonly clockSkewMax: number;
  readonly config: RaftConfig;
  readonly network: NetworkOptions;
  readonly faults: FaultOptions;
  readonly disk: DiskOptions;
  readonly proposeMeanMs: number;
  readonly readMeanMs: number;
  readonly commandBytesMax: number;
  readonly compactEveryEntries: number;
  readonly trailingEntries: number;
  readonly applyMeanMs: number;
}

export function drawRaftOptions(random: Prng, nodes: number | undefined): RaftOptions {
  const maybe = (probability: number, from: number, to: number): number | undefined => {
    const on = random.chance(probability);
    const value = Math.round(random.between(from, to));
    return on ? value : undefined;
  };
  const calm = random.chance(0.05);
  return {
    nodes: nodes ?? random.pick([1, 2, 3, 3, 3, 3, 3, 5, 5, 5]),
    learners: random.chance(0.1) ? 1 : 0,
    durationMs: Math.round(random.between(20_000, 60_000)),
    clockSkewMax: random.pick([0, 0.01, 0.05]),
    config: drawRaftConfig(random),
    network: drawNetworkOptions(random),
    faults: {
      killMeanMs: calm ? undefined : maybe(0.7, 1_500, 12_000),
      powerCutMeanMs: calm ? undefined : maybe(0.6, 1_500, 12_000),
      allKilledMeanMs: calm ? undefined : maybe(0.3, 5_000, 30_000),
      pauseMeanMs: calm ? undefined : maybe(0.5, 1_500, 12_000),
      pauseMaxMs: random.pick([300, 1_500, 5_000]),
      partitionMeanMs: calm ? undefined : maybe(0.7, 1_000, 10_000),
      partitionMaxMs: random.pick([500, 3_000, 8_000]),
      wallJumpMeanMs: calm ? undefined : maybe(0.3, 2_000, 20_000),
      wallJumpMaxMs: random.pick([1_000, 60_000, 3_600_000]),
      transferMeanMs: calm ? undefined : maybe(0.4, 1_500, 15_000),
      damageProbability: random.chance(0.5) ? random.between(0.1, 0.6) : 0,
      downMaxMs: random.pick([300, 1_500, 5_000]),
    },
    disk: drawDiskOptions(random),
    proposeMeanMs: random.pick([10, 40, 40, 150]),
    readMeanMs: random.pick([50, 200, 1_000]),
    commandBytesMax: random.pick([40, 40, 400, 3_000]),
    compactEveryEntries: random.pick([20, 100, 1_000_000]),
    trailingEntries: random.pick([0, 5, 50]),
    applyMeanMs: random.pick([0.05, 1, 10]),
  };
}

export interface ReplicaOptions {
  readonly nodes: number;
  readonly durationMs: number;
  readonly clockSkewMax: number;
  readonly config: RaftConfig;
  readonly network: NetworkOptions;
  readonly faults: FaultOptions;
  /** Mean true milliseconds between failing writes, and between windows without space. */
  readonly diskErrorMeanMs: number | undefined;
  readonly noSpaceMeanMs: number | undefined;
  /** Between stalls of a log's disk, while the state's disk goes on. */
  readonly stallMeanMs: number | undefined;
  readonly stallMaxMs: number;
  /** Between ambushes: those who hold an entry die, those who lack it live. */
  readonly ambushMeanMs: number | undefined;
  /** Probability that a node whose disk may be damaged loses the sector of a vote it just gave. */
  readonly voteLossProbability: number;
  readonly chunkDamageProbability: number;
  readonly disk: DiskOptions;
  readonly kvMeanMs: number;
  readonly segmentBytes: number;
  readonly entryCommandsMax: number;
  readonly trailingEntries: number;
  readonly flushIntervalMs: number;
  readonly commitEachResult: boolean;
  readonly participants: ParticipantOptions;
  readonly workload: WorkloadOptions;
}

export function drawReplicaOptions(random: Prng, nodes: number | undefined): ReplicaOptions {
  const maybe = (probability: number, from: number, to: number): number | undefined => {
    const on = random.chance(probability);
    const value = Math.round(random.between(from, to));
    return on ? value : undefined;
  };
  const accounts = random.pick([4, 10, 30]);
  const config = drawRaftConfig(random);
  const stalls = random.split('stalls');
  const ambushes = random.split('ambushes');
  const patterns = random.split('patterns');
  return {
    nodes: nodes ?? random.pick([1, 3, 3, 3, 3, 3, 3, 5]),
    durationMs: Math.round(random.between(10_000, 30_000)),
    clockSkewMax: random.pick([0, 0.01, 0.05]),
    config: {
      ...config,
      appendBytesMax: Math.max(4_000, config.appendBytesMax),
      inflightBytesMax: Math.max(8_000, config.inflightBytesMax),
      uncommittedBytesMax: Math.max(64_000, config.uncommittedBytesMax),
      pendingReadsMax: 1_000,
    },
    network: drawNetworkOptions(random),
    faults: {
      killMeanMs: maybe(0.7, 2_000, 12_000),
      powerCutMeanMs: maybe(0.6, 2_000, 12_000),
      allKilledMeanMs: maybe(0.2, 8_000, 30_000),
      pauseMeanMs: maybe(0.5, 2_000, 12_000),
      pauseMaxMs: random.pick([300, 1_500, 8_000]),
      partitionMeanMs: maybe(0.6, 2_000, 10_000),
      partitionMaxMs: random.pick([500, 3_000, 8_000]),
      wallJumpMeanMs: maybe(0.3, 2_000, 20_000),
      wallJumpMaxMs: random.pick([1_000, 60_000, 3_600_000]),
      transferMeanMs: maybe(0.4, 2_000, 15_000),
      damageProbability: random.chance(0.5) ? random.between(0.1, 0.6) : 0,
      downMaxMs: random.pick([300, 1_500, 5_000]),
    },
    diskErrorMeanMs: maybe(0.2, 5_000, 20_000),
    noSpaceMeanMs: maybe(0.2, 5_000, 20_000),
    stallMeanMs: stalls.chance(0.3) ? Math.round(stalls.between(2_000, 8_000)) : undefined,
    stallMaxMs: stalls.pick([500, 3_000]),
    ambushMeanMs: ambushes.chance(0.3) ? Math.round(ambushes.between(3_000, 10_000)) : undefined,
    voteLossProbability: ambushes.pick([0, 0, 0.3]),
    chunkDamageProbability: random.pick([0, 0, 0.1]),
    disk: drawDiskOptions(random),
    kvMeanMs: random.pick([0.1, 1, 5]),
    segmentBytes: random.pick([8, 16, 64]) * 1024,
    entryCommandsMax: random.pick([8, 1_024]),
    trailingEntries: random.pick([10, 50, 1_000]),
    flushIntervalMs: random.pick([50, 200, 500, 5_000]),
    commitEachResult: random.chance(0.2),
    participants: {
      accounts,
      latencyMeanMs: random.pick([1, 10, 50]),
      refuseProbability: random.pick([0, 0.05, 0.2]),
      ongoingProbability: random.pick([0, 0.05, 0.2]),
      breakProbability: random.pick([0, 0.05, 0.2]),
      lostAnswerProbability: random.pick([0, 0.02, 0.1]),
      lateProbability: random.pick([0, 0.02, 0.1]),
      lateMaxMs: random.pick([1_000, 6_000, 20_000]),
    },
    workload: {
      sagaMeanMs: random.pick([30, 100, 300]),
      stepsMax: random.pick([2, 3, 6]),
      accounts,
      concurrentProbability: random.pick([0, 0.3, 1]),
      waitProbability: random.pick([0, 0.3, 1]),
      timeoutProbability: random.pick([0, 0.3]),
      retryLimitProbability: random.pick([0, 0.2]),
      repeatProbability: random.pick([0, 0.2]),
      forceStopProbability: random.pick([0, 0, 0.02]),
      hurryProbability: random.pick([0, 0.5]),
      prepareProbability: random.pick([0, 0.2]),
      ...drawPatternOptions(patterns),
      queryMeanMs: random.pick([100, 1_000]),
      clientTimeoutMs: random.pick([4_000, 10_000]),
      requestTimeoutMs: random.pick([1_000, 3_000]),
    },
  };
}

/** All patterns at once, or one alone: what is rare in a crowd is frequent then. */
function drawPatternOptions(random: Prng) {
  const none = { saga: 0, tcc: 0, xa: 0, msg: 0, workflow: 0 };
  return {
    mix: random.pick([
      { saga: 1, tcc: 1, xa: 1, msg: 1, workflow: 1 },
      { saga: 1, tcc: 1, xa: 1, msg: 1, workflow: 1 },
      { saga: 3, tcc: 1, xa: 1, msg: 1, workflow: 1 },
      { ...none, saga: 1 },
      { ...none, saga: 1 },
      { ...none, tcc: 1, xa: 1 },
      { ...none, msg: 1 },
      { ...none, workflow: 1 },
    ]),
    nestedProbability: random.pick([0, 0.3]),
    contradictProbability: random.pick([0, 0.2]),
    delayProbability: random.pick([0, 0.2]),
    ownWordsProbability: random.pick([0, 0.5]),
    topics: random.pick([0, 1, 3]),
    topicMeanMs: random.pick([300, 1_500]),
    deathProbability: random.pick([0, 0.02, 0.15]),
    doubleProbability: random.pick([0, 0, 0.1]),
  };
}

export function drawRaftConfig(random: Prng): RaftConfig {
  const electionTimeoutMs = 1_000;
  return {
    electionTimeoutMs,
    heartbeatIntervalMs: random.pick([100, 125, 150]),
    electionRetryMsMin: 50,
    electionRetryMsMax: 250,
    refusedDelayMsMax: 50,
    appendBytesMax: random.pick([200, 4_000, 1_000_000]),
    inflightAppendsMax: random.pick([1, 2, 2, 2, 4]),
    inflightBytesMax: random.pick([400, 8_000, 8_000_000]),
    uncommittedBytesMax: random.pick([4_000, 64_000, 64_000_000]),
    windowBytesMax: random.pick([500, 8_000, 32_000_000]),
    pendingReadsMax: random.pick([4, 1_000]),
  };
}

export function drawNetworkOptions(random: Prng): NetworkOptions {
  const latencyMinMs = random.pick([0.05, 0.05, 1, 10]);
  return {
    latencyMinMs,
    latencyMeanMs: latencyMinMs + random.pick([0.1, 1, 10]),
    breakProbability: random.pick([0, 0.001, 0.01]),
    lossProbability: random.pick([0, 0, 0.005, 0.05]),
    lateProbability: random.pick([0, 0.3, 0.9]),
    stallProbability: random.pick([0, 0, 0.002]),
    stallMaxMs: random.pick([200, 2_000]),
  };
}

export function drawDiskOptions(random: Prng): DiskOptions {
  return {
    writeMeanMs: random.pick([0.2, 1, 10]),
    slowProbability: random.pick([0, 0, 0.002, 0.02]),
    slowMaxMs: random.pick([200, 2_000]),
    survivesCrashProbability: random.pick([0, 0.5, 1]),
  };
}

/** One `key=value` per option, nested keys joined by dots, in a fixed order. */
export function describeOptions(options: object, prefix = ''): string[] {
  const lines: string[] = [];
  for (const [key, value] of Object.entries(options)) {
    if (typeof value === 'object' && value !== null) {
      lines.push(...describeOptions(value as object, `${prefix}${key}.`));
    } else {
      lines.push(`${prefix}${key}=${String(value)}`);
    }
  }
  return lines;
}
