// Which patterns exist. A type without one is refused clearly, never half accepted.

import type { TransactionType } from '../machine/index.ts';
import { createMsgPattern } from './msg.ts';
import { createSagaPattern } from './saga.ts';
import { createTwoPhasePattern } from './two-phase.ts';
import { TCC, XA } from './two-phase-rows.ts';
import { type Bugs, NO_BUGS, type Pattern } from './types.ts';
import { createWorkflowPattern } from './workflow.ts';

export type Patterns = Readonly<Record<TransactionType, Pattern | undefined>>;

/** All patterns; `bugs` is for the simulator alone. */
export function createPatterns(bugs: Bugs = NO_BUGS): Patterns {
  return {
    saga: createSagaPattern(bugs),
    tcc: createTwoPhasePattern(TCC, bugs),
    xa: createTwoPhasePattern(XA, bugs),
    msg: createMsgPattern(bugs),
    workflow: createWorkflowPattern(bugs),
  };
}
