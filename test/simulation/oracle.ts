// What the cluster as a whole has committed, and the promises P1–P6 checked against it.
//
// Owns: the one true history, assembled from what every node applies (the first to apply an index
// writes it, all others must agree), and the checks of calls and effects against that history.
// It knows more than any node: it sees every node's apply and every bank's ledger.
//
// Sources: docs/architecture.md §Promises; the dtm protocol reference §5.3, §5.7, §10.1.

import type {
  AppliedEntry,
  OperationId,
  OperationResult,
  Transaction,
  TransactionChange,
  TransactionStatus,
} from '../../src/engine/machine/index.ts';
import type { BranchCall } from '../../src/engine/participants/index.ts';
import type { LedgerEntry } from './sim-participants.ts';
import { InvariantViolated } from './violation.ts';

/** A transaction as it is committed now. */
interface Known {
  transaction: Transaction;
  status: TransactionStatus;
  forced: boolean;
  /** The node of whom a client has the word that it is accepted, and when. */
  accepted: boolean;
}

export class Oracle {
  readonly #transactions = new Map<string, Known>();
  /** What applying each index did, as the first node to apply it saw it. */
  readonly #applied = new Map<number, string>();
  readonly #effects = new Map<string, LedgerEntry[]>();
  readonly #accepted = new Set<string>();
  /** By operation: its result, and the index at which it changed something. */
  readonly #results = new Map<string, string>();
  readonly #runs = new Map<string, number>();
  #lastIndex = 0;
  readonly stats = { succeeded: 0, failed: 0, calls: 0 };

  /** Every node reports every entry that it applies. */
  applied(nodeId: number, entry: AppliedEntry): void {
    const digest = digestOf(entry);
    const known = this.#applied.get(entry.index);
    if (known !== undefined) {
      require(known === digest, 'P3', () =>
        `n${nodeId} applies ${entry.index} as\n    ${digest}\n  elsewhere it was\n    ${known}`);
      return;
    }
    this.#applied.set(entry.index, digest);
    require(entry.index > this.#lastIndex, 'P3', () =>
      `n${nodeId} is first to apply ${entry.index} after ${this.#lastIndex}`);
    this.#lastIndex = entry.index;
    for (const { opId, result } of entry.operations) {
      this.#operation(entry.index, operationKey(opId), describeResult(result));
    }
    for (const change of entry.changes) {
      this.#change(entry.index, change);
      if (change.opId !== undefined) {
        this.#ran(entry.index, operationKey(change.opId));
      }
    }
  }

