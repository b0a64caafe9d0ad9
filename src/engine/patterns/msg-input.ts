// What a client may say about a message: steps, payloads and the JSON text of `custom_data`.
//
// `custom_data` is `{"delay":N}`: deliver no earlier than N whole seconds after the creation (dtm
// reference §5.8), or, as an extension, `{"deliver_at":T}`: no earlier than the Unix time T in
// milliseconds. Not both. What can never finish is never accepted (defect 12.13).

import type {
  OperationResult,
  StepInput,
  Transaction,
  TransactionInput,
} from '../machine/index.ts';

export type DeliveryTime =
  | { readonly kind: 'atOnce' }
  | { readonly kind: 'delay'; readonly delayMs: number }
  | { readonly kind: 'at'; readonly timeMs: number };

/** One subscriber or plain step is one row; more make no message but a burden (P8). */
export const MSG_ROWS_MAX = 10_000;

const AT_ONCE: DeliveryTime = { kind: 'atOnce' };
/** Ten years: a longer delay is a mistake in the unit. */
const DELAY_S_MAX = 315_360_000;
/** In 1973 and 5138: a time in seconds or microseconds lies outside. */
const DELIVER_AT_MS_MIN = 100_000_000_000;
const DELIVER_AT_MS_MAX = 100_000_000_000_000;

const TOPIC_SCHEME = 'topic://';

/** The topic that a step is sent to; undefined when it names a URL. */
export function topicOf(step: StepInput): string | undefined {
  return step.action.startsWith(TOPIC_SCHEME) ? step.action.slice(TOPIC_SCHEME.length) : undefined;
}

/** The first thing wrong with a message as given, or undefined. */
export function validateMsg(input: TransactionInput): OperationResult | undefined {
  const stepCount = input.steps?.length ?? 0;
  const payloadCount = input.payloads?.length ?? 0;
  if (payloadCount < stepCount) {
    return error(`payloads: ${payloadCount} given for ${stepCount} steps`);
  }
  if (stepCount > MSG_ROWS_MAX) {
    return error(`steps: ${stepCount} are more than ${MSG_ROWS_MAX}`);
  }
  const delivery = parseDelivery(input.customData ?? '');
  return typeof delivery === 'string' ? error(`custom_data: ${delivery}`) : undefined;
}

/** When `custom_data` wants the message delivered, or what is wrong with the text. */
export function parseDelivery(customData: string): DeliveryTime | string {
  if (customData.trim() === '') return AT_ONCE;
  let parsed: unknown;
  try {
    parsed = JSON.parse(customData);
  } catch {
    return 'is not JSON';
  }
  // PHP writes an empty map as an array.
  if (parsed === null || (Array.isArray(parsed) && parsed.length === 0)) return AT_ONCE;
  if (typeof parsed !== 'object' || Array.isArray(parsed)) return 'is not a JSON object';
  // dtm's decoder matches keys in any case (dtm reference §11.30).
  const given = new Map(Object.entries(parsed).map(([key, value]) => [key.toLowerCase(), value]));
  const delay: unknown = given.get('delay') ?? undefined;
  const deliverAt: unknown = given.get('deliver_at') ?? undefined;
  if (delay !== undefined && deliverAt !== undefined) return 'has both delay and deliver_at';
  if (delay !== undefined) {
    if (!isIntegerIn(delay, 0, DELAY_S_MAX)) {
      return `delay is no whole number of seconds from 0 to ${DELAY_S_MAX}`;
    }
    return delay === 0 ? AT_ONCE : { kind: 'delay', delayMs: delay * 1000 };
  }
  if (deliverAt === undefined) return AT_ONCE;
  return isIntegerIn(deliverAt, DELIVER_AT_MS_MIN, DELIVER_AT_MS_MAX)
    ? { kind: 'at', timeMs: deliverAt }
    : 'deliver_at is no Unix time in milliseconds';
}

/** Before this time a submitted message is not delivered; undefined = at once. */
export function deliverAtMs({ definition, state }: Transaction): number | undefined {
  if (definition.customData === '') return undefined;
  const delivery = parseDelivery(definition.customData);
  if (typeof delivery === 'string') throw new Error(`created without validation: ${delivery}`);
  switch (delivery.kind) {
    case 'atOnce':
      return undefined;
    case 'delay':
      return state.createTimeMs + delivery.delayMs;
    case 'at':
      return delivery.timeMs;
  }
}

/**
 * Whether a message is accepted for later: its time has not come at `nowMs`, or, where the present is
 * not known, had not come at its last change.
 */
export function isDelayed(transaction: Transaction, nowMs?: number): boolean {
  const { type, status, updateTimeMs } = transaction.state;
  if (type !== 'msg' || status !== 'submitted') return false;
  const atMs = deliverAtMs(transaction);
  return atMs !== undefined && atMs > (nowMs ?? updateTimeMs);
}

function isIntegerIn(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max;
}

function error(message: string): OperationResult {
  return { kind: 'error', message };
}
