// Clients of two-phase messages: prepare, commit the local transaction, submit; or die in between.
//
// Owns: what a message's client does and may be told. Invariant: the local transaction takes out what
// the message delivers, so money is conserved if and only if it is delivered when that committed.
//
// Source: the dtm protocol reference §5.8, §6, §10.4.

import type { OperationResult, TransactionInput } from '../../src/engine/machine/index.ts';
import { encodeMovement } from './bank.ts';
import type { Client } from './client.ts';
import { drawMovements, inputOf } from './plans.ts';
import type { Prng } from './prng.ts';
import type { Submitted } from './saga-client.ts';

export interface MsgOptions {
  readonly accounts: number;
  readonly stepsMax: number;
  readonly timeoutProbability: number;
  readonly concurrentProbability: number;
  readonly delayProbability: number;
  /** How many topics there are; 0: messages go to services only. */
  readonly topics: number;
}

const QUERY_URL = 'http://sender.example/query';
const STEP_URL = 'http://bank.example/receive';

export function topicName(number: number): string {
  return `t${number}`;
}

interface PlannedMsg {
  readonly input: TransactionInput;
  /** What the submit says besides. */
  readonly submitted: TransactionInput;
  readonly local: Uint8Array;
}

export class MsgClient {
  readonly #client: Client;
  readonly #options: MsgOptions;

  constructor(client: Client, options: MsgOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** Undefined: it was not submitted by its client. */
  async run(gid: string, random: Prng, waitResult: boolean): Promise<Submitted | undefined> {
    const client = this.#client;
    const { oracle, participants, time } = client.world;
    const isDirect = random.chance(0.2);
    const planned = this.#plan(gid, random, { waitResult, toTopics: !isDirect });
    const { input } = planned;
    oracle.topics.asked(gid, time.nowMs);
    if (isDirect) {
      // Nobody asks about what was never prepared: this client has committed before.
      participants.local.begin(gid);
      participants.local.commit({ gid, branchId: '00', op: 'local', payload: planned.local });
      return this.#submit(planned.submitted, random);
    }
    const prepared = await client.persist(
      { kind: 'prepare', transaction: input, defaults: client.defaults },
      random,
    );
    if (prepared?.result.kind !== 'success') {
      if (prepared !== undefined) this.#demandRefused(gid, prepared.result);
      return undefined;
    }
    client.accepted(gid);
    const local = await this.#runLocal(gid, planned.local, random);
    if (local === 'dead' || client.dies(random)) {
      return undefined;
    }
    if (local === 'committed') {
      return this.#submit(planned.submitted, random);
    }
    await this.#abort(gid, random);
    return undefined;
  }

  /** The local transaction, under the barrier that `query_prepared` asks. */
  async #runLocal(
    gid: string,
    payload: Uint8Array,
    random: Prng,
  ): Promise<'committed' | 'rolledBack' | 'dead'> {
    const { participants } = this.#client.world;
    // A slow client meets the check-back that its silence brings about.
    await this.#client.pause(
      random.chance(0.1) ? random.between(0, 8_000) : random.exponential(20),
    );
    if (this.#client.dies(random)) {
      return 'dead';
    }
    if (!participants.local.begin(gid)) {
      return 'rolledBack';
    }
    await this.#client.pause(random.exponential(random.chance(0.1) ? 2_000 : 10));
    const dies = this.#client.dies(random);
    if (dies || participants.bank.refuses(gid, '00')) {
      participants.local.rollBack(gid);
      return dies ? 'dead' : 'rolledBack';
    }
    participants.local.commit({ gid, branchId: '00', op: 'local', payload });
    return 'committed';
  }

  /** Its local transaction is committed: nothing but a forced stop may refuse it. */
  async #submit(input: TransactionInput, random: Prng): Promise<Submitted | undefined> {
    const { gid } = input;
    const client = this.#client;
    const answer = await client.persist(
      { kind: 'submit', transaction: input, defaults: client.defaults },
      random,
    );
    if (answer === undefined) {
      return undefined;
    }
    const { oracle } = client.world;
    const status = oracle.status(gid);
    const isSuccess = answer.result.kind === 'success';
    const isTrue = isSuccess && (status === 'submitted' || status === 'succeed');
    client.demand(isTrue || oracle.isForced(gid), gid, answer.result, 'submit');
    if (!isSuccess) {
      return undefined;
    }
    client.accepted(gid);
    return { input, nodeId: answer.nodeId };
  }

  /** Its local transaction is not committed, and never will be. */
  async #abort(gid: string, random: Prng): Promise<void> {
    const client = this.#client;
    const answer = await client.persist(
      { kind: 'abort', gid, type: 'msg', rollbackReason: 'the local transaction failed' },
      random,
    );
    if (answer !== undefined) {
      const { oracle } = client.world;
      const isTrue = answer.result.kind === 'success' && oracle.status(gid) === 'failed';
      client.demand(isTrue || oracle.isForced(gid), gid, answer.result, 'abort');
    }
  }

  /** The prepare was refused: to a topic without subscribers, or because all is over already. */
  #demandRefused(gid: string, told: OperationResult): void {
    const status = this.#client.world.oracle.status(gid);
    const isTrue =
      told.kind === 'error'
        ? this.#options.topics > 0 && told.message === 'topic not found'
        : told.kind === 'failure' && status !== 'prepared';
    this.#client.demand(isTrue, gid, told, 'prepare');
  }

  #plan(
    gid: string,
    random: Prng,
    how: { readonly waitResult: boolean; readonly toTopics: boolean },
  ): PlannedMsg {
    const { accounts, stepsMax, topics } = this.#options;
    const [sender, ...receivers] = drawMovements(random, accounts, stepsMax);
    const steps = receivers.map(() => ({ action: STEP_URL, compensate: '' }));
    const payloads = receivers.map(encodeMovement);
    if (how.toTopics && topics > 0 && random.chance(0.5)) {
      // Subscribers are many or few: what they get is news, not money.
      const topic = `topic://${topicName(1 + random.int(topics))}`;
      steps.push({ action: topic, compensate: '' });
      payloads.push(encodeMovement({ account: 0, amount: 0 }));
    }
    const timeout = random.chance(this.#options.timeoutProbability);
    const input = inputOf(gid, 'msg', {
      steps,
      payloads,
      queryPrepared: QUERY_URL,
      options: {
        waitResult: how.waitResult,
        retryIntervalS: 1,
        concurrent: random.chance(this.#options.concurrentProbability),
        ...(timeout ? { timeoutToFailS: 1 + random.int(3) } : {}),
      },
    });
    const delayed = random.chance(this.#options.delayProbability);
    const customData = delayed ? JSON.stringify({ delay: 1 + random.int(3) }) : undefined;
    const atBoth = random.chance(0.5);
    return {
      input: atBoth ? { ...input, customData } : input,
      submitted: { ...input, customData },
      local: encodeMovement(sender ?? { account: 0, amount: 0 }),
    };
  }
}
