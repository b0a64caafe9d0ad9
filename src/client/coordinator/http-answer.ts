// Reading what the coordinator answers over HTTP. Pure.
//
// Source: dtm reference §1.2; which conditions another node may answer differently:
// docs/errors.md.

import { CoordinatorError, joined, OngoingError, type Outcome, RefusedError } from '../errors.ts';
import { AttemptError } from './failover.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly bytes: Uint8Array;
  readonly text: string;
}

interface ErrorFields {
  readonly message: string;
  /** Of Assent's catalogue; dtm sends none. */
  readonly code: string | undefined;
}

function errorFields({ status, text }: HttpAnswer): ErrorFields {
  try {
    const fields: unknown = JSON.parse(text);
    if (typeof fields === 'object' && fields !== null) {
      const message = 'message' in fields ? fields.message : undefined;
      const code = 'code' in fields ? fields.code : undefined;
      return {
        message: typeof message === 'string' ? message : text,
        code: typeof code === 'string' ? code : undefined,
      };
    }
  } catch {
    // Not JSON: a proxy's page, or a plain text.
  }
  return { message: text === '' ? `status ${status}` : text, code: undefined };
}

/** With a code it is a refusal before anything was done; without one it may be any proxy's. */
function retryableOutcome(status: number, code: string | undefined): Outcome | undefined {
  switch (status) {
    case 429:
      return 'none';
    case 408:
    case 503:
      return code === undefined ? 'unknown' : 'none';
    case 502:
    case 504:
      return 'unknown';
    default:
      return undefined;
  }
}

/** The text of a success. Throws what `docs/errors.md` and the reference make of all else. */
export function successText(
  answer: HttpAnswer,
  { earlier, refused }: { readonly earlier: Outcome; readonly refused: Outcome },
): string {
  const { status, text } = answer;
  // A 200 whose text has the word is an error to every client (dtm reference §1.2).
  if (status === 200 && !text.includes('FAILURE')) return text;
  const { message, code } = errorFields(answer);
  if (status === 425) throw new OngoingError(message);
  if (status === 409 || status === 200) throw new RefusedError(message, joined(earlier, refused));
  const outcome = retryableOutcome(status, code);
  if (outcome !== undefined) throw new AttemptError(`${status}: ${message}`, outcome);
  throw new CoordinatorError(message, status, joined(earlier, status < 500 ? 'none' : 'unknown'));
}
