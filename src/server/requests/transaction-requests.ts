// What clients ask of transactions, in no protocol: each function takes checked input and the
// coordinator, and answers with a `Reply`.
//
// Source: the dtm protocol reference, §1.4, §5.4.

import type {
  Coordinator,
  OperationOutcome,
  OperationRequest,
  Transaction,
  TransactionDefaults,
  TransactionInput,
} from '../../engine/index.ts';
import type { RegistrationInput } from './registration-input.ts';
import {
  invalidReply,
  operationReply,
  type Reply,
  readReply,
  successReply,
  unknownReply,
} from './reply.ts';
import type { NamedTransaction } from './transaction-input.ts';
import { waitReply } from './wait-reply.ts';

export interface RequestsOptions {
  readonly defaults: TransactionDefaults;
  readonly operationTimeoutMs: number;
}

/** For resetCronTime. */
export interface Woken {
  readonly count: number;
  readonly hasRemaining: boolean;
}

function succeeded(outcome: OperationOutcome): boolean {
  return outcome.kind === 'applied' && outcome.result.kind === 'success';
}

export class TransactionRequests {
  readonly #options: RequestsOptions;

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  async prepare(coordinator: Coordinator, transaction: TransactionInput): Promise<Reply> {
    const { defaults } = this.#options;
    const request = { kind: 'prepare', transaction, defaults } as const;
    return operationReply(await this.#execute(coordinator, request), transaction.gid);
  }

  async submit(coordinator: Coordinator, transaction: TransactionInput): Promise<Reply> {
    const { gid, type, options, workflowEnd } = transaction;
    const { defaults } = this.#options;
    const isWorkflow = type === 'workflow';
    if (isWorkflow && workflowEnd === undefined) {
      return invalidReply('req_extra.status must be succeed or failed to submit a workflow');
    }
    const request = { kind: 'submit', transaction, defaults } as const;
    const outcome = await this.#execute(coordinator, request);
    // The request's own wait_result counts, not the stored one; workflows never wait (§5.4, §11.7).
    const waits = options.waitResult === true && !isWorkflow;
    if (!succeeded(outcome) || !waits) return operationReply(outcome, gid);
    return waitReply(await coordinator.waitResult(gid), gid, 'submit');
  }

  async abort(coordinator: Coordinator, named: NamedTransaction): Promise<Reply> {
    const { gid, type, rollbackReason } = named;
    const request = { kind: 'abort', gid, type, rollbackReason, ...this.#strictness() } as const;
    const outcome = await this.#execute(coordinator, request);
    // An abort waits by the stored options (§11.7).
    const waits =
      outcome.kind === 'applied' && outcome.result.kind === 'success' && outcome.result.waitResult;
    if (!waits) return operationReply(outcome, gid);
    return waitReply(await coordinator.waitResult(gid), gid, 'abort');
  }

  /** `by`: who asked, as it is recorded. */
  async forceStop(coordinator: Coordinator, named: NamedTransaction, by: string): Promise<Reply> {
    const { gid, rollbackReason: reason } = named;
    const request = { kind: 'forceStop', gid, by, reason, ...this.#strictness() } as const;
    return operationReply(await this.#execute(coordinator, request), gid);
  }

  async registerBranch(coordinator: Coordinator, branch: RegistrationInput): Promise<Reply> {
    const request = { kind: 'registerBranch', ...branch } as const;
    return operationReply(await this.#execute(coordinator, request), branch.gid);
  }

  /** Creates the workflow, or finds it in any status: as it then stands, with its progress. */
  async prepareWorkflow(
    coordinator: Coordinator,
    transaction: TransactionInput,
  ): Promise<Reply<Transaction>> {
    const { gid, type } = transaction;
    if (type !== 'workflow') {
      return invalidReply(`trans_type must be workflow to prepare a workflow, got '${type}'`);
    }
    const { defaults } = this.#options;
    const request = { kind: 'prepareWorkflow', transaction, defaults } as const;
    const outcome = await this.#execute(coordinator, request);
    const reply = operationReply(outcome, gid);
    if (reply.kind !== 'success') return reply;
    const found = readReply(await coordinator.query(gid));
    if (found.kind !== 'success') return found;
    // Nothing unfinished is forgotten; a finished one may be, between the two.
    if (found.value === undefined) return unknownReply(gid, 'the workflow was forgotten meanwhile');
    return successReply(found.value);
  }

  async resetNextCronTime(coordinator: Coordinator, gid: string): Promise<Reply> {
    const request = { kind: 'resetNextCronTime', gids: [gid], mustExist: true } as const;
    return operationReply(await this.#execute(coordinator, request), gid);
  }

  /** Wakes at most `limit` of those that are due later than `afterMs` from now. */
  async resetCronTime(
    coordinator: Coordinator,
    afterMs: number,
    limit: number,
  ): Promise<Reply<Woken>> {
    const found = readReply(await coordinator.dueLaterThan(afterMs, limit));
    if (found.kind !== 'success') return found;
    const gids = found.value.slice(0, limit);
    const hasRemaining = found.value.length > limit;
    if (gids.length === 0) return successReply({ count: 0, hasRemaining });
    const request = { kind: 'resetNextCronTime', gids, mustExist: false } as const;
    const outcome = await this.#execute(coordinator, request);
    const reply = operationReply(outcome, '');
    if (outcome.kind !== 'applied' || outcome.result.kind !== 'success') {
      return reply as Exclude<Reply, { kind: 'success' }>;
    }
    return successReply({ count: outcome.result.count, hasRemaining });
  }

  #execute(coordinator: Coordinator, request: OperationRequest): Promise<OperationOutcome> {
    return coordinator.execute(request, this.#options.operationTimeoutMs);
  }

  #strictness(): { readonly strict?: boolean } {
    return this.#options.defaults.strictResubmit ? { strict: true } : {};
  }
}
