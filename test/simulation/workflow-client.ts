// Clients of workflows: they run the steps, keep each result with the coordinator, and end the workflow;
// whoever is called back does the same from the recorded progress on.
//
// Owns: one run of the algorithm of reference §10.5. Runs of one workflow may overlap: the barrier of
// the services makes a step happen once, the coordinator's first record of it stands.
//
// Source: the dtm protocol reference §5.10, §10.5.

import type { OperationResult, Transaction } from '../../src/engine/machine/index.ts';
import type { BranchCall } from '../../src/engine/participants/index.ts';
import { type Answer, type BranchWork, encodeMovement, type Movement, SUCCESS } from './bank.ts';
import type { Client } from './client.ts';
import { branchIdOf, drawMovements, inputOf } from './plans.ts';
import type { Prng } from './prng.ts';
import { InvariantViolated } from './violation.ts';

export interface WorkflowOptions {
  readonly accounts: number;
  readonly stepsMax: number;
  readonly requestTimeoutMs: number;
  /** A run's records say which run made them, so that no two runs' are the same. */
  readonly ownWordsProbability: number;
}

interface Workflow {
  readonly gid: string;
  readonly moves: readonly Movement[];
  readonly ownWords: boolean;
  readonly random: Prng;
  runs: number;
}

type StepStatus = 'succeed' | 'failed';

const NAME = 'transfer';
const CALLBACK_URL = 'http://workflow.example/resume';
const ATTEMPTS = 4;
const INTERRUPTED: Answer = { kind: 'unknown', detail: 'the run was interrupted' };

export class WorkflowClient {
  readonly #client: Client;
  readonly #options: WorkflowOptions;
  readonly #workflows = new Map<string, Workflow>();

  constructor(client: Client, options: WorkflowOptions) {
    this.#client = client;
    this.#options = options;
    client.world.participants.onCallback = (call) => this.#resume(call);
  }

  async start(gid: string, random: Prng): Promise<void> {
    const { accounts, stepsMax, ownWordsProbability } = this.#options;
    const workflow: Workflow = {
      gid,
      moves: drawMovements(random, accounts, stepsMax),
      ownWords: random.chance(ownWordsProbability),
      random,
      runs: 0,
    };
    this.#workflows.set(gid, workflow);
    await this.#run(workflow);
  }

