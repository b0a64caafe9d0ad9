// One branch of a workflow: at most one action, one commit and one rollback.
//
// Source: dtm reference §10.5.

import type { Branch } from '../branch.ts';
import { type BranchCall, BranchReply, isHttpUrl } from '../branch-caller.ts';
import { FailureError, UsageError } from '../errors.ts';
import { type Payload, payloadBytes } from '../transaction.ts';
import type { XaResource } from '../xa/resource.ts';
import type { Phase2Function, WorkflowRun } from './run.ts';

/** Bytes, or text, or nothing; for anything else the function has its own encoding. */
export type StepValue = Uint8Array | string | undefined;

export interface WorkflowCall {
  /** http(s)://… or host:port/package.Service/Method. */
  readonly url: string;
  readonly payload?: Payload;
  /** Of HTTP; default: POST. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export function stepBytes(value: StepValue): Uint8Array {
  if (value === undefined) return new Uint8Array();
  return typeof value === 'string' ? Buffer.from(value) : value;
}

export class WorkflowBranch {
  readonly id: string;
  readonly #run: WorkflowRun;
  readonly #used = new Set<string>();

  constructor(run: WorkflowRun, id: string) {
    this.#run = run;
    this.id = id;
  }

  onCommit(execute: Phase2Function): this {
    this.#once('onCommit');
    this.#run.addPhase2('commit', { branchId: this.id, execute, always: false });
    return this;
  }

  onRollback(execute: Phase2Function): this {
    this.#once('onRollback');
    this.#run.addPhase2('rollback', { branchId: this.id, execute, always: false });
    return this;
  }

  /** Runs `execute` unless its result is recorded; a FailureError of it is recorded too. */
  async do(execute: (branch: Branch) => Promise<StepValue>): Promise<BranchReply> {
    this.#once('action');
    return new BranchReply(
      await this.#run.recorded(this.id, 'action', async (branch) =>
        stepBytes(await execute(branch)),
      ),
    );
  }

  /** Calls a service, unless its answer is recorded; 409 and ABORTED are a FailureError. */
  async call(call: WorkflowCall): Promise<BranchReply> {
    return await this.do(async (branch) => (await this.#send(call, branch)).bytes);
  }

  /** Calls a service in the second phase, where the whole function is recorded. */
  async callInPhase2(branch: Branch, call: WorkflowCall): Promise<BranchReply> {
    return await this.#send(call, branch);
  }

  /**
   * A local transaction that is prepared now and ended with the workflow. When a run died between the
   * two, what it prepared cannot be taken up again: the branch fails.
   */
  async doXa<Connection>(
    resource: XaResource<Connection>,
    execute: (connection: Connection) => Promise<StepValue>,
  ): Promise<BranchReply> {
    this.#once('onCommit');
    this.#once('onRollback');
    const end = (decision: 'commit' | 'rollback') => (branch: Branch) =>
      resource.finish(branch, decision);
    this.#run.addPhase2('commit', { branchId: this.id, execute: end('commit'), always: true });
    this.#run.addPhase2('rollback', { branchId: this.id, execute: end('rollback'), always: true });
    const { progress } = this.#run.context;
    const begun = progress.get(this.id, 'business') !== undefined;
    if (begun && progress.get(this.id, 'action') === undefined) {
      this.#once('action');
      throw new FailureError('a run ended while it prepared: the branch is rolled back');
    }
    return await this.do((branch) =>
      resource.prepare(branch, async (connection) => {
        const data = stepBytes(await execute(connection));
        await this.#run.register(this.id, 'business', { kind: 'succeed', data: new Uint8Array() });
        return data;
      }),
    );
  }

  async #send(call: WorkflowCall, branch: Branch): Promise<BranchReply> {
    const { caller, coordinator, signal } = this.#run.context;
    const { url, payload, method, headers } = call;
    const request: BranchCall = {
      url,
      gid: branch.gid,
      transactionType: branch.transactionType,
      branchId: branch.branchId,
      op: branch.op,
      dtm: isHttpUrl(url) ? undefined : coordinator.address,
      method,
      payload: payload === undefined ? undefined : payloadBytes(payload),
      headers,
      signal,
      reading: 'status',
    };
    return await caller.call(request);
  }

  #once(what: string): void {
    if (this.#used.has(what)) throw new UsageError(`branch ${this.id} has its ${what} already`);
    this.#used.add(what);
  }
}
