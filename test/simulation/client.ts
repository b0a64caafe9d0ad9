// How clients ask: any node, with patience, and again on another when they are not answered.
//
// Owns: requests, their repetition (P6), waits, and the count of clients that are still at work.
// What they ask for is in the clients of each pattern.
//
// Source: docs/architecture.md §Promises; the dtm protocol reference §3, §5.4.

import type {
  OperationRequest,
  OperationResult,
  Transaction,
  TransactionDefaults,
} from '../../src/engine/machine/index.ts';
import type { Coordinator, OperationOutcome } from '../../src/engine/operations/index.ts';
import type { Oracle } from './oracle.ts';
import type { Prng } from './prng.ts';
import type { Participants } from './sim-participants.ts';
import type { Trace } from './trace.ts';
import { InvariantViolated } from './violation.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A node as a client sees it: present and answering, or not. */
export interface ClientNode {
  readonly nodeId: number;
  coordinator(): Coordinator | undefined;
}

export interface ClientWorld {
  readonly time: VirtualTime;
  readonly oracle: Oracle;
  readonly participants: Participants;
  readonly trace: Trace;
  readonly nodes: readonly ClientNode[];
  /** Ends the run: promises would hide what they throw. */
  fail(error: Error): void;
}

export interface ClientOptions {
  readonly clientTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** At each point where it hurts, while there are faults. */
  readonly deathProbability: number;
  /** A request goes to two nodes at once: an impatient client, or a proxy that repeats. */
  readonly doubleProbability: number;
}

export interface Asked {
  /** Undefined: no answer within the client's patience. */
  readonly outcome: OperationOutcome | undefined;
  readonly nodeId: number;
}

const READ_ATTEMPTS = 4;

export class Client {
  readonly world: ClientWorld;
  readonly defaults: TransactionDefaults;
  readonly #options: ClientOptions;
  #working = 0;
  readonly stats = {
    accepted: 0,
    refused: 0,
    unknown: 0,
    repeats: 0,
    waits: 0,
    queries: 0,
    deaths: 0,
  };

  constructor(world: ClientWorld, options: ClientOptions) {
    this.world = world;
    this.#options = options;
    this.defaults = {
      timeoutToFailMs: 8_000,
      retryIntervalMs: 1_000,
      requestTimeoutMs: options.requestTimeoutMs,
      retentionMs: 86_400_000,
      preparedExpiryMs: 20_000,
      strictResubmit: false,
    };
  }

  /** Clients that have not come to their end. */
  get working(): number {
    return this.#working;
  }

  /** Runs what a client does; what it throws ends the run. */
  launch(flow: () => Promise<void>): void {
    this.#working++;
    flow()
      .finally(() => {
        this.#working--;
      })
      .catch((error: unknown) => {
        this.world.fail(error instanceof Error ? error : new Error(String(error)));
      });
  }

