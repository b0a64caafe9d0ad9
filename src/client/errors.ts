// Every error of the client: a stable code, and whether what was asked for may have been done.
//
// A business failure (FailureError) comes only from a participant or from the application's own code.
// What the coordinator says about a transaction is a RefusedError: it never makes a workflow or a
// message roll back by itself.

/** `none`: certainly not done. `unknown`: may have been done; repeat with the same gid. */
export type Outcome = 'none' | 'unknown';

/** Of a request that was sent more than once: what one attempt may have done, no later one undoes. */
export function joined(earlier: Outcome, latest: Outcome): Outcome {
  return earlier === 'unknown' ? 'unknown' : latest;
}

export type DtmErrorCode =
  | 'FAILURE'
  | 'ONGOING'
  | 'REFUSED'
  | 'COORDINATOR'
  | 'UNAVAILABLE'
  | 'CANCELLED'
  | 'BRANCH'
  | 'DUPLICATE'
  | 'COMMIT_UNKNOWN'
  | 'USAGE';

const FAILURE_WORD = ' FAILURE';
const ONGOING_WORD = ' ONGOING';

export abstract class DtmError extends Error {
  abstract readonly code: DtmErrorCode;
  readonly outcome: Outcome;

  constructor(message: string, outcome: Outcome, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.outcome = outcome;
  }
}

/** A business failure: the transaction is to be rolled back. A service answers 409 or ABORTED. */
export class FailureError extends DtmError {
  override readonly name = 'FailureError';
  readonly code = 'FAILURE';

  constructor(reason = '', cause?: unknown) {
    super(withoutWord(reason, FAILURE_WORD), 'none', cause);
  }
}

/**
 * A failure that a service answered, with what a workflow records of it: the bytes that dtm's other
 * clients record for the same answer.
 */
export class AnsweredFailure extends FailureError {
  readonly recorded: Uint8Array;

  constructor(reason: string, recorded: Uint8Array) {
    super(reason);
    this.recorded = recorded;
  }
}

/** Not finished yet: ask again later. A service answers 425 or FAILED_PRECONDITION. */
export class OngoingError extends DtmError {
  override readonly name = 'OngoingError';
  readonly code = 'ONGOING';

  constructor(message = '', cause?: unknown) {
    super(withoutWord(message, ONGOING_WORD), 'unknown', cause);
  }
}

/**
 * The coordinator's answer about the transaction: its state does not allow the request, or a waiting
 * submit did not end in success. Outcome unknown: the transaction may go on (dtm reference §5.4).
 */
export class RefusedError extends DtmError {
  override readonly name = 'RefusedError';
  readonly code = 'REFUSED';

  constructor(message: string, outcome: Outcome, cause?: unknown) {
    // A reason that was nothing but the word leaves the colon before it.
    super(withoutWord(message, FAILURE_WORD).replace(/:\s*$/, ''), outcome, cause);
  }
}

/** The coordinator answered with an error that no other node would answer differently. */
export class CoordinatorError extends DtmError {
  override readonly name = 'CoordinatorError';
  readonly code = 'COORDINATOR';
  /** The HTTP status, or the gRPC code. */
  readonly status: number;

  constructor(message: string, status: number, outcome: Outcome) {
    super(message, outcome);
    this.status = status;
  }
}

/** No endpoint answered in time. */
export class UnavailableError extends DtmError {
  override readonly name = 'UnavailableError';
  readonly code = 'UNAVAILABLE';
}

/** The caller's AbortSignal fired; `cause` is its reason. */
export class CancelledError extends DtmError {
  override readonly name = 'AbortError';
  readonly code = 'CANCELLED';
}

/** A branch that this client called gave no result: it may or may not have run. */
export class BranchError extends DtmError {
  override readonly name = 'BranchError';
  readonly code = 'BRANCH';

  constructor(message: string, cause?: unknown) {
    super(message, 'unknown', cause);
  }
}

/** The barrier of a message says that this was done, or refused, before. */
export class DuplicateError extends DtmError {
  override readonly name = 'DuplicateError';
  readonly code = 'DUPLICATE';

  constructor(message: string) {
    super(message, 'none');
  }
}

/** The commit of a local transaction was sent, and its answer did not arrive or said no. */
export class CommitUnknownError extends DtmError {
  override readonly name = 'CommitUnknownError';
  readonly code = 'COMMIT_UNKNOWN';

  constructor(message: string, cause?: unknown) {
    super(message, 'unknown', cause);
  }
}

/** The program asks for what cannot be; repeating it changes nothing. */
export class UsageError extends DtmError {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';

  constructor(message: string, cause?: unknown) {
    super(message, 'none', cause);
  }
}

/** Texts carry the word once, at their end (dtm reference §5.12); an error's message leaves it out. */
function withoutWord(text: string, word: string): string {
  const bare = word.trim();
  if (text === bare) return '';
  return text.endsWith(word) ? text.slice(0, -word.length) : text;
}

/** The reason as dtm's clients write it: with the word at its end. */
export function failureText(error: FailureError): string {
  return error.message + FAILURE_WORD;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
