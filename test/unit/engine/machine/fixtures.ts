// A machine on a plain map, driven through the codec, with the rule that apply reads only named keys.

import {
  type AppliedEntry,
  type BranchResult,
  type Command,
  type Decision,
  decodeCommand,
  decodeTransaction,
  encodeCommand,
  type Key,
  keysToRead,
  Machine,
  type MutableState,
  type OperationRequest,
  type OperationResult,
  type Transaction,
  type TransactionDefaults,
  type TransactionInput,
  type TransactionStatus,
  transactionKeys,
} from '../../../../src/engine/machine/index.ts';

export const DAY_MS = 86_400_000;

export const DEFAULTS: TransactionDefaults = {
  timeoutToFailMs: 35_000,
  retryIntervalMs: 10_000,
  requestTimeoutMs: 3_000,
  retentionMs: 3 * DAY_MS,
  preparedExpiryMs: 7 * DAY_MS,
  strictResubmit: false,
};

export const START_MS = 1_800_000_000_000;

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** A saga of `steps` steps: action http://s<i>/do, compensation http://s<i>/undo. */
export function sagaInput(
  gid: string,
  steps: number,
  more: Partial<TransactionInput> = {},
): TransactionInput {
  return {
    gid,
    type: 'saga',
    steps: Array.from({ length: steps }, (_, at) => ({
      action: `http://s${at}/do`,
      compensate: `http://s${at}/undo`,
    })),
    payloads: Array.from({ length: steps }, (_, at) => bytes(`{"n":${at}}`)),
    queryPrepared: undefined,
    protocol: undefined,
    customData: undefined,
    rollbackReason: undefined,
    options: {},
    ...more,
  };
}

/** What PHP, Python and Node send after a prepare. */
export function bareInput(gid: string, more: Partial<TransactionInput> = {}): TransactionInput {
  return sagaInput(gid, 0, { steps: undefined, payloads: undefined, ...more });
}

export class MemoryState implements MutableState {
  readonly values = new Map<Key, Uint8Array>();
  named: ReadonlySet<Key> = new Set();
  #written = new Set<Key>();
  puts = 0;

  begin(named: readonly Key[]): void {
    this.named = new Set(named);
    this.#written = new Set();
  }

  get(key: Key): Uint8Array | undefined {
    if (!this.named.has(key) && !this.#written.has(key)) {
      throw new Error(`apply read a key that it had not named: ${JSON.stringify(key)}`);
    }
    return this.values.get(key);
  }

  put(key: Key, value: Uint8Array): void {
    this.puts += 1;
    this.#written.add(key);
    this.values.set(key, value);
  }

  delete(key: Key): void {
    this.#written.add(key);
    this.values.delete(key);
  }

  keys(range: { readonly gte: Key; readonly lt: Key; readonly limit?: number }): Key[] {
    return [...this.values.keys()]
      .filter((key) => key >= range.gte && key < range.lt)
      .sort()
      .slice(0, range.limit);
  }

  /** Everything, in order of keys: two equal states have equal dumps. */
  dump(): string {
    return [...this.values.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => `${JSON.stringify(key)}=${[...value].join()}`)
      .join('\n');
  }
}

/** One replica: time is `nowMs`, the term is `term`, operations come from node 1. */
export class Replica {
  readonly state = new MemoryState();
  readonly machine: Machine;
  index = 0;
  term = 1;
  nowMs = START_MS;
  seq = 0;

  constructor(bugs?: ReadonlySet<string>) {
    this.machine = new Machine(bugs === undefined ? {} : { bugs });
    this.apply({ kind: 'openSession', nodeId: 1, incarnation: 1 });
  }

  apply(...commands: readonly Command[]): AppliedEntry {
    this.index += 1;
    const decoded = commands.map((command) => decodeCommand(encodeCommand(command)));
    this.state.begin(decoded.flatMap((command) => keysToRead(command)));
    const entry = { index: this.index, term: this.term, timeMs: this.nowMs, commands: decoded };
    return this.machine.applyEntry(entry, this.state);
  }

  operate(request: OperationRequest): OperationResult {
    this.seq += 1;
    const opId = { nodeId: 1, incarnation: 1, seq: this.seq };
    const applied = this.apply({ kind: 'operation', opId, lowestOpenSeq: this.seq, request });
    const [operation] = applied.operations;
    if (operation === undefined) throw new Error('the operation was not run');
    return operation.result;
  }

  submit(transaction: TransactionInput, defaults = DEFAULTS): OperationResult {
    return this.operate({ kind: 'submit', transaction, defaults });
  }

  prepare(transaction: TransactionInput, defaults = DEFAULTS): OperationResult {
    return this.operate({ kind: 'prepare', transaction, defaults });
  }

  advance(
    gid: string,
    expectStatus: TransactionStatus,
    results: readonly BranchResult[],
    decision?: Decision,
    retries = 0,
  ): AppliedEntry {
    return this.apply({ kind: 'advance', gid, expectStatus, results, decision, retries });
  }

  find(gid: string): Transaction | undefined {
    const [definitionKey, stateKey] = transactionKeys(gid);
    const definition = this.state.values.get(definitionKey ?? '');
    const state = this.state.values.get(stateKey ?? '');
    if (definition === undefined || state === undefined) return undefined;
    return decodeTransaction(definition, state);
  }

  get(gid: string): Transaction {
    const found = this.find(gid);
    if (found === undefined) throw new Error(`no transaction ${gid}`);
    return found;
  }

  /** Statuses of the rows, as the reference writes them. */
  rows(gid: string): string {
    return this.get(gid)
      .state.branches.map(({ status }) => status)
      .join(' ');
  }
}

export function result(
  row: number,
  outcome: BranchResult['outcome'],
  more: Partial<BranchResult> = {},
): BranchResult {
  return {
    row,
    outcome,
    attempt: 1,
    term: 1,
    atMs: START_MS + 1,
    durationMs: 2,
    detail: outcome,
    retryAtMs: outcome === 'ongoing' || outcome === 'unknown' ? START_MS + 10_000 : undefined,
    intervalMs: 10_000,
    ...more,
  };
}
