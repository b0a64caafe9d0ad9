// A leader without a cluster: the real machine, patterns and scheduler on a manual clock, a sorted
// map as state, a log that commits after a fixed time, and participants that answer as scripted.

import { createRequire } from 'node:module';
import type sortedBtree from 'sorted-btree';
import {
  AlertDesk,
  type AlertSender,
  type AlertsConfig,
  DEFAULT_ALERTS_CONFIG,
} from '../../src/engine/alerts/index.ts';
import {
  type AppliedEntry,
  type Command,
  decodeTransaction,
  definitionKey,
  Machine,
  type MutableState,
  type OperationRequest,
  type StateReader,
  stateKey,
  type Transaction,
  type TransactionDefaults,
  type TransactionInput,
} from '../../src/engine/machine/index.ts';
import type {
  BranchCall,
  CallOutcome,
  ParticipantCaller,
} from '../../src/engine/participants/index.ts';
import { createPatterns } from '../../src/engine/patterns/index.ts';
import {
  DEFAULT_SCHEDULER_CONFIG,
  Scheduler,
  type SchedulerBugs,
  type SchedulerConfig,
  StateTransactionSource,
  type TransactionSource,
} from '../../src/engine/scheduler/index.ts';
import { ManualClock, seededRandom } from './scheduler-clock.ts';

// A CommonJS module whose types describe another shape of export than Node gives.
const { default: BTree } = createRequire(import.meta.url)('sorted-btree') as typeof sortedBtree;

export interface AnswerPlan {
  readonly kind: 'success' | 'failure' | 'ongoing' | 'unknown' | 'hang';
  readonly detail?: string;
  readonly afterMs?: number;
  /** Time in the target's queue, before the request is written. */
  readonly queueMs?: number;
}
type NotSent = Extract<CallOutcome, { kind: 'notSent' }>;
export type Plan = AnswerPlan | NotSent;

export interface SeenCall {
  readonly atMs: number;
  readonly call: BranchCall;
}

/** Participants: `answer` says what each call comes to. */
export class ScriptedCaller implements ParticipantCaller {
  readonly written: SeenCall[] = [];
  askedCount = 0;
  inflightCount = 0;
  answer: (call: BranchCall) => Plan = () => ({ kind: 'success' });
  /** Told of each request as it is written. */
  onWrite: (call: BranchCall) => void = () => undefined;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  call(call: BranchCall, mayWrite: () => boolean, done: (outcome: CallOutcome) => void): void {
    this.askedCount += 1;
    const plan = this.answer(call);
    if (plan.kind === 'notSent') {
      this.#clock.after(0, () => done(plan));
      return;
    }
    this.#clock.after(plan.queueMs ?? 0, () => {
      if (!mayWrite()) {
        done({ kind: 'notSent', reason: 'lease' });
        return;
      }
      this.written.push({ atMs: this.#clock.nowMs, call });
      this.onWrite(call);
      this.inflightCount += 1;
      const { kind } = plan;
      const hangs = kind === 'hang';
      const durationMs = hangs ? call.timeoutMs : (plan.afterMs ?? 1);
      this.#clock.after(durationMs, () => {
        this.inflightCount -= 1;
        const detail = plan.detail ?? (hangs ? 'timeout' : '');
        done({ kind: hangs ? 'unknown' : kind, detail, durationMs });
      });
    });
  }

  targets(): readonly [] {
    return [];
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }

  /** `op branchId` of each request that was written, in order. */
  get sequence(): readonly string[] {
    return this.written.map(({ call }) => `${call.op} ${call.branchId}`);
  }
}

class SortedState implements MutableState, StateReader {
  readonly tree = new BTree<string, Uint8Array>();
  readCount = 0;

  get(key: string): Uint8Array & Promise<Uint8Array | undefined> {
    return this.tree.get(key) as Uint8Array & Promise<Uint8Array | undefined>;
  }

  put(key: string, value: Uint8Array): void {
    this.tree.set(key, value);
  }

  delete(key: string): void {
    this.tree.delete(key);
  }

  async range(range: { readonly gte: string; readonly lt: string; readonly limit: number }) {
    const pairs: (readonly [string, Uint8Array])[] = [];
    for (const [key, value] of this.tree.entries(range.gte)) {
      if (key >= range.lt || pairs.length >= range.limit) {
        break;
      }
      pairs.push([key, value]);
    }
    return pairs;
  }
}

export const NODE_DEFAULTS: TransactionDefaults = {
  timeoutToFailMs: 35_000,
  retryIntervalMs: 10_000,
  requestTimeoutMs: 3000,
  retentionMs: 86_400_000,
  preparedExpiryMs: 7 * 86_400_000,
  strictResubmit: false,
};

export interface NodeOptions {
  readonly config?: Partial<SchedulerConfig>;
  readonly bugs?: SchedulerBugs;
  readonly source?: TransactionSource;
  readonly commitMs?: number;
  /** Who is alerted, if anybody. */
  readonly alerts?: AlertSender;
  readonly alertsConfig?: Partial<AlertsConfig>;
}

