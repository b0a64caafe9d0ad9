// Clients of TCC and XA: they prepare, have branches tried and registered, and decide, or fall silent,
// or change their mind too late.
//
// Owns: the order of a client's requests (reference §10.4), nested branches, and what a client may be
// told. Invariant: it submits only after every branch is ready.
//
// Source: the dtm protocol reference §5.9, §10.1, §10.4.

import type {
  OperationResult,
  TransactionInput,
  TransactionStatus,
} from '../../src/engine/machine/index.ts';
import { type Answer, type BranchWork, encodeMovement, type Movement } from './bank.ts';
import type { Client } from './client.ts';
import { branchIdOf, drawMovements, inputOf } from './plans.ts';
import type { Prng } from './prng.ts';
import type { Submitted } from './saga-client.ts';

export interface TwoPhaseOptions {
  readonly accounts: number;
  readonly stepsMax: number;
  readonly timeoutProbability: number;
  readonly nestedProbability: number;
  /** A client asks for the opposite of what it decided. */
  readonly contradictProbability: number;
}

interface PlannedBranch {
  readonly branchId: string;
  readonly payload: Uint8Array;
  readonly children: readonly PlannedBranch[];
}

const URL = 'http://bank.example/account';
const REGISTER_ATTEMPTS = 4;
const TRY_ATTEMPTS = 3;
const FORWARD: ReadonlySet<TransactionStatus | undefined> = new Set(['submitted', 'succeed']);
const BACKWARD: ReadonlySet<TransactionStatus | undefined> = new Set(['aborting', 'failed']);

export class TwoPhaseClient {
  readonly #client: Client;
  readonly #type: 'tcc' | 'xa';
  readonly #options: TwoPhaseOptions & { readonly requestTimeoutMs: number };

  constructor(
    client: Client,
    type: 'tcc' | 'xa',
    options: TwoPhaseOptions & { readonly requestTimeoutMs: number },
  ) {
    this.#client = client;
    this.#type = type;
    this.#options = options;
  }

  /** Undefined: it was not submitted. */
  async run(gid: string, random: Prng, waitResult: boolean): Promise<Submitted | undefined> {
    const client = this.#client;
    const timeout = random.chance(this.#options.timeoutProbability);
    const input = inputOf(gid, this.#type, {
      options: {
        waitResult,
        retryIntervalS: 1,
        ...(timeout ? { timeoutToFailS: 1 + random.int(4) } : {}),
      },
    });
    const branches = this.#plan(random);
    const prepared = await client.persist(
      { kind: 'prepare', transaction: input, defaults: client.defaults },
      random,
    );
    if (prepared?.result.kind !== 'success') {
      // Its first attempt was taken, and its time is over.
      if (prepared !== undefined) this.#demandStatus(gid, prepared.result, 'prepare', BACKWARD);
      return undefined;
    }
    client.accepted(gid);
    const ready = await this.#makeReady(gid, branches, random);
    if (ready === undefined || client.dies(random)) {
      return undefined;
    }
    const submitted = ready ? await this.#submit(input, random) : undefined;
    if (submitted === undefined) {
      await this.#abort(gid, random);
    } else if (random.chance(this.#options.contradictProbability)) {
      await client.pause(random.between(0, 2_000));
      await this.#abort(gid, random);
    }
    return submitted;
  }

  /** Whether every branch is; undefined: the client died. */
  async #makeReady(
    gid: string,
    branches: readonly PlannedBranch[],
    random: Prng,
  ): Promise<boolean | undefined> {
    for (const branch of branches) {
      if (this.#client.dies(random)) {
        return undefined;
      }
      const ready =
        this.#type === 'tcc'
          ? await this.#tryBranch(gid, branch, random)
          : await this.#runBranch(gid, branch, random);
      if (!ready) {
        return false;
      }
    }
    return true;
  }

  // --------------------------------------------------------------------------------- branches

  /** TCC: registered first, then tried; a service that is tried has branches of its own tried. */
  async #tryBranch(gid: string, branch: PlannedBranch, random: Prng): Promise<boolean> {
    if ((await this.#register(gid, branch, random)) !== 'registered') {
      return false;
    }
    if (random.chance(this.#options.contradictProbability)) {
      await this.#registerOther(gid, branch, random);
    }
    const { participants } = this.#client.world;
    const work: BranchWork = { ...this.#work(gid, branch), op: 'try' };
    for (let attempt = 1; attempt <= TRY_ATTEMPTS; attempt++) {
      const answer = await participants.request(work, this.#options.requestTimeoutMs, () => {
        const own = participants.bank.serve(work);
        return own.kind === 'success' && branch.children.length > 0
          ? this.#tryChildren(gid, branch, random)
          : own;
      });
      if (answer.kind === 'success' || answer.kind === 'failure') {
        return answer.kind === 'success';
      }
      await this.#client.pause(random.between(10, 500));
    }
    return false;
  }

  async #tryChildren(gid: string, branch: PlannedBranch, random: Prng): Promise<Answer> {
    for (const child of branch.children) {
      if (!(await this.#tryBranch(gid, child, random))) {
        return { kind: 'failure', detail: `branch ${child.branchId}: FAILURE` };
      }
    }
    return { kind: 'success', detail: 'SUCCESS' };
  }

  /** XA: the service registers itself, within its local transaction. */
  async #runBranch(gid: string, branch: PlannedBranch, random: Prng): Promise<boolean> {
    const { participants } = this.#client.world;
    const work: BranchWork = { ...this.#work(gid, branch), op: 'action' };
    const answer = await participants.request(work, this.#options.requestTimeoutMs, () =>
      this.#atService(() =>
        participants.xa.prepare(
          work,
          () => this.#client.pause(random.exponential(20)),
          () => this.#register(gid, branch, random),
        ),
      ),
    );
    return answer.kind === 'success';
  }

