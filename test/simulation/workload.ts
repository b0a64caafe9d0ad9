// The clients: they move money with sagas of every shape, through any node, and repeat what they
// were not answered.
//
// Owns: the plan of each saga, the client's patience and its retries on other nodes, and the checks
// of P6: what a client is told never contradicts what it was told before, nor the truth.
// Every saga's movements sum to zero, so the banks' total never changes once all have ended.
//
// Source: docs/architecture.md §Promises; the dtm protocol reference §3, §5.4, §5.7.

import type {
  OperationRequest,
  TransactionDefaults,
  TransactionInput,
} from '../../src/engine/machine/index.ts';
import type { Coordinator, OperationOutcome } from '../../src/engine/operations/index.ts';
import type { Oracle } from './oracle.ts';
import type { Prng } from './prng.ts';
import { encodeMovement, type Movement } from './sim-participants.ts';
import type { Trace } from './trace.ts';
import { InvariantViolated } from './violation.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface WorkloadOptions {
  readonly sagaMeanMs: number;
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
  readonly queryMeanMs: number;
  readonly clientTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

/** A node as a client sees it: present and answering, or not. */
export interface ClientNode {
  readonly nodeId: number;
  coordinator(): Coordinator | undefined;
}

export interface WorkloadWorld {
  readonly time: VirtualTime;
  readonly oracle: Oracle;
  readonly trace: Trace;
  readonly nodes: readonly ClientNode[];
  /** Ends the run: promises would hide what they throw. */
  fail(error: Error): void;
}

const STEP_URL = 'http://bank.example/move';

export class Workload {
  readonly #world: WorkloadWorld;
  readonly #random: Prng;
  readonly #options: WorkloadOptions;
  readonly #defaults: TransactionDefaults;
  #nextSaga = 1;
  #running = true;
  /** Clients that still wait for the word that their saga is accepted. */
  #waiting = 0;
  readonly stats = { accepted: 0, refused: 0, unknown: 0, repeats: 0, waits: 0, queries: 0 };