export class SchedulerNode {
  readonly clock = new ManualClock(1_800_000_000_000);
  readonly caller = new ScriptedCaller(this.clock);
  readonly state = new SortedState();
  readonly scheduler: Scheduler;
  /** Every command that was committed, in order, with the time of its apply. */
  readonly committed: { readonly command: Command; readonly atMs: number }[] = [];
  readonly forwarded: { readonly gid: string; readonly outcome: string }[] = [];
  /** Whether forwarded results reach the next leader. */
  deliverForwarded = false;
  loadCount = 0;
  lease = true;
  /** Proposals are refused, as by a leader that is handing over. */
  refusing = false;
  term = 1;
  #index = 1;
  #seq = 0;
  readonly #commitMs: number;
  readonly #machine: Machine;

  constructor(options: NodeOptions = {}) {
    this.#commitMs = options.commitMs ?? 2;
    this.#machine = new Machine(options.bugs === undefined ? {} : { bugs: options.bugs });
    const reader: StateReader = {
      get: async (key) => {
        this.loadCount += 1;
        return this.state.tree.get(key);
      },
      range: (range) => this.state.range(range),
    };
    this.scheduler = new Scheduler(
      {
        clock: this.clock,
        random: seededRandom(7),
        source: options.source ?? new StateTransactionSource(() => reader),
        proposer: {
          propose: (command, done) => {
            if (this.refusing) {
              this.clock.after(0, () => done({ kind: 'rejected' }));
              return;
            }
            const index = this.append(command);
            this.clock.after(0, () => done({ kind: 'appended', index }));
          },
        },
        caller: this.caller,
        patterns: createPatterns(options.bugs),
        lease: () => this.lease,
        logTimeNowMs: () => this.clock.nowMs,
        forwardResult: (gid, result) => {
          this.forwarded.push({ gid, outcome: result.outcome });
          if (this.deliverForwarded) {
            this.clock.after(5, () => this.scheduler.acceptResult(gid, result));
          }
        },
        ...this.#alertDesk(options),
        fatal: (error) => {
          throw error;
        },
      },
      { ...DEFAULT_SCHEDULER_CONFIG, ...options.config },
      options.bugs,
    );
    this.applyNow({ kind: 'openSession', nodeId: 1, incarnation: 1 });
  }

  #alertDesk({ alerts: sender, alertsConfig, config }: NodeOptions): { alerts?: AlertDesk } {
    if (sender === undefined) return {};
    const capMs = config?.retryIntervalMsMax ?? DEFAULT_SCHEDULER_CONFIG.retryIntervalMsMax;
    const ports = { clock: this.clock, sender, failed: () => undefined };
    return { alerts: new AlertDesk(ports, { ...DEFAULT_ALERTS_CONFIG, ...alertsConfig }, capMs) };
  }

  lead(): void {
    this.scheduler.becomeLeader(this.term);
  }

  /** Another leader's term begins and ends; then this node leads again. */
  leadAgain(): void {
    this.scheduler.stopLeading();
    this.term += 2;
    this.lead();
  }

  append(command: Command): number {
    const index = this.#next();
    this.clock.after(this.#commitMs, () => this.#apply(index, command));
    return index;
  }

  applyNow(command: Command): AppliedEntry {
    return this.#apply(this.#next(), command);
  }

  request(request: OperationRequest): Command {
    this.#seq += 1;
    return {
      kind: 'operation',
      opId: { nodeId: 1, incarnation: 1, seq: this.#seq },
      lowestOpenSeq: this.#seq,
      request,
    };
  }

  /** Submits and waits for the commit. */
  async submit(transaction: TransactionInput, defaults = NODE_DEFAULTS): Promise<void> {
    this.append(this.request({ kind: 'submit', transaction, defaults }));
    await this.clock.advance(this.#commitMs);
  }

  /** The committed transaction, at once. */
  committedNow(gid: string): Transaction | undefined {
    const definition = this.state.tree.get(definitionKey(gid));
    const state = this.state.tree.get(stateKey(gid));
    return definition === undefined || state === undefined
      ? undefined
      : decodeTransaction(definition, state);
  }

  transaction(gid: string): Promise<Transaction | undefined> {
    return new StateTransactionSource(() => this.state).load(gid);
  }

  async statuses(gid: string): Promise<readonly string[]> {
    const transaction = await this.transaction(gid);
    const rows = transaction?.state.branches.map(({ status }) => status) ?? [];
    return [transaction?.state.status ?? 'unknown', ...rows];
  }

  /** Advances committed since the last submit or so: their decisions, in order. */
  get advances(): readonly Extract<Command, { kind: 'advance' }>[] {
    return this.committed.flatMap(({ command }) => (command.kind === 'advance' ? [command] : []));
  }

  #next(): number {
    this.#index += 1;
    return this.#index;
  }

  #apply(index: number, command: Command): AppliedEntry {
    const entry = { index, term: this.term, timeMs: this.clock.nowMs, commands: [command] };
    const applied = this.#machine.applyEntry(entry, this.state);
    this.committed.push({ command, atMs: this.clock.nowMs });
    this.scheduler.onApplied(applied);
    return applied;
  }
}

export function saga(
  gid: string,
  stepCount: number,
  over: Partial<TransactionInput> = {},
): TransactionInput {
  return {
    gid,
    type: 'saga',
    steps: Array.from({ length: stepCount }, (_, step) => ({
      action: `http://s${step + 1}/act`,
      compensate: `http://s${step + 1}/undo`,
    })),
    payloads: Array.from({ length: stepCount }, () => new TextEncoder().encode('{}')),
    queryPrepared: undefined,
    protocol: undefined,
    customData: undefined,
    rollbackReason: undefined,
    options: {},
    ...over,
  };
}
