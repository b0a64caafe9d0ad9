// What a transaction that has ended must have done, by its type: all of it or nothing, once.
//
// Owns: the checks of one transaction's record against the ledger of its effects. Every plan's movements
// sum to zero, so a transaction that succeeded half shows in its sum, whatever its record says.
//
// Source: docs/architecture.md §Promises; the dtm protocol reference §5.7–§5.10.

import type { BranchOp, Transaction } from '../../src/engine/machine/index.ts';
import type { LedgerEntry } from './bank.ts';
import { InvariantViolated } from './violation.ts';

export interface Ended {
  readonly transaction: Transaction;
  readonly effects: readonly LedgerEntry[];
  /** Reservations and prepared branches that participants still hold for it. */
  readonly held: readonly string[];
}

/** `succeed`: every branch took effect exactly once, and nothing was undone. */
export function checkSucceeded(ended: Ended): void {
  const { gid, type } = ended.transaction.definition;
  switch (type) {
    case 'saga':
      requireOnce(ended, 'action');
      requireNone(ended, 'compensate');
      break;
    case 'tcc':
      requireOnce(ended, 'confirm');
      requireNone(ended, 'cancel');
      break;
    case 'xa':
      requireOnce(ended, 'commit');
      break;
    case 'msg': {
      requireOnce(ended, 'action');
      const local = ended.effects.filter(({ op }) => op === 'local').length;
      demand(
        local === 1,
        'MSG',
        `${gid} is delivered; its local transaction took effect ${local} times`,
      );
      break;
    }
    case 'workflow':
      requireOnce(ended, 'action');
      requireNone(ended, 'rollback');
      break;
  }
  requireNothingHeld(ended, 'succeeded');
  const sum = ended.effects.reduce((total, { amount }) => total + amount, 0);
  demand(sum === 0, 'MONEY', `${gid} succeeded, and its movements sum to ${sum}`);
}

/** `failed`: the effects on every account cancel out. */
export function checkFailed(ended: Ended): void {
  const { gid, type } = ended.transaction.definition;
  if (type === 'tcc') requireNone(ended, 'confirm');
  if (type === 'xa') requireNone(ended, 'commit');
  if (type === 'msg') {
    requireNone(ended, 'action');
    requireNone(ended, 'local');
  }
  requireNothingHeld(ended, 'failed');
  const net = new Map<number, number>();
  for (const { account, amount } of ended.effects) {
    net.set(account, (net.get(account) ?? 0) + amount);
  }
  for (const [account, amount] of net) {
    demand(amount === 0, 'MONEY', `${gid} failed and leaves ${amount} on account ${account}`);
  }
}

/** Every row of `op` that is recorded as a success, or must be by now. */
function requireOnce({ transaction, effects }: Ended, op: BranchOp): void {
  const { definition, state } = transaction;
  for (const [row, branch] of definition.branches.entries()) {
    // A workflow's steps have no URLs; one that failed has no effect.
    const called = branch.url !== '' || definition.type === 'workflow';
    if (branch.op !== op || !called) continue;
    const expected = state.branches[row]?.status === 'failed' ? 0 : 1;
    const count = effects.filter(
      (effect) => effect.branchId === branch.branchId && effect.op === op,
    ).length;
    demand(
      count === expected,
      'MONEY',
      `${definition.gid} succeeded, ${op} ${branch.branchId} took effect ${count} times`,
    );
  }
}

function requireNone({ transaction, effects }: Ended, op: string): void {
  const found = effects.find((effect) => effect.op === op);
  const { gid } = transaction.definition;
  demand(
    found === undefined,
    'MONEY',
    `${gid} is ${transaction.state.status}, and ${op} ${found?.branchId} took effect`,
  );
}

function requireNothingHeld({ transaction, held }: Ended, how: string): void {
  const { gid, type } = transaction.definition;
  demand(
    held.length === 0,
    type === 'xa' ? 'XA' : 'TCC',
    `${gid} ${how}, and its branches ${held.join(', ')} are still held`,
  );
}

function demand(condition: boolean, invariant: string, message: string): void {
  if (!condition) {
    throw new InvariantViolated(invariant, message);
  }
}
