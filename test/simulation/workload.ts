// The clients: they move money in every pattern, through any node, and repeat what they were not
// answered; and the operators among them.
//
// Owns: who begins what and when, repeats of what was accepted, forced stops, reads that must not be
// older than what was true before. What a client of a pattern does is in its own file.
// Every plan's movements sum to zero, so the banks' total never changes once all have ended.
//
// Source: docs/architecture.md §Promises; the dtm protocol reference §5, §10.4.

import type { TransactionType } from '../../src/engine/machine/index.ts';
import { Client, type ClientWorld } from './client.ts';
import { MsgClient } from './msg-client.ts';
import type { Prng } from './prng.ts';
import { runSaga, type Submitted } from './saga-client.ts';
import { TopicClient } from './topic-client.ts';
import { rank } from './transitions.ts';
import { TwoPhaseClient } from './two-phase-client.ts';
import { InvariantViolated } from './violation.ts';
import { WorkflowClient } from './workflow-client.ts';

export interface WorkloadOptions {
  /** Between the starts of two sagas; of what costs more requests, more. */
  readonly sagaMeanMs: number;
  /** Shares of the patterns. */
  readonly mix: Readonly<Record<TransactionType, number>>;
  readonly stepsMax: number;
  readonly accounts: number;
  readonly concurrentProbability: number;
  readonly waitProbability: number;
  readonly timeoutProbability: number;
  readonly retryLimitProbability: number;
  readonly repeatProbability: number;
  readonly forceStopProbability: number;
  readonly hurryProbability: number;
  readonly prepareProbability: number;
  readonly nestedProbability: number;
  readonly contradictProbability: number;
  readonly delayProbability: number;
  readonly ownWordsProbability: number;
  readonly topics: number;
  readonly topicMeanMs: number;
  readonly queryMeanMs: number;
  readonly deathProbability: number;
  readonly doubleProbability: number;
  readonly clientTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

/** Requests of a client, relative to a saga's. */
const COSTS: Readonly<Record<TransactionType, number>> = {
  saga: 1,
  tcc: 2,
  xa: 2,
  msg: 1.5,
  workflow: 2.5,
};

export class Workload {
  readonly #world: ClientWorld;
  readonly #random: Prng;
  readonly #patterns: Prng;
  readonly #options: WorkloadOptions;
  readonly #client: Client;
  readonly #msg: MsgClient;
  readonly #twoPhase: Readonly<Record<'tcc' | 'xa', TwoPhaseClient>>;
  readonly #workflow: WorkflowClient;
  #nextGid = 1;
  #running = true;