  /** Whether a client is no more from here on. Afterwards nobody dies: P4 has to be reached. */
  dies(random: Prng): boolean {
    const dead = random.chance(this.#options.deathProbability) && this.world.participants.faulty;
    if (dead) {
      this.stats.deaths++;
    }
    return dead;
  }

  pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.world.time.after(delayMs, resolve);
    });
  }

  /** One request to a random node. */
  ask(request: OperationRequest, random: Prng): Promise<Asked> {
    const node = random.pick(this.world.nodes);
    const { nodeId } = node;
    const coordinator = node.coordinator();
    const subject = subjectOf(request);
    this.#trace(nodeId, 'ask', `${request.kind} ${subject}`);
    return new Promise((resolve, reject) => {
      if (coordinator === undefined) {
        this.world.time.after(1, () => resolve({ outcome: undefined, nodeId }));
        return;
      }
      const { clientTimeoutMs } = this.#options;
      const end = (outcome: OperationOutcome | undefined): void => {
        cancel();
        this.#trace(nodeId, 'answer', `${request.kind} ${subject} ${describeOutcome(outcome)}`);
        resolve({ outcome, nodeId });
      };
      const cancel = this.world.time.after(clientTimeoutMs, () => end(undefined));
      coordinator.execute(request, 0.9 * clientTimeoutMs).then(end, reject);
    });
  }

  /**
   * P6: refused and unknown are repeated, with the same gid, on any node, until there is an answer
   * about the transaction. Undefined: the client gave up after `attemptsMax`.
   */
  async persist(
    request: OperationRequest,
    random: Prng,
    attemptsMax = Number.POSITIVE_INFINITY,
  ): Promise<{ readonly result: OperationResult; readonly nodeId: number } | undefined> {
    for (let attempt = 1; ; attempt++) {
      if (random.chance(this.#options.doubleProbability)) {
        this.launch(async () => {
          await this.ask(request, random);
        });
      }
      const { outcome, nodeId } = await this.ask(request, random);
      if (outcome?.kind === 'applied') {
        return { result: outcome.result, nodeId };
      }
      if (outcome?.kind === 'refused') {
        this.stats.refused++;
      } else {
        this.stats.unknown++;
      }
      if (attempt >= attemptsMax) {
        return undefined;
      }
      // Clients back off: without it a backlog of abandoned attempts keeps an overload alive.
      await this.pause(random.between(20, 500) * Math.min(2 ** (attempt - 1), 16));
      this.stats.repeats++;
    }
  }

  /** The record as any node reads it; undefined: not to be had, or not there. */
  async read(gid: string, random: Prng): Promise<Transaction | undefined> {
    for (let attempt = 1; attempt <= READ_ATTEMPTS; attempt++) {
      const coordinator = random.pick(this.world.nodes).coordinator();
      const outcome =
        coordinator === undefined ? undefined : await this.within(coordinator.query(gid));
      if (outcome?.kind === 'value') {
        return outcome.value;
      }
      await this.pause(random.between(20, 500));
    }
    return undefined;
  }

  /** Undefined: no answer within the client's patience. */
  within<T>(answer: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const cancel = this.world.time.after(this.#options.clientTimeoutMs, () => resolve(undefined));
      answer.then((value) => {
        cancel();
        resolve(value);
      }, reject);
    });
  }

  /** P6: what a client is told about its transaction must be true. */
  demand(isTrue: boolean, gid: string, told: OperationResult, request: string): void {
    if (!isTrue) {
      const status = this.world.oracle.status(gid) ?? 'absent';
      const message = 'message' in told ? `: ${told.message}` : '';
      throw new InvariantViolated(
        'P6',
        `${request} of ${gid} (now ${status}) is answered ${told.kind}${message}`,
      );
    }
  }

  /** A client's word that its transaction exists from now on (P1). */
  accepted(gid: string): void {
    this.stats.accepted++;
    this.world.oracle.accepted(gid);
  }

  /** Waits as `wait_result` does, on the node that took the submit. */
  async wait(gid: string, nodeId: number): Promise<void> {
    const coordinator = this.world.nodes.find((node) => node.nodeId === nodeId)?.coordinator();
    if (coordinator === undefined) {
      return;
    }
    this.stats.waits++;
    const outcome = await this.within(coordinator.waitResult(gid));
    const status = this.world.oracle.status(gid);
    if (outcome?.kind === 'final' && outcome.transaction.state.status !== status) {
      throw new InvariantViolated(
        'P3',
        `a wait for ${gid} on n${nodeId} ends ${outcome.transaction.state.status}, it is ${status}`,
      );
    }
  }

  #trace(nodeId: number, event: string, detail: string): void {
    this.world.trace.add(this.world.time.nowMs, nodeId, event, detail);
  }
}

/** What a request is about, for the trace. */
function subjectOf(request: OperationRequest): string {
  if ('transaction' in request) return request.transaction.gid;
  if ('topic' in request) return request.topic;
  if ('branchId' in request) return `${request.gid}/${request.branchId}`;
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
