// What a program gives is checked where it is given: plain JavaScript has no types, and what the
// coordinator refuses was already sent. Every message names the option, what is allowed and the value.

import { UsageError } from './errors.ts';

const SHOWN_CHARS_MAX = 80;

function shown(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol' || typeof value === 'bigint' || typeof value === 'number') {
    return String(value);
  }
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // It refers to itself: its kind must do.
  }
  text ??= value === undefined ? 'undefined' : typeof value;
  return text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
}

function refused(option: string, allowed: string, value: unknown): UsageError {
  return new UsageError(`${option} must be ${allowed}, got ${shown(value)}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function checkText(value: unknown, option: string, allowed = 'text'): void {
  if (typeof value !== 'string') throw refused(option, allowed, value);
}

/** Of what is called: an empty text is a success without a call, and must be meant. */
export function checkUrl(value: unknown, option: string): void {
  checkText(value, option, "a URL, or '' for nothing to call");
}

function checkObject(value: unknown, option: string): Readonly<Record<string, unknown>> {
  if (!isObject(value)) throw refused(option, 'an object', value);
  return value;
}

function checkTexts(value: unknown, option: string): void {
  if (value === undefined) return;
  for (const [name, text] of Object.entries(checkObject(value, option))) {
    checkText(text, `${option}.${name}`);
  }
}

function checkCount(value: unknown, option: string): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0)) return;
  throw refused(option, 'a whole number from 0 on', value);
}

/** `isPause`: 0 means none; a timeout of 0 would let nothing happen. */
function checkDuration(value: unknown, option: string, isPause = false): void {
  if (value === undefined || (isPause && value === 0)) return;
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return;
  throw refused(option, `a number of milliseconds ${isPause ? 'from' : 'above'} 0`, value);
}

function checkOneOf(value: unknown, option: string, allowed: readonly string[]): void {
  if (value === undefined || allowed.includes(value as string)) return;
  throw refused(option, allowed.join(' or '), value);
}

/** The options of one transaction, of whichever pattern. */
export function checkStartOptions(given: unknown): void {
  const options = checkObject(given, 'the options of a transaction');
  for (const option of [
    'timeoutToFailSeconds',
    'requestTimeoutSeconds',
    'retryIntervalSeconds',
    'retryLimit',
    'delaySeconds',
  ]) {
    checkCount(options[option], option);
  }
  for (const option of ['waitResult', 'concurrent']) {
    const value = options[option];
    if (value !== undefined && typeof value !== 'boolean') {
      throw refused(option, 'true or false', value);
    }
  }
  checkTexts(options['branchHeaders'], 'branchHeaders');
  checkOneOf(options['branchProtocol'], 'branchProtocol', ['http', 'grpc', 'json-rpc']);
}

/** A step or branch, whose own fields its pattern checks. */
export function checkStep(given: unknown, what: string): void {
  checkObject(given, what);
}

export function checkClientOptions(given: unknown): void {
  const options = checkObject(given, 'the options of DtmClient');
  const { endpoints } = options;
  if (!Array.isArray(endpoints) || endpoints.length === 0) {
    throw refused(
      'endpoints',
      "a list of at least one, such as ['http://127.0.0.1:36789']",
      endpoints,
    );
  }
  for (const [at, endpoint] of endpoints.entries()) checkText(endpoint, `endpoints[${at}]`);
  checkOneOf(options['protocol'], 'protocol', ['http', 'grpc']);
  for (const option of ['attemptTimeoutMs', 'totalTimeoutMs', 'branchTimeoutMs']) {
    checkDuration(options[option], option);
  }
  for (const option of ['pauseMs', 'pauseMsMax']) checkDuration(options[option], option, true);
  checkTexts(options['headers'], 'headers');
}
