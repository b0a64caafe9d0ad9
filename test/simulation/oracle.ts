// What the cluster as a whole has committed, and the promises P1–P6 checked against it.
//
// Owns: the one true history, assembled from what every node applies (the first to apply an index
// writes it, all others must agree), and the checks of calls and effects against that history.
// It knows more than any node: it sees every node's apply, every participant's ledger, and what the
// clients mean. What a transaction must have done when it ends is in endings.ts.
//
// Sources: docs/architecture.md §Promises; the dtm protocol reference §5, §10.1.

import type {
  AppliedEntry,
  OperationId,
  OperationResult,
  Transaction,
  TransactionChange,
  TransactionStatus,
} from '../../src/engine/machine/index.ts';
import type { BranchCall } from '../../src/engine/participants/index.ts';
import type { LedgerEntry } from './bank.ts';
import { branchesBefore } from './call-order.ts';
import { checkFailed, checkSucceeded, type Ended } from './endings.ts';
import { TopicWatch } from './topic-watch.ts';
import { isFinal, mayBecome, mayCall } from './transitions.ts';
import { InvariantViolated } from './violation.ts';
import { type CallerView, WorkflowWatch } from './workflow-watch.ts';

/** A transaction as it is committed now. */
interface Known {
  readonly transaction: Transaction;
  readonly status: TransactionStatus;
  readonly forced: boolean;
}

/** What the participants still hold for a transaction, by branch. */
export type HeldFor = (gid: string) => readonly string[];

export class Oracle {
  readonly topics = new TopicWatch();
  readonly #workflows = new WorkflowWatch();
  readonly #heldFor: HeldFor;
  readonly #transactions = new Map<string, Known>();
  /** What applying each index did, as the first node to apply it saw it. */
  readonly #applied = new Map<number, string>();
  readonly #effects = new Map<string, LedgerEntry[]>();
  readonly #accepted = new Set<string>();
  /** Transactions that their clients have asked to submit, with every branch ready. */
  readonly #submitted = new Set<string>();
  /** By operation: its result, and the index at which it changed something. */
  readonly #results = new Map<string, string>();
  readonly #runs = new Map<string, number>();
  #lastIndex = 0;
  readonly stats: Record<string, number> = { succeeded: 0, failed: 0, calls: 0 };

  constructor(heldFor: HeldFor) {
    this.#heldFor = heldFor;
  }

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
      this.#change(entry, change);
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

