// One execution of one workflow: the steps that its function takes, recorded or replayed, and the
// second phase that follows. A second execution of the same gid repeats nothing that was recorded.
//
// Source: dtm reference §10.5.

import { Branch } from '../branch.ts';
import type { BranchCaller } from '../branch-caller.ts';
import type { Coordinator } from '../coordinator/coordinator.ts';
import { AnsweredFailure, FailureError, UsageError } from '../errors.ts';
import { BranchIds } from '../gid.ts';
import { type Progress, resultData, type StepOp, type StepResult } from './progress.ts';
import { WorkflowBranch } from './workflow-branch.ts';

export type Phase2 = 'commit' | 'rollback';

/** What OnCommit and OnRollback of a branch do; called until it succeeds once. */
export type Phase2Function = (branch: Branch) => Promise<void>;

interface Phase2Item {
  readonly branchId: string;
  readonly execute: Phase2Function;
  /** Of a local XA transaction: ended whatever became of its action. */
  readonly always: boolean;
}

export interface RunOptions {
  /**
   * Whether a branch whose action failed is rolled back too: for services that cannot tell a failure
   * from an effect whose answer was lost.
   */
  readonly compensateFailedBranch: boolean;
}

export interface RunContext {
  readonly coordinator: Coordinator;
  readonly caller: BranchCaller;
  readonly gid: string;
  readonly progress: Progress;
  readonly options: RunOptions;
  readonly signal: AbortSignal | undefined;
}

function failureBytes(error: FailureError): Uint8Array {
  return error instanceof AnsweredFailure ? error.recorded : Buffer.from(error.message);
}

export class WorkflowRun {
  readonly context: RunContext;
  readonly #ids = new BranchIds();
  readonly #items: Record<Phase2, Phase2Item[]> = { commit: [], rollback: [] };
  readonly #failedBranches = new Set<string>();
  #phase: 'action' | Phase2 = 'action';

  constructor(context: RunContext) {
    this.context = context;
  }

  get gid(): string {
    return this.context.gid;
  }

  get signal(): AbortSignal | undefined {
    return this.context.signal;
  }

  /** Branches must be made in the same order at every execution: their numbers are their names. */
  newBranch(): WorkflowBranch {
    if (this.#phase !== 'action') throw new UsageError('no new branch in the second phase');
    return new WorkflowBranch(this, this.#ids.next());
  }

  /** @internal */
  addPhase2(phase: Phase2, item: Phase2Item): void {
    this.#items[phase].push(item);
  }

  /**
   * The recorded result of the step, or that of `execute`, recorded. Only a success and a FailureError
   * of `execute` are recorded; anything else ends the run, and the coordinator has it resumed.
   * @internal
   */
  async recorded(
    branchId: string,
    op: StepOp,
    execute: (branch: Branch) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    const known = this.context.progress.get(branchId, op);
    const result = known ?? (await this.#execute(branchId, op, execute));
    if (result.kind === 'failed' && op === 'action') this.#failedBranches.add(branchId);
    return resultData(result);
  }

  async #execute(
    branchId: string,
    op: StepOp,
    execute: (branch: Branch) => Promise<Uint8Array>,
  ): Promise<StepResult> {
    const { gid } = this.context;
    const branch = new Branch({ gid, transactionType: 'workflow', branchId, op });
    let result: StepResult;
    try {
      result = { kind: 'succeed', data: await execute(branch) };
    } catch (error) {
      if (!(error instanceof FailureError)) throw error;
      if (op !== 'action') throw new UsageError(`the ${op} of branch ${branchId} failed`, error);
      result = { kind: 'failed', error };
    }
    await this.register(branchId, op, result);
    return result;
  }

  /** @internal */
  async register(branchId: string, op: StepOp, result: StepResult): Promise<void> {
    const { coordinator, gid, signal } = this.context;
    const { kind } = result;
    const payload = kind === 'failed' ? failureBytes(result.error) : result.data;
    const fields = { op, status: kind };
    const registration = { gid, transactionType: 'workflow', branchId, payload, fields } as const;
    await coordinator.registerBranch(registration, { signal });
  }

  /** Commits or rolls back every branch, the last one first. */
  async finish(phase: Phase2): Promise<void> {
    this.#phase = phase;
    for (const { branchId, execute, always } of this.#items[phase].toReversed()) {
      const skipped = phase === 'rollback' && !always && this.#failedBranches.has(branchId);
      if (skipped && !this.context.options.compensateFailedBranch) continue;
      await this.recorded(branchId, phase, async (branch) => {
        await execute(branch);
        return new Uint8Array();
      });
    }
  }
}
