// What makes a transaction acceptable at all (defect 12.13). Checked where a request arrives, for a
// clear and early answer, and again by apply: what can never finish never enters the state.

import { createPatterns, type Patterns } from '../patterns/index.ts';
import { gidProblem } from './keyspace.ts';
import { error } from './operation-results.ts';
import type { OperationResult, TransactionInput } from './types.ts';
import { TRANSACTION_TYPES } from './words.ts';

const PATTERNS = createPatterns();

/**
 * The first thing wrong with a new transaction, or undefined. A refusal that a later version may lift,
 * such as of a type without a pattern, must be given before the command enters the log: replicas of
 * two versions would apply it differently.
 */
export function validateInput(
  input: TransactionInput,
  patterns: Patterns = PATTERNS,
): OperationResult | undefined {
  const problem = gidProblem(input.gid);
  if (problem !== undefined) return error(problem);
  if (!TRANSACTION_TYPES.includes(input.type)) {
    // Bounded, as every result is: sessions remember it.
    return error(`unknown trans type: '${input.type}'`);
  }
  const pattern = patterns[input.type];
  if (pattern === undefined) {
    return error(`trans type '${input.type}' is not supported yet`);
  }
  return pattern.validate(input);
}
