// A new transaction, from what a client sent: checked again, because what can never finish must never
// enter the state (defect 12.13), and made by its pattern.

import type { OperationContext } from './operation-context.ts';
import { success } from './operation-results.ts';
import { publishProblem } from './topics.ts';
import type {
  OperationResult,
  Transaction,
  TransactionDefaults,
  TransactionInput,
} from './types.ts';
import { validateInput } from './validate.ts';

/** dtm refreshes its copy of the topics so often; here, only a deliberate bug does. */
const STALE_MS = 3000;

export function create(
  context: OperationContext,
  input: TransactionInput,
  defaults: TransactionDefaults,
  submitted: boolean,
  replaced?: Transaction,
): OperationResult {
  const { topics } = context;
  const refused = validateInput(input, context.patterns) ?? publishProblem(topics, input);
  if (refused !== undefined) return refused;
  const pattern = context.patterns[input.type];
  if (pattern === undefined) throw new Error(`${input.type} was validated without a pattern`);
  const created = pattern.create(input, defaults, {
    timeMs: context.timeMs,
    term: context.term,
    submitted,
    subscribersOf: (topic) =>
      topics.subscribersOf(topic, context.bugs.has('staleTopic') ? STALE_MS : 0),
  });
  return success(context.table.save(replaced, created, { opId: context.opId }));
}