  /** The coordinator calls back, with the workflow's name as the op and its data as the body. */
  #resume(call: BranchCall): Promise<Answer> {
    const { gid, op } = call;
    const workflow = this.#workflows.get(gid);
    if (workflow === undefined || op !== NAME || new TextDecoder().decode(call.payload) !== gid) {
      throw new InvariantViolated('WORKFLOW', `${gid} is called back as ${op}`);
    }
    return new Promise((resolve) => {
      this.#client.launch(async () => resolve(await this.#run(workflow)));
    });
  }

  async #run(workflow: Workflow): Promise<Answer> {
    const client = this.#client;
    const { gid, random } = workflow;
    const run = ++workflow.runs;
    const customData = JSON.stringify({ name: NAME, data: Buffer.from(gid).toString('base64') });
    const input = inputOf(gid, 'workflow', { customData, queryPrepared: CALLBACK_URL });
    const prepared = await client.persist(
      { kind: 'prepareWorkflow', transaction: input, defaults: client.defaults },
      random,
      run === 1 ? Number.POSITIVE_INFINITY : ATTEMPTS,
    );
    if (prepared === undefined) {
      return INTERRUPTED;
    }
    client.demand(prepared.result.kind === 'success', gid, prepared.result, 'prepareWorkflow');
    client.accepted(gid);
    const stored = await client.read(gid, random);
    if (stored === undefined) {
      return INTERRUPTED;
    }
    if (stored.state.status !== 'prepared') {
      return SUCCESS;
    }
    const status = await this.#work(workflow, run, progressOf(stored));
    if (status === undefined || client.dies(random)) {
      return INTERRUPTED;
    }
    return this.#submit(workflow, run, status);
  }

  /** All steps, and then their second half; undefined: this run is over before its end. */
  async #work(
    workflow: Workflow,
    run: number,
    progress: ReadonlyMap<string, StepStatus>,
  ): Promise<StepStatus | undefined> {
    const succeeded: string[] = [];
    let end: StepStatus = 'succeed';
    for (const [at, move] of workflow.moves.entries()) {
      const branchId = branchIdOf(at + 1);
      const status = await this.#step(workflow, run, { branchId, op: 'action', move }, progress);
      if (status === undefined) {
        return undefined;
      }
      end = status;
      if (status === 'failed') break;
      succeeded.push(branchId);
    }
    const op = end === 'succeed' ? 'commit' : 'rollback';
    for (const branchId of succeeded.reverse()) {
      const move = workflow.moves[Number(branchId) - 1];
      if (move === undefined) throw new Error(`no step ${branchId}`);
      if ((await this.#step(workflow, run, { branchId, op, move }, progress)) === undefined) {
        return undefined;
      }
    }
    return end;
  }

  /** Done if it is not on record, and recorded; undefined: the run must not go on. */
  async #step(
    workflow: Workflow,
    run: number,
    step: { readonly branchId: string; readonly op: string; readonly move: Movement },
    progress: ReadonlyMap<string, StepStatus>,
  ): Promise<StepStatus | undefined> {
    const { gid, random, ownWords } = workflow;
    const { branchId, op } = step;
    const recorded = progress.get(`${branchId}-${op}`);
    const client = this.#client;
    if (recorded !== undefined) {
      return recorded;
    }
    if (client.dies(random)) {
      return undefined;
    }
    const { participants } = client.world;
    const work: BranchWork = { gid, branchId, op, payload: encodeMovement(step.move) };
    const answer = await participants.request(work, this.#options.requestTimeoutMs, () =>
      participants.bank.serve(work),
    );
    // A second half that fails is tried again by whoever is called back.
    const isResult = answer.kind === 'success' || (answer.kind === 'failure' && op === 'action');
    if (!isResult || client.dies(random)) {
      return undefined;
    }
    const status: StepStatus = answer.kind === 'success' ? 'succeed' : 'failed';
    const words = `${op} ${branchId} ${status}${ownWords ? ` in run ${run}` : ''}`;
    const kept = await client.persist(
      {
        kind: 'registerBranch',
        gid,
        branchId,
        registration: { kind: 'workflow', op, status },
        payload: new TextEncoder().encode(words),
      },
      random,
      ATTEMPTS,
    );
    if (kept?.result.kind === 'success') {
      const recorded = client.world.oracle.recordOf(gid, branchId, op);
      client.demand(recorded === words, gid, kept.result, `registerBranch ${op} ${branchId}`);
      return status;
    }
    if (kept !== undefined) this.#demandOther(workflow, kept.result, `${op} of ${branchId}`);
    return undefined;
  }

  async #submit(workflow: Workflow, run: number, status: StepStatus): Promise<Answer> {
    const { gid, random, ownWords } = workflow;
    const client = this.#client;
    const result = Buffer.from(`${status}${ownWords ? ` in run ${run}` : ''}`).toString('base64');
    const rollbackReason = status === 'failed' ? `a step failed, says run ${run}` : '';
    const input = inputOf(gid, 'workflow', { workflowEnd: { status, rollbackReason, result } });
    const answer = await client.persist(
      { kind: 'submit', transaction: input, defaults: client.defaults },
      random,
      ATTEMPTS,
    );
    if (answer === undefined) {
      return INTERRUPTED;
    }
    const stored = client.world.oracle.transaction(gid)?.state;
    if (answer.result.kind === 'success') {
      // A failure may be worded anew by each run; the first words stand.
      const isSame = status === 'failed' || stored?.result === result;
      const isKept = stored?.status === status && isSame;
      client.demand(isKept || stored?.forced !== undefined, gid, answer.result, 'submit');
    } else {
      this.#demandOther(workflow, answer.result, 'submit');
    }
    return SUCCESS;
  }

  /** Another run was first, or it has ended: an error, never a business failure (reference §5.10). */
  #demandOther({ gid, ownWords }: Workflow, told: OperationResult, request: string): void {
    const status = this.#client.world.oracle.status(gid);
    const isTrue = told.kind === 'error' && (ownWords || status !== 'prepared');
    this.#client.demand(isTrue, gid, told, request);
  }
}

function progressOf({ definition, state }: Transaction): ReadonlyMap<string, StepStatus> {
  const progress = new Map<string, StepStatus>();
  for (const [row, { branchId, op }] of definition.branches.entries()) {
    const status = state.branches[row]?.status;
    if (status === 'succeed' || status === 'failed') progress.set(`${branchId}-${op}`, status);
  }
  return progress;
}
