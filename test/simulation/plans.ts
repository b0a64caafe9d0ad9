// What all patterns' plans are made of: movements that sum to zero, and the bare request.

import type { TransactionInput, TransactionType } from '../../src/engine/machine/index.ts';
import type { Movement } from './bank.ts';
import type { Prng } from './prng.ts';

/** Movements that sum to zero, no account twice. */
export function drawMovements(random: Prng, accountCount: number, stepsMax: number): Movement[] {
  const steps = Math.min(2 + random.int(stepsMax - 1), accountCount);
  const accounts = random.shuffle(Array.from({ length: accountCount }, (_, i) => i));
  const moves: Movement[] = [];
  let sum = 0;
  for (let step = 0; step < steps; step++) {
    const amount = step === steps - 1 ? -sum : 1 + random.int(100);
    sum += amount;
    moves.push({ account: accounts[step] ?? 0, amount });
  }
  return moves;
}

/** A request that says nothing but who it is about, with the fields of `given`. */
export function inputOf(
  gid: string,
  type: TransactionType,
  given: Partial<TransactionInput> = {},
): TransactionInput {
  return {
    gid,
    type,
    steps: undefined,
    payloads: undefined,
    queryPrepared: undefined,
    protocol: 'http',
    customData: undefined,
    rollbackReason: undefined,
    options: { retryIntervalS: 1 },
    ...given,
  };
}

export function branchIdOf(number: number): string {
  return String(number).padStart(2, '0');
}
