// Clients of sagas: sequential, concurrent and ordered ones, prepared or not.
//
// Source: the dtm protocol reference §5.7.

import type { TransactionInput } from '../../src/engine/machine/index.ts';
import { encodeMovement } from './bank.ts';
import type { Client } from './client.ts';
import { drawMovements, inputOf } from './plans.ts';
import type { Prng } from './prng.ts';

export interface SagaOptions {
  readonly stepsMax: number;
  readonly accounts: number;
  readonly concurrentProbability: number;
  readonly timeoutProbability: number;
  readonly retryLimitProbability: number;
  readonly prepareProbability: number;
}

const STEP_URL = 'http://bank.example/move';

/** Undefined: the saga was refused, because it was stopped or rolled back before. */
export interface Submitted {
  readonly input: TransactionInput;
  readonly nodeId: number;
}

export async function runSaga(
  client: Client,
  gid: string,
  random: Prng,
  options: SagaOptions & { readonly waitResult: boolean },
): Promise<Submitted | undefined> {
  const input = plan(gid, random, options);
  if (random.chance(options.prepareProbability)) {
    await client.ask({ kind: 'prepare', transaction: input, defaults: client.defaults }, random);
  }
  const answer = await client.persist(
    { kind: 'submit', transaction: input, defaults: client.defaults },
    random,
  );
  if (answer === undefined) {
    return undefined;
  }
  if (answer.result.kind !== 'success') {
    const status = client.world.oracle.status(gid);
    const isTrue =
      answer.result.kind === 'failure' && (status === 'aborting' || status === 'failed');
    client.demand(isTrue, gid, answer.result, 'submit');
    return undefined;
  }
  client.accepted(gid);
  return { input, nodeId: answer.nodeId };
}

function plan(
  gid: string,
  random: Prng,
  options: SagaOptions & { readonly waitResult: boolean },
): TransactionInput {
  const moves = drawMovements(random, options.accounts, options.stepsMax);
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
  return inputOf(gid, 'saga', {
    steps: moves.map(() => ({ action: STEP_URL, compensate: `${STEP_URL}/undo` })),
    payloads: moves.map(encodeMovement),
    customData:
      concurrent || Object.keys(orders).length > 0
        ? JSON.stringify({ concurrent, orders })
        : undefined,
    options: {
      waitResult: options.waitResult,
      retryIntervalS: 1,
      ...(timeout ? { timeoutToFailS: 1 + random.int(8) } : {}),
      ...(limited ? { retryLimit: 1 + random.int(3) } : {}),
    },
  });
}
