// The replicated state machine: entries of the log in, state and changes out.
//
// Owns: the order in which an entry's commands take effect, and what applying yields.
// Does not own: what a command does (operations.ts, advance.ts, sessions.ts), or where state is kept.
//
// Invariants
//   M1. The same entries in the same order give the same state, byte for byte, on every node (P3): no
//       clock, no randomness, nothing but the entry and the state.
//   M2. Apply reads only keys that `keysToRead` names, so that it can be synchronous.

import { type Bugs, createPatterns, NO_BUGS, type Patterns } from '../patterns/index.ts';
import { advance, purge } from './advance.ts';
import { sessionKey } from './keyspace.ts';
import { gidsOf, runOperation, topicKeysRead } from './operations.ts';
import { Sessions, sessionKeys } from './sessions.ts';
import { TopicTable } from './topics.ts';
import { TransactionTable, transactionKeys } from './transaction-table.ts';
import type {
  AppliedEntry,
  AppliedOperation,
  Command,
  CommandEntry,
  Key,
  MutableState,
  OperationId,
} from './types.ts';

/** Keys that applying `command` reads (M2). */
export function keysToRead(command: Command): readonly Key[] {
  switch (command.kind) {
    case 'openSession':
      return [sessionKey(command.nodeId)];
    case 'operation':
      return [
        ...sessionKeys(command.opId),
        ...gidsOf(command.request).flatMap((gid) => transactionKeys(gid)),
        ...topicKeysRead(command.request),
      ];
    case 'advance':
      return transactionKeys(command.gid);
    case 'purge':
      return command.gids.flatMap((gid) => transactionKeys(gid));
    case 'digest':
      return [];
  }
}

/** This replica's digest after the entry at `index`; undefined when it does not remember it. */
export type DigestAt = (index: number) => bigint | undefined;

export class Machine {
  readonly #patterns: Patterns;
  readonly #bugs: Bugs;

  /** `bugs` is for the simulator alone. */
  constructor(options: { readonly bugs?: Bugs } = {}) {
    this.#bugs = options.bugs ?? NO_BUGS;
    this.#patterns = createPatterns(this.#bugs);
  }

  applyEntry(
    entry: CommandEntry,
    state: MutableState,
    digestAt: DigestAt = () => undefined,
  ): AppliedEntry {
    const { index, term, timeMs } = entry;
    const sessions = new Sessions(state);
    const table = new TransactionTable(state, this.#patterns, timeMs);
    const topics = new TopicTable(state, timeMs);
    const context = { table, topics, patterns: this.#patterns, bugs: this.#bugs, timeMs, term };
    const operations: AppliedOperation[] = [];
    const refusedOperations: OperationId[] = [];
    const sessionsOpened: { readonly nodeId: number; readonly incarnation: number }[] = [];
    let divergence: AppliedEntry['divergence'];
    for (const command of entry.commands) {
      switch (command.kind) {
        case 'openSession': {
          const { nodeId, incarnation } = command;
          if (sessions.open(nodeId, incarnation)) sessionsOpened.push({ nodeId, incarnation });
          break;
        }
        case 'operation': {
          const { opId, request } = command;
          const admission = sessions.admit(opId, command.lowestOpenSeq);
          if (admission.kind === 'refused') refusedOperations.push(opId);
          if (admission.kind === 'repeat') operations.push({ opId, result: admission.result });
          if (admission.kind !== 'run') break;
          const result = runOperation({ ...context, opId }, request);
          if (!this.#bugs.has('forgetOperationResult')) sessions.remember(opId, result);
          operations.push({ opId, result });
          break;
        }
        case 'advance':
          advance(context, command);
          break;
        case 'purge':
          purge(context, command.gids);
          break;
        case 'digest': {
          const own = digestAt(command.index);
          if (own === undefined || own === command.digest) break;
          divergence ??= { index: command.index, expected: command.digest };
          break;
        }
      }
    }
    sessions.flush();
    const { changes } = table;
    return {
      index,
      term,
      timeMs,
      changes,
      operations,
      refusedOperations,
      sessionsOpened,
      divergence,
    };
  }
}
