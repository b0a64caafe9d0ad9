// What a client may say about a saga: steps, payloads and the JSON text of `custom_data`.
//
// What can never finish is never accepted (defect 12.13): short payloads, orders that point outside
// the steps or form a cycle, unreadable custom_data. Messages carry no text of the JSON parser, which
// differs between versions of the platform: results are replicated state (P3).

import type { OperationResult, TransactionInput } from '../machine/index.ts';
import { predecessorsOf } from './saga-graph.ts';

export interface SagaOrder {
  readonly concurrent: boolean;
  /** Steps that must have succeeded first, by step number (both from 0). */
  readonly orders: ReadonlyMap<number, readonly number[]>;
}

const UNORDERED: SagaOrder = { concurrent: false, orders: new Map() };

/** The first thing wrong with a saga as given, or undefined. */
export function validateSaga(input: TransactionInput): OperationResult | undefined {
  const stepCount = input.steps?.length ?? 0;
  const payloadCount = input.payloads?.length ?? 0;
  if (payloadCount < stepCount) {
    return error(`payloads: ${payloadCount} given for ${stepCount} steps`);
  }
  const parsed = parseSagaOrder(input.customData ?? '');
  if (typeof parsed === 'string') return error(`custom_data: ${parsed}`);
  for (const [step, before] of parsed.orders) {
    for (const number of [step, ...before]) {
      if (number < 0 || number >= stepCount) {
        return error(`custom_data: orders name step ${number}, but there are ${stepCount} steps`);
      }
    }
  }
  if (parsed.orders.size === 0) return undefined;
  const stuck = firstStuckStep(predecessorsOf({ ...parsed, stepCount }));
  return stuck === undefined
    ? undefined
    : error(`custom_data: orders let step ${stuck} wait for itself`);
}

/** The order asked for in `custom_data`, or what is wrong with the text. */
export function parseSagaOrder(customData: string): SagaOrder | string {
  if (customData.trim() === '') return UNORDERED;
  let parsed: unknown;
  try {
    parsed = JSON.parse(customData);
  } catch {
    return 'is not JSON';
  }
  if (parsed === null) return UNORDERED;
  if (typeof parsed !== 'object' || Array.isArray(parsed)) return 'is not a JSON object';
  let concurrent = false;
  let orders: ReadonlyMap<number, readonly number[]> = UNORDERED.orders;
  for (const [key, value] of Object.entries(parsed)) {
    if (value === null) continue;
    // dtm's decoder matches keys in any case (dtm reference §11.30).
    if (key.toLowerCase() === 'concurrent') {
      if (typeof value !== 'boolean') return 'concurrent is not a boolean';
      concurrent = value;
    } else if (key.toLowerCase() === 'orders') {
      const read = parseOrders(value);
      if (typeof read === 'string') return read;
      orders = read;
    }
  }
  return { concurrent, orders };
}

/** PHP sends an array for a map whose keys are 0, 1, 2, … (defect 12.35). */
function parseOrders(value: unknown): ReadonlyMap<number, readonly number[]> | string {
  if (typeof value !== 'object' || value === null) return 'orders is not an object';
  const orders = new Map<number, readonly number[]>();
  for (const [key, list] of Object.entries(value as Record<string, unknown>)) {
    if (!/^(0|[1-9][0-9]{0,8})$/.test(key)) return 'orders has a key that is no step number';
    if (list === null) continue;
    if (!Array.isArray(list)) return `orders of step ${key} is not an array`;
    const before: number[] = [];
    for (const step of list as readonly unknown[]) {
      if (typeof step !== 'number' || !Number.isSafeInteger(step)) {
        return `orders of step ${key} has an element that is no step number`;
      }
      if (!before.includes(step)) before.push(step);
    }
    if (before.length > 0) orders.set(Number(key), before);
  }
  return orders;
}

/** A step that can never start because its predecessors form a cycle. */
function firstStuckStep(predecessors: readonly (readonly number[])[]): number | undefined {
  const done = new Set<number>();
  const followers = predecessors.map((): number[] => []);
  const missing = predecessors.map((before, step) => {
    for (const number of before) followers[number]?.push(step);
    return before.length;
  });
  const ready = missing.flatMap((count, step) => (count === 0 ? [step] : []));
  for (let step = ready.pop(); step !== undefined; step = ready.pop()) {
    done.add(step);
    for (const follower of followers[step] ?? []) {
      const left = (missing[follower] ?? 0) - 1;
      missing[follower] = left;
      if (left === 0) ready.push(follower);
    }
  }
  for (let step = 0; step < predecessors.length; step += 1) if (!done.has(step)) return step;
  return undefined;
}

function error(message: string): OperationResult {
  return { kind: 'error', message };
}