  constructor(world: WorkloadWorld, random: Prng, options: WorkloadOptions) {
    this.#world = world;
    this.#random = random;
    this.#options = options;
    this.#defaults = {
      timeoutToFailMs: 35_000,
      retryIntervalMs: 1_000,
      requestTimeoutMs: options.requestTimeoutMs,
      retentionMs: 86_400_000,
      preparedExpiryMs: 20_000,
      strictResubmit: false,
    };
  }

  start(): void {
    this.#every(this.#options.sagaMeanMs, () => this.#saga());
    this.#every(this.#options.queryMeanMs, () => this.#query());
  }

  /** No new sagas; those begun are repeated until they are accepted. */
  stop(): void {
    this.#running = false;
  }

  get waiting(): number {
    return this.#waiting;
  }

  #every(meanMs: number, run: () => void): void {
    const next = (): void => {
      this.#world.time.after(this.#random.exponential(meanMs), () => {
        if (this.#running) {
          run();
          next();
        }
      });
    };
    next();
  }

  #saga(): void {
    const gid = `g${this.#nextSaga++}`;
    const random = this.#random.split(gid);
    const input = this.#plan(gid, random);
    this.#waiting++;
    const submit = (): void => this.#submit(input, random, 1);
    if (random.chance(this.#options.prepareProbability)) {
      this.#ask({ kind: 'prepare', transaction: input, defaults: this.#defaults }, random, submit);
    } else {
      submit();
    }
  }

  #plan(gid: string, random: Prng): TransactionInput {
    const { options } = { options: this.#options };
    const moves = this.#movements(random);
    const concurrent = random.chance(options.concurrentProbability);
    const orders: Record<string, number[]> = {};
    if (concurrent && random.chance(0.5)) {
      for (let step = 1; step < moves.length; step++) {
        if (random.chance(0.5)) {
          orders[String(step)] = [random.int(step)];
        }
      }
    }
    const timeout = random.chance(options.timeoutProbability);
    const limited = random.chance(options.retryLimitProbability);
    return {
      gid,
      type: 'saga',
      steps: moves.map(() => ({ action: STEP_URL, compensate: `${STEP_URL}/undo` })),
      payloads: moves.map(encodeMovement),
      queryPrepared: undefined,
      protocol: 'http',
      customData:
        concurrent || Object.keys(orders).length > 0
          ? JSON.stringify({ concurrent, orders })
          : undefined,
      rollbackReason: undefined,
      options: {
        waitResult: random.chance(options.waitProbability),
        retryIntervalS: 1,
        ...(timeout ? { timeoutToFailS: 1 + random.int(8) } : {}),
        ...(limited ? { retryLimit: 1 + random.int(3) } : {}),
      },
    };
  }

  /** Movements that sum to zero, no account twice. */
  #movements(random: Prng): Movement[] {
    const steps = Math.min(2 + random.int(this.#options.stepsMax - 1), this.#options.accounts);
    const accounts = random.shuffle(Array.from({ length: this.#options.accounts }, (_, i) => i));
    const moves: Movement[] = [];
    let sum = 0;
    for (let step = 0; step < steps; step++) {
      const amount = step === steps - 1 ? -sum : 1 + random.int(100);
      sum += amount;
      moves.push({ account: accounts[step] ?? 0, amount });
    }
    return moves;
  }

  #submit(input: TransactionInput, random: Prng, attempt: number): void {
    const { gid } = input;
    const nodeId = this.#ask(
      { kind: 'submit', transaction: input, defaults: this.#defaults },
      random,
      (outcome) => {
        if (outcome === undefined || outcome.kind !== 'applied') {
          this.#again(input, random, attempt, outcome);
          return;
        }
        this.#waiting--;
        this.#check(input, outcome, attempt);
        if (outcome.result.kind === 'success') {
          this.stats.accepted++;
          this.#world.oracle.accepted(gid);
          this.#afterAcceptance(input, random, nodeId);
        }
      },
    );
  }

  /** P6: refused and unknown are repeated, with the same gid, on any node. */
  #again(
    input: TransactionInput,
    random: Prng,
    attempt: number,
    outcome: OperationOutcome | undefined,
  ): void {
    if (outcome?.kind === 'refused') {
      this.stats.refused++;
    } else {
      this.stats.unknown++;
    }
    // Clients back off: without it a backlog of abandoned attempts keeps an overload alive.
    const pauseMs = random.between(20, 500) * Math.min(2 ** (attempt - 1), 16);
    this.#world.time.after(pauseMs, () => {
      this.stats.repeats++;
      this.#submit(input, random, attempt + 1);
    });
  }

  /** A business answer must be true: 409 only where the transaction really went the other way. */
  #check(
    input: TransactionInput,
    outcome: Extract<OperationOutcome, { kind: 'applied' }>,
    attempt: number,
  ): void {
    const { result } = outcome;
    const status = this.#world.oracle.status(input.gid);
    if (result.kind === 'success') {
      return;
    }
    if (result.kind === 'failure' && (status === 'aborting' || status === 'failed')) {
      return;
    }
    throw new InvariantViolated(
      'P6',
      `submit of ${input.gid} (attempt ${attempt}, now ${status ?? 'absent'}) is answered ${result.kind}: ${result.message}`,
    );
  }

  #afterAcceptance(input: TransactionInput, random: Prng, nodeId: number | undefined): void {
    const { gid } = input;
    if (input.options.waitResult === true && nodeId !== undefined) {
      this.#wait(gid, nodeId);
    }
    if (random.chance(this.#options.repeatProbability)) {
      this.#world.time.after(random.between(0, 10_000), () => {
        this.#waiting++;
        this.#submit({ ...input, options: { ...input.options, waitResult: false } }, random, 1);
      });
    }
    if (random.chance(this.#options.hurryProbability)) {
      this.#world.time.after(random.between(0, 2_000), () => this.#hurry(gid, random));
    }
    if (random.chance(this.#options.forceStopProbability)) {
      this.#world.time.after(random.between(0, 3_000), () =>
        this.#ask(
          { kind: 'forceStop', gid, by: 'client', reason: 'test' },
          random,
          () => undefined,
        ),
      );
    }
  }

  /** dtm's reset of the next cron time: harmless, and visible each time that it runs. */
  #hurry(gid: string, random: Prng): void {
    this.#ask({ kind: 'resetNextCronTime', gids: [gid], mustExist: true }, random, () => undefined);
  }

  #wait(gid: string, nodeId: number): void {
    const coordinator = this.#world.nodes.find((node) => node.nodeId === nodeId)?.coordinator();
    if (coordinator === undefined) {
      return;
    }
    this.stats.waits++;
    this.#guard(coordinator.waitResult(gid), (outcome) => {
      const status = this.#world.oracle.status(gid);
      if (outcome.kind === 'final' && outcome.transaction.state.status !== status) {
        throw new InvariantViolated(
          'P3',
          `a wait for ${gid} on n${nodeId} ends ${outcome.transaction.state.status}, it is ${status}`,
        );
      }
    });
  }

  /** A read must not be older than what was true before it began. */
  #query(): void {
    const { accepted } = this.stats;
    const gids = this.#world.oracle.acceptedGids;
    const node = this.#random.pick(this.#world.nodes);
    const coordinator = node.coordinator();
    if (accepted === 0 || coordinator === undefined) {
      return;
    }
    const gid = this.#random.pick(gids);
    const before = this.#world.oracle.status(gid);
    this.#guard(coordinator.query(gid), (outcome) => {
      if (outcome.kind !== 'value') {
        return;
      }
      this.stats.queries++;
      const seen = outcome.value?.state.status;
      if (seen === undefined || rank(seen) < rank(before)) {
        throw new InvariantViolated(
          'I14',
          `n${node.nodeId} reads ${gid} as ${seen ?? 'absent'}; it was ${before} before the read`,
        );
      }
    });
  }

  /** Asks a random node; `undefined`: no answer within the client's patience. */
  #ask(
    request: OperationRequest,
    random: Prng,
    done: (outcome: OperationOutcome | undefined) => void,
  ): number | undefined {
    const node = random.pick(this.#world.nodes);
    const coordinator = node.coordinator();
    const gid = subjectOf(request);
    this.#trace(node.nodeId, 'ask', `${request.kind} ${gid}`);
    if (coordinator === undefined) {
      this.#world.time.after(1, () => done(undefined));
      return undefined;
    }
    let ended = false;
    const end = (outcome: OperationOutcome | undefined): void => {
      if (!ended) {
        ended = true;
        this.#trace(node.nodeId, 'answer', `${request.kind} ${gid} ${describeOutcome(outcome)}`);
        done(outcome);
      }
    };
    this.#world.time.after(this.#options.clientTimeoutMs, () => end(undefined));
    this.#guard(coordinator.execute(request, 0.9 * this.#options.clientTimeoutMs), end);
    return node.nodeId;
  }

  #guard<T>(promise: Promise<T>, then: (value: T) => void): void {
    promise.then(then).catch((error: unknown) => {
      this.#world.fail(error instanceof Error ? error : new Error(String(error)));
    });
  }

  #trace(nodeId: number, event: string, detail: string): void {
    this.#world.trace.add(this.#world.time.nowMs, nodeId, event, detail);
  }
}

/** What a request is about, for the trace. */
function subjectOf(request: OperationRequest): string {
  if ('transaction' in request) return request.transaction.gid;
  if ('topic' in request) return request.topic;
  return 'gid' in request ? request.gid : '';
}

function describeOutcome(outcome: OperationOutcome | undefined): string {
  switch (outcome?.kind) {
    case undefined:
      return 'nothing';
    case 'applied':
      return `${outcome.result.kind}${'message' in outcome.result ? ` ${outcome.result.message}` : ''}`;
    case 'refused':
      return `refused ${outcome.code}`;
    case 'unknown':
      return 'unknown';
    default:
      return outcome satisfies never;
  }
}

function rank(status: string | undefined): number {
  const order = [undefined, 'prepared', 'submitted', 'aborting', 'succeed', 'failed'];
  return status === 'succeed' ? 5 : order.indexOf(status);
}