  #change(entry: AppliedEntry, change: TransactionChange): void {
    const { gid, after } = change;
    const { index } = entry;
    const known = this.#transactions.get(gid);
    require(change.before === known?.status, 'P3', () =>
      `entry ${index} finds ${gid} ${change.before ?? 'absent'}, it was ${known?.status ?? 'absent'}`);
    if (after === undefined) {
      require(isFinal(known?.status), 'P1', () =>
        `entry ${index} forgets ${gid}, which is ${known?.status}`);
      this.#transactions.delete(gid);
      return;
    }
    const { status, type } = after.state;
    const forced = after.state.forced !== undefined;
    if (known !== undefined) {
      require(mayBecome(type, known.status, status, forced), 'P3', () =>
        `entry ${index} turns ${type} ${gid} from ${known.status} to ${status}`);
      this.#requireRecordKept(index, known.transaction, after);
    } else if (type === 'msg') {
      this.topics.created(after);
    }
    this.#transactions.set(gid, { transaction: after, status, forced });
    if (type === 'workflow') {
      this.#workflows.changed(entry, known?.transaction, after);
    }
    if (known?.status !== status) {
      this.#decided(gid, status, forced);
    }
  }

  /** A row is never another one, and what has ended never changes. */
  #requireRecordKept(index: number, before: Transaction, after: Transaction): void {
    const { gid } = after.definition;
    for (const [row, branch] of before.definition.branches.entries()) {
      const now = after.definition.branches[row];
      const same =
        now?.branchId === branch.branchId && now.op === branch.op && now.url === branch.url;
      require(same, 'P3', () => `entry ${index} makes row ${row} of ${gid} another one`);
      const status = before.state.branches[row]?.status;
      if (status === 'prepared') continue;
      require(status === after.state.branches[row]?.status, 'P3', () =>
        `entry ${index} changes row ${row} of ${gid}, which was ${status}`);
      const kept = sameBytes(payloadOf(before, row), payloadOf(after, row));
      require(kept, 'P3', () => `entry ${index} changes what row ${row} of ${gid} recorded`);
    }
    const result = before.state.result;
    require(!isFinal(before.state.status) || result === after.state.result, 'P3', () =>
      `entry ${index} changes the result of ${gid}`);
  }

  #decided(gid: string, status: TransactionStatus, forced: boolean): void {
    if (status === 'succeed') {
      this.#count('succeeded', gid);
      checkSucceeded(this.#ended(gid));
    } else if (status === 'failed') {
      this.#count('failed', gid);
      if (!forced) {
        checkFailed(this.#ended(gid));
      }
    }
  }

  /** In all, and by type: a run whose mix never comes to anything proves nothing. */
  #count(what: string, gid?: string): void {
    const type =
      gid === undefined ? undefined : this.#transactions.get(gid)?.transaction.state.type;
    for (const key of type === undefined ? [what] : [what, `${type}.${what}`]) {
      this.stats[key] = (this.stats[key] ?? 0) + 1;
    }
  }

  #ended(gid: string): Ended {
    const known = this.#transactions.get(gid);
    if (known === undefined) throw new Error(`${gid} is not known`);
    const { transaction } = known;
    return { transaction, effects: this.#effects.get(gid) ?? [], held: this.#heldFor(gid) };
  }

  /** P2, at the moment a request is written. */
  written(call: BranchCall, caller: CallerView): void {
    this.#count('calls');
    const { nodeId } = caller;
    const name = `${call.op} ${call.gid}/${call.branchId}`;
    const known = this.#transactions.get(call.gid);
    require(known !== undefined, 'P2', () => `n${nodeId} calls ${name}, which is not committed`);
    if (known === undefined) return;
    require(mayCall(call, known.status, known.forced), 'P2', () =>
      `n${nodeId} calls ${name}, which is ${known.status}`);
    if (call.type === 'workflow') {
      this.#workflows.called(call.gid, caller);
    }
    if (call.type === 'msg' && call.op === 'action') {
      const { customData } = known.transaction.definition;
      const { delay = 0 } = (customData === '' ? {} : JSON.parse(customData)) as { delay?: number };
      const fromMs = known.transaction.state.createTimeMs + 1000 * delay;
      require(delay === 0 || caller.logTimeMs >= fromMs, 'MSG', () =>
        `n${nodeId} delivers ${name} at ${caller.logTimeMs}, before its time ${fromMs}`);
    }
  }

  /** The caller has an answer, or has given up. */
  ended(nodeId: number, call: BranchCall): void {
    if (call.type === 'workflow') {
      this.#workflows.ended(call.gid, nodeId);
    }
  }

  /** Every effect that gets past a barrier. */
  effect(entry: LedgerEntry): void {
    const { gid, op } = entry;
    const effects = this.#effects.get(gid) ?? [];
    effects.push(entry);
    this.#effects.set(gid, effects);
    if (op === 'local') {
      this.#requireOpen(entry);
      return;
    }
    const known = this.#transactions.get(gid);
    require(known !== undefined, 'P2', () => `an effect of ${gid}, which is not committed`);
    this.#requireOpen(entry);
    if (op === 'confirm' || (op === 'commit' && known?.transaction.definition.type === 'xa')) {
      require(this.#submitted.has(gid), 'P2', () =>
        `${op} of ${gid}/${entry.branchId}, whose client has not submitted it`);
      const other = effects.find((effect) => effect.op === 'cancel');
      require(other === undefined, 'P3', () =>
        `${gid} is confirmed, and ${other?.branchId} was cancelled`);
    }
    for (const before of known === undefined
      ? []
      : branchesBefore(known.transaction, entry.branchId, op)) {
      const isDone = effects.some((effect) => effect.branchId === before && effect.op === op);
      require(isDone, 'ORDER', () =>
        `${op} of ${gid}/${entry.branchId} takes effect before that of ${before}`);
    }
    if (op === 'cancel') {
      const other = effects.find((effect) => effect.op === 'confirm');
      require(other === undefined, 'P3', () =>
        `${gid} is cancelled, and ${other?.branchId} was confirmed`);
    }
    if (known?.transaction.definition.type === 'msg') {
      const isCommitted = effects.some((effect) => effect.op === 'local');
      require(isCommitted, 'MSG', () =>
        `${gid}/${entry.branchId} is delivered, and its local transaction is not committed`);
    }
  }

  #requireOpen({ gid, branchId, op }: LedgerEntry): void {
    const known = this.#transactions.get(gid);
    require(known === undefined || !isFinal(known.status) || known.forced, 'P3', () =>
      `${op} of ${gid}/${branchId} takes effect after it was ${known?.status}`);
  }

  /** Every branch is ready, and the client says so next. */
  submitting(gid: string): void {
    this.#submitted.add(gid);
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

  transaction(gid: string): Transaction | undefined {
    return this.#transactions.get(gid)?.transaction;
  }

  /** What a workflow's client has kept of a step, as text. */
  recordOf(gid: string, branchId: string, op: string): string | undefined {
    const transaction = this.transaction(gid);
    const row = transaction?.definition.branches.findIndex(
      (branch) => branch.branchId === branchId && branch.op === op,
    );
    return transaction === undefined || row === undefined || row < 0
      ? undefined
      : new TextDecoder().decode(payloadOf(transaction, row));
  }

  get acceptedGids(): readonly string[] {
    return [...this.#accepted];
  }

  /** P4: what has not ended yet. */
  unfinished(): readonly string[] {
    const result: string[] = [];
    for (const [gid, known] of this.#transactions) {
      if (!isFinal(known.status)) {
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
        checkSucceeded(this.#ended(gid));
      } else if (!known.forced) {
        checkFailed(this.#ended(gid));
      }
    }
    for (const [gid, effects] of this.#effects) {
      require(this.#transactions.has(gid), 'MONEY', () =>
        `${effects.length} effects of ${gid}, which is nowhere`);
    }
  }
}

function payloadOf({ definition }: Transaction, row: number): Uint8Array | undefined {
  const at = definition.branches[row]?.payload;
  return at === undefined ? undefined : definition.payloads[at];
}

function sameBytes(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return (
    one === other ||
    (one?.length === other?.length && Buffer.compare(one ?? NONE, other ?? NONE) === 0)
  );
}

const NONE = new Uint8Array();

function require(condition: boolean, promise: string, message: () => string): void {
  if (!condition) {
    throw new InvariantViolated(promise, message());
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