  /** A service goes on though nobody may wait for it any more. */
  #atService(run: () => Promise<Answer>): Promise<Answer> {
    return new Promise((resolve) => {
      this.#client.launch(async () => resolve(await run()));
    });
  }

  #work(gid: string, { branchId, payload }: PlannedBranch): Omit<BranchWork, 'op'> {
    return { gid, branchId, payload, type: this.#type };
  }

  async #register(
    gid: string,
    { branchId, payload }: PlannedBranch,
    random: Prng,
  ): Promise<'registered' | 'refused' | 'unknown'> {
    const answer = await this.#client.persist(
      {
        kind: 'registerBranch',
        gid,
        branchId,
        registration:
          this.#type === 'tcc'
            ? { kind: 'tcc', confirm: `${URL}/confirm`, cancel: `${URL}/cancel` }
            : { kind: 'xa', url: `${URL}/xa` },
        payload,
      },
      random,
      REGISTER_ATTEMPTS,
    );
    if (answer === undefined) {
      return 'unknown';
    }
    if (answer.result.kind === 'success') {
      const rows = this.#client.world.oracle.transaction(gid)?.definition.branches ?? [];
      const isKept = rows.some((row) => row.branchId === branchId);
      this.#client.demand(isKept, gid, answer.result, `registerBranch ${branchId}`);
      return 'registered';
    }
    const isTrue =
      answer.result.kind === 'failure' && this.#client.world.oracle.status(gid) !== 'prepared';
    this.#client.demand(isTrue, gid, answer.result, `registerBranch ${branchId}`);
    return 'refused';
  }

  /** Other content under the same id is refused, and changes nothing (defect 12.11). */
  async #registerOther(gid: string, { branchId }: PlannedBranch, random: Prng): Promise<void> {
    const registration = { kind: 'tcc', confirm: `${URL}/other`, cancel: `${URL}/other` } as const;
    const payload = encodeMovement({ account: 0, amount: 1_000 });
    const answer = await this.#client.persist(
      { kind: 'registerBranch', gid, branchId, registration, payload },
      random,
      REGISTER_ATTEMPTS,
    );
    if (answer !== undefined) {
      const isTrue = answer.result.kind === 'failure';
      this.#client.demand(isTrue, gid, answer.result, `registerBranch ${branchId}`);
    }
  }

  // -------------------------------------------------------------------------------- decisions

  async #submit(input: TransactionInput, random: Prng): Promise<Submitted | undefined> {
    const { gid } = input;
    const client = this.#client;
    client.world.oracle.submitting(gid);
    const answer = await client.persist(
      { kind: 'submit', transaction: input, defaults: client.defaults },
      random,
    );
    if (answer === undefined) {
      return undefined;
    }
    const isSuccess = answer.result.kind === 'success';
    this.#demandStatus(gid, answer.result, 'submit', isSuccess ? FORWARD : BACKWARD);
    return isSuccess ? { input, nodeId: answer.nodeId } : undefined;
  }

  async #abort(gid: string, random: Prng): Promise<void> {
    const type = this.#type;
    const answer = await this.#client.persist(
      { kind: 'abort', gid, type, rollbackReason: 'a branch failed' },
      random,
    );
    if (answer !== undefined) {
      const isSuccess = answer.result.kind === 'success';
      this.#demandStatus(gid, answer.result, 'abort', isSuccess ? BACKWARD : FORWARD);
    }
  }

  /** An answer must fit what is committed, unless somebody stopped the transaction by force. */
  #demandStatus(
    gid: string,
    told: OperationResult,
    request: string,
    statuses: ReadonlySet<TransactionStatus | undefined>,
  ): void {
    const { oracle } = this.#client.world;
    const fits = told.kind !== 'error' && statuses.has(oracle.status(gid));
    this.#client.demand(fits || oracle.isForced(gid), gid, told, request);
  }

  // ------------------------------------------------------------------------------------- plan

  /** Some branches lie within the one before: their ids continue its own (reference §5.2). */
  #plan(random: Prng): readonly PlannedBranch[] {
    const moves = drawMovements(random, this.#options.accounts, this.#options.stepsMax);
    const branches: { branchId: string; payload: Uint8Array; children: PlannedBranch[] }[] = [];
    for (const move of moves) {
      const parent = branches.at(-1);
      const nested = this.#type === 'tcc' && random.chance(this.#options.nestedProbability);
      if (parent !== undefined && nested) {
        const branchId = `${parent.branchId}${branchIdOf(parent.children.length + 1)}`;
        parent.children.push(leaf(branchId, move));
      } else {
        branches.push({ ...leaf(branchIdOf(branches.length + 1), move), children: [] });
      }
    }
    return branches;
  }
}

function leaf(branchId: string, movement: Movement): PlannedBranch {
  return { branchId, payload: encodeMovement(movement), children: [] };
}