  /** However often an operation is in the log, it has one result (exactly once, thesis §6.3). */
  #operation(index: number, key: string, result: string): void {
    const known = this.#results.get(key);
    this.#results.set(key, result);
    require(known === undefined || known === result, 'P6', () =>
      `operation ${key} yields ${result} at ${index}, and ${known} before`);
  }

  #ran(index: number, key: string): void {
    const known = this.#runs.get(key);
    this.#runs.set(key, index);
    require(known === undefined || known === index, 'P6', () =>
      `operation ${key} runs at ${index}, and ran at ${known} before`);
  }

  #change(index: number, change: TransactionChange): void {
    const { gid, after } = change;
    const known = this.#transactions.get(gid);
    require(change.before === known?.status, 'P3', () =>
      `entry ${index} finds ${gid} ${change.before ?? 'absent'}, it was ${known?.status ?? 'absent'}`);
    if (after === undefined) {
      require(known?.status === 'succeed' || known?.status === 'failed', 'P1', () =>
        `entry ${index} forgets ${gid}, which is ${known?.status}`);
      this.#transactions.delete(gid);
      return;
    }
    const { status } = after.state;
    const forced = after.state.forced !== undefined;
    if (known !== undefined) {
      require(mayBecome(known.status, status, forced), 'P3', () =>
        `entry ${index} turns ${gid} from ${known.status} to ${status}`);
    }
    this.#transactions.set(gid, {
      transaction: after,
      status,
      forced,
      accepted: this.#accepted.has(gid),
    });
    if (known?.status !== status) {
      this.#decided(gid, status, forced);
    }
  }

  #decided(gid: string, status: TransactionStatus, forced: boolean): void {
    if (status === 'succeed') {
      this.stats.succeeded++;
      this.#requireAllApplied(gid);
    } else if (status === 'failed') {
      this.stats.failed++;
      if (!forced) {
        this.#requireNothingLeft(gid);
      }
    }
  }

  /** P2, at the moment a request is written. */
  written(nodeId: number, call: BranchCall): void {
    this.stats.calls++;
    const known = this.#transactions.get(call.gid);
    require(known !== undefined, 'P2', () =>
      `n${nodeId} calls ${call.op} ${call.gid}/${call.branchId}, which is not committed`);
    if (call.op === 'compensate') {
      require(known?.status === 'aborting' || known?.status === 'failed', 'P2', () =>
        `n${nodeId} compensates ${call.gid}/${call.branchId}, which is ${known?.status}`);
    } else {
      require(known?.status !== 'prepared', 'P2', () =>
        `n${nodeId} runs ${call.gid}/${call.branchId}, which is only prepared`);
    }
  }

  /** Every effect that gets past a barrier. */
  effect(entry: LedgerEntry): void {
    const effects = this.#effects.get(entry.gid) ?? [];
    effects.push(entry);
    this.#effects.set(entry.gid, effects);
    const known = this.#transactions.get(entry.gid);
    require(known !== undefined, 'P2', () => `an effect of ${entry.gid}, which is not committed`);
    if (known !== undefined && (known.status === 'succeed' || known.status === 'failed')) {
      require(known.forced, 'P3', () =>
        `${entry.op} of ${entry.gid}/${entry.branchId} takes effect after it was ${known.status}`);
    }
  }

  /** A client was told that the transaction is accepted: P1 holds from here on. */
  accepted(gid: string): void {
    this.#accepted.add(gid);
    const known = this.#transactions.get(gid);
    require(known !== undefined, 'P1', () => `${gid} is accepted and not committed`);
  }

  status(gid: string): TransactionStatus | undefined {
    return this.#transactions.get(gid)?.status;
  }

  isForced(gid: string): boolean {
    return this.#transactions.get(gid)?.forced ?? false;
  }

  get acceptedGids(): readonly string[] {
    return [...this.#accepted];
  }

  /** P4: what has not ended yet. */
  unfinished(): readonly string[] {
    const result: string[] = [];
    for (const [gid, known] of this.#transactions) {
      if (known.status !== 'succeed' && known.status !== 'failed') {
        result.push(`${gid} (${known.status})`);
      }
    }
    return result;
  }

  /** At the end: P1 for every accepted transaction, and the ledger for every transaction. */
  finish(): void {
    for (const gid of this.#accepted) {
      require(this.#transactions.has(gid), 'P1', () => `${gid} was accepted and is gone`);
    }
    for (const [gid, known] of this.#transactions) {
      if (known.status === 'succeed') {
        this.#requireAllApplied(gid);
      } else if (!known.forced) {
        this.#requireNothingLeft(gid);
      }
    }
  }

  /** `succeed`: every action took effect exactly once, and nothing was compensated. */
  #requireAllApplied(gid: string): void {
    const known = this.#transactions.get(gid);
    const effects = this.#effects.get(gid) ?? [];
    const calls =
      known?.transaction.definition.branches.filter(
        (branch) => branch.op === 'action' && branch.url !== '',
      ) ?? [];
    for (const { branchId } of calls) {
      const count = effects.filter(
        (effect) => effect.branchId === branchId && effect.op === 'action',
      ).length;
      require(count === 1, 'MONEY', () =>
        `${gid} succeeded, action ${branchId} took effect ${count} times`);
    }
    const undone = effects.find((effect) => effect.op === 'compensate');
    require(undone === undefined, 'MONEY', () =>
      `${gid} succeeded, and ${undone?.branchId} was compensated`);
  }

  /** `failed`: the effects on every account cancel out. */
  #requireNothingLeft(gid: string): void {
    const net = new Map<number, number>();
    for (const effect of this.#effects.get(gid) ?? []) {
      net.set(effect.account, (net.get(effect.account) ?? 0) + effect.amount);
    }
    for (const [account, amount] of net) {
      require(amount === 0, 'MONEY', () =>
        `${gid} failed and leaves ${amount} on account ${account}`);
    }
  }
}

function require(condition: boolean, promise: string, message: () => string): void {
  if (!condition) {
    throw new InvariantViolated(promise, message());
  }
}

function mayBecome(from: TransactionStatus, to: TransactionStatus, forced: boolean): boolean {
  if (from === to) {
    return true;
  }
  switch (from) {
    case 'prepared':
      return true;
    case 'submitted':
      return to === 'aborting' || to === 'succeed' || (to === 'failed' && forced);
    case 'aborting':
      return to === 'failed';
    case 'succeed':
    case 'failed':
      return false;
    default:
      return from satisfies never;
  }
}

function operationKey(opId: OperationId): string {
  return `${opId.nodeId}.${opId.incarnation}.${opId.seq}`;
}

function describeResult(result: OperationResult): string {
  return 'message' in result
    ? `${result.kind}:${result.message}`
    : `${result.kind}:${result.count}`;
}

/** Everything about an applied entry that two replicas must agree on, as text. */
function digestOf(entry: AppliedEntry): string {
  const changes = entry.changes.map((change) => {
    const state = change.after?.state;
    const rows = state?.branches.map(
      (row) =>
        `${row.status[0]}${row.wanted ? 'w' : ''}${row.attemptCount}.${row.retryAtMs ?? ''}.${row.intervalMs}`,
    );
    return `${change.gid} ${change.before ?? '-'}>${state?.status ?? '-'} due=${state?.dueMs ?? ''} upd=${state?.updateTimeMs ?? ''} [${rows?.join(' ') ?? ''}] ${state?.rollbackReason ?? ''}`;
  });
  const operations = entry.operations.map(
    ({ opId, result }) => `${operationKey(opId)}=${describeResult(result)}`,
  );
  return `${entry.index}/${entry.term}@${entry.timeMs} {${changes.join('; ')}} {${operations.join(' ')}} refused=${entry.refusedOperations.length}`;
}