  constructor(world: ClientWorld, random: Prng, options: WorkloadOptions) {
    this.#world = world;
    this.#random = random;
    this.#patterns = random.split('patterns');
    this.#options = options;
    this.#client = new Client(world, options);
    this.#msg = new MsgClient(this.#client, options);
    this.#twoPhase = {
      tcc: new TwoPhaseClient(this.#client, 'tcc', options),
      xa: new TwoPhaseClient(this.#client, 'xa', options),
    };
    this.#workflow = new WorkflowClient(this.#client, options);
  }

  start(): void {
    const { sagaMeanMs, queryMeanMs, topics, topicMeanMs } = this.#options;
    this.#every(this.#random, sagaMeanMs, () => this.#begin());
    this.#every(this.#random, queryMeanMs, () => {
      this.#client.launch(() => this.#query());
      return 1;
    });
    if (topics > 0) {
      const random = this.#random.split('topics');
      const client = new TopicClient(this.#client, random, topics);
      this.#every(random, topicMeanMs, () => {
        client.change();
        return 1;
      });
    }
  }

  /** Nothing new begins; what has begun goes on. */
  stop(): void {
    this.#running = false;
  }

  /** Clients that have not come to their end. */
  get working(): number {
    return this.#client.working;
  }

  get stats(): Record<string, number> {
    return this.#client.stats;
  }

  /** `run` says what it costs: so much longer is the mean until the next. */
  #every(random: Prng, meanMs: number, run: () => number): void {
    const next = (cost: number): void => {
      this.#world.time.after(random.exponential(cost * meanMs), () => {
        if (this.#running) {
          next(run());
        }
      });
    };
    next(1);
  }

  #begin(): number {
    const type = this.#drawType();
    const gid = `${type[0]}${this.#nextGid++}`;
    const random = this.#random.split(gid);
    this.#client.launch(async () => {
      const waitResult = random.chance(this.#options.waitProbability);
      this.#operate(gid, random);
      const submitted = await this.#run(type, gid, random, waitResult);
      if (submitted !== undefined) {
        await this.#afterAcceptance(submitted, random, waitResult);
      }
    });
    return COSTS[type];
  }

  #drawType(): TransactionType {
    const { mix } = this.#options;
    const types = Object.keys(mix) as TransactionType[];
    let at = this.#patterns.next() * types.reduce((sum, type) => sum + mix[type], 0);
    for (const type of types) {
      at -= mix[type];
      if (at < 0) return type;
    }
    return 'saga';
  }

  async #run(
    type: TransactionType,
    gid: string,
    random: Prng,
    waitResult: boolean,
  ): Promise<Submitted | undefined> {
    switch (type) {
      case 'saga':
        return runSaga(this.#client, gid, random, { ...this.#options, waitResult });
      case 'tcc':
      case 'xa':
        return this.#twoPhase[type].run(gid, random, waitResult);
      case 'msg':
        return this.#msg.run(gid, random, waitResult);
      case 'workflow':
        await this.#workflow.start(gid, random);
        return undefined;
    }
  }

  async #afterAcceptance(
    { input, nodeId }: Submitted,
    random: Prng,
    waitResult: boolean,
  ): Promise<void> {
    if (waitResult) {
      await this.#client.wait(input.gid, nodeId);
    }
    if (random.chance(this.#options.repeatProbability)) {
      await this.#client.pause(random.between(0, 10_000));
      await this.#repeat({ ...input, options: { ...input.options, waitResult: false } }, random);
    }
  }

  /** P6: a repeat of what was accepted is a success, unless it has gone the other way. */
  async #repeat(input: Submitted['input'], random: Prng): Promise<void> {
    const { defaults } = this.#client;
    const answer = await this.#client.persist(
      { kind: 'submit', transaction: input, defaults },
      random,
    );
    if (answer === undefined || answer.result.kind === 'success') {
      return;
    }
    const { gid } = input;
    const status = this.#world.oracle.status(gid);
    const isTrue =
      answer.result.kind === 'failure' && (status === 'aborting' || status === 'failed');
    this.#client.demand(isTrue, gid, answer.result, 'a repeated submit');
  }

  /** Operators: dtm's reset of the next cron time, harmless whenever it comes, and the forced stop. */
  #operate(gid: string, random: Prng): void {
    if (random.chance(this.#options.hurryProbability)) {
      this.#world.time.after(random.between(0, 3_000), () =>
        this.#client.launch(async () => {
          const mustExist = random.chance(0.5);
          await this.#client.ask({ kind: 'resetNextCronTime', gids: [gid], mustExist }, random);
        }),
      );
    }
    if (random.chance(this.#options.forceStopProbability)) {
      this.#world.time.after(random.between(0, 3_000), () =>
        this.#client.launch(async () => {
          await this.#client.ask(
            { kind: 'forceStop', gid, by: 'operator', reason: 'test' },
            random,
          );
        }),
      );
    }
  }

  /** A read must not be older than what was true before it began. */
  async #query(): Promise<void> {
    const { oracle, nodes } = this.#world;
    const gids = oracle.acceptedGids;
    const node = this.#random.pick(nodes);
    const coordinator = node.coordinator();
    if (gids.length === 0 || coordinator === undefined) {
      return;
    }
    const gid = this.#random.pick(gids);
    const before = oracle.status(gid);
    const outcome = await this.#client.within(coordinator.query(gid));
    if (outcome?.kind !== 'value') {
      return;
    }
    this.#client.stats.queries++;
    const seen = outcome.value?.state.status;
    if (seen === undefined || rank(seen) < rank(before)) {
      throw new InvariantViolated(
        'I14',
        `n${node.nodeId} reads ${gid} as ${seen ?? 'absent'}; it was ${before} before the read`,
      );
    }
  }
}
