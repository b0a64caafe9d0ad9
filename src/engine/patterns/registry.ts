// Which patterns exist. A type without one is refused clearly, never half accepted.

import type { TransactionType } from '../machine/index.ts';
import { createSagaPattern } from './saga.ts';
import { type Bugs, NO_BUGS, type Pattern } from './types.ts';

export type Patterns = Readonly<Record<TransactionType, Pattern | undefined>>;

/** All patterns; `bugs` is for the simulator alone. */
export function createPatterns(bugs: Bugs = NO_BUGS): Patterns {
  return {
    saga: createSagaPattern(bugs),
    tcc: undefined,
    xa: undefined,
    msg: undefined,
    workflow: undefined,
  };
}
